"""What helps where: of each extension that was tried with remedies, remedy × link model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import table
from harness.grid import Column
from harness.matrix import Kind
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.results import Result


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What came of one remedy with one link model."""

    symbols: tuple[tuple[str, Result, int], ...]
    """Each key of :data:`harness.table.SYMBOLS` that occurs, with its first cell and how many."""


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """The table of one extension on one base."""

    extension: str
    base: str
    columns: tuple[tuple[LinkModel, Platform], ...]
    rows: tuple[tuple[Remedy, tuple[Entry, ...]], ...]


def tables(results: Sequence[Result]) -> tuple[Remedies, ...]:
    """One for each extension and base that has a cell with a remedy, in order of appearance."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.kind is Kind.EXTENSION:
            groups.setdefault((result.extension, result.base), []).append(result)
    return tuple(
        _table(extension, base, group)
        for (extension, base), group in groups.items()
        if any(result.remedy is not Remedy.NONE for result in group)
    )


def _table(extension: str, base: str, results: Sequence[Result]) -> Remedies:
    cells: dict[tuple[Remedy, LinkModel, Platform], list[Result]] = {}
    for result in results:
        key = result.remedy, Column.of(result).link_model, result.platform
        cells.setdefault(key, []).append(result)
    columns = tuple(
        (model, platform)
        for platform in Platform
        for model in LinkModel
        if any((remedy, model, platform) in cells for remedy in Remedy)
    )
    return Remedies(
        extension=extension,
        base=base,
        columns=columns,
        rows=tuple(
            (remedy, tuple(_entry(cells.get((remedy, *column), ())) for column in columns))
            for remedy in Remedy
            if any((remedy, *column) in cells for column in columns)
        ),
    )


def _entry(results: Sequence[Result]) -> Entry:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(table.symbol(result), []).append(result)
    return Entry(
        symbols=tuple(
            (key, found[key][0], len(found[key])) for key in table.SYMBOLS if key in found
        )
    )
