"""Answers of earlier days, by everything that they rest on."""

from __future__ import annotations

from functools import cache as cache_in_process

from harness import cache, project
from harness.plan import Cell
from harness.prepared import Prepared
from harness.results import Result

KIND = "answers"


@cache_in_process
def harness_version() -> str:
    """Digest of everything that a verdict is made by: this package, and what runs in containers."""
    return cache.digest({name: cache.file_digest(file) for name, file in project.code().items()})


def key(cell: Cell, prepared: Prepared) -> str:
    """Digest of a cell and of its pins: archive, uv, wheels, image, QEMU, engine and harness."""
    tree = prepared.extension(cell).tree
    return cache.digest(
        harness_version(),
        cell.id,
        cell.sample.model_dump(mode="json"),
        # Named by the digest of what is in it.
        tree.name if tree else None,
        prepared.pins(cell),
    )


def kept(cell: Cell, prepared: Prepared) -> Result | None:
    """What was answered when everything was the same; None where nothing was."""
    path = cache.existing(KIND, key(cell, prepared), suffix=".json")
    if path is None or not cache.is_intact(path):
        return None
    try:
        return Result.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None  # of another version, or removed just now


def keep(cell: Cell, prepared: Prepared, result: Result) -> None:
    """Keep an answer; what could not be tested is none."""
    if result.outcome.was_tried:
        content = result.model_dump_json().encode()
        cache.replace(KIND, key(cell, prepared), content, suffix=".json")
