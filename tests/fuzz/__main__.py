"""Reads damaged and hostile inputs: ``python -m tests.fuzz [COUNT] [SEED]``.

Prints how many there were of each kind and what became of them, the slowest of each, and the most
memory that this process took. Ends with 1 where one raised anything but the error for what cannot
be read, took more than a second, or all took more than 300 MB. A number and a seed make the same
input again.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.fuzz import reading
from tests.fuzz.reading import Trial

MOST_SECONDS, MOST_MEGABYTES = 1.0, 300


def main(count: int, seed: int) -> int:
    """Run; the exit code."""
    counts: Counter[tuple[str, str]] = Counter()
    slowest: dict[str, Trial] = {}
    findings = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        elves = reading.elves(folder)
        for number in range(count):
            random = Random(f"{seed}/{number}")
            kind = reading.chosen(random)
            state = random.getstate()
            try:
                done = reading.trial(kind, random, elves, folder)
                if done.seconds > MOST_SECONDS:
                    # Again, since a pause of the machine's is not the input's.
                    random.setstate(state)
                    again = reading.trial(kind, random, elves, folder)
                    done = min(done, again, key=lambda trial: trial.seconds)
            except Exception:
                findings += 1
                counts[kind, "crashed"] += 1
                print(f"input {number} of seed {seed} ({kind}):\n{traceback.format_exc()}")
                continue
            counts[kind, done.outcome] += 1
            slowest[kind] = max(done, slowest.get(kind, done), key=lambda trial: trial.seconds)
            if done.seconds > MOST_SECONDS:
                findings += 1
                print(f"input {number} of seed {seed} ({kind}) took {done.seconds:.2f} s")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcomes = sorted({outcome for _, outcome in counts})
    table = Table("inputs", "number", *outcomes, "slowest (ms)", "of (bytes)")
    for kind in sorted({kind for kind, _ in counts}):
        row = [counts[kind, outcome] for outcome in outcomes]
        slow = slowest.get(kind)
        table.add_row(
            kind,
            *map(str, (sum(row), *row)),
            *((f"{slow.seconds * 1000:.0f}", str(slow.size)) if slow else ("", "")),
        )
    Console(width=160).print(table)
    worst = max((trial.seconds for trial in slowest.values()), default=0)
    print(
        f"{sum(counts.values())} inputs, {findings} findings, slowest {worst * 1000:.0f} ms, "
        f"peak memory {megabytes:.0f} MB"
    )
    return int(findings > 0 or megabytes > MOST_MEGABYTES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    chosen = parser.parse_args()
    sys.exit(main(chosen.count, chosen.seed))
