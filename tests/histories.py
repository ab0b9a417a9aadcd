"""Searches generated histories: ``python -m tests.histories [COUNT] [SEED] [--mutants]``.

Each history has a hidden truth, and what the search says of it is held against that truth. Prints
how the searches ended and how many probes they took. Ends with 1 where a report was false, a search
did not end, or took more than is allowed. A number and a seed make the same history again.
``--mutants`` shows instead how soon each of a list of wrong searches is noticed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.bisection import search

GOOD, BAD, UNTESTABLE = "good", "bad", "untestable"
OTHER = {GOOD: BAD, BAD: GOOD}
ENDINGS = ("Found", "Range", "NotMonotonic", "WrongEnds", "Flaky", "refused")
MOST = 5000


@dataclass(frozen=True, kw_only=True)
class History:
    """What candidates really are, and what is asked about them.

    ``start`` is what the first one is, ``flips`` the candidates from which on it is the other.
    ``untestable`` are stretches, apart from each other; a flaky one answers as listed, over and
    over. ``known`` have answered before the search begins, some of them several times.
    """

    kind: str
    good: int
    bad: int
    options: Mapping[str, Any]
    start: str
    flips: tuple[int, ...] = ()
    untestable: tuple[range, ...] = ()
    flaky: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    known: tuple[int, ...] = ()

    @property
    def low(self) -> int:
        return min(self.good, self.bad)

    @property
    def high(self) -> int:
        return max(self.good, self.bad)

    def said(self, index: int) -> str:
        """What one of the two ends is said to be."""
        return GOOD if index == self.good else BAD

    def truth(self, index: int) -> str:
        """What a candidate is, if it is not flaky."""
        if any(index in stretch for stretch in self.untestable):
            return UNTESTABLE
        return self.start if bisect_right(self.flips, index) % 2 == 0 else OTHER[self.start]

    def answer(self, index: int, times: int) -> str:
        """What a candidate answers that has answered so often before."""
        if given := self.flaky.get(index):
            return given[times % len(given)]
        return self.truth(index)

    @property
    def stretches(self) -> list[range]:
        """Untestable ones that matter: those between the ends."""
        inside = (
            range(max(stretch.start, self.low), min(stretch.stop, self.high + 1))
            for stretch in self.untestable
        )
        return [stretch for stretch in inside if stretch]

    @property
    def flips_inside(self) -> list[int]:
        return [flip for flip in self.flips if self.low < flip <= self.high]

    @property
    def is_monotonic(self) -> bool:
        """One change, in the direction that is asked about, and nothing flaky."""
        if self.flaky or len(self.flips_inside) != 1:
            return False
        before = bisect_right(self.flips, self.low) % 2 == 0
        return (self.start if before else OTHER[self.start]) == self.said(self.low)


# -- making histories --


def generate(random: Random) -> History:
    """A history of any kind."""
    kind = random.choices(list(KINDS), [2 if kind in RARE else 3 for kind in KINDS])[0]
    count = _length(random)
    if count < 2 or random.random() < 0.01:
        return _refused(random, count)
    low, high = 0, count - 1
    if random.random() < 0.2:
        low, high = sorted(random.sample(range(count), 2))
    everything = high - low < 60 and random.random() < 0.15
    fix = random.random() < 0.5
    options = {
        "count": count,
        "direction": "fix" if fix else "break",
        "jobs": random.choice([1, 1, 1, 2, 3, 4]),
        "everything": everything,
        "check": random.choice([0, 0, 0, 1, 3, 8]),
        "retests": random.choice([0, 1, 1, 1, 2, 3]),
    }
    known: tuple[int, ...] = ()
    if random.random() < 0.15:
        known = tuple(random.choices(range(count), k=random.choice([1, 3, 12, 40])))
    start = BAD if fix else GOOD
    made = KINDS[kind](random, low, high)
    if made.pop("turned", False):
        start = OTHER[start]
    good, bad = (high, low) if fix else (low, high)
    return History(kind=kind, good=good, bad=bad, options=options, start=start, known=known, **made)


def _length(random: Random) -> int:
    most = random.choices([2, 12, 40, 300, MOST], [1, 5, 7, 9, 8])[0]
    return random.randint(0, most)


def _refused(random: Random, count: int) -> History:
    """Something that is no question: ends that are the same, out of order, or not there."""
    good, bad = random.choice([(0, 0), (0, count), (-1, 0), (max(1, count - 1), 0)])
    options = {"count": count, "direction": "break", "everything": False, "check": 0}
    return History(kind="no question", good=good, bad=bad, options=options, start=GOOD)


def _flip(random: Random, low: int, high: int) -> int:
    return random.choice([random.randint(low + 1, high)] * 4 + [low + 1, high])


def _stretch(random: Random, low: int, high: int, around: int) -> range:
    """A stretch over or beside a place, mostly short."""
    most = random.choice([1, 2, 5, 20, max(1, (high - low) // 2)])
    start = around - random.randint(0, most)
    return range(max(low, start), min(high + 1, start + random.randint(1, most)))


def _apart(stretches: list[range]) -> tuple[range, ...]:
    """The same candidates, in stretches that neither overlap nor touch."""
    found: list[range] = []
    for stretch in sorted((one for one in stretches if one), key=lambda one: one.start):
        if found and stretch.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, stretch.stop))
        else:
            found.append(stretch)
    return tuple(found)


def _monotonic(random: Random, low: int, high: int) -> dict[str, Any]:
    return {"flips": (_flip(random, low, high),)}


def _around_the_boundary(random: Random, low: int, high: int) -> dict[str, Any]:
    flip = _flip(random, low, high)
    return {"flips": (flip,), "untestable": _apart([_stretch(random, low, high, flip)])}


def _at_the_ends(random: Random, low: int, high: int) -> dict[str, Any]:
    flip = _flip(random, low, high)
    if random.random() < 0.3:  # little is left in the middle
        size = random.randint(1, max(1, (high - low) // 4))
        rest = range(max(low, flip - size), min(high, flip + size))
        stretches = [range(low, rest.start), range(rest.stop, high + 1)]
    else:
        most = max(1, random.choice([3, (high - low) // 4, (high - low) // 2]))
        left, right = random.randint(0, most), random.randint(0, most)
        stretches = [range(low, low + left), range(high + 1 - right, high + 1)]
    return {"flips": (flip,), "untestable": _apart(stretches)}


def _clusters(random: Random, low: int, high: int) -> dict[str, Any]:
    places = [random.randint(low, high) for _ in range(random.randint(1, 8))]
    return {
        "flips": (_flip(random, low, high),),
        "untestable": _apart([_stretch(random, low, high, place) for place in places]),
    }


def _there_and_back(random: Random, low: int, high: int) -> dict[str, Any]:
    number = random.choice([2, 3, 3, 3, 5, 5, 7, 9])
    flips = sorted({random.randint(low + 1, high) for _ in range(number)})
    places = [random.randint(low, high) for _ in range(random.choice([0, 0, 1, 4]))]
    return {
        "flips": tuple(flips),
        "untestable": _apart([_stretch(random, low, high, place) for place in places]),
        "turned": random.random() < 0.1,
    }


def _an_island(random: Random, low: int, high: int) -> dict[str, Any]:
    """A short time of the other answer, away from the change."""
    places = sorted(random.randint(low + 1, high) for _ in range(2))
    size = random.choice([1, 2, max(1, (high - low) // 10), max(1, (high - low) // 4)])
    return {"flips": tuple(sorted({*places, places[0] + size}))}


def _noise(random: Random, low: int, high: int) -> dict[str, Any]:
    """Anything, as the releases in the middle of a rework may be."""
    stop = min(high + 1, low + 60)
    flips = [index for index in range(low + 1, stop) if random.random() < 0.3]
    untestable = [range(index, index + 1) for index in range(low, stop) if random.random() < 0.3]
    return {"flips": tuple(flips), "untestable": _apart(untestable)}


def _wrong_ends(random: Random, low: int, high: int) -> dict[str, Any]:
    flips = random.choice([(), (), (_flip(random, low, high),)])
    places = random.choice([[], [low], [high], [low, high]])
    return {
        "flips": flips,
        "untestable": _apart([_stretch(random, low, high, place) for place in places]),
        "turned": random.random() < 0.7,
    }


def _untestable(random: Random, low: int, high: int) -> dict[str, Any]:
    """Next to nothing can be tested."""
    left = [random.randint(low, high) for _ in range(random.choice([0, 0, 1, 2, 3]))]
    edges = [low - 1, *sorted(left), high + 1]
    return {
        "flips": (_flip(random, low, high),),
        "untestable": _apart([range(one + 1, other) for one, other in pairwise(edges)]),
    }


def _flaky(random: Random, low: int, high: int) -> dict[str, Any]:
    """Some answer now so and now otherwise; or all do."""
    made = _clusters(random, low, high) if random.random() < 0.3 else _monotonic(random, low, high)
    flip = made["flips"][0]
    size = high - low + 1
    near = [flip - 1, flip, low, high]
    number = random.choice([1, 2, 10, 100])
    places = {random.choice([random.randint(low, high), *near]) for _ in range(number)}
    if size < 100 and random.random() < 0.2:
        places = set(range(low, high + 1))
    answers = random.choice([(GOOD, BAD), (GOOD, GOOD, GOOD, BAD), (GOOD, BAD, UNTESTABLE)])
    flaky = {
        place: tuple(random.choice(answers) for _ in range(random.randint(2, 6)))
        for place in places
    }
    return {**made, "flaky": flaky}


KINDS = {
    "monotonic": _monotonic,
    "untestable around the boundary": _around_the_boundary,
    "untestable at the ends": _at_the_ends,
    "untestable in clusters": _clusters,
    "there and back": _there_and_back,
    "an island": _an_island,
    "noise": _noise,
    "wrong ends": _wrong_ends,
    "next to nothing testable": _untestable,
    "flaky": _flaky,
}
RARE = ("noise", "wrong ends", "next to nothing testable")


# -- searching them --


@dataclass(frozen=True, kw_only=True)
class Searched:
    """How a search went: ``probes`` are the candidates it had asked, ``asked`` counts re-tests."""

    ending: str
    probes: int = 0
    asked: int = 0
    steps: int = 0
    above: int | None = None
    """Probes above log2 of the number of candidates, rounded up, where that is a measure."""


class _Run:
    """One search, from what is known beforehand to its ending."""

    def __init__(self, history: History, module: ModuleType) -> None:
        self.history = history
        self.module = module
        options = dict(history.options)
        options["direction"] = module.Direction(options["direction"])
        self.question = module.Question(good=history.good, bad=history.bad, **options)
        self.answers: dict[int, list[Any]] = {}
        self.log: list[int] = []
        """Who answered, in turn; all of a step's follow one another."""
        self.steps: list[tuple[int, Any]] = []
        """How long the log was, and what was asked then."""
        for index in history.known:
            self.put(index)
        self.before = len(self.log)
        self.bound = _bound(history, self.question.jobs)

    @property
    def probes(self) -> int:
        """How many candidates the search has had asked, re-tests aside."""
        return len(set(self.log[self.before :]) - set(self.history.known))

    def put(self, index: int) -> None:
        """Have a candidate answer."""
        given = self.answers.setdefault(index, [])
        given.append(self.module.Answer(self.history.answer(index, len(given))))
        self.log.append(index)

    def go(self) -> Any:
        """Search on to the end; every step is looked at."""
        # Each step asks something for the first time, or again as often as is allowed.
        size = self.history.high - self.history.low + 1
        most = size * (1 + self.question.retests)
        for _ in range(most + 1):
            decision = self.module.decide(self.question, self.answers)
            if not isinstance(decision, self.module.Step):
                return decision
            self.look_at(decision)
            self.steps.append((len(self.log), decision))
            for index in decision.ask:
                self.put(index)
            assert self.probes <= self.bound, f"more than {self.bound} probes"
        raise AssertionError(f"no end after {most} steps")

    def look_at(self, step: Any) -> None:
        """A step asks what it may, nothing twice but to test it again, and was foreseen."""
        history, question = self.history, self.question
        assert 1 <= len(step.ask) <= question.jobs, "too many at once"
        assert len(set(step.ask)) == len(step.ask), "the same twice at once"
        for index in (*step.ask, *step.likely):
            assert history.low <= index <= history.high, f"{index} is not between the ends"
        for index in step.ask:
            given = [answer.value for answer in self.answers.get(index, ())]
            assert not given or "again" in step.why, f"{index} is asked twice"
            in_vain = next((at for at, one in enumerate(given) if one != UNTESTABLE), 0)
            assert len(given) - in_vain <= question.retests, f"{index} is asked too often"
        for index in step.likely:
            assert index not in self.answers, f"{index} is likely, but has answered"
            assert index not in step.ask, f"{index} is likely, but is asked now"
        if self.steps and not history.known and not history.flaky:
            former = self.steps[-1][1]
            sides = [history.truth(index) for index in sorted(former.ask)]
            if UNTESTABLE not in sides and sides == sorted(sides, key=self.rank):
                fresh = {index for index in step.ask if index not in self.answers}
                assert fresh <= set(former.likely), f"{fresh} were not foreseen"

    def rank(self, answer: str) -> bool:
        return answer != self.history.said(self.history.low)


def search_through(history: History, random: Random, module: ModuleType = search) -> Searched:
    """Search, and hold the report against the truth; AssertionError says what is wrong with it."""
    try:
        run = _Run(history, module)
    except ValueError:
        assert history.kind == "no question", "a question was refused"
        return Searched(ending="refused")
    assert history.kind != "no question", "what is no question was not refused"
    ending = run.go()
    _hold_against_truth(run, ending)
    _resume(run, ending, random)
    _give_up(run, random)
    jobs = run.question.jobs
    most = _most_steps(history, jobs)
    above = None
    if most is not None:
        assert len(run.steps) <= most, f"{len(run.steps)} steps, where {most} are allowed"
        if jobs == 1 and not run.question.check:
            above = run.probes - _rounds_of(2, history.high - history.low + 1)
            assert above <= 3, "more probes than was promised"
    return Searched(
        ending=type(ending).__name__,
        probes=run.probes,
        asked=len(run.log) - run.before,
        steps=len(run.steps),
        above=above,
    )


def _sides(run: _Run) -> dict[int, str]:
    """What testable candidates between the ends answered, in order."""
    return {
        index: next(one.value for one in given if one != UNTESTABLE)
        for index, given in sorted(run.answers.items())
        if run.history.low <= index <= run.history.high and set(given) != {UNTESTABLE}
    }


def _changes(sides: Mapping[int, str]) -> list[tuple[int, int]]:
    return [(one, other) for one, other in pairwise(sides) if sides[one] != sides[other]]


def _hold_against_truth(run: _Run, ending: Any) -> None:
    """Everything that an ending says was really answered, and says all that has to be said."""
    history, question, answers = run.history, run.question, run.answers
    both_ways = [
        index
        for index, given in answers.items()
        if {GOOD, BAD} <= set(given) and history.low <= index <= history.high
    ]
    kind = type(ending).__name__
    assert (kind == "Flaky") == bool(both_ways), f"{kind}, but both ways: {both_ways}"
    sides = _sides(run)
    changes = _changes(sides)
    if kind == "Flaky":
        assert ending.index in both_ways, "it was not flaky"
        assert ending.index in history.flaky, "the truth is not flaky"
        _counted(ending.counts, answers[ending.index])
    elif kind == "WrongEnds":
        _wrong(run, ending, sides)
    else:
        assert set(answers) >= {question.good, question.bad}, "an end was not looked at"
        transitions = ending.transitions if kind == "NotMonotonic" else [ending]
        assert [(one.last, one.first) for one in transitions] == changes, (
            f"the changes seen are {changes}"
        )
        assert (kind == "NotMonotonic") == (len(changes) > 1), f"{kind}, but {changes}"
        for transition in transitions:
            _narrowed(run, transition)
        if kind == "NotMonotonic":
            for one in transitions:
                assert (one.was, one.becomes) == (sides[one.last], sides[one.first]), "wrong sides"
        else:
            assert sides[ending.last] == history.said(history.low), "it changes the other way"
            assert (kind == "Found") == (ending.first == ending.last + 1), "found what was not"
    if question.everything and kind != "Flaky":
        assert set(answers) >= set(range(history.low, history.high + 1)), "something was left out"
    if history.is_monotonic and not history.stretches:
        (flip,) = history.flips_inside
        assert kind == "Found", f"{kind}, but it is monotonic"
        assert (ending.last, ending.first) == (flip - 1, flip), "the wrong candidate"
    elif history.is_monotonic:
        _stepped_around(history, ending)


def _counted(counts: Any, given: list[Any]) -> None:
    seen = Counter(answer.value for answer in given)
    assert (counts.good, counts.bad, counts.untestable) == (seen[GOOD], seen[BAD], seen[UNTESTABLE])


def _narrowed(run: _Run, transition: Any) -> None:
    """A change lies between two that were asked again, with nothing testable known between."""
    answers = run.answers
    for side in (transition.last, transition.first):
        assert len(answers[side]) > run.question.retests, "a side was not asked again"
    untestable = tuple(getattr(transition, "untestable", ()))
    unasked = tuple(getattr(transition, "unasked", ()))
    between = range(transition.last + 1, transition.first)
    assert sorted(untestable + unasked) == list(between), "some in between are not accounted for"
    assert all(set(answers.get(index, ())) == {UNTESTABLE} for index in untestable), "not asked"
    assert not set(unasked) & set(answers), "asked all the same"
    if unasked:
        assert {between[0], between[-1]} <= set(untestable), "not closed in from both sides"
        assert len(unasked) > len(untestable), "so few could have been asked"


def _wrong(run: _Run, ending: Any, sides: Mapping[int, str]) -> None:
    """The ends are told as they answered, and are indeed not what they were said to be."""
    history = run.history
    as_said = []
    for end in (ending.good, ending.bad):
        assert end.counts != run.module.Counts(), "an end was not looked at"
        _counted(end.counts, run.answers[end.index])
        near = min(sides, key=lambda index: abs(index - end.index), default=None)
        assert end.nearest == near, f"{near} is nearest"
        answer = None if near is None else sides[near]
        assert end.answer == answer, "what is nearest answered otherwise"
        as_said.append(answer == history.said(end.index))
        if near == end.index and not as_said[-1]:
            assert len(run.answers[end.index]) > run.question.retests, "the end was not asked again"
    assert not all(as_said), "the ends are as was said"
    if run.question.everything:
        assert len(_changes(sides)) < 2, "changes are kept back"


def _stepped_around(history: History, ending: Any) -> None:
    """What is untestable in one place is no reason to know less than can be known."""
    (flip,) = history.flips_inside
    # Testable ones on both sides, or there is no change to be seen.
    testable = [index for index in _beside(history) if history.truth(index) != UNTESTABLE]
    before = [index for index in testable if index < flip]
    after = [index for index in testable if index >= flip]
    kind = type(ending).__name__
    if not before or not after:
        assert kind == "WrongEnds", "of one side nothing can be known"
        return
    inside = history.stretches
    ends = [one for one in inside if history.low in one or history.high in one]
    if ends == inside and len(inside) == 2:
        # Both ends are: what lies between may be too little for jumps to hit.
        jumps = [1 << power for power in range((history.high - history.low).bit_length())]
        hits = {history.low + jump for jump in jumps} | {history.high - jump for jump in jumps}
        if not hits & set(range(before[0], after[-1] + 1)):
            return
    if ends == inside or len(inside) == 1:
        expected = "Found" if after[0] == before[-1] + 1 else "Range"
        assert kind == expected, "a stretch in one place was not stepped around"
        assert (ending.last, ending.first) == (before[-1], after[0]), "not closed in"


def _beside(history: History) -> list[int]:
    """The ends, what is beside each stretch, and both sides of the change, in order."""
    (flip,) = history.flips_inside
    places = {history.low, history.high, flip - 1, flip}
    for stretch in history.stretches:
        places |= {stretch.start - 1, stretch.stop}
    return sorted(index for index in places if history.low <= index <= history.high)


def _resume(run: _Run, ending: Any, random: Random) -> None:
    """Broken off anywhere, also in the middle of a step, it goes on and ends as it would have."""
    if not run.steps:
        return
    start, step = random.choice(run.steps)
    done = random.sample(step.ask, random.randint(0, len(step.ask) - 1))
    again = _Run(run.history, run.module)
    for index in run.log[run.before : start]:
        again.put(index)
    for index in done:
        again.put(index)
    if run.history.flaky and type(again.module.decide(again.question, again.answers)) is (
        again.module.Flaky
    ):
        return  # what is left of the step is not needed any more
    if not run.history.known and not run.question.everything:
        wanted = again.module.decide(again.question, again.answers)
        left = tuple(index for index in step.ask if index not in done)
        assert wanted.ask == left, f"goes on with {wanted.ask} instead of {left}"
    last = again.go()
    if type(ending).__name__ == "Flaky":
        assert type(last).__name__ == "Flaky", "ends otherwise after it was broken off"
    elif not run.history.known or run.question.jobs == 1:
        assert last == ending, "ends otherwise after it was broken off"
        assert sorted(again.log) == sorted(run.log), "was not resumed with the same candidates"


def _give_up(run: _Run, random: Random) -> None:
    """What is known when it is cancelled is what was answered until then."""
    stop = random.randint(0, len(run.log))
    early = _Run(run.history, run.module)
    early.answers = {}
    for index in run.log[:stop]:
        early.put(index)
    told = early.module.cancelled(early.question, early.answers)
    flaky = {index for index, given in early.answers.items() if {GOOD, BAD} <= set(given)}
    early.answers = {index: given for index, given in early.answers.items() if index not in flaky}
    seen = [(one.last, one.first) for one in told.transitions]
    assert seen == _changes(_sides(early)), "what is known so far is told wrongly"


def _rounds_of(parts: int, size: int) -> int:
    """How often a size has to be split into so many parts until one is left."""
    rounds = 0
    while parts**rounds < size:
        rounds += 1
    return rounds


def _bound(history: History, jobs: int) -> int:
    """How many candidates a search may have asked; a timeline has them all asked.

    Where all can be tested and there is one change, one at a time: log2 of the number of
    candidates, rounded up, and 2. Each further change costs as much again, each stretch of
    untestable ones four times the log2 of its length.
    """
    size = history.high - history.low + 1
    if history.options["everything"]:
        return size
    halves = _rounds_of(2, size - 1)
    changes = 1 if history.is_monotonic else 1 + len(history.flips_inside) + 2 * len(history.flaky)
    around = sum(4 * len(stretch).bit_length() + 2 for stretch in history.stretches)
    check: int = history.options["check"]
    return 2 + (changes * halves + around) * jobs + check


def _most_steps(history: History, jobs: int) -> int | None:
    """How many steps a search may take, where all can be tested and there is one change."""
    if not history.is_monotonic or history.stretches or history.options["everything"]:
        return None
    splits = _rounds_of(jobs + 1, history.high - history.low)
    check, retests = history.options["check"], history.options["retests"]
    if jobs == 1:
        return 2 + splits + 2 * int(retests) + int(check)
    return 1 + splits + int(retests) + -(-int(check) // jobs)


# -- searches that are wrong --

MUTANTS = {
    "the bad end is believed": ("list(ends), ", "list(ends)[:1], "),
    "a wrong end is reported at once": (
        "_again(question, known, contradicting,",
        "_again(question, known, [],",
    ),
    "nothing stands in for an untestable end": (
        "yield from _inwards(question, known, end, ends[end])",
        "yield from ()",
    ),
    "the first end is not tried again": (
        "(question.good, question.bad, question.good)",
        "(question.good, question.bad)",
    ),
    "no closing in on an untestable end": ("between = range(low + 1, high)", "between = range(0)"),
    "a neighbour is never asked": (
        "start, low = last + 1, last + 1",
        "start, low = last + 2, last + 2",
    ),
    "a third instead of half": (
        "turn * (size + 1) // (number + 1) - 1",
        "turn * (size + 1) // (number + 2)",
    ),
    "more jobs are of no use": ("range(left), question.jobs)", "range(left), 1)"),
    "untestable is bad": ("if answer is Answer.UNTESTABLE:", "if answer is None:"),
    "from an untestable one to the next": ("return max(2, len(stretch))", "return 1"),
    "short stretches are not asked": ("few = unasked if", "few = [] if"),
    "long stretches are asked": ("unasked if len(unasked) <=", "unasked if len(unasked) <= 100 *"),
    "sides are not asked again": ("(index) <= question.retests", "(index) < question.retests"),
    "sides are asked once too often": (
        "(index) <= question.retests",
        "(index) <= question.retests + 1",
    ),
    "a flaky one is not noticed": (
        "if len(given) > 1 and Answer.GOOD in given",
        "if not given and Answer.GOOD in given",
    ),
    "untestable once is flaky": (
        "len(given) > 1 and Answer.GOOD in given and Answer.BAD in given",
        "len(set(given)) > 1",
    ),
    "a contradicting sample is not followed": (
        "                    break\n        yield from _settle(question, known)\n",
        "                    return _report(question, known, sample)\n",
    ),
    "one sample too many": ("len(sample) < question.check", "len(sample) <= question.check"),
    "other answers are not looked at": (
        "    known.tell_all()\n    if not _is_as_said",
        "    if not _is_as_said",
    ),
    "other answers are not followed": (
        "    yield from _settle(question, known)\n    return _report(",
        "    return _report(",
    ),
    "answers outside of the ends count": (
        "if self._question.low <= index <= self._question.high:",
        "if True:",
    ),
    "only the first change is narrowed": (
        "for change in changes if (found",
        "for change in changes[:1] if (found",
    ),
    "only the last change is reported": (
        "NotMonotonic(transitions=transitions,",
        "NotMonotonic(transitions=transitions[-1:],",
    ),
    "a range passes for found": ("if change.adjacent:", "if True:"),
    "what was not asked passes for untestable": (
        "untestable=change.untestable,",
        "untestable=change.untestable + change.unasked,",
    ),
    "a timeline leaves the last one out": (
        "known.unasked(question.low - 1, question.high + 1)",
        "known.unasked(question.low - 1, question.high)",
    ),
    "a timeline keeps to one change": ("question.everything and len(known", "0 and len(known"),
    "a step is begun again": ("return replace(step, ask=missing)", "return step"),
    "what is known changes the order": (
        "    course = _course(question, known)",
        "    known.tell_all()\n    course = _course(question, known)",
    ),
    "one half is not foreseen": ("range(len(order) + 1)", "range(len(order))"),
    "too many at once": ("tuple(ask[: question.jobs])", "tuple(ask)"),
    "ends in any order": ("if (self.good < self.bad) is not (", "if 0 and ("),
    "what is known so far is the first change": (
        "transitions=_transitions(known),\n",
        "transitions=_transitions(known)[:1],\n",
    ),
}
"""What is wrong with each, and the change of text that makes it so."""


def mutant(name: str) -> ModuleType:
    """The search with something wrong; ValueError where its text is not that any more."""
    old, new = MUTANTS[name]
    source = Path(search.__file__).read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise ValueError(f"{old!r} is {source.count(old)} times in {search.__file__}")
    module = ModuleType("mutant")
    # Where dataclasses look for what annotations mean.
    sys.modules[module.__name__] = module
    exec(compile(source.replace(old, new), name, "exec"), module.__dict__)
    return module


def noticed(module: ModuleType, most: int, seed: int = 0) -> tuple[int, str] | None:
    """How many histories it takes to see that a search is wrong, and what is seen; None: more."""
    for number in range(most):
        history, random = numbered(seed, number)
        try:
            search_through(history, random, module)
        except AssertionError as error:
            return number + 1, str(error)
        except Exception as error:
            return number + 1, repr(error)
    return None


# -- as a program --


def numbered(seed: int, number: int) -> tuple[History, Random]:
    """A history, and what else is left to chance about it."""
    random = Random(f"{seed}/{number}")
    return generate(random), random


def show_mutants(count: int, seed: int) -> int:
    """How soon each is noticed; the exit code."""
    table = Table("what is wrong", "histories", "what is seen")
    missed = 0
    for name in MUTANTS:
        seen = noticed(mutant(name), count, seed)
        missed += seen is None
        table.add_row(name, *((str(seen[0]), seen[1]) if seen else (f"> {count}", "nothing")))
    Console(width=120).print(table)
    print(f"{len(MUTANTS)} wrong searches, {missed} not noticed")
    return int(missed > 0)


def main(count: int, seed: int) -> int:
    """Run; the exit code."""
    start = time.monotonic()
    endings: dict[str, list[Searched]] = defaultdict(list)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    findings = 0
    for number in range(count):
        history, random = numbered(seed, number)
        try:
            done = search_through(history, random)
        except Exception:
            findings += 1
            if findings <= 5:
                print(f"history {number} of seed {seed}: {history}\n{traceback.format_exc()}")
            continue
        endings[done.ending].append(done)
        kinds[history.kind][done.ending] += 1
    console = Console(width=120)
    table = Table("ending", "histories", "probes: median", "most", "asked: most", "steps: most")
    for ending in ENDINGS:
        rows = endings[ending]
        cells = ["", "", "", ""]
        if rows and ending != "refused":
            columns = zip(*((row.probes, row.asked, row.steps) for row in rows), strict=True)
            middle = median(row.probes for row in rows)
            cells = [f"{middle:.0f}", *(str(max(column)) for column in columns)]
        table.add_row(ending, str(len(rows)), *cells)
    console.print(table)
    table = Table("histories", *ENDINGS)
    for kind, counts in sorted(kinds.items()):
        table.add_row(kind, *(str(counts[ending]) for ending in ENDINGS))
    console.print(table)
    above = [row.above for rows in endings.values() for row in rows if row.above is not None]
    print(
        f"monotonic, all testable, one at a time, no samples: {len(above)} histories, "
        f"at most ⌈log2 n⌉ + {max(above, default=0)} probes"
    )
    missing = [ending for ending in ENDINGS if not endings[ending]]
    if missing:
        print(f"no history ended {', '.join(missing)}")
    seconds = time.monotonic() - start
    print(f"{count} histories from seed {seed}, {findings} findings, {seconds:.0f} s")
    return int(findings > 0 or bool(missing))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.histories")
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--mutants", action="store_true")
    chosen = parser.parse_args()
    sys.exit((show_mutants if chosen.mutants else main)(chosen.count, chosen.seed))
