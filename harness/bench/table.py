"""A benchmark's report for people: a table, the geometric mean, and what it is a mean of."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.bench.report import CONFIDENCE, UNSTABLE, Estimate, Report, verdict
from harness.bench.suite import Clock, Side


def render(report: Report, console: Console) -> None:
    """Print what was compared, a line for each benchmark, the mean, and the warnings."""
    for line in _subject(report):
        console.print(Text(line), soft_wrap=True)
    console.print(_table(report))
    mean = report.geometric_mean
    if mean is None:
        console.print(Text("no geometric mean: no benchmark has a result", style="bold red"))
    else:
        console.print(
            Text(
                f"geometric mean of {len(report.measured)} benchmarks: {mean.ratio:.3f} "
                f"({CONFIDENCE} interval {interval(mean)})",
                style="bold",
            ),
            soft_wrap=True,
        )
        console.print(Text(verdict(mean)), soft_wrap=True)
    console.print(Text(report.method, style="dim"), soft_wrap=True)
    for timing in report.failed:
        assert timing.failure is not None
        console.print(
            Text(
                f"failed: {timing.name} ({timing.failure.side}): {timing.failure.problem}",
                style="bold red",
            ),
            soft_wrap=True,
        )
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)


def interval(estimate: Estimate) -> str:
    """Such as ``1.031 to 1.055``."""
    if estimate.low is None or estimate.high is None:
        return "none: one round"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def duration(seconds: float) -> str:
    """Three significant digits with a unit, such as ``50.9 ms``; 0.000113 ms is hard to read."""
    for factor, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{_three_digits(seconds / factor)} {unit}"
    return f"{_three_digits(seconds / 1e-9)} ns"


def _three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _subject(report: Report) -> list[str]:
    host = report.host
    done = max((len(timing.rounds) for timing in report.measured), default=0)
    clock = "CPU time" if report.clock is Clock.CPU else "wall-clock time"
    load = f"load {host.load_before:.2f} before"
    if host.load_after is not None:
        load += f", {host.load_after:.2f} after"
    return [
        f"CPython {report.python} on {report.platform}: {report.subject}",
        *(
            f"  {side}: {report.contestants[side].archive}, "
            f"sha256 {report.contestants[side].archive_sha256}"
            for side in Side
        ),
        f"  installed by uv {report.uv}, base image {report.base}",
        f"  {host.cpu}, {host.cpus} CPUs, on CPU {host.pinned_to}, "
        f"governor {host.governor or 'not known'}, {load}",
        f"  {clock}, {done} of {report.rounds} rounds of {report.values} values, "
        f"in {report.seconds:.0f} s",
    ]


def _table(report: Report) -> Table:
    table = Table(header_style="")
    table.add_column("benchmark", no_wrap=True)
    for header in ("shared", "static", "ratio"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column(f"{CONFIDENCE} interval", justify="center", no_wrap=True)
    table.add_column("spread", justify="right", no_wrap=True)
    for timing in report.benchmarks:
        estimate = timing.estimate
        shared, static = timing.seconds(Side.SHARED), timing.seconds(Side.STATIC)
        if estimate is None or shared is None or static is None or timing.spread is None:
            what = "failed" if timing.failure else "not run"
            table.add_row(timing.name, Text(what, style="red"), "", "", "", "")
            continue
        table.add_row(
            timing.name,
            duration(shared),
            duration(static),
            f"{estimate.ratio:.3f}",
            interval(estimate),
            Text(f"{timing.spread:.0%}", style="yellow" if timing.spread > UNSTABLE else ""),
        )
    return table
