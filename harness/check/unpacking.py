"""The largest library of a wheel, unpacked in a thread while the rest of the program loads.

To load modules and to unpack are nearly all that a check does, and zlib leaves Python to others
while it works. Nothing here is believed: :mod:`harness.check.wheel` takes what was unpacked only
where the archive, which zipfile reads, has these very bytes of this very file as a member. What
is odd is left alone, for whoever reads the wheel to say what is wrong with it.

Before this is loaded nothing is unpacked, so it needs little of the standard library.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import SimpleQueue
from threading import Thread

FIRST, CHUNK = 4096, 1 << 18
"""Bytes unpacked at once. Most members are no ELF files, which their first bytes tell."""

MOST = 32 << 20
"""Bytes unpacked that nobody has asked for yet."""

LEAST = 1 << 20
"""Bytes unpacked of a library that is worth a thread."""

MAX_TABLE = 1 << 18
"""Bytes of an archive's table of contents that is looked through: some thousand members."""

END, ENTRY, HEADER = 22, 46, 30
"""Bytes of an archive's end, of a member's entry in the table, and of its header, without names
(https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3)."""

DEFLATED = 8
PACKED = 1 << 18


def begin(names: Iterable[str]) -> None:
    """Begin with the first of some names that is a wheel's, and return at once."""
    name = next((name for name in names if name.endswith(".whl")), None)
    if name is None:
        return
    try:
        # What is no regular file, such as a pipe, must not be waited for.
        number = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return
    file = os.fstat(number)
    found = _largest_library(number, file) if stat.S_ISREG(file.st_mode) else None
    if found is None:
        os.close(number)
        return
    header, start, size = found
    _begun[_key(file, header, size)] = Ahead(_member(number, start, size))


def begun(file: os.stat_result, header: int, size: int) -> Ahead | None:
    """What was begun of a file's member, by where its header is and its packed bytes; once."""
    return _begun.pop(_key(file, header, size), None)


def unpacked(read: Callable[[int], bytes]) -> Generator[bytes, None, None]:
    """What deflated bytes unpack to: :data:`FIRST`, then :data:`CHUNK` of them at a time.

    The last chunk alone is shorter. Raises :class:`zlib.error` where they are damaged.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed, size, is_whole = b"", FIRST, True
    while is_whole:
        parts, left = [], size
        while left and not inflate.eof:
            packed = packed or read(PACKED)
            part = inflate.decompress(packed, left)
            if not (part or packed):
                break
            packed = inflate.unconsumed_tail
            left -= len(part)
            parts.append(part)
        yield b"".join(parts)
        size, is_whole = CHUNK, not left


class Ahead:
    """Chunks that are made in a thread, up to :data:`MOST` bytes, before they are asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._made: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._is_wanted = True
        self._thread: Thread | None = Thread(target=self._make, daemon=True)
        self._thread.start()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> bytes:
        if self._thread is not None:
            found = self._made.get()
            if isinstance(found, Exception):
                raise found
            if found is not None:
                return found
            self._thread.join()
            self._thread = None
        # From where the thread has left it.
        return next(self._chunks)

    def close(self) -> None:
        """Stop, whether all of it was asked for or not."""
        self._is_wanted = False

    def _make(self) -> None:
        left = MOST
        try:
            while left > 0 and self._is_wanted and (chunk := next(self._chunks, None)) is not None:
                left -= len(chunk)
                self._made.put(chunk)
        except Exception as error:
            self._made.put(error)
        self._made.put(None)


_begun: dict[tuple[int, ...], Ahead] = {}


def _key(file: os.stat_result, header: int, size: int) -> tuple[int, ...]:
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, header, size


def _largest_library(number: int, file: os.stat_result) -> tuple[int, int, int] | None:
    """Where its header and its bytes begin, and how many these are; None of an odd archive."""
    length = END + 0xFFFF
    tail = os.pread(number, length, max(0, file.st_size - length))
    end = tail.rfind(b"PK\5\6")
    if not 0 <= end <= len(tail) - END:
        return None
    size, offset = struct.unpack_from("<II", tail, end + 12)
    if size > MAX_TABLE:
        return None
    table = os.pread(number, size, offset)
    best = LEAST, 0, 0
    at = 0
    while at + ENTRY <= len(table) and table.startswith(b"PK\1\2", at):
        (method,) = struct.unpack_from("<H", table, at + 10)
        packed, full, *lengths = struct.unpack_from("<IIHHH", table, at + 20)
        (header,) = struct.unpack_from("<I", table, at + 42)
        name = table[at + ENTRY : at + ENTRY + lengths[0]]
        if method == DEFLATED and (name.endswith(b".so") or b".so." in name):
            best = max(best, (full, header, packed))
        at += ENTRY + sum(lengths)
    _, header, packed = best
    local = os.pread(number, HEADER, header)
    if not packed or len(local) < HEADER:
        return None
    start = header + HEADER + sum(struct.unpack_from("<HH", local, 26))
    return (header, start, packed) if start + packed <= file.st_size else None


def _member(number: int, start: int, size: int) -> Iterator[bytes]:
    """Unpack some bytes of an open file, and close it."""
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        found = os.pread(number, min(count, left), start + size - left)
        left -= len(found)
        return found

    try:
        yield from unpacked(read)
    finally:
        os.close(number)
