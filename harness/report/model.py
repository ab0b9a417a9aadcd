"""What the page shows, made of results; knows nothing of HTML."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from harness import grid, merging, releases, table
from harness.bench.report import Report
from harness.comparison import Comparison, Pair
from harness.grid import Grid
from harness.report import bars, inlined, problems, remedies
from harness.report.bars import Bars
from harness.report.problems import Known, Problem
from harness.report.remedies import Remedies
from harness.results import Result
from harness.verdict import Status

TITLE = "pbs-matrix"


@dataclass(frozen=True, kw_only=True)
class Count:
    """A number that a reader is told before all else."""

    number: int
    words: str


@dataclass(frozen=True, kw_only=True)
class View:
    """Some results, and what they are looked at with."""

    results: tuple[Result, ...]
    """Each cell once."""
    title: str = TITLE
    comparison: Comparison | None = None
    """With an earlier run; these results are NEW."""
    bench: Report | None = None

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The matrix, in an order that does not depend on that of the results."""
        return tuple(sorted(grid.grids(self.results), key=lambda each: each.plane.place))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What did not go as it should."""
        return problems.problems(self.results)

    @cached_property
    def known(self) -> tuple[Known, ...]:
        """What is known to be broken."""
        return problems.known_breakage(self.results)

    @cached_property
    def remedies(self) -> tuple[Remedies, ...]:
        """What helps where."""
        return remedies.tables(self.results)

    @cached_property
    def bars(self) -> Bars | None:
        """The benchmark's drawing."""
        return bars.of(self.bench) if self.bench else None

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        return table.summary(self.results)

    @cached_property
    def symbols(self) -> Counter[str]:
        """How many cells have which key of :data:`harness.table.SYMBOLS`."""
        return Counter(table.symbol(result) for result in self.results)

    @property
    def when(self) -> str | None:
        """When the first and the last cell began, where lines say so."""
        found = sorted({result.started for result in self.results if result.started})
        return _moments(found[0], found[-1]) if found else None

    @property
    def reservations(self) -> tuple[Count, ...]:
        """What these results do not say, so that nobody takes them for more than they are."""
        results = self.results
        replicas = sum(result.is_replica for result in results)
        statuses = Counter(result.status for result in results)
        compared = sum(result.predicted is not None for result in results)
        flaky = sum(inlined.is_flaky(result) for result in results)
        found = [
            (replicas, "on replicas: stand-ins with the releases' link models, not the releases"),
            (statuses[Status.UNTESTABLE], "untestable: nothing is known of them"),
            (statuses[Status.NOT_APPLICABLE], "not applicable: not run, as nothing is asked there"),
            (compared, "compared with the loader's rules, made from files before they ran"),
            (flaky, "flaky: answered in more than one way; the last answer is shown"),
        ]
        return tuple(Count(number=number, words=words) for number, words in found)

    @property
    def has_replicas(self) -> bool:
        """Whether any cell ran on one."""
        return any(result.is_replica for result in self.results)

    @cached_property
    def pairs(self) -> dict[str, Pair]:
        """What the comparison says of each cell, by its id."""
        return {pair.cell: pair for pair in self.comparison.pairs} if self.comparison else {}

    @cached_property
    def releases(self) -> tuple[str, ...]:
        """All that occur, in commit order."""
        return tuple(sorted({result.release for result in self.results}, key=releases.order))


def _moments(first: str, last: str) -> str:
    """Two moments of UTC in a few words; as they are written where they are written otherwise."""
    try:
        one, other = (datetime.fromisoformat(text).astimezone(UTC) for text in (first, last))
    except (ValueError, OverflowError):
        return first if first == last else f"{first} to {last}"
    words = f"{one:%Y-%m-%d %H:%M}"
    if f"{other:%Y-%m-%d %H:%M}" != words:
        words += (
            f" to {other:%H:%M}" if one.date() == other.date() else f" to {other:%Y-%m-%d %H:%M}"
        )
    return f"{words} UTC"


def read(merged: merging.Merged) -> tuple[Result, ...]:
    """The results in merged lines."""
    return tuple(Result.model_validate_json(line) for line in merged.lines())
