"""python-build-standalone releases: their order, and how each carries libpython.

Releases are ordered by the date of the tagged commit. Tag names look like dates and mostly sort
like them, but not always: ``20250323`` points at a commit of March 2026.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIBPYTHON = "libpython"
"""How every name of CPython's own shared libraries begins, renamed copies in wheels included."""


class LinkModel(StrEnum):
    """How an interpreter carries libpython."""

    SHARED = "shared"
    STATIC = "static"
    STATIC_RUNPATH = "static+runpath"
    STATIC_RPATH = "static+rpath"


class LinkModelEra(NamedTuple):
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


def link_model(release: str) -> LinkModel:
    """The link model that the table gives for a release."""
    eras = [era for era in link_model_eras() if order(era.first) <= order(release)]
    return (eras[-1] if eras else link_model_eras()[0]).link_model
