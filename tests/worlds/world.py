"""One world as data: what lies where, how the program is started, and what it opens."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from harness.loader.files import Files
from harness.loader.glibc import Glibc
from harness.loader.musl import Musl
from harness.loader.objects import AARCH64, X86_64, Architecture, Object, Unloadable
from harness.loader.process import Loader
from harness.platforms import Platform

ROOT = "/w"
"""Where every world lies, one after the other."""

FOLDERS = (f"{ROOT}/a/sub", f"{ROOT}/b", f"{ROOT}/c", f"{ROOT}/bin")
"""Directories that are there in every world."""


class Libc(StrEnum):
    """A C library, whose loader is tried."""

    GLIBC = "glibc"
    MUSL = "musl"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which loader a world is for."""

    libc: Libc
    platform: Platform

    def __str__(self) -> str:
        return f"{self.libc} {self.platform}"

    @property
    def architecture(self) -> Architecture:
        """What its own objects are."""
        return self.platform.architecture

    @property
    def interpreter(self) -> str:
        """PT_INTERP of its programs."""
        if self.libc is Libc.MUSL:
            return f"/lib/ld-musl-{self.platform}.so.1"
        return {
            Platform.X86_64: "/lib64/ld-linux-x86-64.so.2",
            Platform.AARCH64: "/lib/ld-linux-aarch64.so.1",
        }[self.platform]

    @property
    def c_library(self) -> str:
        """DT_NEEDED of every program."""
        return "libc.so" if self.libc is Libc.MUSL else "libc.so.6"

    @property
    def model(self) -> Loader:
        """The model of that loader."""
        return Musl() if self.libc is Libc.MUSL else Glibc()


KINDS = {
    str(kind): kind
    for kind in (Kind(libc=libc, platform=platform) for libc in Libc for platform in Platform)
}


class Content(StrEnum):
    """What a file with a library's name holds."""

    LIBRARY = "library"
    OTHER_MACHINE = "other-machine"
    """The same word size, another processor."""
    OTHER_CLASS = "other-class"
    """32 bits."""
    BIG_ENDIAN = "big-endian"
    TEXT = "text"
    SHORT = "short"
    """A file too short for an ELF header."""


TEXTS = {
    Content.TEXT: "This is no library, but a text that is longer than an ELF header is.\n",
    Content.SHORT: "/* GNU ld script */\n",
}

ARCHITECTURES_OF = {
    Content.OTHER_MACHINE: {Platform.X86_64: AARCH64, Platform.AARCH64: X86_64},
    Content.OTHER_CLASS: dict.fromkeys(Platform, Architecture(3, 32)),
    Content.BIG_ENDIAN: dict.fromkeys(Platform, Architecture(183, 64, big_endian=True)),
}

PROBLEMS = {
    (Libc.GLIBC, Content.TEXT): "invalid ELF header",
    (Libc.GLIBC, Content.SHORT): "file too short",
    (Libc.MUSL, Content.TEXT): "Exec format error",
    (Libc.MUSL, Content.SHORT): "Exec format error",
}


@dataclass(frozen=True, kw_only=True)
class Library:
    """A file to be linked, or something else under a library's name."""

    number: int
    """Of its own in the world; 0 is the program."""
    content: Content = Content.LIBRARY
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    no_default_libraries: bool = False

    def object(self, kind: Kind) -> Object | Unloadable:
        """What the model is told of it."""
        if self.content in TEXTS:
            return Unloadable(problem=PROBLEMS[kind.libc, self.content])
        architecture = kind.architecture
        if self.content is not Content.LIBRARY:
            architecture = ARCHITECTURES_OF[self.content][kind.platform]
        return Object(
            architecture=architecture,
            soname=self.soname,
            needed=self.needed,
            rpath=self.rpath,
            runpath=self.runpath,
            no_default_libraries=self.no_default_libraries,
            interpreter=None if self.number else kind.interpreter,
            is_program=not self.number,
        )


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A call of dlopen."""

    name: str
    caller: int = 0
    """Number of the library that calls; the program does where that is not loaded."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A world. All paths are absolute, but for ``program`` and what links hold."""

    seed: int
    kind: Kind
    libraries: dict[str, Library]
    """By path; the program, number 0, is one of them."""
    links: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    """Hard links: path → path of a library."""
    configured: tuple[str, ...] = ()
    """Directories in /etc/ld.so.conf.d."""
    runs_ldconfig: bool = False
    removed: tuple[str, ...] = ()
    """Libraries that are gone after ldconfig has seen them."""
    program: str = f"{ROOT}/bin/main"
    """As it is started."""
    directory: str = ROOT
    """The working directory."""
    library_path: str = ""
    preload: str = ""
    openings: tuple[Opening, ...] = ()

    @property
    def numbers(self) -> dict[int, str]:
        """Path of each library by its number."""
        return {library.number: path for path, library in self.libraries.items()}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What became of a world's files before the program started: ldconfig makes and moves links."""

    links: dict[str, str] = field(default_factory=dict)
    """Links that are new or lead elsewhere."""
    removed: tuple[str, ...] = ()
    cache: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Entries that ld.so.cache got through this world: name → paths, the preferred one first."""


def files(world: World, changes: Changes) -> Files:
    """A world's files, as the loader finds them."""
    gone = {*world.removed, *changes.removed}
    twins = {path: path for path in world.twins.values()} | world.twins
    places = {**{path: path for path in world.libraries}, **world.twins}
    return Files(
        files={
            path: world.libraries[original].object(world.kind)
            for path, original in places.items()
            if path not in gone
        },
        links={p: t for p, t in {**world.links, **changes.links}.items() if p not in gone},
        twins=twins,
        folders=frozenset(FOLDERS),
    )
