"""Cells without pytest: prepared, run in threads, and judged, each result as it comes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from harness import cells, containers, foreseen, owner, preparing
from harness.containers import Containers
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Outcome
from harness.plan import Cell
from harness.prepared import Prepared
from harness.progress import SILENT, Progress
from harness.resolution import Resolution
from harness.results import Result, result_of

Say = Callable[[str], None]
Expecting = Callable[[Cell, Outcome], Cell]
"""What is expected of a cell, once it is known what happened; most expect what they did before."""


def run(
    planned: tuple[Cell, ...],
    matrix: Matrix,
    lock: Lock,
    client: docker.DockerClient,
    *,
    beside: Path,
    say: Say,
    expecting: Expecting = lambda cell, outcome: cell,
    resolution: Resolution | None = None,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Run applicable cells and give their results as they come.

    An import that fails is explained. Containers are removed at the end, also where it is cut
    short.
    """
    name, who = owner.new_run(), owner.this_process()
    prepared = preparing.prepare(
        planned,
        matrix,
        lock,
        client,
        run=name,
        owner=who,
        beside=beside,
        say=say,
        resolution=resolution,
        progress=progress,
    )
    with (
        tempfile.TemporaryDirectory(suffix="-pbs-matrix") as locks,
        ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool,
    ):
        made = Containers(client, name, who, Path(locks))
        try:
            yield from pool.map(lambda cell: observe(cell, prepared, made, expecting), planned)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            containers.reap(client, name)


def observe(cell: Cell, prepared: Prepared, pool: Containers, expecting: Expecting) -> Result:
    """A cell's result, explained where a library is missing."""
    foresight = foreseen.foresee(cell, prepared)
    outcome = cells.observe(cell, prepared, pool)
    foresight = foresight and foresight.given(outcome)
    if foresight and outcome.missing_library:
        outcome = cells.explained(cell, outcome, foresight, prepared, pool)
    prediction = foresight.prediction if foresight else None
    return result_of(
        expecting(cell, outcome),
        outcome,
        prepared.pins(cell),
        prediction,
        linked=prepared.linked(cell),
    )
