"""What is worth a bisection, and that nothing of it can do harm in a workflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import cli
from harness.bisection.command import bisect
from harness.filing import suspects
from harness.filing.suspects import Suspect
from harness.results import Result
from tests.unit.sample_nights import GL, broken, error, fixed, known, ok, untestable
from tests.unit.sample_results import written


def at(make: Any, release: str, sample: str = "sample", **more: Any) -> Result:
    """A cell of another release, platform or base, under an id of its own."""
    where = {"platform": "x86_64", "base": "debian13", **more}
    name = f"{sample}-uv0.7.6-cp313-{release}-{'-'.join(map(str, where.values()))}"
    found: Result = make(sample, id=name, release=release, **where)
    return found


def only(*lines: Result, base: tuple[Result, ...] = ()) -> Suspect:
    (suspect,) = suspects.find(lines, base, most=9).suspects
    return suspect


def test_the_good_release_is_the_last_one_before_that_has_a_success() -> None:
    lines = [at(ok, tag) for tag in ("20250317", "20250409", "20250529")]
    suspect = only(*lines, at(broken, "20250517"), at(broken, "20250521"))
    assert (suspect.good, suspect.bad) == ("20250409", "20250517")


def test_a_success_with_the_same_release_is_no_end_of_a_search() -> None:
    assert suspects.find([ok(uv="0.7.7"), broken()], most=9).suspects == ()


def test_releases_are_ordered_by_their_commits() -> None:
    """20250323 is of March 2026."""
    suspect = only(at(ok, "20260320"), at(ok, "20260210"), at(broken, "20250323"))
    assert suspect.good == "20260320"


def test_the_last_good_night_counts_too() -> None:
    suspect = only(at(broken, "20250517"), base=(at(ok, "20250409"),))
    assert suspect.good == "20250409"


@pytest.mark.parametrize(
    "other",
    [
        {"platform": "aarch64"},
        {"base": "debian12"},
        {"remedy": "preload"},
        {"python": "3.12"},
        {"flavour": "freethreaded"},
        {"source": "replica"},
    ],
)
def test_a_success_of_another_question_is_none(other: dict[str, str]) -> None:
    found = suspects.find([at(ok, "20250409", **other), at(broken, "20250517")], most=9)
    assert found.suspects == ()
    assert "no success with an earlier release" in found.passed_over[0]


@pytest.mark.parametrize("make", [untestable, known, broken])
def test_what_is_no_success_is_no_good_end(make: Any) -> None:
    assert suspects.find([at(make, "20250409"), at(broken, "20250517")], most=9).suspects == ()


def test_the_representative_is_the_one_that_most_people_can_repeat() -> None:
    lines = [
        *(at(ok, "20250409", name) for name in ("a", "b", "c")),
        at(ok, "20250409", "a", platform="aarch64"),
        at(ok, "20250409", "a", base="debian13-libpython"),
        at(broken, "20250517", "a", platform="aarch64"),
        at(broken, "20250517", "a", base="debian13-libpython"),
        at(broken, "20250517", "c"),
        at(broken, "20250517", "b"),
    ]
    suspect = only(*lines)
    assert (suspect.extension, suspect.platform, suspect.base) == ("b", "x86_64", "debian13")


def test_what_a_bisection_cannot_ask_is_not_asked() -> None:
    for more in ({"remedy": "preload"}, {"flavour": "freethreaded"}):
        lines = [at(ok, "20250409", **more), at(broken, "20250517", **more)]
        assert suspects.find(lines, most=9).suspects == ()


def test_only_what_regressed_is_bisected() -> None:
    assert suspects.find([at(ok, "20250409"), at(fixed, "20250517")], most=9).suspects == ()


def test_a_flaky_cell_is_not_bisected() -> None:
    lines = [at(ok, "20250409"), at(ok, "20250517"), at(broken, "20250517")]
    assert suspects.find(lines, most=9).suspects == ()


def test_no_more_than_are_wanted_the_largest_trouble_first() -> None:
    lines = [
        *(at(ok, "20250409", name) for name in "abc"),
        at(broken, "20250517", "a"),
        at(broken, "20250517", "b", library=GL),
        at(broken, "20250517", "c", library=GL),
    ]
    found = suspects.find(lines, most=1)
    assert [suspect.extension for suspect in found.suspects] == ["b"]
    assert "only 1 are wanted" in found.passed_over[0]


HOSTILE = ["$(id)", "a;b", "a b", "-x", "a\n", "a'", 'a"', "`id`", "ä", "", "../a", "${{ x }}"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["extension", "base", "python", "uv", "release"])
def test_what_matrix_yaml_would_not_allow_is_passed_over(text: str, field: str) -> None:
    more = {field: text}
    good, bad = at(ok, "20250409"), at(broken, "20250517")
    if field != "release":
        good = good.model_copy(update=more)
    found = suspects.find([good, bad.model_copy(update=more)], most=9)
    assert found.suspects == ()
    assert len(found.passed_over) == 1


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_the_job_matrix_is_one_line_of_safe_characters(one: str, two: str, three: str) -> None:
    update = {"extension": one, "base": two, "uv": three}
    lines = [line.model_copy(update=update) for line in (at(ok, "20250409"), at(broken, "2025"))]
    text = suspects.find([*lines, at(ok, "20250409"), at(broken, "20250517")], most=9).include
    assert set(text) <= set(
        'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_{}[]":,'
    )
    assert len(json.loads(text)["include"]) >= 1


def test_bisect_takes_what_a_suspect_says() -> None:
    suspect = only(at(ok, "20250409"), at(broken, "20250517"))
    words = {name: value for name, value in vars(suspect).items() if name != "key"}
    arguments = [word for name, value in words.items() for word in (f"--{name}", value)]
    context = bisect.make_context("bisect", [*arguments, "--report", f"{suspect.key}.md"])
    taken = {**context.params, "extension": context.params["asked"]}
    assert {name: taken[name] for name in words} == words


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    new = written(tmp_path / "new.jsonl", [at(broken, "20250517"), error("x", "y")])
    base = written(tmp_path / "base.jsonl", [at(ok, "20250409")])
    return [str(new), "--base", str(base)]


def test_the_command_prints_what_a_workflow_would_read(
    files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    done = CliRunner().invoke(cli.main, ["suspects", *files])
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()
    (entry,) = json.loads(first.removeprefix("bisects="))["include"]
    assert (entry["extension"], entry["good"], entry["bad"]) == ("sample", "20250409", "20250517")
    assert second == "count=1"
    assert "not bisected: regressed-" in done.stderr
    output = tmp_path / "output"
    output.write_text("before=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    again = CliRunner().invoke(cli.main, ["suspects", *files, "--max", "0"])
    assert again.stdout == ""
    assert output.read_text() == 'before=1\nbisects={"include":[]}\ncount=0\n'


def test_an_output_that_cannot_be_written_is_said(
    files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "no" / "file"))
    done = CliRunner().invoke(cli.main, ["suspects", *files])
    assert done.exit_code == 10
    assert "$GITHUB_OUTPUT cannot be written: No such file or directory" in done.stderr
