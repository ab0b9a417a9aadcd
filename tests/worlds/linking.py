"""A world's files, linked with the real linker: GNU ld, for either platform on one machine."""

from __future__ import annotations

import shlex
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness import cache
from harness.platforms import Platform
from tests.worlds.world import TEXTS, Content, Kind, Libc, Library, World

SOURCES = Path(__file__).parent

SMALL = ("-z", "noseparate-code", "-z", "max-page-size=4096", "-z", "common-page-size=4096", "-s")
"""Files of a few pages."""

DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
MARKS = {DT_RPATH: "\N{SECTION SIGN}", DT_RUNPATH: "\N{PILCROW SIGN}"}
"""What a need begins with that is a search path in truth."""
PT_LOAD, PT_DYNAMIC = 1, 2

GLIBC_DEVELOPMENT = {
    True: ("/usr/lib/{platform}-linux-gnu", "/lib/{platform}-linux-gnu"),
    False: ("/usr/{platform}-linux-gnu/lib", "/usr/{platform}-linux-gnu/lib"),
}
"""Where Debian keeps the start files and the C library to link with, native or to cross."""


@dataclass
class Script:
    """Shell commands that make some files in the directory that they are run in."""

    kind: Kind
    host: Platform
    first: list[str] = field(default_factory=list)
    """What is run before all else, in order."""
    then: list[str] = field(default_factory=list)
    """What may be run at the same time."""
    _stubs: dict[str, str] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Compile what every world has."""
        flags = ("-O1", "-fPIC", "-c", "-fno-asynchronous-unwind-tables")
        for name in ("driver", "caller"):
            self._run(self._tool("gcc"), *flags, "-o", f"{name}.o", f"{name}.c")
        self._run(self._tool("as"), "-o", "empty.o", "/dev/null")

    def library(self, output: str, library: Library) -> None:
        """Link one file of a world."""
        soname = () if library.soname is None else ("-soname", library.soname)
        match library.content:
            case Content.TEXT | Content.SHORT:
                text = shlex.quote(TEXTS[library.content])
                self.then.append(f"printf %s {text} > {output}")
            case Content.LIBRARY:
                if library.number:
                    what = ["-shared", "caller.o"]
                    what += ["--defsym", f"worlds_open_{library.number}=worlds_open"]
                    needed = [self._stub(name) for name in library.needed]
                else:
                    start, end, needed = self._program_parts(library)
                    what = ["-pie", "-dynamic-linker", self.kind.interpreter, *start, "driver.o"]
                    needed += end
                paths: list[str] = []
                # The linker writes one of both, and none that is empty; what it does not write is
                # written as a need, of which :func:`with_tags` makes what it is.
                if library.rpath:
                    paths = ["--disable-new-dtags", "-rpath", library.rpath]
                elif library.rpath is not None:
                    needed.append(self._stub(f"{MARKS[DT_RPATH]}{library.rpath}"))
                if library.runpath and library.rpath is None:
                    paths = ["--enable-new-dtags", "-rpath", library.runpath]
                elif library.runpath is not None:
                    needed.append(self._stub(f"{MARKS[DT_RUNPATH]}{library.runpath}"))
                if library.no_default_libraries:
                    paths += ["-z", "nodefaultlib"]
                what += [*soname, *paths, "--no-as-needed", *needed]
                self.then.append(shlex.join(self._linked(output, *what)))
            case _:
                key = cache.digest(library.content, library.soname)[:12]
                made = f"foreign-{key}.so"
                if made not in self._made:
                    self._made.add(made)
                    self._foreign(made, library.content, soname)
                self.then.append(f"cp {made} {output}")

    def _program_parts(self, library: Library) -> tuple[list[str], list[str], list[str]]:
        """What a program is linked with before, after, and for its needs."""
        if self.kind.libc is Libc.MUSL:
            files = library_of = "musl"
        else:
            places = GLIBC_DEVELOPMENT[self.kind.platform is self.host]
            files, library_of = (place.format(platform=self.kind.platform) for place in places)
        # musl's has no soname, and would else be needed by its path here.
        needed = [
            f"-l:{name}" if name == self.kind.c_library else self._stub(name)
            for name in library.needed
        ]
        return (
            [f"-L{library_of}", f"{files}/Scrt1.o", f"{files}/crti.o"],
            [f"{files}/crtn.o"],
            needed,
        )

    def _foreign(self, output: str, content: Content, soname: Iterable[str]) -> None:
        other = Platform.AARCH64 if self.kind.platform is Platform.X86_64 else Platform.X86_64
        platform, assembler, linker = {
            Content.OTHER_MACHINE: (other, (), ()),
            Content.OTHER_CLASS: (Platform.X86_64, ("--32",), ("-m", "elf_i386")),
            Content.BIG_ENDIAN: (Platform.AARCH64, ("-EB",), ("-m", "aarch64linuxb")),
        }[content]
        empty = f"{output}.o"
        self._run(self._tool("as", platform), *assembler, "-o", empty, "/dev/null")
        arguments = (*linker, "-shared", *SMALL, *soname, "-o", output, empty)
        self._run(self._tool("ld", platform), *arguments)

    def _stub(self, name: str) -> str:
        """A library with a soname, so that the linker writes it as a need."""
        if name not in self._stubs:
            self._stubs[name] = f"stub-{len(self._stubs)}.so"
            words = ("-shared", "empty.o", "-soname", name)
            self._run(*self._linked(self._stubs[name], *words))
        return self._stubs[name]

    def _linked(self, output: str, *arguments: str) -> list[str]:
        return [self._tool("ld"), *SMALL, "--hash-style=gnu", "-o", output, *arguments]

    def _tool(self, name: str, platform: Platform | None = None) -> str:
        return f"{platform or self.kind.platform}-linux-gnu-{name}"

    def _run(self, *words: str) -> None:
        self.first.append(shlex.join(words))


def with_tags(content: bytes) -> bytes:
    """A linked file (64 bits, little-endian) with its marked needs made search paths."""
    data = bytearray(content)
    strings = _strings(content)
    for at, tag, value in _dynamic(content):
        for wanted, mark in MARKS.items():
            marked = mark.encode()
            if tag == DT_NEEDED and content.startswith(marked, strings + value):
                struct.pack_into("<QQ", data, at, wanted, value + len(marked))
    return bytes(data)


def _segments(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Type, offset, address and size in the file of each program header."""
    (at,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", content, at + number * size
        )
        yield kind, offset, address, length


def _dynamic(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, tag and value of each entry of the dynamic section."""
    for kind, offset, _, length in _segments(content):
        if kind == PT_DYNAMIC:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", content, at)
                yield at, tag, value


def _strings(content: bytes) -> int:
    """Offset of the dynamic section's strings."""
    address = next(value for _, tag, value in _dynamic(content) if tag == DT_STRTAB)
    for kind, offset, start, length in _segments(content):
        if kind == PT_LOAD and start <= address < start + length:
            return offset + address - start
    raise ValueError("the dynamic strings are in no segment")


def names(worlds: Iterable[World]) -> Iterator[tuple[str, World, Library]]:
    """Name of each file to be linked, among those of all worlds."""
    for world in worlds:
        for library in world.libraries.values():
            yield f"{world.seed}-{library.number}", world, library
