"""Is the interpreter of that environment healthy, as far as the checks can tell?"""

from __future__ import annotations

from harness.plan import Cell
from harness.plugin import Run


def test_interpreter(check: Cell, run: Run) -> None:
    """The check ends as its expectation says; where its question does not arise, it is skipped."""
    run.verify(check)
