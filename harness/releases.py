"""python-build-standalone releases: their order, and how each carries libpython.

Releases are ordered by the date of the tagged commit. Tag names look like dates and mostly sort
like them, but not always: ``20250323`` points at a commit of March 2026.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

LIBPYTHON = "libpython"
"""How every name of CPython's own shared libraries begins, renamed copies in wheels included."""


class LinkModel(StrEnum):
    """How an interpreter carries libpython."""

    SHARED = "shared"
    STATIC = "static"
    STATIC_RUNPATH = "static+runpath"
    STATIC_RPATH = "static+rpath"


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkModelEra:
    """A stretch of releases with one link model, from ``first`` until the next era."""

    first: str
    link_model: LinkModel
    why: str
    link: str


DATA = Path(__file__).parent / "data"


def _data(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def _rows(name: str) -> list[list[str]]:
    """The lines of a table that begin with a tag."""
    rows = (line.split("\t") for line in _data(name).splitlines())
    return [row for row in rows if row[0].isdigit()]


@cache
def commit_dates() -> dict[str, str]:
    """Every known release tag with its commit date (ISO 8601), oldest first."""
    return {row[0]: row[1] for row in _rows("releases.tsv")}


@cache
def link_model_eras() -> tuple[LinkModelEra, ...]:
    """The table of link models, oldest era first."""
    return tuple(
        LinkModelEra(first=first, link_model=LinkModel(model), why=why, link=link)
        for first, model, why, link in _rows("link_models.tsv")
    )


@cache
def _positions() -> dict[str, int]:
    return {tag: index for index, tag in enumerate(commit_dates())}


def order(release: str) -> tuple[int, str]:
    """Sort key of a release tag in commit order.

    A tag that the table does not know is newer than the table, so it sorts after all of it, by
    name.
    """
    known = _positions()
    return (known.get(release, len(known)), release)


def is_plausible(release: str) -> bool:
    """Whether a tag is in the table, or named for a date after all that is in it."""
    if release in commit_dates():
        return True
    try:
        datetime.strptime(release, "%Y%m%d")
    except ValueError:
        return False
    return release > max(commit_dates())


def link_model(release: str) -> LinkModel:
    """The link model that the table gives for a release."""
    eras = [era for era in link_model_eras() if order(era.first) <= order(release)]
    return (eras[-1] if eras else link_model_eras()[0]).link_model


LATEST = re.compile(r"latest(?:-(\d{1,4}))?")
"""The newest release, or the one so many before it."""


def check_choice(text: str) -> None:
    """Raise ``ValueError`` for what names no releases: a tag, ``latest``, ``latest-3``, a range."""
    first, dots, last = text.partition("..")
    ends = [end for end in (first, last) if end] if dots else [text]
    for end in ends:
        if not LATEST.fullmatch(end) and not is_plausible(end):
            raise ValueError(
                f"{end!r} is neither a known release tag such as 20250517 nor latest-3"
            )
    if not ends:
        raise ValueError("a range needs at least one end, such as 20250517..latest")
    if not any(LATEST.fullmatch(end) for end in ends):
        ReleaseRange.parse(text)


def choose(choice: str, known: Sequence[str]) -> tuple[str, ...]:
    """The releases that a choice names, of some in commit order, oldest first.

    Raises ``LookupError`` with what is there instead.
    """

    def place(end: str) -> int:
        found = LATEST.fullmatch(end)
        if found is None:
            if end not in known:
                raise LookupError(f"there is no release {end}")
            return known.index(end)
        place = len(known) - 1 - int(found[1] or 0)
        if place < 0:
            raise LookupError(f"there is no {end}: only {len(known)} releases are known")
        return place

    first, dots, last = choice.partition("..")
    if not dots:
        last = first
    start = place(first) if first else 0
    end = place(last) if last else len(known) - 1
    if start > end:
        raise LookupError(f"{known[start]} comes after {known[end]}, so nothing is in {choice}")
    return tuple(known[start : end + 1])


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRange:
    """An inclusive range of releases in commit order; an open end is None."""

    first: str | None
    last: str | None

    @classmethod
    def parse(cls, text: str) -> ReleaseRange:
        """Read ``A..B``, ``A..``, ``..B`` or a single tag ``A``.

        Raises ``ValueError`` for anything else, an unknown bound included: with a mistyped tag the
        range would silently mean something else.
        """
        first, dots, last = text.partition("..")
        if not dots:
            last = first
        for bound in (first, last):
            if bound and not is_plausible(bound):
                raise ValueError(f"{bound!r} is not a known release tag such as 20250517")
        if not first and not last:
            raise ValueError("a range needs at least one end, such as 20250517..20250521")
        if first and last and order(first) > order(last):
            raise ValueError(f"{first} comes after {last} in commit order, so nothing is in {text}")
        return cls(first=first or None, last=last or None)

    def __contains__(self, release: str) -> bool:
        return (self.first is None or order(self.first) <= order(release)) and (
            self.last is None or order(release) <= order(self.last)
        )
