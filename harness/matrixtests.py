"""The tests that the cells of a matrix become, for test modules to import.

``cases/`` does, and so does the ``test_matrix.py`` that ``pbs-matrix init`` writes.
"""

from __future__ import annotations

import pytest

from harness.plan import Cell
from harness.plugin import Run

# docker-py leaves the sockets of hijacked (exec) connections to the collector, which is nothing
# that a project with stricter filters could do anything about.
UNCLOSED = "ignore:unclosed <socket:ResourceWarning"


@pytest.mark.pbs_matrix
@pytest.mark.filterwarnings(UNCLOSED)
def test_import(cell: Cell, run: Run) -> None:
    """The import ends as the cell's expectation says: known breakage is a pass, a fix is not."""
    run.verify(cell)


@pytest.mark.pbs_matrix
@pytest.mark.filterwarnings(UNCLOSED)
def test_interpreter(check: Cell, run: Run) -> None:
    """The check ends as its expectation says; where its question does not arise, it is skipped."""
    run.verify(check)
