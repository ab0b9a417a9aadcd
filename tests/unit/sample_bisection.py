"""Made bisections: what is asked, what each candidate answers, and the endings' own search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import releases
from harness.bisection.model import Axis, Candidate, Inquiry, Trial, answers_of
from harness.bisection.search import Direction, Ending, Question, Step, cancelled, decide
from harness.outcome import Outcome, Reason, Stage, untestable
from harness.platforms import Platform
from harness.remedies import Remedy
from harness.results import Predicted, Result
from harness.sources import Source
from harness.verdict import Status

LIBPYTHON = "libpython3.13.so.1.0"
RELEASES = ("20250409", "20250517", "20250521", "20250529", "20250604")
UVS = {
    "0.7.5": "20250409",
    "0.7.6": "20250517",
    "0.7.7": "20250521",
    "0.7.8": "20250409",
    "0.7.9": "20250529",
}
"""What each installs on x86_64."""


def inquiry(
    axis: Axis = Axis.RELEASE,
    direction: Direction = Direction.BREAK,
    tags: Sequence[str] = RELEASES,
    **change: object,
) -> Inquiry:
    """Of python-mscl on x86_64, over some releases or over :data:`UVS`."""
    dates = releases.commit_dates()
    candidates = (
        tuple(Candidate(uv=uv) for uv in UVS)
        if axis is Axis.UV
        else tuple(Candidate(uv="0.8.0", release=t, commit_date=dates.get(t)) for t in tags)
    )
    last = len(candidates) - 1
    asked = Inquiry(
        id="20261128-2204-python-mscl-x86_64-ab12",
        started="2026-11-28T22:04:05+00:00",
        command="pbs-matrix bisect --extension python-mscl",
        axis=axis,
        subject="python-mscl",
        extension="python-mscl",
        asked="python-mscl",
        matrix="/home/user/matrix.yaml",
        platform=Platform.X86_64,
        base="debian13",
        source=Source.REPLICA,
        python="3.13",
        candidates=candidates,
        good=0 if direction is Direction.BREAK else last,
        bad=last if direction is Direction.BREAK else 0,
        direction=direction,
    )
    return asked.model_copy(update=change)


def result(asked: Inquiry, place: int, outcome: Outcome, **change: object) -> Result:
    """A line of results for a candidate."""
    candidate = asked.candidates[place]
    release = candidate.release or UVS[candidate.uv]
    predicted = None
    if outcome.reason is Reason.MISSING_LIBRARY:
        predicted = Predicted(
            outcome=Reason.MISSING_LIBRARY,
            missing_library=outcome.missing_library,
            needed_by="/opt/extensions/python-mscl/site/python_mscl/_mscl.so",
            searched=("/lib/x86_64-linux-gnu", "/usr/lib"),
        )
    values = {
        "id": f"python-mscl-uv{candidate.uv}-cp313-{release}~replica-x86_64-debian13",
        "uv": candidate.uv,
        "python": asked.python,
        "release": release,
        "source": asked.source,
        "link_model": releases.link_model(release),
        "linked": releases.link_model(release),
        "platform": asked.platform,
        "base": asked.base,
        "extension": "python-mscl",
        "remedy": Remedy.NONE,
        "stage": outcome.stage,
        "outcome": outcome.reason,
        "missing_library": outcome.missing_library,
        "message": outcome.message,
        "expected": Reason.IMPORTS,
        "expected_library": None,
        "expected_because": "",
        "expected_link": None,
        "predicted": predicted,
        "status": Status.AS_EXPECTED,
        "seconds": 0.25,
        "evidence": outcome.evidence,
        "pins": {
            "image": f"sha256:{place:064x}",
            "base_digest": "ba5e" * 16,
            "uv_sha256": "c443" * 16,
            "archive": f"cpython-3.13.5+{release}~replica-x86_64.tar.gz",
            "archive_sha256": f"{place + 160:064x}",
            "archive_by": "downloads-json",
            "archive_is_replica": asked.source is Source.REPLICA,
            "before": None,
            "wheels": {"python_mscl-67.0.1.0-cp313-cp313-manylinux2014_x86_64.whl": "4b73" * 16},
            "qemu": None,
            "engine": "20.10.24",
        },
    }
    return Result.model_validate({**values, **change})


GOOD = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS, seconds=0.25)
OTHER = Outcome(stage=Stage.IMPORT, reason=Reason.UNDEFINED_SYMBOL, message="undefined symbol: f")
UNTESTABLE = untestable(Stage.IMAGE, "the image cannot be built\nfor some reason")


def bad(message: str = "", library: str = LIBPYTHON, **evidence: object) -> Outcome:
    """An import that fails for want of a library."""
    said = message or f"{library}: cannot open shared object file: No such file or directory"
    return Outcome(
        stage=Stage.IMPORT,
        reason=Reason.MISSING_LIBRARY,
        missing_library=library,
        message=said,
        evidence=evidence,
    )


def trials(asked: Inquiry, answers: str | Iterable[tuple[int, str]]) -> tuple[Trial, ...]:
    """By letters: ``.`` good, ``x`` bad, ``?`` untestable, ``o`` another failure, ``-`` none."""
    outcomes = {".": GOOD, "x": bad(), "?": UNTESTABLE, "o": OTHER}
    pairs = enumerate(answers) if isinstance(answers, str) else answers
    return tuple(
        Trial(place=place, result=result(asked, place, outcomes[letter]))
        for place, letter in pairs
        if letter != "-"
    )


def searched(asked: Inquiry, truth: str) -> tuple[Trial, ...]:
    """What the search tests of candidates that are so, by the letters of :func:`trials`."""
    question = question_of(asked)
    tested: tuple[Trial, ...] = ()
    while isinstance(step := decide(question, answers_of(asked, tested)), Step):
        tested += trials(asked, [(place, truth[place]) for place in step.ask])
    return tested


def ending_of(asked: Inquiry, tested: Sequence[Trial]) -> Ending:
    """How the search itself ends; ``Cancelled`` where it would go on."""
    question, answers = question_of(asked), answers_of(asked, tuple(tested))
    found = decide(question, answers)
    return cancelled(question, answers) if isinstance(found, Step) else found


def question_of(asked: Inquiry) -> Question:
    """What the search is asked."""
    return Question(
        count=len(asked.candidates),
        good=asked.good,
        bad=asked.bad,
        direction=asked.direction,
        everything=asked.everything,
        check=asked.check,
        retests=asked.retests,
    )
