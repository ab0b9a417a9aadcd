"""``pbs-matrix init``: files to start from, and what to type next."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.options import told


@click.command()
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option(
    "--extension",
    metavar="EXTENSION",
    help="What to test: wheel files (a path or glob), a requirement such as python-mscl==67.0.1.0, "
    "or a sample of pbs-matrix such as ucxx-shaped.  [default: the project here, else a sample]",
)
@click.option("--github", is_flag=True, help="Also write a workflow for GitHub Actions.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@told
def init(directory: Path, extension: str | None, github: bool, force: bool) -> None:
    """Write a small matrix of your own, for your extension, in DIRECTORY.

    matrix.yaml says what is tested, with comments; matrix.lock pins it; test_matrix.py is what
    pytest runs; editors complete matrix.yaml from matrix.schema.json. All are written, or none, and
    over no file that says something else, unless --force is given.
    """
    from harness import lock, matrix, project
    from harness.starter import candidate, new, writing

    own, locked = matrix.load(project.MATRIX), lock.load(lock.path_for(project.MATRIX))
    found = candidate.find(extension, directory, own)
    made = new.files(found, directory, own, locked)
    if github:
        made |= new.workflow(directory)
    written = writing.write_all(made, force=force)
    for sentence in found.told:
        click.echo(sentence)
    for path in made:
        shown = os.path.relpath(path)
        click.echo(f"wrote {shown}" if path in written else f"{shown} is there already, the same")
    click.echo("Next:")
    if os.path.relpath(directory) != ".":
        click.echo(f"  cd {os.path.relpath(directory)}")
    click.echo("  pbs-matrix doctor                what this machine lacks; --fix puts it right")
    click.echo("  pytest -n auto test_matrix.py    all cells; --collect-only -q lists them")
