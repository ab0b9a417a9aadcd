"""From what was measured to what is compared: pure arithmetic.

Each round measures everything once, side by side, so a ratio is taken within a round, and of the
rounds' ratios the median. Seconds are given for orientation; on another machine they are others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from pydantic import BaseModel, ConfigDict

from harness.platforms import Platform


class State(StrEnum):
    """In which way the cells are run, slowest first."""

    NAIVE = "naive"
    """A container for each cell that does everything."""
    COLD = "cold"
    """This project: no images, and nothing in the cache but what came over the network."""
    WARM = "warm"
    """Images and unpacked extensions are there, and nothing else of an earlier run."""
    HOT = "hot"
    """The same command once more, right after."""
    FLOOR = "floor"
    """Bare imports, with nothing around them."""


class Scope(StrEnum):
    """Which platforms' cells."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    BOTH = "both"

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms."""
        return tuple(Platform) if self is Scope.BOTH else (Platform(self.value),)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One measurement: wall seconds, and what else was seen."""

    wall: float
    took: Mapping[str, float] = field(default_factory=dict)
    """Seconds from a cell's begin to its end, by id, others at the same time; where they are
    told."""
    itself: Mapping[str, float] = field(default_factory=dict)
    """Seconds of a cell's import alone, by id, where whoever imports has measured them."""
    memory: int | None = None
    """Bytes of the largest process of the run, at its worst moment."""
    engine_memory: int | None = None
    """Bytes that the engine had at its worst moment."""


@dataclass(frozen=True, order=True, kw_only=True)
class What:
    """What a measurement is of."""

    contestant: str
    """A commit; empty for what does not depend on one."""
    state: State
    scope: Scope


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything, measured once."""

    taken: Mapping[What, Taken]
    bare: Mapping[str, float]
    """Seconds of each cell's bare import, by cell id."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the rounds have in common."""

    cpus: int
    cells: Mapping[str, Platform]
    """Platform of each cell, by id."""

    def of(self, scope: Scope) -> tuple[str, ...]:
        """Ids of the cells in a scope."""
        return tuple(name for name, p in self.cells.items() if p in scope.platforms)


class Row(BaseModel):
    """The figures of one thing, over all rounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contestant: str
    state: State
    scope: Scope
    cells: int
    wall: float
    """Seconds, median."""
    above: dict[Platform, float] = {}
    """Seconds that a cell takes beyond its import, median over cells and then over rounds; by
    platform. What the first cell of an environment waits for its container is in ``wall``."""
    naive: float | None = None
    """How many times as fast as the naive loop."""
    floor: float | None = None
    """How many times as long as the floor."""
    memory: int | None = None
    """Bytes; the most of all rounds, as with the engine's."""
    engine_memory: int | None = None

    @property
    def rate(self) -> float:
        """Cells a second."""
        return self.cells / self.wall


def rows(rounds: Sequence[Round], setting: Setting) -> list[Row]:
    """A row for each thing that was measured in all rounds, and for the floor, by scope."""
    return [_row(what, rounds, setting) for what in _things(rounds)]


def _things(rounds: Sequence[Round]) -> list[What]:
    measured = set.intersection(*({*r.taken} for r in rounds))
    scopes = {what.scope for what in measured}
    if all(r.bare for r in rounds):
        measured |= {What(contestant="", state=State.FLOOR, scope=scope) for scope in scopes}
    if {Scope.X86_64, Scope.AARCH64} <= {w.scope for w in measured if w.state is State.NAIVE}:
        measured.add(What(contestant="", state=State.NAIVE, scope=Scope.BOTH))
    order = [*Scope], [*State]
    return sorted(
        measured,
        key=lambda w: (order[0].index(w.scope), order[1].index(w.state), w.contestant),
    )


def _row(what: What, rounds: Sequence[Round], setting: Setting) -> Row:
    def ratio(of: Callable[[Round], float | None]) -> float | None:
        found = [value for r in rounds if (value := of(r)) is not None]
        return median(found) if len(found) == len(rounds) else None

    def wall(r: Round, state: State = what.state, contestant: str = what.contestant) -> float:
        found = _wall(r, What(contestant=contestant, state=state, scope=what.scope), setting)
        assert found is not None  # else it would be none of the things
        return found

    def to_naive(r: Round) -> float | None:
        slow = _wall(r, What(contestant="", state=State.NAIVE, scope=what.scope), setting)
        return slow and slow / wall(r)

    def to_floor(r: Round) -> float | None:
        least = _wall(r, What(contestant="", state=State.FLOOR, scope=what.scope), setting)
        return least and wall(r) / least

    above = {
        platform: value
        for platform in what.scope.platforms
        if (value := ratio(lambda r, p=platform: _above(r, what, p, setting))) is not None  # type: ignore[misc]
    }
    memory, engine_memory = (
        max(filter(None, (getattr(r.taken.get(what), name, None) for r in rounds)), default=None)
        for name in ("memory", "engine_memory")
    )
    return Row(
        contestant=what.contestant,
        state=what.state,
        scope=what.scope,
        cells=len(setting.of(what.scope)),
        wall=median(wall(r) for r in rounds),
        above=above,
        naive=ratio(to_naive),
        floor=ratio(to_floor),
        memory=memory,
        engine_memory=engine_memory,
    )


def _wall(r: Round, what: What, setting: Setting) -> float | None:
    """Seconds that something took in a round; of the floor, and of both platforms' loops, the sum.

    The naive loop is measured for each platform by itself: together they are one after the other.
    """
    if what in r.taken:
        return r.taken[what].wall
    if what.state is State.FLOOR and r.bare:
        return sum(r.bare[name] for name in setting.of(what.scope)) / setting.cpus
    if what.state is State.NAIVE and what.scope is Scope.BOTH:
        parts = [
            r.taken.get(What(contestant="", state=State.NAIVE, scope=scope))
            for scope in (Scope.X86_64, Scope.AARCH64)
        ]
        return sum(part.wall for part in parts if part) if all(parts) else None
    return None


def _above(r: Round, what: What, platform: Platform, setting: Setting) -> float | None:
    """Seconds that a cell took beyond its import alone; beyond the bare one, where that is not
    known, which starts an interpreter too.
    """
    taken = r.taken.get(what)
    names = [name for name in setting.of(what.scope) if setting.cells[name] is platform]
    if taken is None or not r.bare or any(name not in taken.took for name in names):
        return None
    return median(taken.took[name] - taken.itself.get(name, r.bare[name]) for name in names)


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What this project wants to be able to say of itself; a limit, and what was measured."""

    text: str
    limit: float
    found: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is so."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def aims(found: Sequence[Row], contestant: str) -> list[Aim]:
    """The aims, as far as a commit was measured for them."""
    by = {(row.state, row.scope): row for row in found if row.contestant == contestant}
    wanted: list[tuple[str, float, float | None, bool]] = []
    for scope in (Scope.X86_64, Scope.AARCH64):
        if row := by.get((State.WARM, scope)):
            wanted.append((f"warm, {scope}: times as fast as the naive loop", 10, row.naive, True))
    for state, limit in ((State.WARM, 1.5), (State.HOT, 2)):
        if row := by.get((state, Scope.BOTH)):
            wanted.append((f"{state}: times the floor", limit, row.floor, False))
    if row := by.get((State.COLD, Scope.BOTH)):
        wanted.append(("cold: seconds, on two CPUs", 180, row.wall, False))
    for scope, limit in ((Scope.X86_64, 0.015), (Scope.AARCH64, 0.060)):
        if row := by.get((State.WARM, scope)):
            above = row.above.get(Platform(scope.value))
            wanted.append((f"warm, {scope}: seconds above the import", limit, above, False))
    return [
        Aim(text=text, limit=limit, found=value, at_least=at_least)
        for text, limit, value, at_least in wanted
        if value is not None
    ]
