"""What a bisection has found out of each candidate, and how that is shown in a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.text import Text

from harness import releases
from harness.bisection.model import Axis, Inquiry, Trial, answer_of, answers_of, asked_about
from harness.bisection.search import Answer, Transition
from harness.releases import LinkModel

FLAKY = "flaky"
UNASKED = "not asked"

# Letters as well as colours: not everybody sees colours, and not every terminal shows them.
LETTERS: dict[str, tuple[str, str]] = {
    Answer.GOOD: (".", "green"),
    Answer.BAD: ("x", "bold red"),
    Answer.UNTESTABLE: ("?", "bold cyan"),
    FLAKY: ("F", "bold magenta"),
    UNASKED: ("-", "dim"),
}

LEAST = 10
"""Letters in a line, however narrow the terminal is."""


class History:
    """An inquiry's candidates, with what was found out of each."""

    def __init__(self, inquiry: Inquiry, trials: Sequence[Trial]) -> None:
        self.inquiry = inquiry
        self.trials = tuple(trials)
        self.signature = asked_about(inquiry, self.trials)
        self.answers = answers_of(inquiry, self.trials)
        self._by_place: dict[int, list[Trial]] = {}
        for trial in self.trials:
            self._by_place.setdefault(trial.place, []).append(trial)

    @property
    def noun(self) -> str:
        """What one candidate is."""
        return "uv version" if self.inquiry.axis is Axis.UV else "release"

    @property
    def tried(self) -> list[Trial]:
        """The trials in which the question was asked."""
        return [trial for trial in self.trials if trial.result.outcome.was_tried]

    @property
    def replicas(self) -> int:
        """How many of these were of replicas."""
        return sum(trial.result.is_replica for trial in self.tried)

    @property
    def others(self) -> list[Trial]:
        """Trials that failed otherwise than was asked about."""
        return [t for t in self.tried if answer_of(t.result, self.signature) is Answer.UNTESTABLE]

    def of(self, place: int) -> list[Trial]:
        """A candidate's trials, oldest first."""
        return self._by_place.get(place, [])

    def state(self, place: int) -> str:
        """Which of :data:`LETTERS` a candidate has."""
        given = self.answers.get(place, ())
        sides = {answer for answer in given if answer is not Answer.UNTESTABLE}
        if len(sides) > 1:
            return FLAKY
        return next(iter(sides), Answer.UNTESTABLE) if given else UNASKED

    def witness(self, place: int) -> Trial | None:
        """The last trial that says what a candidate is; None where there is none."""
        pairs = zip(self.of(place), self.answers.get(place, ()), strict=True)
        said = [trial for trial, answer in pairs if answer is not Answer.UNTESTABLE]
        found = said or self.of(place)
        return found[-1] if found else None

    def release(self, place: int) -> str | None:
        """Which release a candidate is, or installs; None of a uv that was not asked."""
        trials = self.of(place)
        return self.inquiry.candidates[place].release or (
            trials[-1].result.release if trials else None
        )

    def date(self, place: int) -> str | None:
        """The date of a candidate's release's commit, where it is known."""
        known = releases.commit_dates().get(self.release(place) or "")
        return self.inquiry.candidates[place].commit_date or known

    def link_model(self, place: int) -> LinkModel | None:
        """How its interpreter is linked: by its files, else by the table of releases."""
        trial, release = self.witness(place), self.release(place)
        if trial:
            return trial.result.linked or trial.result.link_model
        return releases.link_model(release) if release else None

    def transitions(self) -> tuple[Transition, ...]:
        """All changes that were seen, flaky candidates left out."""
        states = {place: self.state(place) for place in sorted(self.answers)}
        sides = {p: Answer(s) for p, s in states.items() if s in (Answer.GOOD, Answer.BAD)}
        return tuple(
            Transition(
                last=last,
                first=first,
                was=sides[last],
                becomes=sides[first],
                untestable=tuple(p for p in range(last + 1, first) if p in states),
                unasked=tuple(p for p in range(last + 1, first) if p not in states),
            )
            for last, first in pairwise(sides)
            if sides[last] is not sides[first]
        )


def strip(history: History, width: int) -> Text:
    """A letter for each candidate, in lines of no more than ``width``, with the changes named."""
    inquiry = history.inquiry
    count = len(inquiry.candidates)
    changes = history.transitions()
    labels = {
        change.first: f"{inquiry.name(change.first)} {change.becomes}, "
        f"{'right ' if change.adjacent else ''}after {inquiry.name(change.last)} {change.was}"
        for change in changes
    }
    row = max(LEAST, width - max(map(len, labels.values()), default=0) - len("└ "))
    text = Text(f"{inquiry.name(0)} to {inquiry.name(count - 1)}, {count} {history.noun}s:\n")
    for start in range(0, count, row):
        places = range(start, min(start + row, count))
        for place in places:
            text.append(*LETTERS[history.state(place)])
        text.append("\n")
        marks = [place - start for place in places if place in labels]
        for line in _hang(marks, [labels[start + mark] for mark in marks]):
            text.append(f"{line}\n")
    states = {history.state(place) for place in range(count)}
    for state, (letter, style) in LETTERS.items():
        if state in states:
            text.append(letter, style).append(f" {state}  ")
    text.rstrip()
    return text


def _hang(marks: Sequence[int], labels: Sequence[str]) -> Iterator[str]:
    """Labels below a line, each below its mark, the last one first."""
    for number in reversed(range(len(marks))):
        line = ""
        for mark in marks[:number]:
            line = line.ljust(mark) + "│"
        yield f"{line.ljust(marks[number])}└ {labels[number]}"
