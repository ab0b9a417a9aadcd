"""Wheels from strangers: gone through whole before an installer, or anybody else, unpacks them.

That a wheel has the sha256 of the lock says that it is the one that was locked, and no more.
"""

from __future__ import annotations

import copy
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.errors import ArchiveError
from harness.tarball import quoted

MAX_PACKED = 2 << 30
"""Bytes of a wheel; PyPI takes none that is larger than a GiB unless it is asked to."""

MAX_DIRECTORY = 32 << 20
"""Bytes of the archive's table of contents, which is read whole."""

MAX_MEMBERS = 100_000
"""The largest wheels have some ten thousand files."""

MAX_UNPACKED = 16 << 30
"""Bytes of all members; the largest wheels of PyPI, for GPUs, have a quarter of it."""

MAX_RATIO = 40
"""Bytes unpacked for each of the archive: machine code has 3 to 5, and deflate reaches 1032."""

FREE = 64 << 20
"""Bytes that may be unpacked of any archive, however small."""

MAX_NAME = 1024
"""Bytes of a member's name."""

MAX_DEPTH = 64
"""Folders of a member's name."""

_HEADER = 30
"""Bytes before a member's name."""

_CHUNK = 1 << 18

_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, OverflowError),
)
"""What zipfile raises for what is no zip file, or an encrypted one."""


def vet(path: Path) -> None:
    """Refuse a wheel that is damaged, or whose unpacking would do more than write its files.

    Raises :class:`ArchiveError`, which names the wheel, the member and what is wrong: cut short, a
    member of another size or checksum than it says; a name that leads out, or is there twice; a
    device; members within each other; more members or bytes than wheels have.
    """
    try:
        size = path.stat().st_size
        if size > MAX_PACKED:
            raise _refusal(path, f"has {size} bytes, more than the limit of {MAX_PACKED}")
        with path.open("rb") as raw, zipfile.ZipFile(_Bounded(raw)) as archive:
            _vet(path, size, archive)
    except _DAMAGES as error:
        raise _refusal(path, f"is damaged, or no wheel: {quoted(str(error))}") from None


def _refusal(path: Path, problem: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} {problem}",
        advice="Do not use it. If it is your own, look at what has made it.",
    )


def _vet(path: Path, size: int, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise _refusal(path, f"has {len(members)} members, more than the limit of {MAX_MEMBERS}")
    unpacked = sum(info.file_size for info in members)
    if unpacked > min(MAX_UNPACKED, max(FREE, MAX_RATIO * size)):
        raise _refusal(path, f"comes to {unpacked} bytes unpacked: made to fill the disk")
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise _refusal(path, "has members that lie within each other: made to fill the disk")
        end = info.header_offset + _HEADER + info.compress_size
    seen: set[str] = set()
    for info in members:
        if problem := _problem(info, seen):
            raise _refusal(path, f"has a member {quoted(info.filename)} that {problem}")
    for info in members:
        if problem := _content_problem(info, archive):
            raise _refusal(path, f"has a member {quoted(info.filename)} that {problem}")


def _problem(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """What is wrong with a member's name or kind."""
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    mode = stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts:
        return "leads out of the archive by its name"
    if "" in parts or "." in parts:
        return "has no plain name"
    if not name.isprintable() or len(name.encode()) > MAX_NAME or len(parts) > MAX_DEPTH:
        return "has a name that no file should have"
    # A link in a wheel is a text to installers, which make none.
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return "is a device or a pipe"
    if info.is_dir():
        return "is a folder with content" if info.file_size else None
    if name in seen:
        return "is there twice"
    seen.add(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that no installer has to know"
    return None


def _content_problem(info: zipfile.ZipInfo, archive: zipfile.ZipFile) -> str | None:
    """What is wrong with a member's bytes, all of which are unpacked for that and not kept."""
    # zipfile itself stops at the size that a member says, and installers may not.
    packed = copy.copy(info)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, info.compress_size
    del packed.CRC
    size = checksum = 0
    with archive.open(packed) as raw:
        for piece in _pieces(raw, is_packed=info.compress_type == zipfile.ZIP_DEFLATED):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            if size > info.file_size:
                break
    if size != info.file_size:
        return f"has another size than the {info.file_size} bytes that it says"
    return None if checksum == info.CRC else "has another checksum than it says"


def _pieces(raw: IO[bytes], *, is_packed: bool) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-15)
    while chunk := raw.read(_CHUNK):
        if not is_packed:
            yield chunk
            continue
        while chunk and not unpacker.eof:
            yield unpacker.decompress(chunk, _CHUNK)
            chunk = unpacker.unconsumed_tail
        if unpacker.unused_data:
            raise zipfile.BadZipFile("something follows the end of a member")
    if is_packed and not unpacker.eof:
        raise zipfile.BadZipFile("a member is cut short")


class _Bounded:
    """A file of which no more is read at once than a table of contents may have."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        """Read some bytes; ``ValueError`` where they are too many."""
        found = self._raw.read(MAX_DIRECTORY + 1 if size < 0 else min(size, MAX_DIRECTORY + 1))
        if len(found) > MAX_DIRECTORY:
            raise ValueError(f"its table of contents has more than {MAX_DIRECTORY} bytes")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
