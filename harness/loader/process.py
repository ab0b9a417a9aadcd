"""What a loader knows: the system, the process, and how each of its searches went."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, Protocol

from harness.loader.files import Files, Nowhere
from harness.loader.objects import Object, Unloadable
from harness.releases import LIBPYTHON

MAX_DIGITS = 10
"""Of a number in a name that is compared by its value."""


class _System(NamedTuple):
    files: Files
    directories: tuple[str, ...]
    """Where the loader looks by default, in order."""
    cache: Mapping[str, tuple[str, ...]] = {}
    """ld.so.cache, for this architecture: name → paths, the preferred one first."""
    subdirectories: tuple[str, ...] = ()
    """Looked into before each directory itself: ``glibc-hwcaps/x86-64-v3``, …, for this CPU."""
    lib: str = "lib"
    """What $LIB stands for."""
    platform: str = ""
    """What $PLATFORM stands for; empty where the loader has nothing for it."""


class System(_System):  # a class of its own, since a NamedTuple has no room for what it keeps
    """What is the same for every process: the files, and what the loader was built with."""

    def cached(self, name: str) -> str | None:
        """The path that the loader finds for a name in ld.so.cache.

        Numbers in names are compared by value there: ``libx.so.01`` finds ``libx.so.1``.
        """
        paths = self._cache_by_value.get(_by_value(name), ())
        return paths[0] if paths else None

    @cached_property
    def _cache_by_value(self) -> Mapping[tuple[str | int, ...], tuple[str, ...]]:
        found: dict[tuple[str | int, ...], tuple[str, ...]] = {}
        for name, paths in self.cache.items():
            key = _by_value(name)
            found[key] = found.get(key, ()) + paths
        return found


def _by_value(name: str) -> tuple[str | int, ...]:
    parts = re.split("([0-9]+)", name)
    # Every other part is a number. Python refuses to read one without end.
    return tuple(
        int(part) if number % 2 and len(part) < MAX_DIGITS else part
        for number, part in enumerate(parts)
    )


class Variables(NamedTuple):
    """A process's environment, as far as a loader reads it.

    A set-user-ID program ignores both; Python is none.
    """

    library_path: str = ""
    """LD_LIBRARY_PATH; empty is unset."""
    preload: str = ""
    """LD_PRELOAD."""
    directory: str = "/"
    """The working directory."""


class Step(StrEnum):
    """A place to look for a library, in the order in which glibc looks."""

    LOADED = "loaded"
    """It is in the process already, by name."""
    PATH = "path"
    """The name has a slash, so it is a path."""
    RPATH = "rpath"
    LIBRARY_PATH = "library-path"
    RUNPATH = "runpath"
    CACHE = "cache"
    DEFAULT = "default"


class Look(NamedTuple):
    """One place that a search looked into, or could have and did not."""

    step: Step
    owner: str | None = None
    """The file whose search path it is."""
    directories: tuple[str, ...] = ()
    """What was looked into, in order; none where that place is empty.

    The working directory, where a search path has an empty element, is an empty text.
    """
    ignored: str | None = None
    """Why the place does not count here, such as a DT_RUNPATH beside a DT_RPATH."""


class Search(NamedTuple):
    """A name, on whose behalf it was looked for, and what came of it."""

    name: str
    needed_by: str
    """Path of the file that has the name in DT_NEEDED, or that called dlopen."""
    looks: tuple[Look, ...] = ()
    """Up to the one that found it."""
    passed_over: tuple[tuple[str, str], ...] = ()
    """Files of that name that are for another architecture: path and what it is."""
    found: str | None = None
    """As the loader names it: with $ORIGIN replaced, links as they are."""
    problem: str | None = None
    """Of a file that was found and cannot be loaded, in the loader's words."""

    @property
    def failed(self) -> bool:
        """Whether the process is without it."""
        return self.found is None or self.problem is not None

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory that was looked into, in order."""
        return tuple(directory for look in self.looks for directory in look.directories)


class Mapped(NamedTuple):
    """A file in a process."""

    path: str
    """As the loader opened it."""
    identity: str
    """Of the file itself, whatever its names."""
    object: Object
    origin: str
    """What $ORIGIN stands for in it."""
    names: frozenset[str]
    """By which it is known to be loaded."""
    loader: int | None
    """Number of the object on whose behalf it was loaded.

    None of the program, of ld.so, and of what glibc's dlopen opened.
    """


class Process(NamedTuple):
    """What is mapped, in order; the program is the first."""

    system: System
    variables: Variables
    mapped: tuple[Mapped, ...] = ()

    def real(self, path: str) -> str | None:
        """Path of the file that a path leads to, without links; None where there is no file."""
        return self.system.files.real(path, directory=self.variables.directory)

    def reach(self, path: str) -> Object | Unloadable | Nowhere:
        """What a path leads to, or why to nothing."""
        found = self.system.files.reach(path, directory=self.variables.directory)
        return found if isinstance(found, Nowhere) else self.system.files.files[found]

    def identity(self, path: str) -> str | None:
        """Of the file that a path leads to, the same for all of its names."""
        real = self.real(path)
        return None if real is None else self.system.files.identity(real)

    def find(self, path: str) -> int | None:
        """Number of the object that a path leads to, where that is mapped."""
        identity = self.identity(path)
        numbers = (n for n, m in enumerate(self.mapped) if m.identity == identity)
        return None if identity is None else next(numbers, None)

    def adding(self, path: str, names: Iterable[str], loader: int | None) -> Process:
        """The same with one more object mapped; ``path`` leads to a loadable file."""
        real = self.real(path)
        content = self.system.files.files[real] if real else None
        if real is None or not isinstance(content, Object):
            raise ValueError(f"{path} cannot be mapped")
        new = Mapped(
            path=path,
            identity=self.system.files.identity(real),
            object=content,
            # As it is written: links are not followed, and slashes stay; only the program's
            # own origin is what the kernel says.
            origin=posixpath.join(self.variables.directory, path).rpartition("/")[0] or "/",
            names=frozenset(names),
            loader=loader,
        )
        return self._replace(mapped=(*self.mapped, new))

    def known_as(self, number: int, *names: str) -> Process:
        """The same, where an object has further names."""
        one = self.mapped[number]
        if one.names.issuperset(names):
            return self
        known = one._replace(names=one.names.union(names))
        return self._replace(mapped=(*self.mapped[:number], known, *self.mapped[number + 1 :]))

    def undone(self, before: Process) -> Process:
        """The same without what a failed dlopen had added; names found for old objects stay."""
        return self._replace(mapped=self.mapped[: len(before.mapped)])


class Answer(NamedTuple):
    """What a loader did: the process after it, and every search in order.

    A failed dlopen leaves the process as it was.
    """

    process: Process
    searches: tuple[Search, ...]
    failure: Search | None = None
    """The search that ended it."""
    opened: int | None = None
    """Number of the object that dlopen gave; None where it failed."""


def begin(program: str, system: System, variables: Variables) -> Process | Answer:
    """A process as the kernel starts it, with nothing but the program; or why it cannot be."""
    real = system.files.real(program, directory=variables.directory)
    content = system.files.files[real] if real else None
    if real is None or not isinstance(content, Object):
        problem = content.problem if isinstance(content, Unloadable) else None
        search = Search(name=program, needed_by=program, found=real and program, problem=problem)
        nothing = Process(system=system, variables=variables)
        return Answer(process=nothing, searches=(search,), failure=search)
    main = Mapped(
        path=program,
        identity=system.files.identity(real),
        object=content,
        # As /proc/self/exe has it, so without links.
        origin=posixpath.dirname(real),
        names=frozenset(),
        loader=None,
    )
    return Process(system=system, variables=variables, mapped=(main,))


def importer(process: Process) -> int:
    """Number of the object that opens extension modules: the program, or the libpython it needs.

    Asked right after the start: a libpython that is mapped later runs nothing.
    """
    needed = {posixpath.basename(name) for name in process.mapped[0].object.needed}
    for number, mapped in enumerate(process.mapped):
        name = posixpath.basename(mapped.path)
        if name.startswith(LIBPYTHON) and name in needed:
            return number
    return 0


class Loader(Protocol):
    """The dynamic loader of a C library."""

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need."""
        ...

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``, called from a mapped object."""
        ...
