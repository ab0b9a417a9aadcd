"""Wheels: their files as an installer would put them into an environment, without unpacking."""

from __future__ import annotations

from pathlib import Path

from harness.target import Target


def read(path: Path) -> Target:
    """A wheel's files; raises :class:`TargetError` where no installer would unpack it."""
    raise NotImplementedError
