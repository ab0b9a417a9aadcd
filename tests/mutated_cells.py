"""Which cells of a run notice that a rule of the loader's model is wrong.

    pytest -n auto --profile=wide --results=results.jsonl
    python -m tests.mutated_cells results.jsonl wide

Prepares the cells of a profile again (from the caches), predicts each with one wrong rule at a
time, and compares that with what the run observed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import engine, foreseen, lock, matrix, results
from harness.loader.glibc import Glibc
from harness.loader.process import Loader
from harness.outcome import Outcome
from harness.plan import Cell, plan
from harness.prepared import Prepared
from harness.results import Result
from tests.integration.conftest import prepare
from tests.worlds import mutants
from tests.worlds.world import Libc

PROJECT = Path(__file__).parent.parent


def contradicted(
    observed: Mapping[str, Result], cells: tuple[Cell, ...], prepared: Prepared, model: Loader
) -> Iterator[str]:
    """Ids of the cells in which a model says something else than was observed."""
    for cell in cells:
        seen = observed.get(cell.id)
        foresight = foreseen.foresee(cell, prepared, model) if seen and seen.predicted else None
        if seen is None or foresight is None:
            continue
        outcome = Outcome(
            stage=seen.stage, reason=seen.outcome, missing_library=seen.missing_library
        )
        prediction = foresight.given(outcome).prediction
        if not prediction.agrees(seen.outcome, seen.missing_library):
            yield cell.id


def main(path: Path, profile: str) -> None:
    """Print the table."""
    read, locked = matrix.load(PROJECT / "matrix.yaml"), lock.load(PROJECT / "matrix.lock")
    cells = tuple(c for c in plan(read, locked, profile=profile) if c.not_applicable is None)
    observed = {result.id: result for result in results.read(path)}
    prepared = prepare(engine.connect(), cells, read, locked)
    compared = sum(result.predicted is not None for result in observed.values())
    print(f"| rule | of {compared} cells these notice | such as |\n| --- | --- | --- |")
    models: dict[str, Loader] = {"(as it is)": Glibc(), **mutants.of(Libc.GLIBC)}
    for name, model in models.items():
        found = list(contradicted(observed, cells, prepared, model))
        print(f"| {name} | {len(found)} | {found[0] if found else ''} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "default")
