"""``pbs-matrix plan``, ``list``, ``show``, ``shell``, ``rerun`` and ``completion``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import ConfigurationError
from harness.options import matrix_option, mirror_option, source_option, told, trust_option
from harness.planning import completion as completions

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.lock import Lock
    from harness.matrix import Matrix
    from harness.plan import Cell
    from harness.request import Request
    from harness.resolution import Resolution

AXES = ("uv", "release", "platform", "extension", "check", "remedy", "base", "flavour")


def _selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which cells are meant, as pytest has them."""
    for option in reversed(
        [
            matrix_option,
            click.option(
                "--profile",
                default="default",
                show_default=True,
                metavar="NAME",
                help="Profile of the matrix file.",
                shell_complete=completions.profiles,
            ),
            source_option,
            mirror_option,
            trust_option,
            click.option(
                "--also-release",
                "also_releases",
                metavar="RELEASE",
                multiple=True,
                help="Also cells of this release (or latest, or a range) for each uv of the "
                "profile; may be repeated.",
            ),
            *(
                click.option(
                    f"--{axis}",
                    metavar="GLOB",
                    multiple=True,
                    help=f"Only cells whose {axis} matches; may be repeated.",
                    shell_complete=completions.of_axis(axis),
                )
                for axis in AXES
            ),
        ]
    ):
        command = option(command)
    return command


def _say(line: str) -> None:
    click.echo(line, err=True)


def _decided(options: dict[str, Any]) -> tuple[Request, Resolution, tuple[Cell, ...]]:
    """What the selecting options ask for, what that is today, and the cells."""
    from harness import resolution as resolutions
    from harness.plan import Selection
    from harness.request import Request

    request = Request(
        profile=options["profile"],
        also_releases=options["also_releases"],
        selection=Selection(**{axis: options[axis] for axis in AXES}),
    )
    read, locked = _read(options["matrix_file"])
    matrix = request.extended(read)
    resolution = resolutions.resolve(
        matrix,
        locked,
        source=options["source"],
        profile=request.profile,
        mirror=options["mirror"],
        trusts_mirror=options["trust_mirror"],
    )
    for sentence in resolution.said:
        _say(sentence)
    return request, resolution, request.cells(matrix, locked, resolution)


def _read(matrix_file: Path) -> tuple[Matrix, Lock]:
    from harness import lock, matrix

    return matrix.load(matrix_file), lock.load(lock.path_for(matrix_file))


@click.command()
@_selecting
@click.option("--shards", metavar="N", type=int, help="Divide the cells into N jobs.")
@click.option(
    "--github", is_flag=True, help="Make jobs for GitHub's machines, and a job matrix for them."
)
@click.option(
    "--max-jobs", metavar="N", type=int, help="With --github: at most so many.  [default: 20]"
)
@click.option(
    "--durations",
    "earlier",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="An earlier results file, to predict by how long cells take.",
)
@click.option(
    "-o",
    "--output",
    "to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the plan, for `pytest --plan=FILE --shard=I/N` and `pbs-matrix merge --plan FILE`.",
)
@told
def plan(
    shards: int | None,
    github: bool,
    max_jobs: int | None,
    earlier: Path | None,
    to: Path | None,
    **options: Any,
) -> None:
    """Say which cells there are, how long they take, and which machine is to run which.

    Needs no engine. With -o the plan is kept: what "latest" is today, and which cells each job has,
    so that every machine that is given the file plans the same. With --github, lines for the job
    matrix go to the file $GITHUB_OUTPUT, or are printed.
    """
    from rich.console import Console

    from harness import durations, jobs, output, planfile
    from harness.planning import table

    if github and shards is not None:
        raise ConfigurationError(
            "--shards and --github both say how many jobs there are",
            advice="Leave one of them out; with --github, --max-jobs says how many at most.",
        )
    if max_jobs is not None and not github:
        raise ConfigurationError(
            "--max-jobs is for GitHub's machines", advice="Add --github, or write --shards N."
        )
    output.require_writable(to)
    request, resolution, cells = _decided(options)
    known = durations.read(earlier)
    made = (
        jobs.for_github(cells, known, jobs.MANY if max_jobs is None else max_jobs)
        if github
        else jobs.plain(cells, known, 1 if shards is None else shards)
    )
    # What a workflow reads from standard output has that for itself.
    console = Console(stderr=github, width=None if sys.stdout.isatty() else 110, highlight=False)
    table.render(cells, made, known, console)
    if to is not None:
        content = planfile.make(
            made, matrix_file=options["matrix_file"], request=request, resolution=resolution
        )
        planfile.write(content, to)
        _say(f"wrote {to}")
    if github:
        _hand_over(jobs.for_output(made))


def _hand_over(lines: str) -> None:
    """Give a workflow its outputs."""
    file = os.environ.get("GITHUB_OUTPUT")
    if not file:
        click.echo(lines, nl=False)
        return
    try:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(lines)
    except OSError as error:
        raise ConfigurationError(
            f"$GITHUB_OUTPUT {file} cannot be written: {error.strerror or error}",
            advice="Unset the variable to have its lines printed.",
        ) from error


@click.command("list")
@_selecting
@click.option("--json", "as_json", is_flag=True, help="For programs: with what each id stands for.")
@told
def list_(as_json: bool, **options: Any) -> None:
    """List the ids of the cells that are selected, one a line.

    `pytest --cells=FILE` runs such a list. Needs no engine.
    """
    from harness.planning import card

    _, _, cells = _decided(options)
    if as_json:
        click.echo(json.dumps([card.row(cell) for cell in cells], indent=1))
        return
    for cell in cells:
        click.echo(cell.id)


def _cell_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("cell", metavar="CELL", shell_complete=completions.cells)(command)


@click.command()
@_cell_argument
@matrix_option
@click.option(
    "--durations",
    "earlier",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="An earlier results file, to predict by.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@told
def show(cell: str, matrix_file: Path, earlier: Path | None, as_json: bool) -> None:
    """Say all that is known of a cell before it has run.

    CELL is an id, of any profile, or a glob that matches one. Needs no engine.
    """
    from harness import durations, finding
    from harness.planning import card

    read, locked = _read(matrix_file)
    found = finding.one(cell, read, locked)
    locked = locked.model_copy(update={"uv": {**locked.uv, **found.uv}})
    known = durations.read(earlier)
    facts = card.facts(found.cells[0], read, locked, known=known, matrix_file=matrix_file)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for line in card.lines(facts):
        click.echo(line)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@matrix_option
@mirror_option
@trust_option
@_cell_argument
@click.argument("command", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@told
def shell(
    cell: str,
    command: tuple[str, ...],
    matrix_file: Path,
    mirror: str | None,
    trust_mirror: bool,
) -> None:
    """Open a shell, or run COMMAND, in exactly the environment of a cell.

    CELL is an id, of any profile, or a glob that matches one. Its extension is there, its remedy is
    applied as far as files and variables go, and the first lines say how to import it. Without a
    terminal, what is piped in goes to COMMAND: echo 'import x' | pbs-matrix shell CELL python.

    The container is there until you leave, for a day at most. Ends as COMMAND does. Needs the
    engine.
    """
    from harness import engine, finding, progress
    from harness import mirror as mirrors
    from harness.planning import shell as opening
    from harness.resolution import Resolution

    read, locked = _read(matrix_file)
    found = finding.one(cell, read, locked)
    resolution = Resolution(
        source=found.source, mirror=mirrors.of(mirror), trusts_mirror=trust_mirror, uv=found.uv
    )
    code = opening.run(
        found,
        command[1:] if command[:1] == ("--",) else command,
        read,
        locked,
        engine.connect(),
        resolution=resolution,
        beside=matrix_file.absolute().parent,
        say=_say,
        progress=progress.for_terminal(sys.stderr, _say),
    )
    sys.exit(code)


class _WithOptionsBehind(click.Command):
    """A command whose arguments behind ``--`` are for somebody else."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Put them aside, before the others are parsed."""
        if "--" in arguments:
            place = arguments.index("--")
            context.meta["behind"] = tuple(arguments[place + 1 :])
            arguments = arguments[:place]
        return super().parse_args(context, arguments)


@click.command(cls=_WithOptionsBehind)
@click.argument(
    "targets",
    metavar="RESULTS.jsonl|CELL...",
    nargs=-1,
    required=True,
    shell_complete=completions.cells_or_files,
)
@matrix_option
@click.option(
    "--failed", is_flag=True, help="Of results files: only cells that did not do as expected."
)
@click.pass_context
@told
def rerun(
    context: click.Context, targets: tuple[str, ...], matrix_file: Path, failed: bool
) -> None:
    """Run cells again: those of results files, or those named by their ids or by globs.

    Whatever profile or source they are of. What follows `--` goes to pytest: `pbs-matrix rerun
    --failed results.jsonl -- --explain`. Ends as pytest does, with 0 where nothing had failed.
    """
    from harness.planning import rerun as running

    read, locked = _read(matrix_file)
    ids = running.chosen(targets, read, locked, only_failed=failed)
    if not ids:
        what = "every cell did as expected" if failed else "there are no cells"
        click.echo(f"{what}: there is nothing to run")
        return
    _say(f"running {len(ids)} {'cell' if len(ids) == 1 else 'cells'}")
    sys.exit(running.run(ids, matrix_file, context.meta.get("behind", ())))


@click.command()
@click.argument("shell", type=click.Choice(completions.SHELLS))
@click.pass_context
@told
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and cells.

    In ~/.bashrc: eval "$(pbs-matrix completion bash)"; in ~/.zshrc: eval "$(pbs-matrix completion
    zsh)"; for fish: pbs-matrix completion fish > ~/.config/fish/completions/pbs-matrix.fish
    """
    click.echo(completions.script(shell, context.find_root().command))


COMMANDS = (plan, list_, show, shell, rerun, completion)
