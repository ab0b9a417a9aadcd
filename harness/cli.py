"""``pbs-matrix``: what surrounds the pytest run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from harness.errors import ConfigurationError, HarnessError

PROJECT = Path(__file__).parent.parent
SCHEMA = PROJECT / "harness" / "data" / "matrix.schema.json"

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
    default=PROJECT / "matrix.yaml",
    show_default="the project's own",
    help="Matrix file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pbs-matrix")
def main() -> None:
    """A regression test matrix for python-build-standalone and uv.

    The matrix itself is run by pytest: `pytest -n auto`. See `pytest --help` for its options,
    under "the python-build-standalone matrix".
    """


@main.command()
@click.option("--fix", is_flag=True, help="Put right what is missing (as root, saying each step).")
@told
def doctor(fix: bool) -> None:
    """Say what this machine has for the matrix, and what it lacks.

    Looks for a container engine, emulation of the other architecture, mmdebstrap, disk space, and
    which networks can be reached. Changes nothing without --fix.
    """
    from harness import doctor as doctor_module

    sys.exit(doctor_module.run(fix))


@main.command()
@matrix_option
@told
def lock(matrix_file: Path) -> None:
    """Pin what the matrix names, in matrix.lock beside it.

    Finds the wheels of every uv version and extension with their sha256, and asks each uv which
    release it installs by default. Needs the package index; look at the difference and commit it.
    """
    from harness import lock as lock_module
    from harness import locking, matrix

    path = lock_module.path_for(matrix_file)
    made = locking.make(matrix.load(matrix_file), say=click.echo)
    # Written beside and renamed, so that a full disk leaves the old lock whole.
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_text(lock_module.dump(made), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            advice="Put the matrix file into a directory that you may write to.",
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    click.echo(f"wrote {path}")


@main.command()
@click.option("--check", is_flag=True, help="Only say whether the committed schema is current.")
@told
def schema(check: bool) -> None:
    """Write the JSON Schema of matrix.yaml, which editors complete from."""
    import json

    from harness import matrix

    text = json.dumps(matrix.json_schema(), indent=1) + "\n"
    if check:
        if not SCHEMA.exists() or SCHEMA.read_text(encoding="utf-8") != text:
            raise ConfigurationError(
                f"{SCHEMA} is not what the model in harness/matrix.py gives",
                advice="Run `pbs-matrix schema` and commit the result.",
            )
        click.echo("the schema is current")
        return
    SCHEMA.write_text(text, encoding="utf-8")
    click.echo(f"wrote {SCHEMA}")


@main.command()
@click.option("--images", is_flag=True, help="Remove the project's images too.")
@click.option("--cache", "with_cache", is_flag=True, help="Remove the cache on this host too.")
@told
def clean(images: bool, with_cache: bool) -> None:
    """Remove containers that dead runs left; live runs and other projects are not touched."""
    import shutil

    from harness import cache, containers, engine
    from harness.images import remove_all

    client = engine.connect()
    click.echo(f"removed {containers.reap_dead(client)} containers of dead runs")
    if images:
        click.echo(f"removed {remove_all(client)} images")
    if with_cache:
        root = cache.root()
        shutil.rmtree(root, ignore_errors=True)
        click.echo(f"removed {root}")
