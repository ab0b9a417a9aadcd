"""What the page's program is given of each cell: every value once, however many cells have it."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

from harness import explanation, merging
from harness.comparison import Pair
from harness.markdown import LONG, clipped, without_passwords
from harness.report import problems
from harness.results import Result
from harness.signature import FLAKY

_ELSEWHERE = (explanation.EXPLANATION, FLAKY)
"""Keys of the evidence that have a part of the page of their own."""


_KNOWN = 1 << 14
"""Texts of which is remembered how they are shown; most are in many cells."""


class Pool:
    """Values that are each kept once, and known by their place."""

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}

    def add(self, value: Hashable) -> int:
        """The place of a value; of text, numbers, None and tuples, which are JSON's arrays."""
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[Hashable]:
        """All of them, in their places."""
        return list(self._places)


def text(found: object) -> str:
    """Anything of a results line as text that is safe to show: bounded, without passwords.

    What cannot be seen is written as an escape, so that nothing reads backwards.
    """
    if isinstance(found, str):
        return _safe(found)
    try:
        return _indented(json.dumps(found))
    except RecursionError:
        return "(nested too deeply)"


@lru_cache(_KNOWN)
def _safe(said: str) -> str:
    said = without_passwords(said)
    # What is read character by character takes its time, and most of it need not be.
    is_plain = len(said) <= LONG and said.replace("\n", "").isprintable()
    return said if is_plain else clipped(said, LONG, lines=True)


@lru_cache(_KNOWN)
def _indented(said: str) -> str:
    return _safe(json.dumps(json.loads(said), indent=1, ensure_ascii=False))


def cell(result: Result, pair: Pair | None, pool: Pool) -> list[Any]:
    """What is known of one cell, in the order in which page.js reads it."""
    return [
        text(result.id),
        pool.add(_happened(result, pool)),
        pool.add(_expected(result)),
        pool.add(_predicted(result)),
        pool.add(_texts(result.pins, pool)),
        pool.add(_texts(_evidence(result), pool)),
        pool.add(_explained(result)),
        pool.add(_before(pair)),
        [_finite(value) for value in (result.seconds, result.took, result.prepared_in)],
        result.started and text(result.started),
    ]


def _finite(value: float | None) -> float | None:
    """What JSON has a number for."""
    return value if value is None or math.isfinite(value) else None


def _happened(result: Result, pool: Pool) -> tuple[Hashable, ...]:
    return (
        result.stage,
        result.outcome,
        result.missing_library and text(result.missing_library),
        pool.add(text(result.message)),
        _answers(result),
        result.link_model,
        result.linked,
        text(result.uv_asked),
        text(result.release_asked),
        result.upgraded_from and text(result.upgraded_from),
        result.source,
    )


def is_flaky(result: Result) -> bool:
    """Whether its line says that other answers were given too."""
    return bool(result.evidence.get(FLAKY))


def _answers(result: Result) -> tuple[str, ...]:
    """All of them where there are several."""
    if not is_flaky(result):
        return ()
    known = tuple(text(answer) for answer in merging.answers_of(result))
    return known if len(known) > 1 else (*known, "another, which is not known")


def _expected(result: Result) -> tuple[Hashable, ...]:
    link = result.expected_link
    return text(problems.expected(result)), text(result.expected_because), link and text(link)


def _predicted(result: Result) -> tuple[Hashable, ...] | None:
    found = result.predicted
    if found is None:
        return None
    needed_by = found.needed_by and text(found.needed_by)
    return text(problems.predicted(result)), needed_by, tuple(map(text, found.searched))


def _evidence(result: Result) -> dict[str, Any]:
    return {key: value for key, value in result.evidence.items() if key not in _ELSEWHERE}


def _texts(found: Mapping[str, Any], pool: Pool) -> tuple[tuple[str, int], ...]:
    """Names and values; what is not known is left out."""
    return tuple((text(key), pool.add(text(found[key]))) for key in found if found[key] is not None)


def _explained(result: Result) -> tuple[Hashable, ...] | None:
    found = result.evidence.get(explanation.EXPLANATION)
    if found is None:
        return None
    try:
        read = explanation.Explanation.model_validate(found)
    except ValueError:  # of another version; it is shown all the same
        return text(found), (), ()
    advice = tuple((one.reader.heading, text(one.text), text(one.code)) for one in read.advice)
    return text(read.account), tuple(map(text, read.trace)), advice


def _before(pair: Pair | None) -> tuple[Hashable, ...] | None:
    """What became of it since an earlier run."""
    if pair is None:
        return None
    causes = tuple(text(cause.words) for cause in pair.causes)
    return pair.change.phrase, pair.base and text(pair.base.words), causes
