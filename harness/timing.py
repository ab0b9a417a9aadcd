"""When a cell ran, and how long what it needed took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of one cell."""

    started: str
    """UTC, ISO 8601, to the second."""
    took: float
    """Seconds on the host, the start of its container included, its preparation not."""
    prepared_in: float | None
    """Seconds that its environment's image took to be made or found; None where none was tried."""


class Stopwatch:
    """Runs from the moment at which it is made."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._from = time.monotonic()

    def read(self, prepared_in: float | None = None) -> Timing:
        """What has passed until now."""
        return Timing(
            started=self._started.isoformat(timespec="seconds"),
            took=round(time.monotonic() - self._from, 3),
            prepared_in=prepared_in,
        )
