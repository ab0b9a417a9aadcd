"""What an issue remembers of itself, in a comment on its first line that GitHub does not show."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

LISTED = 2000
"""Cells that a marker names; of more it knows the number. They take a third of an issue."""

_TAG = 10
"""Characters of a cell's tag: 50 bits, so that no two cells of a matrix share one."""

# Only as the first line: what others wrote comes behind it, whatever it looks like.
_LINE = re.compile(r"<!-- pbs-matrix:1 (?P<json>\{[^\r\n]*\}) -->(?:\r?\n|\Z)")
_COMMENT = "<!-- pbs-matrix:comment {} -->"

Day = Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d)?$")]
"""A date, or nothing where it is not known."""


class Marker(BaseModel):
    """What has to be known of an issue the next time; nothing in it can end the comment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, Field(pattern=r"^(regressed|fixed|mispredicted)-[0-9a-f]{12}$")]
    """Of the trouble."""
    cells: Annotated[str, Field(pattern=rf"^(?:[a-z2-7]{{{_TAG}}})*$")] = ""
    """Tags of the cells that have it, one after the other."""
    more: Annotated[int, Field(ge=0)] = 0
    """Cells that are not among these."""
    whole: Annotated[str, Field(pattern=r"^[0-9a-f]{0,16}$")] = ""
    """Digest of all of them."""
    since: Day = ""
    """The night that first showed it, since it was last gone."""
    base: Day = ""
    """The last good night before that."""
    turn: Annotated[int, Field(ge=0)] = 0
    """How often this has been written."""
    title: Annotated[str, Field(pattern=r"^[0-9a-f]{0,12}$")] = ""
    """Digest of the title, as it was written here."""
    bisect: Annotated[str, Field(pattern=r"^[0-9a-f]{0,12}$")] = ""
    """Digest of the bisection's report at the end; nothing where there is none."""
    duplicate_of: Annotated[int, Field(ge=0)] = 0
    """The issue that goes on with it; 0 where it is this one."""

    @property
    def tags(self) -> frozenset[str]:
        """The cells that it names."""
        cells = self.cells
        return frozenset(cells[n : n + _TAG] for n in range(0, len(cells), _TAG))

    @property
    def line(self) -> str:
        """How it stands in the issue."""
        content = json.dumps(self.model_dump(exclude_defaults=True), separators=(",", ":"))
        return f"<!-- pbs-matrix:1 {content} -->\n"

    def changed(self, **fields: Any) -> Self:
        """The next version of it."""
        made = {**self.model_dump(), "turn": self.turn + 1, **fields}
        return type(self).model_validate(made)


def parse(body: str) -> tuple[Marker | None, str]:
    """The marker of an issue and what stands behind it; None for none, or a damaged one."""
    found = _LINE.match(body)
    if found is None:
        return None, body
    try:
        return Marker.model_validate_json(found["json"]), body[found.end() :]
    except ValueError:
        return None, body


def tag(cell: str) -> str:
    """A short name for the id of a cell, in letters that are safe everywhere."""
    raw = hashlib.sha256(_encoded(cell)).digest()
    return base64.b32encode(raw).decode().lower()[:_TAG]


def recorded(tags: Iterable[str], first: Iterable[str] = ()) -> dict[str, Any]:
    """The fields for some cells; where not all can be named, the ``first`` ones are.

    Those are the ones that no later night can tell.
    """
    every = {*tags, *first}
    preferred = sorted(set(first))
    order = [*preferred, *sorted(every.difference(preferred))]
    listed = list(islice(order, LISTED))
    return {
        "cells": "".join(listed),
        "more": len(order) - len(listed),
        "whole": digest("".join(sorted(every)), 16),
    }


def digest(text: str, length: int = 12) -> str:
    """Some digits that stand for a text."""
    return hashlib.sha256(_encoded(text)).hexdigest()[:length]


def comment_line(turn: int, text: str) -> str:
    """The first line of a comment, by which it is known whether it has been written already."""
    return _COMMENT.format(f"{turn}-{digest(text)}") + "\n"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
