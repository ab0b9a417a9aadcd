"""What an ELF file says of itself: the libraries it needs, and the C API that it leaves open.

For any class and byte order, on any host; nothing of the file is run. Read is what the loader
reads, in the way it does: program headers, and from there by address; never section headers. The
limits below bound what any file costs, however large it is or claims to be.

pyelftools, which the tests compare this with, takes longer to import than a whole wheel to check.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.loader.objects import Architecture, Object, Unloadable

MAGIC = b"\x7fELF"

NO_ELF = "invalid ELF header"
"""What the loader says of a file that is none at all, such as a text."""

NO_LIBRARY = "only ET_DYN and ET_EXEC can be loaded"
"""What it says of an object file before it is linked."""

MAX_READ = 1 << 20
"""Bytes read of a file for the loader's questions. A name costs a chunk; nothing comes near."""

MAX_HEADERS = 1 << 16
"""Bytes of program headers: more, and Linux does not run the file. Real ones have a thousand."""

MAX_DYNAMIC = 1 << 18
"""Bytes of the dynamic section. Real ones have some thousand."""

MAX_NEEDED = 1000
"""Names in DT_NEEDED. The largest programs have some hundred."""

MAX_NAME = 4096
"""Bytes of a library's name: Linux opens no longer path."""

MAX_SEARCH_PATH = 1 << 16
"""Bytes of DT_RPATH or DT_RUNPATH."""

PAGE = 4096
"""Bytes; of the machines that have larger pages too, files are made for this or for more."""

MAX_CHAIN = 4096
"""Symbols looked at in one bucket of a hash table. Real ones have a handful."""

MAX_TABLE = 64 << 20
"""Bytes of a table that is read whole; the largest libraries have symbol tables half as large."""

C_API = (b"Py", b"_Py")
"""How every name of the C API begins."""

LONGEST_NAME = 200
"""Bytes; the C API has none of half that length."""

SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
"""Elf64_Sym and Elf64_Rela, little-endian, as both platforms have them."""

# Relocations that leave a symbol's address at a place: x86_64's GLOB_DAT, JUMP_SLOT and 64,
# aarch64's GLOB_DAT, JUMP_SLOT and ABS64. The last of each may be overwritten by the program.
SLOTS = {Architecture(62, 64): (6, 7, 1), Architecture(183, 64): (1025, 1026, 257)}

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
PF_X = 1
DT_NEEDED, DT_PLTRELSZ, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ = 1, 2, 4, 5, 6, 7, 8
DT_STRSZ, DT_SONAME, DT_RPATH, DT_DEBUG, DT_JMPREL, DT_RUNPATH = 10, 14, 15, 21, 23, 29
DT_GNU_HASH, DT_FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFFB
DF_1_NODEFLIB, DF_1_PIE = 0x800, 0x08000000

_CHUNK = 4096


def files(tree: Path) -> Iterator[Path]:
    """The ELF files of a tree, sorted; links are left out, what they lead to is not."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                if stream.read(4) == MAGIC:
                    yield path


class _Damaged(Exception):
    """A file that no loader would take; the message is the loader's where it has one."""


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int
    """In the file, in bytes."""
    memory: int
    """In a process, in bytes."""
    flags: int


class Stream(Protocol):
    """As much of an open file as is needed here."""

    def seek(self, offset: int, /) -> object:
        """Go to a place, which may be beyond the end."""
        ...

    def read(self, size: int, /) -> bytes:
        """Read from there; less than asked for at the end alone."""
        ...


class Reader:
    """An ELF file, read as the loader does. What is wrong with it shows in :meth:`object`."""

    def __init__(self, stream: Stream, *, limit: int = MAX_READ) -> None:
        """``limit`` is the most that will be read in all, in bytes."""
        self._stream = stream
        self._left = limit
        self._start = b""
        self._segments: list[_Segment] = []
        self._values: dict[int, int] = {}
        self._needed: list[int] = []
        self._problem: str | None = None
        try:
            self._start = self._read(0, _CHUNK)
            if self.is_elf:
                self._read_headers()
                self._read_dynamic()
        except _Damaged as damage:
            self._problem = str(damage)

    @property
    def start(self) -> bytes:
        """Its first bytes, by which people may tell what it is instead."""
        return self._start

    @property
    def is_elf(self) -> bool:
        """Whether it begins like an ELF file at all."""
        return self._start.startswith(MAGIC)

    def object(self) -> Object | Unloadable | None:
        """What the file tells the loader; None where it is no ELF file at all."""
        if not self.is_elf:
            return None
        if self._problem is not None:
            return Unloadable(problem=self._problem)
        try:
            flags = self._values.get(DT_FLAGS_1, 0)
            interpreter = next((s for s in self._segments if s.kind == PT_INTERP), None)
            return Object(
                architecture=self.architecture,
                soname=self._text_of(DT_SONAME, MAX_NAME),
                needed=tuple(self._text(at, MAX_NAME) for at in self._needed),
                rpath=self._text_of(DT_RPATH, MAX_SEARCH_PATH),
                runpath=self._text_of(DT_RUNPATH, MAX_SEARCH_PATH),
                no_default_libraries=bool(flags & DF_1_NODEFLIB),
                interpreter=interpreter and self._interpreter(interpreter),
                # libc.so.6 and others can be run, too, and are libraries all the same. Linkers
                # from before DF_1_PIE leave an entry for debuggers in programs alone.
                is_program=interpreter is not None
                and (self.type == ET_EXEC or bool(flags & DF_1_PIE) or DT_DEBUG in self._values),
            )
        except _Damaged as damage:
            return Unloadable(problem=str(damage))

    def defines(self, name: str) -> bool:
        """Whether the loader finds a symbol of its own in it, as ``dlsym`` would."""
        if not self.is_elf or self._problem is not None:
            return False
        try:
            wanted = name.encode()
            number = self._find_gnu(wanted) if DT_GNU_HASH in self._values else None
            if number is None and DT_HASH in self._values:
                number = self._find_sysv(wanted)
            return number is not None
        except _Damaged:
            return False

    def dynamic(self) -> Dynamic:
        """What it asks of CPython; nothing where it is damaged or for no platform under test."""
        found = self.object()
        if not isinstance(found, Object) or found.architecture.bits != 64:
            return Dynamic()
        slots, provides = ({}, False) if found.architecture.big_endian else self._c_api()
        return Dynamic(
            needed=found.needed,
            code_address=min(
                (s.address for s in self._segments if s.kind == PT_LOAD and s.flags & PF_X),
                default=0,
            ),
            c_api_slots=slots,
            provides_c_api=provides,
        )

    # Headers.

    def _read_headers(self) -> None:
        if len(self._start) < 52:
            raise _Damaged("file too short")
        bits = {1: 32, 2: 64}.get(self._start[4])
        if bits is None:
            raise _Damaged(f"wrong ELF class: {self._start[4]}")
        if self._start[5] not in (1, 2):
            raise _Damaged("ELF file data encoding neither little-endian nor big-endian")
        if self._start[6] != 1:
            raise _Damaged("ELF file version ident does not match current one")
        big = self._start[5] == 2
        self._order = ">" if big else "<"
        self._word = "Q" if bits == 64 else "I"
        word = self._word
        header = struct.Struct(f"{self._order}16xHHI{word}{word}{word}IHHHHHH")
        if len(self._start) < header.size:
            raise _Damaged("file too short")
        fields = header.unpack_from(self._start)
        self.type, machine, version = fields[:3]
        table, _, _, _, entry_size, count = fields[4:10]
        self.architecture = Architecture(machine, bits, big)
        if version != 1:
            raise _Damaged("ELF file version does not match current one")
        if self.type not in (ET_EXEC, ET_DYN):
            raise _Damaged(NO_LIBRARY)
        # p_type, p_flags where 64 bits have it, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz,
        # p_flags where 32 bits have it, p_align.
        layout = "IIQQ8xQQ8x" if bits == 64 else "III4xIII4x"
        segment = struct.Struct(self._order + layout)
        if entry_size != segment.size:
            raise _Damaged("ELF file's phentsize not the expected size")
        if count * segment.size > MAX_HEADERS:
            raise _Damaged(f"{count} program headers are more than Linux takes")
        raw = self._exactly(table, count * segment.size, "program headers")
        rows = segment.iter_unpack(raw)
        if bits == 64:
            rows = ((kind, *rest, flags) for kind, flags, *rest in rows)
        self._segments = [_Segment._make(row) for row in rows]
        if not any(s.kind == PT_LOAD for s in self._segments):
            raise _Damaged("object file has no loadable segments")

    def _read_dynamic(self) -> None:
        # The loader takes the last one, and finds it by its address.
        segment = next((s for s in reversed(self._segments) if s.kind == PT_DYNAMIC), None)
        if segment is None:
            if self.type == ET_DYN:
                raise _Damaged("object file has no dynamic section")
            return
        entry = struct.Struct(f"{self._order}{self._word}{self._word}")
        if segment.memory > MAX_DYNAMIC:
            raise _Damaged(f"a dynamic section of {segment.memory} bytes")
        raw = self._at(segment.address, segment.memory - segment.memory % entry.size)
        tags = 1 << (64 if self._word == "Q" else 32)
        for tag, value in entry.iter_unpack(raw[: len(raw) - len(raw) % entry.size]):
            if tag == 0:
                break
            if tag == DT_NEEDED:
                self._needed.append(value)
            # As in the loader, the last one of a kind counts.
            self._values[tag] = value % tags
        else:
            raise _Damaged("the dynamic section has no end")
        if len(self._needed) > MAX_NEEDED:
            raise _Damaged(f"{len(self._needed)} entries in DT_NEEDED")

    def _interpreter(self, segment: _Segment) -> str:
        if segment.size > MAX_NAME:
            raise _Damaged(f"a PT_INTERP of {segment.size} bytes")
        return decoded(self._exactly(segment.offset, segment.size, "PT_INTERP").split(b"\0")[0])

    # Texts.

    def _text_of(self, tag: int, limit: int) -> str | None:
        return self._text(self._values[tag], limit) if tag in self._values else None

    def _text(self, index: int, limit: int) -> str:
        """The text at an index of DT_STRTAB."""
        if DT_STRTAB not in self._values:
            raise _Damaged("the dynamic section has no DT_STRTAB")
        address = self._values[DT_STRTAB] + index
        found = b""
        while True:
            size = 256 if not found else _CHUNK
            raw = self._at(address + len(found), size)
            end = raw.find(b"\0")
            if end >= 0:
                return decoded(found + raw[:end])
            found += raw
            if len(raw) < size:
                raise _Damaged("a text of the dynamic section has no end")
            if len(found) > limit:
                raise _Damaged(f"a text of the dynamic section is longer than {limit} bytes")

    # Symbols.

    def _find_gnu(self, name: bytes) -> int | None:
        table = self._values[DT_GNU_HASH]
        buckets, first, bloom, _ = self._words(table, 4)
        if not buckets:
            return None
        value = 5381
        for byte in name:
            value = (value * 33 + byte) & 0xFFFFFFFF
        words = self.architecture.bits // 32
        at = table + 16 + 4 * words * bloom
        (number,) = self._words(at + 4 * (value % buckets), 1)
        if number < first:
            return None
        chain = at + 4 * buckets + 4 * (number - first)
        for start in range(0, MAX_CHAIN, 64):
            for index, found in enumerate(self._words(chain + 4 * start, 64, short=True)):
                if found | 1 == value | 1 and self._is(number + start + index, name):
                    return number + start + index
                if found & 1:
                    return None
        return None

    def _find_sysv(self, name: bytes) -> int | None:
        table = self._values[DT_HASH]
        buckets, chains = self._words(table, 2)
        if not buckets:
            return None
        value = 0
        for byte in name:
            value = (value << 4) + byte
            high = value & 0xF0000000
            value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
        (number,) = self._words(table + 8 + 4 * (value % buckets), 1)
        for _ in range(MAX_CHAIN):
            if not 0 < number < chains:
                return None
            if self._is(number, name):
                return number
            (number,) = self._words(table + 8 + 4 * (buckets + number), 1)
        return None

    def _is(self, number: int, name: bytes) -> bool:
        """Whether a symbol has a name and is defined here."""
        if DT_SYMTAB not in self._values or DT_STRTAB not in self._values:
            return False
        layout = struct.Struct(self._order + ("IBBHQQ" if self._word == "Q" else "IIIBBH"))
        raw = self._at(self._values[DT_SYMTAB] + number * layout.size, layout.size)
        if len(raw) < layout.size:
            return False
        fields = layout.unpack(raw)
        section = fields[3] if self._word == "Q" else fields[5]
        if section == 0:
            return False
        wanted = name + b"\0"
        return self._at(self._values[DT_STRTAB] + fields[0], len(wanted)) == wanted

    def _words(self, address: int, count: int, *, short: bool = False) -> tuple[int, ...]:
        """Words of 32 bits; ``short``: fewer where the file ends."""
        raw = self._at(address, 4 * count)
        if len(raw) < 4 * count and not short:
            raise _Damaged("a table of the dynamic section ends early")
        return struct.unpack(f"{self._order}{len(raw) // 4}I", raw[: len(raw) // 4 * 4])

    def _c_api(self) -> tuple[dict[str, int], bool]:
        """Where it keeps addresses of the C API; and whether it is a libpython itself."""
        try:
            symbols = self._table(DT_SYMTAB, self._symbols() * SYMBOL.size)
            strings = self._table(DT_STRTAB, self._values.get(DT_STRSZ, 0))
        except _Damaged:
            return {}, False
        open_names: dict[int, str] = {}
        provides = False
        for index, (name_at, _, _, section, _, _) in enumerate(
            SYMBOL.iter_unpack(_whole(symbols, SYMBOL))
        ):
            if strings.startswith(C_API, name_at):
                end = strings.find(b"\0", name_at, name_at + LONGEST_NAME)
                if end < 0:
                    continue
                name = strings[name_at:end].decode("ascii", "replace")
                if section == 0:
                    open_names[index] = name
                elif name == "Py_InitializeEx":
                    provides = True
        kinds = SLOTS.get(self.architecture, ())
        found: dict[str, tuple[int, int]] = {}
        for table, size in ((DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)):
            content = b""
            if open_names and kinds:
                try:
                    content = self._table(table, self._values.get(size, 0))
                except _Damaged:
                    continue
            for place, info, _ in RELOCATION.iter_unpack(_whole(content, RELOCATION)):
                opened = open_names.get(info >> 32)
                if opened is not None and info & 0xFFFFFFFF in kinds:
                    slot = (kinds.index(info & 0xFFFFFFFF), place)
                    found[opened] = min(slot, found.get(opened, slot))
        return {name: place for name, (_, place) in sorted(found.items())}, provides

    def _symbols(self) -> int:
        """How many there are, which only the hash tables know."""
        if DT_HASH in self._values:
            return self._words(self._values[DT_HASH], 2)[1]
        if DT_GNU_HASH not in self._values:
            return 0
        table = self._values[DT_GNU_HASH]
        buckets, first, bloom, _ = self._words(table, 4)
        at = table + 16 + 8 * bloom
        found = self._at(at, min(4 * buckets, MAX_TABLE))
        raw = array("I", found[: len(found) // 4 * 4])
        last = max(raw, default=0)
        if last < first:
            return first
        while True:
            words = self._words(at + 4 * buckets + 4 * (last - first), 1024, short=True)
            for word in words:
                last += 1
                if word & 1:
                    return last
            if len(words) < 1024:
                return last

    def _table(self, tag: int, size: int) -> bytes:
        if tag not in self._values:
            return b""
        return self._at(self._values[tag], min(size, MAX_TABLE))

    # Bytes.

    def _at(self, address: int, size: int) -> bytes:
        """What lies at an address; less than asked for where the file's part of it ends."""
        for segment in reversed(self._segments):
            if segment.kind != PT_LOAD:
                continue
            end = segment.address + segment.size
            if segment.memory <= segment.size:
                # Mapped are whole pages, and nothing is put over the rest of the last one: there
                # patchelf leaves the dynamic section of some programs.
                end += -end % PAGE
            if segment.address <= address < end:
                left = end - address
                return self._read(segment.offset + address - segment.address, min(size, left))
        raise _Damaged(f"nothing of the file is at the address {address:#x}")

    def _exactly(self, offset: int, size: int, what: str) -> bytes:
        found = self._read(offset, size)
        if len(found) < size:
            raise _Damaged(f"cannot read file data: its {what} would lie beyond its end")
        return found

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size <= len(self._start):
            return self._start[offset : offset + size]
        if offset + size > 1 << 40:
            raise _Damaged("cannot read file data: an offset is beyond any file's end")
        if size > self._left:
            raise _Damaged("there is more to read than any real file has")
        self._stream.seek(offset)
        found = self._stream.read(size)
        self._left -= len(found)
        return found


def read_object(stream: Stream) -> Object | Unloadable | None:
    """What a file tells the loader; None where it is no ELF file at all.

    Whatever the file holds, there is no exception but those of the stream.
    """
    return Reader(stream).object()


def init_name(stem: str) -> str:
    """Name of the function that CPython calls in the extension module of a file name's stem."""
    try:
        stem.encode("ascii")
    except UnicodeEncodeError:
        return "PyInitU_" + stem.encode("punycode").decode().replace("-", "_")
    return f"PyInit_{stem}"


def is_extension_module(reader: Reader, stem: str) -> bool:
    """Whether CPython could import a file as the module ``stem``.

    A library beside it whose name would do is told from it by the function that it lacks.
    """
    name = init_name(stem)
    return reader.defines(name) or reader.defines(name.replace("PyInit", "PyModExport", 1))


class Dynamic(NamedTuple):
    """What a shared object asks of the loader and of CPython."""

    needed: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    code_address: int = 0
    """The lowest virtual address of what is mapped to be run, which nobody does to read it."""
    c_api_slots: Mapping[str, int] = {}
    """Where it keeps the address of each name of the C API that it takes from elsewhere.

    Name → virtual address, to which the loader adds what it has moved the file by.
    """
    provides_c_api: bool = False
    """Whether it defines the C API: a copy of libpython, whatever its name."""


def read(path: Path) -> Dynamic:
    """Read a file; one that is not a readable ELF file for the loader asks for nothing."""
    try:
        with path.open("rb") as stream:
            # Whole tables: four of them, and no more than the file has.
            limit = MAX_READ + min(4 * MAX_TABLE, 4 * os.fstat(stream.fileno()).st_size)
            return Reader(stream, limit=limit).dynamic()
    except OSError:
        return Dynamic()


def decoded(raw: bytes) -> str:
    """A name for people and for comparison, also where it is not in UTF-8."""
    return raw.decode("utf-8", "backslashreplace")


def _whole(table: bytes, entry: struct.Struct) -> bytes:
    """A table without a last entry that is cut short."""
    return table[: len(table) - len(table) % entry.size]
