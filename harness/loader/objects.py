"""What an ELF file tells the loader."""

from __future__ import annotations

from typing import NamedTuple


class Architecture(NamedTuple):
    """What a file must have in common with the program that loads it."""

    machine: int
    """e_machine, such as 62 for x86_64 and 183 for aarch64."""
    bits: int
    """32 or 64."""
    big_endian: bool = False


X86_64 = Architecture(62, 64)
AARCH64 = Architecture(183, 64)


class Object(NamedTuple):
    """The part of a file's dynamic section that decides where libraries are looked for."""

    architecture: Architecture
    soname: str | None = None
    needed: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    rpath: str | None = None
    """DT_RPATH as it stands there, tokens such as $ORIGIN included."""
    runpath: str | None = None
    no_default_libraries: bool = False
    """DF_1_NODEFLIB (``ld -z nodefaultlib``): not from the default directories."""
    interpreter: str | None = None
    """PT_INTERP: the loader that a program asks for."""
    is_program: bool = False
    """Whether it is run rather than loaded."""


class Unloadable(NamedTuple):
    """A file with the right name that no loader takes."""

    problem: str
    """In the loader's own words, such as ``invalid ELF header``."""
