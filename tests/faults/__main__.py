"""Injects faults and prints what came of each: ``python -m tests.faults [WORD …]``.

WORDs choose faults whose ``group/name`` has one of them in it. Ends with 1 where one was not as it
should be.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import engine
from tests.faults.fault import Fault, Happened
from tests.faults.room import Room

GROUPS = ("samples", "engines", "hosts", "files")
"""Modules beside this one, each with a list ``FAULTS``."""


def faults() -> list[Fault]:
    """All of them."""
    return [
        fault
        for group in GROUPS
        for fault in importlib.import_module(f"tests.faults.{group}").FAULTS
    ]


def main(words: list[str], platform: str | None, output: Path | None) -> int:
    """Run; the exit code."""
    client = engine.connect()
    table = Table("fault", "platform", "what happened", "verdict", "seconds", "left behind")
    failed = count = 0
    for fault in faults():
        if words and not any(word in fault.id for word in words):
            continue
        for where in fault.platforms:
            if platform not in (None, where):
                continue
            count += 1
            print(f"{fault.id} on {where} …", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    happened = fault.inject(Room(Path(folder), client, where))
                except Exception:
                    happened = Happened(
                        what="the fault could not be injected",
                        verdict="",
                        wrong=(traceback.format_exc(),),
                    )
            failed += bool(happened.wrong or happened.left)
            for wrong in happened.wrong:
                print(f"  wrong: {wrong}", file=sys.stderr)
            table.add_row(
                escape(fault.id),
                where,
                escape(happened.what),
                escape(happened.verdict) + ("  [red]WRONG[/]" if happened.wrong else ""),
                f"{happened.seconds:.1f}",
                escape(", ".join(happened.left)) or "nothing",
            )
    Console(width=200).print(table)
    print(f"{count - failed} of {count} as they should be")
    if output:
        with output.open("w", encoding="utf-8") as stream:
            Console(file=stream, width=200).print(table)
    return int(failed > 0 or not count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--platform", choices=("x86_64", "aarch64"))
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    # What was started for a fault ends with this.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    given = parser.parse_args()
    sys.exit(main(given.words, given.platform, given.output))
