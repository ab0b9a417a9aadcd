"""A bisection's journal: what was asked, and what was found out, a line for each as soon as it is.

A line is on the disk before the next candidate is asked. So who is killed loses what was under way,
and no more: at most the last line is there in part, and that is no line.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import ValidationError

from harness import cache, inputs, owner
from harness.bisection import endings
from harness.bisection.model import Inquiry, Trial
from harness.bisection.search import Cancelled, Ending
from harness.errors import ConfigurationError, SelectionError

MOST_BYTES = 64 << 20
"""Bytes of a journal; one of a hundred trials has a thousandth of it."""

FOLDER = "bisections"
"""Where journals are, below the cache's root. They are no entries, so that none is pruned."""

_SUFFIX = ".jsonl"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_INCIDENTAL = {"id", "started", "command", "notes", "jobs"}
"""What may differ between two inquiries that ask the same."""


class Journal:
    """An open journal. Only one thread may write to it.

    As a context manager: closed at the end, so that another process may go on.
    """

    def __init__(self, path: Path, lock: FileLock | None) -> None:
        """Read a journal. ``lock`` is held for who writes; None for who only reads.

        Raises :class:`ConfigurationError` for what cannot be read, or is damaged.
        """
        self.path = path
        self.inquiry, self._trials, self._ending, self._size = _read(path)
        self._lock = lock
        with _explained(path, "written"):
            self._stream = path.open("r+b", buffering=0) if lock else None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What was tested so far, oldest first."""
        return tuple(self._trials)

    @property
    def ending(self) -> Ending | None:
        """How it ended; None where it goes on. What was cancelled has an ending and goes on."""
        return self._ending

    def append(self, trial: Trial) -> None:
        """Write a trial down, for good; who goes on has cancelled no longer.

        Raises :class:`DiskFullError`, and then nothing was appended.
        """
        self._write({"trial": trial.model_dump(mode="json")})
        self._trials.append(trial)
        self._ending = None

    def end(self, ending: Ending) -> None:
        """Write down how it ended."""
        self._write({"ending": endings.dump(ending)})
        self._ending = ending

    def close(self) -> None:
        """Let others go on with it."""
        if self._stream:
            self._stream.close()
        if self._lock:
            _release(self.path, self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, data: dict[str, Any]) -> None:
        if self._stream is None:
            raise ValueError(f"{self.path} was opened to be read")
        if is_final(self._ending):
            raise ValueError(f"{self.path} has come to its end")
        line = _line(data)
        with _explained(self.path, "written"):
            # Whatever is there of a line that was not written whole.
            self._stream.truncate(self._size)
            self._stream.seek(self._size)
            left = memoryview(line)
            while left:
                left = left[self._stream.write(left) :]
            os.fsync(self._stream.fileno())
        self._size += len(line)


def is_final(ending: Ending | None) -> bool:
    """Whether there is nothing to go on with."""
    return ending is not None and not isinstance(ending, Cancelled)


def create(inquiry: Inquiry) -> Journal:
    """Begin a journal, which appears with its first line in it or not at all."""
    if not _ID.fullmatch(inquiry.id):
        raise ValueError(f"{inquiry.id!r} cannot be the name of a file")
    _check(inquiry, {inquiry.good, inquiry.bad})
    path = _path(inquiry.id)
    with _explained(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquire(path)
    try:
        with _explained(path, "written"):
            if path.exists():
                raise ConfigurationError(
                    f"there is a bisection {inquiry.id} already",
                    advice=f"Go on with it: pbs-matrix bisect --resume {inquiry.id}",
                )
            scratch = path.with_name(f".{path.name}.new")
            try:
                with scratch.open("wb") as stream:
                    stream.write(_line({"inquiry": inquiry.model_dump(mode="json")}))
                    stream.flush()
                    os.fsync(stream.fileno())
                scratch.rename(path)
            finally:
                scratch.unlink(missing_ok=True)
            _keep_name(path.parent)
        return Journal(path, lock)
    except BaseException:
        _release(path, lock)
        raise


def open(path: Path, *, write: bool = True) -> Journal:
    """Open a journal, to go on with it or, without ``write``, to look at it at any time.

    A last line that was not written whole is no part of it. Raises :class:`ConfigurationError`,
    with file and line, for any other damage, and where another process is at it.
    """
    if not write:
        return Journal(path, None)
    with _explained(path, "read"):
        path = Path(os.path.realpath(path, strict=True))
    lock = _acquire(path)
    try:
        return Journal(path, lock)
    except BaseException:
        _release(path, lock)
        raise


def newest(*, unfinished: bool = True) -> Path | None:
    """The journal that was written to last; ``unfinished``: of those that can be gone on with."""
    return next((path for path in _all() if not unfinished or not _is_finished(path)), None)


def find(which: str = "", *, unfinished: bool = False) -> Path:
    """A journal by its id or path, or the newest; :class:`SelectionError` where there is none."""
    if not which:
        if found := newest(unfinished=unfinished):
            return found
        what = "was cut short" if unfinished else "has been made"
        raise SelectionError(
            f"no bisection {what} in {_folder()}", advice="Begin one: pbs-matrix bisect --help"
        )
    with suppress(OSError):  # A name may be too long for any file.
        for path in (*([_path(which)] if _ID.fullmatch(which) else []), Path(which)):
            if path.is_file():
                return path
    known = ", ".join(path.stem for path in _all()[:5])
    raise SelectionError(
        f"there is no bisection {which!r} in {_folder()}, nor such a file",
        advice=f"The newest are: {known}." if known else "None has been made.",
    )


def unfinished_like(inquiry: Inquiry) -> str | None:
    """The id of the newest that asks the same and can be gone on with."""
    for path in _all():
        with suppress(OSError, ValueError, RecursionError):
            asked = _parse(next(inputs.lines(path), b""))
            if isinstance(asked, Inquiry) and matches(asked, inquiry) and not _is_finished(path):
                return path.stem
    return None


def matches(one: Inquiry, other: Inquiry) -> bool:
    """Whether both ask the same, whoever asked it, when, and in how many words."""
    return one.model_dump(exclude=_INCIDENTAL) == other.model_dump(exclude=_INCIDENTAL)


def new_id(now: datetime, about: str) -> str:
    """A name that no journal has, such as ``20261128-2204-python-mscl-x86_64-ab12``."""
    words = re.sub(r"[^A-Za-z0-9._]+", "-", about).strip("-")[:60]
    while True:
        found = f"{now:%Y%m%d-%H%M}-{words}-{secrets.token_hex(2)}"
        if not _path(found).exists():
            return found


def _folder() -> Path:
    return cache.root() / FOLDER


def _path(name: str) -> Path:
    return _folder() / f"{name}{_SUFFIX}"


def _all() -> list[Path]:
    """Every journal, the one written to last first."""
    found = []
    for path in _folder().glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _acquire(path: Path) -> FileLock:
    # Closed by whichever thread.
    lock = FileLock(cache.lock_file(path), thread_local=False)
    try:
        with _explained(path, "locked"):
            lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"{path.stem} is being gone on with{_by_whom(path)}",
            advice="Let that one end, or interrupt it: what it found out is kept.",
        ) from None
    with suppress(OSError):
        _holder(path).write_text(owner.this_process())
    return lock


def _release(path: Path, lock: FileLock) -> None:
    if lock.is_locked:
        with suppress(OSError):
            _holder(path).unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> Path:
    """Who holds the lock. Not in the lock's own file, which whoever tries it may empty."""
    return path.with_name(f".{path.name}.owner")


def _by_whom(path: Path) -> str:
    with suppress(OSError, ValueError):
        label = _holder(path).read_text()
        if owner.is_alive(label):
            return f" by process {int(label.split()[3])}"
    return " by another process"


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _whole(content: bytes) -> list[bytes]:
    """The lines that were written whole.

    Where the power went, a file may have its new length, and zeros for what had not been written.
    """
    *lines, _ = content.split(b"\n")
    if lines and b"\0" in lines[-1]:
        lines.pop()
    return lines


def _read(path: Path) -> tuple[Inquiry, list[Trial], Ending | None, int]:
    """What a journal says, and the bytes of it that are whole."""
    with _explained(path, "read"):
        lines = _whole(inputs.content(path, most=MOST_BYTES))
    trials: list[Trial] = []
    ending: Ending | None = None
    inquiry: Inquiry | None = None
    for number, line in enumerate(lines or [b""], 1):
        try:
            found = _parse(line)
            if is_final(ending):
                raise ValueError("a line after the ending")
            if isinstance(found, Inquiry) is not (inquiry is None):
                raise ValueError("the first line and no other has the inquiry")
            if isinstance(found, Inquiry):
                inquiry = found
                _check(inquiry, {inquiry.good, inquiry.bad})
                continue
            assert inquiry is not None  # it was the first line
            if isinstance(found, Trial):
                _check(inquiry, {found.place})
                trials.append(found)
                ending = None
            else:
                _check(inquiry, endings.places(found))
                ending = found
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{path}:{number}: damaged, or of another version: {_first_problem(error)}",
                advice="It cannot be gone on with. Remove the file, and ask again: answers that "
                "were had before are kept elsewhere.",
            ) from None
    assert inquiry is not None  # else there was an error
    return inquiry, trials, ending, sum(len(line) + 1 for line in lines)


def _parse(line: bytes) -> Inquiry | Trial | Ending:
    match json.loads(line):
        case {"inquiry": data, **rest} if not rest:
            return Inquiry.model_validate(data)
        case {"trial": data, **rest} if not rest:
            return Trial.model_validate(data)
        case {"ending": data, **rest} if not rest:
            return endings.load(data)
    raise ValueError("neither an inquiry, nor a trial, nor an ending")


def _check(inquiry: Inquiry, places: set[int]) -> None:
    if beyond := places - set(range(len(inquiry.candidates))):
        raise ValueError(f"there is no candidate {min(beyond)}")


def _is_finished(path: Path) -> bool:
    """Whether it has ended, by its last line alone; not of what is damaged there."""
    with suppress(OSError, ValueError, RecursionError, IndexError):
        line = _whole(inputs.content(path, most=MOST_BYTES))[-1]
        return line.startswith(b'{"ending"') and is_final(endings.load(json.loads(line)["ending"]))
    return False


def _keep_name(folder: Path) -> None:
    """Have a new name in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_problem(error: Exception) -> str:
    match error:
        case ValidationError():
            first = error.errors(include_url=False)[0]
            return f"{inputs.keys(first['loc'])}{inputs.short(first['msg'])}"
        case json.JSONDecodeError():
            return f"not valid JSON: {error.msg} (column {error.colno})"
        case _:
            return inputs.short(str(error))


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        with cache.disk_full_explained(path.parent):
            yield
    except Timeout:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be {what}: {error.strerror or error}",
            advice=f"Bisections are kept in {_folder()}; {cache.LOCATION_VARIABLE} says another "
            "place for the cache.",
        ) from error
