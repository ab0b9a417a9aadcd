"""Why imports fail, for people: the account by the loader's rules, and the loader's own trace."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from harness.results import Result

EXPLANATION = "explanation"
"""Key of the evidence that holds one."""

WIDTH = 96


def lines(explanation: Mapping[str, Any]) -> list[str]:
    """An explanation as lines of text."""
    found = textwrap.wrap(
        explanation["account"], WIDTH, break_long_words=False, break_on_hyphens=False
    )
    if explanation["trace"]:
        found += ["The loader's own account (LD_DEBUG=libs,files):"]
        found += [f"  {line}" for line in explanation["trace"]]
    return found


def report(results: Iterable[Result]) -> list[str]:
    """What the results explain, as lines of text: the same words once, for all that they are of."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if EXPLANATION in result.evidence:
            key = f"{result.extension} {result.evidence[EXPLANATION]['account']}"
            groups.setdefault(key, []).append(result)
    found: list[str] = []
    for group in groups.values():
        found += [f"{_of(group)}", *(f"  {line}" for line in lines(group[0].evidence[EXPLANATION]))]
    return found


def _of(group: list[Result]) -> str:
    first, *others = (result.id for result in group)
    if not others:
        return first
    return f"{first} and {len(others)} more"
