"""The closing table: extensions down, releases across, one table for each platform and base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import grid
from harness.grid import Grid
from harness.outcome import Reason
from harness.results import Result
from harness.signature import ANSWERS, FLAKY
from harness.verdict import Status
from harness.why import printable

# Letters as well as colours: not everybody sees colours, and not every terminal shows them.
SYMBOLS: dict[str, tuple[str, str, str]] = {
    "ok": ("ok", "green", "imports (a check: passes), as expected"),
    "split": ("split", "yellow", "imports, but binds to a second libpython, as expected"),
    "fails": ("x", "yellow", "fails, as expected (known breakage)"),
    "regressed": ("REGR", "bold red", "regressed: does not do what was expected"),
    "fixed": ("FIXED", "bold magenta", "fixed: succeeds, although breakage was expected"),
    "mispredicted": (
        "MISPRED",
        "bold red",
        "mispredicted: not what the loader's rules say of its files",
    ),
    "untestable": ("?", "bold cyan", "untestable: no verdict"),
    "not-applicable": ("-", "dim", "not applicable: the question does not arise there"),
}


def symbol(result: Result) -> str:
    """Key into :data:`SYMBOLS`."""
    if result.status is not Status.AS_EXPECTED:
        return str(result.status)
    match result.outcome:
        case Reason.IMPORTS | Reason.PASSES:
            return "ok"
        case Reason.SPLIT_BINDING:
            return "split"
        case _:
            return "fails"


def render(results: Sequence[Result], console: Console) -> None:
    """Print the tables, the legend of what occurs in them, and the counts."""
    render_tables(results, console)
    _print_legend(results, console)
    console.print(summary(results), soft_wrap=True)


def render_tables(results: Sequence[Result], console: Console) -> None:
    """Print one table for each platform, base and remedy."""
    for each in grid.grids(results):
        console.print(Text(each.title, style="bold"), soft_wrap=True)
        console.print(_table(each))


def _table(shown: Grid) -> Table:
    table = Table(header_style="")
    table.add_column(str(shown.plane.kind), no_wrap=True)
    for column in shown.columns:
        table.add_column(Text("\n".join(column.heading)), justify="center", no_wrap=True)
    for extension in shown.rows:
        row = [Text(extension)]
        for column in shown.columns:
            found = [SYMBOLS[symbol(result)] for result in shown.at(extension, column)]
            row.append(Text(" ").join(Text(letters, style=style) for letters, style, _ in found))
        table.add_row(*row)
    return table


def _print_legend(results: Iterable[Result], console: Console) -> None:
    seen = {symbol(result) for result in results}
    for key, (letters, style, meaning) in SYMBOLS.items():
        if key in seen:
            console.print(Text.assemble((f"{letters:>5}", style), f"  {meaning}"))
    if any(result.is_replica for result in results):
        console.print(Text("    ~  a replica with that release's link model, not the release"))


SHOWN = (
    *(Status.REGRESSED, Status.FIXED, Status.MISPREDICTED),
    *(Status.UNTESTABLE, Status.NOT_APPLICABLE),
)
ALWAYS_SHOWN = (Status.REGRESSED, Status.FIXED, Status.UNTESTABLE)
"""What a run is about, though there be none of them; the others are named where there are."""


def summary(results: Sequence[Result]) -> str:
    """The counts, in one line."""
    statuses = Counter(result.status for result in results)
    broken = sum(symbol(result) in ("fails", "split") for result in results)
    replicas = sum(result.is_replica for result in results)
    parts = [f"{statuses[Status.AS_EXPECTED]} as expected ({broken} of them known breakage)"]
    parts += [
        f"{statuses[status]} {status.replace('-', ' ')}"
        for status in SHOWN
        if statuses[status] or status in ALWAYS_SHOWN
    ]
    compared = sum(result.predicted is not None for result in results)
    last = f"; {compared} compared with the loader's rules" if compared else ""
    flaky = sum(bool(result.evidence.get(FLAKY)) for result in results)
    by_chance = f"; {flaky} flaky" if flaky else ""
    noun = "cell" if len(results) == 1 else "cells"
    return f"{len(results)} {noun}: {', '.join(parts)}{by_chance}; {replicas} on replicas{last}"


def flaky(results: Iterable[Result]) -> Iterator[str]:
    """A line for each cell that was answered in more than one way, with how often in each."""
    for result in results:
        counts = result.evidence.get(ANSWERS)
        if isinstance(counts, dict):
            asked = sum(counts.values())
            said = ", ".join(f"{words} ({count} of {asked})" for words, count in counts.items())
            yield printable(f"flaky: {result.id} was answered in more than one way: {said}")
