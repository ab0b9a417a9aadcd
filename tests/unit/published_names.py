"""Real names of published archives, as uv programs know them.

``offered`` in the data is what ``uv python list --all-versions --only-downloads --show-urls`` of
four versions lists for both platforms: the tail of a name, and each version and release it has.
It lists no debug builds: those of 0.9.27 are read out of the program's own table. ``others`` is one
of each further kind of name in that table.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data" / "published_names.json"


@cache
def offered() -> dict[str, tuple[str, ...]]:
    """What each uv offers: names, by uv version."""
    found: dict[str, dict[str, str]] = json.loads(DATA.read_text())["offered"]
    return {
        uv: tuple(f"cpython-{version}-{tail}" for tail in tails for version in tails[tail].split())
        for uv, tails in found.items()
    }


def offered_by_any() -> tuple[str, ...]:
    """The same of all of them, each name once."""
    return tuple(sorted({name for names in offered().values() for name in names}))


def others() -> tuple[str, ...]:
    """Names of what no flavour under test is."""
    return tuple(json.loads(DATA.read_text())["others"])
