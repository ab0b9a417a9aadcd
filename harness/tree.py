"""Directories, environments and single libraries, as what is to be checked."""

from __future__ import annotations

from pathlib import Path

from harness.target import Target


def is_environment(path: Path) -> bool:
    """Whether a directory is a virtual environment."""
    return (path / "pyvenv.cfg").is_file()


def environment(path: Path) -> tuple[Target, ...]:
    """One target for each distribution, by its RECORD, and one for what belongs to none."""
    raise NotImplementedError


def directory(path: Path) -> Target:
    """An unpacked wheel, or any directory that would be put on ``sys.path``."""
    raise NotImplementedError


def library(path: Path) -> Target:
    """A single file, and what it finds by search paths that start at its own directory."""
    raise NotImplementedError
