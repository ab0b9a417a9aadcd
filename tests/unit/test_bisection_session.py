"""A bisection on its way: what is asked of whom, what is kept, and what is nobody's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness import cache
from harness.bisection import answers, search
from harness.bisection.model import (
    Axis,
    Candidate,
    Inquiry,
    Trial,
    answer_of,
    answers_of,
    asked_about,
)
from harness.bisection.search import Answer, Cancelled, Direction, Flaky, Found, Range
from harness.bisection.session import Session
from harness.bisection.walk import Walk
from harness.errors import EngineMissingError, FetchError, HarnessError, NotOfferedError
from harness.outcome import Outcome, Reason, Stage, untestable
from harness.plan import Cell
from harness.platforms import Platform
from harness.results import Result, result_of
from harness.running import Laboratory
from harness.signature import Signature
from harness.sources import Source
from tests.unit.sample_cell import sample_cell

LIBPYTHON = "libpython3.13.so.1.0"
FINE = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)
GONE = Outcome(stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON)
OTHER = Outcome(stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library="libGL.so.1")
CRASH = Outcome(stage=Stage.IMPORT, reason=Reason.CRASH, message="signal 11")
LOST = untestable(Stage.ENGINE, "connection refused")

TAGS = tuple(f"2025010{n}" for n in range(9))


def inquiry(**change: Any) -> Inquiry:
    made = Inquiry(
        id="some",
        started="2026-01-01T00:00:00+00:00",
        command="pbs-matrix bisect",
        axis=Axis.RELEASE,
        subject="sample",
        extension="sample",
        asked="sample",
        matrix="matrix.yaml",
        platform=Platform.AARCH64,
        base="debian13",
        source=Source.REPLICA,
        python="3.13",
        candidates=tuple(Candidate(uv="0.7.6", release=tag) for tag in TAGS),
        good=0,
        bad=len(TAGS) - 1,
        direction=Direction.BREAK,
        retests=0,
    )
    return made.model_copy(update=change)


def cell_of(candidate: Candidate) -> Cell:
    cell = sample_cell()
    interpreter = replace(cell.environment.interpreter, release=candidate.release or "unknown")
    return replace(cell, environment=replace(cell.environment, interpreter=interpreter))


class FakeWalk:
    """Cells that differ in their release alone."""

    def cells(self, candidate: Candidate) -> tuple[Cell, ...]:
        return (cell_of(candidate),)

    def lock(self, candidate: Candidate) -> None:
        return None


class FakePrepared:
    """What a cell rests on: nothing but itself, and whether an emulator runs it."""

    def __init__(self, emulator: str | None) -> None:
        self.emulators = {"aarch64": emulator}

    def extension(self, cell: Cell) -> FakePrepared:
        return self

    tree = None

    def pins(self, cell: Cell) -> dict[str, object]:
        return {"qemu": self.emulators["aarch64"]}


class FakeLaboratory:
    """Answers by release: an outcome, a problem, or several of them one after the other."""

    def __init__(
        self, truth: dict[str, list[Outcome | HarnessError]], emulator: str | None
    ) -> None:
        self.truth = truth
        self.emulator = emulator
        self.asked: list[str] = []

    def prepare(self, planned: tuple[Cell, ...], lock: object) -> FakePrepared:
        said = self.truth[planned[0].environment.interpreter.release]
        first = said[0]
        if isinstance(first, HarnessError):
            if len(said) > 1:
                said.pop(0)
            raise first
        return FakePrepared(self.emulator)

    def run(self, planned: tuple[Cell, ...], prepared: object, how: object) -> Iterator[Result]:
        (cell,) = planned
        release = cell.environment.interpreter.release
        self.asked.append(release)
        said = self.truth[release]
        outcome = said.pop(0) if len(said) > 1 else said[0]
        assert isinstance(outcome, Outcome)
        yield result_of(cell, outcome, {})


class FakeJournal:
    """Keeps trials in memory; cuts the session short after some, if so told."""

    def __init__(self, trials: tuple[Trial, ...] = (), *, last: int = 1000) -> None:
        self.trials = trials
        self._last = last

    def append(self, trial: Trial) -> None:
        self.trials = (*self.trials, trial)
        if len(self.trials) >= self._last:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))


Made = tuple[Session, FakeLaboratory, FakeJournal, list[str]]


def session(
    truth: Callable[[int], Outcome | HarnessError | list[Any]],
    *,
    emulator: str | None = None,
    journal: FakeJournal | None = None,
    **change: Any,
) -> Made:
    """A session in which each candidate is what a function of its place says."""
    found = {tag: truth(place) for place, tag in enumerate(TAGS)}
    lists = {tag: said if isinstance(said, list) else [said] for tag, said in found.items()}
    laboratory = FakeLaboratory(lists, emulator)
    kept = journal or FakeJournal()
    said: list[str] = []
    made = Session(
        inquiry=inquiry(**change),
        walk=cast(Walk, FakeWalk()),
        journal=kept,
        laboratory=cast(Laboratory, laboratory),
        say=said.append,
        pauses=(0.0, 0.0),
    )
    return made, laboratory, kept, said


def breaks_at(place: int) -> Callable[[int], Outcome]:
    return lambda asked: FINE if asked < place else GONE


@pytest.mark.parametrize("place", range(1, len(TAGS)))
def test_the_first_bad_one_is_found_and_each_answer_is_written_down(place: int) -> None:
    made, laboratory, journal, said = session(breaks_at(place))
    assert made.run() == Found(last=place - 1, first=place)
    assert [TAGS[trial.place] for trial in journal.trials] == laboratory.asked
    assert len(said) == len(journal.trials)


def test_both_sides_are_asked_again_for_real() -> None:
    """What is kept of them from just before would show nothing."""
    made, laboratory, journal, _ = session(breaks_at(4), retests=1)
    assert made.run() == Found(last=3, first=4)
    assert laboratory.asked.count(TAGS[3]) == laboratory.asked.count(TAGS[4]) == 2
    assert not any(trial.is_kept for trial in journal.trials)


def test_an_answer_of_an_earlier_day_is_taken_if_nothing_has_changed() -> None:
    session(breaks_at(4))[0].run()
    made, laboratory, journal, said = session(breaks_at(4))
    assert made.run() == Found(last=3, first=4)
    assert laboratory.asked == []
    assert all(trial.is_kept for trial in journal.trials)
    assert all("as on an earlier day" in line for line in said)
    made, laboratory, _, _ = session(breaks_at(4), emulator="10.0")
    made.run()
    assert laboratory.asked, "with another QEMU it is another question"
    made, laboratory, _, _ = session(breaks_at(4))
    made.use_kept = False
    made.run()
    assert laboratory.asked, "it was to be asked afresh"


def test_what_could_not_be_tested_is_asked_again_another_day() -> None:
    def truth(place: int) -> Outcome:
        return untestable(Stage.IMAGE, "no space") if place == 4 else breaks_at(6)(place)

    session(truth)[0].run()
    made, laboratory, _, _ = session(truth)
    made.run()
    assert set(laboratory.asked) == {TAGS[4]}


@pytest.mark.parametrize(
    "problem", [FetchError("it is gone", advice="wait"), NotOfferedError("no 3.13", advice="-")]
)
def test_what_cannot_even_be_prepared_is_stepped_around(problem: HarnessError) -> None:
    made, _, journal, said = session(lambda n: problem if n in (4, 5) else breaks_at(6)(n))
    ending = made.run()
    assert ending == Range(last=3, first=6, untestable=(4, 5), unasked=())
    outcomes = {trial.place: trial.result.outcome for trial in journal.trials}
    assert not outcomes[4].was_tried
    assert any(problem.problem in line for line in said)


def test_another_failure_than_the_one_that_was_asked_about_is_no_answer() -> None:
    """It is told, and stepped around; with any_failure it counts."""
    truth = lambda n: OTHER if n in (3, 4) else breaks_at(6)(n)  # noqa: E731
    made, _, _, said = session(truth)
    assert made.run() == Found(last=5, first=6)
    assert any("libGL.so.1" in line for line in said)
    made, _, _, _ = session(truth, any_failure=True, everything=True)
    assert isinstance(made.run(), search.NotMonotonic)


def test_a_crash_under_emulation_is_tried_again_and_told() -> None:
    """It may be the emulator's own. Natively it is the extension's."""
    made, laboratory, journal, said = session(
        lambda n: [CRASH, FINE] if n == 0 else breaks_at(4)(n), emulator="10.0"
    )
    assert made.run() == Found(last=3, first=4)
    assert laboratory.asked[:2] == [TAGS[0], TAGS[0]]
    assert "it crashed under QEMU 10.0" in journal.trials[0].notes[0]
    assert any("crashed under QEMU" in line for line in said)
    made, laboratory, journal, _ = session(lambda n: FINE if n < 4 else CRASH)
    assert made.run() == Found(last=3, first=4)
    assert len(laboratory.asked) == len(journal.trials)
    made, laboratory, journal, _ = session(lambda n: FINE if n < 4 else CRASH, emulator="9.2")
    assert made.run() == Found(last=3, first=4)
    bad = next(trial for trial in journal.trials if trial.place == 8)
    assert "it crashed 3 times of 3" in bad.notes


def test_an_answer_that_changes_is_flaky_and_blames_nobody() -> None:
    made, _, journal, _ = session(lambda n: [FINE, GONE] if n == 3 else breaks_at(4)(n), retests=1)
    ending = made.run()
    assert isinstance(ending, Flaky)
    assert (ending.index, ending.counts.good, ending.counts.bad) == (3, 1, 1)
    assert len([trial for trial in journal.trials if trial.place == 3]) == 2


def test_an_engine_that_comes_back_is_waited_for() -> None:
    gone = EngineMissingError("no engine answers", advice="start it")
    made, _, journal, said = session(lambda n: [gone, LOST, FINE] if n == 0 else breaks_at(4)(n))
    assert made.run() == Found(last=3, first=4)
    assert sum("the engine does not answer" in line for line in said) == 2
    assert all(trial.result.stage is Stage.IMPORT for trial in journal.trials)


def test_an_engine_that_stays_away_cancels_and_is_no_answer() -> None:
    made, _, journal, said = session(lambda n: LOST if n == 4 else breaks_at(6)(n))
    ending = made.run()
    assert isinstance(ending, Cancelled)
    assert ending.asked == 2
    assert [trial.place for trial in journal.trials] == [0, 8]
    assert any(line.startswith("the engine is gone") for line in said)


@pytest.mark.parametrize("after", range(1, 6))
def test_what_was_cut_short_goes_on_where_it_stopped(after: int) -> None:
    """Nothing is tested twice, and the end is the same."""
    whole, laboratory, _, _ = session(breaks_at(6))
    whole.use_kept = False
    expected = whole.run()
    asked = list(laboratory.asked)
    made, laboratory, journal, _ = session(breaks_at(6), journal=FakeJournal(last=after))
    made.use_kept = False
    assert isinstance(made.run(), Cancelled)
    first = list(laboratory.asked)
    made, laboratory, _, _ = session(breaks_at(6), journal=FakeJournal(journal.trials))
    made.use_kept = False
    assert made.run() == expected
    assert [*first, *laboratory.asked] == asked


def test_several_are_tested_at_once_where_that_helps() -> None:
    made, laboratory, journal, _ = session(breaks_at(5), jobs=3)
    assert made.run() == Found(last=4, first=5)
    assert set(laboratory.asked) == {TAGS[trial.place] for trial in journal.trials}


def trial(place: int, outcome: Outcome) -> Trial:
    return Trial(place=place, result=result_of(cell_of(inquiry().candidates[place]), outcome, {}))


def test_the_failure_that_is_asked_about_is_that_of_the_bad_end() -> None:
    """Until it is known, any failure; of several, the one nearest to that end."""
    assert asked_about(inquiry(), ()) is None
    trials = (trial(0, FINE), trial(3, OTHER), trial(7, GONE))
    assert asked_about(inquiry(), trials) == Signature(
        stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON
    )
    assert asked_about(inquiry(any_failure=True), trials) is None
    assert answers_of(inquiry(), trials) == {
        0: (Answer.GOOD,),
        3: (Answer.UNTESTABLE,),
        7: (Answer.BAD,),
    }


def test_what_was_not_tried_is_never_good_or_bad() -> None:
    for outcome in (untestable(Stage.IMAGE, ""), LOST):
        assert answer_of(trial(1, outcome).result, None) is Answer.UNTESTABLE


def test_the_version_of_the_harness_is_that_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that other code has made is no answer."""
    answers.harness_version.cache_clear()
    before = answers.harness_version()
    monkeypatch.setattr(cache, "file_digest", lambda path: path.name)
    answers.harness_version.cache_clear()
    assert answers.harness_version() != before
    answers.harness_version.cache_clear()
