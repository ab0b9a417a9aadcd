"""Fails every call of the engine once, and prints what came of it.

``python -m tests.faults.engines [WORD …]``: WORDs choose places of the source. Ends with 1 where
something was not as it should be, or a place in the source was not reached.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.faults.engines import calls
from tests.faults.engines.calls import Came
from tests.faults.engines.scenes import SCENES
from tests.faults.proxy import Act


def main(
    words: list[str], acts: list[Act], within: list[str], output: Path | None, places: int
) -> int:
    """Run; the exit code."""
    came: list[Came] = []
    end: BaseException | None = None
    with output.open("w", encoding="utf-8") if output else nullcontext() as stream:

        def tell(one: Came) -> None:
            came.append(one)
            name = f"{one.act:8} {one.asked.site} {one.asked.call}"
            said = f"{name}: {one.what} ({one.seconds:.0f} s)"
            print(said, *one.wrong, sep="\n  wrong: ", file=sys.stderr, flush=True)
            if stream:
                print(json.dumps(_plain(one)), file=stream, flush=True)

        try:
            calls.run(
                acts,
                scenes=[each for each in SCENES if not within or each.name in within],
                chosen=lambda a: not words or any(w in f"{a.site} {a.call}" for w in words),
                places=places,
                tell=tell,
            )
        except (KeyboardInterrupt, SystemExit) as error:
            end = error  # what has come until then is shown
    table = Table("asked from", "call", *acts)
    rows: dict[tuple[str, str], dict[Act, Came]] = {}
    for one in came:
        rows.setdefault((one.asked.site, one.asked.call), {})[one.act] = one
    for (site, call), row in rows.items():
        cells = [
            f"{'[red]WRONG[/] ' if row[act].wrong else ''}{escape(row[act].what)}"
            if act in row
            else ""
            for act in acts
        ]
        table.add_row(escape(site.replace("harness/", "")), escape(call), *cells)
    console = Console(width=200)
    console.print(table)
    wrong = [one for one in came if one.wrong]
    for one in wrong:
        print(f"{one.act} {one.asked.site} {one.asked.call}: {'; '.join(one.wrong)}")
    for name, why in calls.UNREACHED.items():
        print(f"not reached: {name}: {why}")
    for name in calls.unknown():
        print(f"not reached, and no reason is given: {name}")
    print(f"{len(came) - len(wrong)} of {len(came)} as they should be, at {len(rows)} call sites")
    if end:
        raise end
    return int(bool(wrong or calls.unknown() or not came))


def _plain(one: Came) -> dict[str, object]:
    return {
        "scene": one.asked.scene.name,
        "site": one.asked.site,
        "call": one.asked.call,
        "act": one.act,
        "what": one.what,
        "line": one.line,
        "seconds": round(one.seconds, 1),
        "wrong": one.wrong,
        "said": one.said if one.wrong else "",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.engines", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument(
        "--scene", action="append", default=[], choices=[scene.name for scene in SCENES]
    )
    parser.add_argument("--act", action="append", type=Act, help="409, 500, EOF, time-out, …")
    parser.add_argument("--places", type=int, default=2, metavar="N", help="engines at a time")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a line of JSON for each")
    # Its engines end with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    given = parser.parse_args()
    sys.exit(
        main(
            given.words,
            given.act or [*calls.ACTS],
            given.scene,
            given.output,
            given.places,
        )
    )
