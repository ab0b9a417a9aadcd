"""What a loader knows: the system, the process, and how each of its searches went."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from harness.loader.files import Files
from harness.loader.objects import Object


@dataclass(frozen=True, kw_only=True)
class System:
    """What is the same for every process: the files, and what the loader was built with."""

    files: Files
    directories: tuple[str, ...]
    """Where the loader looks by default, in order."""
    cache: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """ld.so.cache, for this architecture: name → paths, the preferred one first."""
    subdirectories: tuple[str, ...] = ()
    """Looked into before each directory itself: ``glibc-hwcaps/x86-64-v3``, …, for this CPU."""
    lib: str = "lib"
    """What $LIB stands for."""
    platform: str = ""
    """What $PLATFORM stands for; empty where the loader has nothing for it."""


@dataclass(frozen=True, kw_only=True)
class Variables:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One place that a search looked into, or could have and did not."""

    step: Step
    owner: str | None = None
    """The file whose search path it is."""
    directories: tuple[str, ...] = ()
    """What was looked into, in order; none where that place is empty."""
    ignored: str | None = None
    """Why the place does not count here, such as a DT_RUNPATH beside a DT_RPATH."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
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
    """Number of the object on whose behalf it was loaded; None of the program and of ld.so."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is mapped, in order; the program is the first."""

    system: System
    variables: Variables
    mapped: tuple[Mapped, ...] = ()

    def real(self, path: str) -> str | None:
        """Path of the file that a path leads to, without links; None where there is no file."""
        return self.system.files.real(path, directory=self.variables.directory)

    def identity(self, path: str) -> str | None:
        """Of the file that a path leads to, the same for all of its names."""
        real = self.real(path)
        return None if real is None else self.system.files.identity(real)

    def find(self, path: str) -> int | None:
        """Number of the object that a path leads to, where that is mapped."""
        identity = self.identity(path)
        numbers = (n for n, m in enumerate(self.mapped) if m.identity == identity)
        return None if identity is None else next(numbers, None)

    def adding(self, path: str, names: Iterable[str], loader: int) -> Process:
        """The same with one more object mapped; ``path`` leads to a loadable file."""
        real = self.real(path)
        content = self.system.files.files[real] if real else None
        if real is None or not isinstance(content, Object):
            raise ValueError(f"{path} cannot be mapped")
        new = Mapped(
            path=path,
            identity=self.system.files.identity(real),
            object=content,
            # Links in it are not followed; only those to the program are.
            origin=posixpath.dirname(posixpath.join(self.variables.directory, path)),
            names=frozenset(names),
            loader=loader,
        )
        return replace(self, mapped=(*self.mapped, new))

    def known_as(self, number: int, *names: str) -> Process:
        """The same, where an object has further names."""
        one = self.mapped[number]
        if one.names.issuperset(names):
            return self
        known = replace(one, names=one.names.union(names))
        return replace(self, mapped=(*self.mapped[:number], known, *self.mapped[number + 1 :]))

    def undone(self, before: Process) -> Process:
        """The same without what a failed dlopen had added; names found for old objects stay."""
        return replace(self, mapped=self.mapped[: len(before.mapped)])


def begin(program: str, system: System, variables: Variables) -> Process | Search:
    """A process as the kernel starts it, with nothing but the program; or why it cannot."""
    real = system.files.real(program, directory=variables.directory)
    content = system.files.files[real] if real else None
    if real is None or not isinstance(content, Object):
        problem = None if content is None else content.problem
        return Search(name=program, needed_by=program, found=real and program, problem=problem)
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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a loader did: the process after it, and every search in order.

    A failed dlopen leaves the process as it was.
    """

    process: Process
    searches: tuple[Search, ...]
    failure: Search | None = None
    """The search that ended it."""
    opened: int | None = None
    """Number of the object that dlopen gave; None where it failed."""


class Loader(Protocol):
    """The dynamic loader of a C library."""

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need."""
        ...

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``, called from a mapped object."""
        ...
