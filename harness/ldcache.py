"""ld.so.cache: what ldconfig has noted, which the loader asks before its default directories."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from harness.loader.objects import AARCH64, X86_64, Architecture

MAGIC = b"glibc-ld.so.cache1.1"
HEADER = struct.Struct("20sIIB3xI12x")
"""Magic, number of entries, length of the strings, flags, offset of the extensions."""
ENTRY = struct.Struct("<iIIIQ")
"""Flags, offset of the name, offset of the path, OS version, hwcap."""
EXTENSION_MAGIC = 0xEAA42174
SECTION = struct.Struct("<IIII")
"""Tag, flags, offset, size; tag 1 lists the names of the hwcaps."""

FLAGS = {X86_64: 0x0303, AARCH64: 0x0A03}
"""What ldconfig writes beside a library of an architecture (sysdeps/generic/ldconfig.h)."""

IN_SUBDIRECTORY = 1 << 62
"""Of an entry's hwcap: its low half is the number of a glibc-hwcaps name."""


def parse(
    content: bytes, architecture: Architecture, subdirectories: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The cache of one architecture: name → paths, the one that the loader takes first.

    ``subdirectories`` are those of ``glibc-hwcaps/`` that count on this CPU, in order; paths in
    others are left out. A cache in the format from before glibc 2.2 alone is taken for empty, and
    so is one that is damaged: the loader does the same.
    """
    # It may stand behind one in the older format; offsets are from its own start.
    _, magic, rest = content.partition(MAGIC)
    content = magic + rest
    wanted = FLAGS.get(architecture)
    if wanted is None or len(content) < HEADER.size:
        return {}
    _, count, _, _, extensions = HEADER.unpack_from(content)
    names = _hwcaps(content, extensions) if extensions else []
    ranks = {f"glibc-hwcaps/{name}": number for number, name in enumerate(names)}
    order = {ranks[name]: place for place, name in enumerate(subdirectories) if name in ranks}
    found: dict[str, list[tuple[int, str]]] = {}
    table = content[HEADER.size : HEADER.size + count * ENTRY.size]
    for flags, key, value, _, hwcap in ENTRY.iter_unpack(table[: len(table) // 24 * 24]):
        if flags != wanted:
            continue
        place = len(order)
        if hwcap & IN_SUBDIRECTORY:
            number = hwcap & 0xFFFFFFFF
            if number not in order:
                continue
            place = order[number]
        elif hwcap:
            continue  # from before glibc 2.33, and no longer looked at
        found.setdefault(_text(content, key), []).append((place, _text(content, value)))
    return {
        name: tuple(path for _, path in sorted(paths, key=lambda entry: entry[0]))
        for name, paths in found.items()
    }


def _hwcaps(content: bytes, at: int) -> list[str]:
    if len(content) < at + 8:
        return []
    magic, count = struct.unpack_from("<II", content, at)
    if magic != EXTENSION_MAGIC:
        return []
    sections = content[at + 8 : at + 8 + min(count, 64) * SECTION.size]
    for tag, _, offset, size in SECTION.iter_unpack(sections[: len(sections) // 16 * 16]):
        if tag == 1:
            numbers = content[offset : offset + size]
            places = struct.iter_unpack("<I", numbers[: len(numbers) // 4 * 4])
            return [_text(content, place) for (place,) in places]
    return []


def _text(content: bytes, at: int) -> str:
    end = content.find(b"\0", at, at + 4096)
    return content[at : max(end, at)].decode("utf-8", "surrogateescape")
