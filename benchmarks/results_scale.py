"""How what reads results files grows with the number of lines, here and in another commit.

    python -m benchmarks.results_scale [--lines N]... [--rounds N] [--against REV]

Two made nights of as many lines each, about as long as those of a run: one cell in a thousand
regressed since, twenty fail as before. Each measurement is a process of its own, so that its peak
is its own. A page holds what it shows, so one is made of the smaller sizes only. Only ratios mean
something on another machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.planning_scale import PROJECT, Taken, measured, worktree

LINES = (10_000, 100_000)
"""What is measured where nothing is asked for. A million take twenty minutes and 8 GB of disk."""

DRAWN = 10_000
"""Lines up to which a page is made."""

START = """
import os, sys
from pathlib import Path
from harness import cli, durations, results
from harness.filing import troubles
from harness.planning import rerun
base, new, first, second, out = files = sys.argv[1:6]
sys.stdout = open(os.devnull, "w")
def run(*arguments):
    try:
        cli.main(arguments)
    except SystemExit as end:
        if end.code not in (None, 0, 1):
            raise
"""
"""What a process begins with, of any commit that has these functions."""

COMMANDS = {
    "(read)": "for result in results.read(Path(new)): pass",
    "--durations": "durations.read(Path(new))",
    "rerun --failed": "rerun.chosen([new], None, None, only_failed=True)",
    "merge": "run('merge', first, second, '-o', out)",
    "compare": "run('compare', base, new)",
    "compare --json": "run('compare', '--json', base, new)",
    "issues": "troubles.of(results.read(Path(new)), results.read(Path(base)))",
    "suspects": "run('suspects', new, '--base', base)",
    "report": "run('report', new, '--base', base, '-o', out)",
}
"""What it goes on with, by what a user calls for it."""

MAKE = """
import sys
from pathlib import Path
from benchmarks.results_scale import made
made(Path(sys.argv[1]), int(sys.argv[2]))
"""

LIBRARY = "libpython3.13.so.1.0"

AXES = {
    "extension": [f"extension-{number}" for number in range(50)],
    "platform": ["x86_64", "aarch64"],
    "base": [f"debian{number}" for number in range(10)],
    "uv": [f"0.7.{number}" for number in range(40)],
    "release": [f"2025{month:02}{day:02}" for month in range(1, 11) for day in range(1, 29)],
}
"""The first one changes from line to line."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The made files of a size."""

    base: Path
    new: Path
    shards: tuple[Path, Path]
    """Of NEW a half each."""
    out: Path
    """What is written."""

    @classmethod
    def within(cls, folder: Path) -> Files:
        """Those in a folder."""
        shards = folder / "shard-1.jsonl", folder / "shard-2.jsonl"
        base, new = folder / "base.jsonl", folder / "new.jsonl"
        return cls(base=base, new=new, shards=shards, out=folder / "out")

    @property
    def names(self) -> list[str]:
        """As a process is told them."""
        return [str(file) for file in (self.base, self.new, *self.shards, self.out)]


def made(folder: Path, lines: int) -> Files:
    """Write two nights of so many lines each, and the second one in two halves as well."""
    files = Files.within(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        base, new, *shards = (
            stack.enter_context(path.open("w", encoding="utf-8"))
            for path in (files.base, files.new, *files.shards)
        )
        for number in range(lines):
            fails = number % 20 == 7
            base.write(_line(number, fails=fails, day=28))
            line = _line(number, fails=fails or number % 1000 == 3, day=29)
            new.write(line)
            shards[2 * number // lines].write(line)
    return files


def _line(number: int, *, fails: bool, day: int) -> str:
    found: dict[str, Any] = {}
    left = number
    for axis, values in AXES.items():
        left, place = divmod(left, len(values))
        found[axis] = values[place]
    # Of each wheel, archive and image: what has the same name has the same one.
    digest = {axis: sha256(found[axis].encode()).hexdigest() for axis in found}
    name = "-".join((found["extension"], f"uv{found['uv']}", "cp313", found["release"]))
    outcome = "missing-library" if fails else "imports"
    searched = [f"/opt/extensions/{found['extension']}/site", "/lib", "/usr/lib"]
    return (
        json.dumps(
            {
                "schema_version": 5,
                "id": f"{name}-{found['platform']}-{found['base']}",
                "uv_asked": found["uv"],
                "python": "3.13",
                "source": "upstream",
                "link_model": "static",
                "linked": "static",
                **found,
                "kind": "extension",
                "remedy": "none",
                "stage": "import",
                "outcome": outcome,
                "missing_library": LIBRARY if fails else None,
                "message": f"{LIBRARY}: cannot open shared object file" if fails else "",
                "expected": "imports",
                "expected_library": None,
                "expected_because": "",
                "expected_link": None,
                "predicted": {
                    "outcome": outcome,
                    "missing_library": LIBRARY if fails else None,
                    "needed_by": f"{searched[0]}/module.so" if fails else None,
                    "searched": searched if fails else [],
                },
                "status": "regressed" if fails else "as-expected",
                "seconds": 0.001 * (number % 97),
                "started": f"2026-11-{day}T02:{number // 60 % 60:02}:{number % 60:02}+00:00",
                "took": 0.01 + 0.001 * (number % 89),
                "prepared_in": 3.0,
                "evidence": {
                    "python": "3.13.5",
                    "prefix": f"/opt/python/cpython-3.13.3-linux-{found['platform']}-gnu",
                    "machine": found["platform"],
                    "mapped_libpythons": [],
                    "modules": {} if fails else {"module": f"{searched[0]}/module.so"},
                    "exception": "ImportError" if fails else None,
                },
                "pins": {
                    "image": f"sha256:{digest['base']}",
                    "base_origin": "built",
                    "base_digest": digest["base"],
                    "uv_sha256": digest["uv"],
                    "archive": f"cpython-3.13.3+{found['release']}-{found['platform']}.tar.gz",
                    "archive_sha256": digest["release"],
                    "archive_by": "downloads-json",
                    "archive_is_replica": False,
                    "before": None,
                    "wheels": {f"{found['extension']}-1.0.whl": digest["extension"]},
                    "qemu": None if found["platform"] == "x86_64" else "10.0.8",
                    "engine": "20.10.24+dfsg1 (linux/amd64)",
                },
            },
            separators=(",", ":"),
        )
        + "\n"
    )


Row = dict[str, list[Taken]]
"""What each tree took."""


def measure(
    trees: dict[str, Path], names: list[str], sizes: list[int], rounds: int
) -> Iterator[tuple[str, int, Row]]:
    """Measure each command at each size, the trees taking turns."""
    for lines in sizes:
        with tempfile.TemporaryDirectory() as folder:
            # Not here: a process counts as its own what whoever started it took.
            measured(PROJECT, ["-c", MAKE, folder, str(lines)])
            files = Files.within(Path(folder)).names
            for name in names:
                if name == "report" and lines > DRAWN:
                    continue
                row: Row = {tree: [] for tree in trees}
                for _ in range(rounds):
                    for tree, path in trees.items():
                        command = ["-c", START + COMMANDS[name], *files]
                        row[tree].append(measured(path, command)[1])
                print(f"measured {name} of {lines:,}", file=sys.stderr)
                yield name, lines, row


def render(found: list[tuple[str, int, Row]]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    trees = list(found[0][2])
    table = Table("command")
    for heading in ("lines", *(f"{t}: {what}" for t in trees for what in ("seconds", "peak MB"))):
        table.add_column(heading, justify="right")
    for name, lines, row in sorted(found, key=lambda each: list(COMMANDS).index(each[0])):
        figures = []
        for taken in row.values():
            figures.append(f"{median(t.seconds for t in taken):.1f}")
            figures.append(f"{median(t.peak for t in taken):.0f}")
        table.add_row(name, f"{lines:,}", *figures)
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, action="append", metavar="N", help="may be repeated")
    parser.add_argument("--command", choices=list(COMMANDS), action="append", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--against", metavar="REV", help="a commit to compare with")
    asked = parser.parse_args()
    with contextlib.ExitStack() as kept:
        trees = {"here": PROJECT}
        if asked.against is not None:
            trees[asked.against] = kept.enter_context(worktree(asked.against))
        names = asked.command or list(COMMANDS)
        found = list(measure(trees, names, asked.lines or list(LINES), asked.rounds))
    print(f"medians of {asked.rounds}")
    render(found)


if __name__ == "__main__":
    main()
