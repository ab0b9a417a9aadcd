"""Releases: commit order instead of names, ranges, and how each carries libpython."""

from __future__ import annotations

import datetime
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import releases
from harness.releasechoice import ReleaseRange
from harness.releases import LinkModel, link_model, order

TAGS = list(releases.commit_dates())
UNKNOWN = "20991231"


def test_the_table_is_in_the_order_of_its_commit_dates() -> None:
    dates = [datetime.date.fromisoformat(date) for date in releases.commit_dates().values()]
    assert len(dates) > 100
    assert dates == sorted(dates)


def test_the_table_names_each_tag_once_and_only_tags() -> None:
    rows = [line.split("\t") for line in releases._data("releases.tsv").splitlines()]
    tags = Counter(row[0] for row in rows if row[0][:1].isdigit())
    assert set(tags.values()) == {1}
    assert all(len(tag) == 8 and tag.isdigit() for tag in tags)
    assert list(tags) == TAGS


def test_releases_sort_by_commit_and_not_by_name() -> None:
    assert sorted(["20260324", "20250323", "20260320", "20250409", "20250317"], key=order) == [
        "20250317",
        "20250409",
        "20260320",
        "20250323",
        "20260324",
    ]


def test_a_tag_that_the_table_does_not_know_sorts_last() -> None:
    # Even one whose name is older than everything: it can only be newer than the table.
    assert sorted([UNKNOWN, *TAGS, "20000101"], key=order) == [*TAGS, "20000101", UNKNOWN]


@settings(max_examples=20)
@given(st.permutations(TAGS))
def test_the_order_does_not_depend_on_where_sorting_starts(shuffled: list[str]) -> None:
    assert sorted(shuffled, key=order) == TAGS


# The three releases that changed the link model, from upstream's history (facts, section 1).
CHANGES = [
    ("20250517", LinkModel.STATIC),
    ("20250521", LinkModel.STATIC_RUNPATH),
    ("20250529", LinkModel.STATIC_RPATH),
]


def test_every_release_has_the_link_model_of_the_last_change_before_it() -> None:
    expected = {}
    current = LinkModel.SHARED
    changes = dict(CHANGES)
    for tag in TAGS:
        current = changes.pop(tag, current)
        expected[tag] = current
    assert not changes
    assert {tag: link_model(tag) for tag in TAGS} == expected


@pytest.mark.parametrize(
    ("release", "model"),
    [
        ("20181218", LinkModel.SHARED),
        ("20250409", LinkModel.SHARED),
        ("20250517", LinkModel.STATIC),
        ("20250521", LinkModel.STATIC_RUNPATH),
        ("20250529", LinkModel.STATIC_RPATH),
        ("20250323", LinkModel.STATIC_RPATH),
        (UNKNOWN, LinkModel.STATIC_RPATH),
    ],
)
def test_a_release_has_the_link_model_of_its_commit_and_not_of_its_name(
    release: str, model: LinkModel
) -> None:
    assert link_model(release) is model


def test_every_link_model_has_an_era_with_a_reason_and_a_link() -> None:
    eras = releases.link_model_eras()
    assert [era.link_model for era in eras] == list(LinkModel)
    assert all(era.first in TAGS and era.why and era.link.startswith("https://") for era in eras)
    assert [order(era.first) for era in eras] == sorted(order(era.first) for era in eras)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("20250517", ["20250517"], ["20250409", "20250521", UNKNOWN]),
        ("20250517..20250521", ["20250517", "20250521"], ["20250409", "20250529"]),
        ("20250529..", ["20250529", "20250323", UNKNOWN], ["20250521"]),
        (f"20250529..{UNKNOWN}", ["20250529", UNKNOWN], ["20250521"]),
        ("..20250409", ["20181218", "20250409"], ["20250517", "20250323", UNKNOWN]),
        ("20260320..20260324", ["20250323"], ["20260325", "20250317"]),
        ("..20250317", ["20250311"], ["20250323"]),
        ("20250323..20250323", ["20250323"], ["20260320", "20260324"]),
    ],
)
def test_a_range_holds_its_ends_and_what_lies_between_in_commit_order(
    text: str, inside: list[str], outside: list[str]
) -> None:
    found = ReleaseRange.parse(text)
    assert [tag for tag in inside + outside if tag in found] == inside


@given(st.sampled_from(TAGS), st.sampled_from(TAGS))
def test_a_closed_range_is_a_slice_of_the_table(one: str, other: str) -> None:
    first, last = sorted((one, other), key=order)
    found = ReleaseRange.parse(f"{first}..{last}")
    assert [tag for tag in TAGS if tag in found] == TAGS[TAGS.index(first) : TAGS.index(last) + 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20250516", "'20250516' is not a known release tag"),
        ("20250517..20250518", "'20250518' is not a known release tag"),
        ("20250517..20991399", "'20991399' is not a known release tag"),
        ("20250516..", "'20250516' is not a known release tag"),
        ("20250521..20250517", "20250521 comes after 20250517 in commit order"),
        ("20250323..20260320", "comes after"),
        ("..", "at least one end"),
        ("", "at least one end"),
        ("20250409...20250517", "'.20250517' is not a known"),
        ("20250409-20250517", "is not a known release tag"),
        ("latest", "is not a known release tag"),
        (" 20250409", "is not a known release tag"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ReleaseRange.parse(text)
    assert found in str(caught.value)
