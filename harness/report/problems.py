"""What did not go as it should, and what is known to be broken: by how it ended, with its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness import signature
from harness.outcome import Reason
from harness.results import Result
from harness.verdict import Status

STATUSES = (Status.REGRESSED, Status.FIXED, Status.MISPREDICTED, Status.UNTESTABLE)
"""In the order in which they are told."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Cells of one status that ended in the same way."""

    status: Status
    signature: str
    results: tuple[Result, ...]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Cells that fail as expected, for one reason."""

    expected: str
    because: str
    link: str | None
    results: tuple[Result, ...]

    @property
    def extensions(self) -> tuple[str, ...]:
        """Their names, in order of appearance."""
        return tuple(dict.fromkeys(result.extension for result in self.results))


def problems(results: Iterable[Result]) -> tuple[Problem, ...]:
    """By status, and of each the largest group first."""
    groups: dict[tuple[Status, str], list[Result]] = {}
    for result in results:
        if result.status in STATUSES:
            words = signature.of(result).words
            groups.setdefault((result.status, words), []).append(result)
    found = [
        Problem(status=status, signature=words, results=tuple(group))
        for (status, words), group in groups.items()
    ]
    return tuple(
        sorted(found, key=lambda p: (STATUSES.index(p.status), -len(p.results), p.signature))
    )


def known_breakage(results: Sequence[Result]) -> tuple[Known, ...]:
    """What is expected to fail and does, by what was expected and why; the largest first."""
    groups: dict[tuple[str, str, str | None], list[Result]] = {}
    for result in results:
        if result.status is Status.AS_EXPECTED and result.outcome not in signature.SUCCESSES:
            key = expected(result), result.expected_because, result.expected_link
            groups.setdefault(key, []).append(result)
    found = [
        Known(expected=words, because=because, link=link, results=tuple(group))
        for (words, because, link), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda known: (-len(known.results), known.because)))


def expected(result: Result) -> str:
    """What the matrix file says should happen, in words."""
    return _words(result.expected, result.expected_library)


def predicted(result: Result) -> str | None:
    """What the loader's rules say should happen, in words."""
    found = result.predicted
    return _words(found.outcome, found.missing_library) if found else None


def _words(outcome: Reason, library: str | None) -> str:
    return f"{outcome} {library}" if library else str(outcome)
