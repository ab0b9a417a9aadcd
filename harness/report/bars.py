"""A benchmark's ratios as bars: where each begins and ends, in the units of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.bench.report import CLAIM, Estimate, Report

LABELS, PLOT, STEP, TOP = 190, 560, 20, 34
"""Width of the names, width of the bars, height of a line, and of what is above the first."""

MARGIN = 0.05
TICKS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One benchmark, or the geometric mean of all."""

    name: str
    estimate: Estimate
    is_mean: bool
    y: float
    """Middle of its line."""
    x: float
    width: float
    """From a ratio of 1 to its own, whichever is the smaller."""
    low: float | None
    high: float | None
    """Ends of the interval; None where one round gives none."""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The whole drawing."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    one: float
    """Where the ratio is 1: neither is faster."""
    claim: tuple[float, float]
    """Where what upstream says begins, and how wide it is."""
    ticks: tuple[tuple[float, str], ...]


def of(report: Report) -> Bars | None:
    """The drawing of a report, its mean first and the fastest next; None without any figure."""
    if report.geometric_mean is None:
        return None
    named = sorted(report.estimates.items(), key=lambda item: -item[1].ratio)
    rows = [("geometric mean", report.geometric_mean, True), *((*one, False) for one in named)]
    ends = [end for _, e, _ in rows for end in (e.ratio, e.low, e.high) if end is not None]
    first, last = min(1.0, *ends) - MARGIN, max(1.0, CLAIM[1], *ends) + MARGIN

    def place(ratio: float) -> float:
        return round(LABELS + PLOT * (ratio - first) / (last - first), 1)

    bars = tuple(
        Bar(
            name=name,
            estimate=estimate,
            is_mean=is_mean,
            y=TOP + STEP * (index + 0.5),
            x=place(min(1.0, estimate.ratio)),
            width=round(abs(place(estimate.ratio) - place(1.0)), 1),
            low=None if estimate.low is None else place(estimate.low),
            high=None if estimate.high is None else place(estimate.high),
        )
        for index, (name, estimate, is_mean) in enumerate(rows)
    )
    return Bars(
        width=LABELS + PLOT + 60,
        height=TOP + STEP * len(rows) + 8,
        bars=bars,
        one=place(1.0),
        claim=(place(CLAIM[0]), round(place(CLAIM[1]) - place(CLAIM[0]), 1)),
        ticks=tuple((place(value), f"{value:g}") for value in _ticks(first, last)),
    )


def _ticks(first: float, last: float) -> Sequence[float]:
    """Round ratios between two, no more than ten of them."""
    step = next((step for step in TICKS if (last - first) / step <= 10), (last - first) / 10)
    lowest = int(first / step) + (first > 0)
    return [round(step * number, 6) for number in range(lowest, int(last / step) + 1)]
