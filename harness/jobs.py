"""The jobs of a run: its shards, and the machine that each is for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.durations import Durations, IsNative, here
from harness.errors import ConfigurationError
from harness.plan import Cell
from harness.planfile import Job, Track
from harness.platforms import Platform

GITHUB_LIMIT = 256
"""Jobs that a matrix of GitHub's may have: docs.github.com, "Usage limits" of Actions."""

MANY = 20
"""Jobs where nobody says how many: as many as GitHub runs at once for a free account."""

WORTHWHILE = 120.0
"""Seconds of cells that are worth a job: to set one up takes about as long."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Jobs for one platform on one kind of machine."""

    name: str
    runner: str
    platform: Platform
    machine: Platform
    track: Track = Track.MAIN

    @property
    def emulated(self) -> bool:
        """Whether its cells run under emulation there."""
        return self.platform is not self.machine

    def is_native(self, platform: Platform) -> bool:
        """Whether its machine runs a platform's programs by itself."""
        return platform is self.machine


GROUPS = (
    Group(
        name="x86_64",
        runner="ubuntu-latest",
        platform=Platform.X86_64,
        machine=Platform.X86_64,
    ),
    Group(
        name="aarch64 qemu",
        runner="ubuntu-latest",
        platform=Platform.AARCH64,
        machine=Platform.X86_64,
    ),
    Group(
        name="aarch64 native",
        runner="ubuntu-24.04-arm",
        platform=Platform.AARCH64,
        machine=Platform.AARCH64,
        track=Track.NATIVE,
    ),
)
"""GitHub's machines: docs.github.com, "GitHub-hosted runners reference"."""


def plain(
    cells: Sequence[Cell], durations: Durations, count: int, is_native: IsNative = here
) -> tuple[Job, ...]:
    """``count`` jobs for machines such as this one: the shards of ``pytest --shard``."""
    return tuple(
        Job(
            number=number,
            name=f"{number}/{count}",
            seconds=_rounded(durations.predicted(shard, is_native)),
            cells=tuple(cell.id for cell in shard),
        )
        for number, shard in enumerate(durations.divided(cells, count, is_native), 1)
    )


def for_github(cells: Sequence[Cell], durations: Durations, most: int) -> tuple[Job, ...]:
    """Jobs for GitHub's machines, no more than ``most``: each group has at least one.

    Jobs are given to the group whose jobs are longest, until none is longer than is worth another.
    Raises :class:`ConfigurationError` for more jobs than GitHub takes, or fewer than groups.
    """
    if not 1 <= most <= GITHUB_LIMIT:
        raise ConfigurationError(
            f"--max-jobs {most}: a matrix of GitHub's has 1 to {GITHUB_LIMIT} jobs",
            advice=f"Name no more than {GITHUB_LIMIT}; less others that the workflow has.",
        )
    groups = []
    for group in GROUPS:
        own = [c for c in cells if c.environment.interpreter.platform is group.platform]
        if own:
            groups.append((group, own))
    if most < len(groups):
        names = ", ".join(group.name for group, _ in groups)
        raise ConfigurationError(
            f"--max-jobs {most}, but there are {len(groups)} kinds of jobs: {names}",
            advice="Name more, or leave a platform out with --platform.",
        )
    counts = _counts(
        [durations.predicted(own, group.is_native) for group, own in groups],
        [sum(cell.not_applicable is None for cell in own) or 1 for _, own in groups],
        most,
    )
    jobs: list[Job] = []
    for (group, own), count in zip(groups, counts, strict=True):
        shards = durations.divided(own, count, group.is_native)
        before = len(jobs)
        jobs += (
            Job(
                number=before + part,
                name=f"{group.name} {part}/{count}",
                track=group.track,
                platform=group.platform,
                runner=group.runner,
                emulated=group.emulated,
                seconds=_rounded(durations.predicted(shard, group.is_native)),
                cells=tuple(cell.id for cell in shard),
            )
            for part, shard in enumerate(shards, 1)
        )
    return tuple(jobs)


def for_output(jobs: Sequence[Job]) -> str:
    """Lines for GitHub's file of outputs: the matrix of the jobs, and how many there are."""
    include = [
        {
            "shard": f"{job.number}/{len(jobs)}",
            "name": job.name,
            "runner": job.runner,
            "platform": job.platform,
            "track": job.track,
        }
        for job in jobs
    ]
    return f"matrix={json.dumps({'include': include})}\njobs={len(jobs)}\n"


def _counts(seconds: Sequence[float], cells: Sequence[int], most: int) -> list[int]:
    """How many jobs each group gets, by what its cells take together and how many there are."""
    counts = [1] * len(seconds)
    while sum(counts) < most:
        parts = [
            (total / count, -number)
            for number, (total, count) in enumerate(zip(seconds, counts, strict=True))
            if count < min(cells[number], math.ceil(total / WORTHWHILE))
        ]
        if not parts:
            break
        counts[-max(parts)[1]] += 1
    return counts


def _rounded(seconds: float) -> float:
    return round(seconds, 1)
