"""Where the time of a run went: shares of its wall time, from the spans of its processes.

A second of wall time is one of each worker's, so what one of two workers does for a second is half
a second here; all shares together are the wall time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.speed.spans import LOADING, TEST, Process, Span

START = "starting pytest and its workers, collecting"
PREPARING = "preparing"
BARE = "the import itself, {platform}"
BEYOND = "in the container beyond that, {platform}"
AROUND = "pytest around a cell"
WAITING = "workers without a cell (xdist)"
END = "the end: reaping, tables, processes ending"

SHOWN = 12
"""Parts of preparing that are told."""

PREPARE, PROBE = "preparing.prepare", "broker.Remote.ask"

PLACES = (
    (re.compile(r"\w+ /containers/.*"), "engine calls for containers"),
    (re.compile(r"(GET|POST|PUT|DELETE|HEAD) /.*"), "other engine calls"),
    (
        re.compile(r"containers\..*|prepared\.Prepared\.trees"),
        "making and finding containers",
    ),
    (re.compile(r"foreseen\..*"), "the loader's rules"),
    (re.compile(re.escape(LOADING)), LOADING),
)
"""Under which name spans within a test are added up; what is none of these counts as itself."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A part of the whole."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Call:
    """All calls of one kind."""

    name: str
    count: int
    seconds: float
    """In all; of one process they may overlap."""
    usual: float
    """Seconds of one, median."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a run's time went into."""

    wall: float
    workers: int
    cells: int
    shares: tuple[Share, ...]
    """In the order of the run; together they are the wall time."""
    preparing: tuple[Share, ...]
    """Seconds of all its threads, the most first; what waits for another thread counts too."""
    calls: tuple[Call, ...]
    """Of the engine's API, the most time first."""
    lacking: tuple[str, ...]
    """What should have been watched, and is not there."""

    @property
    def calls_per_cell(self) -> float:
        """Engine calls within cells and around them."""
        return sum(call.count for call in self.calls) / self.cells if self.cells else 0.0


def account(
    processes: Sequence[Process], began: float, wall: float, bare: Mapping[str, float]
) -> Account:
    """Add it up. ``began``: by the monotonic clock; ``bare``: seconds of bare imports by cell."""
    working = [p for p in processes if any(s.name == TEST for s in p.spans)]
    prepared = [s for p in processes for s in p.spans if s.name == PREPARE]
    tests = [s for p in working for s in p.spans if s.name == TEST]
    first = min((s.start for s in (*prepared, *tests)), default=began + wall)
    ready = max((s.end for s in prepared), default=first)
    last = max((s.end for s in tests), default=ready)
    count = len(working) or 1
    shares: dict[str, float] = {
        START: first - began,
        PREPARING: ready - first,
        **_in_cells(working, bare, count),
    }
    shares[WAITING] = last - ready - sum(s.end - s.start for s in tests) / count
    shares[END] = began + wall - last
    calls = defaultdict(list)
    for span in (s for p in processes for s in p.spans if _is_call(s)):
        calls[span.name].append(span.end - span.start)
    return Account(
        wall=wall,
        workers=count,
        cells=len(tests),
        shares=tuple(Share(name=n, seconds=s) for n, s in shares.items()),
        preparing=_most([s for p in processes for s in p.spans if first <= s.start < ready]),
        calls=tuple(
            sorted(
                (
                    Call(name=n, count=len(s), seconds=sum(s), usual=median(s))
                    for n, s in calls.items()
                ),
                key=lambda call: -call.seconds,
            )
        ),
        lacking=tuple(sorted({name for p in processes for name in p.lacking})),
    )


def _in_cells(
    working: Sequence[Process], bare: Mapping[str, float], count: int
) -> dict[str, float]:
    """What was done within tests, most specific first; seconds of wall time."""
    found: defaultdict[str, float] = defaultdict(float)
    for span in (s for p in working for s in p.spans):
        if not span.cell:
            continue
        if span.name == TEST:
            found[AROUND] += span.own
        elif span.name == PROBE:
            platform = "aarch64" if "-aarch64-" in span.cell else "x86_64"
            itself = min(span.own, bare.get(span.cell, 0.0))
            found[BARE.format(platform=platform)] += itself
            found[BEYOND.format(platform=platform)] += span.own - itself
        else:
            found[_place(span.name)] += span.own
    return {name: seconds / count for name, seconds in sorted(found.items(), key=lambda i: -i[1])}


def _place(name: str) -> str:
    return next((place for pattern, place in PLACES if pattern.fullmatch(name)), name)


def _is_call(span: Span) -> bool:
    return span.name.startswith(("GET /", "POST /", "PUT /", "DELETE /", "HEAD /"))


def _most(spans: Sequence[Span]) -> tuple[Share, ...]:
    found: defaultdict[str, float] = defaultdict(float)
    for span in spans:
        if span.name not in (TEST, LOADING, PREPARE):
            found[span.name] += span.own
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return tuple(Share(name=name, seconds=seconds) for name, seconds in ordered[:SHOWN])
