"""A cell for tests that need one, whatever is in it."""

from __future__ import annotations

from harness.matrix import Extension
from harness.plan import Cell, Environment, Expected, Interpreter, Source
from harness.platforms import Platform
from harness.remedies import Remedy


def sample_cell(expected: Expected | None = None) -> Cell:
    """uv 0.7.6 on aarch64, with a made-up extension that may take 7 seconds."""
    return Cell(
        environment=Environment(
            uv="0.7.6",
            interpreter=Interpreter(
                python="3.13",
                version="3.13.3",
                release="20250517",
                platform=Platform.AARCH64,
                source=Source.REPLICA,
                url="https://example.org/x.tar.gz",
            ),
            base="debian13",
        ),
        extension="sample",
        sample=Extension(requirement="sample==1.0", imports="sample", timeout=7),
        remedy=Remedy.NONE,
        expected=expected or Expected(),
    )
