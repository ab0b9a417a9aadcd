"""Does the extension import in that environment, as matrix.yaml says?"""

from __future__ import annotations

import pytest

from harness.plan import Cell
from harness.plugin import Run
from harness.verdict import Status, explain, judge


def test_import(cell: Cell, run: Run) -> None:
    """The import ends as the cell's expectation says: known breakage is a pass, a fix is not."""
    outcome = run.observe(cell)
    match judge(outcome, cell.expected):
        case Status.AS_EXPECTED:
            pass
        case Status.UNTESTABLE if run.allow_untestable:
            pytest.skip(explain(outcome, cell.expected))
        case _:
            pytest.fail(explain(outcome, cell.expected), pytrace=False)
