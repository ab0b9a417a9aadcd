"""The matrix as people look at it: samples down, uv versions with their releases across."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.flavours import Flavour
from harness.matrix import Kind
from harness.platforms import Platform
from harness.releases import LinkModel, order
from harness.remedies import Remedy
from harness.results import Result

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """An interpreter, as one uv version installs it."""

    uv: str
    release: str
    is_replica: bool
    link_model: LinkModel
    """As its files say, where they do."""

    @classmethod
    def of(cls, result: Result) -> Column:
        """The column of a result."""
        return cls(
            uv=result.uv,
            release=result.release,
            is_replica=result.is_replica,
            link_model=result.linked or result.link_model,
        )

    @property
    def place(self) -> tuple[object, ...]:
        """Sort key: uv versions as numbers, releases in commit order."""
        return _numbers(self.uv), self.uv, order(self.release), self.is_replica, self.link_model

    @property
    def heading(self) -> tuple[str, str, str]:
        """Lines for people; a replica is marked in the second."""
        mark = "~" if self.is_replica else ""
        return f"uv {self.uv}", f"{self.release}{mark}", short(self.link_model)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(version))


def short(model: LinkModel) -> str:
    """Short enough for a column; every era's name in full is in the documentation."""
    return {
        LinkModel.SHARED: "shared",
        LinkModel.STATIC: "static",
        LinkModel.STATIC_RUNPATH: "+runpath",
        LinkModel.STATIC_RPATH: "+rpath",
    }[model]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """What all cells of a grid have in common."""

    platform: Platform
    base: str
    python: str
    flavour: Flavour
    kind: Kind
    remedy: Remedy

    @property
    def place(self) -> tuple[object, ...]:
        """Sort key: extensions before checks, without remedies first."""
        axes = (
            *([*Kind].index(self.kind), [*Remedy].index(self.remedy)),
            *([*Platform].index(self.platform), self.base, [*Flavour].index(self.flavour)),
        )
        return (*axes, _numbers(self.python), self.python)

    @classmethod
    def of(cls, result: Result) -> Plane:
        """The plane of a result."""
        return cls(
            platform=result.platform,
            base=result.base,
            python=result.python,
            flavour=result.flavour,
            kind=result.kind,
            remedy=result.remedy,
        )


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The results of one plane."""

    title: str
    plane: Plane
    results: tuple[Result, ...]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All that occur, in the order of uv versions."""
        return tuple(sorted({Column.of(r) for r in self.results}, key=lambda c: c.place))

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Names of the extensions or checks, as they come."""
        return tuple(dict.fromkeys(result.extension for result in self.results))

    def at(self, row: str, column: Column) -> tuple[Result, ...]:
        """What ran there: mostly one, none where it was left out, more of several sources."""
        return tuple(self._cells.get((row, column), ()))

    @cached_property
    def _cells(self) -> dict[tuple[str, Column], list[Result]]:
        cells: dict[tuple[str, Column], list[Result]] = {}
        for result in self.results:
            cells.setdefault((result.extension, Column.of(result)), []).append(result)
        return cells


def grids(results: Iterable[Result]) -> tuple[Grid, ...]:
    """One for each platform, base, CPython, flavour, kind and remedy, in the order of results."""
    planes: dict[Plane, list[Result]] = {}
    for result in results:
        planes.setdefault(Plane.of(result), []).append(result)
    several = len({plane.python for plane in planes}) > 1
    return tuple(
        Grid(title=_title(plane, found, several), plane=plane, results=tuple(found))
        for plane, found in planes.items()
    )


def _title(plane: Plane, results: Iterable[Result], several_pythons: bool) -> str:
    parts = [str(plane.platform), plane.base]
    if several_pythons:
        parts.append(f"CPython {plane.python}")
    if plane.flavour is not Flavour.STRIPPED:
        parts.append(str(plane.flavour))
    if plane.kind is Kind.CHECK:
        parts.append("checks of the interpreter")
    if plane.remedy is not Remedy.NONE:
        parts.append(f"remedy {plane.remedy}")
    older = next((result.upgraded_from for result in results if result.upgraded_from), None)
    return ", ".join(parts) + (f" after uv {older}" if older else "")
