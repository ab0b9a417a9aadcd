"""How much work something is, as a ratio: seconds are another machine's business."""

from __future__ import annotations

import time
from collections.abc import Callable


def _seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def _yardstick() -> int:
    found = 0
    for number in range(200_000):
        found = found * 31 + number & 0xFFFF
    return found


def effort(function: Callable[[], object]) -> float:
    """CPU time of a call, in multiples of what a loop of 200,000 rounds takes just now.

    That is some hundredths of a second, so that what takes for ever has some hundreds.
    """
    return _seconds(function) / max(1e-4, min(_seconds(_yardstick) for _ in range(3)))
