"""What earlier runs have measured: one JSON object a line, oldest first.

The file is not committed: of another machine's seconds nobody has any use, and a ratio without its
machine says little.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.speed.figures import Row, Scope, State
from benchmarks.speed.machine import Machine
from benchmarks.speed.reference import PROJECT
from benchmarks.speed.table import times
from harness.errors import ConfigurationError

FILE = PROJECT / "benchmarks" / "history.jsonl"

SHOWN = 5
"""Earlier runs that are shown."""


class Line(BaseModel):
    """One run of the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # One name for "schema" in the file; BaseModel has an attribute of that name.
    schema_version: Literal[1] = 1
    started: str
    """UTC, ISO 8601."""
    commit: str
    fast: bool
    """Whether only a part of the reference matrix was measured."""
    rounds: int
    machine: Machine
    load_after: float
    disk: int | None
    """Bytes of the images of this commit."""
    rows: tuple[Row, ...]

    def ratio(self, state: State) -> float | None:
        """To the floor, of this commit's own run on both platforms."""
        own = (r for r in self.rows if r.contestant == self.commit and r.scope is Scope.BOTH)
        return next((row.floor for row in own if row.state is state), None)


def read(path: Path) -> list[Line]:
    """The lines of a history, none where there is no file yet.

    Raises :class:`ConfigurationError` naming a line that is none.
    """
    if not path.exists():
        return []
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Line.model_validate_json(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigurationError(
                f"{path}:{number}: not a run of this benchmark: "
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                advice="Remove the line, or move the file away: a new one is begun.",
            ) from None
    return found


def append(path: Path, line: Line) -> None:
    """Add a run."""
    text = json.dumps(line.model_dump(mode="json", exclude_none=False), separators=(",", ":"))
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            advice="Name another file with --history.",
        ) from error


def comparable(lines: Sequence[Line], line: Line) -> list[Line]:
    """Of earlier runs those of the same cells on a machine like this one's."""
    return [
        other for other in lines if other.fast is line.fast and other.machine.is_like(line.machine)
    ]


def told(lines: Sequence[Line], line: Line) -> list[str]:
    """The last comparable runs and this one, a sentence for each; none where it is the first."""
    earlier = comparable(lines, line)[-SHOWN:]
    if not earlier:
        return []
    return [
        f"{one.started[:16]} {one.commit}: "
        + ", ".join(
            f"{state} {times(ratio)} x the floor"
            for state in (State.COLD, State.WARM, State.HOT)
            if (ratio := one.ratio(state)) is not None
        )
        for one in (*earlier, line)
        if any(one.ratio(state) is not None for state in State)
    ]
