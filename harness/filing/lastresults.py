"""The results of the last good night: the newest successful run that still has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from harness.filing import archive
from harness.filing.github import Artifact, NotThereError, Run
from harness.why import printable

LOOKED_AT = 30
"""Runs of which the artifacts are asked for; those before are of another time."""


class Runs(Protocol):
    """What has runs; :class:`harness.filing.github.GitHub` is one."""

    def runs(self, workflow: str, branch: str) -> Iterator[Run]:
        """Successful ones, the newest first."""

    def artifacts(self, run: int, name: str) -> list[Artifact]:
        """Of a run."""

    def download(self, artifact: Artifact, *, limit: int) -> bytes:
        """The zip."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which results."""

    repository: str
    workflow: str
    artifact: str
    branch: str
    this_run: str | None = None
    """The id of the run that asks."""
    event: str | None = None
    """Only runs that this has started, such as ``schedule``."""


def fetch(source: Runs, wanted: Wanted, to: Path, say: Callable[[str], None]) -> Run | None:
    """Write the results to a new file; the run that they are of, or None where there are none.

    An artifact that is not what it should be is passed over, and said so.
    """
    for run in islice(_runs(source, wanted, say), LOOKED_AT):
        there = source.artifacts(run.id, wanted.artifact)
        kept = [artifact for artifact in there if not artifact.expired]
        if not kept:
            say(f"run {run.id}: {'its results have expired' if there else 'it has no results'}")
            continue
        # Where the run was repeated, it has several.
        newest = max(kept, key=lambda artifact: artifact.id)
        if newest.size_in_bytes > archive.PACKED:
            say(f"run {run.id}: its results are larger than {archive.PACKED >> 20} MiB")
            continue
        try:
            archive.unpack(source.download(newest, limit=archive.PACKED), to)
        except ValueError as error:
            say(printable(f"run {run.id}: its results are of no use: {error}"))
            continue
        return run
    return None


def _runs(source: Runs, wanted: Wanted, say: Callable[[str], None]) -> Iterator[Run]:
    try:
        for run in source.runs(wanted.workflow, wanted.branch):
            if _counts(run, wanted):
                yield run
    except NotThereError:
        # As in the pull request that brings it.
        say(f"{wanted.repository} has no workflow {printable(wanted.workflow)} yet")


def _counts(run: Run, wanted: Wanted) -> bool:
    """A run of a fork's pull request may be on a branch of the same name, and hold anything."""
    ours = run.head_repository is not None and (
        run.head_repository.full_name.lower() == wanted.repository.lower()
    )
    return (
        ours
        and run.conclusion == "success"
        and run.head_branch == wanted.branch
        and not run.event.startswith("pull_request")
        and wanted.event in (None, run.event)
        and str(run.id) != wanted.this_run
    )
