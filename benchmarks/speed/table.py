"""The figures as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.speed.figures import Aim, Row, Scope, State
from harness.platforms import Platform

ABSENT = "-"


def render(rows: Sequence[Row], console: Console) -> None:
    """A table for each scope."""
    several = len({row.contestant for row in rows if row.contestant}) > 1
    for scope in Scope:
        chosen = [row for row in rows if row.scope is scope]
        if chosen:
            title = "both platforms" if scope is Scope.BOTH else str(scope)
            console.print(Text(f"{title}, {chosen[0].cells} cells", style="bold"))
            console.print(_table(chosen, scope, several=several))


def _table(rows: Sequence[Row], scope: Scope, *, several: bool) -> Table:
    table = Table(header_style="")
    table.add_column("", no_wrap=True)
    headers = ["seconds", "cells/s"]
    headers += [f"a cell above its import{_of(p, scope)}" for p in scope.platforms]
    headers += ["x as fast as naive", "x floor", "memory", "engine's"]
    for header in headers:
        table.add_column(header, justify="right")
    for row in rows:
        name = f"{row.state} {row.contestant}" if several and row.contestant else str(row.state)
        table.add_row(
            name,
            f"{row.wall:.1f}",
            f"{row.rate:.1f}",
            *(milliseconds(row.above.get(platform)) for platform in scope.platforms),
            ABSENT if row.state is State.NAIVE else times(row.naive),
            ABSENT if row.state is State.FLOOR else times(row.floor),
            megabytes(row.memory),
            megabytes(row.engine_memory),
        )
    return table


def _of(platform: Platform, scope: Scope) -> str:
    return f", {platform}" if scope is Scope.BOTH else ""


def milliseconds(seconds: float | None) -> str:
    """Such as ``93 ms``."""
    return ABSENT if seconds is None else f"{seconds * 1000:.0f} ms"


def times(ratio: float | None) -> str:
    """A ratio, with as many digits as mean something."""
    return ABSENT if ratio is None else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def megabytes(count: int | None) -> str:
    """Such as ``87 MB``."""
    return ABSENT if count is None else f"{count / 1e6:.0f} MB"


def render_aims(aims: Sequence[Aim], console: Console) -> None:
    """A line for each aim."""
    for aim in aims:
        wanted = f"{'at least' if aim.at_least else 'at most'} {aim.limit:g}"
        said, style = ("met", "green") if aim.is_met else ("not met", "yellow")
        console.print(Text(f"{said}: {aim.text}: {aim.found:.3g} ({wanted})", style=style))
