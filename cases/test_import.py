"""Does the extension import in that environment, as matrix.yaml says?"""

from __future__ import annotations

from harness.plan import Cell
from harness.plugin import Run


def test_import(cell: Cell, run: Run) -> None:
    """The import ends as the cell's expectation says: known breakage is a pass, a fix is not."""
    run.verify(cell)
