"""A cell as a pytest test: which outcome passes, fails or skips it, and what is kept of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness import cells, foreseen
from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Cell, Expected
from harness.plugin import Run
from harness.prediction import Prediction
from harness.results import Result, read
from harness.verdict import Status
from tests.unit.fake_foresight import Foresight, Prepared
from tests.unit.sample_cell import sample_cell, sample_check

PROJECT = Path(__file__).parents[2]
BREAKAGE = Expected(reason=Reason.SPLIT_BINDING, why="two of them")


class Config:
    """The options of a run, as far as they matter here."""

    def __init__(self, *, allow_untestable: bool) -> None:
        self._options = {
            "--allow-untestable": allow_untestable,
            "--explain": False,
            "--fresh": False,
        }

    def getoption(self, name: str) -> object:
        return self._options[name]


RunOf = Callable[..., Run]


@pytest.fixture
def run_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunOf:
    """A run in every cell of which this happens; None where no container may be asked."""

    def make(
        outcome: Outcome | None,
        *,
        allow_untestable: bool = False,
        prediction: Prediction | None = None,
    ) -> Run:
        def observe(*arguments: object, fresh: bool) -> Outcome:
            assert outcome is not None, "a container was asked"
            return outcome

        run = Run(cast(pytest.Config, Config(allow_untestable=allow_untestable)))
        if outcome is not None:
            run.__dict__.update(prepared=Prepared(tmp_path), answers=None)
        monkeypatch.setattr(cells, "observe", observe)
        foresight = Foresight(prediction) if prediction else None
        monkeypatch.setattr(foreseen, "foresee", lambda cell, prepared: foresight)
        monkeypatch.setattr(cells, "trace", lambda *arguments: ("find library=libx",))
        return run

    return make


def kept(run: Run) -> Result:
    """The result that a run keeps for the report on a test."""
    assert run.last is not None
    return run.last


def imports() -> Outcome:
    return Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)


def split() -> Outcome:
    return Outcome(stage=Stage.IMPORT, reason=Reason.SPLIT_BINDING, message="Py_A bound to x")


def passes() -> Outcome:
    return Outcome(stage=Stage.CHECK, reason=Reason.PASSES)


def fails() -> Outcome:
    return Outcome(stage=Stage.CHECK, reason=Reason.FAILS, message="list += str")


@pytest.mark.parametrize(
    ("outcome", "asked"),
    [
        (imports(), sample_cell()),
        (split(), sample_cell(BREAKAGE)),
        (passes(), sample_check()),
        (fails(), sample_check(Expected(reason=Reason.FAILS))),
    ],
    ids=["imports", "known split", "passes", "known failure"],
)
def test_a_cell_that_does_what_is_expected_passes(
    run_of: RunOf, outcome: Outcome, asked: Cell
) -> None:
    run = run_of(outcome)
    run.verify(asked)
    assert (kept(run).status, kept(run).outcome) == (Status.AS_EXPECTED, outcome.reason)
    assert (kept(run).kind, kept(run).pins) == (asked.sample.kind, {"image": f"of {asked.id}"})


@pytest.mark.parametrize(
    ("outcome", "asked", "said"),
    [
        (split(), sample_cell(), "regressed: expected imports, but got split-binding"),
        (imports(), sample_cell(BREAKAGE), "fixed: expected split-binding, but it imports"),
        (fails(), sample_check(), "regressed: expected passes, but got fails\nlist \\+= str"),
        (
            passes(),
            sample_check(Expected(reason=Reason.FAILS)),
            "fixed: expected fails, but it passes",
        ),
        (untestable(Stage.IMAGE, "no space"), sample_check(), "untestable: stage image"),
    ],
    ids=["split", "mended", "fails", "passes again", "untestable"],
)
def test_a_cell_that_does_not_fails_and_says_why(
    run_of: RunOf, outcome: Outcome, asked: Cell, said: str
) -> None:
    """Its result is kept all the same."""
    run = run_of(outcome)
    with pytest.raises(pytest.fail.Exception, match=said):
        run.verify(asked)
    assert kept(run).outcome is outcome.reason


def test_a_cell_that_contradicts_the_loaders_rules_fails_though_it_was_expected(
    run_of: RunOf,
) -> None:
    run = run_of(imports(), prediction=Prediction(outcome=Reason.MISSING_LIBRARY, library="libx"))
    with pytest.raises(pytest.fail.Exception) as caught:
        run.verify(sample_cell())
    said = str(caught.value)
    assert said.startswith("mispredicted: by the loader's rules missing-library libx, but got")
    # Both accounts, unasked.
    assert "Nothing searches there." in said
    assert "find library=libx" in said
    assert kept(run).status is Status.MISPREDICTED
    assert kept(run).predicted is not None


def test_what_is_untestable_is_skipped_where_that_is_allowed(run_of: RunOf) -> None:
    run = run_of(untestable(Stage.IMAGE, "no space"), allow_untestable=True)
    with pytest.raises(pytest.skip.Exception, match="untestable: stage image failed: no space"):
        run.verify(sample_check())
    assert kept(run).status is Status.UNTESTABLE


@pytest.mark.parametrize("allow_untestable", [True, False])
def test_what_turns_out_not_to_apply_is_skipped(run_of: RunOf, allow_untestable: bool) -> None:
    """It is no failure of anything, so nothing has to be allowed."""
    outcome = not_applicable(Stage.INTERPRETER, "no tkinter")
    run = run_of(outcome, allow_untestable=allow_untestable)
    with pytest.raises(pytest.skip.Exception, match="not applicable: no tkinter"):
        run.verify(sample_check())
    assert kept(run).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("asked", [sample_cell(), sample_check()], ids=["extension", "check"])
def test_what_is_known_not_to_apply_asks_no_container(run_of: RunOf, asked: Cell) -> None:
    """Nothing was prepared for it either."""
    why = "it is asked only of release 20250517.."
    run = run_of(None)
    with pytest.raises(pytest.skip.Exception, match=f"not applicable: {why}"):
        run.verify(replace(asked, not_applicable=why))
    assert (kept(run).status, kept(run).message) == (Status.NOT_APPLICABLE, why)
    assert (kept(run).pins, kept(run).kind) == ({}, asked.sample.kind)


# A whole run of pytest, on a matrix of which nothing is applicable, so that no engine is needed.

MATRIX = """\
version: "1"
uv: [0.7.5, 0.7.6]
python: ["3.13"]
platforms: [x86_64, aarch64]
bases: {debian13: {suite: trixie}}
extensions: {one: {source: one, imports: one, applies: {release: 20250529..}}}
checks: {a-check: {script: a/check.py, applies: {source: upstream}}}
profiles: {default: {}, extensions: {extensions: [one]}, checks: {checks: [a-check]}}
"""
PLACES = [
    f"uv{uv}-cp313-{release}~replica-{platform}-debian13"
    for uv, release in (("0.7.5", "20250409"), ("0.7.6", "20250517"))
    for platform in ("x86_64", "aarch64")
]


def foreign_first(ids: list[str]) -> list[str]:
    """In the order in which tests run, whose containers take longest where QEMU runs them."""
    return sorted(ids, key=lambda name: f"-{os.uname().machine}-" in name)


def run_pytest(folder: Path, *options: str, rules: str = "") -> subprocess.CompletedProcess[str]:
    """Run the project's own tests of cells on that matrix, with some lines more."""
    (folder / "matrix.yaml").write_text(MATRIX + rules)
    (folder / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--source=replica", *options]
        + [f"--matrix={folder / 'matrix.yaml'}", "cases"],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        # Whoever asks an engine asks this one.
        env={**inherited, "COLUMNS": "200", "DOCKER_HOST": "unix:///nonexistent/docker.sock"},
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_of_which_nothing_is_applicable_needs_no_engine_and_says_so(
    tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "results.jsonl"
    done = run_pytest(tmp_path, f"-n{workers}", f"--results={path}", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 skipped" in done.stdout
    assert "8 cells: 0 as expected" in done.stdout
    assert "8 not applicable; 8 on replicas" in done.stdout
    assert "x86_64, debian13, checks of the interpreter" in done.stdout
    results = {result.id: result for result in read(path)}
    assert set(results) == {f"{name}-{place}" for name in ("one", "a-check") for place in PLACES}
    said = {(str(result.kind), result.message) for result in results.values()}
    assert said == {
        ("extension", "it is asked only of release 20250529.."),
        ("check", "it is asked only of source upstream"),
    }


IMPORTS = [f"cases/test_import.py::test_import[one-{place}]" for place in PLACES]
CHECKS = [f"cases/test_interpreter.py::test_interpreter[a-check-{place}]" for place in PLACES]


def collected(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [text for text in done.stdout.splitlines() if "::" in text]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--profile=extensions"], IMPORTS),
        (["--check=*"], CHECKS),
        (["--check=a-*", "--extension=*", "--uv=0.7.6"], IMPORTS[2:] + CHECKS[2:]),
    ],
    ids=["extensions", "checks", "some of both"],
)
def test_each_kind_of_cell_is_collected_by_its_own_test_and_no_other(
    tmp_path: Path, options: list[str], ids: list[str]
) -> None:
    """Nor does a test remain for a kind of which there is no cell."""
    assert collected(run_pytest(tmp_path, "--collect-only", "-q", *options)) == foreign_first(ids)


def test_a_check_that_is_expected_to_fail_is_marked_as_known_breakage(tmp_path: Path) -> None:
    """And one that is expected to pass is not, although that is not the expectation of imports."""
    rules = "expectations: [{check: a-check, uv: 0.7.5, expect: fails, reason: x}]\n"
    options = ("--collect-only", "-q", "-m", "known_breakage")
    assert collected(run_pytest(tmp_path, *options, rules=rules)) == foreign_first(CHECKS[:2])
