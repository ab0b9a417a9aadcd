"""A process that stays, and makes the containers of the small matrix again and again.

``python -m tests.faults.lodger``: for each line on its standard input a round, and a line of JSON
with the outcomes and what the process has by then. A leak of threads, files or memory, which the
end of each process of a usual run would hide, shows here.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from pathlib import Path

from harness import engine, lock, matrix, plan, running
from harness.resolution import Resolution
from harness.sources import Source

PROJECT = Path(__file__).parents[2]


def memory(pid: int | str = "self") -> int:
    """Bytes that a process has in memory; 0 where that cannot be seen."""
    return _status(pid, "VmRSS")


def peak(pid: int | str = "self") -> int:
    """The most bytes that a process has had in memory; 0 where that cannot be seen."""
    return _status(pid, "VmHWM")


def descriptors(pid: int | str = "self") -> int:
    """How many files and sockets a process has open; 0 where that cannot be seen."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def _status(pid: int | str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    """Serve until the end of the input."""
    client = engine.connect()
    read = matrix.load(PROJECT / "matrix.yaml")
    locked = lock.load(PROJECT / "matrix.lock")
    selection = plan.Selection(
        uv=("0.7.6",),
        base=("debian13",),
        extension=("no-libpython", "libpython-needed"),
        platform=("x86_64",),
    )
    cells = plan.plan(read, locked, profile="quick", selection=selection)
    for _ in sys.stdin:
        results = running.run(
            cells,
            read,
            locked,
            client,
            beside=PROJECT,
            say=lambda line: None,
            resolution=Resolution(source=Source.REPLICA),
        )
        outcomes = {result.id: str(result.outcome) for result in results}
        gc.collect()
        has = {
            "outcomes": outcomes,
            "memory": memory(),
            "descriptors": descriptors(),
            "threads": threading.active_count(),
        }
        print(json.dumps(has), flush=True)


if __name__ == "__main__":
    main()
