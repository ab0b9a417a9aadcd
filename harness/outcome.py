"""What happened in a cell: stage and reason, and nothing about what should have happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """How far a cell got. Only ``import`` says anything about the extension."""

    ENGINE = "engine"
    IMAGE = "image"
    INTERPRETER = "interpreter"
    INSTALL = "install"
    IMPORT = "import"


class Reason(StrEnum):
    """The way an import ended, or ``untestable`` where it was never tried."""

    IMPORTS = "imports"
    MISSING_LIBRARY = "missing-library"
    UNDEFINED_SYMBOL = "undefined-symbol"
    IMPORT_ERROR = "import-error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    UNTESTABLE = "untestable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Stage and reason of one cell, with the evidence.

    ``missing_library`` is the soname that the loader did not find, only with ``missing-library``.
    ``seconds`` is the wall time of the import inside the container, None where it never ended.
    ``evidence`` holds JSON values only: exception type, mapped libpython files, module files, ….
    """

    stage: Stage
    reason: Reason
    message: str = ""
    missing_library: str | None = None
    seconds: float | None = None
    evidence: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.reason is Reason.UNTESTABLE) == (self.stage is Stage.IMPORT):
            raise ValueError(f"{self.reason} cannot be the outcome of stage {self.stage}")
        if (self.missing_library is not None) != (self.reason is Reason.MISSING_LIBRARY):
            raise ValueError(f"{self.reason} with missing library {self.missing_library!r}")

    @property
    def short(self) -> str:
        """One phrase for people, such as ``missing-library libGL.so.1``."""
        if self.reason is Reason.UNTESTABLE:
            return f"untestable ({self.stage})"
        return f"{self.reason} {self.missing_library}" if self.missing_library else str(self.reason)


def untestable(stage: Stage, message: str) -> Outcome:
    """The outcome of a cell that failed before its import was tried."""
    return Outcome(stage=stage, reason=Reason.UNTESTABLE, message=message)
