"""ELF files as a loader sees them: their segments, and what their dynamic section says.

Read here rather than with pyelftools, whose import alone takes five seconds under emulation, in
each of five checks, and whose releases do not run on every Python under test. The unit tests
compare the two.
"""

from __future__ import annotations

import mmap
import struct
from typing import Iterator, NamedTuple

MAGIC = b"\x7fELF"

CLASS_AND_ORDER = b"\x02\x01"
"""ELFCLASS64, ELFDATA2LSB: what both platforms under test are."""

HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
"""Elf64_Ehdr: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum, …"""

SEGMENT = struct.Struct("<IIQQQQQQ")
"""Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align."""

SECTION = struct.Struct("<IIQQQQIIQQ")
"""Elf64_Shdr: name, type, flags, addr, offset, size, link, info, addralign, entsize."""

ENTRY = struct.Struct("<qQ")
"""Elf64_Dyn: tag, value."""

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
DT_NULL, DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 0, 1, 5, 15, 29
FLAGS = ((4, "R"), (2, "W"), (1, "X"))


class NotElfError(ValueError):
    """The file is no ELF file of a platform under test."""


class Segment(NamedTuple):
    """An entry of the program header; ``size`` is that in the file, in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int


class Section(NamedTuple):
    """An entry of the section header; ``link`` is the index of the section that goes with it."""

    kind: int
    offset: int
    size: int
    link: int


class ElfFile:
    """A 64-bit little-endian ELF file, open for reading."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as stream:
            start = stream.read(HEADER.size)
            if len(start) < HEADER.size or start[:6] != MAGIC + CLASS_AND_ORDER:
                raise NotElfError(f"{path} is no 64-bit little-endian ELF file")
            self.content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        fields = HEADER.unpack(start)
        self.machine: int = fields[1]
        self._segments_at, self._sections_at = fields[4], fields[5]
        self._segments, self._sections = fields[9], fields[11]

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.content.close()

    def segments(self, kind: int) -> list[Segment]:
        """The segments of a kind (PT_…), in their order."""
        found = []
        for number in range(self._segments):
            fields = SEGMENT.unpack_from(self.content, self._segments_at + number * SEGMENT.size)
            found.append(Segment(fields[0], fields[1], fields[2], fields[3], fields[5]))
        return [segment for segment in found if segment.kind == kind]

    def sections(self) -> list[Section]:
        """The sections, in their order; none in a file that was stripped of their headers."""
        found = []
        for number in range(self._sections):
            fields = SECTION.unpack_from(self.content, self._sections_at + number * SECTION.size)
            found.append(Section(fields[1], fields[4], fields[5], fields[6]))
        return found

    def entries(self) -> Iterator[tuple[int, int]]:
        """Tag and value of each entry of the dynamic section; none in a static program."""
        for segment in self.segments(PT_DYNAMIC):
            raw = self.content[segment.offset : segment.offset + segment.size]
            for tag, value in ENTRY.iter_unpack(raw[: len(raw) // ENTRY.size * ENTRY.size]):
                if tag == DT_NULL:
                    return
                yield tag, value

    def offset_of(self, address: int) -> int:
        """Where in the file the byte for an address is."""
        for segment in self.segments(PT_LOAD):
            if segment.address <= address < segment.address + segment.size:
                return segment.offset + address - segment.address
        raise NotElfError(f"no segment holds the address {address:#x}")

    def text_at(self, offset: int) -> str:
        """The text that begins at an offset in the file."""
        raw = self.content[offset : self.content.find(b"\0", offset)]
        return raw.decode("utf-8", "surrogateescape")


class DynamicSection(NamedTuple):
    """The entries of DT_NEEDED, DT_RPATH and DT_RUNPATH, each search path split at its colons.

    All are empty for a static program. An empty entry of a search path is kept as ``''``: the
    loader takes it for the working directory.
    """

    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


def dynamic_section(path: str) -> DynamicSection:
    """What a file says about libraries; :class:`NotElfError` where it is no ELF file."""
    with ElfFile(path) as elf:
        entries = list(elf.entries())
        texts = next((elf.offset_of(value) for tag, value in entries if tag == DT_STRTAB), 0)

        def every(wanted: int) -> list[str]:
            return [elf.text_at(texts + value) for tag, value in entries if tag == wanted]

        def split(wanted: int) -> tuple[str, ...]:
            return tuple(part for text in every(wanted) for part in text.split(":"))

        return DynamicSection(tuple(every(DT_NEEDED)), split(DT_RPATH), split(DT_RUNPATH))


def loader(path: str) -> str:
    """The loader that a program asks for, such as /lib64/ld-linux-x86-64.so.2; '' for none."""
    with ElfFile(path) as elf:
        return "".join(elf.text_at(segment.offset) for segment in elf.segments(PT_INTERP))


def stack_flags(path: str) -> str:
    """Flags of a file's PT_GNU_STACK, such as ``RW``; ``missing`` where it has none."""
    with ElfFile(path) as elf:
        for segment in elf.segments(PT_GNU_STACK):
            return "".join(letter for flag, letter in FLAGS if segment.flags & flag)
    return "missing"


def is_elf(path: str) -> bool:
    """Whether a file starts as an ELF file of a platform under test does."""
    with open(path, "rb") as stream:
        return stream.read(6) == MAGIC + CLASS_AND_ORDER
