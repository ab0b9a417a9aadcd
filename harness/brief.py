"""What is kept of a results line where a million of them are looked at together.

A line says some two kilobytes of a cell, most of which many cells share, and half of which nobody
asks for again: evidence, images, times.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.flavours import Flavour
from harness.matrix import Kind
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.results import Result
from harness.sources import Source
from harness.verdict import Status

_T = TypeVar("_T", bound=Hashable)

PINS = (
    *("archive_sha256", "uv_sha256", "base_digest"),
    *("before", "wheels", "qemu"),
)
"""Keys of the pins that are kept; with all that is below them."""

_ABSENT = object()
"""In place of the value of a pin that a line does not have."""


class Shared:
    """Values that are the same object wherever they are equal."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def __call__(self, value: _T) -> _T:
        """The first value that was equal to this one."""
        found: _T = self._known.setdefault((type(value), value), value)
        return found

    def json(self, value: Any) -> Any:
        """The same of what JSON has, which cannot all be hashed."""
        return self(value) if isinstance(value, str) else self._known.setdefault(repr(value), value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruled:
    """What the loader's rules say, without the directories in which they look."""

    outcome: Reason
    missing_library: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """A results line in brief; every field is as in :class:`harness.results.Result`."""

    id: str
    uv: str
    python: str
    release: str
    source: Source
    flavour: Flavour
    link_model: LinkModel
    linked: LinkModel | None
    platform: Platform
    base: str
    kind: Kind
    extension: str
    remedy: Remedy
    upgraded_from: str | None
    outcome: Reason
    message: str
    expected: Reason
    expected_library: str | None
    expected_because: str
    predicted: Ruled | None
    status: Status
    is_replica: bool
    pinned: tuple[Any, ...]
    """The values of :data:`PINS`: what is in them many cells share, but none has all the same."""

    @property
    def pins(self) -> dict[str, Any]:
        """Those of :data:`PINS` that its line has."""
        found = zip(PINS, self.pinned, strict=True)
        return {key: value for key, value in found if value is not _ABSENT}


def of(result: Result, shared: Shared) -> Brief:
    """A line in brief; what other lines say too is ``shared`` with theirs."""
    found = result.predicted
    return Brief(
        id=result.id,
        uv=shared(result.uv),
        python=shared(result.python),
        release=shared(result.release),
        source=result.source,
        flavour=result.flavour,
        link_model=result.link_model,
        linked=result.linked,
        platform=result.platform,
        base=shared(result.base),
        kind=result.kind,
        extension=shared(result.extension),
        remedy=result.remedy,
        upgraded_from=shared(result.upgraded_from),
        outcome=result.outcome,
        message=shared(result.message),
        expected=result.expected,
        expected_library=shared(result.expected_library),
        expected_because=shared(result.expected_because),
        predicted=shared(Ruled(outcome=found.outcome, missing_library=found.missing_library))
        if found
        else None,
        status=result.status,
        is_replica=result.is_replica,
        pinned=tuple(
            shared.json(result.pins[key]) if key in result.pins else _ABSENT for key in PINS
        ),
    )
