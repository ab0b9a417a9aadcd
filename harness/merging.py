"""Results files, such as the shards of one run, made into one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO

from harness import inputs, results, signature
from harness.brief import Shared
from harness.errors import ConfigurationError, DiskFullError
from harness.results import Result
from harness.signature import FLAKY
from harness.why import printable

MOST_BYTES = 256 << 20
"""Bytes of a file with ids; one of a million has half of it."""

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

    cells: int
    """How many there are."""
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
    _kept: IO[bytes] = field(repr=False)
    _order: Sequence[_Cell] = field(repr=False)

    def lines(self) -> Iterator[bytes]:
        """JSON, one for each cell: in the order of what was expected, all others behind by id.

        With a line's end each, and only for as long as :func:`merged` holds them.
        """
        for cell in self._order:
            self._kept.seek(cell.place)
            line = self._kept.readline()
            yield _noted(line, cell.answers) if len(cell.answers) > 1 else line

    @property
    def exit_code(self) -> int:
        """1 where something is missing."""
        return int(bool(self.missing))


@dataclass(kw_only=True, slots=True)
class _Cell:
    """What is known of a cell so far."""

    place: int
    """Where its line begins among those that are kept on the disk."""
    was_tried: bool
    answers: Collection[str]
    """In their order."""
    files: tuple[Path, ...]


@contextmanager
def merged(
    paths: Iterable[Path], expected: Sequence[str] | None = None, *, folder: Path | None = None
) -> Iterator[Merged]:
    """One line for each cell of some results files, whatever order the files were written in.

    Of several lines about a cell the last one counts, though never one without an answer against
    one with an answer. Where the answers differ (by :mod:`harness.signature`), all of them are
    noted in that line's evidence, under :data:`FLAKY`. Raises :class:`ConfigurationError` for a
    line that is no result, with its file and number.

    What is read is kept on the disk, in a file without a name in ``folder``, or where temporary
    files are: memory holds a cell's id, its answer, and where its line is.
    """
    where = Path(tempfile.gettempdir()) if folder is None else folder
    try:
        kept = tempfile.TemporaryFile(dir=where)  # noqa: SIM115  # its end must not raise
    except OSError as error:
        raise _unkept(where, error) from error
    try:
        try:
            found = _merged(paths, expected, kept)
        except OSError as error:
            raise _unkept(where, error) from error
        yield found
    finally:
        # What could not be written cannot be when it is closed either.
        with suppress(OSError):
            kept.close()


def _unkept(where: Path, error: OSError) -> DiskFullError:
    return DiskFullError(
        f"what is read cannot be kept in {where} meanwhile: {error.strerror or error}",
        advice="Free as much there as the files take together.",
    )


def _merged(paths: Iterable[Path], expected: Sequence[str] | None, kept: IO[bytes]) -> Merged:
    cells: dict[str, _Cell] = {}
    seen: set[bytes] = set()
    share = Shared()
    end = read = identical = repeated = 0
    for path in paths:
        for result in results.read(path):
            read += 1
            line = result.model_dump_json().encode() + b"\n"
            tried = result.outcome.was_tried
            answers = share(answers_of(result))
            # A line has its cell's id, so the same line is of the same cell.
            digest = blake2b(line, digest_size=16).digest()
            is_new = digest not in seen
            seen.add(digest)
            cell = cells.get(result.id)
            if cell is None:
                cell = cells[result.id] = _Cell(
                    place=end, was_tried=tried, answers=answers, files=()
                )
                counts = True
            else:
                identical += not is_new
                repeated += is_new
                counts = is_new and (tried or not cell.was_tried)
            if counts:
                cell.place, cell.was_tried = end, tried
                kept.write(line)
                end += len(line)
            if answers != cell.answers:
                if not isinstance(cell.answers, dict):
                    cell.answers = dict.fromkeys(cell.answers)
                cell.answers.update(dict.fromkeys(answers))
            if tried and path not in cell.files:
                cell.files = share((*cell.files, path))
    kept.flush()
    order = list(dict.fromkeys(expected or ()))
    others = sorted(cells.keys() - set(order))
    found = [cells[name] for name in chain(order, others) if name in cells]
    differing = sorted(name for name, cell in cells.items() if len(cell.answers) > 1)
    return Merged(
        cells=len(found),
        read=read,
        identical=identical,
        repeated=repeated,
        conflicts=tuple(
            Conflict(cell=name, answers=tuple(cells[name].answers), files=cells[name].files)
            for name in differing
        ),
        missing=tuple(name for name in order if name not in cells),
        unexpected=tuple(others) if expected is not None else (),
        _kept=kept,
        _order=found,
    )


def answers_of(result: Result) -> tuple[str, ...]:
    """The answers that a line stands for, in words; more than one where it says it is flaky."""
    own = (signature.of(result).words,) if result.outcome.was_tried else ()
    noted = result.evidence.get(FLAKY)
    if not isinstance(noted, list):
        return own
    return tuple(dict.fromkeys((*(text for text in noted if isinstance(text, str)), *own)))


def _noted(line: bytes, answers: Iterable[str]) -> bytes:
    result = Result.model_validate_json(line)
    evidence = {**result.evidence, FLAKY: list(answers)}
    return result.model_copy(update={"evidence": evidence}).model_dump_json().encode() + b"\n"


def expected_ids(path: Path) -> tuple[str, ...]:
    """The ids in a file: one a line, or what ``pytest --collect-only -q`` printed.

    Empty lines and those that begin with ``#`` are passed over.
    """
    try:
        raw = inputs.content(path, most=MOST_BYTES)
        text = raw.decode()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"{path}:{line}: not UTF-8 text"
    else:
        return ids_in(text, str(path))
    raise ConfigurationError(problem, advice="Make it with pytest --collect-only -q > FILE.")


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
    parts = [f"{_count(merged.read, 'line')}: {_count(merged.cells, 'cell')}"]
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
