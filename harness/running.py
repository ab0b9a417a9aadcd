"""Cells without pytest: prepared, run in threads, and judged, each result as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import docker
from docker.models.containers import Container

from harness import agent, cells, confinement, owner, preparing
from harness.containers import Containers
from harness.images import Images
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Outcome
from harness.plan import Cell
from harness.prepared import Prepared
from harness.progress import SILENT, Progress
from harness.question import Answers
from harness.resolution import Resolution
from harness.results import Result, result_of
from harness.timing import Stopwatch

Say = Callable[[str], None]
Expecting = Callable[[Cell, Outcome], Cell]
"""What is expected of a cell, once it is known what happened; most expect what they did before."""


def as_planned(cell: Cell, outcome: Outcome) -> Cell:
    """Expects what the matrix does."""
    return cell


class Laboratory:
    """A run of its own, in which cells are prepared and run as they are asked for.

    As a context manager: at its end the containers are removed, whatever has happened.
    """

    def __init__(
        self,
        matrix: Matrix,
        client: docker.DockerClient,
        *,
        beside: Path,
        say: Say,
        resolution: Resolution | None = None,
        progress: Progress = SILENT,
        lasting: int = agent.LASTING,
    ) -> None:
        """``beside`` is the matrix file's directory; ``resolution`` says where archives are.

        ``lasting``: seconds after which a container ends although it is in use.
        """
        self._matrix = matrix
        self._client = client
        self._beside = beside
        self._say = say
        self._resolution = resolution
        self._progress = progress
        self._images = Images(client)
        self._run, self._owner = owner.new_run(), owner.this_process()
        self._containers = Containers(
            client,
            self._run,
            self._owner,
            limits=matrix.limits,
            runtime=confinement.chosen_runtime(client),
            lasting=lasting,
        )

    def __enter__(self) -> Self:
        self._containers.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._containers.__exit__(kind, error, traceback)

    def prepare(self, planned: tuple[Cell, ...], lock: Lock) -> Prepared:
        """Make or find what some applicable cells need."""
        return preparing.prepare(
            planned,
            self._matrix,
            lock,
            self._client,
            run=self._run,
            owner=self._owner,
            beside=self._beside,
            say=self._say,
            resolution=self._resolution,
            progress=self._progress,
            images=self._images,
        )

    def container(self, cell: Cell, prepared: Prepared) -> Container:
        """The container of a cell that was prepared, and could be; whoever wants it may use it."""
        self._containers.plan((cell,), prepared, ahead=False)
        return self._containers.container(cell.environment.id)

    def run(
        self, planned: tuple[Cell, ...], prepared: Prepared, expecting: Expecting = as_planned
    ) -> Iterator[Result]:
        """Run cells that were prepared, and give their results in order, as they come."""

        def run_one(cell: Cell) -> Result:
            try:
                return observe(cell, prepared, self._containers, expecting)
            finally:
                self._containers.done(cell)

        self._containers.plan(planned, prepared, ahead=False)
        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            try:
                yield from pool.map(run_one, planned)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def run(
    planned: tuple[Cell, ...],
    matrix: Matrix,
    lock: Lock,
    client: docker.DockerClient,
    *,
    beside: Path,
    say: Say,
    expecting: Expecting = as_planned,
    resolution: Resolution | None = None,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Run applicable cells and give their results as they come.

    An import that fails is explained. Containers are removed at the end, also where it is cut
    short.
    """
    with Laboratory(
        matrix, client, beside=beside, say=say, resolution=resolution, progress=progress
    ) as laboratory:
        yield from laboratory.run(planned, laboratory.prepare(planned, lock), expecting)


def observe(cell: Cell, prepared: Prepared, pool: Answers, expecting: Expecting) -> Result:
    """A cell's result, explained where a library is missing."""
    stopwatch = Stopwatch()
    # Each answer by itself: whoever asks twice wants to know whether the two agree.
    outcome, foresight = cells.settle(cell, prepared, pool, fresh=True)
    if foresight and outcome.missing_library:
        outcome = cells.explained(cell, outcome, foresight, prepared, pool)
    prediction = foresight.prediction if foresight else None
    return result_of(
        expecting(cell, outcome),
        outcome,
        prepared.pins(cell),
        prediction,
        linked=prepared.linked(cell),
        timing=stopwatch.read(prepared.seconds(cell)),
    )
