"""How a bisection ended, in sentences that claim no more than was established; and its log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import assert_never
from urllib.parse import quote

from harness import releases
from harness.bisection.history import History
from harness.bisection.model import Axis, Trial, answer_of
from harness.bisection.search import (
    Answer,
    Cancelled,
    Counts,
    Direction,
    End,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    Transition,
    WrongEnds,
)
from harness.markdown import SHORT, clipped, without_passwords

PBS = "https://github.com/astral-sh/python-build-standalone"
UV = "https://github.com/astral-sh/uv"

Show = Callable[[str], str]
"""How a name is written."""

FEW = 8
"""Names in a sentence before it only counts the others."""


def plain(text: str) -> str:
    """A name for a terminal, which it does nothing to."""
    return clipped(text, SHORT)


def transitions(history: History, ending: Ending) -> tuple[Transition, ...]:
    """The changes that an ending has established, or that had been seen when it was cut short."""
    was, becomes = (Answer.GOOD, Answer.BAD) if _is_break(history) else (Answer.BAD, Answer.GOOD)
    match ending:
        case Found(last=last, first=first):
            return (Transition(last=last, first=first, was=was, becomes=becomes),)
        case Range(last=last, first=first, untestable=untestable, unasked=unasked):
            return (
                Transition(
                    last=last,
                    first=first,
                    was=was,
                    becomes=becomes,
                    untestable=untestable,
                    unasked=unasked,
                ),
            )
        case NotMonotonic() | Cancelled():
            return ending.transitions
        case WrongEnds() | Flaky():
            return ()
        case _:
            assert_never(ending)


def sentence(history: History, ending: Ending, show: Show = plain) -> str:
    """How it ended, of which subject, and on what that rests. ``show`` writes names."""
    said = [_ending(history, ending, show)]
    changes = transitions(history, ending)
    if history.inquiry.axis is Axis.UV:
        said += [text for change in changes if (text := by_releases(history, change, show))]
    if changes and not isinstance(ending, Cancelled):
        said.append(_coverage(history))
    if replicas := on_replicas(history):
        said.append(replicas)
    return " ".join(said)


def on_replicas(history: History) -> str:
    """What was tested instead of releases; nothing where releases were."""
    if not history.replicas:
        return ""
    some = "" if history.replicas == len(history.tried) else f"{history.replicas} trials were of "
    start = some or "Tested were "
    return f"{start}replicas with the releases' link models, not the releases."


def by_releases(history: History, change: Transition, show: Show = plain) -> str:
    """A change between uv versions, by the releases that they install; nothing if not known."""
    old, new = history.release(change.last), history.release(change.first)
    if old is None or new is None:
        return ""
    last, first = (f"uv {show(history.inquiry.name(p))}" for p in (change.last, change.first))
    if old == new:
        return (
            f"{last} and {first} both install {_installed(history, change.first, show)}, "
            "so the release is not what makes the difference."
        )
    return (
        f"{first} installs {_installed(history, change.first, show)} "
        f"where {last} installed {_installed(history, change.last, show)}."
    )


def change_in_words(history: History, change: Transition, show: Show = plain) -> str:
    """Such as ``from good to bad with 20250517 (static), right after 20250409 (shared)``."""
    last, first = (candidate(history, place, show) for place in (change.last, change.first))
    start = f"from {change.was} to {change.becomes}"
    if change.adjacent:
        return f"{start} with {first}, right after {last}"
    return f"{start} after {last} and no later than with {first}"


def candidate(history: History, place: int, show: Show = plain) -> str:
    """Such as ``uv 0.7.6``, or ``20250517 (static)``."""
    if history.inquiry.axis is Axis.UV:
        return f"uv {show(history.inquiry.name(place))}"
    return _installed(history, place, show)


def between(change: Transition, name: Callable[[int], str]) -> str:
    """What lies between the two sides of a change; nothing where nothing does."""
    said = []
    if change.untestable:
        said.append(f"{listed(change.untestable, name)} could not be tested")
    if change.unasked:
        said.append(f"{listed(change.unasked, name)} {_were(change.unasked)} not asked")
    return " and ".join(said)


def links(history: History, change: Transition) -> Iterator[tuple[str, str]]:
    """What to read about a change: what each is, and its URL."""

    def page(project: str, name: str) -> tuple[str, str]:
        return name, f"{project}/releases/tag/{quote(name, safe='')}"

    def compared(project: str, last: str, first: str) -> tuple[str, str]:
        pair = f"{quote(last, safe='')}...{quote(first, safe='')}"
        return f"{last}...{first}", f"{project}/compare/{pair}"

    if history.inquiry.axis is Axis.UV:
        last, first = (history.inquiry.name(place) for place in (change.last, change.first))
        yield page(UV, first)
        yield compared(UV, last, first)
    found = {history.release(place) for place in (change.last, change.first)}
    tags = sorted(filter(None, found), key=releases.order)
    for tag in tags:
        yield page(PBS, tag)
    for last, first in pairwise(tags):
        yield compared(PBS, last, first)


def listed(places: Sequence[int], name: Callable[[int], str]) -> str:
    """Some names, and how many more."""
    more = len(places) - FEW
    names = ", ".join(name(place) for place in places[:FEW])
    return f"{names} and {more} more" if more > 0 else names


def times(counts: Counts) -> str:
    """Such as ``good 3 times and bad once``."""
    given = {
        Answer.GOOD: counts.good,
        Answer.BAD: counts.bad,
        Answer.UNTESTABLE: counts.untestable,
    }
    said = [
        f"{answer} {'once' if number == 1 else f'{number} times'}"
        for answer, number in given.items()
        if number
    ]
    *most, last = said or ["not asked"]
    return f"{', '.join(most)} and {last}" if most else last


def what_happened(trial: Trial) -> str:
    """What was seen in one trial, in a line."""
    result = trial.result
    if result.outcome.was_tried:
        library = f" {result.missing_library}" if result.missing_library else ""
        return clipped(f"{result.outcome}{library}", SHORT)
    message = result.message.strip().partition("\n")[0]
    return clipped(f"{result.outcome} ({result.stage}): {message}".rstrip(": "), SHORT)


def log(history: History, ending: Ending | None) -> Iterator[str]:
    """What was answered, a line for each trial, in the spirit of ``git bisect log``."""
    inquiry = history.inquiry
    last = len(inquiry.candidates) - 1

    def comment(text: str) -> str:
        return f"# {clipped(without_passwords(text), 10 * SHORT)}"

    yield comment(f"bisection {inquiry.id} of {inquiry.started}")
    yield comment(inquiry.command)
    yield comment(f"{inquiry.subject}, {inquiry.platform}, {inquiry.base}, {inquiry.source}")
    said = {inquiry.good: "said to be good", inquiry.bad: "said to be bad"}
    ends = (f"{inquiry.name(place)} ({said.get(place, 'an end')})" for place in (0, last))
    yield comment(f"{last + 1} {history.noun}s: {' to '.join(ends)}")
    if history.signature:
        yield comment(f"bad is: {history.signature.words}")
    for note in inquiry.notes:
        yield comment(note)
    for trial in history.trials:
        answer = answer_of(trial.result, history.signature)
        line = f"{answer} {plain(inquiry.name(trial.place))}"
        notes = [] if answer is Answer.GOOD else [what_happened(trial)]
        if trial.is_kept:
            notes.append("as on an earlier day")
        remark = "; ".join([*notes, *trial.notes])
        yield f"{line}  # {clipped(without_passwords(remark), SHORT)}" if remark else line
    yield comment(sentence(history, ending) if ending else "not ended")
    for warning in ending.warnings if ending else ():
        yield comment(warning)


def _is_break(history: History) -> bool:
    return history.inquiry.direction is Direction.BREAK


def _ending(history: History, ending: Ending, show: Show) -> str:
    inquiry = history.inquiry
    subject = show(inquiry.subject)
    verb = "breaks" if _is_break(history) else "is mended"

    def name(place: int) -> str:
        return candidate(history, place, show)

    match ending:
        case Found():
            (change,) = transitions(history, ending)
            return (
                f"{subject} {verb} with {name(ending.first)}: that is {change.becomes}, and "
                f"{name(ending.last)}, right before it in this walk, is {change.was}."
            )
        case Range():
            (change,) = transitions(history, ending)
            return (
                f"{subject} {verb} after {name(ending.last)}, which is {change.was}, and no later "
                f"than with {name(ending.first)}, which is {change.becomes}. With which of these "
                f"{ending.first - ending.last} cannot be told: {between(change, name)}."
            )
        case NotMonotonic():
            changes = "; ".join(change_in_words(history, c, show) for c in ending.transitions)
            return (
                f"{subject} changes {len(ending.transitions)} times in this walk, so no one "
                f"{history.noun} can be named: {changes}."
            )
        case WrongEnds():
            ends = ((Answer.GOOD, ending.good), (Answer.BAD, ending.bad))
            parts = "; ".join(_end(said, end, name) for said, end in ends)
            return f"For {subject} the ends are not what they were said to be: {parts}."
        case Flaky():
            return (
                f"{subject} is flaky with {name(ending.index)}, which was {times(ending.counts)}: "
                f"no {history.noun} can be named."
            )
        case Cancelled():
            start = (
                f"Cut short when {ending.asked} of {len(inquiry.candidates)} {history.noun}s had "
                f"answered for {subject}; nothing is established."
            )
            if not ending.transitions:
                return f"{start} No change had been seen."
            changes = "; ".join(change_in_words(history, c, show) for c in ending.transitions)
            return f"{start} Seen so far: {changes}."
        case _:
            assert_never(ending)


def _end(said: Answer, end: End, name: Callable[[int], str]) -> str:
    if end.nearest is None:
        start = f"{name(end.index)}, said to be {said}, could not be tested"
        return f"{start}, nor could any other that was asked"
    subject = f"{name(end.index)}, said to be {said},"
    if end.nearest != end.index:
        subject += f" could not be tested, and {name(end.nearest)}, the nearest known that can,"
    # It need not be the wrong one of the two.
    return f"{subject} is {end.answer}"


def _installed(history: History, place: int, show: Show) -> str:
    """A release and how it is linked, as far as these are known."""
    model = history.link_model(place)
    return f"{show(history.release(place) or 'unknown')}{f' ({model})' if model else ''}"


def _coverage(history: History) -> str:
    """How much of the walk a statement about it rests on."""
    count = len(history.inquiry.candidates)
    tested = sum(history.state(place) in (Answer.GOOD, Answer.BAD) for place in range(count))
    if tested == count:
        return f"All {count} {history.noun}s of the walk gave an answer."
    start = f"Of the {count} {history.noun}s of the walk {tested} gave an answer"
    return f"{start}; of the others nothing is known."


def _were(things: Sequence[object]) -> str:
    return "was" if len(things) == 1 else "were"
