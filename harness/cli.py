"""``pbs-matrix``: what surrounds the pytest run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from harness import project
from harness.bench import command as benching
from harness.bisection import command as bisection
from harness.errors import ConfigurationError
from harness.filing import command as filing
from harness.options import (
    matrix_option,
    mirror_option,
    source_option,
    told,
    trust_option,
)
from harness.planning import command as planning
from harness.report import command as reporting
from harness.starter import command as starter

SECTIONS = {
    "A machine": ("doctor", "clean", "cache"),
    "A package, or somebody's wheel": ("check", "try", "bisect", "timeline"),
    "A matrix": ("init", "lock", "list", "plan", "schema"),
    "A cell": ("show", "shell", "rerun"),
    "Results": ("report", "compare", "merge"),
    "A night": ("last-results", "suspects", "issues"),
    "Interpreters": ("releases", "fidelity", "bench"),
}
"""The commands by what they are about; what is in none of them comes last."""


class _Sections(click.Group):
    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        there = {name: self.commands[name] for name in self.list_commands(context)}
        longest = max(map(len, there))
        named = {name for names in SECTIONS.values() for name in names}
        more = {"More": tuple(name for name in there if name not in named)}
        for title, names in (SECTIONS | more).items():
            # As wide in each, so that all are read as one table.
            rows = [
                (name.ljust(longest), there[name].get_short_help_str(limit=100)) for name in names
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(cls=_Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pbs-matrix")
def main() -> None:
    """A regression test matrix for python-build-standalone and uv.

    The matrix itself is run by pytest: `pytest -n auto`. See `pytest --help` for its options,
    under "the python-build-standalone matrix".
    """


@main.command()
@click.option("--fix", is_flag=True, help="Put right what is missing (as root, saying each step).")
@click.option("--tests", is_flag=True, help="Look also for what this project's own tests use.")
@told
def doctor(fix: bool, tests: bool) -> None:
    """Say what this machine has for the matrix, and what it lacks.

    Looks for a container engine, emulation of the other architecture, mmdebstrap, disk space, and
    which networks can be reached. Changes nothing without --fix.
    """
    from harness import doctor as doctor_module

    sys.exit(doctor_module.run(fix, tests=tests))


@main.command()
@matrix_option
@told
def lock(matrix_file: Path) -> None:
    """Pin what the matrix names, in matrix.lock beside it.

    Finds the wheels of every uv version and extension with their sha256, and asks each uv which
    release it installs by default. Needs the package index; look at the difference and commit it.
    """
    from harness import lock as lock_module
    from harness import locking, matrix, output

    path = lock_module.path_for(matrix_file)
    project.require_editable(path)
    made = locking.make(matrix.load(matrix_file), say=click.echo, beside=matrix_file.parent)
    output.write(path, lock_module.dump(made).encode())
    click.echo(f"wrote {path}")


@main.command()
@click.option("--check", is_flag=True, help="Only say whether the file is current.")
@click.option(
    "--output",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=project.SCHEMA,
    show_default="the project's own",
    help="Where it is.",
)
@told
def schema(check: bool, path: Path) -> None:
    """Write the JSON Schema of matrix.yaml, which editors complete from."""
    from harness import matrix, output

    text = matrix.schema_text()
    if check:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            raise ConfigurationError(
                f"{path} is not what the model in harness/matrix.py gives",
                advice="Run `pbs-matrix schema` and commit the result.",
            )
        click.echo("the schema is current")
        return
    project.require_editable(path)
    output.write(path, text.encode())
    click.echo(f"wrote {path}")


@main.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check(arguments: tuple[str, ...]) -> None:
    """Say whether anyone's extension modules import on every build of Python, and why not.

    A parser of its own, since click takes longer to load than a wheel to check: see
    harness/front.py.
    """
    from harness.check import command

    sys.exit(command.main(arguments))


@main.command("try")
@click.argument("package", metavar="REQUIREMENT")
@matrix_option
@click.option("--imports", metavar="MODULE", help="What to import.  [default: its top level]")
@click.option(
    "--profile", default="default", show_default=True, help="Whose environments to try it in."
)
@source_option
@mirror_option
@trust_option
@click.option("--uv", metavar="GLOB", multiple=True, help="Only these uv versions.")
@click.option("--platform", metavar="GLOB", multiple=True, help="Only these platforms.")
@click.option("--base", metavar="GLOB", multiple=True, help="Only these base images.")
@click.option(
    "--results",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one JSON object a line for each cell.",
)
@click.option(
    "--add",
    is_flag=True,
    help="Then write it into the matrix file and its lock, with what was observed as expected.",
)
@told
def try_(
    package: str,
    matrix_file: Path,
    imports: str | None,
    profile: str,
    source: str,
    mirror: str | None,
    trust_mirror: bool,
    uv: tuple[str, ...],
    platform: tuple[str, ...],
    base: tuple[str, ...],
    results: Path | None,
    add: bool,
) -> None:
    """Import a package in every environment of the matrix, without editing a file.

    REQUIREMENT is a package of the index, such as python-mscl==67.0.1.0 or only python-mscl for
    its newest version, or a wheel file of yours. Needs the engine; see `pbs-matrix doctor`.

    Ends with 0 if it imports everywhere, 1 if it fails somewhere, 2 if something could not be
    tested or contradicts what the loader's rules say.
    """
    from rich.console import Console

    from harness import (
        addition,
        engine,
        explanation,
        lock,
        matrix,
        output,
        progress,
        running,
        table,
        trial,
    )
    from harness import resolution as resolutions
    from harness.plan import Selection
    from harness.results import Writer

    def say(line: str) -> None:
        click.echo(line, err=True)

    output.require_writable(results)
    if add:
        project.require_editable(matrix_file)
    read, locked = matrix.load(matrix_file), lock.load(lock.path_for(matrix_file))
    is_file = package.endswith(".whl")
    tried = (
        trial.of_wheel(Path(package), imports=imports)
        if is_file
        else trial.of_requirement(package, read, imports=imports)
    )
    origin = tried.sample.requirement or Path(package).name
    say(f"trying {origin}: import {tried.sample.imports}")
    resolution = resolutions.resolve(
        read, locked, source=source, profile=profile, mirror=mirror, trusts_mirror=trust_mirror
    )
    for sentence in (*tried.lacking, *resolution.said):
        say(sentence)
    planned, own, extended = trial.cells_of(
        tried,
        read,
        resolution.completed(locked),
        profile=profile,
        resolution=resolution,
        selection=Selection(uv=uv, platform=platform, base=base),
    )
    done = []
    results_of = running.run(
        planned,
        own,
        extended,
        engine.connect(),
        beside=matrix_file.absolute().parent,
        say=say,
        expecting=trial.as_observed,
        resolution=resolution,
        progress=progress.for_terminal(sys.stderr, say),
    )
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Writer(results)) if results else None
        for result in results_of:
            done.append(result)
            if writer:
                writer.write(result)
    for line in explanation.report(done):
        click.echo(line)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    table.render_tables(done, console)
    console.print(trial.summary(done), soft_wrap=True)
    if add:
        about = f"Added by `pbs-matrix try {origin} --add`"
        addition.add(matrix_file, tried.name, tried.sample, about, done)
        output.write(lock.path_for(matrix_file), lock.dump(extended).encode())
        click.echo(f"added {tried.name} to {matrix_file} and its lock: look at the difference")
    sys.exit(trial.exit_code(done))


@main.command()
@click.option("--images", is_flag=True, help="Remove the project's images too.")
@click.option(
    "--to",
    metavar="SIZE",
    help="With --images: only those least recently used, until all take no more than this, such as "
    "20GB.",
)
@click.option("--cache", "with_cache", is_flag=True, help="Remove the cache on this host too.")
@told
def clean(images: bool, to: str | None, with_cache: bool) -> None:
    """Remove containers that dead runs left; live runs and other projects are not touched.

    Where PBS_MATRIX_IMAGES_LIMIT says how much the project's images may take, such as 20GB, those
    least recently used go until they take no more, here as after each preparation.

    Ends with 1 if an image could not be removed that --to asks for.
    """
    import shutil

    from harness import cache, containers, engine, imagestorage, scratch
    from harness.images import remove_all
    from harness.sizes import parse_size

    if to is not None and not images:
        raise ConfigurationError(
            "--to says which images go, and without --images none does",
            advice="Add --images; for the cache there is `pbs-matrix cache prune --to SIZE`.",
        )
    wanted = imagestorage.limit() if to is None else parse_size(to)
    client = engine.connect()
    click.echo(f"removed {containers.reap_dead(client)} containers of dead runs")
    if folders := scratch.reap_dead():
        click.echo(f"removed {folders} temporary folders of dead runs")
    problems = False
    if images and to is None:
        click.echo(f"removed {remove_all(client)} images")
    elif wanted is not None:
        pruned = imagestorage.prune(client, wanted)
        for line in imagestorage.report(pruned):
            click.echo(line)
        problems = bool(pruned.problems)
    if with_cache:
        root = cache.root()
        shutil.rmtree(root, ignore_errors=True)
        click.echo(f"removed {root}")
    sys.exit(int(problems))


@main.group("cache", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: bytes, and times in UTC.")
@click.pass_context
@told
def cache_(context: click.Context, as_json: bool) -> None:
    """Show what the cache on this host holds, by kind; `prune` makes it smaller.

    It is in the user's cache directory, or where PBS_MATRIX_CACHE says. All in it can be made or
    downloaded again, but for the journals of bisections. `pbs-matrix clean --cache` removes it as a
    whole.
    """
    from rich.console import Console

    from harness import storage

    if context.invoked_subcommand is not None:
        return
    found = storage.look()
    if as_json:
        click.echo(storage.as_json(found))
    else:
        storage.render(found, Console(width=None if sys.stdout.isatty() else 110, highlight=False))


@cache_.command()
@click.option(
    "--to",
    metavar="SIZE",
    help="Remove entries, the least recently used first, until the cache takes no more than this, "
    "such as 500MB or 2GiB.",
)
@click.option(
    "--kind",
    metavar="GLOB",
    help="With --to: only entries of such kinds, until these take no more than SIZE.",
)
@click.option("--now", is_flag=True, help="With --to: also what was used within the last hour.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@told
def prune(to: str | None, kind: str | None, now: bool, dry_run: bool) -> None:
    """Make the cache smaller.

    Always removes what processes left that died while they made something, and downloads that were
    cut short and that nobody went on with for a week. Only with --to it removes whole entries.
    What another process is making or asking for at this moment is left alone, and so is what was
    used within the last hour, unless --now says otherwise.

    Ends with 1 if something could not be removed.
    """
    from harness import storage
    from harness.sizes import parse_size

    if to is None and (kind is not None or now):
        raise ConfigurationError(
            "--kind and --now say which entries go, and without --to none does",
            advice="Add --to SIZE, such as --to 2GB.",
        )
    done = storage.prune(
        None if to is None else parse_size(to),
        kind=kind or "*",
        now=now,
        dry_run=dry_run,
        say=lambda line: click.echo(line, err=True),
    )
    for line in storage.report(done, dry_run=dry_run):
        click.echo(line)
    sys.exit(1 if done.problems else 0)


@main.command()
@matrix_option
@click.option(
    "--uv",
    metavar="GLOB",
    multiple=True,
    help="Ask these uv versions of the package index; may be repeated.  [default: those in the "
    "lock]",
)
@click.option(
    "--python",
    metavar="X.Y",
    help="The CPython whose default is asked for, and no other in the list.  [default: 3.13, and "
    "all in the list]",
)
@click.option(
    "--platform", type=click.Choice(["x86_64", "aarch64"]), help="Only this one.  [default: both]"
)
@mirror_option
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many of the newest; what a uv version asked installs by default is shown too.",
)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--offline", is_flag=True, help="Ask nobody: only what is here already.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@told
def releases(
    matrix_file: Path,
    uv: tuple[str, ...],
    python: str | None,
    platform: str | None,
    mirror: str | None,
    last: int,
    every: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """List the releases of python-build-standalone, the newest last.

    With the date of the tagged commit, by which they are ordered, the CPython versions in each, how
    it carries libpython, and the uv versions that install it where nothing else is asked for: each
    uv program is asked itself.
    """
    from rich.console import Console

    from harness import lock as lock_module
    from harness import mirror as mirrors
    from harness import releasing
    from harness.platforms import Platform

    made = releasing.report(
        releasing.Request(
            lock=lock_module.load(lock_module.path_for(matrix_file)),
            mirror=mirrors.of(mirror),
            python=python or releasing.PYTHON,
            only_python=python is not None,
            platforms=(Platform(platform),) if platform else tuple(Platform),
            uv=uv,
            last=None if every else last,
            offline=offline,
        ),
        say=lambda line: click.echo(line, err=True),
    )
    if as_json:
        click.echo(releasing.as_json(made))
    else:
        releasing.render(made, Console(width=None if sys.stdout.isatty() else 110, highlight=False))


@main.command()
@matrix_option
@click.option(
    "--profile",
    default="quick",
    show_default=True,
    help="Whose cells to run, once for each source.",
)
@mirror_option
@trust_option
@click.option("--uv", metavar="GLOB", multiple=True, help="Only these uv versions.")
@click.option("--platform", metavar="GLOB", multiple=True, help="Only these platforms.")
@click.option("--base", metavar="GLOB", multiple=True, help="Only these base images.")
@click.option("--extension", metavar="GLOB", multiple=True, help="Only these extensions.")
@click.option("--check", "checks", metavar="GLOB", multiple=True, help="Only these checks.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@told
def fidelity(
    matrix_file: Path,
    profile: str,
    mirror: str | None,
    trust_mirror: bool,
    uv: tuple[str, ...],
    platform: tuple[str, ...],
    base: tuple[str, ...],
    extension: tuple[str, ...],
    checks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the same cells on published archives and on replicas, and list every difference.

    So it shows what a replica stands for, and what not. Needs the engine, and the published
    archives.

    Ends with 0 if no outcome differs but as matrix.yaml expects, 1 if one does, 2 if nothing could
    be compared.
    """
    from rich.console import Console

    from harness import engine, lock, matrix, progress, running
    from harness import fidelity as fidelities
    from harness import resolution as resolutions
    from harness.plan import Selection, both_sources

    def say(line: str) -> None:
        click.echo(line, err=True)

    read, locked = matrix.load(matrix_file), lock.load(lock.path_for(matrix_file))
    resolution = resolutions.resolve(
        read,
        locked,
        source="upstream",
        profile=profile,
        mirror=mirror,
        trusts_mirror=trust_mirror,
    )
    resolutions.require_reachable(resolution, read, locked, profile)
    for sentence in resolution.said:
        say(sentence)
    locked = resolution.completed(locked)
    selection = Selection(uv=uv, platform=platform, base=base, extension=extension, check=checks)
    results = list(
        running.run(
            both_sources(
                read, locked, profile=profile, names=resolution.names, selection=selection
            ),
            read,
            locked,
            engine.connect(),
            beside=matrix_file.absolute().parent,
            say=say,
            resolution=resolution,
            progress=progress.for_terminal(sys.stderr, say),
        )
    )
    found = fidelities.of(results)
    if as_json:
        click.echo(fidelities.as_json(found))
    else:
        width = None if sys.stdout.isatty() else 110
        fidelities.report(found, Console(width=width, highlight=False))
    sys.exit(found.exit_code)


@main.command()
@click.argument("base", metavar="BASE", type=click.Path(path_type=Path))
@click.argument("new", metavar="NEW", type=click.Path(path_type=Path))
@click.option(
    "--markdown",
    "markdown_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write it for a comment on GitHub or a job's summary.",
)
@click.option("--common", is_flag=True, help="Leave out the cells that only one of them has.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@told
def compare(base: Path, new: Path, markdown_file: Path | None, common: bool, as_json: bool) -> None:
    """Say what changed between two results files, whatever matrix.yaml expects of either.

    A cell regressed if it succeeded in BASE and fails in NEW. What may explain a change is told
    beside it: another source, link model, archive, uv, wheel or base image.

    Ends with 1 if something regressed, 2 if nothing could be compared, else 0.
    """
    from rich.console import Console

    from harness import comparison, output, results

    output.require_writable(markdown_file)
    found = comparison.compare(results.read(base), results.read(new), common=common)
    if markdown_file:
        output.write(markdown_file, comparison.markdown(found).encode())
        click.echo(f"wrote {markdown_file}", err=True)
    if as_json:
        # Straight to where it goes: of a million cells it is half a gigabyte.
        sys.stdout.writelines(comparison.as_json(found))
        click.echo()
    else:
        comparison.render(found, Console(highlight=False))
    sys.exit(found.exit_code)


@main.command()
@click.argument(
    "files", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "to",
    metavar="OUT",
    type=click.Path(path_type=Path),
    required=True,
    help="Results file to write.",
)
@click.option(
    "--expect",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Ids of the cells that there should be: one a line, or what `pytest --collect-only -q` "
    "printed.",
)
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Expect the cells that `pbs-matrix plan -o FILE` has planned.",
)
@click.option(
    "--track",
    type=click.Choice(["main", "native"]),
    default="main",
    show_default=True,
    help="With --plan: those of which jobs. native are the jobs that run again, on machines of "
    "their own, what others run under emulation.",
)
@told
def merge(
    files: tuple[Path, ...], to: Path, expect: Path | None, plan_file: Path | None, track: str
) -> None:
    """Make one results file of several, such as the shards of a run.

    Each cell is in it once, in an order that does not depend on that of the files. Of several lines
    about a cell the last one counts, but an answer goes before none; different answers are
    reported, and noted in the line. A line that is no result ends it, and nothing is written.

    Ends with 1 if an expected cell is in no file; what there is is written all the same.
    """
    from harness import merging, output

    if plan_file is not None and expect is not None:
        raise ConfigurationError(
            "what is expected is said by --expect FILE or by --plan FILE",
            advice="Give the one or the other, or neither.",
        )
    output.require_writable(to)
    expected = merging.expected_ids(expect) if expect else None
    if plan_file is not None:
        from harness import planfile

        expected = planfile.ids(plan_file, planfile.Track(track))
    with merging.merged(files, expected, folder=output.folder_of(to)) as merged:
        output.write_pieces(to, merged.lines())
    for line in merging.report(merged):
        click.echo(line)
    click.echo(f"wrote {to}")
    sys.exit(merged.exit_code)


main.add_command(benching.bench)
main.add_command(bisection.bisect)
main.add_command(bisection.timeline)
main.add_command(starter.init)
main.add_command(reporting.report)
main.add_command(filing.issues)
main.add_command(filing.last_results)
main.add_command(filing.suspects)
for _command in planning.COMMANDS:
    main.add_command(_command)
