"""What a search asks next, and how it ends: on lines that can be read, and on generated ones."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.bisection import search
from harness.bisection.search import (
    Answer,
    Cancelled,
    Counts,
    Direction,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Question,
    Range,
    Step,
    Transition,
    WrongEnds,
    cancelled,
    decide,
)
from tests import histories
from tests.unit.effort import effort

GOOD, BAD, UNTESTABLE = Answer
LETTERS = {"g": GOOD, "b": BAD, "u": UNTESTABLE}
QUICK = (
    "a wrong end is reported at once",
    "a neighbour is never asked",
    "untestable is bad",
    "sides are not asked again",
    "a flaky one is not noticed",
    "a contradicting sample is not followed",
    "only the first change is narrowed",
    "a range passes for found",
    "a step is begun again",
    "what is known changes the order",
    "one half is not foreseen",
)
"""What is wrong with searches that some dozens of histories are enough to notice."""


def question(line: str, **options: Any) -> Question:
    """Asks between the first and the last candidate of a line."""
    last = len(line) - 1
    good, bad = (last, 0) if options.get("direction") is Direction.FIX else (0, last)
    return Question(count=len(line), **{"good": good, "bad": bad, **options})


def answers(line: str) -> dict[int, list[Answer]]:
    """What was answered so far: a letter each, and a dot for none."""
    return {index: [LETTERS[letter]] for index, letter in enumerate(line) if letter != "."}


class Searched:
    """A search through a line of candidates, each of which always answers the same."""

    def __init__(self, line: str, known: str = "", **options: Any) -> None:
        self.question = question(line, **options)
        self.answers = answers(known)
        self.steps: list[Step] = []
        while isinstance(decision := decide(self.question, self.answers), Step):
            self.steps.append(decision)
            for index in decision.ask:
                self.answers.setdefault(index, []).append(LETTERS[line[index]])
        self.ending: Ending = decision

    @property
    def asked(self) -> list[int]:
        """Who was asked, in turn."""
        return [index for step in self.steps for index in step.ask]


# -- the ends --


def test_the_ends_come_first_and_the_good_one_before_the_bad() -> None:
    assert Searched("gggggbbb").asked[:2] == [0, 7]
    assert Searched("bbbggggg", direction=Direction.FIX).asked[:2] == [7, 0]
    first = Searched("gggggbbb", jobs=2).steps[0]
    assert (first.ask, first.why) == ((0, 7), "an end")


@pytest.mark.parametrize("line", ["bbbb", "gggg", "bggg", "bbgg", "bggb"])
def test_ends_that_are_not_as_said_are_asked_again_and_told(line: str) -> None:
    """Nothing in between is asked: there is nothing to look for."""
    done = Searched(line, retests=2)
    assert isinstance(done.ending, WrongEnds)
    assert set(done.asked) == {0, 3}
    for end, said in ((done.ending.good, GOOD), (done.ending.bad, BAD)):
        really = LETTERS[line[end.index]]
        assert (end.nearest, end.answer) == (end.index, really)
        times = 1 if really is said else 3
        assert end.counts == (Counts(good=times) if really is GOOD else Counts(bad=times))


def test_an_end_that_answers_otherwise_when_asked_again_is_flaky() -> None:
    asked = question("g..b")
    given = answers("g..g")
    again = decide(asked, given)
    assert isinstance(again, Step)
    assert (again.ask, again.why) == ((3,), "again: an end that is not as said")
    given[3].append(BAD)
    assert decide(asked, given) == Flaky(index=3, counts=Counts(good=1, bad=1))


def test_a_testable_neighbour_stands_in_for_an_untestable_end() -> None:
    done = Searched("uuugggggbbb")
    assert done.asked[:5] == [0, 10, 1, 2, 4]
    warning = "the good end is untestable: the nearest testable one stands in for it"
    assert done.ending == Found(last=7, first=8, warnings=(warning,))


def test_a_jump_over_the_good_ones_comes_back_for_them() -> None:
    """From 0 it jumps to 1, 2, 4 and 8, which is bad; between 4 and 8 there is a good one."""
    done = Searched("uuuuuggbbbbbbbb")
    assert isinstance(done.ending, Found)
    assert (done.ending.last, done.ending.first) == (6, 7)


def test_untestable_up_to_the_other_side_is_a_wrong_end() -> None:
    """A bad end alone has no first bad one, however close to the bad one it was looked."""
    ending = Searched("uuuuuuuubbbb").ending
    assert isinstance(ending, WrongEnds)
    assert ending.good.counts == Counts(untestable=1)
    assert (ending.good.nearest, ending.good.answer) == (8, BAD)
    (warning,) = ending.warnings
    assert warning.startswith("the good end is untestable; 2 were not asked between it and")


def test_where_nothing_can_be_tested_nothing_is_claimed() -> None:
    ending = Searched("uuuuu").ending
    assert isinstance(ending, WrongEnds)
    assert (ending.good.nearest, ending.bad.nearest) == (None, None)
    assert ending.warnings == ("nothing testable was found; 0 were not asked",)


# -- a change, and what is untestable around it --


@pytest.mark.parametrize("count", [2, 3, 4, 5, 17, 64, 65])
@pytest.mark.parametrize("direction", Direction)
def test_every_change_is_found_wherever_it_is(count: int, direction: Direction) -> None:
    before, after = "gb" if direction is Direction.BREAK else "bg"
    for first in range(1, count):
        done = Searched(before * first + after * (count - first), direction=direction)
        assert done.ending == Found(last=first - 1, first=first)
        assert len(set(done.asked)) <= 2 + (count - 1).bit_length()
        assert sorted(done.asked[-2:]) == [first - 1, first], "both sides are asked again"


def test_more_jobs_split_into_more_parts() -> None:
    """4,096 = 4 ** 6 places where it may change: 6 steps of 3, and one each for ends and sides."""
    done = Searched("g" * 1000 + "b" * 3097, jobs=3)
    assert done.ending == Found(last=999, first=1000)
    assert len(done.steps) == 8
    assert sorted(done.steps[1].ask) == [1024, 2048, 3072]


def test_a_step_foresees_the_middles_of_both_halves() -> None:
    halved = Searched("g" * 30 + "b" * 71).steps[2]
    assert (halved.ask, sorted(halved.likely), halved.why) == ((50,), [25, 75], "half of 99")


def test_it_jumps_away_from_what_is_untestable_on_both_sides_in_turn() -> None:
    line = "g" * 40 + "u" * 21 + "b" * 40
    steps = Searched(line).steps[2:]
    assert [step.ask[0] for step in steps[:5]] == [50, 48, 53, 42, 65]
    assert [step.why for step in steps[1:4]] == [f"around {number} untestable" for number in "123"]


def test_a_long_untestable_stretch_is_closed_in_from_both_sides() -> None:
    """Its edges are established, what was not asked is told apart, and nobody is blamed."""
    done = Searched("g" * 400 + "u" * 200 + "b" * 400)
    ending = done.ending
    assert isinstance(ending, Range)
    assert (ending.last, ending.first) == (399, 600)
    assert {400, 599} <= set(ending.untestable)
    assert sorted(ending.untestable + ending.unasked) == list(range(400, 600))
    assert len(set(done.asked)) < 40
    assert ending.warnings == (
        f"{len(ending.unasked)} were not asked where an answer changes: "
        "what was asked around there is untestable",
    )


def test_of_a_short_untestable_stretch_everything_is_asked() -> None:
    assert Searched("g" * 40 + "u" * 5 + "b" * 9).ending == Range(
        last=39, first=45, untestable=(40, 41, 42, 43, 44), unasked=()
    )


def test_every_other_one_may_be_untestable() -> None:
    assert Searched("gugugugugubububub").ending == Range(
        last=8, first=10, untestable=(9,), unasked=()
    )


# -- there and back --


def test_a_timeline_asks_everything_in_order_and_tells_every_change() -> None:
    """As python-mscl was with uv on aarch64, seen from both sides."""
    done = Searched("gggbbbggg", everything=True, jobs=2)
    assert [step.ask for step in done.steps[:5]] == [(0, 1), (2, 3), (4, 5), (6, 7), (8,)]
    assert [step.likely for step in done.steps[:2]] == [(2, 3), (4, 5)]
    assert done.steps[1].why == "one by one: 7 of 9 left"
    assert sorted(done.asked[9:]) == [2, 3, 5, 6], "all sides again"
    assert done.ending == NotMonotonic(
        transitions=(
            Transition(last=2, first=3, was=GOOD, becomes=BAD),
            Transition(last=5, first=6, was=BAD, becomes=GOOD),
        ),
        warnings=("the bad end is good",),
    )
    assert all(transition.adjacent for transition in done.ending.transitions)


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("ggbb", Found(last=1, first=2)),
        ("guub", Range(last=0, first=3, untestable=(1, 2), unasked=())),
    ],
)
def test_a_timeline_with_one_change_ends_like_a_search(line: str, ending: Ending) -> None:
    assert Searched(line, everything=True).ending == ending


@pytest.mark.parametrize("line", ["gggg", "bbgg", "uuuu", "ugug"])
def test_a_timeline_without_the_change_has_wrong_ends(line: str) -> None:
    assert isinstance(Searched(line, everything=True).ending, WrongEnds)


def test_samples_come_from_where_nothing_was_asked() -> None:
    done = Searched("g" * 60 + "b" * 41, check=3)
    sampled = [step.ask[0] for step in done.steps if step.why == "a sample of the rest"]
    assert sampled == [25, 13, 38]
    assert done.ending == Found(
        last=59, first=60, warnings=("sampled 3 of the rest: no contradiction",)
    )


def test_a_contradicting_sample_is_followed_to_the_very_changes() -> None:
    """Bad from 20 to 30: a search that halves never gets there, a sample does."""
    line = "g" * 20 + "b" * 11 + "g" * 40 + "b" * 30
    assert isinstance(Searched(line).ending, Found)
    ending = Searched(line, check=1).ending
    assert isinstance(ending, NotMonotonic)
    assert [(one.last, one.first) for one in ending.transitions] == [(19, 20), (30, 31), (70, 71)]
    assert ending.warnings[-1].endswith("others were not asked: there may be more")


def test_answers_that_were_known_before_may_contradict_too() -> None:
    line = "g" * 20 + "b" * 11 + "g" * 40 + "b" * 30
    done = Searched(line, known="." * 25 + "b")
    assert isinstance(done.ending, NotMonotonic)
    assert len(done.ending.transitions) == 3
    assert done.asked.count(25) == 0


def test_answers_that_were_known_before_are_not_asked_for() -> None:
    line = "gggggggggbbbbbbb"
    plain, knowing = Searched(line), Searched(line, known=line[:8])
    assert knowing.ending == plain.ending
    assert [index for index in plain.asked if index >= 8] == knowing.asked


def test_what_is_outside_of_the_ends_does_not_count() -> None:
    done = Searched("bbggbbgg", known="bb....gg", good=2, bad=5)
    assert done.ending == Found(last=3, first=4)


# -- flaky --


@pytest.mark.parametrize("letters", ["gb", "bg", "ugb", "gggb"])
def test_good_and_bad_is_flaky_whatever_else(letters: str) -> None:
    given = answers("ggg.bbb")
    given[3] = [LETTERS[letter] for letter in letters]
    counts = Counts(good=letters.count("g"), bad=letters.count("b"), untestable=letters.count("u"))
    assert decide(question("ggggbbb"), given) == Flaky(index=3, counts=counts)


def test_a_side_that_answers_otherwise_when_asked_again_is_flaky() -> None:
    given = answers("ggbb")
    again = decide(question("ggbb"), given)
    assert isinstance(again, Step)
    assert (again.ask, again.why) == ((1,), "again: a side of the boundary")
    given[1].append(BAD)
    assert isinstance(decide(question("ggbb"), given), Flaky)


@pytest.mark.parametrize("first", [[GOOD, UNTESTABLE], [UNTESTABLE, GOOD, GOOD]])
def test_untestable_once_is_not_flaky(first: list[Answer]) -> None:
    """The other answer counts; that it could not be had again is said."""
    warning = "1 side of a change could not be tested each time"
    given = {0: first, 1: [BAD, BAD]}
    assert decide(question("gb"), given) == Found(last=0, first=1, warnings=(warning,))


def test_what_was_in_vain_does_not_pass_for_asked_again() -> None:
    step = decide(question("gb"), {0: [UNTESTABLE, GOOD], 1: [BAD, BAD]})
    assert isinstance(step, Step)
    assert step.ask == (0,)


# -- broken off --


def test_what_is_left_of_a_step_is_asked_when_it_goes_on() -> None:
    asked = question("g" * 30 + "b" * 71, jobs=3)
    given = answers("g" + "." * 99 + "b")
    whole = decide(asked, given)
    assert isinstance(whole, Step)
    given[max(whole.ask)] = [BAD]
    rest = decide(asked, given)
    assert isinstance(rest, Step)
    assert rest.ask == tuple(index for index in whole.ask if index != max(whole.ask))


def test_when_it_is_cancelled_the_interval_is_what_is_known() -> None:
    given = answers("g.gu....b")
    end = cancelled(question("." * 9), given)
    assert isinstance(end, Cancelled)
    assert end.transitions == (
        Transition(last=2, first=8, was=GOOD, becomes=BAD, untestable=(3,), unasked=(4, 5, 6, 7)),
    )
    assert (end.good.counts, end.bad.answer, end.asked) == (Counts(good=1), BAD, 4)


def test_when_it_is_cancelled_a_flaky_one_is_no_side() -> None:
    end = cancelled(question("." * 4), {0: [GOOD], 1: [GOOD, BAD], 3: [BAD]})
    assert [(one.last, one.first) for one in end.transitions] == [(0, 3)]
    assert (end.asked, end.warnings) == (3, ("1 was both good and bad",))


def test_before_anything_was_answered_nothing_is_known() -> None:
    end = cancelled(question("...."), {})
    assert (end.transitions, end.asked) == ((), 0)
    assert (end.good.nearest, end.good.counts) == (None, Counts())


# -- no question --


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0, "good": 0, "bad": 0}, "the good end, 0, is none of 0"),
        ({"count": 1, "good": 0, "bad": 0}, "the same candidate, 0"),
        ({"count": 5, "good": 0, "bad": 5}, "the bad end, 5, is none of 5"),
        ({"count": 5, "good": 4, "bad": 0}, "the bad end must be after the good one"),
        ({"count": 5, "good": 0, "bad": 4, "direction": Direction.FIX}, "must be before the good"),
        ({"count": 5, "good": 0, "bad": 4, "jobs": 0}, "jobs must be at least 1"),
        ({"count": 5, "good": 0, "bad": 4, "retests": -1}, "not 1, 0 and -1"),
    ],
)
def test_what_is_no_question_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Question(**options)


def test_an_answer_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="4 has answered, but is none of 4 candidates"):
        decide(question("ggbb"), {4: [BAD]})


# -- any line at all --


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
@example(random=Random(0))
def test_no_report_is_false(random: Random) -> None:
    """Neither of a generated history; ``python -m tests.histories`` has a hundred thousand."""
    histories.search_through(histories.generate(random), random)


def test_each_ending_occurs() -> None:
    found = {
        histories.search_through(*histories.numbered(1, number)).ending for number in range(150)
    }
    assert found == set(histories.ENDINGS)


@pytest.mark.parametrize("name", QUICK)
def test_a_search_that_is_wrong_is_noticed(name: str) -> None:
    assert histories.noticed(histories.mutant(name), 100)


def test_all_wrong_searches_can_be_made() -> None:
    """The text that each changes is still there, once."""
    for name in histories.MUTANTS:
        assert histories.mutant(name).decide is not search.decide


def test_the_same_question_has_the_same_answer_whoever_answered_first() -> None:
    asked = question("g" * 700 + "b" * 300, jobs=4, check=5)
    given = Searched("g" * 700 + "b" * 300, jobs=4, check=5).answers
    for stop in range(0, len(given), 3):
        part = dict(list(given.items())[:stop])
        assert decide(asked, part) == decide(replace(asked), dict(reversed(part.items())))


def test_a_decision_among_thousands_is_cheap() -> None:
    """A search is some dozens of decisions: some hundredths of a second altogether."""
    assert effort(lambda: Searched("g" * 3333 + "b" * 1667, check=8)) < 10
