"""Results files, such as the shards of one run, made into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import results, signature
from harness.errors import ConfigurationError
from harness.results import Result
from harness.why import printable

FLAKY = "flaky"
"""Key in a line's evidence: the different answers that were merged into it, in words."""

_PYTEST_ID = re.compile(r"::[^\[\]]+\[(?P<id>.+)\]$")


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A cell that was answered differently."""

    cell: str
    answers: tuple[str, ...]
    """In words, in the order of the files; the last of them is kept."""
    files: tuple[Path, ...]
    """Where they are, each once."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What came of some files."""

    lines: tuple[str, ...]
    """JSON, one for each cell: in the order of what was expected, all others behind by their id."""
    read: int
    """Lines in all files."""
    identical: int
    """Lines dropped because the same line was there."""
    repeated: int
    """Lines dropped because another one about the same cell counts, with the same answer."""
    conflicts: tuple[Conflict, ...]
    missing: tuple[str, ...]
    """Expected ids that no file has."""
    unexpected: tuple[str, ...]
    """Ids that a file has and nobody expected; none where nothing is known of that."""

    @property
    def content(self) -> bytes:
        """The file."""
        return "".join(f"{line}\n" for line in self.lines).encode()

    @property
    def exit_code(self) -> int:
        """1 where something is missing."""
        return int(bool(self.missing))


@dataclass(kw_only=True)
class _Cell:
    """What is known of a cell so far."""

    line: str
    was_tried: bool
    seen: set[str]
    """Lines; only more than one where they differ."""
    answers: dict[str, None] = field(default_factory=dict)
    files: dict[Path, None] = field(default_factory=dict)
    repeated: int = 0


def merge(paths: Iterable[Path], expected: Sequence[str] | None = None) -> Merged:
    """One line for each cell of some results files, whatever order the files were written in.

    Of several lines about a cell the last one counts, though never one without an answer against
    one with an answer. Where the answers differ (by :mod:`harness.signature`), all of them are
    noted in that line's evidence, under :data:`FLAKY`. Raises :class:`ConfigurationError` for a
    line that is no result, with its file and number.
    """
    cells: dict[str, _Cell] = {}
    read = identical = 0
    for path in paths:
        for result in results.read(path):
            read += 1
            line = result.model_dump_json()
            cell = cells.get(result.id)
            if cell is None:
                cell = cells[result.id] = _Cell(
                    line=line, was_tried=result.outcome.was_tried, seen={line}
                )
            elif line in cell.seen:
                identical += 1
            else:
                cell.seen.add(line)
                cell.repeated += 1
                if result.outcome.was_tried or not cell.was_tried:
                    cell.line, cell.was_tried = line, result.outcome.was_tried
            cell.answers |= dict.fromkeys(answers_of(result))
            if result.outcome.was_tried:
                cell.files[path] = None
    order = list(dict.fromkeys(expected or ()))
    others = sorted(cells.keys() - set(order))
    return Merged(
        lines=tuple(_final(cells[name]) for name in (*order, *others) if name in cells),
        read=read,
        identical=identical,
        repeated=sum(cell.repeated for cell in cells.values()),
        conflicts=tuple(
            Conflict(cell=name, answers=tuple(cell.answers), files=tuple(cell.files))
            for name, cell in sorted(cells.items())
            if len(cell.answers) > 1
        ),
        missing=tuple(name for name in order if name not in cells),
        unexpected=tuple(others) if expected is not None else (),
    )


def answers_of(result: Result) -> tuple[str, ...]:
    """The answers that a line stands for, in words; more than one where it says it is flaky."""
    own = (signature.of(result).words,) if result.outcome.was_tried else ()
    noted = result.evidence.get(FLAKY)
    if not isinstance(noted, list):
        return own
    return tuple(dict.fromkeys((*(text for text in noted if isinstance(text, str)), *own)))


def _final(cell: _Cell) -> str:
    if len(cell.answers) < 2:
        return cell.line
    result = Result.model_validate_json(cell.line)
    evidence = {**result.evidence, FLAKY: list(cell.answers)}
    return result.model_copy(update={"evidence": evidence}).model_dump_json()


def expected_ids(path: Path) -> tuple[str, ...]:
    """The ids in a file: one a line, or what ``pytest --collect-only -q`` printed.

    Empty lines and those that begin with ``#`` are passed over.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}",
            advice="Make it with pytest --collect-only -q > FILE.",
        ) from error
    return ids_in(text, str(path))


def ids_in(text: str, name: str) -> tuple[str, ...]:
    """The ids in a text as :func:`expected_ids` has them; ``name`` is what to call it."""
    lines = text.splitlines()
    # pytest prints counts and more around its ids.
    found = [match["id"] for line in lines if (match := _PYTEST_ID.search(line.strip()))]
    if found:
        return tuple(found)
    return tuple(_plain_ids(name, lines))


def _plain_ids(name: str, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if len(text.split()) > 1:
            raise ConfigurationError(
                f"{name}:{number}: not the id of a cell: {text[:80]!r}",
                advice="Write one id a line, or make the file with pytest --collect-only -q.",
            )
        yield text


def report(merged: Merged) -> Iterator[str]:
    """What happened, in lines for people."""
    yield from map(printable, _report(merged))


def _report(merged: Merged) -> Iterator[str]:
    for conflict in merged.conflicts:
        files = ", ".join(map(str, conflict.files))
        yield f"different answers: {conflict.cell}: {', then '.join(conflict.answers)} ({files})"
    for name in merged.missing:
        yield f"missing: {name}"
    for name in merged.unexpected:
        yield f"not expected: {name}"
    dropped = merged.identical + merged.repeated
    parts = [f"{_count(merged.read, 'line')}: {_count(len(merged.lines), 'cell')}"]
    if dropped:
        kinds = f"{merged.identical} identical, {merged.repeated} not"
        parts.append(f"{_count(dropped, 'duplicate')} dropped ({kinds})")
    parts.append(f"{len(merged.conflicts)} with different answers")
    parts.append(f"{len(merged.missing)} missing")
    if merged.unexpected:
        parts.append(f"{len(merged.unexpected)} not expected")
    yield ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
