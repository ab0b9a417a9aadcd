"""Endings of a bisection: their names, and how they are kept as JSON."""

from __future__ import annotations

from typing import Any, assert_never

from pydantic import TypeAdapter

from harness.bisection.search import (
    Cancelled,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    Transition,
    WrongEnds,
)

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "found": TypeAdapter(Found),
    "range": TypeAdapter(Range),
    "not-monotonic": TypeAdapter(NotMonotonic),
    "wrong-ends": TypeAdapter(WrongEnds),
    "flaky": TypeAdapter(Flaky),
    "cancelled": TypeAdapter(Cancelled),
}
KIND = "kind"


def kind(ending: Ending) -> str:
    """Such as ``not-monotonic``."""
    match ending:
        case Found():
            return "found"
        case Range():
            return "range"
        case NotMonotonic():
            return "not-monotonic"
        case WrongEnds():
            return "wrong-ends"
        case Flaky():
            return "flaky"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(ending)


def dump(ending: Ending) -> dict[str, Any]:
    """As JSON values, with its kind."""
    name = kind(ending)
    return {KIND: name, **_ADAPTERS[name].dump_python(ending, mode="json")}


def load(data: Any) -> Ending:
    """The ending that :func:`dump` made this of; ``ValueError`` where it is not exactly that."""
    adapter = _ADAPTERS.get(str(data.get(KIND))) if isinstance(data, dict) else None
    if adapter is None:
        raise ValueError(f"no ending has the {KIND} {str(data)[:40]!r}")
    ending: Ending = adapter.validate_python({key: data[key] for key in data if key != KIND})
    if dump(ending) != data:
        raise ValueError("an ending with fields that it does not have")
    return ending


def places(ending: Ending) -> set[int]:
    """All candidates that an ending speaks of."""
    match ending:
        case Found():
            return {ending.last, ending.first}
        case Range():
            return {ending.last, ending.first, *ending.untestable, *ending.unasked}
        case NotMonotonic():
            return _of(ending.transitions)
        case WrongEnds():
            ends = (ending.good, ending.bad)
            nearest = {end.nearest for end in ends if end.nearest is not None}
            return {end.index for end in ends} | nearest
        case Flaky():
            return {ending.index}
        case Cancelled():
            return _of(ending.transitions) | {ending.good.index, ending.bad.index}
        case _:
            assert_never(ending)


def _of(transitions: tuple[Transition, ...]) -> set[int]:
    return {
        place
        for change in transitions
        for place in (change.last, change.first, *change.untestable, *change.unasked)
    }
