"""A fault, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.room import Room


@dataclass(frozen=True, kw_only=True)
class Happened:
    """What came of a fault."""

    what: str
    """In a few words, with figures where there are any."""
    verdict: str
    """What the project said: outcomes of cells, or the message and the exit code of a command."""
    seconds: float = 0.0
    """From the fault until all was as before, measured."""
    left: tuple[str, ...] = ()
    """What was left behind: containers, images, processes, files."""
    wrong: tuple[str, ...] = ()
    """What is not as it should be; nothing where all is well."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault by name, of a group (``sample``, ``engine``, ``host``, ``file``)."""

    group: str
    name: str
    """Unique, lower case with hyphens: what goes wrong, such as ``engine-stopped-midway``."""
    inject: Callable[[Room], Happened]
    """Does it to a room, and looks."""
    platforms: tuple[str, ...] = field(default=("x86_64",))
    """Where it is injected."""

    @property
    def id(self) -> str:
        """``group/name``."""
        return f"{self.group}/{self.name}"
