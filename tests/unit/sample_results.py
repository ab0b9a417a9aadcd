"""Results for tests that need some, whatever they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.outcome import Reason, Stage
from harness.results import Result, Writer
from harness.sources import Source

LIBPYTHON = "libpython3.13.so.1.0"


def made(
    sample: str = "sample",
    outcome: Reason = Reason.IMPORTS,
    message: str = "",
    *,
    uv: str = "0.7.6",
    source: Source = Source.UPSTREAM,
    **more: Any,
) -> Result:
    """A line about an extension, by default of the published archive, where it imports."""
    mark = "~replica" if source is Source.REPLICA else ""
    stage = Stage.IMPORT if outcome.was_tried else Stage.IMAGE
    fields: dict[str, Any] = {
        "id": f"{sample}-uv{uv}-cp313-20250517{mark}-x86_64-debian13",
        "uv": uv,
        "python": "3.13",
        "release": "20250517",
        "source": source,
        "link_model": "static",
        "platform": "x86_64",
        "base": "debian13",
        "extension": sample,
        "remedy": "none",
        "stage": stage,
        "outcome": outcome,
        "missing_library": LIBPYTHON if outcome is Reason.MISSING_LIBRARY else None,
        "message": message,
        "expected": "imports",
        "expected_library": None,
        "expected_because": "",
        "expected_link": None,
        "status": "as-expected",
        "seconds": 0.25,
        "evidence": {},
        "pins": {},
    }
    return Result.model_validate({**fields, **more})


def written(path: Path, lines: Sequence[Result]) -> Path:
    """A results file with these lines."""
    with Writer(path) as writer:
        for line in lines:
            writer.write(line)
    return path
