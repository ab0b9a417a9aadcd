"""One cell: run its probe, and say what happened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache as cache_in_process
from pathlib import Path
from typing import Any

from harness import foreseen, lddebug, signature
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
    may be quicker, but must not be the reason of anything. Where the two differ, both are asked
    :data:`AGAIN` times more, to tell which of the two ways it is from what comes by chance.
    """

    def ask(fresh: bool) -> Outcome:
        return observe(cell, prepared, pool, fresh=fresh)

    foresight = foreseen.foresee(cell, prepared)
    outcome = ask(fresh)
    given = foresight and foresight.given(outcome)
    prediction = given.prediction if given else None
    if not judge(outcome, cell.expected, prediction).is_surprise:
        return outcome, given
    again = ask(True)
    if signature.of_outcome(again) != signature.of_outcome(outcome):
        firsts = [outcome, *(ask(fresh) for _ in range(AGAIN))]
        again = decided(firsts, [again, *(ask(True) for _ in range(AGAIN))])
    return again, foresight and foresight.given(again)


def decided(firsts: Sequence[Outcome], fresh: Sequence[Outcome]) -> Outcome:
    """The answer that counts of several that differ: the most frequent of the ``fresh`` ones.

    Its evidence has how often each was given, under ``answers``, and the different ones under
    :data:`FLAKY`; or, where it only matters in which of the two ways was asked, the first one
    under ``forked``.
    """
    tried = [one for one in fresh if one.reason.was_tried] or list(fresh)
    words = [signature.of_outcome(one).words for one in tried]
    counts = dict(Counter(signature.of_outcome(one).words for one in (*firsts, *fresh)))
    chosen = tried[words.index(Counter(words).most_common(1)[0][0])]
    ways = [{signature.of_outcome(one) for one in way} for way in (firsts, fresh)]
    if all(len(way) == 1 for way in ways):
        forked: object = {"reason": firsts[0].reason, "message": firsts[0].message}
        return replace(chosen, evidence={**chosen.evidence, "forked": forked})
    return replace(chosen, evidence={**chosen.evidence, FLAKY: list(counts), ANSWERS: counts})


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
    events = _encodable(finished.events)
    started = events.get("started")
    if started is None:
        said = finished.errors.strip()[-500:] or "it said nothing"
        return untestable(
            Stage.INTERPRETER,
            f"the interpreter did not start the probe{_code(finished)}: {said}",
        )
    expected_machine = str(cell.environment.interpreter.platform)
    if started["machine"] != expected_machine:
        return untestable(
            Stage.IMAGE,
            f"the container runs on {started['machine']}, but the cell is for {expected_machine}",
        )
    if started["leaked"]:
        return untestable(
            Stage.IMAGE,
            f"the image sets {', '.join(started['leaked'])}, which would change the answer",
        )
    stage = LAST_STAGE[cell.sample.kind]
    evidence: dict[str, object] = {
        "python": started["python"],
        "prefix": started["base_prefix"],
        "machine": started["machine"],
    }
    if finished.timed_out:
        return Outcome(
            stage=stage,
            reason=Reason.TIMEOUT,
            message=f"the {stage} did not end within {cell.sample.timeout} s",
            evidence=evidence,
        )
    report = events.get("finished")
    if report is None:
        return _died(finished, stage, evidence)
    match report["outcome"]:
        case "not-installed":
            return untestable(Stage.INSTALL, str(report["message"]))
        case "not-applicable":
            return not_applicable(Stage.INTERPRETER, str(report["message"]))
    evidence["mapped_libpythons"] = report["mapped_libpythons"]
    evidence["modules"] = report["modules"]
    missing = None
    match report["outcome"]:
        case "passed":
            evidence["findings"] = report["findings"]
            reason, message = Reason.PASSES, ""
        case "imported":
            bindings = report["bindings"]
            if "problem" in bindings:
                return untestable(
                    Stage.INSTALL,
                    "it imports, but to what its symbols are bound could not be read: "
                    f"{bindings['problem']}",
                )
            evidence["bindings"] = bindings
            reason, message = _bound(bindings)
        case _:
            evidence["exception"] = report["exception"]
            if "findings" in report:
                evidence["findings"] = report["findings"]
            message, missing = str(report["message"]), report["missing_library"]
            reason = _reason(message, missing, str(report["exception"]))
            if stage is Stage.CHECK and reason is not Reason.MISSING_LIBRARY:
                reason = Reason.FAILS
    return Outcome(
        stage=stage,
        reason=reason,
        message=message,
        missing_library=missing,
        seconds=report["seconds"],
        evidence=evidence,
    )


def _code(finished: Finished) -> str:
    return "" if finished.exit_code is None else f" (exit code {finished.exit_code})"


def _bound(bindings: dict[str, Any]) -> tuple[Reason, str]:
    """Whether the C API that an extension uses is the running interpreter's."""
    copies: dict[str, list[str]] = bindings["copies"]
    if not copies:
        return Reason.IMPORTS, ""
    words = [
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "
        f"bound to {path}"
        for path, names in copies.items()
    ]
    return Reason.SPLIT_BINDING, f"{'; '.join(words)}, but {bindings['home']} is what runs"


def _encodable(value: Any) -> Any:
    """The same with lone surrogates escaped: a file name that is no UTF-8 may be in any text."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_encodable(part) for part in value]
        case dict():
            return {_encodable(key): _encodable(part) for key, part in value.items()}
        case _:
            return value


def _reason(message: str, missing: str | None, exception: str) -> Reason:
    if missing is not None:
        return Reason.MISSING_LIBRARY
    if re.search(r"undefined symbol: ", message):
        return Reason.UNDEFINED_SYMBOL
    return Reason.OUT_OF_MEMORY if exception == "MemoryError" else Reason.IMPORT_ERROR


def _died(finished: Finished, stage: Stage, evidence: dict[str, object]) -> Outcome:
    """The process ended without a report, after the probe had started."""
    evidence["exit_code"] = finished.exit_code
    evidence["stderr"] = finished.errors[-2000:]
    if finished.oom_killed:
        return Outcome(
            stage=stage,
            reason=Reason.OUT_OF_MEMORY,
            message=f"the kernel killed the {stage}: it wanted more memory than the matrix allows",
            evidence=evidence,
        )
    assert finished.exit_code is not None  # since it had started, its end was seen
    number = finished.exit_code - 128
    how = (
        f"signal {number} ({SIGNALS.get(number, 'unknown')})"
        if 0 < number < 65
        else f"exit code {finished.exit_code}"
    )
    return Outcome(
        stage=stage,
        reason=Reason.CRASH,
        message=f"the interpreter ended during the {stage} with {how}",
        evidence=evidence,
    )
