"""What makes two answers the same one: how a cell ended, without what changes from run to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from harness.markdown import without_passwords
from harness.outcome import Outcome, Reason, Stage
from harness.results import Result

FLAKY = "flaky"
"""Key in a result's evidence: the different answers that it stands for, in words."""

ANSWERS = "answers"
"""Key in the evidence of a cell that was asked repeatedly: how often each answer was given."""

SUCCESSES = (Reason.IMPORTS, Reason.PASSES)
"""Nothing else is one: an import that binds to a second libpython is no plain success."""

LENGTH = 200
"""Characters of a message that count; the rest of a longer line is not looked at."""

_SCANNED = 4000
_PATH = re.compile(r"(?<![\w.])/[^\s'\"`:,;()\[\]<>]+")
_ADDRESS = re.compile(r"\b0[xX][0-9a-fA-F]+\b|\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """How a cell ended. ``message`` is empty where stage, reason and library say it all."""

    stage: Stage
    reason: Reason
    missing_library: str | None = None
    message: str = ""

    @property
    def words(self) -> str:
        """Such as ``missing-library libGL.so.1``, or ``import-error: no module named X``."""
        if self.reason in SUCCESSES:
            return str(self.reason)
        shown = str(self.reason) if self.reason.was_tried else f"{self.reason} ({self.stage})"
        if self.missing_library:
            shown += f" {self.missing_library}"
        return f"{shown}: {self.message}" if self.message else shown


def of(result: Result) -> Signature:
    """The signature of a result."""
    return _made(result.stage, result.outcome, result.missing_library, result.message)


def of_outcome(outcome: Outcome) -> Signature:
    """The signature of an outcome."""
    return _made(outcome.stage, outcome.reason, outcome.missing_library, outcome.message)


def _made(stage: Stage, reason: Reason, library: str | None, message: str) -> Signature:
    return Signature(
        stage=stage,
        reason=reason,
        missing_library=library,
        message=blanked(message) if _needs_message(reason) else "",
    )


def blanked(message: str) -> str:
    """The first line of a message, with ``<path>``, ``<address>`` and ``<n>`` for what varies."""
    line = next((line for line in message.splitlines() if line.strip()), "").strip()
    line = without_passwords(line[:_SCANNED])
    line = _ADDRESS.sub("<address>", _PATH.sub("<path>", line))
    return _NUMBER.sub("<n>", line)[:LENGTH]


def _needs_message(reason: Reason) -> bool:
    match reason:
        case Reason.IMPORT_ERROR | Reason.FAILS | Reason.UNTESTABLE | Reason.NOT_APPLICABLE:
            return True
        case (
            Reason.IMPORTS
            | Reason.SPLIT_BINDING
            | Reason.PASSES
            | Reason.MISSING_LIBRARY
            | Reason.UNDEFINED_SYMBOL
            | Reason.CRASH
            | Reason.TIMEOUT
            | Reason.OUT_OF_MEMORY
        ):
            return False
        case _:
            assert_never(reason)
