"""What in a night is worth an issue, and how one trouble is told from another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.filing import marker, troubles
from harness.filing.marker import Marker
from harness.filing.troubles import Kind
from harness.outcome import Reason
from harness.results import Result
from tests.unit.sample_nights import (
    GL,
    broken,
    error,
    fixed,
    known,
    mispredicted,
    not_applicable,
    ok,
    untestable,
)
from tests.unit.sample_results import LIBPYTHON, made

KEY = "regressed-0123456789ab"


def kinds(*lines: Result) -> list[tuple[str, int]]:
    return [(f"{t.kind}: {t.words}", len(t.pairs)) for t in troubles.of(lines).troubles]


def test_one_trouble_for_each_signature_across_extensions_and_environments() -> None:
    night = (broken("a"), broken("b"), broken("a", uv="0.7.7"), broken("a", GL, uv="0.7.8"))
    assert kinds(*night) == [
        (f"regressed: missing-library {LIBPYTHON}", 3),
        (f"regressed: missing-library {GL}", 1),
    ]


@pytest.mark.parametrize("line", [ok(), known(), untestable(), not_applicable()])
def test_what_is_expected_and_what_was_not_tested_is_none(line: Result) -> None:
    assert kinds(line) == []


def test_known_breakage_is_one_where_it_is_news() -> None:
    """matrix.yaml may expect what nobody has seen yet."""
    assert [t.kind for t in troubles.of([known()], [ok()]).troubles] == [Kind.REGRESSED]
    assert [t.kind for t in troubles.of([known()], [known(missing_library=GL)]).troubles] == [
        Kind.REGRESSED
    ]
    for before in (known(), untestable(), not_applicable()):
        assert troubles.of([known()], [before]).troubles == ()
    assert troubles.of([known(), ok()], [ok()]).troubles == ()


def test_an_outdated_expectation_is_told_by_the_failure_that_was_expected() -> None:
    assert kinds(fixed()) == [(f"fixed: missing-library {LIBPYTHON}", 1)]


def test_a_misprediction_is_told_by_both_sides() -> None:
    words = f"mispredicted: imports, by the loader's rules missing-library {LIBPYTHON}"
    assert kinds(mispredicted()) == [(words, 1)]


def test_numbers_paths_and_addresses_make_no_other_trouble() -> None:
    lines = [error(f"/tmp/{n}/x.so: bad magic {n} at 0x{n:x}", f"e{n}") for n in range(12)]
    assert len(kinds(*lines)) == 1


def test_the_key_is_the_same_every_night_and_safe_everywhere() -> None:
    one, other = (troubles.of([broken(name)]).troubles[0] for name in ("a", "b"))
    assert one.key == other.key
    assert one.key.startswith("regressed-")
    assert Marker(key=one.key).key == one.key


def test_a_cell_that_answered_differently_counts_by_its_last_answer_and_proves_nothing() -> None:
    night = troubles.of([ok(), broken()])
    assert [trouble.kind for trouble in night.troubles] == [Kind.REGRESSED]
    assert night.tested == {}
    night = troubles.of([broken(), ok()])
    assert night.troubles == ()
    assert night.unclear == {marker.tag(ok().id)}


def test_a_cell_that_was_untestable_once_and_tested_then_is_tested() -> None:
    night = troubles.of([untestable(), ok()])
    assert list(night.tested.values()) == [ok().id]
    assert night.unclear == frozenset()


def test_the_night_is_the_day_on_which_its_first_cell_began() -> None:
    started = ("2026-11-29T00:10:00+00:00", "2026-11-28T23:50:00+00:00", None, "<b>")
    lines = [ok(f"e{n}", started=when) for n, when in enumerate(started)]
    assert troubles.of(lines).day == "2026-11-28"
    assert troubles.of([ok()]).day == ""


# -- What an issue remembers --


@settings(deadline=None)
@given(st.sets(st.text(), max_size=40), st.integers(min_value=0, max_value=99))
def test_a_marker_is_read_as_it_was_written(cells: set[str], turn: int) -> None:
    tags = {marker.tag(cell) for cell in cells}
    written = Marker(key=KEY, turn=turn, since="2026-11-29", **marker.recorded(tags))
    read, rest = marker.parse(f"{written.line}the text")
    assert read == written
    assert rest == "the text"
    assert read is not None
    assert read.tags == tags


@pytest.mark.parametrize(
    "body",
    [
        "",
        "words\n" + Marker(key=KEY).line,
        "<!-- pbs-matrix:1 {} -->\n",
        '<!-- pbs-matrix:1 {"key": "../../etc"} -->\n',
        Marker(key=KEY).line.replace("}", ',"who":1}'),
        Marker(key=KEY).line.replace("0123456789ab", "0123456789ab\\n"),
        "<!-- pbs-matrix:1 " + "[" * 100_000 + " -->\n",
        "<!-- pbs-matrix:1 {" + '"a":{' * 100_000 + "} -->\n",
    ],
)
def test_what_is_not_exactly_a_marker_on_the_first_line_is_none(body: str) -> None:
    assert marker.parse(body) == (None, body)


def test_a_marker_names_so_many_cells_and_counts_the_rest() -> None:
    tags = {marker.tag(str(n)) for n in range(marker.LISTED + 500)}
    first = set(sorted(tags)[-3:])
    made_ = Marker(key=KEY, **marker.recorded(tags, first))
    assert made_.more == 500
    assert len(made_.tags) == marker.LISTED
    assert first <= made_.tags
    assert len(made_.line) < 22_000
    assert made_.whole == marker.recorded(tags)["whole"]


def test_a_line_of_an_older_schema_has_troubles_too() -> None:
    line = made(outcome=Reason.MISSING_LIBRARY, status="regressed", schema_version=1)
    assert len(kinds(line)) == 1
