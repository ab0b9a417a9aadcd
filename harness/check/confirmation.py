"""What a check says, against what real containers do: ``pbs-matrix check --run``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness import engine, lock, matrix, project, running, table, trial
from harness.check import baseline
from harness.check.builds import Libc, Machine, Python
from harness.check.verdicts import Cell, Finding, Verdict
from harness.errors import ConfigurationError
from harness.outcome import Reason
from harness.plan import Selection
from harness.resolution import Resolution
from harness.results import Result
from harness.sources import Source
from harness.trial import Trial

LOADERS = (Reason.IMPORTS, Reason.SPLIT_BINDING, Reason.MISSING_LIBRARY)
"""Outcomes that say whether the loader found everything; an exception of Python's may come before
the loader is ever asked, such as one for a dependency that is not installed."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """How a check and a run compare."""

    agreeing: tuple[str, ...]
    """Ids of the cells of which both say the same."""
    differing: tuple[str, ...]
    """Sentences about those of which they do not."""
    silent: tuple[str, ...]
    """Sentences about those of which the run cannot say it."""

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        compared = len(self.agreeing) + len(self.differing)
        return (
            f"check and the containers say the same of {len(self.agreeing)} of {compared} "
            f"environments; {len(self.silent)} could not be compared"
        )


def compare(findings: Sequence[Finding], results: Iterable[Result]) -> Confirmation:
    """Compare each result with the verdict on the interpreter that it was had with."""
    agreeing, differing, silent = [], [], []
    for result in results:
        found = next(_matching(findings, result), None)
        if found is None:
            silent.append(f"{result.id}: nothing was checked for CPython {result.python} there")
        elif result.missing_library in baseline.PROMISED:
            silent.append(
                f"{result.id}: the base image has no {result.missing_library}, which the manylinux "
                "rules promise"
            )
        elif result.outcome not in LOADERS:
            silent.append(f"{result.id}: {result.outcome}: {result.message.splitlines()[0][:200]}")
        elif _agrees(*found, result):
            agreeing.append(result.id)
        else:
            _, cell = found
            said = ", ".join({failure.library for failure in cell.failures}) or "nothing"
            differing.append(
                f"{result.id}: check says {cell.verdict} (missing: {said}), but the container "
                f"{result.outcome}{f' {result.missing_library}' if result.missing_library else ''}"
            )
    return Confirmation(agreeing=tuple(agreeing), differing=tuple(differing), silent=tuple(silent))


def _matching(findings: Sequence[Finding], result: Result) -> Iterator[tuple[Finding, Cell]]:
    machine = Machine.of_cpu(str(result.platform), Libc.GLIBC)
    for finding in findings:
        for row in finding.rows:
            if row.machine == machine and row.python == Python.parse(result.python):
                for cell in row.cells:
                    if cell.era.link_model == result.link_model:
                        yield finding, cell


def _agrees(finding: Finding, cell: Cell, result: Result) -> bool:
    """Whether a verdict foresees an outcome.

    What the target needs of the system beyond the manylinux rules, a base image may have or not:
    check says that it has to be there, and a run without it bears that out.
    """
    if result.missing_library is None:
        return cell.verdict is not Verdict.FAILS
    if result.missing_library in {missing.name for missing in finding.missing}:
        return True
    return result.missing_library in {failure.library for failure in cell.failures}


def run(wanted: Sequence[tuple[str | Path, Sequence[Finding]]], cpus: Sequence[str]) -> bool:
    """Try what was checked in the matrix's environments, print the comparison; whether all agrees.

    ``wanted`` are requirements and wheel files, each with what was found of it. Of the bases only
    the first is used, since another may have a libpython of its own.
    """
    read = matrix.load(project.MATRIX)
    locked = lock.load(lock.path_for(project.MATRIX))
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    base = next(iter(read.bases))
    agrees = True
    for origin, findings in wanted:
        tried = _trial(origin, read)
        planned, own, extended = trial.cells_of(
            tried,
            read,
            locked,
            profile="default",
            resolution=Resolution(source=Source.REPLICA),
            selection=Selection(base=(base,), platform=tuple(cpus)),
        )
        client = engine.connect()
        done = running.run(
            *(planned, own, extended, client),
            beside=project.ROOT,
            say=_say,
            expecting=trial.as_observed,
        )
        results = list(done)
        table.render_tables(results, console)
        found = compare(findings, results)
        console.print(trial.summary(results), soft_wrap=True)
        console.print(found.summary, soft_wrap=True)
        for sentence in (*found.differing, *found.silent):
            console.print(f"  {sentence}", soft_wrap=True)
        agrees &= not found.differing
    return agrees


def _trial(origin: str | Path, read: matrix.Matrix) -> Trial:
    if isinstance(origin, str):
        return trial.of_requirement(origin, read)
    if origin.suffix != ".whl":
        raise ConfigurationError(
            f"{origin} is no wheel, so there is nothing to install in a container",
            advice="--run takes wheels and requirements; leave it out for anything else.",
        )
    return trial.of_wheel(origin)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
