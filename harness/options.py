"""What the commands of ``pbs-matrix`` have in common: options, and how their errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from harness import project
from harness.errors import HarnessError

P = ParamSpec("P")


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Print a :class:`HarnessError` in words and end with its exit code."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except HarnessError as error:
            click.echo(f"pbs-matrix: error: {error}", err=True)
            sys.exit(int(error.exit_code))

    return wrapped


matrix_option = click.option(
    "--matrix",
    "matrix_file",
    type=click.Path(path_type=Path),
    default=lambda: project.matrix_beside(Path()),
    show_default="matrix.yaml of this folder, else the project's own",
    help="Matrix file.",
)


source_option = click.option(
    "--source",
    type=click.Choice(["auto", "upstream", "replica"]),
    default="auto",
    show_default=True,
    help="Where interpreters come from: the published archives (upstream), stand-ins with the same "
    "link model (replica), or upstream where it can be reached, else replicas (auto).",
)
mirror_option = click.option(
    "--mirror",
    metavar="URL",
    help="Where published archives are: http, https or file.  "
    "[default: $UV_PYTHON_INSTALL_MIRROR, else GitHub]",
)
trust_option = click.option(
    "--trust-mirror",
    is_flag=True,
    help="Believe the mirror's SHA256SUMS where uv's own metadata says another hash: for a mirror "
    "of builds of your own.",
)
