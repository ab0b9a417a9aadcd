"""What becomes of a target on each published interpreter, by the loader's rules alone."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from harness import why
from harness.check import baseline, builds, pythons
from harness.check.builds import Build, Era, Libc, Machine, Python
from harness.check.target import SCRIPTS, SITE, Module, Target
from harness.loader.objects import Object
from harness.loader.process import Answer, Process, Search, System, Variables, importer
from harness.releases import LinkModel

if TYPE_CHECKING:
    from harness.check.thismachine import Here

NOT_PROMISED = "The manylinux rules do not list it, so no system has to have it"
NOT_PROMISED_MUSL = "PEP 656 promises musl alone, so no system has to have it"


class Verdict(StrEnum):
    """What becomes of a target on one kind of interpreter."""

    IMPORTS = "imports"
    PARTLY = "partly"
    """Its own import works, and that of some of its modules does not."""
    FAILS = "fails"

    @property
    def breaks(self) -> bool:
        """Whether something does not work."""
        return self is not Verdict.IMPORTS


class Role(StrEnum):
    """How a file of a target comes to be loaded."""

    MODULE = "module"
    """Python imports it."""
    LIBRARY = "library"
    """Nothing that was looked at needs it: code opens it by its path, through ctypes or not."""
    PROGRAM = "program"
    """It is started for itself."""


class Failure(NamedTuple):
    """Something that cannot be loaded, and why."""

    role: Role
    path: str
    """Of what was imported, opened or started."""
    module: str | None
    """As it is imported."""
    search: Search
    """The one that failed."""
    words: str
    """The account of it."""
    is_reached: bool
    """Whether the target's own import gets there."""

    @property
    def library(self) -> str:
        """The name that was looked for."""
        return self.search.name

    @property
    def has_runpath(self) -> bool:
        """Whether the file in need has a DT_RUNPATH, so that no interpreter's DT_RPATH helps."""
        return any(
            look.ignored and look.owner == self.search.needed_by for look in self.search.looks
        )


class Cell(NamedTuple):
    """One kind of interpreter: what imports there, and what does not."""

    era: Era
    failures: tuple[Failure, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """All of it in one word."""
        if any(failure.is_reached for failure in self.failures):
            return Verdict.FAILS
        return Verdict.PARTLY if self.failures else Verdict.IMPORTS


class Row(NamedTuple):
    """A CPython on a machine, with each link model that it comes in."""

    python: Python
    machine: Machine
    cells: tuple[Cell, ...]
    programs: tuple[Failure, ...] = ()
    """Programs of the target that do not start; no interpreter has a part in that."""


class Need(NamedTuple):
    """A name that a file needs, and what it leads to with each link model."""

    name: str
    needed_by: str
    found: Mapping[LinkModel, str | None]


class Missing(NamedTuple):
    """A library that the target does not bring, and that not every system has."""

    name: str
    needed_by: tuple[str, ...]
    inside: str | None = None
    """Where a file of that name lies in the target, with no search path that leads to it."""


class Finding(NamedTuple):
    """All there is to say of a target."""

    target: Target
    rows: tuple[Row, ...] = ()
    missing: tuple[Missing, ...] = ()
    needs: tuple[Need, ...] = ()
    """Of the first row: what each file needs, and where that is."""
    bundled: tuple[str, ...] = ()
    """Copies of libpython that the target brings."""
    uses_bundled: bool = False
    """Whether something in it needs libpython and finds such a copy."""
    embedding: tuple[str, ...] = ()
    """Programs that need libpython, whether they find it or not."""
    unchecked: tuple[str, ...] = ()
    """What could not be checked, and why."""
    here: tuple[Failure, ...] | None = None
    """Of an environment: what its own interpreter does not import on this machine."""

    @property
    def breaks(self) -> bool:
        """Whether something fails on some interpreter."""
        return any(
            row.programs or any(cell.verdict.breaks for cell in row.cells) for row in self.rows
        )

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Of every row and cell, in order."""
        return tuple(
            failure
            for row in self.rows
            for failures in (*(cell.failures for cell in row.cells), row.programs)
            for failure in failures
        )


def check(target: Target, python: Sequence[Python] = (), cpu: Sequence[str] = ()) -> Finding:
    """Follow the loader through all that a target consists of, on every kind of interpreter.

    ``python`` and ``cpu`` (as ``uname -m`` has it) narrow what is asked; for files that do not
    say what CPython they are for, ``python`` is what is asked.
    """
    unchecked = [f"{called(path)}: {problem}" for path, problem in target.unreadable.items()]
    machines = _machines(target)
    chosen = [machine for machine in machines if not cpu or machine.cpu in cpu]
    if not machines:
        unchecked.append(_why_no_machine(target))
    elif not chosen:
        unchecked.append(f"it is for {_listed(m.name for m in machines)}, not {_listed(cpu)}")
    rows: list[Row] = []
    needs: list[Need] = []
    missing: dict[str, Missing] = {}
    embedding: dict[str, None] = {}
    uses_bundled = False
    for machine in chosen:
        own = pythons.of(target, machine, python)
        wanted = [one for one in own if not python or one in python]
        if not own:
            unchecked.append("it is for no CPython from 3.8 on")
        elif not wanted:
            is_for = _listed(map(str, own))
            unchecked.append(f"it is for CPython {is_for}, not {_listed(map(str, python))}")
        checker = _Checker(target, machine)
        for one in wanted:
            if pythons.is_built(one, machine):
                rows.append(checker.row(one))
            else:
                unchecked.append(f"there are no builds of CPython {one} for {machine.name}")
        needs += checker.needs
        missing |= checker.missing
        embedding |= dict.fromkeys(checker.embedding)
        uses_bundled |= checker.uses_bundled
    return Finding(
        target=target,
        rows=tuple(rows),
        missing=tuple(missing.values()),
        needs=tuple(needs),
        bundled=tuple(p for p in target.files.files if baseline.is_libpython(p)),
        uses_bundled=uses_bundled,
        embedding=tuple(embedding),
        unchecked=tuple(unchecked),
    )


def check_here(target: Target, here: Here) -> tuple[Failure, ...] | None:
    """What of a target does not import with a real interpreter on this machine.

    Other libraries count as well, since what is missing here is missing. None where the target has
    no module for that interpreter.
    """
    checker = _Checker(target, here.machine)
    if not any(pythons.loads(here.python, module.suffix) for module in checker.modules):
        return None
    return checker.here(here)


def called(path: str) -> str:
    """What to call a file of a target: its path in the wheel."""
    name = path.removeprefix(f"{SITE}/").removeprefix(f"{posixpath.dirname(SCRIPTS)}/")
    return why.printable(name)


class _Checker:
    """A target on one machine: what is the same for all its CPythons and link models."""

    def __init__(self, target: Target, machine: Machine) -> None:
        self.target = target
        self.machine = machine
        self.loader = machine.libc.loader
        self.all = target.others | target.files
        contents = {
            path: content
            for path, content in target.files.files.items()
            if isinstance(content, Object) and content.architecture == machine.architecture
        }
        self.needed = dict.fromkeys(
            name
            for content in [*contents.values(), *target.others.files.values()]
            if isinstance(content, Object)
            for name in content.needed
        )
        self.basenames = {posixpath.basename(name) for name in self.needed}
        self.needs_libpython = any(map(baseline.is_libpython, self.needed))
        self.programs = [path for path in target.programs if path in contents]
        self.modules = [module for module in target.modules if self._is_ours(module, contents)]
        known = {*self.programs, *(self._real(module.path) for module in target.modules)}
        self.libraries = [path for path in contents if path not in known]
        self.needs: list[Need] = []
        self.missing: dict[str, Missing] = {}
        self.embedding: list[str] = []
        self.uses_bundled = False
        self._rows: dict[tuple[str, ...], Row] = {}

    def row(self, python: Python) -> Row:
        """A CPython with each link model that it comes in."""
        modules = [module for module in self.modules if pythons.loads(python, module.suffix)]
        eras = builds.eras(python, self.machine)
        # Where nothing needs libpython, nothing could differ.
        key = tuple(module.path for module in modules)
        if not self.needs_libpython and key in self._rows:
            same = self._rows[key]
            cells = [Cell(era=era, failures=same.cells[0].failures) for era in eras]
            return same._replace(python=python, cells=tuple(cells))
        cells = []
        found: dict[tuple[str, str], dict[LinkModel, str | None]] = {}
        for era in eras:
            if cells and not self.needs_libpython:
                cells.append(cells[0]._replace(era=era))
                continue
            build = Build(python=python, machine=self.machine, link_model=era.link_model)
            failures, searches = self._cell(build, era, modules)
            cells.append(Cell(era=era, failures=failures))
            for search in searches:
                place = found.setdefault((self._real(search.needed_by), search.name), {})
                place.setdefault(era.link_model, search.found)
        programs = self._programs(python, found)
        self._learn(found)
        row = Row(python=python, machine=self.machine, cells=tuple(cells), programs=programs)
        self._rows[key] = row
        return row

    def _cell(
        self, build: Build, era: Era, modules: Sequence[Module]
    ) -> tuple[tuple[Failure, ...], list[Search]]:
        files = builds.files(build) | self.all
        system = baseline.system(self.machine, files, self.needed)
        setting = self._setting(system, build.program, f"{era.releases}")
        return self._load(system, setting, modules)

    def here(self, here: Here) -> tuple[Failure, ...]:
        """The modules that a real interpreter does not import on this machine."""
        modules = [module for module in self.modules if pythons.loads(here.python, module.suffix)]
        found = here.system(self.needed)
        system = found._replace(files=found.files | self.all)
        setting = why.Setting(
            files=system.files, program=here.program, variables=here.variables, called=called
        )
        failures, _ = self._load(system, setting, modules)
        return tuple(failure for failure in failures if failure.role is Role.MODULE)

    def _load(
        self, system: System, setting: why.Setting, modules: Sequence[Module]
    ) -> tuple[tuple[Failure, ...], list[Search]]:
        """Open everything that an interpreter would, and tell what fails."""
        started = self.loader.start(setting.program, system, setting.variables)
        itself = importer(started.process)
        failures: list[Failure] = []
        searches: list[Search] = []
        used = {self._real(mapped.path) for mapped in started.process.mapped}

        def load(process: Process, role: Role, path: str, module: Module | None) -> Process:
            answer = self.loader.open(process, path, itself)
            searches.extend(answer.searches[1:])
            # What a failed import would have brought is not what code opens for itself.
            used.update(self._real(search.found) for search in answer.searches if search.found)
            if answer.failure:
                reached = self.target.reached
                is_reached = not reached or module.name in reached if module else not modules
                failures.append(
                    Failure(
                        role=role,
                        path=path,
                        module=module.name if module else None,
                        search=answer.failure,
                        words=why.account(answer.failure, setting),
                        is_reached=is_reached,
                    )
                )
            return answer.process

        for module in modules:
            # Each for itself: in which order they are imported is not known.
            load(started.process, Role.MODULE, module.path, module)
        left = [path for path in self.libraries if path not in used]
        if left:
            # Whatever opens these has been imported: plugins, mostly.
            process = started.process
            for module in modules:
                process = self.loader.open(process, module.path, itself).process
            # Those last that others name: once these are opened, they are there.
            for path in sorted(left, key=self._is_named):
                if path not in used:
                    load(process, Role.LIBRARY, path, None)
        return tuple(failures), searches

    def _programs(
        self, python: Python, found: dict[tuple[str, str], dict[LinkModel, str | None]]
    ) -> tuple[Failure, ...]:
        """Programs that do not start for want of libpython."""
        failures = []
        if not self.programs:
            return ()
        build = Build(python=python, machine=self.machine, link_model=LinkModel.STATIC_RPATH)
        system = baseline.system(self.machine, builds.files(build) | self.all, self.needed)
        for path in self.programs:
            answer: Answer = self.loader.start(path, system, Variables())
            for search in answer.searches:
                found.setdefault((self._real(search.needed_by), search.name), {}).setdefault(
                    LinkModel.STATIC_RPATH, search.found
                )
            if any(baseline.is_libpython(search.name) for search in answer.searches):
                self.embedding.append(path)
            if answer.failure:
                setting = self._setting(system, path, "")._replace(program_name=f"`{called(path)}`")
                failures.append(
                    Failure(
                        role=Role.PROGRAM,
                        path=path,
                        module=None,
                        search=answer.failure,
                        words=why.account(answer.failure, setting),
                        is_reached=True,
                    )
                )
        return tuple(failures)

    def _learn(self, found: Mapping[tuple[str, str], Mapping[LinkModel, str | None]]) -> None:
        """What the searches say of the target that holds for every CPython alike."""
        if not self.needs:
            self.needs = [
                Need(name=name, needed_by=needed_by, found=by_model)
                for (needed_by, name), by_model in found.items()
                if needed_by in self.target.files.files
            ]
        for (needed_by, name), by_model in found.items():
            for path in by_model.values():
                if path is None or not self._is_ours_path(needed_by):
                    continue
                if baseline.is_libpython(name) and self._is_ours_path(path):
                    self.uses_bundled = True
                if baseline.is_elsewhere(path) or (path == name and not self.all.real(path)):
                    before = self.missing.get(name)
                    by = (*before.needed_by, needed_by) if before else (needed_by,)
                    self.missing[name] = Missing(
                        name=name,
                        needed_by=tuple(dict.fromkeys(by)),
                        inside=before.inside if before else self._inside(name),
                    )

    def _inside(self, name: str) -> str | None:
        """Where in the environment a file of that name lies all the same."""
        wanted = posixpath.basename(name)
        for path, content in self.all.files.items():
            soname = content.soname if isinstance(content, Object) else None
            if wanted in (posixpath.basename(path), soname):
                return path
        return None

    def _is_named(self, path: str) -> bool:
        """Whether some file needs one of the names of a library."""
        content = self.all.files[path]
        soname = content.soname if isinstance(content, Object) else None
        return bool({posixpath.basename(path), soname} & self.basenames)

    def _setting(self, system: System, program: str, label: str) -> why.Setting:
        promise = NOT_PROMISED if self.machine.libc is Libc.GLIBC else NOT_PROMISED_MUSL
        return why.Setting(
            files=system.files, program=program, label=label, system=promise, called=called
        )

    def _is_ours(self, module: Module, contents: Mapping[str, Object]) -> bool:
        return self._real(module.path) in contents

    def _is_ours_path(self, path: str) -> bool:
        return self._real(path) in self.target.files.files

    def _real(self, path: str) -> str:
        return self.all.real(path) or path


def _machines(target: Target) -> list[Machine]:
    """What its ELF files are for, as far as a Linux interpreter could be."""
    if target.tags and not any("linux" in tag or tag.endswith("-any") for tag in target.tags):
        return []
    libc = Libc.MUSL if target.is_musl else Libc.GLIBC
    machines = [Machine(architecture, libc) for architecture in target.architectures]
    return sorted(machines, key=lambda machine: machine.rank)


def _why_no_machine(target: Target) -> str:
    if target.tags and not any("linux" in tag or tag.endswith("-any") for tag in target.tags):
        return "it is not for Linux, so there is nothing to check"
    if any(tag.endswith("-any") for tag in target.tags):
        return "it is pure Python, so there is nothing to check"
    if target.files.files:
        return "nothing in it is linked dynamically, so there is nothing to check"
    return "there are no ELF files in it, so there is nothing to check"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
