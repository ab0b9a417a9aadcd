"""A picture of a benchmark's report: the ratio of each benchmark, the mean, and the claim."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import output
from harness.bench.report import CLAIM, CONFIDENCE, Estimate, Report
from harness.bench.suite import Clock
from harness.errors import ConfigurationError, ToolError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png", ".pdf")

# Three of Okabe and Ito's colours, which people tell apart whatever colours they see; each has a
# shape of its own as well.
BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"


def require(path: Path) -> None:
    """Refuse, before minutes of measuring, a chart that could not be drawn after them."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(
            f"--chart {path}: the name does not end with {', '.join(FORMATS)}",
            advice="The ending chooses the format; .svg is the one for documents.",
        )
    output.require_writable(path)
    _matplotlib()


def draw(report: Report, path: Path) -> None:
    """Write the picture; the suffix chooses its format.

    Raises :class:`ConfigurationError` where there is nothing to draw or no place for it, and
    :class:`ToolError` where matplotlib is missing.
    """
    mean = report.geometric_mean
    if mean is None:
        raise ConfigurationError(
            "there is nothing to draw: no benchmark has a result",
            advice="Look at why they failed, and run again.",
        )
    _matplotlib()
    from matplotlib.figure import Figure

    estimates = sorted(
        ((name, estimate) for name, estimate in report.estimates.items()),
        key=lambda item: item[1].ratio,
    )
    with style():
        figure = Figure(figsize=(8, 2.2 + 0.24 * len(estimates)), layout="constrained")
        axes = figure.add_subplot()
        _fill(axes, estimates, mean)
        figure.suptitle(_title(report), fontsize=12, fontweight="bold")
        axes.set_title(_subtitle(report), fontsize=9)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        stream = io.BytesIO()
        kind = path.suffix.lower().removeprefix(".")
        # A date in the file would make every drawing another one.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    output.write(path, stream.getvalue())


def style() -> AbstractContextManager[None]:
    """What every picture has in common, while it is drawn."""
    from matplotlib import rc_context

    return rc_context(
        {
            # Text stays text, and the same report gives the same bytes.
            "svg.fonttype": "none",
            "svg.hashsalt": "pbs-matrix",
            "font.family": "sans-serif",
            "font.size": 10,
        }
    )


def _fill(axes: Axes, estimates: list[tuple[str, Estimate]], mean: Estimate) -> None:
    low, high = CLAIM
    label = f"claimed: {(low - 1) * 100:.0f}-{(high - 1) * 100:.0f} % faster"
    axes.axvspan(low, high, color=ORANGE, alpha=0.25, linewidth=0, label=label, zorder=0)
    axes.axvline(1.0, color="black", linewidth=1, zorder=1)
    rows = range(1, len(estimates) + 1)
    ratios = [estimate.ratio for _, estimate in estimates]
    axes.errorbar(
        ratios,
        rows,
        xerr=_errors([estimate for _, estimate in estimates]),
        fmt="o",
        color=BLUE,
        markersize=5,
        linewidth=1.4,
        capsize=2.5,
        label=f"benchmark, with {CONFIDENCE} interval",
    )
    axes.errorbar(
        [mean.ratio],
        [0],
        xerr=_errors([mean]),
        fmt="D",
        color=VERMILION,
        markersize=8,
        linewidth=2.2,
        capsize=4,
        label=f"geometric mean {mean.ratio:.3f}",
    )
    axes.axvline(mean.ratio, color=VERMILION, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.axhline(0.5, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yticks([0, *rows], ["geometric mean", *(name for name, _ in estimates)])
    axes.set_ylim(-0.7, len(estimates) + 0.7)
    axes.set_xlabel("static libpython is so many times as fast as shared (right of 1: faster)")
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _errors(estimates: list[Estimate]) -> tuple[list[float], list[float]]:
    """Distances to the ends of the intervals; a single round has none."""
    lower = [e.ratio - (e.ratio if e.low is None else e.low) for e in estimates]
    upper = [(e.ratio if e.high is None else e.high) - e.ratio for e in estimates]
    return lower, upper


def _title(report: Report) -> str:
    return f"CPython {report.python}, {report.platform}: static libpython against shared"


def _subtitle(report: Report) -> str:
    clock = "CPU time" if report.clock is Clock.CPU else "wall-clock time"
    cut = ", interrupted" if report.interrupted else ""
    failed = f", {len(report.failed)} failed" if report.failed else ""
    mean = report.geometric_mean
    rounds = mean.rounds if mean else 0
    return (
        f"{report.subject} (source: {report.source})\n"
        f"{len(report.measured)} benchmarks of pyperformance{failed}, {rounds} rounds, {clock}"
        f"{cut}; {report.host.cpu}; {report.started[:10]}"
    )


def _matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ToolError(
            "--chart needs matplotlib, which is not installed",
            advice="pip install 'pbs-matrix[bench]', or pip install -e '.[bench]' in a clone.",
        ) from error
