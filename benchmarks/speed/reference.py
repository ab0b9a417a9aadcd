"""The cells that everything is measured with: the reference matrix, or a small part of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import lock, matrix
from harness.lock import Lock
from harness.matrix import Matrix
from harness.plan import Cell, Selection, plan
from harness.platforms import Platform

PROJECT = Path(__file__).resolve().parents[2]
FILE = PROJECT / "benchmarks" / "reference.yaml"

FAST = Selection(uv=("0.7.5", "0.7.9"), extension=("python-mscl", "no-libpython", "ucxx-shaped"))
"""For trying the benchmark out: both verdicts, and both ways to get them."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Which cells of the reference matrix."""

    selection: Selection

    @cached_property
    def matrix(self) -> Matrix:
        """The reference matrix."""
        return matrix.load(FILE)

    @cached_property
    def lock(self) -> Lock:
        """Its lock."""
        return lock.load(lock.path_for(FILE))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells, in the order of the file."""
        return plan(self.matrix, self.lock, selection=self.selection)

    def of(self, platforms: tuple[Platform, ...]) -> tuple[Cell, ...]:
        """Those for some platforms."""
        return tuple(c for c in self.cells if c.environment.interpreter.platform in platforms)

    def options(self, platforms: tuple[Platform, ...]) -> list[str]:
        """What tells pytest the same; it is a file of this checkout, whichever commit runs."""
        chosen = self.selection
        return [
            f"--matrix={FILE}",
            "--source=replica",
            *(f"--uv={pattern}" for pattern in chosen.uv),
            *(f"--extension={pattern}" for pattern in chosen.extension),
            *(f"--platform={platform}" for platform in platforms),
        ]
