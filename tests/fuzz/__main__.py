"""Reads damaged and hostile inputs: ``python -m tests.fuzz [--of WHAT] [COUNT] [SEED]``.

WHAT: ``archives`` (wheels, archives, ELF files, directories), ``documents`` (the project's own text
files, by the functions that read them) or ``programs`` (these, given to the programs themselves).

Prints how many there were of each kind and what became of them, the slowest of each, how many
messages name no place in the file, and the most memory that this process took. Ends with 1 where
one raised anything but an error for people, took more than a second, or said no place, or all took
too much memory. A number and a seed make the same input again.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.fuzz import documents, programs, reading
from tests.fuzz.reading import Trial


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A kind of inputs, and what may be taken for them."""

    chosen: Callable[[Random], str]
    trial: Callable[[str, Random], Trial]
    count: int
    """How many there are if nobody says it."""
    seconds: float
    """Most that one may take; two tries have it, since a pause of the machine's is not its own."""
    megabytes: int


def inputs(what: str, folder: Path) -> Inputs:
    """Those that are called so."""
    match what:
        case "archives":
            elves = reading.elves(folder)
            return Inputs(
                chosen=reading.chosen,
                trial=lambda kind, random: reading.trial(kind, random, elves, folder),
                count=100_000,
                seconds=1.0,
                megabytes=300,
            )
        case "documents":
            return Inputs(
                chosen=documents.chosen,
                trial=partial(documents.trial, folder=folder),
                count=50_000,
                seconds=1.0,
                megabytes=400,
            )
        case _:
            return Inputs(
                chosen=programs.chosen,
                trial=partial(programs.trial, folder=folder),
                count=300,
                seconds=programs.SECONDS,
                megabytes=400,
            )


def main(what: str, count: int | None, seed: int) -> int:
    """Run; the exit code."""
    counts: Counter[tuple[str, str]] = Counter()
    placeless: Counter[str] = Counter()
    slowest: dict[str, Trial] = {}
    findings = 0
    with tempfile.TemporaryDirectory() as made:
        chosen = inputs(what, Path(made))
        for number in range(chosen.count if count is None else count):
            random = Random(f"{seed}/{number}")
            kind = chosen.chosen(random)
            state = random.getstate()
            try:
                done = chosen.trial(kind, random)
                if done.seconds > chosen.seconds:
                    random.setstate(state)
                    again = chosen.trial(kind, random)
                    done = min(done, again, key=lambda trial: trial.seconds)
            except KeyboardInterrupt:
                break  # what there is is told
            except Exception:
                findings += 1
                counts[kind, "crashed"] += 1
                print(f"input {number} of seed {seed} ({kind}):\n{traceback.format_exc()}")
                continue
            counts[kind, done.outcome] += 1
            slowest[kind] = max(done, slowest.get(kind, done), key=lambda trial: trial.seconds)
            if done.placeless:
                findings += 1
                placeless[kind] += 1
                print(f"input {number} of seed {seed} ({kind}) has no place: {done.placeless}")
            if done.seconds > chosen.seconds:
                findings += 1
                print(f"input {number} of seed {seed} ({kind}) took {done.seconds:.2f} s")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcomes = sorted({outcome for _, outcome in counts})
    table = Table("inputs", "number", *outcomes, "no place", "slowest (ms)", "of (bytes)")
    for kind in sorted({kind for kind, _ in counts}):
        row = [counts[kind, outcome] for outcome in outcomes]
        slow = slowest.get(kind)
        table.add_row(
            kind,
            *map(str, (sum(row), *row, placeless[kind])),
            *((f"{slow.seconds * 1000:.0f}", str(slow.size)) if slow else ("", "")),
        )
    Console(width=160).print(table)
    worst = max((trial.seconds for trial in slowest.values()), default=0)
    print(
        f"{sum(counts.values())} inputs, {findings} findings, slowest {worst * 1000:.0f} ms, "
        f"peak memory {megabytes:.0f} MB"
    )
    return int(findings > 0 or megabytes > chosen.megabytes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("count", type=int, nargs="?", default=None)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument(
        "--of", default="archives", choices=("archives", "documents", "programs"), metavar="WHAT"
    )
    given = parser.parse_args()
    sys.exit(main(given.of, given.count, given.seed))
