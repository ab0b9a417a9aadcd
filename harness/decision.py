"""What a run decides once for all its processes: what it plans by, and which cells are its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness import durations, finding, planfile
from harness import mirror as mirrors
from harness import resolution as resolutions
from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock
from harness.matrix import Matrix
from harness.plan import Cell
from harness.planfile import Plan
from harness.request import Request
from harness.resolution import Resolution
from harness.sharding import Shard
from harness.sources import AUTO


class Decision(BaseModel):
    """The decisions of one run."""

    model_config = ConfigDict(frozen=True)

    resolution: Resolution
    chosen: tuple[str, ...] | None = None
    """Ids of the cells of this run, where it has not all that are planned."""
    said: tuple[str, ...] = ()
    """Sentences for the start of a run."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the options of a run say."""

    request: Request
    source: str = AUTO
    mirror: str | None = None
    trusts_mirror: bool = False
    ids: tuple[str, ...] | None = None
    """The cells to run, whatever profile or source they are of."""
    plan: Plan | None = None
    """What was decided elsewhere, and is not decided again."""
    plan_file: Path = Path()
    shard: Shard | None = None
    durations: Path | None = None
    """Results to predict by, where shards are made here."""

    @classmethod
    def of(
        cls,
        request: Request,
        *,
        matrix_file: Path,
        plan_file: Path | None,
        shard: str | None,
        ids: tuple[str, ...] | None,
        source: str = AUTO,
        mirror: str | None = None,
        trusts_mirror: bool = False,
        durations: Path | None = None,
    ) -> Asked:
        """What options say together; :class:`ConfigurationError` where they contradict."""
        asked = cls(
            request=request,
            source=source,
            mirror=mirror,
            trusts_mirror=trusts_mirror,
            ids=ids,
            shard=Shard.parse(shard) if shard is not None else None,
            durations=durations,
        )
        if plan_file is None:
            return asked
        plan = planfile.read(plan_file)
        plan.require(matrix_file, plan_file)
        given = {
            "--profile": request.profile not in ("default", plan.request.profile),
            "--source": source not in (AUTO, str(plan.resolution.source)),
            "--also-release": bool(request.also_releases),
            "--cells": ids is not None,
            "--shard-by": durations is not None,
        }
        if told := [option for option, is_given in given.items() if is_given]:
            raise ConfigurationError(
                f"{told[0]} and --plan {plan_file} both say which cells there are",
                advice="Leave one of them out.",
            )
        return replace(asked, plan=plan, plan_file=plan_file)

    def extended(self, matrix: Matrix) -> Matrix:
        """The matrix with all that is planned."""
        return (self.plan.request if self.plan else self.request).extended(matrix)

    def decide(self, matrix: Matrix, lock: Lock) -> Decision:
        """Find out what depends on the network or the day, and which cells are this run's.

        ``matrix`` is the extended one. Raises what planning, and reading the files named, do.
        """
        if self.ids is not None:
            return self._decide_by_ids(matrix, lock)
        if self.plan is not None:
            return self._decide_by_plan(self.plan, matrix, lock)
        resolution = resolutions.resolve(
            matrix,
            lock,
            source=self.source,
            profile=self.request.profile,
            mirror=self.mirror,
            trusts_mirror=self.trusts_mirror,
        )
        decision = Decision(resolution=resolution, said=resolution.said)
        if self.shard is None:
            return decision
        return self._sharded(decision, self.request.cells(matrix, lock, resolution))

    def cells(self, decision: Decision, matrix: Matrix, lock: Lock) -> tuple[Cell, ...]:
        """The cells of this run, once it has been decided."""
        resolution, chosen = decision.resolution, decision.chosen
        if self.ids is not None:
            found = finding.by_ids(chosen or (), matrix, lock, known=resolution.uv)
            return found.cells
        if self.plan is not None:
            planned = self.plan.request.cells(matrix, lock, resolution)
            return self.plan.chosen(chosen or (), planned, self.plan_file)
        planned = self.request.cells(matrix, lock, resolution)
        if chosen is None:
            return planned
        own = set(chosen)
        return tuple(cell for cell in planned if cell.id in own)

    def _decide_by_ids(self, matrix: Matrix, lock: Lock) -> Decision:
        assert self.ids is not None
        if not self.ids:
            raise SelectionError(
                "--cells names no cell", advice="Write one id a line; `pbs-matrix list` has them."
            )
        found = finding.by_ids(self.ids, matrix, lock)
        resolution = Resolution(
            source=found.source,
            mirror=mirrors.of(self.mirror),
            trusts_mirror=self.trusts_mirror,
            uv=found.uv,
        )
        cells = self.request.selection.apply(found.cells)
        return self._sharded(Decision(resolution=resolution), cells)

    def _decide_by_plan(self, plan: Plan, matrix: Matrix, lock: Lock) -> Decision:
        resolution = plan.resolved(self.mirror)
        job = plan.job(self.shard, self.plan_file) if self.shard else None
        ids = job.cells if job else plan.ids()
        planned = plan.request.cells(matrix, lock, resolution)
        own = plan.chosen(ids, planned, self.plan_file)
        cells = self.request.selection.apply(own) if own else own
        said = resolution.said
        if job:
            named = f"shard {self.shard} ({job.name})"
            said = (*said, _told(named, len(cells), len(planned), job.seconds))
        chosen = tuple(cell.id for cell in cells)
        return Decision(resolution=resolution, chosen=chosen, said=said)

    def _sharded(self, decision: Decision, cells: tuple[Cell, ...]) -> Decision:
        """The same for this run's part of some cells, or for all of them."""
        said = decision.said
        if self.shard is not None:
            known = durations.read(self.durations)
            own = known.divided(cells, self.shard.count)[self.shard.number - 1]
            seconds = known.predicted(own)
            said = (*said, _told(f"shard {self.shard}", len(own), len(cells), seconds))
            cells = own
        chosen = tuple(cell.id for cell in cells)
        return decision.model_copy(update={"chosen": chosen, "said": said})


def _told(shard: str, own: int, planned: int, seconds: float) -> str:
    if not own:
        return f"{shard} has no cell of {planned}: there is nothing to do"
    return f"{shard}: {own} of {planned} cells, {durations.spoken(seconds)} predicted"
