"""Where an answer changes along a line of candidates: what to ask next, or how the search ends.

Candidates are numbers in commit order; what they are, and how one is asked, is the caller's.

``decide`` keeps nothing. Each time it goes through the search from the beginning, is told what was
answered to each step, and returns the first step that lacks an answer. So a search that was broken
off, even in the middle of a step, goes on as if it had not been, a log is replayed by giving its
answers, and answers that were known before (a cache's) make a search shorter, but not different.
Answers that the search has not asked for count in the end, when they may contradict what it found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heapify, heappop, heappush
from itertools import pairwise


class Answer(StrEnum):
    """What a candidate answered, once."""

    GOOD = "good"
    BAD = "bad"
    UNTESTABLE = "untestable"


Answers = Mapping[int, Sequence[Answer]]
"""What each candidate answered, in the order in which it did."""


class Direction(StrEnum):
    """Which change is looked for."""

    BREAK = "break"
    """The first bad candidate after a good one."""
    FIX = "fix"
    """The first good candidate after a bad one."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Candidates 0 to ``count`` - 1 in commit order, and two of them that are said to differ.

    Nothing outside of the two ends is asked or looked at. ``jobs`` is how many candidates are asked
    at once. ``everything`` asks each of them, in order. ``check`` is how many of those that a
    search had no need of are asked afterwards, in case there is a second change. ``retests`` is how
    often each side of a change is asked again.

    Raises ValueError where this is no question.
    """

    count: int
    good: int
    bad: int
    direction: Direction = Direction.BREAK
    jobs: int = 1
    everything: bool = False
    check: int = 0
    retests: int = 1

    def __post_init__(self) -> None:
        for name, end in (("good", self.good), ("bad", self.bad)):
            if not 0 <= end < self.count:
                raise ValueError(f"the {name} end, {end}, is none of {self.count} candidates")
        if self.good == self.bad:
            raise ValueError(f"the good end and the bad end are the same candidate, {self.good}")
        if (self.good < self.bad) is not (self.direction is Direction.BREAK):
            order = "after" if self.direction is Direction.BREAK else "before"
            raise ValueError(
                f"to look for a {self.direction}, the bad end must be {order} the good one, "
                f"but good is {self.good} and bad is {self.bad}"
            )
        if self.jobs < 1 or self.check < 0 or self.retests < 0:
            raise ValueError(
                f"jobs must be at least 1, check and retests at least 0, "
                f"not {self.jobs}, {self.check} and {self.retests}"
            )

    @property
    def low(self) -> int:
        """The end that comes first in commit order."""
        return min(self.good, self.bad)

    @property
    def high(self) -> int:
        """The end that comes last in commit order."""
        return max(self.good, self.bad)

    @property
    def before(self) -> Answer:
        """What the low end is said to answer."""
        return Answer.GOOD if self.direction is Direction.BREAK else Answer.BAD

    @property
    def after(self) -> Answer:
        """What the high end is said to answer."""
        return Answer.BAD if self.direction is Direction.BREAK else Answer.GOOD


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to ask now: one candidate or more, up to the question's ``jobs``, most useful first.

    ``likely`` are candidates that the next step may want, whatever is answered to this one, so
    that they can be fetched meanwhile. ``why`` is a short phrase for people.
    """

    ask: tuple[int, ...]
    likely: tuple[int, ...] = ()
    why: str


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often a candidate gave each answer."""

    good: int = 0
    bad: int = 0
    untestable: int = 0

    @classmethod
    def of(cls, given: Sequence[Answer]) -> Counts:
        """Count."""
        return cls(
            good=given.count(Answer.GOOD),
            bad=given.count(Answer.BAD),
            untestable=given.count(Answer.UNTESTABLE),
        )


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Two candidates that answered differently, with no good or bad one known between them.

    ``untestable`` are those between them that were asked, ``unasked`` those that were not.
    """

    last: int
    first: int
    was: Answer
    becomes: Answer
    untestable: tuple[int, ...] = ()
    unasked: tuple[int, ...] = ()

    @property
    def adjacent(self) -> bool:
        """Whether nothing lies between the two."""
        return self.first == self.last + 1


@dataclass(frozen=True, kw_only=True)
class End:
    """What is known of an end: its own answers, and the nearest candidate inwards that is testable.

    ``nearest`` is the end itself where that is testable, None where nothing testable is known;
    ``answer`` is what the nearest one answered.
    """

    index: int
    counts: Counts
    nearest: int | None
    answer: Answer | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """``first`` follows directly on ``last`` and answers otherwise; both were asked again.

    They are the last good and the first bad candidate, or, where a fix was looked for, the last bad
    and the first good one.
    """

    last: int
    first: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Range:
    """As ``Found``, but there is no telling which of those between made the change.

    ``untestable`` are those that were asked, ``unasked`` those that were not, since what was asked
    around them is untestable.
    """

    last: int
    first: int
    untestable: tuple[int, ...]
    unasked: tuple[int, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotMonotonic:
    """There and back again: all changes that were seen, in commit order."""

    transitions: tuple[Transition, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WrongEnds:
    """The ends are not what they were said to be, so that there is nothing to look for."""

    good: End
    bad: End
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Flaky:
    """A candidate was both good and bad, so that no answer can be relied on."""

    index: int
    counts: Counts
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What was known when the caller gave up; see ``cancelled``.

    With one transition, that is what the search had been narrowed to. ``asked`` is how many
    candidates had answered.
    """

    transitions: tuple[Transition, ...]
    good: End
    bad: End
    asked: int
    warnings: tuple[str, ...] = ()


Ending = Found | Range | NotMonotonic | WrongEnds | Flaky | Cancelled


def decide(question: Question, answers: Answers) -> Step | Ending:
    """What to ask next, or how the search ends; never ``Cancelled``.

    Raises ValueError where a candidate has answered that the question does not have.
    """
    for index in answers:
        if not 0 <= index < question.count:
            raise ValueError(f"{index} has answered, but is none of {question.count} candidates")
    decision = _next(question, answers)
    if isinstance(decision, Step):
        return replace(decision, likely=_likely(question, answers, decision))
    return decision


def cancelled(question: Question, answers: Answers) -> Cancelled:
    """What is known so far. A candidate that was both good and bad counts as not asked."""
    flaky = _flaky(question, answers)
    known = _Known(question, {key: value for key, value in answers.items() if key not in flaky})
    known.tell_all()
    warnings = [f"{_number(len(flaky), 'was', 'were')} both good and bad"] if flaky else []
    return Cancelled(
        transitions=_transitions(known),
        good=_end(question, known, question.good),
        bad=_end(question, known, question.bad),
        asked=len(known.asked()) + len(flaky),
        warnings=tuple(warnings),
    )


def _next(question: Question, answers: Answers) -> Step | Ending:
    """Go through the search, up to the first step that lacks an answer."""
    if flaky := _flaky(question, answers):
        others = [f"{_number(len(flaky) - 1, 'other was', 'others were')} both good and bad too"]
        return Flaky(
            index=flaky[0],
            counts=Counts.of(answers[flaky[0]]),
            warnings=tuple(others[: len(flaky) - 1]),
        )
    known = _Known(question, answers)
    course = _course(question, known)
    while True:
        try:
            step = next(course)
        except StopIteration as ended:
            ending: Ending = ended.value
            return ending
        missing = tuple(index for index in step.ask if not known.can_tell(index))
        if missing:
            return replace(step, ask=missing)
        for index in step.ask:
            known.tell(index)


def _likely(question: Question, answers: Answers, step: Step) -> tuple[int, ...]:
    """What the next step will ask for the first time if this one tells the sides apart."""
    found: dict[int, None] = {}
    order = sorted(step.ask)
    for turn in range(len(order) + 1):
        supposed = dict(answers)
        for number, index in enumerate(order):
            answer = question.before if number < turn else question.after
            supposed[index] = [*answers.get(index, ()), answer]
        following = _next(question, supposed)
        if isinstance(following, Step):
            found.update(dict.fromkeys(index for index in following.ask if not supposed.get(index)))
    return tuple(found)


def _flaky(question: Question, answers: Answers) -> list[int]:
    return sorted(
        index
        for index, given in answers.items()
        if len(given) > 1 and Answer.GOOD in given and Answer.BAD in given
        if question.low <= index <= question.high
    )


class _Known:
    """What a search has been told so far, out of the answers that there are."""

    def __init__(self, question: Question, answers: Answers) -> None:
        self._question = question
        self._answers = answers
        self._times: dict[int, int] = {}
        self._sides: dict[int, Answer] = {}
        self._testable: list[int] = []  # both in order
        self._untestable: list[int] = []

    def _given(self, index: int) -> Sequence[Answer]:
        """What a candidate answered, without what was in vain before it could be tested."""
        given = self._answers.get(index, ())
        if len(given) > 1 and given[0] is Answer.UNTESTABLE:
            first = next((at for at, one in enumerate(given) if one is not Answer.UNTESTABLE), 0)
            return given[first:]
        return given

    def can_tell(self, index: int) -> bool:
        """Whether there is an answer of this candidate's that the search was not told."""
        return self.times(index) < len(self._given(index))

    def tell(self, index: int) -> None:
        """Take a candidate's next answer."""
        times = self.times(index)
        self._times[index] = times + 1
        if times:
            return  # the same once more, or untestable; all else is flaky
        answer = self._given(index)[0]
        if answer is Answer.UNTESTABLE:
            insort(self._untestable, index)
        else:
            self._sides[index] = answer
            insort(self._testable, index)

    def tell_all(self) -> None:
        """Take all answers that there are, whoever asked for them."""
        for index in sorted(self._answers):
            if self._question.low <= index <= self._question.high:
                while self.can_tell(index):
                    self.tell(index)

    def times(self, index: int) -> int:
        """How often a candidate has answered, from when it could be tested."""
        return self._times.get(index, 0)

    def counts(self, index: int) -> Counts:
        """How often a candidate gave each answer."""
        return Counts.of(self._answers.get(index, ()))

    def side(self, index: int) -> Answer | None:
        """Good or bad; None of an untestable one and of one that was not asked."""
        return self._sides.get(index)

    def nearest(self, end: int) -> int | None:
        """The first testable candidate, as seen from an end."""
        if not self._testable:
            return None
        return self._testable[0 if end == self._question.low else -1]

    def asked(self) -> list[int]:
        """All that have answered, in order."""
        return sorted(self._times)

    def changes(self) -> list[tuple[int, int]]:
        """Testable candidates that follow one another, as far as is known, and differ."""
        sides = self._sides
        return [pair for pair in pairwise(self._testable) if sides[pair[0]] is not sides[pair[1]]]

    def untestable(self, last: int, first: int) -> list[int]:
        """Those between two candidates that were asked and are untestable, in order."""
        return self._untestable[
            bisect_right(self._untestable, last) : bisect_left(self._untestable, first)
        ]

    def unasked(self, last: int, first: int) -> list[int]:
        """Those between two candidates that were not asked, in order."""
        return [index for index in range(last + 1, first) if index not in self._times]


_Course = Generator[Step, None, None]


def _course(question: Question, known: _Known) -> Generator[Step, None, Ending]:
    """The search, from its beginning to its end; it is told the answers to each step."""
    if question.everything:
        known.tell_all()
        missing = known.unasked(question.low - 1, question.high + 1)
        size = question.high - question.low + 1
        yield from _each(question, missing, f"one by one: {len(missing)} of {size} left")
    else:
        yield from _look_at_ends(question, known)
    sample: list[int] = []
    if _is_as_said(question, known):
        yield from _settle(question, known)
        if len(known.changes()) == 1:
            sample = _sample(question, known)
            for step in _each(question, sample, "a sample of the rest"):
                yield step
                if len(known.changes()) > 1:
                    break
        yield from _settle(question, known)
    else:
        yield from _ask_ends_again(question, known)
    # What the search has not asked for may know better.
    known.tell_all()
    if not _is_as_said(question, known):
        yield from _ask_ends_again(question, known)
        return _report_wrong_ends(question, known)
    yield from _settle(question, known)
    return _report(question, known, sample)


def _each(question: Question, indices: Sequence[int], why: str) -> _Course:
    """Ask all of these, as many at once as can be."""
    for start in range(0, len(indices), question.jobs):
        yield Step(ask=tuple(indices[start : start + question.jobs]), why=why)


def _again(question: Question, known: _Known, indices: Iterable[int], why: str) -> _Course:
    """Ask these until each has answered once and ``retests`` times."""
    while lacking := [index for index in indices if known.times(index) <= question.retests]:
        yield Step(ask=tuple(lacking[: question.jobs]), why=why)


def _look_at_ends(question: Question, known: _Known) -> _Course:
    """Ask both ends, and, where one is untestable, what may stand in for it."""
    ends = {question.good: Answer.GOOD, question.bad: Answer.BAD}
    yield from _each(question, list(ends), "an end")
    if any(known.side(end) not in (None, said) for end, said in ends.items()):
        return
    # The first end again, since what stands in for the other may be all that is testable.
    for end in (question.good, question.bad, question.good):
        if known.side(end) is None:
            yield from _inwards(question, known, end, ends[end])
            nearest = known.nearest(end)
            if nearest is not None and known.side(nearest) is not ends[end]:
                return


def _inwards(question: Question, known: _Known, end: int, said: Answer) -> _Course:
    """Find a testable candidate near an untestable end, that answers as the end was said to.

    In jumps of 1, 2, 4, …; if what they lead to is of the other side already, between the two, as
    far as the last that is untestable.
    """
    inwards = 1 if end == question.low else -1
    size = question.high - question.low
    while True:
        nearest = known.nearest(end)
        if nearest is not None and known.side(nearest) is said:
            return
        limit = size if nearest is None else abs(nearest - end)
        jumps = [end + inwards * (1 << power) for power in range((limit - 1).bit_length())]
        if wanted := [index for index in jumps if not known.times(index)]:
            yield Step(ask=tuple(wanted[: question.jobs]), why="inwards of an untestable end")
            continue
        if nearest is None:
            return
        if inwards > 0:
            low, high = known.untestable(end - 1, nearest)[-1], nearest
        else:
            low, high = nearest, known.untestable(nearest, end + 1)[0]
        between = range(low + 1, high)
        if not between:
            return
        yield Step(ask=_spread(between, question.jobs), why="inwards of an untestable end")


def _contradicting(question: Question, known: _Known) -> list[int]:
    """Candidates at the ends that are not what these were said to be."""
    said = {question.good: Answer.GOOD, question.bad: Answer.BAD}
    nearest = {end: known.nearest(end) for end in said}
    return [
        index
        for end, index in nearest.items()
        if index is not None and known.side(index) is not said[end]
    ]


def _is_as_said(question: Question, known: _Known) -> bool:
    """Whether there is a change to look for. Who asks everything wants all of them, if many."""
    if known.nearest(question.low) is None:
        return False
    return not _contradicting(question, known) or (question.everything and len(known.changes()) > 1)


def _ask_ends_again(question: Question, known: _Known) -> _Course:
    contradicting = _contradicting(question, known)
    yield from _again(question, known, contradicting, "again: an end that is not as said")


def _settle(question: Question, known: _Known) -> _Course:
    """Narrow all changes that are known, and ask again on both sides of each."""
    while True:
        changes = known.changes()
        wanted = [found for change in changes if (found := _narrow(question, known, *change))[0]]
        if not wanted:
            break
        share = max(1, question.jobs // len(wanted))
        ask = [index for indices, _ in wanted for index in indices[:share]]
        yield Step(ask=tuple(ask[: question.jobs]), why=wanted[0][1])
    sides = dict.fromkeys(index for change in changes for index in change)
    yield from _again(question, known, sides, "again: a side of the boundary")


def _narrow(
    question: Question, known: _Known, last: int, first: int
) -> tuple[tuple[int, ...], str]:
    """What to ask between two candidates that differ, and why; nothing where enough is known."""
    untestable = known.untestable(last, first)
    parts = _parts(last, first, _stretches(untestable))
    left = sum(len(part.indices) for part in parts)
    if not left:
        # A short stretch is worth knowing all of; a long one would take as many steps as it has.
        unasked = known.unasked(last, first)
        few = unasked if len(unasked) <= len(untestable) else []
        return _spread(few, question.jobs), f"around {len(untestable)} untestable"
    ask: dict[int, None] = {}
    aside = False
    for rank in _spread(range(left), question.jobs):
        number = 0
        while rank >= len(parts[number].indices):
            rank -= len(parts[number].indices)
            number += 1
        index = parts[number].indices[rank]
        away = parts[number].away(index) if left > question.jobs else index
        ask[away] = None
        aside = aside or away != index
    if left <= question.jobs:
        why = "all that is left"
    elif aside:
        why = f"around {len(untestable)} untestable"
    elif question.jobs == 1:
        why = f"half of {left}"
    else:
        why = f"{left} in {question.jobs + 1} parts"
    return tuple(ask), why


def _spread(indices: Sequence[int], number: int) -> tuple[int, ...]:
    """So many of these that they split them evenly, the middle first; all where there are fewer."""
    size = len(indices)
    if size > number:
        indices = [indices[turn * (size + 1) // (number + 1) - 1] for turn in range(1, number + 1)]
    middle = (len(indices) - 1) / 2
    return tuple(
        indices[turn] for turn in sorted(range(len(indices)), key=lambda at: abs(at - middle))
    )


def _stride(stretch: range) -> int:
    """How far to jump from an untestable stretch: its own length, but not to its neighbour."""
    return max(2, len(stretch))


def _stretches(untestable: Iterable[int]) -> list[range]:
    """Stretches that untestable candidates make up; what a jump left out is presumed to be inside.

    So a jump from a stretch to one more untestable candidate makes it twice as long.
    """
    found: list[range] = []
    for index in untestable:
        found.append(range(index, index + 1))
        while len(found) > 1:
            low, high = found[-2:]
            if high.start - low.stop >= max(_stride(low), _stride(high)):
                break
            found[-2:] = [range(low.start, high.stop)]
    return found


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Candidates in a row of which nothing is known or presumed.

    From ``low`` to ``high`` they are far enough from the untestable stretches beside them.
    """

    indices: range
    low: int
    high: int

    def away(self, index: int) -> int:
        """What to ask instead of a candidate, if that is too close to an untestable stretch."""
        if self.low > self.high:
            return self.indices[len(self.indices) // 2]
        return min(max(index, self.low), self.high)


def _parts(last: int, first: int, stretches: Sequence[range]) -> list[_Part]:
    """What untestable stretches leave between two testable candidates."""
    found = []
    # Of a testable candidate, the neighbour may be asked.
    start, low = last + 1, last + 1
    for stretch in stretches:
        away = _stride(stretch)
        if indices := range(start, stretch.start):
            found.append(_Part(indices=indices, low=low, high=stretch.start - away))
        start, low = stretch.stop, stretch.stop - 1 + away
    if indices := range(start, first):
        found.append(_Part(indices=indices, low=low, high=first - 1))
    return found


def _sample(question: Question, known: _Known) -> list[int]:
    """Some of those that were not asked, each from the middle of the longest row of such.

    There a second change and its way back have the most room.
    """
    ((last, first),) = known.changes()
    asked = [question.low - 1, *known.asked(), question.high + 1]
    rows = [
        (low + 1 - high, low + 1, high)
        for low, high in pairwise(asked)
        if high > low + 1 and not last <= low < first
    ]
    heapify(rows)
    sample: list[int] = []
    while rows and len(sample) < question.check:
        _, start, stop = heappop(rows)
        middle = (start + stop) // 2
        sample.append(middle)
        for low, high in ((start, middle), (middle + 1, stop)):
            if low < high:
                heappush(rows, (low - high, low, high))
    return sample


def _transitions(known: _Known) -> tuple[Transition, ...]:
    found = []
    for last, first in known.changes():
        was, becomes = known.side(last), known.side(first)
        assert was is not None
        assert becomes is not None
        found.append(
            Transition(
                last=last,
                first=first,
                was=was,
                becomes=becomes,
                untestable=tuple(known.untestable(last, first)),
                unasked=tuple(known.unasked(last, first)),
            )
        )
    return tuple(found)


def _end(question: Question, known: _Known, index: int) -> End:
    nearest = known.nearest(index)
    return End(
        index=index,
        counts=known.counts(index),
        nearest=nearest,
        answer=None if nearest is None else known.side(nearest),
    )


def _report(question: Question, known: _Known, sample: Sequence[int]) -> Ending:
    """The ending, once all changes that were seen are narrowed down."""
    transitions = _transitions(known)
    warnings = []
    for end, said in ((question.good, Answer.GOOD), (question.bad, Answer.BAD)):
        side = known.side(end)
        if side is None:
            warnings.append(
                f"the {said} end is untestable: the nearest testable one stands in for it"
            )
        elif side is not said:
            warnings.append(f"the {said} end is {side}")
    sides = dict.fromkeys(side for change in known.changes() for side in change)
    if lost := sum(known.counts(side).untestable > 0 for side in sides):
        warnings.append(
            f"{_number(lost, 'side', 'sides')} of a change could not be tested each time"
        )
    if hidden := sum(len(transition.unasked) for transition in transitions):
        warnings.append(
            f"{_number(hidden, 'was', 'were')} not asked where an answer changes: "
            "what was asked around there is untestable"
        )
    if len(transitions) > 1:
        if rest := len(known.unasked(question.low, question.high)) - hidden:
            warnings.append(
                f"{_number(rest, 'other was', 'others were')} not asked: there may be more"
            )
        return NotMonotonic(transitions=transitions, warnings=tuple(warnings))
    if seen := sum(known.side(index) is not None for index in sample):
        warnings.append(f"sampled {seen} of the rest: no contradiction")
    if lost := len(sample) - seen:
        warnings.append(f"{lost} more of the rest could not be tested")
    (change,) = transitions
    if change.adjacent:
        return Found(last=change.last, first=change.first, warnings=tuple(warnings))
    return Range(
        last=change.last,
        first=change.first,
        untestable=change.untestable,
        unasked=change.unasked,
        warnings=tuple(warnings),
    )


def _report_wrong_ends(question: Question, known: _Known) -> WrongEnds:
    good, bad = (_end(question, known, index) for index in (question.good, question.bad))
    warnings = []
    if good.nearest is None:
        untested = len(known.unasked(question.low, question.high))
        warnings.append(f"nothing testable was found; {_number(untested, 'was', 'were')} not asked")
    else:
        for name, end in (("good", good), ("bad", bad)):
            if end.nearest is not None and known.side(end.index) is None:
                untested = len(known.unasked(*sorted((end.index, end.nearest))))
                warnings.append(
                    f"the {name} end is untestable; {_number(untested, 'was', 'were')} not asked "
                    "between it and the nearest that is known to be testable"
                )
    if changes := len(known.changes()) - (good.answer is not bad.answer):
        warnings.append(f"between them, the answer changes {_number(changes, 'time', 'times')}")
    return WrongEnds(good=good, bad=bad, warnings=tuple(warnings))


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
