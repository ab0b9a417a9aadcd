"""What a run is at, by what it has said so far."""

from __future__ import annotations

import re
from enum import StrEnum


class Stage(StrEnum):
    """In the order in which a run goes through them."""

    STARTING = "starting"
    PREPARING = "preparing"
    CONTAINERS = "starting containers"
    CELLS = "cells"
    ENDING = "ending"


_SIGNS = (
    # The last first: of several that are there the first in this list is right.
    (Stage.ENDING, re.compile(r"^=+ pbs-matrix =+$|^\d+ cells?: ", re.MULTILINE)),
    (Stage.CELLS, re.compile(r"^[.FEsx]+(\s+\[ *\d+%\])?$", re.MULTILINE)),
    (Stage.PREPARING, re.compile(r"^pbs-matrix: preparing \d+ cells?\b", re.MULTILINE)),
)

_IMAGE = re.compile(r"^pbs-matrix: \[(\d+)/(\d+)\] image ", re.MULTILINE)


def stage_of(said: str) -> Stage:
    """The stage that some output, cut off at any place, tells of."""
    found = next((stage for stage, sign in _SIGNS if sign.search(said)), Stage.STARTING)
    if found is Stage.PREPARING:
        images = _IMAGE.findall(said)
        if images and len(images) == int(images[-1][1]):
            return Stage.CONTAINERS
    return found
