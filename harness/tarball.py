"""Tar archives from a stranger: unpacked once, in one pass, and read strictly.

The library's reader will not do here. It takes a damaged header for the end of the archive, holds
names and extended headers of any size in memory, starts a .tar.gz again for each step back, and
runs for ever on some archives (CVE-2025-8194, unfixed in Debian 12). And where readers differ in
what an archive says, one of them can be shown what another has not seen (CVE-2025-62518, in uv
before 0.9.5). So what could be read in two ways is refused.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from harness.errors import ArchiveError

MAX_MEMBERS = 50_000
"""Files, links and folders; a full archive of python-build-standalone has some ten thousand."""

MAX_UNPACKED = 4 << 30
"""Bytes unpacked; full archives have about one GB."""

MAX_RATIO, FREE = 150, 64 << 20
"""Bytes unpacked for each one packed, once there are more of them than FREE; programs have ten."""

MAX_STREAMS = 1000
"""Compressed streams behind each other, as parallel compressors leave them."""

MAX_NAME, MAX_DEPTH = 1024, 64
"""Bytes and folders of a name, or of where a link points."""

MAX_EXTENDED = 64 << 10
"""Bytes of what stands before a member's header: a long name, or its attributes."""

MAX_ANNOUNCED = 4
"""How many of these; GNU's long names of a member and of its target are two."""

BLOCK = 512
CHUNK = 1 << 16
"""Bytes read, and unpacked, at a time."""

ZSTD_SLICE = 1 << 10
"""Bytes given to zstandard at a time, which unpacks all of them at once, up to 32 MB of these."""

SUFFIXES = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.zst": "zstd"}

_ZEROS = bytes(BLOCK)
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=]*)=")


class Kind(StrEnum):
    """What a member is; the value is for people."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.FOLDER,
}
_NUMBERS = ((100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (329, 337), (337, 345))
"""Where a header has its numbers; readers differ in what they make of one that is none."""

_REFUSED = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO"}
_SIZE, _PATH, _LINK = "size", "path", "linkpath"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member, by its name without ``.`` and without a slash at either end."""

    name: str
    kind: Kind
    size: int = 0
    """Of a file, in bytes."""
    target: str = ""
    """Of a link: where it points, as it stands there."""
    is_executable: bool = False


class _Damaged(Exception):
    """What is wrong with the bytes."""


class Tarball:
    """An archive that is being read: members in order, each with its content before the next one.

    Raises :class:`ArchiveError`, which names the archive and the member, for all that is damaged,
    larger than the limits above, or ambiguous. Whether its names lead anywhere is not asked here.
    """

    def __init__(self, path: Path, name: str) -> None:
        """``name`` is what to call it; where it ends like one, it has to be such an archive."""
        self.name = name
        self.members = 0
        self.unpacked = 0
        """Bytes unpacked so far."""
        self._path = path
        self._at = ""
        self._is_inside = False
        self._left = 0
        self._padding = 0
        self._buffer = memoryview(b"")
        self._raw: BinaryIO

    def __enter__(self) -> Self:
        self._raw = self._path.open("rb")
        self._packed = self._path.stat().st_size
        self._pieces = self._unpack()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def __iter__(self) -> Iterator[Member]:
        try:
            while (member := self._member()) is not None:
                self.members += 1
                if self.members > MAX_MEMBERS:
                    raise _Damaged(f"is one of more than {MAX_MEMBERS} members")
                yield member
                for _ in self.content():
                    pass
                self._exactly(self._padding)
                self._is_inside = False
            self._finish()
            self._at = ""
        except _Damaged as damage:
            raise self.refusal(str(damage)) from None

    def content(self) -> Iterator[memoryview]:
        """What is left of the member's bytes, in pieces; each is good until the next."""
        try:
            while self._left:
                piece = self._some(self._left)
                self._left -= len(piece)
                yield piece
        except _Damaged as damage:
            raise self.refusal(str(damage)) from None

    def refusal(self, problem: str, *, member: str | None = None) -> ArchiveError:
        """What is wrong, with a member or with the one that reading has come to."""
        if member is not None or self._is_inside:
            problem = f"{quoted(self._at if member is None else member)} {problem}"
        elif self._at:
            problem = f"{problem} (after {quoted(self._at)})"
        return ArchiveError(
            f"{quoted(self.name)}: {problem}",
            advice="Do not use it: get it anew, from the release's own page or another mirror.",
        )

    # Headers.

    def _member(self) -> Member | None:
        """The next one, with all that stands before it; None at the end."""
        said: dict[str, str] = {}
        for _ in range(MAX_ANNOUNCED + 1):
            block = bytes(self._exactly(BLOCK))
            if block == _ZEROS:
                if said:
                    raise _Damaged("the archive ends where a member was announced")
                return None
            kind, size = self._checked(block)
            if kind not in (b"x", b"g", b"L", b"K"):
                return self._made(block, kind, size, said)
            if size > MAX_EXTENDED:
                raise _Damaged(f"has {size} bytes before a member's header")
            content = bytes(self._exactly(size))
            if any(self._exactly(-size % BLOCK)):
                raise _Damaged("has more before a member's header than it says")
            match kind:
                case b"x":
                    new = _attributes(content)
                case b"g":
                    new = {}
                    if {_PATH, _LINK, _SIZE} & _attributes(content).keys():
                        raise _Damaged("a name or size for all members at once")
                case _:
                    new = {_PATH if kind == b"L" else _LINK: _text(content.rstrip(b"\0"))}
            if said.keys() & new.keys():
                raise _Damaged("a member's name is there twice")
            said |= new
        raise _Damaged("more stands before a member's header than anybody needs")

    def _checked(self, block: bytes) -> tuple[bytes, int]:
        """Kind and size in a header, once it is known to be one."""
        if _number(block[148:156]) != sum(block[:148]) + 8 * 0x20 + sum(block[156:]):
            raise _Damaged("is damaged or no tar archive: what should be a header is none")
        if block[257:265] not in (b"ustar\00000", b"ustar  \0"):
            raise _Damaged("a header of no known format")
        for start, end in _NUMBERS:
            _number(block[start:end])
        return block[156:157], _number(block[124:136])

    def _made(self, block: bytes, kind: bytes, size: int, said: dict[str, str]) -> Member:
        name = said[_PATH] if _PATH in said else self._own_name(block)
        self._at, self._is_inside = name.rstrip("/") or name, True
        target = said[_LINK] if _LINK in said else _text(_field(block[157:257]))
        if kind in _REFUSED:
            raise _Damaged(f"is {_REFUSED[kind]}")
        if kind not in _KINDS:
            raise _Damaged(f"is of a kind that nobody knows ({quoted(chr(kind[0]))})")
        what = _KINDS[kind]
        if said.get(_SIZE, str(size)) != str(size):
            raise _Damaged(f"has two sizes, {size} and {quoted(said[_SIZE])}")
        if size and what is not Kind.FILE:
            raise _Damaged(f"is a {what} with {size} bytes of content")
        if size > MAX_UNPACKED:
            raise _Damaged(f"has {size} bytes, more than the limit of {MAX_UNPACKED}")
        if what is Kind.FILE and name.endswith("/"):
            raise _Damaged("is a file, but has the name of a folder")
        is_link = what in (Kind.SYMLINK, Kind.HARD_LINK)
        _check_text(name, "name")
        if is_link:
            _check_text(target, "target")
        self._left, self._padding = size, -size % BLOCK
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/"):
            raise _Damaged("has an absolute name")
        if ".." in parts:
            raise _Damaged("leads out of the archive by its name")
        if not parts:
            raise _Damaged("has no name")
        return Member(
            name="/".join(parts),
            kind=what,
            size=size,
            target=target if is_link else "",
            is_executable=bool(_number(block[100:108]) & 0o111),
        )

    def _own_name(self, block: bytes) -> str:
        name, prefix = _field(block[:100]), _field(block[345:500])
        if block[257:263] == b"ustar\0":
            return _text(prefix + b"/" + name if prefix else name)
        if prefix:
            # GNU's times are there, which some readers take for a part of the name.
            raise _Damaged(f"{quoted(_text(name))} has more in its header than a name")
        return _text(name)

    def _finish(self) -> None:
        """To the end: nothing but zeros, a second block of them at least."""
        if bytes(self._exactly(BLOCK)) != _ZEROS:
            raise _Damaged("something follows the end of the archive")
        for piece in chain([self._buffer], self._pieces):
            if bytes(piece).strip(b"\0"):
                raise _Damaged("something follows the end of the archive")

    # Bytes.

    def _exactly(self, size: int) -> bytearray:
        found = bytearray()
        while len(found) < size:
            found += self._some(size - len(found))
        return found

    def _some(self, most: int) -> memoryview:
        """Some of the next bytes, at least one."""
        while not self._buffer:
            piece = next(self._pieces, None)
            if piece is None:
                raise _Damaged("is cut short: it ends before the archive does")
            self._buffer = memoryview(piece)
        found = self._buffer[:most]
        self._buffer = self._buffer[most:]
        return found

    def _unpack(self) -> Iterator[bytes]:
        start = self._raw.read(CHUNK)
        if start.startswith(b"\x1f\x8b"):
            kind, pieces = "gzip", _gzip(self._raw, start)
        elif start.startswith(b"\x28\xb5\x2f\xfd"):
            kind, pieces = "zstd", _zstd(self._raw, start)
        else:
            begins = f"it begins with {start[:24]!r}" if start else "it is empty"
            raise _Damaged(f"is no .tar.gz or .tar.zst: {begins}")
        for suffix, wanted in SUFFIXES.items():
            if self.name.endswith(suffix) and kind != wanted:
                raise _Damaged(f"is packed by {kind}, though its name ends with {suffix}")
        for piece in pieces:
            self.unpacked += len(piece)
            if self.unpacked > MAX_UNPACKED:
                raise _Damaged(f"comes to more than {MAX_UNPACKED} bytes unpacked")
            if self.unpacked > max(FREE, MAX_RATIO * self._packed):
                raise _Damaged(
                    f"comes to more than {MAX_RATIO} times the archive's {self._packed} bytes: "
                    "made to fill the disk"
                )
            yield piece


def _gzip(raw: BinaryIO, packed: bytes) -> Iterator[bytes]:
    """Unpack, no more than a chunk at a time."""
    for _ in range(MAX_STREAMS):
        unpacker = zlib.decompressobj(wbits=31)
        while not unpacker.eof:
            try:
                piece = unpacker.decompress(packed, CHUNK)
            except zlib.error as error:
                raise _Damaged(f"is damaged: {error}") from None
            packed = unpacker.unconsumed_tail
            if piece:
                yield piece
            elif not unpacker.eof and not packed:
                packed = raw.read(CHUNK)
                if not packed:
                    raise _Damaged("is cut short: gzip's end is missing")
        packed = unpacker.unused_data or raw.read(CHUNK)
        if not packed:
            return
    raise _Damaged(f"is more than {MAX_STREAMS} streams of gzip")


def _zstd(raw: BinaryIO, packed: bytes) -> Iterator[bytes]:
    import zstandard  # for full archives alone

    place = 0
    for _ in range(MAX_STREAMS):
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        while not unpacker.eof:
            if place >= len(packed):
                packed, place = raw.read(CHUNK), 0
                if not packed:
                    raise _Damaged("is cut short: zstd's end is missing")
            part = packed[place : place + ZSTD_SLICE]
            try:
                piece = unpacker.decompress(part)
            except zstandard.ZstdError as error:
                raise _Damaged(f"is damaged: {error}") from None
            place += len(part) - len(unpacker.unused_data)
            if piece:
                yield piece
        if place >= len(packed):
            packed, place = raw.read(CHUNK), 0
            if not packed:
                return
    raise _Damaged(f"is more than {MAX_STREAMS} streams of zstd")


# Fields.


def _field(raw: bytes) -> bytes:
    """A field up to the zero that ends it."""
    return raw.partition(b"\0")[0]


def _number(raw: bytes) -> int:
    """An octal number, or one of GNU's for what is too large for that."""
    if raw[0] == 0x80:
        return int.from_bytes(raw[1:], "big")
    found = _OCTAL.fullmatch(raw)
    if found is None:
        raise _Damaged("is damaged or no tar archive: a number in a header is none")
    return int(found[1] or b"0", 8)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _Damaged(f"a name is not in UTF-8: {raw[:100]!r}") from None


def _attributes(content: bytes) -> dict[str, str]:
    """What of an extended header concerns us: records of ``LENGTH KEY=VALUE`` and a new line."""
    found: dict[str, str] = {}
    at = 0
    while at < len(content):
        record = _RECORD.match(content, at)
        end = at + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(content) or content[end - 1] != 0x0A:
            raise _Damaged("is damaged: an extended header is none")
        key, value = record[2], content[record.end() : end - 1]
        if key.startswith(b"GNU.sparse."):
            raise _Damaged("a sparse file")
        if key in (b"path", b"linkpath", b"size"):
            if key.decode() in found:
                raise _Damaged("a member's name is there twice")
            found[key.decode()] = _text(value)
        at = end
    return found


def _check_text(text: str, whose: str) -> None:
    if not text:
        raise _Damaged(f"has no {whose}")
    if not text.isprintable() and any(unicodedata.category(each) == "Cc" for each in text):
        raise _Damaged(f"has control characters in its {whose}: {quoted(text)}")
    if len(text.encode()) > MAX_NAME or text.count("/") > MAX_DEPTH:
        raise _Damaged(f"has a {whose} longer than {MAX_NAME} bytes or {MAX_DEPTH} folders")


def quoted(text: str) -> str:
    """A name for people, on one line, whatever is in it."""
    if len(text) > 200:
        text = f"{text[:200]}…"
    return text if text and text.isprintable() else ascii(text)
