"""A plan, as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.durations import Durations, spoken
from harness.jobs import GROUPS
from harness.plan import Cell, environments
from harness.planfile import Job, Track

SHOWN = 40
"""Jobs that are listed one by one."""


def render(
    cells: Sequence[Cell], jobs: Sequence[Job], durations: Durations, console: Console
) -> None:
    """What is planned for each platform and base, and what each job gets of it."""
    places = dict.fromkeys(_place(cell) for cell in cells)
    table = Table(title=f"{_count(len(cells), 'cell')} planned", title_justify="left")
    table.add_column("platform")
    table.add_column("base")
    for name in ("environments", "cells", "not applicable", "on one machine like this"):
        table.add_column(name, justify="right")
    for place in sorted(places):
        own = tuple(cell for cell in cells if _place(cell) == place)
        asked = tuple(cell for cell in own if cell.not_applicable is None)
        table.add_row(
            *place,
            str(len(environments(asked))),
            str(len(own)),
            str(len(own) - len(asked)),
            spoken(durations.predicted(own)),
        )
    console.print(table)
    for line in _of_jobs(jobs):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _of_jobs(jobs: Sequence[Job]) -> list[str]:
    if len(jobs) == 1 and jobs[0].runner is None:
        return [f"predicted: {spoken(jobs[0].seconds)}, one after another"]
    empty = sum(not job.cells for job in jobs)
    longest = max(job.seconds for job in jobs)
    shortest = min((job.seconds for job in jobs if job.cells), default=0.0)
    lines = [
        f"{_count(len(jobs), 'job')}, predicted {spoken(shortest)} to {spoken(longest)} each"
        + (f", {empty} without a cell" if empty else "")
    ]
    kinds = Counter(job.name.rpartition(" ")[0] for job in jobs)
    for group in GROUPS:
        if number := kinds.get(group.name):
            how = "under QEMU" if group.emulated else "natively"
            again = ", the same cells again" if group.track is Track.NATIVE else ""
            lines.append(f"  {group.platform} {how} on {group.runner}: {number}{again}")
    if len(jobs) <= SHOWN:
        width = max(len(job.name) for job in jobs)
        lines += (
            f"  {job.name:<{width}}  {_count(len(job.cells), 'cell')}, {spoken(job.seconds)}"
            for job in jobs
        )
    return lines


def _place(cell: Cell) -> tuple[str, str]:
    return str(cell.environment.interpreter.platform), cell.environment.base


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
