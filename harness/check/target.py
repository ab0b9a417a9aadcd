"""What is to be checked: the files of a wheel, a directory, an environment or a single library."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness import elf, imports
from harness.imports import INIT, Source
from harness.loader.files import Files
from harness.loader.objects import Architecture, Object, Unloadable

VENV = "/venv"
"""Where a target's files lie in the model: as an installer would put them into a venv."""

SITE = f"{VENV}/lib/python3/site-packages"
"""As deep as a real one, since search paths such as ``$ORIGIN/../../..`` count the directories."""

SCRIPTS = f"{VENV}/bin"

SCHEMES = {
    "purelib": SITE,
    "platlib": SITE,
    "scripts": SCRIPTS,
    "data": VENV,
    "headers": f"{VENV}/include",
}
"""Where the parts of a wheel's ``.data`` directory go."""

LIBRARY = re.compile(r".*\.so(?:\.\d+)*", re.DOTALL)
"""How a file is called that should be a shared library, as in ``libz.so.1.2``."""

MODULE = re.compile(r"(?P<stem>[^.]+)(?P<suffix>(?:\.[\w-]+)?\.so)")
"""How a file is called that may be an extension module."""

NOT_ELF = frozenset(
    {
        *("py", "pyi", "pyc", "pyx", "pxd", "txt", "md", "rst", "json"),
        *("toml", "yaml", "yml", "cfg", "ini", "csv", "xml", "html", "css"),
        *("js", "map", "svg", "png", "jpg", "gif", "ico", "ttf", "woff"),
        *("woff2", "eot", "pdf", "ipynb", "typed", "po", "mo", "h", "hh"),
        *("hpp", "cuh", "c", "cc", "cpp", "cu", "proto", "pyd", "dll"),
        *("exe", "lib", "dylib", "a", "zip", "gz", "parquet", "npy", "npz"),
        *("debug", "cmake", "sh", "bat", "tcl", "lua", "ts"),
    }
)
"""Suffixes of files that are not opened: no loader is ever asked for one of these."""

MAX_SOURCE = 8 << 20
"""Bytes of a Python source: more is not looked at for imports. Generated ones have 5 MB."""

MAX_NOTES = 20
"""Notes of one target; of a thousand names that are wrong, some tell what is the matter."""


class Module(NamedTuple):
    """An extension module: a file that Python opens."""

    name: str
    """As it is imported, such as ``PIL._imagingtk``."""
    path: str
    """In the model."""
    suffix: str
    """Of its file name, such as ``.cpython-313t-x86_64-linux-gnu.so`` or ``.abi3.so``."""


class Target(NamedTuple):
    """Files to be checked, as they would lie in a venv, and what they are for."""

    name: str
    """For people: the wheel's file name, the distribution's name and version, or the path."""
    files: Files
    """Every ELF file below :data:`VENV`, and every link between them."""
    others: Files = Files()
    """What else lies in the same environment: found where it is needed, and not judged here."""
    modules: tuple[Module, ...] = ()
    """In the order in which they are looked at."""
    reached: frozenset[str] = frozenset()
    """Names of those modules that importing the distribution's own top level loads, as far as
    its code shows without running it; what stands in a function or a ``try`` is left out."""
    programs: tuple[str, ...] = ()
    """Paths of executables: programs that are started for themselves."""
    tags: frozenset[str] = frozenset()
    """Compatibility tags of a wheel (``cp313-cp313-manylinux_2_28_x86_64``); none otherwise."""
    architectures: frozenset[Architecture] = frozenset()
    """Of its ELF files."""
    is_musl: bool = False
    """Whether it is built for musl and not for glibc: by its tags, else by what it needs."""
    notes: tuple[str, ...] = ()
    """Oddities worth a line: links that lead out, names that an installer would refuse, …."""
    unreadable: Mapping[str, str] = {}
    """Files that should have been ELF and are not, or are damaged: path → what is wrong."""


def place(name: str) -> str | None:
    """Where an installer puts a wheel's file in the model; None where it refuses the name."""
    parts = name.split("/")
    if not name or "" in parts or ".." in parts or "." in parts:
        return None
    # Nor what would be an absolute path, or another directory, on Windows.
    if "\\" in name or "\0" in name or re.match("[A-Za-z]:", name):
        return None
    if parts[0].endswith(".data") and "-" in parts[0]:
        scheme = SCHEMES.get(parts[1]) if len(parts) > 2 else None
        return scheme and posixpath.join(scheme, *parts[2:])
    return f"{SITE}/{name}"


def may_be_elf(name: str) -> bool:
    """Whether a file has to be opened to know what it is."""
    if LIBRARY.fullmatch(name):
        return True
    directory, _, file = name.rpartition("/")
    if directory.partition("/")[0].endswith(".dist-info"):
        return False
    stem, _, suffix = file.rpartition(".")
    return not stem or suffix.lower() not in NOT_ELF


class Draft:
    """A target while its files are being read, one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sources: dict[str, Source] = {}
        """Python modules by name, a package's own with ``.__init__``."""
        self.tags: frozenset[str] = frozenset()
        self._files: dict[str, Object | Unloadable] = {}
        self._links: dict[str, str] = {}
        self._modules: dict[str, Module] = {}
        self._unreadable: dict[str, str] = {}
        self._notes: dict[str, None] = {}

    @property
    def files(self) -> Files:
        """What there is so far."""
        return Files(files=self._files, links=self._links)

    def add_file(self, path: str, stream: elf.Stream) -> None:
        """Read what may be an ELF file; anything else is left alone unless its name is a lie."""
        reader = elf.Reader(stream)
        found = reader.object()
        is_library = LIBRARY.fullmatch(path) is not None
        if found is None:
            if is_library:
                short = len(reader.start) < len(elf.MAGIC)
                self._files[path] = Unloadable(problem="file too short" if short else elf.NO_ELF)
                self._unreadable[path] = described(reader.start)
            return
        if isinstance(found, Unloadable):
            # Objects that nobody loads are no business of the loader's: crt1.o, code for GPUs.
            if is_library or found.problem != elf.NO_LIBRARY:
                self._files[path] = found
                self._unreadable[path] = found.problem
            return
        self._files[path] = found
        if module := _module(path):
            # A package's own module is asked for by the package's name.
            stem = module.name.rpartition(".")[2]
            if not found.is_program and elf.is_extension_module(reader, stem):
                self._modules[path] = module

    def add_unreadable(self, path: str, problem: str) -> None:
        """A file that is there and cannot be read."""
        self._files[path] = Unloadable(problem=problem)
        self._unreadable[path] = problem

    def add_link(self, path: str, target: str) -> None:
        """A symbolic link, and where it leads as it stands there."""
        self._links[path] = target

    def add_source(self, path: str, source: Source) -> None:
        """A Python source, which is read only if the imports of a package lead to it."""
        if name := _name(path.removesuffix(".py")):
            self.sources[name] = source

    def note(self, note: str) -> None:
        """An oddity worth a line."""
        self._notes[note] = None

    def target(self, others: Files | None = None) -> Target:
        """All that was added."""
        by_name = {module.name: module for _, module in sorted(self._modules.items())}
        reached: tuple[str, ...] = ()
        if by_name:
            init = {name + INIT if _is_init(m.path) else name: m for name, m in by_name.items()}
            starts = _starts(init.keys(), self.sources.keys())
            reached = tuple(
                name.removesuffix(INIT) for name in imports.reached(starts, self.sources, init)
            )
        # Several files may be the same module, for other interpreters.
        order = {name: number for number, name in enumerate(reached)}
        modules = sorted(
            self._modules.values(),
            key=lambda module: (order.get(module.name, len(order)), module.path),
        )
        loadable = {path: o for path, o in sorted(self._files.items()) if isinstance(o, Object)}
        programs = tuple(path for path, found in loadable.items() if found.is_program)
        notes = [*self._notes]
        if len(notes) > MAX_NOTES:
            notes[MAX_NOTES:] = [f"and {len(notes) - MAX_NOTES} more of the kind"]
        return Target(
            name=self.name,
            files=self.files,
            others=others or Files(),
            modules=tuple(modules),
            reached=frozenset(reached),
            programs=programs,
            tags=self.tags,
            architectures=frozenset(
                found.architecture
                for path, found in loadable.items()
                if found.is_program or LIBRARY.fullmatch(path)
            ),
            is_musl=_is_musl(self.tags, [*loadable.values()]),
            notes=tuple(notes),
            unreadable=self._unreadable,
        )


def described(start: bytes) -> str:
    """What a file is that is called like a library and is no ELF file, by its first bytes."""
    if not start:
        return "it is empty"
    if start[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return "it is a library for macOS, and no ELF file"
    if start.startswith(b"MZ"):
        return "it is a library for Windows, and no ELF file"
    if start.startswith((b"!<arch>\n", b"!<thin>\n")):
        return "it is an archive of objects for a linker, and no ELF file"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS to a file that was not fetched"
    if b"\0" not in start:
        return "it is a text, and no ELF file"
    return "it is no ELF file"


def _name(path: str) -> str | None:
    """What a file is imported as, by its path without suffix; None where it cannot be."""
    if not path.startswith(f"{SITE}/"):
        return None
    parts = path[len(SITE) + 1 :].split("/")
    return ".".join(parts) if all(part.isidentifier() for part in parts) else None


def _module(path: str) -> Module | None:
    directory, _, file = path.rpartition("/")
    parts = MODULE.fullmatch(file)
    name = _name(f"{directory}/{parts['stem']}") if parts else None
    if parts is None or name is None:
        return None
    return Module(name=name.removesuffix(INIT), path=path, suffix=parts["suffix"])


def _is_init(path: str) -> bool:
    return posixpath.basename(path).startswith("__init__.")


def _starts(extensions: Iterable[str], sources: Iterable[str]) -> list[str]:
    """The top level: modules and packages there, and packages within those without an own module.

    Scripts in a directory that is no package are none of it: nobody imports them.
    """
    extensions = frozenset(extensions)
    known = extensions.union(sources)
    packages = {name.removesuffix(INIT) for name in known if name.endswith(INIT)}
    found = set()
    for name in known:
        parts = name.removesuffix(INIT).split(".")
        prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        start = next((prefix for prefix in prefixes if prefix in packages), None)
        if start is not None:
            found.add(start)
        elif len(parts) == 1 or name in extensions:
            found.add(name)
    return sorted(found)


def _is_musl(tags: frozenset[str], objects: list[Object]) -> bool:
    if any("manylinux" in tag for tag in tags):
        return False
    if any("musllinux" in tag for tag in tags):
        return True
    return any(
        any(name.startswith("libc.musl-") for name in found.needed)
        or "/ld-musl-" in (found.interpreter or "")
        for found in objects
    )
