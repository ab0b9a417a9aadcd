"""What is asked of a bisection, and what it has found out so far: plain data, kept as JSON."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness import signature
from harness.bisection.search import Answer, Direction
from harness.flavours import Flavour
from harness.plan import SUCCESS
from harness.platforms import Platform
from harness.results import Result
from harness.signature import Signature
from harness.sources import Source

SCHEMA: Literal[1] = 1
"""Version of what is kept."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Axis(StrEnum):
    """What is walked."""

    RELEASE = "release"
    """Releases of python-build-standalone, in commit order, installed by one uv."""
    UV = "uv"
    """uv versions, each with the release that it installs by default."""


class Candidate(_Model):
    """One step of the walk: a uv with a release.

    On the axis of uv versions ``release`` is None, since a long walk does not ask every uv.
    """

    uv: str
    release: str | None = None
    """None where only the uv itself can say which it installs; the trial's result has it then."""
    commit_date: str | None = None
    """Of the release's tag, ISO 8601; None where the release is not known yet, or has no date."""

    @property
    def name(self) -> str:
        """What it is called: the release's tag if that is walked, else the uv version."""
        return self.release or self.uv


class Inquiry(_Model):
    """Everything that a bisection was asked, complete enough to go on with it on another day."""

    schema_version: Literal[1] = SCHEMA
    id: str
    started: str
    """When, ISO 8601 with the time zone."""
    command: str
    """The command line that asked, for the report and for going on."""
    axis: Axis
    subject: str
    """What is tested, in words: an extension of the matrix, a requirement, a wheel, a command."""
    extension: str | None
    """Name of the cells' extension or check."""
    asked: str | None = None
    """The subject as it was written, so that it is found again."""
    imports: str | None = None
    matrix: str
    """Path of the matrix file."""
    mirror: str | None = None
    trusts_mirror: bool = False
    shell: str | None = None
    """A command that is run inside the environment: 0 good, 125 untestable, other 1-127 bad."""
    platform: Platform
    base: str
    source: Source
    flavour: Flavour = Flavour.STRIPPED
    python: str
    candidates: tuple[Candidate, ...]
    """In the order of the walk, both ends included."""
    good: int
    bad: int
    """The ends, as places in ``candidates``; one is the first and the other the last."""
    direction: Direction
    any_failure: bool = False
    everything: bool = False
    """Whether every candidate is tested: a timeline."""
    check: int = 0
    retests: int = 1
    jobs: int = 1
    notes: tuple[str, ...] = ()
    """Sentences that were said at the start, such as why replicas are used."""

    def name(self, place: int) -> str:
        """What a candidate is called."""
        return self.candidates[place].name


class Trial(_Model):
    """A candidate that was tested, with all that was seen."""

    place: int
    """Which of the candidates."""
    result: Result
    is_kept: bool = False
    """Whether it was tested on an earlier day, with the very same pins."""
    notes: tuple[str, ...] = ()
    """What happened on the way, such as a crash of the emulator that was tried again."""


def signature_of(result: Result) -> Signature:
    """The failure that a result shows, by stage, reason and library.

    What an exception says beside these may differ from release to release.
    """
    return replace(signature.of(result), message="")


def answer_of(result: Result, asked: Signature | None) -> Answer:
    """What a result says. ``asked``: the failure that is asked about; None: any."""
    if not result.outcome.was_tried:
        return Answer.UNTESTABLE
    if result.outcome is SUCCESS[result.kind].reason:
        return Answer.GOOD
    if asked is None or signature_of(result) == asked:
        return Answer.BAD
    return Answer.UNTESTABLE


def asked_about(inquiry: Inquiry, trials: tuple[Trial, ...]) -> Signature | None:
    """The signature of the bad end: of the trial nearest to it that failed; None for any failure.

    Until something has failed there is nothing to compare with, and None too.
    """
    if inquiry.any_failure:
        return None
    failed = [trial for trial in trials if answer_of(trial.result, None) is Answer.BAD]
    if not failed:
        return None
    nearest = min(failed, key=lambda trial: abs(trial.place - inquiry.bad))
    return signature_of(nearest.result)


def answers_of(inquiry: Inquiry, trials: tuple[Trial, ...]) -> dict[int, tuple[Answer, ...]]:
    """What was answered of each candidate, in the order in which it was."""
    asked = asked_about(inquiry, trials)
    found: dict[int, tuple[Answer, ...]] = {}
    for trial in trials:
        answer = answer_of(trial.result, asked)
        found[trial.place] = (*found.get(trial.place, ()), answer)
    return found
