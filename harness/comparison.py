"""What changed between two runs, in crater's terms: whatever matrix.yaml expects of either.

https://github.com/rust-lang/crater runs the same builds on two compilers; its "regressed" is what
worked with the first and does not with the second.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, groupby, islice
from typing import Any, assert_never

from rich.console import Console
from rich.text import Text

from harness import brief, merging, signature
from harness.brief import Brief, Shared
from harness.markdown import code, details, table, without_passwords
from harness.outcome import Reason
from harness.results import Result
from harness.signature import Signature
from harness.sources import Source
from harness.verdict import Status
from harness.why import printable

LIMIT = 65_000
"""Characters of Markdown. GitHub takes 65,536 in a comment."""

SCHEMA = 1
"""Version of the JSON's format."""


class Change(StrEnum):
    """What became of a cell; each is one of these. In the order in which they are told."""

    REGRESSED = "regressed"
    FLAKY = "flaky"
    """Different answers within one side, or a line says so: nothing is claimed of a change."""
    OTHER_FAILURE = "other-failure"
    """Failed and fails, with another signature."""
    UNTESTABLE_AFTER = "untestable-after"
    FIXED = "fixed"
    ADDED = "added"
    REMOVED = "removed"
    NO_LONGER_APPLICABLE = "no-longer-applicable"
    NEWLY_APPLICABLE = "newly-applicable"
    UNTESTABLE_BEFORE = "untestable-before"
    UNTESTABLE_BOTH = "untestable-both"
    SAME_FAILURE = "same-failure"
    SAME_SUCCESS = "same-success"
    NOT_APPLICABLE = "not-applicable"
    """On both sides."""

    @property
    def phrase(self) -> str:
        """For people."""
        match self:
            case Change.REGRESSED:
                return "regressed"
            case Change.FLAKY:
                return "flaky"
            case Change.OTHER_FAILURE:
                return "still failing, otherwise than before"
            case Change.UNTESTABLE_AFTER:
                return "untestable in NEW only"
            case Change.FIXED:
                return "fixed"
            case Change.ADDED:
                return "added"
            case Change.REMOVED:
                return "removed"
            case Change.NO_LONGER_APPLICABLE:
                return "no longer applicable"
            case Change.NEWLY_APPLICABLE:
                return "newly applicable"
            case Change.UNTESTABLE_BEFORE:
                return "untestable in BASE only"
            case Change.UNTESTABLE_BOTH:
                return "untestable in both"
            case Change.SAME_FAILURE:
                return "still failing as before"
            case Change.SAME_SUCCESS:
                return "still succeeding"
            case Change.NOT_APPLICABLE:
                return "not applicable in either"
            case _:
                assert_never(self)


COUNTED = (Change.SAME_SUCCESS, Change.NOT_APPLICABLE)
"""Of these only the number is told to people."""

PROMINENT = (
    *(Change.REGRESSED, Change.FLAKY, Change.OTHER_FAILURE),
    *(Change.UNTESTABLE_AFTER, Change.FIXED),
)
"""Of these every cell is told; Markdown folds the others away."""

SHOWN = 5
"""Cells of an extension that a terminal shows of what is not prominent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """What one run says of a cell."""

    result: Brief
    """The last line with an answer; where there is none, the last line."""
    signature: Signature
    answers: tuple[str, ...]
    """All different ones, in words; none where nothing was tried."""
    says_flaky: bool
    """Whether the evidence of a line says so, and not which answers there were."""

    @property
    def is_flaky(self) -> bool:
        """Whether answers differ, or may."""
        return self.says_flaky or len(self.answers) > 1

    @property
    def succeeded(self) -> bool:
        """Whether all answers were a success."""
        return self._only(True)

    @property
    def failed(self) -> bool:
        """Whether all answers were a failure, though perhaps not the same one."""
        return self._only(False)

    def _only(self, success: bool) -> bool:
        # The words for a success are its reason and nothing else.
        kinds = {answer in signature.SUCCESSES for answer in self.answers}
        return kinds == {success} and not self.says_flaky

    @property
    def words(self) -> str:
        """For people."""
        return ", then ".join(self.answers) if len(self.answers) > 1 else self.signature.words


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What differs beside the answer, and may therefore be why; nothing says that it is."""

    what: str
    base: str
    new: str

    @property
    def words(self) -> str:
        """In one line."""
        return f"{self.what}: {self.base} → {self.new}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A cell in both runs; a side that does not have it is None."""

    cell: str
    change: Change
    base: Side | None
    new: Side | None
    causes: tuple[Cause, ...] = ()

    @property
    def extension(self) -> str:
        """Name of the extension, or of the check."""
        side = self.new or self.base
        assert side is not None
        return side.result.extension

    @property
    def signature(self) -> str:
        """In words, by which it is grouped: that of NEW, but of what is gone that of BASE."""
        base, new = self.base, self.new
        if self.change in (Change.FIXED, Change.REMOVED, Change.NO_LONGER_APPLICABLE):
            new = None
        side = new or base
        assert side is not None
        if self.change is Change.OTHER_FAILURE and base:
            return f"{base.words} → {side.words}"
        if self.change is Change.FLAKY and base and new:
            return f"{base.words} | {side.words}"
        return side.words

    @property
    def is_expected(self) -> bool:
        """Whether matrix.yaml expects of NEW what it does."""
        return self.new is not None and self.new.result.status is Status.AS_EXPECTED


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells of one change with one signature, by extension."""

    signature: str
    extensions: Mapping[str, tuple[Pair, ...]]

    @property
    def size(self) -> int:
        """How many cells it has."""
        return sum(map(len, self.extensions.values()))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of comparing two runs."""

    pairs: tuple[Pair, ...]
    """Each cell once: in the order of BASE, those that were added behind."""
    notes: tuple[str, ...]
    """What is to be known before all else, in sentences."""

    def of(self, change: Change) -> tuple[Pair, ...]:
        """The cells of one kind."""
        return tuple(pair for pair in self.pairs if pair.change is change)

    def groups(self, change: Change) -> tuple[Group, ...]:
        """The cells of one kind by signature, the largest group first, and by extension."""
        by_signature: dict[str, dict[str, list[Pair]]] = {}
        for pair in self.of(change):
            extensions = by_signature.setdefault(pair.signature, {})
            extensions.setdefault(pair.extension, []).append(pair)
        found = [
            Group(signature=words, extensions={name: tuple(e[name]) for name in sorted(e)})
            for words, e in by_signature.items()
        ]
        return tuple(sorted(found, key=lambda group: (-group.size, group.signature)))

    @property
    def counts(self) -> dict[Change, int]:
        """How many cells there are of every kind."""
        found = Counter(pair.change for pair in self.pairs)
        return {change: found[change] for change in Change}

    @property
    def compared(self) -> int:
        """Cells in which both sides gave an answer."""
        return sum(
            all(side is not None and side.result.outcome.was_tried for side in (p.base, p.new))
            for p in self.pairs
        )

    @property
    def exit_code(self) -> int:
        """2 where nothing could be compared, else 1 where something regressed."""
        if not self.compared:
            return 2
        return int(bool(self.of(Change.REGRESSED)))


def compare(base: Iterable[Result], new: Iterable[Result], *, common: bool = False) -> Comparison:
    """Pair the results of two runs by the ids of their cells; ``common``: only those of both.

    A run may have several lines about a cell, as after retries. Where all of them succeeded in BASE
    and none in NEW, that is a regression however NEW's differ; only what is not clear is flaky.
    """
    shared = Shared()
    earlier = _sides(base, {}, shared)
    later = _sides(new, earlier, shared)
    pairs = tuple(
        _pair(cell, earlier.get(cell), later.get(cell), shared)
        for cell in chain(earlier, (cell for cell in later if cell not in earlier))
        if not common or (cell in earlier and cell in later)
    )
    return Comparison(pairs=pairs, notes=tuple(_notes(pairs)))


def _sides(run: Iterable[Result], earlier: Mapping[str, Side], shared: Shared) -> dict[str, Side]:
    """What a run says, by cell. What the ``earlier`` one said in the same way is kept once."""
    found: dict[str, Side] = {}
    for result in run:
        noted = result.evidence.get(signature.FLAKY)
        side = Side(
            result=brief.of(result, shared),
            signature=shared(signature.of(result)),
            answers=shared(merging.answers_of(result)),
            says_flaky=bool(noted) and not isinstance(noted, list),
        )
        if (known := found.get(result.id)) is not None:
            side = _together(known, side, shared)
        if (same := earlier.get(result.id)) == side:
            side = same
        found[side.result.id] = side
    return found


def _together(first: Side, second: Side, shared: Shared) -> Side:
    """What two lines about a cell say, of which the second one came later."""
    tried = (side.result.outcome.was_tried for side in (first, second))
    counts = first if list(tried) == [True, False] else second
    return replace(
        counts,
        answers=shared(tuple(dict.fromkeys((*first.answers, *second.answers)))),
        says_flaky=first.says_flaky or second.says_flaky,
    )


def _pair(cell: str, base: Side | None, new: Side | None, shared: Shared) -> Pair:
    causes: tuple[Cause, ...] = ()
    if base and new and base is not new:  # else they differ in nothing
        causes = shared(tuple(_causes(base.result, new.result)))
    return Pair(cell=cell, change=_change(base, new), base=base, new=new, causes=causes)


def _change(base: Side | None, new: Side | None) -> Change:
    if base is None:
        return Change.ADDED
    if new is None:
        return Change.REMOVED
    outcomes = base.result.outcome, new.result.outcome
    match [outcome is Reason.UNTESTABLE for outcome in outcomes]:
        case [True, True]:
            return Change.UNTESTABLE_BOTH
        case [True, False]:
            return Change.UNTESTABLE_BEFORE
        case [False, True]:
            return Change.UNTESTABLE_AFTER
    match [outcome is Reason.NOT_APPLICABLE for outcome in outcomes]:
        case [True, True]:
            return Change.NOT_APPLICABLE
        case [True, False]:
            return Change.NEWLY_APPLICABLE
        case [False, True]:
            return Change.NO_LONGER_APPLICABLE
    if base.succeeded and new.failed:
        return Change.REGRESSED
    if base.failed and new.succeeded:
        return Change.FIXED
    if base.is_flaky or new.is_flaky:
        return Change.FLAKY
    if new.succeeded:
        return Change.SAME_SUCCESS
    return Change.SAME_FAILURE if base.signature == new.signature else Change.OTHER_FAILURE


DIGEST = 12
"""Characters of a sha256 that people are shown."""

PINS = {
    "archive_sha256": "archive",
    "uv_sha256": "uv",
    "base_digest": "base image",
}
"""What a cell rests on, by its key in ``pins``. The image rests on these."""


def _causes(base: Brief, new: Brief) -> Iterator[Cause]:
    """What is known of both sides and differs."""
    if base.is_replica is not new.is_replica:
        yield Cause(what="source", base=_source(base), new=_source(new))
    if base.linked and new.linked and base.linked is not new.linked:
        yield Cause(what="linked", base=base.linked, new=new.linked)
    yield from _pins(base.pins, new.pins, "")
    if "qemu" in base.pins and "qemu" in new.pins and base.pins["qemu"] != new.pins["qemu"]:
        yield Cause(what="processor", base=_processor(base), new=_processor(new))
    one, other = base.pins.get("before"), new.pins.get("before")
    if isinstance(one, dict) and isinstance(other, dict):
        yield from _pins(one, other, " before the upgrade")
    one, other = base.pins.get("wheels"), new.pins.get("wheels")
    if isinstance(one, dict) and isinstance(other, dict) and one != other:
        yield Cause(what="wheels", base=_unlike(one, other), new=_unlike(other, one))


def _source(result: Brief) -> str:
    if not result.is_replica:
        return "the published archive"
    disguised = result.source is not Source.REPLICA
    return "a replica under the release's name" if disguised else "a replica"


def _processor(result: Brief) -> str:
    """Whether a real one or an emulated one ran the cell."""
    version = result.pins["qemu"]
    return "native" if version is None else f"QEMU {version}"


def _pins(base: Mapping[str, Any], new: Mapping[str, Any], when: str) -> Iterator[Cause]:
    for key, what in PINS.items():
        one, other = base.get(key), new.get(key)
        if isinstance(one, str) and isinstance(other, str) and one != other:
            yield Cause(what=what + when, base=one[:DIGEST], new=other[:DIGEST])


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The wheels of one side that the other does not have, or not the same."""
    found = [name for name in one if name not in other or one[name] != other[name]]
    return ", ".join(f"{name} {str(one[name])[:DIGEST]}" for name in sorted(found)) or "none"


def _notes(pairs: Sequence[Pair]) -> Iterator[str]:
    both = sum(pair.base is not None and pair.new is not None for pair in pairs)
    if pairs and not both:
        yield "The two files have no cell in common."
    removed, added = (
        {_without_source(p.cell, side.result): side.result.is_replica for p, side in found}
        for found in (
            [(p, p.base) for p in pairs if p.change is Change.REMOVED and p.base],
            [(p, p.new) for p in pairs if p.change is Change.ADDED and p.new],
        )
    )
    if same := removed.keys() & added.keys():
        words = "is" if len(same) == 1 else "are"
        yield (
            f"The sources differ: {len(same)} of the {len(added)} cells that were added {words} "
            f"among the {len(removed)} that were removed but for ~replica in their ids. Run both "
            "with the same --source, or ask `pbs-matrix fidelity` in what replicas differ."
        )
    replicas = [
        sum(bool(side and side.result.is_replica) for side in sides)
        for sides in ([p.base for p in pairs], [p.new for p in pairs])
    ]
    if any(replicas):
        yield (
            f"{replicas[0]} cells of BASE and {replicas[1]} of NEW ran on replicas, stand-ins with "
            "the releases' link models, not on the releases."
        )


def _without_source(cell: str, result: Brief) -> str:
    return cell.replace(f"~{result.source}", "", 1)


def summary(comparison: Comparison) -> str:
    """The counts, in one line."""
    counts = comparison.counts
    always = (Change.REGRESSED, Change.FIXED)
    parts = [
        f"{count} {change.phrase}" for change, count in counts.items() if count or change in always
    ]
    noun = "cell" if len(comparison.pairs) == 1 else "cells"
    return f"{len(comparison.pairs)} {noun}, {comparison.compared} compared: {', '.join(parts)}"


STYLES = {
    Change.REGRESSED: "bold red",
    Change.FLAKY: "magenta",
    Change.OTHER_FAILURE: "yellow",
    Change.UNTESTABLE_AFTER: "cyan",
    Change.FIXED: "bold green",
}


def render(comparison: Comparison, console: Console) -> None:
    """Print it for a terminal: what changed first, the counts last."""
    for change in Change:
        if change in COUNTED or not (groups := comparison.groups(change)):
            continue
        size = sum(group.size for group in groups)
        console.print(Text(f"{change.phrase}: {size}", style=STYLES.get(change, "bold")))
        for group in groups:
            _say(console, f"  {group.signature} ({group.size})")
            for name, pairs in group.extensions.items():
                _say(console, f"    {name} ({len(pairs)})")
                shown = pairs if change in PROMINENT else pairs[:SHOWN]
                for line in _with_causes(shown):
                    _say(console, f"      {line}")
                if more := len(pairs) - len(shown):
                    _say(console, f"      and {more} more")
    for note in comparison.notes:
        _say(console, note)
    _say(console, summary(comparison))


def _say(console: Console, line: str) -> None:
    console.print(Text(printable(without_passwords(line))), soft_wrap=True)


def _with_causes(pairs: Sequence[Pair]) -> Iterator[str]:
    """The cells; what differs beside them is told once below those of which it is the same."""
    for causes, same in groupby(pairs, key=lambda pair: pair.causes):
        for pair in same:
            yield pair.cell + _expected(pair)
        for cause in causes:
            yield f"  {cause.words}"


def _expected(pair: Pair) -> str:
    told = pair.change in (Change.REGRESSED, Change.OTHER_FAILURE) and pair.is_expected
    return " (as matrix.yaml expects)" if told else ""


def markdown(comparison: Comparison, *, limit: int = LIMIT) -> str:
    """The same for a comment on GitHub or a job's summary, no longer than ``limit`` characters.

    What others wrote is code everywhere. What does not fit is counted; ``limit`` has to leave room
    for the counts and the notes, some 3000 characters.
    """
    counts = comparison.counts
    # The notes are our own words, with nothing of anybody else's in them.
    parts = [
        f"### {_headline(comparison)}",
        table(
            ("cells", "what became of them"),
            ((str(count), change.phrase) for change, count in counts.items() if count),
        ),
        *comparison.notes,
    ]
    written = "\n\n".join(parts) + "\n"
    for change in Change:
        if change not in COUNTED and counts[change]:
            title = f"{change.phrase}: {counts[change]}"
            is_prominent = change in PROMINENT
            room = limit - len(written) - len(title) - _FRAME
            content = _section(comparison.groups(change), room)
            whole = f"#### {title}\n\n{content}" if is_prominent else details(title, content)
            written += f"\n{whole}\n"
    return written


_FRAME = 2500
"""Characters kept for what says that no more has room, once for each kind of change."""

_CAUSES = 3
"""Told of a cell; a line of a table gets no longer for more of them."""


def _headline(comparison: Comparison) -> str:
    if not comparison.compared:
        return "Nothing could be compared"
    regressed = comparison.counts[Change.REGRESSED]
    noun = "cell" if regressed == 1 else "cells"
    return f"{regressed} {noun} regressed" if regressed else "Nothing regressed"


def _section(groups: Sequence[Group], room: int) -> str:
    """Tables of the cells, as many as there is room for."""
    written: list[str] = []
    left = sum(group.size for group in groups)
    for group in groups:
        head = f"{code(group.signature)} ({group.size}):\n\n" + table(
            ("extension", "cell", "BASE", "NEW", "what else differs"), ()
        )
        rows: list[str] = []
        for pair in (pair for pairs in group.extensions.values() for pair in pairs):
            row = f"\n| {' | '.join(_row(pair))} |"
            needed = len(row) + (0 if rows else len(head) + 2)
            if needed > room:
                break
            rows.append(row)
            room -= needed
        left -= len(rows)
        if rows:
            written.append(head + "".join(rows))
        if len(rows) < group.size:
            noun = "cell has" if left == 1 else "cells have"
            written.append(f"{left} more {noun} no room here.")
            break
    return "\n\n".join(written)


def _row(pair: Pair) -> tuple[str, ...]:
    causes = [code(cause.words) for cause in pair.causes[:_CAUSES]]
    if more := len(pair.causes) - len(causes):
        causes.append(f"{more} more")
    return (
        code(pair.extension),
        code(pair.cell) + _expected(pair),
        code(pair.base.words) if pair.base else "",
        code(pair.new.words) if pair.new else "",
        ", ".join(causes),
    )


def as_json(comparison: Comparison) -> Iterator[str]:
    """Every cell, and the groups by signature and extension, for programs: piece by piece."""
    frame = {
        "schema_version": SCHEMA,
        "exit_code": comparison.exit_code,
        "compared": comparison.compared,
        "counts": {str(change): count for change, count in comparison.counts.items()},
        "notes": comparison.notes,
        "groups": [],
        "cells": [],
    }
    # Nothing within a string looks like these, since its quotes are escaped.
    first, rest = json.dumps(frame, indent=1).split('"groups": []')
    between, last = rest.split('"cells": []')
    yield first
    yield from _listed("groups", _groups(comparison))
    yield between
    yield from _listed("cells", map(_cell, comparison.pairs))
    yield last


_PIECES = 100
"""Of those of which JSON is made, so many at a time."""


def _listed(name: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A list as ``json.dumps`` writes it one level deep."""
    encoder = json.JSONEncoder(indent=1)
    begin = f'"{name}": ['
    for item in items:
        yield f"{begin}\n  "
        pieces = encoder.iterencode(item)
        while piece := "".join(islice(pieces, _PIECES)):
            yield piece.replace("\n", "\n  ")
        begin = ","
    yield "\n ]" if begin == "," else f"{begin}]"


def _groups(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for change in Change:
        for group in comparison.groups(change):
            yield {
                "change": change,
                "signature": group.signature,
                "extensions": {
                    name: [pair.cell for pair in pairs] for name, pairs in group.extensions.items()
                },
            }


def _cell(pair: Pair) -> dict[str, Any]:
    return {
        "cell": pair.cell,
        "change": pair.change,
        "extension": pair.extension,
        "base": _side(pair.base),
        "new": _side(pair.new),
        "what_else_differs": [
            {"what": cause.what, "base": cause.base, "new": cause.new} for cause in pair.causes
        ],
    }


def _side(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "stage": side.signature.stage,
        "outcome": side.signature.reason,
        "missing_library": side.signature.missing_library,
        "message": side.signature.message,
        "answers": side.answers,
        "status": side.result.status,
        "is_replica": side.result.is_replica,
    }
