"""One cell: run its probe, and say what happened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache as cache_in_process
from pathlib import Path
from typing import Any

from docker.errors import DockerException
from requests import RequestException

from harness import containers, engine, lddebug
from harness.check import advice, verdicts
from harness.check.advice import Advice
from harness.check.baseline import is_libpython
from harness.check.builds import Python
from harness.check.tree import directory as read_directory
from harness.containers import Containers, Finished
from harness.errors import HarnessError
from harness.explanation import EXPLANATION, Explanation
from harness.extensions import module_name, tree_name
from harness.foreseen import Foreseen
from harness.matrix import Kind
from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Cell, Interpreter, where
from harness.prepared import Prepared

SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}


LAST_STAGE = {Kind.EXTENSION: Stage.IMPORT, Kind.CHECK: Stage.CHECK}


def observe(cell: Cell, prepared: Prepared, pool: Containers) -> Outcome:
    """Ask a cell's question in its environment's container; never raises for its sake."""
    environment = prepared.environments[cell.environment.id]
    if environment.image is None:
        absent = not_applicable if environment.not_applicable else untestable
        return absent(environment.failed_stage or Stage.IMAGE, environment.problem)
    extension = prepared.extension(cell)
    if extension.tree is None:
        absent = not_applicable if extension.not_applicable else untestable
        return absent(Stage.INSTALL, extension.problem)
    try:
        return interpret(_ask(cell, prepared, pool), cell)
    except HarnessError as error:
        return untestable(Stage.ENGINE, error.problem)


def trace(cell: Cell, prepared: Prepared, pool: Containers, library: str) -> tuple[str, ...]:
    """Ask a cell's question again, and have the loader tell what it does about a library.

    What comes of it is not looked at; empty where the engine fails, or the loader does not tell.
    """
    try:
        finished = _ask(cell, prepared, pool, variables=lddebug.VARIABLES)
    except HarnessError:
        return ()
    return lddebug.about(finished.errors, library)


def explained(
    cell: Cell, outcome: Outcome, foresight: Foreseen, prepared: Prepared, pool: Containers
) -> Outcome:
    """An outcome with both accounts of it, by the loader's rules and the loader's own, and advice.

    The advice is what ``pbs-matrix check`` says of the same files.
    """
    library = outcome.missing_library or foresight.prediction.library
    tree = prepared.extension(cell).tree
    assert tree is not None  # else nothing would have been foreseen
    explanation = Explanation(
        account=foresight.account,
        trace=trace(cell, prepared, pool, library) if library else (),
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


def _ask(
    cell: Cell, prepared: Prepared, pool: Containers, variables: Mapping[str, str] | None = None
) -> Finished:
    """Run a cell's probe; :class:`HarnessError` where the engine does not let it."""
    image = prepared.environments[cell.environment.id].image
    assert image is not None  # else there is nothing to ask
    request: dict[str, object] = {
        "tree": f"{containers.EXTENSIONS}/{tree_name(cell)}",
        "module": module_name(cell),
        # The others were applied to the files or to the environment.
        "remedy": str(cell.remedy),
    }
    if cell.sample.kind is Kind.CHECK:
        request["check"] = where(cell)
    # A container may have ended by itself just now, having been idle; a second one will not.
    for last in (False, True):
        try:
            container = pool.get(
                cell.environment.id,
                image.tag,
                cell.environment.interpreter.platform,
                prepared.trees(cell.environment),
            )
            finished = containers.run_probe(
                container, request, limit=cell.sample.timeout, variables=variables
            )
        except (DockerException, RequestException) as error:
            if last:
                raise engine.translated(
                    error, f"running a probe in {cell.environment.id}"
                ) from error
            continue
        if finished.events or last:
            return finished
    raise AssertionError("the second attempt returned or raised")


def interpret(finished: Finished, cell: Cell) -> Outcome:
    """What a probe's end means. A fact about the extension only after the probe had started."""
    events = _encodable(finished.events)
    started = events.get("started")
    if started is None:
        said = finished.errors.strip()[-500:] or "it said nothing"
        return untestable(
            Stage.INTERPRETER,
            f"the interpreter did not start the probe (exit code {finished.exit_code}): {said}",
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
            message=f"the kernel killed the {stage}: more than {containers.MEMORY} of memory",
            evidence=evidence,
        )
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
