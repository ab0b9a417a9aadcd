"""Which releases are meant: one tag, the latest but three, a range of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.releases import commit_dates, order


def is_plausible(release: str) -> bool:
    """Whether a tag is in the table, or named for a date after all that is in it."""
    if release in commit_dates():
        return True
    try:
        datetime.strptime(release, "%Y%m%d")
    except ValueError:
        return False
    return release > max(commit_dates())


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
