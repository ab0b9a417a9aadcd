"""One cell: run its probe, and say what happened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache as cache_in_process
from pathlib import Path
from typing import assert_never

from harness import foreseen, lddebug, probereport, signature
from harness.check import advice, verdicts
from harness.check.advice import Advice
from harness.check.baseline import is_libpython
from harness.check.builds import Python
from harness.check.tree import directory as read_directory
from harness.errors import HarnessError
from harness.explanation import EXPLANATION, Explanation
from harness.foreseen import Foreseen
from harness.matrix import Kind
from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Cell, Interpreter, module_name, tree_name, where
from harness.prepared import Prepared
from harness.probereport import (
    MAX_MESSAGE,
    Bindings,
    Forged,
    Imported,
    NotAsked,
    Passed,
    Raised,
    Unread,
)
from harness.question import EXTENSIONS, Answers, Finished, Question
from harness.signature import ANSWERS, FLAKY
from harness.verdict import judge

AGAIN = 2
"""How often what was answered in two ways is asked again, in each of the two ways."""

SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}


LAST_STAGE = {Kind.EXTENSION: Stage.IMPORT, Kind.CHECK: Stage.CHECK}


def observe(cell: Cell, prepared: Prepared, pool: Answers, *, fresh: bool = False) -> Outcome:
    """Ask a cell's question in its environment's container; never raises for its sake.

    ``fresh``: in an interpreter and a container of its own.
    """
    environment = prepared.environments[cell.environment.id]
    if environment.image is None:
        absent = not_applicable if environment.not_applicable else untestable
        return absent(environment.failed_stage or Stage.IMAGE, environment.problem)
    extension = prepared.extension(cell)
    if extension.tree is None:
        absent = not_applicable if extension.not_applicable else untestable
        return absent(Stage.INSTALL, extension.problem)
    try:
        return interpret(pool.ask(question(cell, fresh=fresh)), cell)
    except HarnessError as error:
        return untestable(Stage.ENGINE, error.problem)


def settle(
    cell: Cell, prepared: Prepared, pool: Answers, *, fresh: bool = False
) -> tuple[Outcome, Foreseen | None]:
    """What happened in a cell, and what the loader's rules had foreseen of it.

    What nobody expected is asked again as ``fresh``, and that answer counts: a forked interpreter
    may be quicker, but must not be the reason of anything. Where the two differ, or crashed, both
    are asked :data:`AGAIN` times more, to tell what lies in the way of asking from mere chance.
    """

    def ask(fresh: bool) -> Outcome:
        return observe(cell, prepared, pool, fresh=fresh)

    foresight = foreseen.foresee(cell, prepared)
    outcome = ask(fresh)
    has_died = (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.UNTESTABLE)
    if has_died and prepared.environments[cell.environment.id].image is not None:
        # Before it had started, so that nothing is known: of the machine perhaps, or the emulator.
        outcome = ask(True)
    given = foresight and foresight.given(outcome)
    prediction = given.prediction if given else None
    if not judge(outcome, cell.expected, prediction).is_surprise:
        return outcome, given
    again = ask(True)
    is_same = signature.of_outcome(again) == signature.of_outcome(outcome)
    # An emulator that crashes now and then may do so twice.
    if not is_same or again.reason is Reason.CRASH:
        firsts = [outcome, *(ask(fresh) for _ in range(AGAIN))]
        others = [again, *(ask(True) for _ in range(AGAIN))]
        again = decided([], firsts + others) if fresh else decided(firsts, others)
    return again, foresight and foresight.given(again)


def decided(forked: Sequence[Outcome], fresh: Sequence[Outcome]) -> Outcome:
    """The answer that counts of several: of those that come by chance the most frequent.

    Its evidence has how often each was given, under :data:`ANSWERS`, and the different ones under
    :data:`FLAKY`; or, where it only matters in which of the two ways was asked, the ``fresh`` one
    counts, and the other is noted under ``forked``.
    """
    ways = [[one for one in way if one.reason.was_tried] for way in (forked, fresh)]
    if not ways[1]:
        return fresh[-1]
    kinds = [{signature.of_outcome(one) for one in way} for way in ways]
    if len(kinds[0] | kinds[1]) == 1:
        return ways[1][0]
    if len(kinds[0]) == len(kinds[1]) == 1:
        noted: object = {"reason": ways[0][0].reason, "message": ways[0][0].message}
        return replace(ways[1][0], evidence={**ways[1][0].evidence, "forked": noted})
    by_words = [[(signature.of_outcome(one).words, one) for one in way] for way in ways]
    counts = Counter(said for way in by_words for said, _ in way)
    among_fresh = Counter(said for said, _ in by_words[1])
    best = max(counts, key=lambda said: (counts[said], among_fresh[said]))
    # The evidence of a fresh one, where there is one.
    chosen = next(one for said, one in [*by_words[1], *by_words[0]] if said == best)
    evidence = {**chosen.evidence, FLAKY: list(counts), ANSWERS: dict(counts)}
    return replace(chosen, evidence=evidence)


def trace(cell: Cell, pool: Answers, library: str) -> tuple[str, ...]:
    """Ask a cell's question again, and have the loader tell what it does about a library.

    What comes of it is not looked at; empty where the engine fails, or the loader does not tell.
    """
    try:
        finished = pool.ask(replace(question(cell), variables=lddebug.VARIABLES))
    except HarnessError:
        return ()
    return lddebug.about(finished.errors, library)


def question(cell: Cell, *, fresh: bool = False) -> Question:
    """What a cell asks."""
    ask: dict[str, object] = {
        "tree": f"{EXTENSIONS}/{tree_name(cell)}",
        "module": module_name(cell),
        # The others were applied to the files or to the environment.
        "remedy": str(cell.remedy),
    }
    if cell.sample.kind is Kind.CHECK:
        ask["check"] = where(cell)
    return Question(
        environment=cell.environment.id, ask=ask, limit=cell.sample.timeout, fresh=fresh
    )


def explained(
    cell: Cell, outcome: Outcome, foresight: Foreseen, prepared: Prepared, pool: Answers
) -> Outcome:
    """An outcome with both accounts of it, by the loader's rules and the loader's own, and advice.

    The advice is what ``pbs-matrix check`` says of the same files.
    """
    library = outcome.missing_library or foresight.prediction.library
    tree = prepared.extension(cell).tree
    assert tree is not None  # else nothing would have been foreseen
    explanation = Explanation(
        account=foresight.account,
        trace=trace(cell, pool, library) if library else (),
        advice=_advice(tree, cell.environment.interpreter, library),
    )
    evidence = {**outcome.evidence, EXPLANATION: explanation.model_dump(mode="json")}
    return replace(outcome, evidence=evidence)


@cache_in_process
def _advice(tree: Path, interpreter: Interpreter, library: str | None) -> tuple[Advice, ...]:
    """What to do about the files of a tree, for an interpreter's CPython and platform."""
    python = Python.parse(interpreter.python)
    target = read_directory(tree / "site")
    finding = verdicts.check(target, [python] if python else [], [str(interpreter.platform)])
    if library is not None and not is_libpython(library):
        return advice.about_other(library, finding.missing)
    return advice.advise([finding])


def interpret(finished: Finished, cell: Cell) -> Outcome:
    """What a probe's end means. A fact about the extension only after the probe had started."""
    started = probereport.started(finished.events)
    if started is None:
        said = finished.errors.strip()[-500:] or "it said nothing"
        return untestable(
            Stage.INTERPRETER,
            f"the interpreter did not start the probe{_code(finished)}: {said}",
        )
    expected_machine = str(cell.environment.interpreter.platform)
    if started.machine != expected_machine:
        return untestable(
            Stage.IMAGE,
            f"the container runs on {started.machine}, but the cell is for {expected_machine}",
        )
    if started.leaked:
        return untestable(
            Stage.IMAGE,
            f"the image sets {', '.join(started.leaked)}, which would change the answer",
        )
    stage = LAST_STAGE[cell.sample.kind]
    evidence: dict[str, object] = {
        "python": started.python,
        "prefix": started.base_prefix,
        "machine": started.machine,
    }
    if finished.timed_out:
        return Outcome(
            stage=stage,
            reason=Reason.TIMEOUT,
            message=f"the {stage} did not end within {cell.sample.timeout} s",
            evidence=evidence,
        )
    try:
        report = probereport.answer(finished.events, cell.sample.kind)
    except Forged as forged:
        return _died(finished, stage, evidence, str(forged))
    if report is None:
        return _died(finished, stage, evidence)
    return _answered(report, cell, stage, evidence)


def _answered(
    report: Imported | Passed | Raised | NotAsked,
    cell: Cell,
    stage: Stage,
    evidence: dict[str, object],
) -> Outcome:
    if isinstance(report, NotAsked):
        if report.outcome == "not-installed":
            return untestable(Stage.INSTALL, report.message[:MAX_MESSAGE])
        return not_applicable(Stage.INTERPRETER, report.message[:MAX_MESSAGE])
    evidence["mapped_libpythons"] = report.mapped_libpythons
    evidence["modules"] = report.modules
    missing = None
    match report:
        case Passed():
            evidence["findings"] = report.findings
            reason, message = Reason.PASSES, ""
        case Imported():
            bound = report.bindings
            if isinstance(bound, Unread):
                return untestable(
                    Stage.INSTALL,
                    "it imports, but to what its symbols are bound could not be read: "
                    f"{bound.problem}",
                )
            evidence["bindings"] = bound.model_dump()
            reason, message = _bound(bound)
        case Raised():
            evidence["exception"] = report.exception
            if "findings" in report.model_fields_set:
                evidence["findings"] = report.findings
            message, missing = report.message[:MAX_MESSAGE], report.missing_library
            reason = _reason(message, missing, report.exception)
            if stage is Stage.CHECK and reason is not Reason.MISSING_LIBRARY:
                reason = Reason.FAILS
        case _:
            assert_never(report)
    return Outcome(
        stage=stage,
        reason=reason,
        message=message,
        missing_library=missing,
        seconds=report.seconds,
        evidence=evidence,
    )


def _code(finished: Finished) -> str:
    return "" if finished.exit_code is None else f" (exit code {finished.exit_code})"


def _bound(bindings: Bindings) -> tuple[Reason, str]:
    """Whether the C API that an extension uses is the running interpreter's."""
    copies = bindings.copies
    if not copies:
        return Reason.IMPORTS, ""
    words = [
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "
        f"bound to {path}"
        for path, names in copies.items()
    ]
    return Reason.SPLIT_BINDING, f"{'; '.join(words)}, but {bindings.home} is what runs"


def _reason(message: str, missing: str | None, exception: str) -> Reason:
    if missing is not None:
        return Reason.MISSING_LIBRARY
    if re.search(r"undefined symbol: ", message):
        return Reason.UNDEFINED_SYMBOL
    return Reason.OUT_OF_MEMORY if exception == "MemoryError" else Reason.IMPORT_ERROR


def _died(
    finished: Finished, stage: Stage, evidence: dict[str, object], forged: str = ""
) -> Outcome:
    """The process ended without a report that counts, after the probe had started."""
    evidence["exit_code"] = finished.exit_code
    evidence["stderr"] = finished.errors[-2000:]
    if finished.oom_killed:
        return Outcome(
            stage=stage,
            reason=Reason.OUT_OF_MEMORY,
            message=f"the kernel killed the {stage}: it wanted more memory than the matrix allows",
            evidence=evidence,
        )
    how = (
        f"exit code {finished.exit_code}"
        if finished.signal is None
        else f"signal {finished.signal} ({SIGNALS.get(finished.signal, 'unknown')})"
    )
    message = f"the interpreter ended during the {stage} with {how}"
    return Outcome(
        stage=stage,
        reason=Reason.CRASH,
        message=f"{message}; {forged}" if forged else message,
        evidence=evidence,
    )
