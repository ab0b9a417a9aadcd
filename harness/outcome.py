"""What happened in a cell: stage and reason, and nothing about what should have happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """How far a cell got. Only the last two say anything about what is under test."""

    ENGINE = "engine"
    IMAGE = "image"
    INTERPRETER = "interpreter"
    INSTALL = "install"
    IMPORT = "import"
    """An extension was imported, or failed to be."""
    CHECK = "check"
    """A check asked its question of the interpreter."""


class Reason(StrEnum):
    """The way a cell ended; the last two where nothing was tried."""

    IMPORTS = "imports"
    SPLIT_BINDING = "split-binding"
    """It imports, but some of its C API is a second copy's, which the interpreter never ran."""
    PASSES = "passes"
    """A check found nothing wrong."""
    FAILS = "fails"
    """A check found what it looks for."""
    MISSING_LIBRARY = "missing-library"
    UNDEFINED_SYMBOL = "undefined-symbol"
    IMPORT_ERROR = "import-error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    UNTESTABLE = "untestable"
    """Something of ours, or of the machine's, stood in the way."""
    NOT_APPLICABLE = "not-applicable"
    """The question does not arise here: nothing to patch, another release's regression, …"""

    @property
    def was_tried(self) -> bool:
        """Whether this is an answer at all."""
        return self not in (Reason.UNTESTABLE, Reason.NOT_APPLICABLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Stage and reason of one cell, with the evidence.

    ``missing_library`` is the soname that the loader did not find, only with ``missing-library``.
    ``seconds`` is the wall time of the import or check inside the container, None where it never
    ended. ``evidence`` holds JSON values only: exception type, mapped libpython files, to which
    files symbols bound, a check's findings, ….
    """

    stage: Stage
    reason: Reason
    message: str = ""
    missing_library: str | None = None
    seconds: float | None = None
    evidence: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.reason.was_tried != (self.stage in (Stage.IMPORT, Stage.CHECK)):
            raise ValueError(f"{self.reason} cannot be the outcome of stage {self.stage}")
        if (self.missing_library is not None) != (self.reason is Reason.MISSING_LIBRARY):
            raise ValueError(f"{self.reason} with missing library {self.missing_library!r}")

    @property
    def short(self) -> str:
        """One phrase for people, such as ``missing-library libGL.so.1``."""
        if not self.reason.was_tried:
            return f"{self.reason} ({self.stage})"
        return f"{self.reason} {self.missing_library}" if self.missing_library else str(self.reason)


def untestable(stage: Stage, message: str) -> Outcome:
    """The outcome of a cell that failed before its question was asked."""
    return Outcome(stage=stage, reason=Reason.UNTESTABLE, message=message)


def not_applicable(stage: Stage, message: str) -> Outcome:
    """The outcome of a cell whose question does not arise."""
    return Outcome(stage=stage, reason=Reason.NOT_APPLICABLE, message=message)
