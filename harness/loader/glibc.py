"""glibc's dynamic loader: the order of ``_dl_map_object``, and what leads to it.

After glibc 2.41's elf/dl-load.c, elf/dl-deps.c and elf/dl-open.c, whose names the comments use.
What is left out is listed in docs/loader.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.loader.files import Nowhere
from harness.loader.objects import Architecture, Object, Unloadable
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

TOKEN = re.compile(
    r"\$(?:\{(?P<curly>ORIGIN|LIB|PLATFORM)\}|(?P<plain>ORIGIN|LIB|PLATFORM)(?!\w))", re.ASCII
)
"""A dynamic string token; anything else with a $ stays as it is."""

ORDER = (Step.RPATH, Step.LIBRARY_PATH, Step.RUNPATH, Step.CACHE, Step.DEFAULT)

OTHER_ARCHITECTURE = "another architecture's"
OTHER_CLASS = {32: "wrong ELF class: ELFCLASS64", 64: "wrong ELF class: ELFCLASS32"}
"""What a search that found nothing but files of the other word size ends with, by the own one."""
IS_PROGRAM = "cannot dynamically load position-independent executable"
IS_DIRECTORY = f"cannot read file data: {Nowhere.DIRECTORY}"

ENDS_A_PATH = frozenset({Nowhere.LOOP, Nowhere.TOO_LONG})
"""After which the rest of a search path is not looked at; the next one is."""


class Glibc(NamedTuple):
    """The rules; their members are there for tests, which change one and see who notices."""

    order: tuple[Step, ...] = ORDER
    """Of the places that a name without a slash is looked for in."""
    runpath_hides_rpath: bool = True
    """An object with DT_RUNPATH has no use for a DT_RPATH, its own and its loaders' alike."""
    rpath_is_inherited: bool = True
    """DT_RPATH also counts for what is loaded on an object's behalf, at any depth."""
    runpath_is_inherited: bool = False
    caller_lends_rpath: bool = False
    """What dlopen opens inherits the DT_RPATH of who called it."""
    loaded_names_count: bool = True
    """What is loaded already is taken for any further need of its name or DT_SONAME."""

    def start(self, program: str, system: System, variables: Variables) -> Answer:
        """Run a program: map it, LD_PRELOAD, and all that they need, breadth first."""
        process = begin(program, system, variables)
        if isinstance(process, Answer):
            return process
        # So dlopen("") opens the program.
        process = process.known_as(0, "")
        interpreter = process.mapped[0].object.interpreter
        if interpreter is not None and isinstance(_verified(process, interpreter), Object):
            # ld.so itself, which the kernel has mapped.
            process = process.adding(interpreter, (interpreter,), None)
        searches: list[Search] = []
        roots = [0]
        for name in re.split("[ :]", variables.preload):
            if name:
                # One that cannot be loaded is worth a warning to glibc, and no more.
                process, number, search = self._map(process, name, 0, loader=0)
                searches.append(search)
                if number is not None and number not in roots:
                    roots.append(number)
        return self._add_dependencies(process, roots, searches, before=process)

    def open(self, process: Process, name: str, caller: int) -> Answer:
        """``dlopen(name)``, called from a mapped object.

        The caller's search path counts for the name alone: what the opened object needs is not
        looked for on the caller's behalf.
        """
        loader = caller if self.caller_lends_rpath else None
        mapped, number, search = self._map(process, name, caller, loader=loader)
        if number is None or number < len(process.mapped):
            failure = search if number is None else None
            return Answer(process=mapped, searches=(search,), failure=failure, opened=number)
        answer = self._add_dependencies(mapped, [number], [search], before=process)
        return answer if answer.failure else answer._replace(opened=number)

    def _add_dependencies(
        self, process: Process, roots: Sequence[int], searches: list[Search], *, before: Process
    ) -> Answer:
        """``_dl_map_object_deps``: what some objects need, breadth first, until one is missing."""
        queue = list(roots)
        queued = set(queue)
        for number in queue:
            for needed in process.mapped[number].object.needed:
                name = expand(needed, process, number)
                if not name and needed:
                    # A token without a value; glibc goes on as if nothing were needed.
                    continue
                process, found, search = self._map(process, name, number, loader=number)
                searches.append(search)
                if found is None:
                    undone = process.undone(before)
                    return Answer(process=undone, searches=tuple(searches), failure=search)
                if found not in queued:
                    queue.append(found)
                    queued.add(found)
        return Answer(process=process, searches=tuple(searches))

    def _map(
        self, process: Process, name: str, owner: int, *, loader: int | None
    ) -> tuple[Process, int | None, Search]:
        """``_dl_map_object``: the object that a name stands for, mapped now or before.

        ``owner`` is the number of the object on whose behalf it is looked for, ``loader`` that of
        the one whose DT_RPATH it inherits.
        """
        search = Search(name=name, needed_by=process.mapped[owner].path)
        for number, mapped in enumerate(process.mapped):
            if self.loaded_names_count and (name in mapped.names or name == mapped.object.soname):
                search = search._replace(looks=(Look(step=Step.LOADED),), found=mapped.path)
                return process.known_as(number, name), number, search
        looks: list[Look] = []
        passed_over: list[tuple[str, str]] = []
        path: str | None = None
        content: Object | Unloadable | None = None
        is_other_class = False
        for look, groups in self._places(process, name, owner):
            looks.append(look)
            for candidate, found in _tried(process, groups):
                if isinstance(found, Object) and not _fits(process, found):
                    passed_over.append((candidate, OTHER_ARCHITECTURE))
                    is_other_class |= found.architecture.bits != _own(process).bits
                else:
                    path, content = candidate, found
                    break
            if path is not None:
                break
        search = search._replace(looks=tuple(looks), passed_over=tuple(passed_over), found=path)
        if path is None:
            problem = OTHER_CLASS.get(_own(process).bits) if is_other_class else None
            return process, None, search._replace(problem=problem)
        if isinstance(content, Unloadable):
            return process, None, search._replace(problem=content.problem)
        mapped_before = _same_file(process, path)
        if mapped_before is not None:
            return process.known_as(mapped_before, name), mapped_before, search
        if content is not None and content.is_program:
            return process, None, search._replace(problem=IS_PROGRAM)
        return process.adding(path, (name, path), loader), len(process.mapped), search

    def _places(
        self, process: Process, name: str, owner: int
    ) -> Iterator[tuple[Look, list[list[str]]]]:
        """Where to look for a name, and the files to try there, by directory, in order."""
        needing = process.mapped[owner]
        if "/" in name:
            path = expand(name, process, owner)
            yield Look(step=Step.PATH, owner=needing.path), [[path]] if path else []
            return
        system = process.system
        no_default: str | None = None
        if needing.object.no_default_libraries:
            no_default = f"{needing.path} is linked with -z nodefaultlib"
        for step in self.order:
            match step:
                case Step.RPATH:
                    for look in self._rpaths(process, owner):
                        yield look, _candidates(look.directories, name, system)
                case Step.LIBRARY_PATH:
                    text = process.variables.library_path
                    directories = split(text, process, 0, separators=":;") if text else ()
                    look = Look(step=step, directories=directories)
                    yield look, _candidates(directories, name, system)
                case Step.RUNPATH:
                    owners = chain(process, owner) if self.runpath_is_inherited else [owner]
                    for one in owners:
                        mapped = process.mapped[one]
                        text = mapped.object.runpath or ""
                        directories = split(text, process, one) if text else ()
                        look = Look(step=step, owner=mapped.path, directories=directories)
                        yield look, _candidates(directories, name, system)
                case Step.CACHE:
                    cached = system.cached(name)
                    if no_default and cached and _is_below(cached, system.directories):
                        cached = None
                    yield Look(step=step, ignored=no_default), [[cached]] if cached else []
                case Step.DEFAULT:
                    directories = () if no_default else system.directories
                    look = Look(step=step, directories=directories, ignored=no_default)
                    yield look, _candidates(directories, name, system)

    def _rpaths(self, process: Process, owner: int) -> Iterator[Look]:
        needing = process.mapped[owner]
        if self.runpath_hides_rpath and needing.object.runpath is not None:
            why = f"{needing.path} has a DT_RUNPATH"
            yield Look(step=Step.RPATH, owner=needing.path, ignored=why)
            return
        for number in chain(process, owner) if self.rpath_is_inherited else [owner]:
            mapped = process.mapped[number]
            directories: tuple[str, ...] = ()
            ignored = None
            if mapped.object.rpath and mapped.object.runpath is not None:
                ignored = f"{mapped.path} has a DT_RUNPATH"
            if mapped.object.rpath and not (ignored and self.runpath_hides_rpath):
                directories = split(mapped.object.rpath, process, number)
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
    """The directories of a search path, each once; the working directory is an empty text."""
    found: dict[str, None] = {}
    for part in re.split(f"[{separators}]", text):
        directory = expand(part, process, owner)
        if directory or not part:
            found[(directory.rstrip("/") or "/") if directory else ""] = None
    return tuple(found)


def _candidates(directories: Sequence[str], name: str, system: System) -> list[list[str]]:
    """Files to try for a name, by directory: hwcaps subdirectories come before each itself."""
    return [
        [
            # Without a slash before it where the working directory is meant.
            "/".join((*([directory.rstrip("/")] if directory else []), *subdirectory, name))
            for subdirectory in [*((s,) for s in system.subdirectories), ()]
        ]
        for directory in directories
    ]


def _tried(
    process: Process, groups: Iterable[Sequence[str]]
) -> Iterator[tuple[str, Object | Unloadable]]:
    """``open_path``: what there is to be opened, in order, until the path ends."""
    for group in groups:
        last: Object | Unloadable | Nowhere = Nowhere.MISSING
        for candidate in group:
            last = _verified(process, candidate)
            if not isinstance(last, Nowhere):
                yield candidate, last
        directory = group[-1].rpartition("/")[0] if group else ""
        if isinstance(last, Nowhere) and last in ENDS_A_PATH:
            # Of a directory that is not there glibc takes no notice; a relative one is always
            # taken to be there.
            is_there = process.system.files.real_directory(directory) is not None
            if is_there or not directory.startswith("/"):
                return


def _verified(process: Process, path: str) -> Object | Unloadable | Nowhere:
    """``open_verify``: what a file holds, or why there is none."""
    content = process.reach(path)
    if content is Nowhere.DIRECTORY:
        return Unloadable(problem=IS_DIRECTORY)
    return content


def _own(process: Process) -> Architecture:
    return process.mapped[0].object.architecture


def _fits(process: Process, found: Object) -> bool:
    return found.architecture == _own(process)


def _same_file(process: Process, path: str) -> int | None:
    """Number of the object that the same file was mapped as.

    The program and ld.so, which the kernel has mapped, are none: glibc does not know their inodes.
    """
    identity = process.identity(path)
    for number, mapped in enumerate(process.mapped):
        is_from_kernel = number == 0 or mapped.path == process.mapped[0].object.interpreter
        if mapped.identity == identity and not is_from_kernel:
            return number
    return None


def _is_below(path: str, directories: Sequence[str]) -> bool:
    return any(path.startswith(directory.rstrip("/") + "/") for directory in directories)
