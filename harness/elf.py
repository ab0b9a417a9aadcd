"""What an ELF file says of itself: the libraries it needs, and the C API that it leaves open.

Reads with pyelftools, on any host, for any platform; nothing of the file is run.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from harness.loader.objects import Architecture, Object, Unloadable

C_API = (b"Py", b"_Py")
"""How every name of the C API begins."""

LONGEST_NAME = 200
"""Bytes; the C API has none of half that length."""

SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
"""Elf64_Sym and Elf64_Rela, little-endian, as both platforms have them."""

# Relocations that leave a symbol's address at a place: x86_64's GLOB_DAT, JUMP_SLOT and 64,
# aarch64's GLOB_DAT, JUMP_SLOT and ABS64. The last of each may be overwritten by the program.
SLOTS = {"EM_X86_64": (6, 7, 1), "EM_AARCH64": (1025, 1026, 257)}


def files(tree: Path) -> Iterator[Path]:
    """The ELF files of a tree, sorted; links are left out, what they lead to is not."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    yield path


NO_ELF = "invalid ELF header"
"""What glibc says of a file that is none."""

NODEFLIB, PIE = 0x800, 0x08000000
"""DF_1_NODEFLIB and DF_1_PIE."""


def read_object(stream: IO[bytes]) -> Object | Unloadable | None:
    """What a file tells the loader; None where it is no ELF file at all."""
    if stream.read(4) != b"\x7fELF":
        return None
    stream.seek(0)
    try:
        return _object(ELFFile(stream))
    # A file that somebody made to be odd makes pyelftools raise anything at all.
    except Exception as error:
        return Unloadable(problem=f"damaged: {type(error).__name__}")


def _object(elf: ELFFile) -> Object:
    segments = list(elf.iter_segments())
    dynamic = next((s for s in segments if isinstance(s, DynamicSegment)), None)
    interp = next((s for s in segments if s["p_type"] == "PT_INTERP"), None)
    texts: dict[str, list[str]] = {}
    flags = 0
    for tag in dynamic.iter_tags() if dynamic else ():
        name = tag["d_tag"]
        if name in ("DT_NEEDED", "DT_SONAME", "DT_RPATH", "DT_RUNPATH"):
            texts.setdefault(name, []).append(str(vars(tag)[name[3:].lower()]))
        elif name == "DT_FLAGS_1":
            flags = int(tag["d_val"])
    return Object(
        architecture=Architecture(
            _machine(elf),
            elf.elfclass,
            not elf.little_endian,
        ),
        soname=texts.get("DT_SONAME", [None])[-1],
        needed=tuple(texts.get("DT_NEEDED", ())),
        rpath=texts.get("DT_RPATH", [None])[-1],
        runpath=texts.get("DT_RUNPATH", [None])[-1],
        no_default_libraries=bool(flags & NODEFLIB),
        interpreter=interp.get_interp_name() if interp else None,
        is_program=interp is not None and (elf["e_type"] == "ET_EXEC" or bool(flags & PIE)),
    )


def _machine(elf: ELFFile) -> int:
    elf.stream.seek(18)
    return int.from_bytes(elf.stream.read(2), "little" if elf.little_endian else "big")


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """What a shared object asks of the loader and of CPython."""

    needed: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    c_api_slots: Mapping[str, int] = field(default_factory=dict)
    """Where it keeps the address of each name of the C API that it takes from elsewhere.

    Name → virtual address, to which the loader adds what it has moved the file by.
    """
    provides_c_api: bool = False
    """Whether it defines the C API: a copy of libpython, whatever its name."""


def read(path: Path) -> Dynamic:
    """Read a file; one that is not a readable ELF file for the loader asks for nothing."""
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            segment = next((s for s in elf.iter_segments() if isinstance(s, DynamicSegment)), None)
            return _read(elf, segment) if segment else Dynamic()
    # A file that somebody made to be odd makes pyelftools raise anything at all.
    except Exception:
        return Dynamic()


def _read(elf: ELFFile, segment: DynamicSegment) -> Dynamic:
    # pyelftools makes an object of every symbol and relocation, which takes seconds for a large
    # C++ library; whole tables are unpacked here instead, where it says that they are.
    symbols = _table(elf, segment, "DT_SYMTAB", segment.num_symbols() * SYMBOL.size)
    (_, strings_at) = segment.get_table_offset("DT_STRTAB")
    strings = _bytes(elf, strings_at, _value(segment, "DT_STRSZ"))
    open_names: dict[int, str] = {}
    provides = False
    for index, (name_at, _, _, section, _, _) in enumerate(
        SYMBOL.iter_unpack(_whole(symbols, SYMBOL))
    ):
        if strings.startswith(C_API, name_at):
            end = strings.find(b"\0", name_at, name_at + LONGEST_NAME)
            name = strings[name_at:end].decode("ascii", "replace")
            if end < 0:
                continue
            if section == 0:
                open_names[index] = name
            elif name == "Py_InitializeEx":
                provides = True
    kinds = SLOTS.get(elf["e_machine"], ())
    found: dict[str, tuple[int, int]] = {}
    for table, size in (("DT_JMPREL", "DT_PLTRELSZ"), ("DT_RELA", "DT_RELASZ")):
        content = _table(elf, segment, table, _value(segment, size)) if open_names else b""
        for place, info, _ in RELOCATION.iter_unpack(_whole(content, RELOCATION)):
            opened = open_names.get(info >> 32)
            if opened is not None and info & 0xFFFFFFFF in kinds:
                slot = (kinds.index(info & 0xFFFFFFFF), place)
                found[opened] = min(slot, found.get(opened, slot))
    return Dynamic(
        needed=tuple(str(vars(tag)["needed"]) for tag in segment.iter_tags("DT_NEEDED")),
        c_api_slots={name: place for name, (_, place) in sorted(found.items())},
        provides_c_api=provides,
    )


def _value(segment: DynamicSegment, tag: str) -> int:
    return next((int(found["d_val"]) for found in segment.iter_tags(tag)), 0)


def _table(elf: ELFFile, segment: DynamicSegment, tag: str, size: int) -> bytes:
    _, offset = segment.get_table_offset(tag)
    return _bytes(elf, offset, size)


def _bytes(elf: ELFFile, offset: int | None, size: int) -> bytes:
    """A part of a file; what it claims to have beyond its end is not asked for."""
    length = elf.stream.seek(0, io.SEEK_END)
    if offset is None or not 0 <= offset < length:
        return b""
    elf.stream.seek(offset)
    return bytes(elf.stream.read(min(size, length - offset)))


def _whole(table: bytes, entry: struct.Struct) -> bytes:
    """A table without a last entry that is cut short."""
    return table[: len(table) - len(table) % entry.size]
