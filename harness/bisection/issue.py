"""A bisection's report for an upstream issue, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, assert_never

from harness import explanation
from harness.bisection import history, wording
from harness.bisection.history import History
from harness.bisection.model import Axis, Candidate
from harness.bisection.search import (
    Answer,
    Cancelled,
    Counts,
    Direction,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    Transition,
    WrongEnds,
)
from harness.markdown import block, code, details, table, word
from harness.outcome import Reason
from harness.results import Predicted, Result

Reproduce = Callable[[Candidate], str]
"""The command that tests a candidate again."""

LIMIT = 65_000
"""Characters. GitHub takes 65,536 in an issue."""

_WIDTH = 100
_AROUND = 2
"""Candidates on each side of a change that are shown with it, its own two among them."""

_ROWS = 12
_SECTIONS = 6
"""Changes that have a section of their own; all are in the table before."""

_FAILURES = 3
_LONG = 2500
_PINS = 12_000
_FOLD = 5000
"""Characters for what is around the log, fences longer than whatever is in it included."""


def text(seen: History, ending: Ending, reproduce: Reproduce, harness: str = "") -> str:
    """All of it, as far as it fits into an issue. ``harness`` is this project's version."""
    changes = wording.transitions(seen, ending)
    sides = _sides(ending, changes)
    parts = [
        f"# {code(seen.inquiry.subject)}: {_headline(seen, ending)}",
        wording.sentence(seen, ending, code),
        *_replicas(seen),
        *([_bullets(ending.warnings)] if ending.warnings else []),
        *_go_on(seen, ending),
        "## What was asked",
        _asked(seen),
        "## Timeline",
        block(history.strip(seen, _WIDTH).plain),
        *_changes(seen, changes),
        *_tested(seen, [] if changes else sides),
        *_failures(seen, sides),
        *_commands(seen, sides, reproduce),
        *_pins(seen, sides, harness or _version()),
    ]
    written = ""
    for number, part in enumerate(parts):
        if len(written) + len(part) > LIMIT - _FOLD:
            written += f"{len(parts) - number} more parts would be too long for an issue.\n\n"
            break
        written += f"{part}\n\n"
    if (left := LIMIT - _FOLD - len(written)) > 0:
        log = "\n".join(wording.log(seen, ending))
        written += details("Log", block(log, left)) + "\n"
    return written


def _go_on(seen: History, ending: Ending) -> list[str]:
    if not isinstance(ending, Cancelled):
        return []
    return [f"To go on: {code(f'pbs-matrix bisect --resume {seen.inquiry.id}')}"]


def _version() -> str:
    try:
        return metadata.version("pbs-matrix")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "not installed"


def _sides(ending: Ending, changes: Sequence[Transition]) -> list[int]:
    """The candidates that a report is about, in order."""
    match ending:
        case WrongEnds(good=good, bad=bad):
            ends = (good.index, good.nearest, bad.index, bad.nearest)
            return sorted({place for place in ends if place is not None})
        case Flaky(index=index):
            return [index]
        case Found() | Range() | NotMonotonic() | Cancelled():
            shown = changes[:_SECTIONS]
            return sorted({place for change in shown for place in (change.last, change.first)})
        case _:
            assert_never(ending)


def _headline(seen: History, ending: Ending) -> str:
    def name(place: int) -> str:
        return wording.candidate(seen, place, code)

    verb = "breaks" if seen.inquiry.direction is Direction.BREAK else "is mended"
    match ending:
        case Found():
            return f"{verb} with {name(ending.first)}"
        case Range():
            return f"{verb} between {name(ending.last)} and {name(ending.first)}"
        case NotMonotonic():
            return f"{len(ending.transitions)} changes"
        case WrongEnds():
            return "the ends are not what they were said to be"
        case Flaky():
            return f"flaky with {name(ending.index)}"
        case Cancelled():
            return "cut short"
        case _:
            assert_never(ending)


def _replicas(seen: History) -> list[str]:
    if not seen.replicas:
        return []
    which = "All" if seen.replicas == len(seen.tried) else f"{seen.replicas} of the"
    return [
        f"> **Replicas, not releases.** {which} {len(seen.tried)} trials ran on replicas with the "
        "releases' link models: stand-ins that are made of Debian's CPython. They show what the "
        "loader does with such an interpreter, and nothing else about a release."
    ]


def _asked(seen: History) -> str:
    inquiry = seen.inquiry
    last = len(inquiry.candidates) - 1
    is_break = inquiry.direction is Direction.BREAK
    said = {inquiry.good: "said to be good", inquiry.bad: "said to be bad"}

    def end(place: int) -> str:
        date = seen.date(place)
        words = [*([word(date)] if date else []), *([said[place]] if place in said else [])]
        name = wording.candidate(seen, place, code)
        return f"{name} ({', '.join(words)})" if words else name

    kept = sum(trial.is_kept for trial in seen.trials)
    told = sum(seen.state(place) in (Answer.GOOD, Answer.BAD) for place in seen.answers)
    tested = f"{len(seen.answers)} of {last + 1} {seen.noun}s in {len(seen.trials)} trials; "
    tested += f"{told} gave an answer"
    others = [
        f"{code(wording.what_happened(trial))} with {wording.candidate(seen, trial.place, code)}"
        for trial in seen.others
    ]
    rows = [
        ("subject", code(inquiry.subject)),
        (
            "asked for",
            "the first bad after a good one" if is_break else "the first good after a bad one",
        ),
        ("platform", f"{inquiry.platform}, base {code(inquiry.base)}"),
        (
            "interpreter",
            f"CPython {word(inquiry.python)}, {inquiry.flavour}, source {inquiry.source}",
        ),
        ("walk", f"{last + 1} {seen.noun}s, from {end(0)} to {end(last)}"),
        (
            "tested",
            tested + (f", {kept} of them on an earlier day with the same pins" if kept else ""),
        ),
        ("bad means", code(seen.signature.words) if seen.signature else "any failure"),
        *([("other failures, taken for untestable", _listed(others))] if others else []),
        ("command", code(inquiry.command)),
        ("started", word(inquiry.started)),
    ]
    notes = f"\n\n{_bullets(map(code, inquiry.notes[:_ROWS]))}" if inquiry.notes else ""
    return table(("", ""), rows) + notes


def _changes(seen: History, changes: Sequence[Transition]) -> Iterator[str]:
    """Every change that was seen in a table, and the first of them in detail."""
    if not changes:
        return

    def name(place: int) -> str:
        return wording.candidate(seen, place, code)

    yield "## Changes"
    if len(changes) > 1:
        yield table(
            ("from", "to", "between"),
            [
                (
                    f"{name(change.last)} {change.was}",
                    f"{name(change.first)} {change.becomes}",
                    wording.between(change, name) or "nothing",
                )
                for change in changes[: 5 * _ROWS]
            ],
        )
    for change in changes[:_SECTIONS]:
        yield f"### {name(change.last)} {change.was}, {name(change.first)} {change.becomes}"
        if seen.inquiry.axis is Axis.UV and (said := wording.by_releases(seen, change, code)):
            yield said
        if not change.adjacent:
            yield f"Between them, {wording.between(change, name)}."
        yield _bullets(f"[{code(what)}]({url})" for what, url in wording.links(seen, change))
        around = range(change.last - _AROUND + 1, change.first + _AROUND)
        yield _table(seen, [p for p in around if 0 <= p < len(seen.inquiry.candidates)])
    if (more := len(changes) - _SECTIONS) > 0:
        yield f"{more} more changes are in the table above and in the log."


def _tested(seen: History, sides: Sequence[int]) -> list[str]:
    return ["## What was tested", _table(seen, sides)] if sides else []


def _table(seen: History, places: Sequence[int]) -> str:
    """What is known of some candidates."""
    by_uv = seen.inquiry.axis is Axis.UV
    head = [
        seen.noun,
        *(["installs"] if by_uv else []),
        "commit",
        "link model",
        "answer",
        "what happened",
    ]
    rows = [_row(seen, place, by_uv) for place in places]
    if (more := len(rows) - _ROWS) > 0:
        half = _ROWS // 2
        rows[half:-half] = [[f"… {more} more", *[""] * (len(head) - 1)]]
    return table(head, rows)


def _row(seen: History, place: int, by_uv: bool) -> list[str]:
    release, date = seen.release(place), seen.date(place)
    happened: dict[str, int] = {}
    for trial in seen.of(place):
        for text in (wording.what_happened(trial), *trial.notes):
            happened[text] = happened.get(text, 0) + 1
    return [
        code(seen.inquiry.name(place)),
        *([code(release) if release else "unknown"] if by_uv else []),
        word(date) if date else "unknown",
        _linked(seen, place),
        wording.times(Counts.of(seen.answers.get(place, ()))),
        _listed(
            [
                code(text) + (f" ×{number}" if number > 1 else "")
                for text, number in happened.items()
            ]
        ),
    ]


def _linked(seen: History, place: int) -> str:
    """How an interpreter is linked, and how it should be if that is another way."""
    model, trial = seen.link_model(place), seen.witness(place)
    if trial and model is not trial.result.link_model:
        return f"{model} (by the table of releases {trial.result.link_model})"
    return model or "unknown"


def _failures(seen: History, sides: Iterable[int]) -> Iterator[str]:
    """What failed at the bad sides, and why; the same words once."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place in sides:
        for trial, answer in zip(seen.of(place), seen.answers.get(place, ()), strict=True):
            if answer is Answer.BAD:
                places = found.setdefault(tuple(_failure(trial.result)), [])
                places += [] if place in places else [place]
    if found:
        yield "## Why"
    for words, places in list(found.items())[:_FAILURES]:
        names = wording.listed(places, lambda place: wording.candidate(seen, place, code))
        yield f"{names}:"
        yield from words
    if (more := len(found) - _FAILURES) > 0:
        yield f"{more} more ways to fail were seen."


def _failure(result: Result) -> Iterator[str]:
    """What a failure said, and the loader's rules of it."""
    if result.message:
        yield block(result.message, _LONG)
    if isinstance(findings := result.evidence.get("findings"), Mapping) and findings:
        yield block("\n".join(f"{name}: {value}" for name, value in findings.items()), _LONG)
    if result.predicted:
        yield _predicted(result, result.predicted)
    if said := explanation.of(result.evidence):
        yield block("\n".join(said.reasons), _LONG)


def _predicted(result: Result, predicted: Predicted) -> str:
    """What the loader's rules had said, from the files alone."""
    if predicted.outcome is not Reason.MISSING_LIBRARY:
        return "By the loader's rules, all libraries are found, so it fails for another reason."
    library = code(predicted.missing_library or "")
    agrees = (result.outcome, result.missing_library) == (
        predicted.outcome,
        predicted.missing_library,
    )
    text = f"By the loader's rules, {library} is missing"
    if not agrees:
        text += ", which is not what happened"
    if predicted.needed_by:
        text += f"; {code(predicted.needed_by)} needs it"
    searched = ", ".join(map(code, predicted.searched[:_ROWS]))
    return f"{text}; looked for in {searched}." if searched else f"{text}."


def _commands(seen: History, sides: Iterable[int], reproduce: Reproduce) -> Iterator[str]:
    """One command for each side."""
    commands = {place: reproduce(seen.inquiry.candidates[place]) for place in sides}
    if commands:
        yield "## To reproduce"
    for place, command in commands.items():
        yield f"{wording.candidate(seen, place, code)}, {seen.state(place)}:"
        yield block(command, _LONG)


def _pins(seen: History, sides: Sequence[int], harness: str) -> list[str]:
    """Versions and hashes: what all sides share once, and then in what they differ."""
    tried = {place: trial for place in sides if (trial := seen.witness(place))}
    pins = {place: dict(_flat(trial.result.pins)) for place, trial in tried.items()}
    if not pins:
        return []
    first, *others = pins.values()
    shared = {
        key: value
        for key, value in first.items()
        if all(key in o and o[key] == value for o in others)
    }
    lines = ["all of them:" if others else f"{seen.inquiry.name(next(iter(pins)))}:"]
    lines += _aligned({"harness": harness, **shared})
    for place, own in pins.items():
        uv = tried[place].result.uv
        own = {"uv": uv, **{key: own[key] for key in own if key not in shared}}
        if others:
            lines += ["", f"{seen.inquiry.name(place)} ({seen.state(place)}):"]
        lines += _aligned(own)
    return [details("Versions and hashes", block("\n".join(lines), _PINS))]


def _flat(pins: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in pins.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key} ")
        else:
            yield f"{before}{key}", "none" if value is None else str(value)


def _aligned(pins: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, pins), default=0)
    for key, value in pins.items():
        yield f"  {key:<{width}}  {value}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _ROWS
    return ", ".join(words[:_ROWS]) + (f" and {more} more" if more > 0 else "")
