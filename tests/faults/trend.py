"""Whether a series of measurements grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

WARM_UP = 0.1
"""Part of a series, at its beginning, that is not looked at: caches fill."""

FEWEST = 8
"""Values of which something can be said."""

MOST_PAIRS = 400
"""Values of which all pairs are taken; of more, evenly chosen ones."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What became of a value from the first to the last measurement."""

    first: float
    """Median of the first quarter, after the warm-up."""
    last: float
    """Median of the last quarter."""
    slope: float
    """Median of the slopes between all pairs, a measurement (Theil and Sen's estimate)."""
    count: int
    """Measurements that were looked at."""
    allowed: float
    """By how much it may be more at the end."""

    @property
    def growth(self) -> float:
        """From one end of the series to the other, by its slope."""
        return self.slope * max(0, self.count - 1)

    @property
    def grows(self) -> bool:
        """Whether it is more at the end than is allowed: by its ends, and all the way.

        A single jump moves the ends, and few of the pairs; noise moves neither.
        """
        return self.count >= FEWEST and min(self.last - self.first, self.growth) > self.allowed


def of(values: Sequence[float], *, absolute: float, relative: float = 0.0) -> Trend:
    """The trend of a series. It may grow by the larger of two: ``relative`` is of its beginning."""
    rest = list(values[int(len(values) * WARM_UP) :])
    if not rest:
        return Trend(first=0.0, last=0.0, slope=0.0, count=0, allowed=absolute)
    quarter = max(1, len(rest) // 4)
    first, last = median(rest[:quarter]), median(rest[-quarter:])
    return Trend(
        first=first,
        last=last,
        slope=slope(rest),
        count=len(rest),
        allowed=max(absolute, relative * abs(first)),
    )


def slope(values: Sequence[float]) -> float:
    """Theil and Sen's estimate: what a few outliers do not change. 0 for fewer than two values."""
    step = max(1, len(values) // MOST_PAIRS)
    chosen = list(enumerate(values))[::step]
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(chosen, 2)]
    return median(slopes) if slopes else 0.0
