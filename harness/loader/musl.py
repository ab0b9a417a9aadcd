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
from dataclasses import dataclass, replace

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

NOT_LOADABLE = "Exec format error"


@dataclass(frozen=True, kw_only=True)
class Musl:
    """The rules; its member is there for tests, which change it and see who notices."""

    rpath_is_inherited: bool = True

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need, breadth first."""
        process = begin(program, system, variables)
        if isinstance(process, Search):
            empty = Process(system=system, variables=variables)
            return Answer(process=empty, searches=(process,), failure=process)
        searches: list[Search] = []
        for name in re.split("[ :]", variables.preload):
            if name:
                process, _, search = self._map(process, name, 0)
                searches.append(search)
        return self._add_dependencies(process, 0, searches, before=process)

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``; on whose behalf makes no difference to musl."""
        mapped, number, search = self._map(process, name, 0)
        if number is None or number < len(process.mapped):
            failure = search if number is None else None
            return Answer(process=mapped, searches=(search,), failure=failure, opened=number)
        answer = self._add_dependencies(mapped, number, [search], before=process)
        return answer if answer.failure else replace(answer, opened=number)

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

    def _map(self, process: Process, name: str, loader: int) -> tuple[Process, int | None, Search]:
        """``load_library``: the object that a name stands for, mapped now or before."""
        search = Search(name=name, needed_by=process.mapped[loader].path)
        interpreter = process.mapped[0].object.interpreter or "/lib/ld-musl.so.1"
        if RESERVED.match(name) or name == interpreter:
            process, number = _itself(process, interpreter)
            return process, number, replace(search, looks=(LOADED,), found=interpreter)
        for number, mapped in enumerate(process.mapped):
            if "/" not in name and name in mapped.names:
                return process, number, replace(search, looks=(LOADED,), found=mapped.path)
        looks: list[Look] = []
        path = None
        for look, candidates in self._places(process, name, loader):
            looks.append(look)
            path = next((found for found in candidates if process.real(found)), None)
            if path is not None:
                break
        search = replace(search, looks=tuple(looks), found=path)
        if path is None:
            return process, None, search
        real = process.real(path)
        content = process.system.files.files[real or path]
        # Without a look at e_machine; a file for another one seldom comes so far.
        if isinstance(content, Unloadable):
            return process, None, replace(search, problem=NOT_LOADABLE)
        identity = process.identity(path)
        searched = "/" not in name
        for number, mapped in enumerate(process.mapped):
            if number and mapped.identity == identity:
                if searched and not mapped.names:
                    process = process.known_as(number, posixpath.basename(mapped.path))
                return process, number, search
        names = (name,) if searched else ()
        return process.adding(path, names, loader), len(process.mapped), search

    def _places(self, process: Process, name: str, loader: int) -> Iterator[tuple[Look, list[str]]]:
        """Where to look for a name, and the files to try there, in order."""
        if "/" in name:
            yield Look(step=Step.PATH, owner=process.mapped[loader].path), [name]
            return
        variable = _split(process.variables.library_path)
        yield Look(step=Step.LIBRARY_PATH, directories=variable), _candidates(variable, name)
        owner: int | None = loader
        while owner is not None:
            mapped = process.mapped[owner]
            directories = _search_path(mapped)
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
    return replace(process, mapped=(*process.mapped, itself)), len(process.mapped)


def _search_path(mapped: Mapped) -> tuple[str, ...]:
    """``fixup_rpath``: its directories; none where it has a token other than $ORIGIN."""
    found = mapped.object
    text = found.rpath if found.runpath is None else found.runpath
    if not text or re.search(r"\$(?!ORIGIN|\{ORIGIN\})", text):
        return ()
    return _split(re.sub(r"\$(ORIGIN|\{ORIGIN\})", lambda _: mapped.origin, text))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split("[:\n]", text) if part)


def _candidates(directories: tuple[str, ...], name: str) -> list[str]:
    return [f"{directory}/{name}" for directory in directories]
