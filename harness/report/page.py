"""One HTML file with everything in it, that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import releases, table
from harness.bench import report as reports
from harness.comparison import COUNTED, PROMINENT, Change, Comparison, Group
from harness.grid import Column, Grid
from harness.report import bars, inlined, problems
from harness.report.inlined import Pool
from harness.report.model import View

ASSETS = Path(__file__).parent

MANY_COLUMNS = 12
"""From which on headings stand upright."""

LISTED = 200
"""Cells that a group lists by name; the grids have all of them."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Cells of one kind of change."""

    change: Change
    count: int
    is_prominent: bool
    groups: tuple[Group, ...]


def render(view: View) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters["shown"] = inlined.text
    style, script = (
        (ASSETS / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js")
    )
    data = _data(view)
    places = {cell[_ID]: number for number, cell in enumerate(data["cells"])}
    return environment.get_template("page.html").render(
        view=view,
        data=data,
        place=lambda result: places[inlined.text(result.id)],
        place_of=lambda cell: places.get(inlined.text(cell)),
        style=style,
        script=script,
        policy=_policy(style, script),
        symbols=table.SYMBOLS,
        symbol=table.symbol,
        expected=problems.expected,
        sections=_sections(view.comparison) if view.comparison else (),
        counted=COUNTED,
        bars=bars,
        reports=reports,
        many=MANY_COLUMNS,
        listed=LISTED,
    )


_ID = 4
"""Where a cell has its id."""


def _data(view: View) -> dict[str, Any]:
    pool = Pool()
    names: dict[str, int] = {}
    columns: dict[Column, int] = {}
    symbols = {key: number for number, key in enumerate(table.SYMBOLS)}
    cells = []
    for number, each in enumerate(view.grids):
        for row, column in _places(each):
            for result in each.at(row, column):
                cells.append(
                    [
                        number,
                        names.setdefault(row, len(names)),
                        columns.setdefault(column, len(columns)),
                        symbols[table.symbol(result)],
                        *inlined.cell(result, view.pairs.get(result.id), pool),
                    ]
                )
    dates = releases.commit_dates()
    return {
        "cells": cells,
        "pool": pool.values,
        "names": [inlined.text(name) for name in names],
        "columns": [
            [inlined.text(c.uv), inlined.text(c.release), c.is_replica, c.link_model]
            for c in columns
        ],
        "grids": [
            [
                *(inlined.text(each.title), each.plane.platform, inlined.text(each.plane.base)),
                *(inlined.text(each.plane.python), each.plane.flavour),
                *(each.plane.kind, each.plane.remedy),
            ]
            for each in view.grids
        ],
        "symbols": [[key, letters, words] for key, (letters, _, words) in table.SYMBOLS.items()],
        "releases": [[inlined.text(tag), dates.get(tag)] for tag in view.releases],
    }


def _places(each: Grid) -> Iterator[tuple[str, Column]]:
    """As page.html goes through them: what has the same place in the data is the same cell."""
    return ((row, column) for row in each.rows for column in each.columns)


def _sections(comparison: Comparison) -> tuple[Section, ...]:
    return tuple(
        Section(
            change=change,
            count=count,
            is_prominent=change in PROMINENT,
            groups=() if change in COUNTED else comparison.groups(change),
        )
        for change, count in comparison.counts.items()
        if count
    )


def _policy(style: str, script: str) -> str:
    """What a browser lets the page do: run these two, and reach nothing."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
