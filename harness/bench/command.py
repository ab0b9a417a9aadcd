"""``pbs-matrix bench``: how much faster an interpreter with a static libpython is."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.errors import ConfigurationError
from harness.options import matrix_option, mirror_option, told


@click.command()
@matrix_option
@click.option(
    "--source",
    type=click.Choice(["replica", "upstream"]),
    default="replica",
    show_default=True,
    help="Where the two interpreters come from.",
)
@click.option(
    "--pair",
    type=click.Choice(["objects", "debian"]),
    help="Which replicas. objects: both linked from the same object files, so that only the "
    "linking differs (default). debian: Debian's executable and Debian's libpython, which are "
    "compiled differently too.",
)
@click.option(
    "--shared-release", metavar="TAG", help="With --source upstream.  [default: 20250409]"
)
@click.option(
    "--static-release", metavar="TAG", help="With --source upstream.  [default: 20250517]"
)
@mirror_option
@click.option(
    "--platform",
    type=click.Choice(["x86_64", "aarch64"]),
    help="Only the engine's own will do: under emulation, an emulator would be measured.",
)
@click.option("--base", default="debian13", show_default=True, help="Base image, of matrix.yaml.")
@click.option(
    "--benchmarks",
    "patterns",
    metavar="GLOB",
    multiple=True,
    help="Only benchmarks with such a name; may be repeated.",
)
@click.option("--rounds", type=click.IntRange(2, 31), help="How often all is run.  [default: 6]")
@click.option("--fast", is_flag=True, help="A rough answer: 3 rounds of fewer, shorter values.")
@click.option(
    "--clock",
    type=click.Choice(["cpu", "wall"]),
    default="cpu",
    show_default=True,
    help="CPU time of the benchmark's process, or elapsed time.",
)
@click.option(
    "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write all values as JSON."
)
@click.option(
    "--chart",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw a picture: .svg, .png or .pdf. Needs pip install 'pbs-matrix[bench]'.",
)
@click.option(
    "--pyperf",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path),
    help="Write shared.json and static.json, for `python -m pyperf compare_to`.",
)
@click.option(
    "--from",
    "earlier",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Show, and draw, what --output wrote before, and measure nothing.",
)
@told
def bench(
    matrix_file: Path,
    source: str,
    pair: str | None,
    shared_release: str | None,
    static_release: str | None,
    mirror: str | None,
    platform: str | None,
    base: str,
    patterns: tuple[str, ...],
    rounds: int | None,
    fast: bool,
    clock: str,
    output: Path | None,
    chart: Path | None,
    pyperf: Path | None,
    earlier: Path | None,
) -> None:
    """Measure how much faster an interpreter with a static libpython is.

    Upstream says 15-25 %. Runs benchmarks of pyperformance in two containers that take turns on
    one CPU, and gives the ratio shared/static with its interval: 1.15 means 15 % faster. Takes some
    minutes, on a machine that does nothing else.

    Ends with 1 if a benchmark failed, with 130 if it was interrupted (what was measured until then
    is shown and written).
    """
    from rich.console import Console

    from harness import output as files
    from harness.bench import chart as charts
    from harness.bench import report as reports
    from harness.bench import suite, table

    files.require_writable(output, pyperf and pyperf / "shared.json")
    if chart:
        charts.require(chart)
    if earlier:
        report = reports.read(earlier)
    else:
        from dataclasses import replace

        from harness import engine, lock, matrix
        from harness import mirror as mirrors
        from harness.bench import contestants, measuring
        from harness.bench.suite import Clock, Pair, Side
        from harness.platforms import Platform
        from harness.sources import Source

        if source != "upstream" and (shared_release or static_release):
            raise ConfigurationError(
                "--shared-release and --static-release name published releases",
                advice="Add --source upstream, or leave them out.",
            )
        if source == "upstream" and pair:
            raise ConfigurationError(
                "--pair chooses between replicas, and --source upstream has none",
                advice="Leave one of them out.",
            )
        effort = suite.FAST if fast else suite.Effort()
        request = contestants.Request(
            matrix=matrix.load(matrix_file),
            lock=lock.load(lock.path_for(matrix_file)),
            source=Source(source),
            pair=Pair(pair or "objects"),
            releases={
                Side.SHARED: shared_release or contestants.RELEASES[Side.SHARED],
                Side.STATIC: static_release or contestants.RELEASES[Side.STATIC],
            },
            mirror=mirrors.of(mirror),
            platform=Platform(platform) if platform else None,
            base=base,
            effort=replace(effort, rounds=rounds) if rounds else effort,
            benchmarks=suite.select(patterns),
            clock=Clock(clock),
        )
        done = measuring.run(request, engine.connect(), say=lambda line: click.echo(line, err=True))
        report = done.report
    # First, so that what minutes have measured is not lost should a file not be writable.
    # Into a file, as wide as the table; on a terminal, as wide as that is.
    table.render(report, Console(width=None if sys.stdout.isatty() else 110))
    if output:
        reports.write(report, output)
        click.echo(f"wrote {output}")
    if pyperf and not earlier:
        measuring.write_pyperf(done, pyperf)
        click.echo(f"wrote {pyperf}")
    if chart and report.geometric_mean:
        charts.draw(report, chart)
        click.echo(f"wrote {chart}")
    if report.interrupted and not earlier:
        click.echo("pbs-matrix: interrupted; the containers are removed", err=True)
        sys.exit(130)
    sys.exit(1 if report.failed or not report.measured else 0)
