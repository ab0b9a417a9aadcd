"""The names that an ELF file exports to whatever is loaded into the same process."""

from __future__ import annotations

import struct

import elf
from elf import ElfFile

SYMBOL = struct.Struct("<IBBHQQ")
"""Elf64_Sym: name, info, other, section index, value, size."""

RELOCATION = struct.Struct("<QQq")
"""Elf64_Rela: offset, info, addend."""

SHT_DYNSYM = 11
DT_RELA, DT_RELASZ = 7, 8

EXPORTED_BINDINGS = (1, 2, 10)
"""STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE."""

EXPORTED_VISIBILITIES = (0, 3)
"""STV_DEFAULT, STV_PROTECTED."""

COPY_RELOCATIONS = {62: 5, 183: 1024}
"""R_X86_64_COPY and R_AARCH64_COPY, by machine."""


def exported(path: str) -> list[str]:
    """Names that a file defines for others, sorted; none for a static program.

    Without those of copy relocations: such a variable (``stdout``, ``environ``) is a library's, for
    which the linker has reserved room in the program. Raises :class:`elf.NotElfError` where the
    file is no ELF file, or was stripped of what tells its symbols.
    """
    with ElfFile(path) as file:
        sections = file.sections()
        if not sections:
            raise elf.NotElfError(f"{path} has no section headers")
        tables = [section for section in sections if section.kind == SHT_DYNSYM]
        if not tables:
            return []
        raw = file.content[tables[0].offset : tables[0].offset + tables[0].size]
        symbols = list(SYMBOL.iter_unpack(raw))
        texts = sections[tables[0].link].offset
        # By address, since a variable that is copied may have several names.
        copied = {symbols[index][4] for index in _copies(file)}
        return sorted(
            {
                file.text_at(texts + name)
                for name, info, other, section, value, _ in symbols
                if section
                and info >> 4 in EXPORTED_BINDINGS
                and other & 3 in EXPORTED_VISIBILITIES
                and value not in copied
            }
        )


def _copies(file: ElfFile) -> set[int]:
    """Indices of the symbols that copy relocations name."""
    entries = dict(file.entries())
    kind = COPY_RELOCATIONS.get(file.machine)
    if kind is None or DT_RELA not in entries:
        return set()
    start = file.offset_of(entries[DT_RELA])
    relocations = RELOCATION.iter_unpack(file.content[start : start + entries[DT_RELASZ]])
    return {info >> 32 for _, info, _ in relocations if info & 0xFFFFFFFF == kind}
