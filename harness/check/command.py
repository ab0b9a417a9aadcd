"""``pbs-matrix check``: from what a person names to what is printed, and the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, assert_never

from harness.check import report, targets, verdicts
from harness.check.builds import NEWEST, OLDEST, Python
from harness.check.report import Section
from harness.check.verdicts import Finding
from harness.errors import HarnessError, TargetError

if TYPE_CHECKING:
    from harness.check.thismachine import Here


class Exit(IntEnum):
    """How a check ends: as linters do."""

    CLEAN = 0
    BREAKS = 1
    UNCHECKED = 2


class Form(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class Request(NamedTuple):
    """What was asked on the command line."""

    targets: Sequence[str]
    cpus: Sequence[str] = ()
    pythons: Sequence[str] = ()
    form: Form = Form.TEXT
    verbose: bool = False
    quiet: bool = False
    output: Path | None = None
    also_runs: bool = False


DESCRIPTION = """\
Say whether extension modules import on every build of Python, and why not.

Nothing of a target is run, and neither a container engine nor root is needed:
what the dynamic loader does follows from the files.
"""

EPILOG = """\
exit codes:
  0  all of it imports on every published interpreter
  1  something fails on some of them
  2  something could not be checked, and nothing that was checked fails;
     with --run, the containers contradict what is said; or the command is
     wrong

examples:
  pbs-matrix check dist/*.whl
  pbs-matrix check python-mscl==67.0.1.0 --platform x86_64 --python 3.13
  pbs-matrix check .venv -q
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``pbs-matrix check``."""
    made = argparse.ArgumentParser(
        prog="pbs-matrix check",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="a wheel, an unpacked directory, a virtual environment, a single library, or a "
        "requirement such as python-mscl==67.0.1.0, of which every wheel for Linux is fetched",
    )
    add(
        "--platform",
        action="append",
        metavar="CPU",
        default=[],
        help="only this machine, as `uname -m` calls it: x86_64, aarch64, armv7l, …; "
        "may be repeated",
    )
    add(
        "--python",
        action="append",
        metavar="3.X",
        default=[],
        help="only this CPython, such as 3.13 or 3.13t; may be repeated. For files that do not "
        "say what CPython they are for: this one instead of 3.13",
    )
    add(
        "--format",
        choices=[form.value for form in Form],
        default=Form.TEXT.value,
        help="for people (the default), for programs, for code scanning, or as annotations of "
        "GitHub Actions",
    )
    add("--json", action="store_const", dest="format", const="json", help="short for --format json")
    add(
        "--run",
        action="store_true",
        help="then import it in real containers too, in the environments of the project's matrix, "
        "and compare; wheels and requirements only, and this needs the engine",
    )
    add("-v", "--verbose", action="store_true", help="every file, with all that it needs")
    add("-q", "--quiet", action="store_true", help="one line for each target")
    add("--output", metavar="FILE", type=Path, help="write there instead of here")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command with what stands after ``pbs-matrix check``, and give the exit code."""
    return run(request(arguments))


def request(arguments: Sequence[str]) -> Request:
    """What stands after ``pbs-matrix check``; what is wrong with it ends the process, with 2."""
    options = parser().parse_args(arguments)
    return Request(
        targets=options.targets,
        cpus=options.platform,
        pythons=options.python,
        form=Form(options.format),
        verbose=options.verbose,
        quiet=options.quiet,
        output=options.output,
        also_runs=options.run,
    )


def run(request: Request) -> int:
    """Check, print, and give the exit code; what is wrong with a target does not stop the rest.

    When it returns, everything is printed and nothing is left in a buffer.
    """
    try:
        pythons = [_python(text) for text in request.pythons]
        cpus = [_cpu(text) for text in request.cpus]
        found = {name: _sections(name, pythons, cpus) for name in request.targets}
        sections = [section for of_one in found.values() for section in of_one]
        code = _code(sections)
        _print(_text(sections, request, code), request.output)
        if request.also_runs and not _is_confirmed(found, cpus):
            return Exit.UNCHECKED
    except HarnessError as error:
        print(f"pbs-matrix: error: {error}", file=sys.stderr)
        return Exit.UNCHECKED
    return code


def _sections(name: str, pythons: Sequence[Python], cpus: Sequence[str]) -> list[Section]:
    """What was found of one thing that was named; of an environment, each distribution in it."""
    try:
        if is_requirement(name):
            return [_of_requirement(name, pythons, cpus)]
        here = _here(Path(name))
        findings = [
            verdicts.check(one, pythons, cpus)._replace(
                here=verdicts.check_here(one, here) if here else None
            )
            for one in targets.read(Path(name))
        ]
    except HarnessError as error:
        return [Section(name=name, refused=f"{error.problem}. {error.advice}")]
    if len(findings) == 1:
        return [Section(name=name, findings=tuple(findings))]
    # Most of an environment is pure Python or static programs, of which nothing could break.
    worth = [one for one in findings if one.target.architectures or one.target.unreadable]
    if not worth:
        refused = "none of its distributions has anything to load, so there is nothing to check"
        return [Section(name=name, refused=refused)]
    return [
        Section(name=f"{name}: {finding.target.name}", findings=(finding,)) for finding in worth
    ]


def _here(path: Path) -> Here | None:
    """The interpreter of an environment; None of anything else, for which nothing is loaded."""
    if not path.is_dir():
        return None
    from harness.check import thismachine

    return thismachine.of_environment(path)


def _of_requirement(name: str, pythons: Sequence[Python], cpus: Sequence[str]) -> Section:
    from harness.check import distribution

    found = distribution.find(name, pythons, cpus)
    called = f"{found.name} {found.version}"
    _say(f"{called}: {len(found.wheels)} of {found.of} wheels")
    findings = []
    refused = []
    for path in found.fetch():
        try:
            findings += [verdicts.check(one, pythons, cpus) for one in targets.read(path)]
        except HarnessError as error:
            refused.append(f"{error.problem}. {error.advice}")
    return Section(name=called, findings=tuple(findings), refused=" ".join(refused) or None)


def is_requirement(name: str) -> bool:
    """Whether what was named is a requirement: a name that no file has, and none could."""
    return not (Path(name).exists() or "/" in name or name.endswith((".whl", ".so")))


def _is_confirmed(found: Mapping[str, Sequence[Section]], cpus: Sequence[str]) -> bool:
    """Whether real containers do what was said of each target that was checked at all."""
    from harness.check import confirmation

    wanted: list[tuple[str | Path, list[Finding]]] = []
    for name, sections in found.items():
        findings = [finding for section in sections for finding in section.findings]
        if any(finding.rows for finding in findings):
            wanted.append((name if is_requirement(name) else Path(name), findings))
    return confirmation.run(wanted, cpus)


def _code(sections: Sequence[Section]) -> Exit:
    """Breakage counts before what could not be checked, which is said all the same."""
    if any(section.breaks for section in sections):
        return Exit.BREAKS
    if any(section.unchecked or not section.rows for section in sections) or not sections:
        return Exit.UNCHECKED
    return Exit.CLEAN


def _text(sections: Sequence[Section], request: Request, code: Exit) -> str:
    match request.form:
        case Form.TEXT if request.quiet:
            return "".join(f"{report.brief(section)}\n" for section in sections)
        case Form.TEXT:
            return "\n".join(
                report.render(section, verbose=request.verbose) for section in sections
            )
        case Form.JSON:
            from harness.check import jsonreport

            return jsonreport.dump(sections, code)
        case Form.SARIF:
            from importlib.metadata import version

            from harness.check import problems, sarif

            return sarif.dump(problems.problems(sections), version("pbs-matrix"))
        case Form.GITHUB:
            from harness.check import problems, workflow

            return workflow.dump(problems.problems(sections))
        case _:
            assert_never(request.form)


def _print(text: str, output: Path | None) -> None:
    if output is None:
        encoding = sys.stdout.encoding or "utf-8"
        try:
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads has seen enough; the exit code still counts.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    from harness import output as files

    files.write(output, text.encode("utf-8", "replace"))
    _say(f"wrote {output}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _python(text: str) -> Python:
    found = Python.parse(text)
    if found is None or not OLDEST <= found.minor <= NEWEST:
        raise TargetError(
            f"{text!r} is no CPython that there are builds of",
            advice=f"Name one from 3.{OLDEST} to 3.{NEWEST}, with a t if it is free-threaded and "
            "a d if it is a debug build.",
        )
    return found


def _cpu(text: str) -> str:
    from harness.check.builds import Machine

    # What Docker and Debian say for the same.
    cpu = {"amd64": "x86_64", "arm64": "aarch64", "armv7": "armv7l", "i386": "i686"}.get(text, text)
    if Machine.of_cpu(cpu) is None:
        raise TargetError(
            f"{text!r} is no machine that is known here",
            advice="Name it as `uname -m` does: x86_64, aarch64, armv7l, i686, ppc64le, s390x, "
            "riscv64 or loongarch64.",
        )
    return cpu
