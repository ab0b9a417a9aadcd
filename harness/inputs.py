"""Files that somebody names: read up to a limit, and their mistakes told by file, line and key.

A name may lead to anything: a folder, a pipe that nobody writes to, a device without an end. None
of them is waited for for ever, or fills the memory.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from harness.why import printable

LONGEST = 16 << 20
"""Bytes of a line; those that a run writes have a thousandth of it."""

_DEVICE = 1 << 20
"""Bytes that are read of a device, which may have no end."""

SEARCHED = 4 << 20
"""Bytes of a document in which the line of a mistake is looked for, which takes its time."""

_SHORT = 200
"""Characters of what a message quotes from a file."""

_TOKEN = re.compile(rb'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+', re.DOTALL)
_INVALID = re.compile(r"(?P<what>.*) at line (?P<line>\d+) column (?P<column>\d+)", re.DOTALL)

_Place = tuple[str | int, ...]
_M = TypeVar("_M", bound=BaseModel)


class Mistake(ValueError):
    """What is wrong in a file, and where."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place = place
        """``file:line``."""
        self.what = what


def content(path: Path, *, most: int) -> bytes:
    """All of a file; :class:`OSError` where it cannot be read, or has more than ``most`` bytes."""
    with _opened(path) as stream:
        about = os.fstat(stream.fileno())
        if stat.S_ISCHR(about.st_mode):
            most = min(most, _DEVICE)
        # Of a file it is known at once.
        found = stream.read(most + 1) if about.st_size <= most else b""
        if len(found) > most or about.st_size > most:
            raise OSError(errno.EOVERFLOW, f"it has more than {most} bytes", str(path))
        _require_writer(stream, path, begun=bool(found))
    return found


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, with their ends; :class:`OSError` as :func:`content`, by line."""
    with _opened(path) as stream:
        begun = False
        while line := stream.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise OSError(errno.EOVERFLOW, f"a line has more than {LONGEST} bytes", str(path))
            begun = True
            yield line
        _require_writer(stream, path, begun=begun)


def json_of(model: type[_M], path: Path, *, most: int) -> _M:
    """A file with one JSON document, in which no key is there twice.

    Raises :class:`OSError` as :func:`content`, and :class:`Mistake`.
    """
    raw = content(path, most=most)
    try:
        found = model.model_validate_json(raw)
    except ValidationError as error:
        raise mistake(error, raw, path) from None
    if twice := _twice(raw):
        raise Mistake(
            f"{path}:{_line(raw, twice[1])}", f"the key {_quoted(twice[0])} is there twice"
        )
    return found


def toml(path: Path, *, most: int) -> dict[str, Any]:
    """A file with a TOML document. Raises :class:`OSError` as :func:`content`, and a Mistake."""
    import tomllib  # for few of those who read files

    raw = content(path, most=most)
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise Mistake(f"{path}:{_line(raw, error.start)}", "not UTF-8 text") from None
    except RecursionError:
        raise Mistake(f"{path}:{_deepest(raw)}", "not valid TOML: nested too deeply") from None
    except ValueError as error:  # of numbers that nobody writes, too
        said, last = str(error), raw.rstrip().count(b"\n") + 1
        where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", said)
        number = int(where[1]) if where and where[1] else last
        what = said[: where.start()] if where else said
        raise Mistake(f"{path}:{number}", f"not valid TOML: {short(what)}") from None


def mistake(error: ValidationError, raw: bytes, path: Path, *, line: int = 1) -> Mistake:
    """The first of the mistakes in some JSON, which begins at a ``line`` of a file."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid" and (said := _INVALID.fullmatch(first["ctx"]["error"])):
        # A document that is cut short ends where its text does, not behind the last line's end.
        number = line + min(int(said["line"]) - 1, raw.rstrip().count(b"\n"))
        what = f"not valid JSON: {said['what']} (column {said['column']})"
        return Mistake(f"{path}:{number}", short(what))
    location = first["loc"]
    if len(raw) > SEARCHED:  # its key says where it is, too
        return Mistake(f"{path}:{line}", f"{keys(location)}{short(first['msg'])}")
    number = line + _line(raw, _offset(raw, location)) - 1
    return Mistake(f"{path}:{number}", f"{keys(location)}{short(first['msg'])}")


def keys(location: Sequence[str | int]) -> str:
    """Such as ``jobs.3.seconds:`` with a space, to stand before what is wrong; '' for all of it."""
    return f"{short('.'.join(map(str, location)))}: " if location else ""


def _opened(path: Path) -> BinaryIO:
    # Else to open a pipe that nobody writes to would wait for somebody.
    stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - for who has asked
    os.set_blocking(stream.fileno(), True)
    return stream


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _require_writer(stream: BinaryIO, path: Path, *, begun: bool) -> None:
    """A pipe from which nothing came is not an empty file: whoever should write to it is gone."""
    if not begun and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
        raise OSError(errno.EPIPE, "nobody has written to this pipe", str(path))


def _walk(raw: bytes) -> Iterator[tuple[list[str | int | None], int, bool]]:
    """Keys and values of valid JSON: where it is, at which byte it begins, whether it is a key.

    The list is the same each time, and changes.
    """
    opened: list[bytes] = []
    path: list[str | int | None] = []
    for found in _TOKEN.finditer(raw):
        token, at = found[0], found.start()
        if token in b"}]":
            opened.pop()
            path.pop()
        elif token == b",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else None
        elif token == b":":
            continue
        elif opened and opened[-1] == b"{" and path[-1] is None:
            path[-1] = json.loads(token)
            yield path, at, True
        else:
            yield path, at, False
            if token in b"{[":
                opened.append(token)
                path.append(0 if token == b"[" else None)


def _offset(raw: bytes, location: Sequence[str | int]) -> int:
    deepest, offset = -1, 0
    for path, at, _ in _walk(raw):
        if deepest < len(path) <= len(location) and path == [*location[: len(path)]]:
            deepest, offset = len(path), at
    return offset


def _twice(raw: bytes) -> tuple[str, int] | None:
    """A key that an object has twice, and where it is for the second time."""
    is_twice = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal is_twice
        is_twice |= len({key for key, _ in pairs}) < len(pairs)

    # In C, since nearly all files have none.
    json.loads(raw, object_pairs_hook=look, parse_int=str)
    if not is_twice:
        return None
    seen: set[_Place] = set()
    for path, at, is_key in _walk(raw):
        place = tuple(part for part in path if part is not None)
        if is_key and place in seen:
            return str(place[-1]), at
        if is_key:
            seen.add(place)
    return None


def _deepest(raw: bytes) -> int:
    """The line in which brackets are deepest in each other, more or less: strings count, too."""
    depth = deepest = 0
    found = 1
    for number, line in enumerate(raw.split(b"\n"), 1):
        depth += line.count(b"[") + line.count(b"{")
        if depth > deepest:
            deepest, found = depth, number
        depth -= line.count(b"]") + line.count(b"}")
    return found


def _line(raw: bytes, offset: int) -> int:
    return raw.count(b"\n", 0, offset) + 1


def _quoted(text: str) -> str:
    return f"'{short(text)}'"


def short(text: str) -> str:
    """A text from a file, for a message: on one line, and not too long, whatever is in it."""
    said = printable(text[:_SHORT])
    return f"{said}…" if len(text) > _SHORT else said
