"""ELF files made by hand, for what no compiler of ours would make."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

# Dynamic tags, by their names in the ELF specification.
NULL, NEEDED, PLTRELSZ, HASH, STRTAB, SYMTAB, RELA, RELASZ, STRSZ, JMPREL = (
    *(0, 1, 2, 4, 5, 6, 7, 8),
    *(10, 23),
)
SONAME, RPATH, DEBUG, RUNPATH, FLAGS_1 = 14, 15, 21, 29, 0x6FFFFFFB
GLOB_DAT, JUMP_SLOT, ABSOLUTE, RELATIVE = 6, 7, 1, 8
"""Relocations of x86_64."""


@dataclass(kw_only=True)
class TinyElf:
    """A shared object for x86_64, without sections: what the loader reads, and nothing else."""

    undefined: Sequence[bytes] = ()
    defined: Sequence[bytes] = ()
    plt: Sequence[tuple[int, int, int]] = ()
    """Place, relocation, index among the undefined names, from 0; in DT_JMPREL."""
    data: Sequence[tuple[int, int, int]] = ()
    """The same, in DT_RELA."""
    needed: Sequence[bytes] = ()
    texts: Sequence[tuple[int, bytes]] = ()
    """Further dynamic tags whose values are texts, such as DT_RPATH."""
    numbers: Sequence[tuple[int, int]] = ()
    """Further dynamic tags whose values are themselves, such as DT_FLAGS_1."""
    base: int = 0
    """Address of the first byte."""
    machine: int = 62
    interpreter: bytes | None = None
    """The loader that it asks for, as a program does."""
    strings: bytes | None = None
    """Instead of the names: where every symbol is called by its number, counted in bytes."""
    change: dict[int, int] = field(default_factory=dict)
    """Dynamic tags that get another value."""
    without: Sequence[int] = ()
    """Dynamic tags that are left out."""

    def build(self) -> bytes:
        """The file."""
        names = [*self.undefined, *self.defined]
        texts = [name + b"\0" for name in (*names, *self.needed, *(text for _, text in self.texts))]
        offsets = list(accumulate(map(len, texts), initial=1))[:-1]
        strings = b"\0" + b"".join(texts)
        if self.strings is not None:
            strings = self.strings
            offsets = list(range(len(names)))
        symbols = bytes(24) + b"".join(
            struct.pack("<IBBHQQ", at, 0x12, 0, int(number >= len(self.undefined)), 0, 0)
            for number, at in enumerate(offsets[: len(names)])
        )
        count = len(names) + 1
        tables = {
            SYMTAB: symbols,
            STRTAB: strings,
            # One bucket, and in it every symbol but the first, which is nobody's.
            HASH: struct.pack(f"<II{1 + count}I", 1, count, *_chain(count)),
            JMPREL: _relocations(self.plt),
            RELA: _relocations(self.data),
        }
        start = 64 + (2 if self.interpreter is None else 3) * 56
        content = b""
        places = {}
        for tag, table in tables.items():
            places[tag] = self.base + start + len(content)
            content += table + b"\0" * (-len(table) % 8)
        tags = [NEEDED] * len(self.needed) + [tag for tag, _ in self.texts]
        entries = list(zip(tags, offsets[len(names) :], strict=False))
        entries += places.items()
        entries += [
            (PLTRELSZ, len(tables[JMPREL])),
            (RELASZ, len(tables[RELA])),
            (STRSZ, len(strings)),
            *self.numbers,
        ]
        kept = [(t, self.change.get(t, value)) for t, value in entries if t not in self.without]
        dynamic = b"".join(struct.pack("<QQ", *entry) for entry in [*kept, (NULL, 0)])
        at = start + len(content)
        path = b"" if self.interpreter is None else self.interpreter + b"\0"
        size = at + len(dynamic) + len(path)
        header = b"\x7fELF\x02\x01\x01" + b"\0" * 9
        header += struct.pack(
            *("<HHIQQQIHHHHHH", 3, self.machine, 1, 0, 64, 0, 0, 64, 56),
            *((start - 64) // 56, 64, 0, 0),
        )
        segments = struct.pack("<IIQQQQQQ", 1, 7, 0, self.base, self.base, size, size, 4096)
        segments += struct.pack(
            "<IIQQQQQQ", 2, 6, at, self.base + at, self.base + at, len(dynamic), len(dynamic), 8
        )
        if self.interpreter is not None:
            end = at + len(dynamic)
            places_of_path = (end, self.base + end, self.base + end, len(path), len(path), 1)
            segments += struct.pack("<IIQQQQQQ", 3, 4, *places_of_path)
        return header + segments + content + dynamic + path


def _chain(count: int) -> list[int]:
    return [int(count > 1), 0, *((number + 1) % count for number in range(1, count))]


def _relocations(entries: Sequence[tuple[int, int, int]]) -> bytes:
    # The first symbol of every table is nobody's.
    return b"".join(
        struct.pack("<QQq", place, (symbol + 1) << 32 | kind, 0) for place, kind, symbol in entries
    )
