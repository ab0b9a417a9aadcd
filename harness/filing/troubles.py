"""What in a night's results is worth an issue: one trouble for each signature."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from harness import comparison
from harness.comparison import Change, Pair, Side
from harness.filing import marker
from harness.outcome import Reason
from harness.results import Result
from harness.verdict import Status

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Kind(StrEnum):
    """Why it is one; the value is what titles and keys say."""

    REGRESSED = "regressed"
    """It fails otherwise than matrix.yaml expects, or than in the last good night."""
    FIXED = "fixed"
    """It succeeds, and matrix.yaml expects a failure."""
    MISPREDICTED = "mispredicted"
    """It does not do what the loader's rules say."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Cells with one signature, across extensions, platforms and releases."""

    kind: Kind
    words: str
    """The signature. Of what is fixed, that of the failure which was expected."""
    pairs: tuple[Pair, ...]
    """The cells, by their ids, with what they were in the last good night; each has a NEW."""

    @property
    def key(self) -> str:
        """A name that is the same every night, and safe as that of a file or in a shell."""
        return _key(self.kind, self.words)

    @property
    def tags(self) -> frozenset[str]:
        """The tags of its cells."""
        return frozenset(marker.tag(pair.cell) for pair in self.pairs)


@dataclass(frozen=True, kw_only=True)
class Night:
    """What one run says, as far as issues depend on it."""

    troubles: tuple[Trouble, ...]
    """The largest first."""
    tested: Mapping[str, str]
    """Cells with one clear answer, whatever it is: their ids, by their tags."""
    unclear: frozenset[str]
    """Tags of those that could not be tested, or answered differently. What is not applicable is
    in neither: there is no question."""
    known: Mapping[str, str]
    """Keys of what cells do that fail as matrix.yaml expects, by their tags."""
    day: str = ""
    """When it began, as ``2026-11-29`` in UTC; nothing where its results do not say."""
    base_day: str = ""
    """The same of the last good night."""


def of(new: Iterable[Result], base: Iterable[Result] = ()) -> Night:
    """The troubles of a run, beside the last good one where there is one.

    Breakage that matrix.yaml expects is none, unless it is news: a cell that did not do that in the
    last good night. What could not be tested is none of the extension's. A cell that answered
    differently counts by its last answer.
    """
    days: set[str] = set()
    earlier: set[str] = set()
    compared = comparison.compare(_noting(earlier, base), _noting(days, new))
    groups: dict[tuple[Kind, str], list[Pair]] = {}
    tested: dict[str, str] = {}
    known: dict[str, str] = {}
    unclear = set()
    for pair in compared.pairs:
        if pair.new is None:
            continue
        reason = pair.new.result.outcome
        if reason is Reason.UNTESTABLE or pair.new.is_flaky:
            unclear.add(marker.tag(pair.cell))
        elif reason.was_tried:
            tested[marker.tag(pair.cell)] = pair.cell
        kind = _kind(pair, pair.new.result.status)
        if kind is not None:
            groups.setdefault((kind, _words(kind, pair.new)), []).append(pair)
        elif pair.new.failed:
            known[marker.tag(pair.cell)] = _key(Kind.REGRESSED, pair.new.signature.words)
    found = [
        Trouble(kind=kind, words=words, pairs=tuple(sorted(pairs, key=lambda pair: pair.cell)))
        for (kind, words), pairs in groups.items()
    ]
    return Night(
        troubles=tuple(sorted(found, key=lambda trouble: (-len(trouble.pairs), trouble.key))),
        tested=tested,
        unclear=frozenset(unclear),
        known=known,
        day=min(days, default=""),
        base_day=min(earlier, default=""),
    )


def _key(kind: Kind, words: str) -> str:
    return f"{kind}-{marker.digest(f'{kind} {words}')}"


def _kind(pair: Pair, status: Status) -> Kind | None:
    match status:
        case Status.REGRESSED:
            return Kind.REGRESSED
        case Status.FIXED:
            return Kind.FIXED
        case Status.MISPREDICTED:
            return Kind.MISPREDICTED
        case Status.AS_EXPECTED if pair.change in (Change.REGRESSED, Change.OTHER_FAILURE):
            return Kind.REGRESSED
        case Status.AS_EXPECTED | Status.UNTESTABLE | Status.NOT_APPLICABLE:
            return None
        case _:
            assert_never(status)


def _words(kind: Kind, side: Side) -> str:
    result = side.result
    match kind:
        case Kind.REGRESSED:
            return side.signature.words
        case Kind.FIXED:
            return _named(result.expected, result.expected_library)
        case Kind.MISPREDICTED if result.predicted is None:  # of a line made by hand
            return side.signature.words
        case Kind.MISPREDICTED:
            rules = _named(result.predicted.outcome, result.predicted.missing_library)
            return f"{side.signature.words}, by the loader's rules {rules}"
        case _:
            assert_never(kind)


def _named(reason: Reason, library: str | None) -> str:
    return f"{reason} {library}" if library else str(reason)


def _noting(days: set[str], lines: Iterable[Result]) -> Iterator[Result]:
    """The lines as they come; on which days their cells began is noted by the way."""
    for line in lines:
        if line.started and _DAY.fullmatch(day := line.started[:10]):
            days.add(day)
        yield line
