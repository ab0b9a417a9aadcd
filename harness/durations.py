"""What a cell and the preparation of its environment are predicted to take.

By what they took before, where a results file tells it; else by what cells take where nothing
special is done. A number that no machine can have measured counts for nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness import results, sharding
from harness.plan import Cell
from harness.platforms import Platform
from harness.results import Result
from harness.sharding import Preparations, Work

CELL = {False: 0.15, True: 1.2}
"""Seconds that a cell takes natively, and emulated."""

PREPARATION = {False: 3.0, True: 20.0}
"""Seconds that preparing an environment takes natively, and emulated, with nothing cached."""

NOTHING = 0.001
"""Seconds of a cell whose question does not arise."""

LONGEST = 7200.0
"""Seconds beyond which no measurement is believed: a container ends by itself by then."""

IsNative = Callable[[Platform], bool]
"""Whether the machine that will run a platform's cells does so without emulation."""

_Key = tuple[str, ...]

_HOW = {
    (platform, emulated): f"{platform}{'~' if emulated else ''}"
    for platform in Platform
    for emulated in (False, True)
}


def here(platform: Platform) -> bool:
    """For runs on this machine."""
    return platform.is_native


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Medians of what was measured, each with emulated and native ones apart."""

    cells: dict[_Key, float] = field(default_factory=dict)
    """By id; by platform and sample; by platform and kind."""
    preparations: dict[_Key, float] = field(default_factory=dict)
    """By environment, as far as a line of results tells it; by platform."""

    def cell(self, cell: Cell, is_native: IsNative = here) -> float:
        """Seconds that a cell takes."""
        if cell.not_applicable is not None:
            return NOTHING
        platform = cell.environment.interpreter.platform
        emulated = not is_native(platform)
        keys = _cell_keys(cell.id, platform, cell.extension, str(cell.sample.kind), emulated)
        return _first(self.cells, keys, CELL[emulated])

    def preparation(self, cell: Cell, is_native: IsNative = here) -> float:
        """Seconds that preparing a cell's environment takes."""
        interpreter = cell.environment.interpreter
        upgrade = cell.environment.upgrade
        emulated = not is_native(interpreter.platform)
        keys = _preparation_keys(
            (
                cell.environment.uv,
                interpreter.python,
                interpreter.release,
                str(interpreter.source),
                str(interpreter.flavour),
                cell.environment.base,
                str(upgrade.remedy) if upgrade else "",
            ),
            interpreter.platform,
            emulated,
        )
        # An upgrade makes the environment before it as well.
        return _first(self.preparations, keys, PREPARATION[emulated] * (2 if upgrade else 1))

    def work(
        self, cells: Iterable[Cell], is_native: IsNative = here
    ) -> tuple[list[Work], Preparations]:
        """What some cells take, as :mod:`harness.sharding` divides it."""
        work: list[Work] = []
        preparations: dict[str, float] = {}
        for cell in cells:
            needs = cell.not_applicable is None
            environment = cell.environment.id if needs else None
            work.append(
                Work(id=cell.id, environment=environment, seconds=self.cell(cell, is_native))
            )
            if environment is not None and environment not in preparations:
                preparations[environment] = self.preparation(cell, is_native)
        return work, preparations

    def divided(
        self, cells: Sequence[Cell], count: int, is_native: IsNative = here
    ) -> tuple[tuple[Cell, ...], ...]:
        """Some cells in ``count`` shards; see :func:`harness.sharding.divide`."""
        by_id = {cell.id: cell for cell in cells}
        shards = sharding.divide(*self.work(cells, is_native), count)
        return tuple(tuple(by_id[work.id] for work in shard) for shard in shards)

    def predicted(self, cells: Iterable[Cell], is_native: IsNative = here) -> float:
        """Seconds that some cells take on one machine, their preparation included."""
        return sharding.predicted(*self.work(cells, is_native))


def of(measured: Iterable[Result]) -> Durations:
    """The medians of some results."""
    cells, preparations = _Measured(), _Measured()
    for result in measured:
        # Under emulation the line names the emulator.
        emulated = result.pins.get("qemu") is not None
        platform, kind = result.platform, str(result.kind)
        took, prepared_in = _measured(result.took), _measured(result.prepared_in)
        if took is not None and result.outcome.was_tried:
            for key in _cell_keys(result.id, platform, result.extension, kind, emulated):
                cells.add(key, took)
        if prepared_in is not None:
            environment = (
                result.uv,
                result.python,
                result.release,
                str(result.source),
                str(result.flavour),
                result.base,
                str(result.remedy) if result.upgraded_from else "",
            )
            for key in _preparation_keys(environment, platform, emulated):
                preparations.add(key, prepared_in)
    return Durations(cells=cells.medians(), preparations=preparations.medians())


class _Measured:
    """What was measured, by what it is of; mostly, and for a million cells, once."""

    def __init__(self) -> None:
        self._first: dict[_Key, float] = {}
        self._all: dict[_Key, array[float]] = {}

    def add(self, key: _Key, seconds: float) -> None:
        if key not in self._first:
            self._first[key] = seconds
        else:
            self._all.setdefault(key, array("d", (self._first[key],))).append(seconds)

    def medians(self) -> dict[_Key, float]:
        """The medians, in place of what was measured."""
        self._first |= {key: median(several) for key, several in self._all.items()}
        return self._first


def read(path: Path | None) -> Durations:
    """What a results file tells, of whatever schema; without one, nothing.

    Raises :class:`harness.errors.ConfigurationError` for a file that is none.
    """
    return of(results.read(path)) if path is not None else Durations()


def spoken(seconds: float) -> str:
    """Such as ``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _measured(seconds: float | None) -> float | None:
    # What is not a number is in no order with any.
    return seconds if seconds is not None and 0 < seconds <= LONGEST else None


def _cell_keys(
    name: str, platform: Platform, sample: str, kind: str, emulated: bool
) -> tuple[_Key, ...]:
    """What to look a cell up by, the most telling first."""
    how = _HOW[platform, emulated]
    return (how, "id", name), (how, "sample", sample), (how, "kind", kind)


def _preparation_keys(environment: _Key, platform: Platform, emulated: bool) -> tuple[_Key, ...]:
    how = _HOW[platform, emulated]
    upgraded = "upgraded" if environment[-1] else ""
    return (how, *environment), (how, upgraded)


def _first(known: dict[_Key, float], keys: tuple[_Key, ...], default: float) -> float:
    return next((known[key] for key in keys if key in known), default)
