"""``pbs-matrix report``: results as a page, and as Markdown for GitHub."""

from __future__ import annotations

from pathlib import Path

import click

from harness.options import told

PAGE = Path("report.html")


@click.command()
@click.argument(
    "files", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "page_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Page to write.  [default: {PAGE}, and none where --markdown is given]",
)
@click.option(
    "--base",
    metavar="EARLIER",
    type=click.Path(path_type=Path),
    help="Results of an earlier run: say what changed since.",
)
@click.option(
    "--bench",
    "bench_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw what `pbs-matrix bench --output FILE` measured.",
)
@click.option(
    "--markdown",
    "markdown_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it for a comment on GitHub or a job's summary too.",
)
@click.option("--title", metavar="TEXT", help="Title of both.")
@told
def report(
    files: tuple[Path, ...],
    page_file: Path | None,
    base: Path | None,
    bench_file: Path | None,
    markdown_file: Path | None,
    title: str | None,
) -> None:
    """Make a page of results: one HTML file that needs no network and no other file.

    It has the matrix as grids with filters, the evidence for each cell, what changed since an
    earlier run, remedies, releases in their order, and a benchmark's figures. Several files are
    merged, as `pbs-matrix merge` does.
    """
    from harness import comparison, merging, output, results
    from harness.bench import report as benches
    from harness.report import markdown, model, page

    if page_file is None and markdown_file is None:
        page_file = PAGE
    output.require_writable(page_file, markdown_file)
    with merging.merged(files) as lines:
        merged = model.read(lines)
    view = model.View(
        results=merged,
        title=title or model.TITLE,
        comparison=comparison.compare(results.read(base), merged) if base else None,
        bench=benches.read(bench_file) if bench_file else None,
    )
    if page_file:
        output.write(page_file, page.render(view).encode())
        click.echo(f"wrote {page_file}")
    if markdown_file:
        output.write(markdown_file, markdown.render(view).encode())
        click.echo(f"wrote {markdown_file}")
