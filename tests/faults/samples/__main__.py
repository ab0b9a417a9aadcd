"""Prints what hostile modules tried from inside, and how it was refused, on both platforms.

``python -m tests.faults.samples [--markdown FILE]``. Ends with 1 where something was not refused.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import markdown
from harness.why import printable
from tests.faults.samples import PLATFORMS, hostile, trials
from tests.faults.samples.laboratory import laboratory

MEANING = {
    "nothing": "there is nothing to be got",
    "ENOENT": "it is not there",
    "ENOSYS": "the emulator, or the kernel, has no such call",
}
"""Of refusals whose name does not say it."""


def rows(platforms: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What does it, the act, what came of it on each platform, and whether that is as it should."""
    found = []
    for expected in hostile.ACTS:
        said = {
            platform: trials.told(
                laboratory(platform).try_out(expected.module, meanwhile=expected.meanwhile).outcome
            )
            for platform in platforms
        }
        for act in dict.fromkeys(act for came in said.values() for act in came):
            came = [printable(said[platform].get(act, "untold")) for platform in platforms]
            bad = trials.not_refused(dict(zip(platforms, came, strict=True)))
            words = (
                "refused"
                if not bad
                else "allowed"
                if act in expected.allowed
                else "up to the engine"
                if act in expected.up_to_engine
                else "GOT"
            )
            found.append((expected.module, act, *came, words))
    return found


def main(platforms: tuple[str, ...], file: Path | None) -> int:
    """Print the table; the exit code."""
    found = rows(platforms)
    table = Table("module", "attempted act", *platforms, "")
    for row in found:
        table.add_row(*(escape(cell) for cell in row))
    Console(width=180).print(table)
    counts = Counter(row[-1] for row in found)
    print(f"{len(found)} acts: " + ", ".join(f"{n} {word}" for word, n in counts.most_common()))
    print("; ".join(f"{name}: {meaning}" for name, meaning in MEANING.items()))
    if file:
        shown = [
            (f"`{module}`", act, *map(markdown.code, came), words)
            for module, act, *came, words in found
        ]
        text = markdown.table(("By", "Attempted act", *platforms, ""), shown)
        file.write_text(f"{text}\n", encoding="utf-8")
    return int(counts["GOT"] > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.samples", description=__doc__)
    parser.add_argument("--platform", choices=PLATFORMS)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args()
    sys.exit(main((given.platform,) if given.platform else PLATFORMS, given.markdown))
