"""``pbs-matrix issues``, ``last-results`` and ``suspects``: what the night's last jobs run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from harness.errors import ConfigurationError
from harness.options import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.filing.deciding import Action
    from harness.filing.github import GitHub
    from harness.results import Result

repository_option = click.option(
    "--repository", metavar="OWNER/NAME", help="Which one.  [default: $GITHUB_REPOSITORY]"
)
base_option = click.option(
    "--base",
    "base_file",
    metavar="BASE",
    type=click.Path(path_type=Path),
    help="Results of the last good night.",
)

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~%/+=&?,;:-]*)?(#[\w/=&?-]*)?")


@click.command()
@click.argument("new_file", metavar="NEW", type=click.Path(path_type=Path))
@base_option
@click.option(
    "--bisects",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path),
    help="Reports of pbs-matrix bisect, each named KEY.md by the key of its trouble.",
)
@click.option("--page", metavar="URL", help="Where the report page is.")
@repository_option
@click.option(
    "--author",
    metavar="LOGIN",
    help="The account that files: only its issues are its own.  [default: as the token says; where "
    "it does not, whoever may write to the repository]",
)
@click.option(
    "--most-new",
    metavar="N",
    type=click.IntRange(0, 1000),
    help="Open no more than so many new issues.  [default: 20]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done, with all texts.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@told
def issues(
    new_file: Path,
    base_file: Path | None,
    bisects: Path | None,
    page: str | None,
    repository: str | None,
    author: str | None,
    most_new: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep one GitHub issue for each trouble of a night: open, update, reopen and close them.

    A trouble is what all cells have in common that regressed, are fixed or were mispredicted with
    one signature. What could not be tested is none, and closes nothing. Running it again changes
    nothing. Needs a token in GITHUB_TOKEN with `issues: write`; --dry-run needs none for a public
    repository.
    """
    from harness import results
    from harness.errors import GitHubError
    from harness.filing import deciding, github, troubles, wording
    from harness.filing.applying import Filing

    named = github.repository_of(repository)
    night = troubles.of(results.read(new_file), _read(base_file))
    desk = deciding.Desk(
        night=night,
        place=wording.Place(run=_run(named), page=_address(page)),
        bisects=_reports(bisects, [trouble.key for trouble in night.troubles]),
        most_new=deciding.MOST_NEW if most_new is None else most_new,
    )
    if not dry_run and not github.has_token():
        raise GitHubError(
            "filing issues needs a token, and there is none",
            advice=f"Set GITHUB_TOKEN to one for {named} with `issues: write`, or add --dry-run.",
        )
    with _asking(named) as asked:
        filing = Filing(asked, author=author or asked.login())
        actions = deciding.decide(filing.known(), desk)
        done: Iterator[tuple[Action, int | None]] = (
            ((action, getattr(action, "number", None)) for action in actions)
            if dry_run
            else filing.apply(actions)
        )
        told_actions = []
        for action, number in done:
            told_actions.append(_as_json(action, number))
            if not as_json:
                _tell(action, number, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "actions": told_actions}, indent=1))
    elif not actions:
        click.echo("no trouble, and no open issue")


@click.command("last-results")
@click.option(
    "-o",
    "--output",
    "to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="Results file to write; it is not there afterwards if there are none.",
)
@click.option(
    "--workflow", metavar="FILE", default="nightly.yml", show_default=True, help="Of which one."
)
@click.option(
    "--artifact", metavar="NAME", default="results", show_default=True, help="Where they are."
)
@click.option("--branch", metavar="NAME", help="Of which one.  [default: the repository's]")
@click.option("--event", metavar="NAME", help="Only of runs started by it, such as schedule.")
@repository_option
@told
def last_results(
    to: Path,
    workflow: str,
    artifact: str,
    branch: str | None,
    event: str | None,
    repository: str | None,
) -> None:
    """Fetch the results of the last good night from GitHub, as what NEW is compared with.

    That is the newest successful run of the workflow, other than this one, that still has them.
    Writes found=true or found=false to $GITHUB_OUTPUT. That there is none, as in the first night,
    is no error. Needs a token in GITHUB_TOKEN with `actions: read`.
    """
    from harness import output
    from harness.filing import github, lastresults

    named = github.repository_of(repository)
    output.require_writable(to)
    scratch = to.with_name(f".{to.name}.new")
    to.parent.mkdir(parents=True, exist_ok=True)
    scratch.unlink(missing_ok=True)
    with _asking(named) as asked:
        wanted = lastresults.Wanted(
            repository=named,
            workflow=workflow,
            artifact=artifact,
            branch=branch or asked.default_branch(),
            this_run=os.environ.get("GITHUB_RUN_ID"),
            event=event,
        )
        run = lastresults.fetch(asked, wanted, scratch, _say)
    if run is None:
        to.unlink(missing_ok=True)
        click.echo("there is no last good night")
    else:
        scratch.replace(to)
        click.echo(f"wrote {to}: the results of run {run.id}")
    _put(f"found={'false' if run is None else 'true'}", quietly=True)


@click.command()
@click.argument("new_file", metavar="NEW", type=click.Path(path_type=Path))
@base_option
@click.option(
    "--max",
    "most",
    metavar="N",
    type=click.IntRange(0, 256),
    default=4,
    show_default=True,
    help="No more than so many.",
)
@told
def suspects(new_file: Path, base_file: Path | None, most: int) -> None:
    """Say what to bisect: one cell of each trouble that regressed, with a good and a bad release.

    Writes bisects=JSON, a job matrix, and count=N to $GITHUB_OUTPUT; prints them where that is not
    set.
    """
    from harness import results
    from harness.filing import suspects as looking

    found = looking.find(results.read(new_file), _read(base_file), most=most)
    for sentence in found.passed_over:
        _say(f"not bisected: {sentence}")
    _put(f"bisects={found.include}")
    _put(f"count={len(found.suspects)}")


def _read(file: Path | None) -> Iterator[Result]:
    from harness import results

    return results.read(file) if file else iter(())


def _asking(repository: str) -> GitHub:
    from harness.filing import github

    return github.GitHub(repository, say=_say, patience=github.PATIENCE)


def _reports(folder: Path | None, keys: list[str]) -> dict[str, str]:
    """The reports that there are; a folder that is not there is an empty one."""
    found = {}
    for key in keys if folder else ():
        assert folder is not None
        try:
            with (folder / f"{key}.md").open("rb") as stream:
                found[key] = stream.read(1 << 20).decode("utf-8", "replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigurationError(
                f"{folder / key}.md cannot be read: {error.strerror or error}",
                advice="Write it with pbs-matrix bisect --report.",
            ) from error
    return found


def _run(repository: str) -> str | None:
    """The address of the run of the workflow that this is; None where it is none."""
    run = os.environ.get("GITHUB_RUN_ID", "")
    if not re.fullmatch(r"\d{1,20}", run, re.ASCII):
        return None
    server = (os.environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    return _address(f"{server}/{repository}/actions/runs/{run}")


def _address(text: str | None) -> str | None:
    if not text:
        return None
    if not _ADDRESS.fullmatch(text):
        raise ConfigurationError(
            f"{text[:80]!r} is no address of a page",
            advice="Name one with http:// or https:// and without blanks.",
        )
    return text


def _tell(action: Action, number: int | None, *, dry_run: bool) -> None:
    """One line, and in a dry run all that would be written."""
    from harness.filing.deciding import Close, Create, Nothing, Reopen, Update
    from harness.why import printable

    name = f"#{number}" if number else action.key
    match action:
        case Create():
            line = f"{'would open' if dry_run else f'opened {name}'}: {action.title}"
        case Update():
            line = f"{'would update' if dry_run else 'updated'} {name}: {action.title}"
        case Reopen():
            line = f"{'would reopen' if dry_run else 'reopened'} {name}: {action.title}"
        case Close():
            line = f"{'would close' if dry_run else 'closed'} {name}: {action.title}"
        case Nothing():
            line = f"left {name}: {action.why}"
        case _:
            assert_never(action)
    click.echo(printable(line))
    if dry_run and not isinstance(action, Nothing):
        for text in (getattr(action, "comment", ""), action.body):
            for shown in text.splitlines():
                click.echo(printable(f"    {shown}"))


def _as_json(action: Action, number: int | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {"action": type(action).__name__.lower(), **asdict(action), "number": number}


def _put(line: str, *, quietly: bool = False) -> None:
    """A line for the jobs that come; ``quietly``: nowhere else where there are none."""
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        try:
            with Path(path).open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")
        except OSError as error:
            raise ConfigurationError(
                f"$GITHUB_OUTPUT cannot be written: {error.strerror or error}",
                advice="It names a file, as GitHub's runners set it; or leave it unset.",
            ) from error
    elif not quietly:
        click.echo(line)


def _say(line: str) -> None:
    click.echo(line, err=True)
