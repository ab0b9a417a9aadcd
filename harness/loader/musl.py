"""musl's dynamic loader: ``load_library`` of ldso/dynlink.c, as of musl 1.2.5.

It differs from glibc in what matters here: DT_RPATH and DT_RUNPATH are one (the latter counts
where both are there) and inherited; LD_LIBRARY_PATH comes first; what is loaded is known by its
file name, never by DT_SONAME; $ORIGIN means nothing in DT_NEEDED; there is no cache; and what is
found under a name and cannot be loaded is not passed over.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from harness.loader.files import MAX_NAME, Nowhere
from harness.loader.objects import Object, Unloadable
from harness.loader.process import (
    Answer,
    Look,
    Mapped,
    Process,
    Search,
    Step,
    System,
    Variables,
    begin,
)

RESERVED = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\.")
"""Names that musl answers to itself."""

ITSELF = re.compile(r"libc\.(so|musl-)")
"""DT_SONAME of a C library, musl's or glibc's. Never mapped: whatever path leads to one."""

NOT_LOADABLE = "Exec format error"

BUFFER = 512
"""Bytes of the longest path that a search tries, with the zero at its end."""

ENDS_THE_SEARCH = frozenset({Nowhere.LOOP})
"""After which no other directory is looked into, not even those of the steps that follow."""


class Musl(NamedTuple):
    """The rules; its member is there for tests, which change it and see who notices."""

    rpath_is_inherited: bool = True

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need, breadth first."""
        process = begin(program, system, variables)
        if isinstance(process, Answer):
            return process
        searches: list[Search] = []
        for name in re.split(r"[\s:]", variables.preload, flags=re.ASCII):
            if name:
                # On nobody's behalf, so the program's search path does not count. One that cannot
                # be loaded is passed over in silence.
                process, _, search = self._map(process, name, None)
                searches.append(search)
        return self._add_dependencies(process, 0, searches, before=process)

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``; musl takes the program for the caller, whoever calls."""
        mapped, number, search = self._map(process, name, 0)
        if number is None or number < len(process.mapped):
            failure = search if number is None else None
            return Answer(process=mapped, searches=(search,), failure=failure, opened=number)
        answer = self._add_dependencies(mapped, number, [search], before=process)
        return answer if answer.failure else answer._replace(opened=number)

    def _add_dependencies(
        self, process: Process, first: int, searches: list[Search], *, before: Process
    ) -> Answer:
        """``load_deps``: what the objects from a number on need, in the order they were mapped."""
        number = first
        while number < len(process.mapped):
            for name in process.mapped[number].object.needed:
                process, found, search = self._map(process, name, number)
                searches.append(search)
                if found is None:
                    undone = process.undone(before)
                    return Answer(process=undone, searches=tuple(searches), failure=search)
            number += 1
        return Answer(process=process, searches=tuple(searches))

    def _map(
        self, process: Process, name: str, loader: int | None
    ) -> tuple[Process, int | None, Search]:
        """``load_library``: the object that a name stands for, mapped now or before."""
        search = Search(name=name, needed_by=process.mapped[loader or 0].path)
        interpreter = process.mapped[0].object.interpreter or "/lib/ld-musl.so.1"
        if RESERVED.match(name) or name == interpreter:
            process, number = _itself(process, interpreter)
            return process, number, search._replace(looks=(LOADED,), found=interpreter)
        for number, mapped in enumerate(process.mapped):
            if "/" not in name and name in mapped.names:
                return process, number, search._replace(looks=(LOADED,), found=mapped.path)
        looks: list[Look] = []
        path: str | None = None
        content: Object | Unloadable | Nowhere = Nowhere.MISSING
        for look, candidates in self._places(process, name, loader):
            looks.append(look)
            for candidate in candidates:
                content = process.reach(candidate)
                if content in ENDS_THE_SEARCH:
                    return process, None, search._replace(looks=tuple(looks))
                if content is Nowhere.DIRECTORY or not isinstance(content, Nowhere):
                    path = candidate
                    break
            if path is not None:
                break
        search = search._replace(looks=tuple(looks), found=path)
        if path is None:
            return process, None, search
        if not isinstance(content, Object):
            # Without a look at e_machine; a file for another one seldom comes so far.
            problem = content if content is Nowhere.DIRECTORY else NOT_LOADABLE
            return process, None, search._replace(problem=str(problem))
        identity = process.identity(path)
        searched = "/" not in name
        for number, mapped in enumerate(process.mapped):
            # Of the program's own inode, and of the loader's, musl knows nothing.
            if mapped.identity == identity and number and mapped.path != interpreter:
                if searched and not mapped.names:
                    process = process.known_as(number, posixpath.basename(mapped.path))
                return process, number, search
        if identity == process.identity(interpreter) or ITSELF.match(content.soname or ""):
            process, number = _itself(process, interpreter)
            return process, number, search
        names = (name,) if searched else ()
        return process.adding(path, names, loader), len(process.mapped), search

    def _places(
        self, process: Process, name: str, loader: int | None
    ) -> Iterator[tuple[Look, list[str]]]:
        """Where to look for a name, and the files to try there, in order."""
        if "/" in name:
            yield Look(step=Step.PATH, owner=process.mapped[loader or 0].path), [name]
            return
        if not name or _size(name) > MAX_NAME:
            return
        variable = _split(process.variables.library_path)
        yield Look(step=Step.LIBRARY_PATH, directories=variable), _candidates(variable, name)
        owner = loader
        while owner is not None:
            mapped = process.mapped[owner]
            directories = _search_path(mapped, is_program=owner == 0)
            look = Look(step=Step.RPATH, owner=mapped.path, directories=directories)
            yield look, _candidates(directories, name)
            owner = mapped.loader if self.rpath_is_inherited else None
        directories = process.system.directories
        yield Look(step=Step.DEFAULT, directories=directories), _candidates(directories, name)


LOADED = Look(step=Step.LOADED)


def _itself(process: Process, path: str) -> tuple[Process, int]:
    """The C library, which is the loader, and is in the list once somebody needs it."""
    for number, mapped in enumerate(process.mapped):
        if number and mapped.path == path:
            return process, number
    itself = Mapped(
        path=path,
        identity=process.identity(path) or path,
        object=Object(architecture=process.mapped[0].object.architecture),
        origin=posixpath.dirname(path),
        names=frozenset(),
        loader=None,
    )
    return process._replace(mapped=(*process.mapped, itself)), len(process.mapped)


def _search_path(mapped: Mapped, *, is_program: bool) -> tuple[str, ...]:
    """``fixup_rpath``: its directories; none where it has a token other than $ORIGIN."""
    found = mapped.object
    text = found.rpath if found.runpath is None else found.runpath
    if not text or re.search(r"\$(?!ORIGIN|\{ORIGIN\})", text):
        return ()
    # As the name is written, relative to the working directory where that is; only the program's
    # is what the kernel says.
    origin = mapped.origin.rstrip("/") if is_program else mapped.path.rpartition("/")[0]
    return _split(re.sub(r"\$(ORIGIN|\{ORIGIN\})", lambda _: origin, text))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split("[:\n]", text) if part)


def _candidates(directories: tuple[str, ...], name: str) -> list[str]:
    paths = (f"{directory}/{name}" for directory in directories)
    return [path for path in paths if _size(path) < BUFFER]


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
