"""Wheels: their files as an installer would put them into an environment, without unpacking.

Anybody may have made the archive. What an installer would not unpack is an error; the limits below
bound what any archive costs. Nothing is written but large members, to a file without a name in the
cache.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from harness.check import unpacking
from harness.check.target import MAX_SOURCE, Draft, Target, may_be_elf, place
from harness.errors import TargetError

MAX_DIRECTORY = 32 << 20
"""Bytes of the archive's table of contents, which is read whole."""

MAX_MEMBERS = 100_000
"""Each takes half a kilobyte of memory. The largest wheels have some ten thousand files."""

MAX_FILE = 8 << 30
"""Bytes of one member. The largest libraries of PyPI, for GPUs, have two thousand million."""

MAX_RATIO = 20
"""Bytes unpacked for each of a member, and of the archive: machine code has 3 to 5, and deflate
reaches 1032."""

FREE = 64 << 20
"""Bytes that may be unpacked of any archive beyond that, however small."""

IN_MEMORY = 32 << 20
"""Bytes of a member that are kept in memory, and that any may have; the rest goes to a file."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What installers unpack; the other methods of zip files have no bound on what a byte becomes."""

NAME = re.compile(
    r"[\w.]+-v?\d[\w.!+]*(?:-\d\w*)?-(?P<python>[\w.]+)-(?P<abi>[\w.]+)-(?P<platform>[\w.]+)\.whl"
)
"""A wheel's file name. Not packaging's parser, which takes longer to load than most wheels."""

AGAIN = "Download or build it again; an installer would not unpack it either."


def read(path: Path) -> Target:
    """A wheel's files; raises :class:`TargetError` where no installer would unpack it."""
    draft = Draft(path.name)
    match = NAME.fullmatch(path.name)
    if match is None:
        raise TargetError(
            f"{path}: its name is not a wheel's",
            advice="Give it the name back that its index or its build has for it.",
        )
    pythons, abis, platforms = (text.lower().split(".") for text in match.groups())
    draft.tags = frozenset(map("-".join, itertools.product(pythons, abis, platforms)))
    with _explained(path), path.open("rb") as raw, zipfile.ZipFile(_Guarded(raw)) as archive:
        _add(draft, archive, path, os.fstat(raw.fileno()))
        # Sources are read while the archive is still open.
        return draft.target()


def _add(draft: Draft, archive: zipfile.ZipFile, path: Path, file: os.stat_result) -> None:
    budget = _Budget(path, file.st_size)
    members: dict[str, zipfile.ZipInfo] = {}
    packed = 0
    for info in archive.infolist():
        if info.is_dir():
            continue
        budget.check(info)
        packed += info.compress_size
        target = place(info.filename)
        if target is None:
            draft.note(f"{info.filename!r} is no name that an installer would take; left out")
            continue
        if target in members:
            draft.note(f"{info.filename!r} is there twice; the last one counts")
        if stat.S_ISLNK(info.external_attr >> 16):
            draft.note(f"{info.filename!r} is a symbolic link, which installers write as a text")
        members[target] = info
    if packed > budget.size:
        raise zipfile.BadZipFile("its members lie within each other")
    for target, info in members.items():
        if info.filename.endswith(".py"):
            draft.add_source(target, _Source(archive, info, budget))
        elif may_be_elf(info.filename):
            with (
                _chunks(archive, info, file) as chunks,
                _Member(chunks, info, budget) as member,
            ):
                draft.add_file(target, member)


@contextmanager
def _chunks(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: os.stat_result
) -> Iterator[Iterator[bytes]]:
    """What is in a member, in the pieces that :func:`unpacking.unpacked` makes.

    zipfile finds the bytes, and does no more: it takes half as long again to unpack them, for
    copies and for a checksum that says nothing unless all is read.
    """
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC
    with archive.open(packed) as raw:
        assert isinstance(raw, zipfile.ZipExtFile)
        if info.compress_type == zipfile.ZIP_STORED:
            yield _stored(raw)
            return
        begun = unpacking.begun(file, info.header_offset, info.compress_size)
        with closing(begun or unpacking.unpacked(raw.read1)) as chunks:
            yield chunks


def _stored(raw: IO[bytes]) -> Iterator[bytes]:
    yield raw.read(unpacking.FIRST)
    while chunk := raw.read(unpacking.CHUNK):
        yield chunk


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or odd archive leads to into :class:`TargetError`."""
    try:
        yield
    except TargetError:
        raise
    except OSError as error:
        # Not of the archive's making, such as a full disk; but an odd place to seek to is.
        words = error.strerror or str(error)
        raise TargetError(
            f"{path} cannot be read: {words}", advice="Check the file and the disk that it is on."
        ) from None
    except (
        *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error),
        *(EOFError, ValueError, RuntimeError, OverflowError, IndexError),
    ) as error:
        words = str(error) or type(error).__name__
        if isinstance(error, UnicodeDecodeError):
            words = "a name in it is not in UTF-8, as it claims to be"
        raise TargetError(f"{path} is no whole wheel: {words}", advice=AGAIN) from None


class _Guarded:
    """An archive's file that does not let its table of contents fill the memory."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable
        self.name, self.mode = raw.name, raw.mode

    def read(self, size: int = -1) -> bytes:
        """Read; an error where that is more than any real archive needs at once."""
        if not 0 <= size <= MAX_DIRECTORY:
            size = MAX_DIRECTORY + 1
        found = self._raw.read(size)
        if len(found) > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its table of contents is above {MAX_DIRECTORY >> 20} MiB")
        # Only a table of contents is read in pieces of this size and has these words.
        if len(found) > 46 * MAX_MEMBERS and found.count(b"PK\1\2") > MAX_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MAX_MEMBERS} members")
        return found


class _Budget:
    """How much may still be unpacked of an archive."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._left = FREE + MAX_RATIO * size

    def check(self, info: zipfile.ZipInfo) -> None:
        """Refuse a member for what the table of contents says of it."""
        if info.flag_bits & 1:
            raise zipfile.BadZipFile(f"{info.filename!r} is encrypted")
        if info.compress_type not in METHODS:
            raise zipfile.BadZipFile(
                f"{info.filename!r} is packed by method {info.compress_type}, "
                "which installers do not know"
            )
        if info.file_size > MAX_FILE:
            raise zipfile.BadZipFile(f"{info.filename!r} has more than {MAX_FILE >> 30} GiB")

    def spend(self, count: int) -> None:
        """Count bytes that were unpacked."""
        self._left -= count
        if self._left < 0:
            raise zipfile.BadZipFile(
                f"its {self.size} bytes unpack to more than {MAX_RATIO} times as many and "
                f"{FREE >> 20} MiB, as a zip bomb's do"
            )


class _Source:
    """A Python source of an archive, read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> None:
        self._archive, self._info, self._budget = archive, info, budget

    def __call__(self) -> bytes:
        if self._info.file_size > MAX_SOURCE:
            return b""
        with self._archive.open(self._info) as content:
            found = content.read(MAX_SOURCE)
        self._budget.spend(len(found))
        return found


class _Member:
    """A member of an archive, unpacked as far as it is asked for."""

    def __init__(self, chunks: Iterator[bytes], info: zipfile.ZipInfo, budget: _Budget) -> None:
        self._chunks, self._size, self._budget = chunks, info.file_size, budget
        self._name, self._most = info.filename, IN_MEMORY + MAX_RATIO * info.compress_size
        self._checksum = info.CRC
        self._head: list[bytes] = []
        self._tail: IO[bytes] | None = None
        self._kept = self._have = 0
        self._at = 0

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tail is not None:
            self._tail.close()

    def seek(self, offset: int, /) -> None:
        """Go to a place; nothing is unpacked for that alone."""
        self._at = offset

    def read(self, size: int, /) -> bytes:
        """Read from there."""
        start, end = self._at, min(self._at + size, self._size)
        if end > self._have:
            self._unpack(end)
            end = min(end, self._have)
        found = b""
        while start + len(found) < min(end, self._kept):
            found += self._piece(start + len(found), end)
        if self._tail is not None and end > start + len(found):
            self._tail.seek(start + len(found) - self._kept)
            found += self._tail.read(end - start - len(found))
        self._at += len(found)
        return found

    def _piece(self, start: int, end: int) -> bytes:
        """Part of what is kept in memory, from a place on, as far as one chunk has it."""
        if start < unpacking.FIRST:
            return self._head[0][start:end]
        number, at = divmod(start - unpacking.FIRST, unpacking.CHUNK)
        return self._head[1 + number][at : at + end - start]

    def _unpack(self, end: int) -> None:
        while self._have < min(end, self._size):
            chunk = next(self._chunks, b"")[: self._size - self._have]
            if len(chunk) < (unpacking.CHUNK if self._have else unpacking.FIRST):
                self._size = self._have + len(chunk)
            if self._have + len(chunk) == self._size:
                self._verify(chunk)
            self._have += len(chunk)
            self._budget.spend(len(chunk))
            if self._have > self._most:
                raise zipfile.BadZipFile(
                    f"{self._name!r} unpacks to more than {MAX_RATIO} times its bytes and "
                    f"{IN_MEMORY >> 20} MiB, as a zip bomb does"
                )
            # Each but the last has its full length, by which a place is found again.
            if self._kept < IN_MEMORY:
                self._head.append(chunk)
                self._kept += len(chunk)
            else:
                if self._tail is None:
                    self._tail = _scratch()
                self._tail.seek(0, os.SEEK_END)
                self._tail.write(chunk)

    def _verify(self, last: bytes) -> None:
        """Ask whether all of it is what was packed, once its end is there."""
        found = 0
        for chunk in self._head:
            found = zlib.crc32(chunk, found)
        if self._tail is not None:
            self._tail.seek(0)
            while chunk := self._tail.read(unpacking.CHUNK):
                found = zlib.crc32(chunk, found)
        if zlib.crc32(last, found) != self._checksum:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._name!r}")


def _scratch() -> IO[bytes]:
    """A file in the cache that is gone as soon as it is closed, or its process is."""
    # Slow to import, and only the largest libraries need them.
    import tempfile

    from harness import cache

    folder = cache.root() / "members"
    with cache.disk_full_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
