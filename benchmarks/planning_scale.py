"""How planning and collection grow with the number of cells, here and in another commit.

    python -m benchmarks.planning_scale [--rounds N] [--against REV]

One made matrix, with as many rules as the project's own, and a profile for each row: uv versions ×
releases × platforms × bases × extensions and checks. Each row is a process of its own. Planning is
the time in ``plan()``, files read and modules imported before; collection is a whole
``pytest --collect-only -q``. ``--against`` measures a worktree of that commit in turns with this
one. Only ratios mean something on another machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

PROJECT = Path(__file__).parent.parent

PLATFORMS = ("x86_64", "aarch64")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many values a row has on each axis; all have two platforms and one CPython."""

    uv: int
    releases: int
    bases: int
    extensions: int
    checks: int

    @property
    def cells(self) -> int:
        """The product."""
        environments = self.uv * self.releases * len(PLATFORMS) * self.bases
        return environments * (self.extensions + self.checks)

    @property
    def profile(self) -> str:
        """Its name in the made matrix."""
        return f"cells-{self.cells}"


SIZES = (
    Size(uv=2, releases=5, bases=1, extensions=4, checks=1),
    Size(uv=5, releases=5, bases=2, extensions=8, checks=2),
    Size(uv=5, releases=10, bases=4, extensions=20, checks=5),
    Size(uv=10, releases=20, bases=5, extensions=40, checks=10),
)

PLAN = """
import sys, time
from pathlib import Path
from harness import lock, matrix
from harness.plan import plan
file = Path(sys.argv[1])
matrix, lock = matrix.load(file), lock.load(lock.path_for(file))
start = time.perf_counter()
cells = plan(matrix, lock, profile=sys.argv[2])
print(time.perf_counter() - start, len(cells))
"""
"""What a process that plans runs; of any commit that has these functions."""

MAKE = """
import sys
from pathlib import Path
from benchmarks.planning_scale import made
made(Path(sys.argv[1]))
"""


def made(folder: Path) -> Path:
    """Write a matrix file and its lock: all values of the largest row, a profile for each."""
    from harness import matrix, releases

    own = matrix.load(PROJECT / "matrix.yaml")
    most = SIZES[-1]
    tags = list(releases.commit_dates())[-most.releases :]
    uv = [f"0.7.{number}" for number in range(1, most.uv + 1)]
    bases = [*own.bases, *(f"base-{number}" for number in range(most.bases))][: most.bases]
    # Extensions that the project's own rules pick, as often as they pick the project's.
    names = list(own.extensions)
    extensions = [f"{names[i % len(names)]}-{i}" for i in range(max(most.extensions, len(names)))]
    checks = list(own.checks)[: most.checks]
    dumped = own.model_dump(mode="json", exclude_defaults=True)
    for rule in dumped["expectations"]:
        if "extension" in rule:
            rule["extension"] = [f"{name}-*" for name in rule["extension"]]
    profiles = {
        size.profile: {
            "uv": uv[: size.uv],
            "releases": tags[-size.releases :],
            "bases": bases[: size.bases],
            "extensions": extensions[: size.extensions],
            "checks": checks[: size.checks],
        }
        for size in SIZES
    }
    content: dict[str, Any] = {
        "version": "1",
        "uv": uv,
        "python": ["3.13"],
        "platforms": list(PLATFORMS),
        "bases": {name: {"suite": "trixie"} for name in bases},
        "extensions": {name: {"source": "made", "imports": "made"} for name in extensions},
        "checks": {name: {"script": "made.py"} for name in own.checks},
        # The project's own file leaves nothing out; these two are looked at and pick nothing.
        "exclude": [
            {"remedy": "patchelf", "base": "debian13*"},
            {"release": f"..{next(iter(releases.commit_dates()))}", "extension": "*"},
        ],
        "expectations": dumped["expectations"],
        "profiles": {"default": {}, **profiles},
    }
    defaults = {
        "3.13": {
            platform: {"version": "3.13.3", "release": tags[0], "url": "made", "sha256": "0" * 64}
            for platform in PLATFORMS
        }
    }
    file = folder / "matrix.yaml"
    file.write_text(json.dumps(content, indent=1))  # which is YAML as well
    locked = {"uv": {name: {"wheels": {}, "defaults": defaults} for name in uv}, "wheels": {}}
    file.with_suffix(".lock").write_text(json.dumps(locked))
    return file


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a row took, in one process."""

    seconds: float
    peak: float
    """MB of resident memory."""


def measured(tree: Path, command: list[str]) -> tuple[str, Taken]:
    """What a Python process of a tree prints, and what it took as a whole."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=tree,
        env={**environment, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    # Of this process alone, which RUSAGE_CHILDREN would not say: that keeps the largest of all.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[-4:])} in {tree} failed:\n{said[-2000:]}")
    return said, Taken(seconds=seconds, peak=usage.ru_maxrss * 1024 / 1e6)


def planned(tree: Path, file: Path, size: Size) -> Taken:
    """Plan a row."""
    said, taken = measured(tree, ["-c", PLAN, str(file), size.profile])
    seconds, cells = said.split()
    assert int(cells) == size.cells, said
    return Taken(seconds=float(seconds), peak=taken.peak)


def collected(tree: Path, file: Path, size: Size) -> Taken:
    """Collect a row's tests."""
    options = (f"--matrix={file}", f"--profile={size.profile}", "--source=replica")
    quiet = ("--collect-only", "-q", "-p", "no:cacheprovider")
    said, taken = measured(tree, ["-m", "pytest", *quiet, *options, "cases"])
    assert f"\n{size.cells} tests collected" in said, said[-500:]
    return taken


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A commit's files, for as long as they are needed."""
    git = ["git", "-C", str(PROJECT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(
            [*git, "add", "--quiet", "--detach", str(tree), revision],
            check=True,
        )
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


KINDS = {"planning": planned, "collection": collected}


Row = dict[str, list[Taken]]
"""What each tree took."""


def measure(trees: dict[str, Path], file: Path, rounds: int) -> dict[str, dict[Size, Row]]:
    """Measure all rows of all kinds, the trees taking turns."""
    found: dict[str, dict[Size, Row]] = {}
    for kind, take in KINDS.items():
        for size in SIZES:
            row: Row = {name: [] for name in trees}
            for _ in range(rounds):
                for name, tree in trees.items():
                    row[name].append(take(tree, file, size))
            found.setdefault(kind, {})[size] = row
            print(f"measured {kind} of {size.cells:,}", file=sys.stderr)
    return found


def render(kind: str, rows: dict[Size, Row]) -> None:
    """Print the table of a kind."""
    from rich.console import Console
    from rich.table import Table

    names = list(next(iter(rows.values())))
    growth = "growth: seconds for each cell, to those of the row before"
    table = Table("cells", title=kind, title_justify="left", caption=growth)
    for name in names:
        for column in (f"{name}: seconds", "growth", "peak MB"):
            table.add_column(column, justify="right")
    if len(names) > 1:
        table.add_column("times as fast", justify="right")
    before: dict[str, float] = {}
    for size, row in rows.items():
        cells = [f"{size.cells:,}"]
        seconds = {name: median(t.seconds for t in taken) for name, taken in row.items()}
        for name, taken in row.items():
            each = seconds[name] / size.cells
            grown = f"{each / before[name]:.2f}" if name in before else ""
            before[name] = each
            peak = median(t.peak for t in taken)
            cells += [f"{seconds[name]:.3f}", grown, f"{peak:.0f}"]
        if len(names) > 1:
            here, there = seconds.values()
            cells.append(f"{there / here:.1f}")
        table.add_row(*cells)
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--against", metavar="REV", help="a commit to compare with")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as kept:
        # Not here: a process counts as its own what whoever started it took, and this one is small.
        measured(PROJECT, ["-c", MAKE, folder])
        trees = {"here": PROJECT}
        if asked.against is not None:
            trees[asked.against] = kept.enter_context(worktree(asked.against))
        found = measure(trees, Path(folder) / "matrix.yaml", asked.rounds)
    print(f"medians of {asked.rounds}")
    for kind, rows in found.items():
        render(kind, rows)


if __name__ == "__main__":
    main()
