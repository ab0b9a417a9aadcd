"""What a probe reports: the one thing that is believed of a process that has run strangers' code.

That process can lie about itself, but it cannot make a report of something that is none: each has
exactly what ``images/environment/probe.py`` sends, or is not taken for one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from harness.matrix import Kind

AGAIN = "again"
"""Name for an event that was reported before."""

MAX_MESSAGE = 4000
"""Characters of a message that are kept; the probe sends no more."""


class _Report(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Started(_Report):
    """Before anything of the sample is touched."""

    python: str
    machine: str
    base_prefix: str
    leaked: list[str]


class Bindings(_Report):
    """To which files the names of the C API are bound."""

    home: str | None
    counts: dict[str, int]
    copies: dict[str, list[str]]


class Unread(_Report):
    """Why that could not be read."""

    problem: str


class NotAsked(_Report):
    """The question could not be asked, or does not arise."""

    outcome: Literal["not-installed", "not-applicable"]
    message: str


class _Asked(_Report):
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    mapped_libpythons: list[str]
    modules: dict[str, str | None]


class Imported(_Asked):
    """The import succeeded."""

    outcome: Literal["imported"]
    bindings: Bindings | Unread


class Passed(_Asked):
    """The check found nothing wrong."""

    outcome: Literal["passed"]
    findings: Any


class Raised(_Asked):
    """The import, or the check, ended with an exception."""

    outcome: Literal["raised"]
    exception: str
    message: str
    missing_library: str | None
    findings: Any = None


OUTCOMES = {
    Kind.EXTENSION: ("imported", "raised", "not-installed"),
    Kind.CHECK: ("passed", "raised", "not-installed", "not-applicable"),
}
"""What a probe reports of the one and of the other."""

MAX_DEPTH = 100
"""Of lists in lists; what a check finds has a few."""

Answer = Annotated[Imported | Passed | Raised | NotAsked, Field(discriminator="outcome")]

_ANSWER: TypeAdapter[Imported | Passed | Raised | NotAsked] = TypeAdapter(Answer)


class Forged(ValueError):
    """What was reported is not what a probe reports."""


def _refuse(constant: str) -> None:
    """No report has a number that JSON does not have."""
    raise ValueError(constant)


def events(said: str, nonce: str) -> dict[str, dict[str, Any]]:
    """The probe's own lines among what was reported, by event: of each the first.

    Of an event that is there again, :data:`AGAIN` has the second one: the probe does not say
    anything twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line, parse_constant=_refuse)
            if isinstance(event, dict) and event.get("nonce") == nonce:
                name = str(event.get("event"))
                found[AGAIN if name in found else name] = event
    return found


def started(events: Mapping[str, Any]) -> Started | None:
    """The first report; None where there is none that a probe could have sent."""
    try:
        return Started.model_validate(_encodable(events.get("started")))
    except (ValidationError, Forged):
        return None


def answer(events: Mapping[str, Any], kind: Kind) -> Imported | Passed | Raised | NotAsked | None:
    """The last report; None where there is none. Raises :class:`Forged`."""
    if "finished" not in events:
        return None
    if AGAIN in events:
        raise Forged("more than one report came from its process, so one of them is forged")
    try:
        found = _ANSWER.validate_python(_encodable(events["finished"]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _forged(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if found.outcome not in OUTCOMES[kind]:
        raise _forged(f"of an {kind}, that it has {found.outcome}")
    return found


def _forged(problem: str) -> Forged:
    return Forged(f"its process sent a report that no probe sends: {problem}")


def _encodable(value: Any, depth: int = 0) -> Any:
    """The same with lone surrogates escaped: a file name that is no UTF-8 may be in any text."""
    if depth > MAX_DEPTH:
        raise _forged("it is nested too deeply")
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_encodable(part, depth + 1) for part in value]
        case dict():
            return {_encodable(k): _encodable(v, depth + 1) for k, v in value.items()}
        case _:
            return value
