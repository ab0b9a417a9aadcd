"""A check against the truth table: the same real wheels that the matrix imports, no container."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import extensions, index, lock, matrix
from harness.check import targets, verdicts
from harness.check.verdicts import Verdict
from harness.platforms import Platform
from tests.integration import oracle
from tests.integration.conftest import PROJECT


def wheel_of(name: str, platform: Platform) -> Path:
    """The wheel of an extension of the project's matrix, fetched or built."""
    sample = matrix.load(PROJECT / "matrix.yaml").extensions[name]
    if sample.requirement is not None:
        locked = lock.load(PROJECT / "matrix.lock")
        return index.fetch(locked.extension_wheels(sample.requirement, "3.13", platform)[0])
    assert sample.source is not None
    return extensions.build(name, PROJECT / sample.source, "3.13", platform)


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("name", oracle.FAILS)
def test_a_check_says_of_a_wheel_what_the_matrix_observes(name: str, platform: Platform) -> None:
    """For every link model, with the library that is missing; the table was written by hand."""
    (target,) = targets.read(wheel_of(name, platform))
    finding = verdicts.check(target)
    # With abi3 it is for every later CPython; the table is about 3.13.
    (row,) = [row for row in finding.rows if str(row.python) == "3.13"]
    assert row.machine.cpu == platform
    missing = {
        str(cell.era.link_model): {failure.library for failure in cell.failures}
        for cell in row.cells
    }
    assert missing == {
        model: {library} if (library := oracle.missing(name, model, "debian13")) else set()
        for model in oracle.COLUMNS
    }
    verdict = {str(cell.era.link_model): cell.verdict for cell in row.cells}
    for model, libraries in missing.items():
        assert verdict[model] is (Verdict.FAILS if libraries else Verdict.IMPORTS)
    assert finding.unchecked == ()
