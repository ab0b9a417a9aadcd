"""How long ``pbs-matrix check`` takes, beside ``auditwheel show`` on the same wheel.

    python -m benchmarks.check_speed [ROUNDS]

Whole processes, taking turns, and Python's own start-up beside them: only ratios mean something on
another machine. Fetches python-mscl's wheel and, into an environment of its own, auditwheel.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness import index, lock, tools
from harness.platforms import Platform

PROJECT = Path(__file__).parent.parent
REQUIREMENT = "python-mscl==67.0.1.0"
AUDITWHEEL = "auditwheel==6.8.2"
CHECK = "from harness.front import main; main()"


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process; how it ends is not looked at."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    # Both are measured as installed: with the bytecode that the first round writes.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=False, capture_output=True, cwd=PROJECT, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int = 5) -> None:
    """Measure, and print the table."""
    locked = lock.load(PROJECT / "matrix.lock")
    wheel = index.fetch(locked.extension_wheels(REQUIREMENT, "3.13", Platform.X86_64)[0])
    with tempfile.TemporaryDirectory() as folder:
        uv = tools.find("uv", advice="pip install uv")
        tools.run([uv, "venv", "--quiet", folder], doing="making an environment")
        python = str(Path(folder) / "bin" / "python")
        tools.run(
            [uv, "pip", "install", "--quiet", "--python", python, AUDITWHEEL],
            doing=f"installing {AUDITWHEEL}",
        )
        commands = {
            "auditwheel show": [python, "-m", "auditwheel", "show", str(wheel)],
            "pbs-matrix check": [sys.executable, "-c", CHECK, "check", str(wheel)],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                taken[name].append(timed(command))
    table = Table("process", "wall (s)", "CPU (s)")
    walls, cpus = {}, {}
    for name, (_, *counted) in taken.items():  # the first round filled the caches
        walls[name] = statistics.median(wall for wall, _ in counted)
        cpus[name] = statistics.median(cpu for _, cpu in counted)
        table.add_row(name, f"{walls[name]:.3f}", f"{cpus[name]:.3f}")
    console = Console(soft_wrap=True)
    console.print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB; medians of {rounds} rounds")
    console.print(table)
    slow, fast, start = commands
    console.print(
        f"check is {walls[slow] / walls[fast]:.1f} times as fast by the clock, "
        f"{cpus[slow] / cpus[fast]:.1f} times by CPU time, and takes "
        f"{walls[fast] - walls[start]:.3f} s after the start of Python"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
