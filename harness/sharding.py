"""Cells divided among machines, so that all of them have about as much to do: pure.

A shard pays for preparing an environment once, however many of its cells it has. So an
environment's cells stay together where that is cheaper, and part where one shard would
otherwise be at work while the others have ended.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.errors import ConfigurationError

MOST = 1000
"""Shards of one run."""

SPREAD = 1.25
"""The longest shard takes no more than this many times the shortest, where that can be had."""

_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")

_PRECISION = 1000
"""Sums are of whole milliseconds, so that no order of adding up makes another division."""

_AIM = SPREAD - 0.01
"""What is aimed at, since whole milliseconds are rounded."""

_EFFORT = 3_000_000
"""Cells and groups that are looked at while a division is made better: a second or two."""

_STEPS = 24
"""Halvings of the search for the shortest longest shard."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of a run, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/12``; :class:`ConfigurationError` for what is no such thing."""
        found = _SHARD.fullmatch(text)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count <= MOST:
            raise ConfigurationError(
                f"--shard {text!r} is no part of a run",
                advice=f"Write it as 3/12, the third of twelve; there may be {MOST}.",
            )
        return cls(number=number, count=count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a cell is predicted to take."""

    id: str
    environment: str | None
    """What has to be prepared for it; None where nothing has."""
    seconds: float


Preparations = Mapping[str, float]
"""Seconds that preparing takes, by environment."""


def predicted(work: Iterable[Work], preparations: Preparations) -> float:
    """Seconds that some cells take on one machine, their environments' preparation included."""
    cells = list(work)
    needed = {w.environment for w in cells if w.environment is not None}
    return sum(w.seconds for w in cells) + sum(preparations[name] for name in sorted(needed))


def divide(
    work: Sequence[Work], preparations: Preparations, count: int
) -> tuple[tuple[Work, ...], ...]:
    """``count`` shards: each cell in one of them, within a shard in the order given.

    The same cells are divided in the same way whatever their order. The longest shard comes first.
    Of fewer cells than shards some shards stay empty.
    """
    if not 1 <= count <= MOST:
        raise ConfigurationError(
            f"{count} shards are asked for", advice=f"Ask for 1 to {MOST} of them."
        )
    groups = _groups(work, preparations)
    division = _Division(groups, _packed(groups, count), count)
    division.shorten_longest()
    division.lengthen_shortest()
    place = {w.id: number for number, w in enumerate(work)}
    return tuple(
        tuple(work[number] for number in sorted(map(place.__getitem__, ids)))
        for ids in division.ids()
    )


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The cells of one environment, the longest first."""

    preparation: int
    cells: tuple[str, ...]
    costs: tuple[int, ...]
    sums: tuple[int, ...]
    """What the first so many cells take, from none of them to all."""

    def cost(self, start: int, end: int) -> int:
        """What some of the cells take, prepared."""
        return self.preparation + self.sums[end] - self.sums[start]


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """Some cells of a group: from one to before another, by number."""

    group: int
    start: int
    end: int


_Packing = list[list[_Slice]]


def _groups(work: Iterable[Work], preparations: Preparations) -> list[_Group]:
    by_environment: dict[str, list[tuple[int, str]]] = {}
    for w in work:
        cost = max(0, round(w.seconds * _PRECISION))
        by_environment.setdefault(w.environment or "", []).append((-cost, w.id))
    made = []
    for environment, cells in by_environment.items():
        cells.sort()
        costs = tuple(-negative for negative, _ in cells)
        preparation = preparations[environment] if environment else 0
        made.append(
            _Group(
                preparation=max(0, round(preparation * _PRECISION)),
                cells=tuple(name for _, name in cells),
                costs=costs,
                sums=tuple(accumulate(costs, initial=0)),
            )
        )
    return sorted(made, key=lambda group: (-group.preparation, -group.sums[-1], group.cells[0]))


def _packed(groups: Sequence[_Group], count: int) -> _Packing:
    """A division whose longest shard is about as short as can be: searched for by halving."""
    everything = sum(group.cost(0, len(group.cells)) for group in groups)
    alone = max((group.cost(0, 1) for group in groups), default=0)
    low = max(alone, -(-everything // count))
    high = max(low, everything)  # in one shard of that length all has room
    best = _fill(groups, count, high)
    assert best is not None
    for _ in range(_STEPS):
        if low >= high:
            break
        middle = (low + high) // 2
        found = _fill(groups, count, middle)
        if found is None:
            low = middle + 1
        else:
            best, high = found, middle
    return best


def _fill(groups: Sequence[_Group], count: int, limit: int) -> _Packing | None:
    """Shards no longer than ``limit``, or None where so few do not hold everything."""
    shards: _Packing = []
    room: list[tuple[int, int]] = []
    """Of each shard, in ascending order: what is left of it, and its number."""
    rest = []
    for number, group in enumerate(groups):
        start, end = 0, len(group.cells)
        # What fills a shard by itself.
        while group.cost(start, end) > limit:
            fitting = group.sums[start] + limit - group.preparation
            cut = max(start + 1, bisect_right(group.sums, fitting) - 1)
            insort(room, (limit - group.cost(start, cut), len(shards)))
            shards.append([_Slice(group=number, start=start, end=cut)])
            if len(shards) > count:
                return None
            start = cut
        rest.append((-group.cost(start, end), number, start, end))
    for negative, number, start, end in sorted(rest):
        group, cost = groups[number], -negative
        while True:
            fits = bisect_left(room, (cost, -1))
            if fits < len(room):
                left, shard = room.pop(fits)
            elif len(shards) < count:
                left, shard = limit, len(shards)
                shards.append([])
            else:
                # It has to part: the shard with most room takes of it what it can.
                left, shard = room[-1]
                wanted = group.sums[end] - (left - group.preparation)
                cut = bisect_left(group.sums, wanted)
                if cut >= end:
                    return None
                room.pop()
                insort(room, (left - group.cost(cut, end), shard))
                shards[shard].append(_Slice(group=number, start=cut, end=end))
                end, cost = cut, group.cost(start, cut)
                continue
            insort(room, (left - cost, shard))
            shards[shard].append(_Slice(group=number, start=start, end=end))
            break
    return shards


@dataclass(frozen=True, kw_only=True)
class _Move:
    """Some cells of a group that could go from one shard to another, and what both take then."""

    group: int
    cells: tuple[int, ...]
    cost: int
    giver: int
    taker: int
    adds: int
    """To what all shards take together: the environment may have to be prepared once more."""


class _Division:
    """A division that is made better, one move at a time; each makes some shard shorter."""

    def __init__(self, groups: Sequence[_Group], packing: _Packing, count: int) -> None:
        self._groups = groups
        self._parts: list[dict[int, list[int]]] = [{} for _ in range(count)]
        for parts, slices in zip(self._parts, packing, strict=False):
            for s in slices:
                parts.setdefault(s.group, []).extend(range(s.start, s.end))
        self._sums = [
            {number: sum(groups[number].costs[c] for c in cells) for number, cells in parts.items()}
            for parts in self._parts
        ]
        self._loads = [
            sum(groups[number].preparation + took for number, took in sums.items())
            for sums in self._sums
        ]
        self._left = _EFFORT

    def ids(self) -> list[list[str]]:
        """The cells of each shard, of the longest first."""
        named = [
            [self._groups[number].cells[c] for number, cells in parts.items() for c in cells]
            for parts in self._parts
        ]
        order = sorted(range(len(named)), key=lambda n: (-self._loads[n], sorted(named[n])[:1]))
        return [named[n] for n in order]

    def shorten_longest(self) -> None:
        """Let the longest shard give to the shortest for as long as that makes it shorter."""
        while self._left > 0:
            longest = max(range(len(self._loads)), key=lambda n: (self._loads[n], -n))
            shortest = min(range(len(self._loads)), key=lambda n: (self._loads[n], n))
            most = self._loads[longest] - 1
            moves = [m for m in self._moves(longest, shortest, most, _any) if m.giver <= most]
            if not moves:
                return
            best = min(moves, key=lambda m: (max(m.giver, m.taker), m.adds, m.group))
            self._make(best, longest, shortest)

    def lengthen_shortest(self) -> None:
        """Let the shortest shard take of others, as long as one is much shorter than the longest.

        Nobody waits for the shortest; but what is predicted is not sure, and whoever gives is
        relieved. The longest does not get longer, and no more is prepared twice than it takes.
        """
        while self._left > 0:
            order = sorted(range(len(self._loads)), key=lambda n: (self._loads[n], n))
            shortest, longest = self._loads[order[0]], self._loads[order[-1]]
            if longest <= _AIM * shortest:
                return
            # What saves something would undo what was done here before.
            for adds in (_nothing, _something):
                for giver in reversed(order[1:]):
                    moves = [
                        m
                        for m in self._moves(giver, order[0], longest, adds)
                        if min(m.taker, m.giver + m.adds // 2) > shortest
                    ]
                    if moves:
                        best = max(moves, key=lambda m: (min(m.giver, m.taker), -m.group))
                        self._make(best, giver, order[0])
                        break
                else:
                    continue
                break
            else:
                return

    def _moves(
        self, giver: int, taker: int, most: int, adds: Callable[[int], bool]
    ) -> Iterator[_Move]:
        """What one shard could give another that then takes no more than ``most``.

        Of each of its groups all, or about what evens them out. ``adds`` says whether so much more
        for all shards together is wanted.
        """
        has, gets = self._loads[giver], self._loads[taker]
        self._left -= 1 + len(self._parts[giver])
        for number, cells in self._parts[giver].items():
            group = self._groups[number]
            again = 0 if number in self._parts[taker] else group.preparation
            total = self._sums[giver][number]
            if adds(again - group.preparation) and gets + again + total <= most:
                yield _Move(
                    group=number,
                    cells=tuple(cells),
                    cost=total,
                    giver=has - total - group.preparation,
                    taker=gets + again + total,
                    adds=again - group.preparation,
                )
            least = group.costs[cells[-1]]
            if len(cells) == 1 or not adds(again) or gets + again + least > most:
                continue
            self._left -= len(cells)
            wanted = min((has - gets - again) // 2, most - gets - again)
            chosen, moved = [], 0
            for c in cells[1:]:
                if moved + group.costs[c] <= wanted:
                    chosen.append(c)
                    moved += group.costs[c]
            if not chosen:
                chosen, moved = cells[-1:], least
            yield _Move(
                group=number,
                cells=tuple(chosen),
                cost=moved,
                giver=has - moved,
                taker=gets + again + moved,
                adds=again,
            )

    def _make(self, move: _Move, giver: int, taker: int) -> None:
        gone = set(move.cells)
        left = [c for c in self._parts[giver].pop(move.group) if c not in gone]
        took = self._sums[giver].pop(move.group)
        if left:
            self._parts[giver][move.group] = left
            self._sums[giver][move.group] = took - move.cost
        there = self._parts[taker].get(move.group, [])
        self._parts[taker][move.group] = sorted([*there, *move.cells])
        self._sums[taker][move.group] = self._sums[taker].get(move.group, 0) + move.cost
        self._loads[giver], self._loads[taker] = move.giver, move.taker


def _any(adds: int) -> bool:
    return True


def _nothing(adds: int) -> bool:
    return adds == 0


def _something(adds: int) -> bool:
    return adds > 0
