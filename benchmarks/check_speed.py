"""How long ``pbs-matrix check`` takes, beside ``auditwheel show`` on the same wheel.

    python -m benchmarks.check_speed [ROUNDS]

Whole processes, as users start them: the programs of wheels that are installed in environments of
their own, with all their dependencies. They take turns, and so do an editable installation of this
project and Python's own start-up: only ratios mean something on another machine. Fetches
python-mscl's wheel, and what is installed.
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


def installed(folder: Path, *requirement: str) -> Path:
    """The programs of an environment, on the Python that runs this, with one thing installed."""
    uv = tools.find("uv", advice="pip install uv")
    tools.run([uv, "venv", "--quiet", f"--python={sys.executable}", folder], doing="making one")
    python = folder / "bin" / "python"
    tools.run(
        [uv, "pip", "install", "--quiet", f"--python={python}", *requirement],
        doing=f"installing {requirement[-1]}",
    )
    return folder / "bin"


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process; how it ends is not looked at."""
    # As users have it: with the bytecode that the first round writes.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=False, capture_output=True, cwd=folder, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int = 9) -> None:
    """Measure, and print the table."""
    locked = lock.load(PROJECT / "matrix.lock")
    wheel = index.fetch(locked.extension_wheels(REQUIREMENT, "3.13", Platform.X86_64)[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = installed(folder / "auditwheel", AUDITWHEEL)
        ours = installed(folder / "wheel", str(PROJECT))
        editable = installed(folder / "editable", "--editable", str(PROJECT))
        commands = {
            "auditwheel show": [f"{other}/auditwheel", "show", str(wheel)],
            "pbs-matrix check": [f"{ours}/pbs-matrix", "check", str(wheel)],
            "the same, editable": [f"{editable}/pbs-matrix", "check", str(wheel)],
            "python -c pass": [f"{ours}/python", "-c", "pass"],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                taken[name].append(timed(command, folder))
    table = Table("process", "wall (s)", "CPU (s)", "as fast, wall", "as fast, CPU")
    medians = {}
    for name, (_, *counted) in taken.items():  # the first round filled the caches
        medians[name] = [statistics.median(each) for each in zip(*counted, strict=True)]
        ratios = [
            f"{slow / fast:.1f} times"
            for slow, fast in zip(medians["auditwheel show"], medians[name], strict=True)
        ]
        table.add_row(name, *(f"{median:.3f}" for median in medians[name]), *ratios)
    console = Console(soft_wrap=True)
    version = ".".join(map(str, sys.version_info[:3]))
    console.print(
        f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB; Python {version}; medians of {rounds} "
        "rounds"
    )
    console.print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
