"""Going through a bisection: ask, run, write down, and ask again, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from harness import trial
from harness.bisection import answers
from harness.bisection.model import Inquiry, Trial, answers_of
from harness.bisection.search import Cancelled, Ending, Question, Step, cancelled, decide
from harness.bisection.walk import Walk
from harness.errors import EngineMissingError, EnginePermissionError, HarnessError, NotOfferedError
from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Cell
from harness.prepared import Prepared
from harness.results import Result, result_of
from harness.running import Laboratory

Say = Callable[[str], None]

AGAIN_AFTER_A_CRASH = 2
"""How often a crash under emulation is tried again: it may be the emulator's own."""

PAUSES = (1.0, 3.0, 10.0)
"""Seconds to wait for an engine that has stopped, each time it does not answer."""


class Journal(Protocol):
    """Where a session writes down what it has found out."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What was tested so far, oldest first."""
        ...

    def append(self, trial: Trial) -> None:
        """Write one down, for good."""
        ...


class EngineLostError(Exception):
    """The engine went away, and did not come back; nothing was found out about a candidate."""


@dataclass(kw_only=True)
class Session:
    """One bisection on its way. Whatever is tested is in the journal before the next is asked."""

    inquiry: Inquiry
    walk: Walk
    journal: Journal
    laboratory: Laboratory
    say: Say
    pauses: tuple[float, ...] = PAUSES
    use_kept: bool = True
    _ahead: ThreadPoolExecutor = field(init=False, default_factory=lambda: ThreadPoolExecutor(1))
    _waiting: list[Future[None]] = field(init=False, default_factory=list)

    def run(self) -> Ending:
        """Until it ends; what stops it leaves a journal that can be gone on with.

        ``KeyboardInterrupt`` and an engine that stays away end it as ``Cancelled``.
        """
        question = question_of(self.inquiry)
        try:
            while True:
                found = decide(question, answers_of(self.inquiry, self.journal.trials))
                if not isinstance(found, Step):
                    return found
                self._take(found)
        except EngineLostError as error:
            self.say(f"the engine is gone: {error}")
        except KeyboardInterrupt:
            self.say("interrupted")
        finally:
            self._ahead.shutdown(wait=False, cancel_futures=True)
        return self.cancelled()

    def cancelled(self) -> Cancelled:
        """What is known so far."""
        return cancelled(question_of(self.inquiry), answers_of(self.inquiry, self.journal.trials))

    def _take(self, step: Step) -> None:
        """Test what a step asks; what the next one may want is fetched meanwhile."""
        known = {trial.place for trial in self.journal.trials}
        with ThreadPoolExecutor(max_workers=max(1, len(step.ask))) as pool:
            jobs = [pool.submit(self.test, place, again=place in known) for place in step.ask]
            self._look_ahead(place for place in step.likely if place not in known)
            try:
                for job in jobs:
                    made = job.result()
                    self.journal.append(made)
                    self._tell(made, step)
            except BaseException:
                for job in jobs:
                    job.cancel()
                raise

    def _look_ahead(self, places: Iterable[int]) -> None:
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting = [self._ahead.submit(self._fetch, place) for place in places]

    def _fetch(self, place: int) -> None:
        """Make what a candidate needs; what goes wrong shows when it is tested."""
        candidate = self.inquiry.candidates[place]
        with suppress(HarnessError):
            self.laboratory.prepare(self.walk.cells(candidate), self.walk.lock(candidate))

    def test(self, place: int, *, again: bool = False) -> Trial:
        """One candidate; an engine that is away is waited for, and never its fault."""
        for pause in (*self.pauses, None):
            try:
                return self._try(place, again=again)
            except EngineLostError as error:
                if pause is None:
                    raise
                self.say(f"the engine does not answer; again in {pause:g} s ({error})")
                time.sleep(pause)
        raise AssertionError("the last pause is none")

    def _try(self, place: int, *, again: bool) -> Trial:
        candidate = self.inquiry.candidates[place]
        try:
            planned = self.walk.cells(candidate)
            prepared = self.laboratory.prepare(planned, self.walk.lock(candidate))
        except (EngineMissingError, EnginePermissionError) as error:
            raise EngineLostError(error.problem.splitlines()[0]) from error
        except NotOfferedError as error:
            return self._without(place, not_applicable(Stage.INTERPRETER, error.problem))
        except HarnessError as error:
            return self._without(place, untestable(Stage.INTERPRETER, error.problem))
        cell = planned[0]
        # Asked again it is to show whether it answers the same, so nothing that was kept will do.
        if self.use_kept and not again and (kept := answers.kept(cell, prepared)):
            return Trial(place=place, result=kept, is_kept=True)
        result, notes = self._ask(cell, prepared)
        if not again:
            answers.keep(cell, prepared, result)
        return Trial(place=place, result=result, notes=tuple(notes))

    def _ask(self, cell: Cell, prepared: Prepared) -> tuple[Result, list[str]]:
        notes: list[str] = []
        emulated = prepared.emulators.get(str(cell.environment.interpreter.platform))
        for left in range(AGAIN_AFTER_A_CRASH, -1, -1):
            (result,) = self.laboratory.run((cell,), prepared, trial.as_observed)
            if result.stage is Stage.ENGINE:
                raise EngineLostError(result.message.splitlines()[0])
            if result.outcome is not Reason.CRASH or not emulated or not left:
                break
            notes.append(f"it crashed under QEMU {emulated}, which may be QEMU's own doing")
        if notes and result.outcome is Reason.CRASH:
            notes.append(f"it crashed {len(notes) + 1} times of {len(notes) + 1}")
        return result, notes

    def _without(self, place: int, outcome: Outcome) -> Trial:
        """A trial of what could not even be prepared."""
        candidate = self.inquiry.candidates[place]
        try:
            cell = self.walk.cells(candidate)[0]
        except HarnessError:
            cell = self.walk.unprepared(candidate)
        return Trial(place=place, result=result_of(cell, outcome, {}))

    def _tell(self, made: Trial, step: Step) -> None:
        result = made.result
        said = "not offered there" if not result.outcome.was_tried else str(result.outcome)
        if result.missing_library:
            said += f" {result.missing_library}"
        if not result.outcome.was_tried:
            said = f"cannot be tested: {result.message.splitlines()[0] if result.message else said}"
        name = self.inquiry.name(made.place)
        release = "" if name == result.release else f" ({result.release}, {result.link_model})"
        model = f" ({result.link_model})" if name == result.release else release
        kept = ", as on an earlier day" if made.is_kept else ""
        self.say(f"{name}{model}: {said}{kept} [{step.why}]")
        for note in made.notes:
            self.say(f"  {note}")


def question_of(inquiry: Inquiry) -> Question:
    """What the search is asked."""
    return Question(
        count=len(inquiry.candidates),
        good=inquiry.good,
        bad=inquiry.bad,
        direction=inquiry.direction,
        jobs=inquiry.jobs,
        everything=inquiry.everything,
        check=inquiry.check,
        retests=inquiry.retests,
    )
