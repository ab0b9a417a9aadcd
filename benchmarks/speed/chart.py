"""Where the time went, as bars: of text, and drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.speed.account import Account, Share
from harness import output
from harness.errors import ToolError

WIDTH = 30
"""Characters of the longest bar."""

CALLS = 8
"""Kinds of engine calls that are shown."""

BLUE = "#0072B2"
"""One of Okabe and Ito's colours."""


def lines(shares: Sequence[Share], whole: float) -> list[str]:
    """A line with a bar for each share that can be seen, and its part of the whole."""
    shown = [share for share in shares if share.seconds >= 0.0005 * whole]
    longest = max((share.seconds for share in shown), default=0.0)
    widest = max((len(share.name) for share in shown), default=0)
    return [
        f"{share.name:<{widest}} {share.seconds:7.2f} s {share.seconds / whole:6.1%} "
        f"{'█' * max(1, round(WIDTH * share.seconds / longest))}"
        for share in shown
    ]


def render(account: Account, what: str, console: Console) -> None:
    """Print all of it."""

    def say(line: str, style: str = "") -> None:
        console.print(Text(line, style=style), soft_wrap=True)

    say(
        f"where the {account.wall:.1f} s of a {what} run of {account.cells} cells went "
        f"({account.workers} workers, each counting for its part)",
        "bold",
    )
    for line in lines(account.shares, account.wall):
        say(line)
    if account.preparing:
        say("within preparing, seconds of all its threads", "bold")
        for line in lines(account.preparing, sum(s.seconds for s in account.preparing)):
            say(line)
    say(f"calls of the engine's API: {account.calls_per_cell:.1f} for each cell", "bold")
    for call in account.calls[:CALLS]:
        say(
            f"{call.name:<32} {call.count:5} times {call.seconds:7.2f} s, "
            f"usually {call.usual * 1000:.1f} ms"
        )
    for name in account.lacking:
        say(f"not watched, since it is not there: {name}", "yellow")


def draw(account: Account, what: str, path: Path) -> None:
    """Draw the shares as an SVG file; :class:`ToolError` where matplotlib is missing."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ToolError(
            "a chart needs matplotlib, which is not installed",
            advice="pip install 'pbs-matrix[bench]', or pip install -e '.[bench]' in a clone.",
        ) from error
    shown = [share for share in account.shares if share.seconds >= 0.0005 * account.wall]
    # Text stays text, and the same account gives the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pbs-matrix", "font.size": 10}):
        figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        names = [share.name for share in shown]
        bars = axes.barh(names, [share.seconds for share in shown], color=BLUE)
        axes.bar_label(bars, [f"{share.seconds / account.wall:.0%}" for share in shown], padding=3)
        axes.invert_yaxis()
        axes.set_xlabel("seconds of wall time")
        axes.set_title(f"{what} run, {account.cells} cells, {account.wall:.1f} s", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    output.write(path, stream.getvalue())
