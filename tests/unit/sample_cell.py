"""Cells for tests that need one, whatever is in it."""

from __future__ import annotations

from dataclasses import replace

from harness.matrix import Check, Extension
from harness.plan import SUCCESS, Cell, Environment, Expected, Interpreter, Upgrade
from harness.platforms import Platform
from harness.remedies import Remedy
from harness.sources import Source


def sample_cell(expected: Expected | None = None) -> Cell:
    """uv 0.7.6 on aarch64, with a made-up extension that may take 7 seconds."""
    return Cell(
        environment=Environment(
            uv="0.7.6",
            interpreter=Interpreter(
                python="3.13",
                release="20250517",
                platform=Platform.AARCH64,
                source=Source.REPLICA,
            ),
            base="debian13",
        ),
        extension="sample",
        sample=Extension(requirement="sample==1.0", imports="sample", timeout=7),
        remedy=Remedy.NONE,
        expected=expected or Expected(),
    )


def sample_check(expected: Expected | None = None) -> Cell:
    """The same environment, with a made-up check that may take 7 seconds."""
    check = Check(script="checks/sample_check.py", timeout=7)
    return replace(
        sample_cell(),
        extension="sample-check",
        sample=check,
        expected=expected or SUCCESS[check.kind],
    )


def upgraded_cell() -> Cell:
    """The sample after uv 0.7.5 had been there, whose interpreter uv 0.7.6 then reinstalled."""
    cell = sample_cell()
    environment = cell.environment
    upgrade = Upgrade(
        uv="0.7.5",
        interpreter=replace(environment.interpreter, release="20250409"),
        remedy=Remedy.REINSTALL,
    )
    environment = replace(environment, upgrade=upgrade)
    return replace(cell, environment=environment, remedy=Remedy.REINSTALL)
