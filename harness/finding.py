"""Cells by their ids, whichever profile has them, and from whichever source they say they are.

An id says all that a cell is. So a cell of yesterday's newest release is found although ``latest``
means another one today, and one that was asked for by the way is found although no profile has it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from pydantic import BaseModel

from harness import releasechoice, releases
from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock, LockedUv
from harness.matrix import DEFAULT, Axes, Inclusion, Matrix
from harness.plan import Cell, Names, plan
from harness.sources import Source
from harness.why import printable

SHOWN = 20
"""Ids that a message lists."""

_PARTS = re.compile(r"-uv(?P<uv>\d+\.\d+\.\d+)-cp3\d{1,2}-(?P<release>\d{8})(?!\d)")
_Model = TypeVar("_Model", bound=BaseModel)
_NONE = "none"
"""A choice of releases that no matrix file can make, and that names none."""

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Some cells, and what the lock does not know of their uv versions."""

    cells: tuple[Cell, ...]
    uv: dict[str, LockedUv]

    @property
    def source(self) -> Source:
        """Upstream if the published archives are needed for any of them."""
        sources = {cell.environment.interpreter.source for cell in self.cells}
        return Source.UPSTREAM if Source.UPSTREAM in sources else Source.REPLICA


def by_ids(
    ids: Sequence[str], matrix: Matrix, lock: Lock, *, known: dict[str, LockedUv] | None = None
) -> Found:
    """The cells with these ids, each once, in this order.

    ``known`` are uv versions beyond the lock; only for others that it lacks the package index is
    asked. Raises :class:`SelectionError` for an id that names no cell, with what is like it.
    """
    uv = dict(known or {})
    wanted = dict.fromkeys(ids)
    parts = {(m["uv"], m["release"]) for name in wanted for m in _PARTS.finditer(name)}
    there = lock.model_copy(update={"uv": {**lock.uv, **uv}})
    closed = _closed(matrix, {u for u, _ in parts if u in there.uv}, {r for _, r in parts})
    found = _picked(wanted, closed, there)
    missing = [name for name in wanted if name not in found]
    pairs = {(m["uv"], m["release"]) for name in missing for m in _PARTS.finditer(name)}
    if pairs := {(u, r) for u, r in pairs if releasechoice.is_plausible(r)}:
        if unknown := sorted({u for u, _ in pairs if u not in there.uv}):
            from harness import locking  # late: it asks the package index

            before = there.uv.get(matrix.upgrade_from or "")
            uv |= {version: locking.lock_uv(version, matrix, before) for version in unknown}
            there = lock.model_copy(update={"uv": {**lock.uv, **uv}})
        found |= _picked(missing, _extended(closed, pairs), there)
        missing = [name for name in wanted if name not in found]
    if missing:
        raise _no_such(missing, (cell.id for cell in _every(closed, there)))
    return Found(
        cells=tuple(found[name] for name in wanted),
        uv={version: locked for version, locked in uv.items() if version not in lock.uv},
    )


def one(pattern: str, matrix: Matrix, lock: Lock, *, source: Source | None = None) -> Found:
    """The cell that an id names, or the only one that a glob matches.

    Raises :class:`SelectionError` where there is none, or more than one, and says which.
    """
    if not _GLOB.search(pattern):
        return by_ids([pattern], matrix, lock)
    found = some([pattern], matrix, lock, source=source)
    if len(found.cells) > 1:
        raise SelectionError(
            f"{printable(pattern)!r} selects {len(found.cells)} cells:"
            f"{_listed([cell.id for cell in found.cells])}",
            advice="Name one of them.",
        )
    return found


def some(
    patterns: Sequence[str], matrix: Matrix, lock: Lock, *, source: Source | None = None
) -> Found:
    """The cells that ids name and globs match, each once; of one source where that is named.

    A glob that matches nothing is a :class:`SelectionError`, as an id that names nothing.
    """
    ids: dict[str, None] = {}
    there: list[str] | None = None
    for pattern in patterns:
        if not _GLOB.search(pattern):
            ids[pattern] = None
            continue
        if there is None:
            there = [cell.id for cell in every(matrix, lock, source=source)]
        matching = [name for name in there if fnmatchcase(name, pattern)]
        if not matching:
            raise _no_such([pattern], there)
        ids |= dict.fromkeys(matching)
    return by_ids(list(ids), matrix, lock)


def every(matrix: Matrix, lock: Lock, *, source: Source | None = None) -> Iterator[Cell]:
    """The cells of every profile, each once, but for what depends on the day: asks nobody."""
    seen = set()
    for cell in _every(_closed(matrix, set(), set()), lock):
        if cell.id not in seen and source in (None, cell.environment.interpreter.source):
            seen.add(cell.id)
            yield cell


def _picked(names: Iterable[str], matrix: Matrix, lock: Lock) -> dict[str, Cell]:
    """Those of some cells that a matrix has."""
    left = set(names)
    found = {}
    # A release's own mark is in the id of whatever stands for it.
    sources = [source for source in Source if any(_is_of(name, source) for name in left)]
    for cell in _every(matrix, lock, sources):
        if cell.id in left:
            found[cell.id] = cell
            left.remove(cell.id)
            if not left:
                break
    return found


def _is_of(name: str, source: Source) -> bool:
    return (f"~{Source.REPLICA}" in name) is (source is Source.REPLICA)


def _every(matrix: Matrix, lock: Lock, sources: Iterable[Source] = tuple(Source)) -> Iterator[Cell]:
    names = _names(matrix, lock)
    for source in sources:
        for profile in matrix.profiles:
            # A profile of which nothing is left has nothing to be found in.
            try:
                yield from plan(matrix, lock, profile=profile, source=source, names=names)
            except ConfigurationError:
                continue


def _names(matrix: Matrix, lock: Lock) -> Names:
    """What each choice of releases is, of those in the table, in the lock and in the matrix."""
    axes = [matrix.releases, *(entry.releases or () for entry in matrix.entries)]
    choices = {choice for values in axes for choice in values} - {DEFAULT}
    ends = {end for choice in choices for end in choice.split("..") if end.isdigit()}
    defaults = (d for uv in lock.uv.values() for by in uv.defaults.values() for d in by.values())
    tags = {*releases.commit_dates(), *ends, *(default.release for default in defaults)}
    known = sorted(tags, key=releases.order)

    def chosen(choice: str) -> tuple[str, ...]:
        try:
            return releasechoice.choose(choice, known)
        except LookupError:
            return ()

    return Names(releases={choice: chosen(choice) for choice in choices})


def _closed(matrix: Matrix, uv: Iterable[str], tags: Iterable[str]) -> Matrix:
    """The matrix with these uv versions and releases where it has names such as ``latest``."""
    uv = tuple(sorted(uv))
    there = {"uv": uv, "releases": tuple(sorted(filter(releasechoice.is_plausible, tags)))}

    def closed(axes: _Model) -> _Model:
        update = {}
        for name, values in there.items():
            choices: tuple[str, ...] = getattr(axes, name) or ()
            fixed = tuple(choice for choice in choices if "latest" not in choice)
            if len(fixed) < len(choices):
                update[name] = tuple(dict.fromkeys((*fixed, *values)))
        if () in update.values():
            # An axis that is empty would be taken from the matrix.
            update = {"uv": tuple(uv), "releases": (_NONE,)}
        return axes.model_copy(update=update)

    profiles = {
        name: closed(chosen).model_copy(update={"include": tuple(map(closed, chosen.include))})
        for name, chosen in matrix.profiles.items()
    }
    return closed(matrix).model_copy(
        update={"include": tuple(map(closed, matrix.include)), "profiles": profiles}
    )


def _extended(matrix: Matrix, pairs: Iterable[tuple[str, str]]) -> Matrix:
    """The matrix with each pair of a uv and a release in every profile, whatever that has."""

    def more(axes: Axes) -> Iterator[Inclusion]:
        values = {name: getattr(axes, name) for name in Axes.model_fields}
        for uv, release in sorted(pairs):
            chosen = {"uv": (uv,), "releases": (DEFAULT, release)}
            yield Inclusion.model_construct(**{**values, **chosen})

    profiles = {
        name: chosen.model_copy(
            update={
                "include": (
                    *chosen.include,
                    *more(chosen),
                    *(added for entry in chosen.include for added in more(entry)),
                )
            }
        )
        for name, chosen in matrix.profiles.items()
    }
    return matrix.model_copy(update={"profiles": profiles})


def _no_such(names: Sequence[str], there: Iterable[str]) -> SelectionError:
    close = difflib.get_close_matches(names[0][:500], list(dict.fromkeys(there)), n=3)
    return SelectionError(
        f"there is no cell{_listed(names)}",
        advice=(f"Is this meant?{_listed(close)}" if close else "")
        or "`pbs-matrix list --profile NAME` lists a profile's cells.",
    )


def _listed(names: Sequence[str]) -> str:
    shown = [printable(name[:500]) for name in names[:SHOWN]]
    more = len(names) - len(shown)
    if len(shown) == 1:
        return f" {shown[0]}"
    return "".join(f"\n  {name}" for name in shown) + (f"\n  and {more} more" if more else "")
