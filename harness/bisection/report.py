"""What a bisection says in the end: for the terminal, for programs, and for an upstream issue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, assert_never

from rich.text import Text

from harness.bisection import endings, history, issue, wording
from harness.bisection.history import History
from harness.bisection.model import Inquiry, Trial
from harness.bisection.search import (
    Cancelled,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    WrongEnds,
)
from harness.markdown import without_passwords


class BisectExit(IntEnum):
    """Exit status of ``pbs-matrix bisect``, above those of :class:`harness.errors.ExitCode`."""

    FOUND = 0
    RANGE = 60
    NOT_MONOTONIC = 61
    WRONG_ENDS = 62
    FLAKY = 63
    CANCELLED = 64


def exit_code(ending: Ending) -> BisectExit:
    """One for each kind of ending."""
    match ending:
        case Found():
            return BisectExit.FOUND
        case Range():
            return BisectExit.RANGE
        case NotMonotonic():
            return BisectExit.NOT_MONOTONIC
        case WrongEnds():
            return BisectExit.WRONG_ENDS
        case Flaky():
            return BisectExit.FLAKY
        case Cancelled():
            return BisectExit.CANCELLED
        case _:
            assert_never(ending)


def strip(inquiry: Inquiry, trials: Sequence[Trial], width: int) -> Text:
    """A letter for each candidate, in lines of no more than ``width``, with the changes named."""
    return history.strip(History(inquiry, trials), width)


def sentence(ending: Ending, inquiry: Inquiry, trials: Sequence[Trial]) -> str:
    """How it ended, in words that claim no more than was established."""
    return wording.sentence(History(inquiry, trials), ending)


def log_text(inquiry: Inquiry, trials: Sequence[Trial], ending: Ending | None) -> str:
    """A line for each answer, in the spirit of ``git bisect log``; ``#`` begins a comment."""
    return "".join(f"{line}\n" for line in wording.log(History(inquiry, trials), ending))


def as_json(
    inquiry: Inquiry,
    trials: Sequence[Trial],
    ending: Ending,
    *,
    reproduce: issue.Reproduce | None = None,
) -> str:
    """The same for programs, with all that was asked and seen."""
    seen = History(inquiry, trials)

    def side(place: int) -> dict[str, Any]:
        asked = inquiry.candidates[place]
        trial = seen.witness(place)
        return {
            "place": place,
            "name": asked.name,
            "uv": asked.uv,
            "release": seen.release(place),
            "commit_date": seen.date(place),
            "link_model": seen.link_model(place),
            "answers": seen.answers.get(place, ()),
            "is_replica": trial.result.is_replica if trial else None,
            "reproduce": reproduce(asked) if reproduce else None,
        }

    content = {
        "schema_version": 1,
        "id": inquiry.id,
        "ending": endings.dump(ending),
        "exit_code": exit_code(ending),
        "sentence": wording.sentence(seen, ending),
        "warnings": ending.warnings,
        "bad_is": seen.signature
        and {
            "stage": seen.signature.stage,
            "reason": seen.signature.reason,
            "missing_library": seen.signature.missing_library,
        },
        "transitions": [
            {
                "last": side(change.last),
                "first": side(change.first),
                "adjacent": change.adjacent,
                "untestable": [inquiry.name(place) for place in change.untestable],
                "unasked": [inquiry.name(place) for place in change.unasked],
                "links": dict(wording.links(seen, change)),
            }
            for change in wording.transitions(seen, ending)
        ],
        "strip": "".join(
            history.LETTERS[seen.state(place)][0] for place in range(len(inquiry.candidates))
        ),
        "candidates": [side(place) for place in sorted(seen.answers)],
        "inquiry": {
            **inquiry.model_dump(mode="json"),
            "command": without_passwords(inquiry.command),
            "mirror": inquiry.mirror and without_passwords(inquiry.mirror),
        },
        "trials": [trial.model_dump(mode="json") for trial in trials],
    }
    return json.dumps(content, indent=1)


def markdown(
    inquiry: Inquiry,
    trials: Sequence[Trial],
    ending: Ending,
    *,
    reproduce: issue.Reproduce,
    harness: str = "",
) -> str:
    """The report for an upstream issue, short enough for one.

    ``harness`` is what this project's version is called, else that of the package.
    """
    return issue.text(History(inquiry, trials), ending, reproduce, harness)
