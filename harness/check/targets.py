"""Whatever a person names as a path, as what is to be checked."""

from __future__ import annotations

from pathlib import Path

from harness.check import wheel
from harness.check.target import Target
from harness.errors import TargetError


def read(path: Path) -> tuple[Target, ...]:
    """What a path names: a wheel, an environment, a directory or a single library.

    One for each distribution of an environment, one of anything else. Nothing of it is run, and
    nothing is written outside the cache. Raises :class:`TargetError` where it cannot be read.
    """
    if path.suffix == ".whl" and not path.is_dir():
        return (wheel.read(path),)
    # What wheels do not need is not imported for them.
    from harness.check import tree

    if path.is_dir():
        return tree.environment(path) if tree.is_environment(path) else (tree.directory(path),)
    if path.is_file():
        return (tree.library(path),)
    raise TargetError(
        f"there is no {path}",
        advice="Name a wheel, a directory, an environment, a library, or a requirement such as "
        "python-mscl==67.0.1.0.",
    )
