"""What is asked of a probe in a container, and how that ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

EXTENSIONS = "/opt/extensions"
"""Where a container has the unpacked samples, one directory each."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a probe in an environment, by id, for at most ``limit`` seconds.

    ``variables`` are added to its environment. ``fresh``: in an interpreter of its own, in a
    container of its own.
    """

    environment: str
    ask: Mapping[str, object]
    limit: int
    variables: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a probe's process ended, and what it said. ``timed_out``: its time limit ended it."""

    exit_code: int | None
    """As a shell gives it: 128 and the signal's number; None where nobody could tell."""
    seconds: float
    timed_out: bool
    events: dict[str, dict[str, Any]]
    errors: str
    oom_killed: bool = False
    signal: int | None = None
    """Number of the one that ended it, if one did."""


class Answers(Protocol):
    """Whoever has questions answered."""

    def ask(self, question: Question) -> Finished:
        """Raises :class:`harness.errors.HarnessError` where the engine refuses."""
        ...
