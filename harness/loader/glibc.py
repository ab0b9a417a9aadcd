"""glibc's dynamic loader: the order of ``_dl_map_object``, and what leads to it.

After glibc 2.41's elf/dl-load.c, elf/dl-deps.c and elf/dl-open.c, whose names the comments use.
Left out, since no wheel or interpreter needs it: DT_AUXILIARY and DT_FILTER, LD_AUDIT, dlmopen,
prelinking, and the hwcaps directories from before glibc 2.33 (``tls``, ``haswell``, …).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.loader.objects import Object, Unloadable
from harness.loader.process import (
    Answer,
    Look,
    Process,
    Search,
    Step,
    System,
    Variables,
    begin,
)

TOKEN = re.compile(r"\$(?:\{(?P<curly>ORIGIN|LIB|PLATFORM)\}|(?P<plain>ORIGIN|LIB|PLATFORM)(?!\w))")
"""A dynamic string token; anything else with a $ stays as it is."""

ORDER = (Step.RPATH, Step.LIBRARY_PATH, Step.RUNPATH, Step.CACHE, Step.DEFAULT)


@dataclass(frozen=True, kw_only=True)
class Glibc:
    """The rules; their members are there for tests, which change one and see who notices."""

    order: tuple[Step, ...] = ORDER
    """Of the places that a name without a slash is looked for in."""
    runpath_hides_rpath: bool = True
    """An object with DT_RUNPATH has no use for a DT_RPATH, its own and its loaders' alike."""
    rpath_is_inherited: bool = True
    """DT_RPATH also counts for what is loaded on an object's behalf, at any depth."""
    runpath_is_inherited: bool = False
    loaded_names_count: bool = True
    """What is loaded already is taken for any further need of its name or DT_SONAME."""

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need, breadth first."""
        process = begin(program, system, variables)
        if isinstance(process, Search):
            empty = Process(system=system, variables=variables)
            return Answer(process=empty, searches=(process,), failure=process)
        interpreter = process.mapped[0].object.interpreter
        if interpreter is not None and isinstance(_verified(process, interpreter), Object):
            # ld.so itself, which the kernel has mapped.
            process = process.adding(interpreter, (interpreter,), 0)
        searches: list[Search] = []
        roots = [0]
        for name in re.split("[ :]", variables.preload):
            if name:
                # One that cannot be loaded is worth a warning to glibc, and no more.
                process, number, search = self._map(process, name, 0)
                searches.append(search)
                if number is not None and number not in roots:
                    roots.append(number)
        return self._add_dependencies(process, roots, searches, before=process)

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``, called from a mapped object."""
        mapped, number, search = self._map(process, name, caller)
        if number is None or number < len(process.mapped):
            failure = search if number is None else None
            return Answer(process=mapped, searches=(search,), failure=failure, opened=number)
        answer = self._add_dependencies(mapped, [number], [search], before=process)
        return answer if answer.failure else replace(answer, opened=number)

    def _add_dependencies(
        self, process: Process, roots: Sequence[int], searches: list[Search], *, before: Process
    ) -> Answer:
        """``_dl_map_object_deps``: what some objects need, breadth first, until one is missing."""
        queue = list(roots)
        for number in queue:
            for name in process.mapped[number].object.needed:
                process, found, search = self._map(process, name, number)
                searches.append(search)
                if found is None:
                    undone = process.undone(before)
                    return Answer(process=undone, searches=tuple(searches), failure=search)
                if found not in queue:
                    queue.append(found)
        return Answer(process=process, searches=tuple(searches))

    def _map(self, process: Process, name: str, loader: int) -> tuple[Process, int | None, Search]:
        """``_dl_map_object``: the object that a name stands for, mapped now or before."""
        needed_by = process.mapped[loader].path
        if "$" in name:
            expanded = expand(name, process, loader)
            if not expanded:
                problem = "empty dynamic string token substitution"
                found = Search(name=name, needed_by=needed_by, found=name, problem=problem)
                return process, None, found
            name = expanded
        search = Search(name=name, needed_by=needed_by)
        for number, mapped in enumerate(process.mapped):
            if self.loaded_names_count and (name in mapped.names or name == mapped.object.soname):
                search = replace(search, looks=(Look(step=Step.LOADED),), found=mapped.path)
                return process.known_as(number, name), number, search
        looks: list[Look] = []
        passed_over: list[tuple[str, str]] = []
        path, content = None, None
        for look, candidates in self._places(process, name, loader):
            looks.append(look)
            for candidate in candidates:
                found_content = _verified(process, candidate)
                if isinstance(found_content, str):
                    passed_over.append((candidate, found_content))
                elif found_content is not None:
                    path, content = candidate, found_content
                    break
            if path is not None:
                break
        search = replace(
            search,
            looks=tuple(looks),
            passed_over=tuple(passed_over),
            found=path,
            problem=content.problem if isinstance(content, Unloadable) else None,
        )
        if path is None or not isinstance(content, Object):
            return process, None, search
        return *_mapped(process, path, name, loader), search

    def _places(self, process: Process, name: str, loader: int) -> Iterator[tuple[Look, list[str]]]:
        """Where to look for a name, and the files to try there, in order."""
        if "/" in name:
            yield Look(step=Step.PATH, owner=process.mapped[loader].path), [name]
            return
        system, needing = process.system, process.mapped[loader]
        for step in self.order:
            match step:
                case Step.RPATH:
                    for look in self._rpaths(process, loader):
                        yield look, _candidates(look.directories, name, system)
                case Step.LIBRARY_PATH:
                    text = process.variables.library_path
                    directories = split(text, process, 0, separators=":;") if text else ()
                    look = Look(step=step, directories=directories)
                    yield look, _candidates(directories, name, system)
                case Step.RUNPATH:
                    owners = [loader]
                    if self.runpath_is_inherited:
                        owners = chain(process, loader)
                    for owner in owners:
                        text = process.mapped[owner].object.runpath
                        directories = split(text, process, owner) if text else ()
                        path = process.mapped[owner].path
                        look = Look(step=step, owner=path, directories=directories)
                        yield look, _candidates(directories, name, system)
                case Step.CACHE:
                    paths = list(system.cache.get(name, ()))
                    ignored = None
                    if needing.object.no_default_libraries:
                        ignored = f"{needing.path} is linked with -z nodefaultlib"
                        paths = [p for p in paths if not _is_below(p, system.directories)]
                    yield Look(step=step, ignored=ignored), paths[:1]
                case Step.DEFAULT:
                    directories, ignored = system.directories, None
                    if needing.object.no_default_libraries:
                        directories = ()
                        ignored = f"{needing.path} is linked with -z nodefaultlib"
                    look = Look(step=step, directories=directories, ignored=ignored)
                    yield look, _candidates(directories, name, system)

    def _rpaths(self, process: Process, loader: int) -> Iterator[Look]:
        needing = process.mapped[loader]
        if self.runpath_hides_rpath and needing.object.runpath is not None:
            ignored = f"{needing.path} has a DT_RUNPATH"
            yield Look(step=Step.RPATH, owner=needing.path, ignored=ignored)
            return
        owners = chain(process, loader) if self.rpath_is_inherited else [loader]
        for owner in owners:
            mapped = process.mapped[owner]
            directories: tuple[str, ...] = ()
            ignored = None
            if mapped.object.rpath and mapped.object.runpath is not None:
                ignored = f"{mapped.path} has a DT_RUNPATH"
            if mapped.object.rpath and not (ignored and self.runpath_hides_rpath):
                directories = split(mapped.object.rpath, process, owner)
            yield Look(step=Step.RPATH, owner=mapped.path, directories=directories, ignored=ignored)


def chain(process: Process, number: int) -> list[int]:
    """An object, those on whose behalf it was loaded, and the program last of all."""
    found: list[int] = []
    link: int | None = number
    while link is not None:
        found.append(link)
        link = process.mapped[link].loader
    return found if 0 in found else [*found, 0]


def expand(text: str, process: Process, owner: int) -> str:
    """A text with its dynamic string tokens replaced; empty where one has no value."""
    values = {
        "ORIGIN": process.mapped[owner].origin,
        "LIB": process.system.lib,
        "PLATFORM": process.system.platform,
    }
    names = [found["curly"] or found["plain"] for found in TOKEN.finditer(text)]
    if any(not values[name] for name in names):
        return ""
    return TOKEN.sub(lambda found: values[found["curly"] or found["plain"]], text)


def split(text: str, process: Process, owner: int, *, separators: str = ":") -> tuple[str, ...]:
    """The directories of a search path, each once; an empty one is the working directory."""
    found: dict[str, None] = {}
    for part in re.split(f"[{separators}]", text):
        if part == "":
            found["."] = None
        elif directory := expand(part, process, owner):
            found[directory.rstrip("/") or "/"] = None
    return tuple(found)


def _candidates(directories: Sequence[str], name: str, system: System) -> list[str]:
    """Files to try for a name in some directories: hwcaps subdirectories before each itself."""
    return [
        "/".join((directory.rstrip("/"), *subdirectory, name))
        for directory in directories
        for subdirectory in [*((s,) for s in system.subdirectories), ()]
    ]


def _verified(process: Process, path: str) -> Object | Unloadable | str | None:
    """``open_verify``: what a file holds; words where it is passed over; None where none is."""
    real = process.real(path)
    if real is None:
        return None
    content = process.system.files.files[real]
    wanted = process.mapped[0].object.architecture
    if isinstance(content, Object) and content.architecture != wanted:
        return "another architecture's"
    return content


def _mapped(process: Process, path: str, name: str, loader: int) -> tuple[Process, int]:
    """``_dl_map_object_from_fd``: a new object, or the one that the same file was mapped as."""
    identity = process.identity(path)
    for number, mapped in enumerate(process.mapped):
        if mapped.identity == identity:
            return process.known_as(number, name), number
    return process.adding(path, (name, path), loader), len(process.mapped)


def _is_below(path: str, directories: Sequence[str]) -> bool:
    return any(path.startswith(directory.rstrip("/") + "/") for directory in directories)
