"""``pbs-matrix bisect`` and ``timeline``: which release broke it, and which mended it."""

from __future__ import annotations

import contextlib
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import ConfigurationError, SelectionError
from harness.options import matrix_option, mirror_option, source_option, told, trust_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.bisection.model import Candidate, Inquiry
    from harness.bisection.search import Ending
    from harness.bisection.session import Session

SHORT = 40
"""Candidates of which all are tested, rather than searched."""


def _asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is asked, the same for a search and a timeline."""
    for option in reversed(
        [
            click.option(
                "--extension",
                "asked",
                metavar="X",
                help="An extension or check of the matrix, a requirement such as "
                "python-mscl==67.0.1.0, or a wheel file.",
            ),
            click.option("--imports", metavar="MODULE", help="What to import of a requirement."),
            click.option(
                "--command",
                "shell",
                metavar="COMMAND",
                help="Run this in each environment instead, by git's contract: 0 is good, 125 "
                "cannot be tested, any other up to 127 is bad. What --extension names is there.",
            ),
            click.option(
                "--platform",
                type=click.Choice(["x86_64", "aarch64"]),
                help="Which platform.  [default: this machine's]",
            ),
            click.option("--base", metavar="NAME", help="Base image.  [default: the first]"),
            click.option("--python", metavar="X.Y", help="CPython.  [default: the first]"),
            click.option(
                "--axis",
                type=click.Choice(["release", "uv"]),
                default="release",
                show_default=True,
                help="Walk releases, installed by one uv; or uv versions, each with the release "
                "that it installs by default.",
            ),
            click.option(
                "--uv",
                metavar="VERSION",
                help="With --axis release: the uv that installs them.  [default: the last]",
            ),
            click.option(
                "--good", metavar="A", help="A release (or uv) that is good.  [default: the oldest]"
            ),
            click.option(
                "--bad", metavar="B", help="A release (or uv) that is bad.  [default: the newest]"
            ),
            source_option,
            mirror_option,
            trust_option,
            matrix_option,
            click.option(
                "--jobs",
                metavar="N",
                type=click.IntRange(1, 16),
                help="Test so many at once.  [default: 1; of a timeline, one for each CPU]",
            ),
            click.option("--fresh", is_flag=True, help="Take no answer of an earlier day."),
            click.option(
                "--report",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Write a report in Markdown, for an upstream issue.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
        ]
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_asking
@click.option("--find-fix", is_flag=True, help="The first good one after a bad one.")
@click.option(
    "--any-failure",
    is_flag=True,
    help="Any failure is bad, not only that of the bad end; else another counts as untestable.",
)
@click.option(
    "--check",
    metavar="N",
    type=click.IntRange(0, 500),
    default=1,
    show_default=True,
    help="After a search, test so many of the rest, in case there is a second change.",
)
@click.option(
    "--retests",
    metavar="N",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="Test each side of what was found so often again, in case it answers otherwise.",
)
@click.option(
    "--timeline-up-to",
    metavar="N",
    type=click.IntRange(0),
    default=SHORT,
    show_default=True,
    help="Of a range no longer than this, test every one.",
)
@click.option(
    "--resume",
    metavar="ID",
    is_flag=False,
    flag_value="",
    help="Go on with one that was cut short: by its ID, or the newest.",
)
@click.pass_context
@told
def bisect(context: click.Context, /, **asked: Any) -> None:
    """Name the release that broke an import, or with --find-fix the one that mended it.

    Both ends are verified first. What cannot be tested is stepped around; another failure than that
    of the bad end is no answer. A point that was not established is never reported: where the
    history changes more than once, every change that was seen is named.

    Ctrl-C, a crash or a reboot loses nothing: --resume goes on.

    \b
    Ends with 0 if the one change was found,
    60 if only untestable ones lie between, 61 if there are several changes,
    62 if the ends are not as was said, 63 if an answer is flaky, 64 if it was cut short.
    """
    if context.invoked_subcommand is not None:
        return
    resume = asked.pop("resume")
    if resume is None:
        _begin(asked, everything=False)
    else:
        _resume(resume, asked)


@click.command()
@_asking
@told
def timeline(**asked: Any) -> None:
    """Test every release (or uv version) of a range, and show all changes.

    Ends as `pbs-matrix bisect` does.
    """
    asked |= {"find_fix": False, "any_failure": True, "check": 0, "retests": 0}
    asked |= {"timeline_up_to": 0}
    _begin(asked, everything=True)


@bisect.command("log")
@click.argument("which", metavar="[ID]", default="")
@told
def log(which: str) -> None:
    """Print what was answered, as git bisect log does: of a session by its ID, or the newest."""
    from harness.bisection import journal, report

    with journal.open(journal.find(which), write=False) as opened:
        click.echo(report.log_text(opened.inquiry, opened.trials, _ending_of(opened)), nl=False)


@bisect.command("replay")
@click.argument("which", metavar="ID|FILE")
@click.option(
    "--report", metavar="FILE", type=click.Path(path_type=Path), help="Write the report again."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@told
def replay(which: str, report: Path | None, as_json: bool) -> None:
    """Decide again from what a session has written down, without testing anything."""
    from harness.bisection import journal

    with journal.open(journal.find(which), write=False) as opened:
        ending = _ending_of(opened)
        _finish(opened.inquiry, opened.trials, ending, report, as_json=as_json)


def _ending_of(opened: Any) -> Ending:
    from harness.bisection import search, session
    from harness.bisection.model import answers_of

    question = session.question_of(opened.inquiry)
    answers = answers_of(opened.inquiry, opened.trials)
    found = search.decide(question, answers)
    return search.cancelled(question, answers) if isinstance(found, search.Step) else found


def _begin(asked: dict[str, Any], *, everything: bool) -> None:
    """Make the inquiry, and go through it."""
    import os
    from datetime import UTC, datetime

    from harness import lock, matrix, output
    from harness import resolution as resolutions
    from harness.bisection import journal, walk
    from harness.bisection.model import Axis, Inquiry
    from harness.bisection.search import Direction

    output.require_writable(asked["report"])
    read = matrix.load(asked["matrix_file"])
    locked = lock.load(lock.path_for(asked["matrix_file"]))
    resolution = resolutions.resolve(
        read,
        locked,
        source=asked["source"],
        profile="default",
        mirror=asked["mirror"],
        trusts_mirror=asked["trust_mirror"],
    )
    subject = walk.subject(asked["asked"], asked["shell"], read, locked, imports=asked["imports"])
    axis = Axis(asked["axis"])
    direction = Direction.FIX if asked["find_fix"] else Direction.BREAK
    first, last = asked["good"], asked["bad"]
    if direction is Direction.FIX:
        first, last = last, first
    notes = list(resolution.said)
    if axis is Axis.UV:
        if asked["uv"]:
            raise ConfigurationError(
                "--uv names the uv that installs releases, and --axis uv walks all",
                advice="Leave one of them out, or name the ends with --good and --bad.",
            )
        candidates = walk.uvs_between(first, last)
    else:
        uv = asked["uv"] or read.uv[-1]
        uv = resolution.names.uv.get(uv, uv)
        candidates, said = walk.releases_between(first, last, uv, resolution, locked)
        notes += said
    if len(candidates) == 1 and not everything:
        raise SelectionError(
            f"there is nothing between {candidates[0].name} and itself",
            advice="Name two different ends with --good and --bad.",
        )
    now = datetime.now(UTC)
    good, bad = walk.ends(direction, len(candidates))
    every = everything or len(candidates) <= asked["timeline_up_to"]
    platform = walk.platform_of(asked["platform"])
    inquiry = Inquiry(
        id=journal.new_id(now, f"{subject.name}-{platform}"),
        started=now.isoformat(timespec="seconds"),
        command=shlex.join(["pbs-matrix", *sys.argv[1:]]),
        axis=axis,
        subject=subject.words,
        extension=subject.name,
        asked=asked["asked"],
        imports=asked["imports"],
        matrix=str(asked["matrix_file"].absolute()),
        mirror=resolution.mirror.base,
        trusts_mirror=asked["trust_mirror"],
        shell=asked["shell"],
        platform=platform,
        base=asked["base"] or next(iter(read.bases)),
        source=resolution.source,
        python=asked["python"] or read.python[0],
        candidates=candidates,
        good=good,
        bad=bad,
        direction=direction,
        any_failure=asked["any_failure"],
        everything=every,
        check=0 if every else asked["check"],
        retests=asked["retests"],
        jobs=asked["jobs"] or ((os.cpu_count() or 1) if every else 1),
        notes=tuple(notes),
    )
    if len(candidates) == 1:
        _test(inquiry, asked)
    if (unfinished := journal.unfinished_like(inquiry)) is not None:
        _say(f"one like this was cut short: `pbs-matrix bisect --resume {unfinished}` goes on")
    with journal.create(inquiry) as opened:
        _go(opened, asked)


def _test(inquiry: Inquiry, asked: dict[str, Any]) -> None:
    """Test the one candidate, and end with 0 (good), 1 (bad) or 2 (cannot be tested)."""
    from harness.bisection.model import answer_of
    from harness.bisection.search import Answer

    with _session(inquiry, (), asked) as running:
        result = running.test(0).result
    if asked["as_json"]:
        click.echo(result.model_dump_json())
    else:
        click.echo(result.message or str(result.outcome))
    sys.exit([Answer.GOOD, Answer.BAD, Answer.UNTESTABLE].index(answer_of(result, None)))


def _resume(which: str, asked: dict[str, Any]) -> None:
    """Go on where a session stopped."""
    from harness import output
    from harness.bisection import journal

    output.require_writable(asked["report"])
    with journal.open(journal.find(which, unfinished=True)) as opened:
        if journal.is_final(opened.ending):
            # Cut short between its last answer and its report.
            _say(f"{opened.inquiry.id} has come to its end")
            ending = _ending_of(opened)
            _finish(
                opened.inquiry, opened.trials, ending, asked["report"], as_json=asked["as_json"]
            )
        _say(f"going on with {opened.inquiry.id}: {len(opened.trials)} tested so far")
        _go(opened, asked)


def _go(opened: Any, asked: dict[str, Any]) -> None:
    """Run a session to its end, and report."""
    from harness.bisection.search import Cancelled

    inquiry: Inquiry = opened.inquiry
    ends = f"{inquiry.name(0)} to {inquiry.name(len(inquiry.candidates) - 1)}"
    how = "a timeline of" if inquiry.everything else "a search through"
    what = "uv versions" if inquiry.axis == "uv" else "releases"
    _say(f"{inquiry.id}: {how} {len(inquiry.candidates)} {what}, {ends}, on {inquiry.platform}")
    with _session(inquiry, opened, asked) as running:
        ending = running.run()
    if isinstance(ending, Cancelled):
        _say(f"nothing is lost: `pbs-matrix bisect --resume {inquiry.id}` goes on")
    else:
        opened.end(ending)
    _finish(inquiry, opened.trials, ending, asked["report"], as_json=asked["as_json"])


@contextlib.contextmanager
def _session(inquiry: Inquiry, journal: Any, asked: dict[str, Any]) -> Iterator[Session]:
    """All that an inquiry needs in order to be gone through."""
    from harness import engine, lock, matrix, preparing, progress
    from harness import mirror as mirrors
    from harness.bisection import walk
    from harness.bisection.session import Session
    from harness.resolution import Resolution
    from harness.running import Laboratory

    for sentence in inquiry.notes:
        _say(sentence)
    file = Path(inquiry.matrix)
    read, locked = matrix.load(file), lock.load(lock.path_for(file))
    subject = walk.subject(inquiry.asked, inquiry.shell, read, locked, imports=inquiry.imports)
    steps = walk.Walk(inquiry, subject, read, _say)
    client = engine.connect()
    preparing.check_emulation([inquiry.platform], client)
    with Laboratory(
        steps.matrix,
        client,
        beside=file.parent,
        say=_once(),
        resolution=Resolution(
            source=inquiry.source,
            mirror=mirrors.of(inquiry.mirror),
            trusts_mirror=inquiry.trusts_mirror,
        ),
        progress=progress.for_terminal(sys.stderr, _say),
    ) as laboratory:
        yield Session(
            inquiry=inquiry,
            walk=steps,
            journal=journal,
            laboratory=laboratory,
            say=_say,
            use_kept=not asked["fresh"],
        )


def _finish(
    inquiry: Inquiry, trials: Any, ending: Ending, file: Path | None, *, as_json: bool
) -> None:
    from rich.console import Console

    from harness import output
    from harness.bisection import answers, report

    if as_json:
        click.echo(report.as_json(inquiry, trials, ending))
    else:
        console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
        console.print(report.strip(inquiry, trials, console.width))
        console.print(report.sentence(ending, inquiry, trials), soft_wrap=True, markup=False)
    if file:
        text = report.markdown(
            inquiry,
            trials,
            ending,
            reproduce=lambda candidate: _reproduce(inquiry, candidate),
            harness=f"{metadata.version('pbs-matrix')}, code {answers.harness_version()[:12]}",
        )
        output.write(file, text.encode())
        _say(f"wrote {file}")
    sys.exit(int(report.exit_code(ending)))


def _reproduce(inquiry: Inquiry, candidate: Candidate) -> str:
    """The one command that tests a candidate again."""
    words = ["pbs-matrix", "timeline"]
    if inquiry.asked:
        words += ["--extension", inquiry.asked]
    if inquiry.shell:
        words += ["--command", inquiry.shell]
    words += ["--platform", str(inquiry.platform), "--base", inquiry.base]
    words += ["--source", str(inquiry.source), "--axis", str(inquiry.axis)]
    if candidate.release:
        words += ["--uv", candidate.uv]
    return shlex.join([*words, "--good", candidate.name, "--bad", candidate.name, "--fresh"])


def _say(line: str) -> None:
    click.echo(line, err=True)


def _once() -> Callable[[str], None]:
    """Says what is new; of images that are ready, nobody need hear at each step."""
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said and not line.startswith("["):
            said.add(line)
            _say(line)

    return say
