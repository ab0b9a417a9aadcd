"""The same question to the real loader and to the model, and whether they say the same."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from harness.loader.files import MAX_NAME
from harness.loader.glibc import IS_PROGRAM
from harness.loader.process import Answer, Loader, Process, Search, System, Variables
from tests.worlds import facts
from tests.worlds.world import Changes, Kind, Libc, World


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a loader's message says is missing, or cannot be loaded."""

    name: str
    problem: str | None = None
    """Of a file that was found; None where none was."""
    needed_by: str | None = None
    """As musl has it in its messages."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of the start of a program, or of a call of dlopen."""

    failure: Failure | None
    mapped: tuple[str, ...]
    """What is mapped after it, in order, but for the program and the loader themselves."""
    called_by_library: bool = False
    """Whether the library that was to call dlopen was loaded and did."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """All that a loader said of a world."""

    outcomes: tuple[Outcome, ...]
    """Of the start and, where that went well, of each opening."""
    not_preloaded: tuple[Failure, ...] = ()
    """As glibc warns of them; musl does not."""


class Ending(StrEnum):
    """How an outcome is counted."""

    IMPORTS = "imports"
    MISSING = "missing"
    INVALID = "invalid"
    START_FAILURE = "start failure"


def endings(account: Account) -> Iterable[Ending]:
    """How each outcome of an account is counted."""
    for number, outcome in enumerate(account.outcomes):
        if outcome.failure is None:
            yield Ending.IMPORTS
        elif not number:
            yield Ending.START_FAILURE
        else:
            yield Ending.INVALID if outcome.failure.problem else Ending.MISSING


# ---- the model


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The model's account, and all of its searches in order."""

    account: Account
    searches: tuple[Search, ...]


def predict(world: World, system: System, changes: Changes, model: Loader) -> Prediction:
    """What the model says of a world."""
    variables = Variables(
        library_path=world.library_path, preload=world.preload, directory=world.directory
    )
    whole = facts.with_world(system, world, changes)
    answer = model.start(world.program, whole, variables)
    searches = list(answer.searches)
    preloading = len([name for name in re.split("[ :]", world.preload) if name])
    not_preloaded: tuple[Failure, ...] = ()
    if world.kind.libc is Libc.GLIBC:
        not_preloaded = tuple(
            Failure(name=search.name, problem=search.problem)
            for search in answer.searches[:preloading]
            if search.failed
        )
    outcomes = [_outcome(answer, world.kind, is_start=True)]
    for opening in world.openings if answer.failure is None else ():
        process = answer.process
        caller = process.find(world.numbers[opening.caller]) if opening.caller else None
        answer = model.open(process, opening.name, caller or 0)
        searches += answer.searches
        outcome = _outcome(answer, world.kind)
        outcomes.append(replace(outcome, called_by_library=caller is not None))
    account = Account(outcomes=tuple(outcomes), not_preloaded=not_preloaded)
    return Prediction(account=account, searches=tuple(searches))


def _outcome(answer: Answer, kind: Kind, *, is_start: bool = False) -> Outcome:
    failure = None if answer.failure is None else _failure(answer.failure, answer, kind, is_start)
    mapped = () if is_start and failure else _mapped(answer.process, kind)
    return Outcome(failure=failure, mapped=mapped)


def _failure(search: Search, answer: Answer, kind: Kind, is_start: bool) -> Failure:
    if kind.libc is Libc.MUSL:
        # Of what dlopen is asked for itself it does not say who needs it.
        is_needed = is_start or search is not answer.searches[0]
        needed_by = search.needed_by if is_needed else None
        return Failure(name=search.name, problem=search.problem, needed_by=needed_by)
    # A file that is no library is named by its path.
    named_by_path = search.found is not None and search.problem != IS_PROGRAM
    name = search.found if named_by_path and search.found else search.name
    return Failure(name=name, problem=search.problem)


def _mapped(process: Process, kind: Kind) -> tuple[str, ...]:
    return tuple(m.path for m in process.mapped[1:] if m.path != kind.interpreter)


# ---- the real loader

MISSING = "cannot open shared object file"
GLIBC_START = re.compile(r"error while loading shared libraries: (?P<text>.*)")
GLIBC_PRELOAD = re.compile(
    r"ERROR: ld\.so: object '(?P<name>.*)' from LD_PRELOAD"
    r" cannot be preloaded \((?P<text>.*)\): ignored\."
)
MUSL = re.compile(
    r"Error loading shared library (?P<name>.*?): (?P<text>[^:]*?)(?: \(needed by (?P<by>.*)\))?"
)
MUSL_INVALID = ("Exec format error", "Is a directory")
UNNAMED = ("linux-vdso.so.1", "")
"""What the kernel maps for both; musl has no name for it."""


def changes(kind: Kind, system: System, answer: Mapping[str, Any]) -> Changes:
    """What became of a world's files, by the runner's answer."""
    return Changes(
        links=dict(answer["links"]),
        removed=tuple(answer["removed"]),
        cache=facts.cached(kind, answer["cache"], system.subdirectories),
    )


def observed(world: World, answer: Mapping[str, Any]) -> Account:
    """What the real loader said, by the runner's answer.

    Raises :class:`ValueError` with what there is where it is not understood, such as a crash.
    """
    said = answer["output"].splitlines()
    errors = answer["errors"].splitlines()
    outcomes: list[Outcome] = []
    if answer["exit_code"] == 127 and not said:
        outcomes.append(Outcome(failure=_start_failure(world.kind, errors), mapped=()))
    elif answer["exit_code"] != 0:
        raise ValueError(f"ended with {answer['exit_code']}: {errors}")
    else:
        failure: Failure | None = None
        caller = ""
        listed: list[str] = []
        for line in [*said, "O program "]:
            word, _, text = line.partition(" ")
            if word == "M":
                listed.append(text)
                continue
            # The program is the first; what the kernel and the loader are is known.
            mapped = [name for name in listed[1:] if name not in (*UNNAMED, world.kind.interpreter)]
            by_library = caller == "library"
            outcomes.append(
                Outcome(failure=failure, mapped=tuple(mapped), called_by_library=by_library)
            )
            caller, _, text = text.partition(" ")
            failure, listed = _parsed(world.kind, text) if text else None, []
    preloads = [match for match in map(GLIBC_PRELOAD.fullmatch, errors) if match]
    return Account(
        outcomes=tuple(outcomes),
        not_preloaded=tuple(
            Failure(name=m["name"], problem=None if m["text"] == MISSING else m["text"])
            for m in preloads
        ),
    )


def _start_failure(kind: Kind, errors: Sequence[str]) -> Failure:
    for line in errors:
        if kind.libc is Libc.MUSL:
            return _parsed(kind, line)
        if match := GLIBC_START.search(line):
            return _parsed(kind, match["text"])
    raise ValueError(f"did not start, and said: {errors}")


def _parsed(kind: Kind, text: str) -> Failure:
    if kind.libc is Libc.MUSL:
        match = MUSL.fullmatch(text)
        if match is None:
            raise ValueError(f"said: {text}")
        problem = match["text"] if match["text"] in MUSL_INVALID else None
        if len(match["name"]) > MAX_NAME:
            # musl looks for no such name, and gives the words of whatever failed before.
            problem = None
        return Failure(name=match["name"], problem=problem, needed_by=match["by"])
    name, _, problem = text.partition(": ")
    # While a program starts, the loader has no table of the system's words.
    problem = problem.replace(f"Error {errno.EISDIR}", "Is a directory")
    return Failure(name=name, problem=None if problem.startswith(MISSING) else problem)


# ---- both


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A world, and what both said of it."""

    world: World
    after: Changes
    real: Account | str
    """Words where the real loader's answer is not understood, such as of a crash."""
    mine: Prediction

    @property
    def agree(self) -> bool:
        """Whether every answer is the same, paths of what is mapped included."""
        return self.real == self.mine.account

    def __str__(self) -> str:
        """A readable account of both sides; the world's number reproduces it."""
        world = self.world
        lines = [f"world {world.seed} of {world.kind}:", *_described(world, self.after)]
        if isinstance(self.real, str):
            lines += [f"! the real loader: {self.real}"]
        else:
            lines += self._outcomes(self.real)
        lines.append("  the model's searches:")
        for search in self.mine.searches:
            steps = [f"{look.step}({', '.join(look.directories)})" for look in search.looks]
            found = search.found or "nothing"
            lines.append(f"    {search.name} for {search.needed_by}: {' '.join(steps)} → {found}")
        return "\n".join(lines)

    def _outcomes(self, real: Account) -> Iterator[str]:
        both = zip_longest(real.outcomes, self.mine.account.outcomes)
        for number, (theirs, ours) in enumerate(both):
            what = "start"
            if number:
                opening = self.world.openings[number - 1]
                what = f"dlopen({opening.name!r}) from {self.world.numbers[opening.caller]}"
            yield from _side_by_side(what, _told(theirs), _told(ours))
        warned = (real.not_preloaded, self.mine.account.not_preloaded)
        if any(warned):
            yield from _side_by_side("LD_PRELOAD", *map(str, warned))


def compare(world: World, system: System, answer: Mapping[str, Any]) -> Compared:
    """Ask the model what the runner has asked the real loader."""
    after = changes(world.kind, system, answer)
    real: Account | str
    try:
        real = observed(world, answer)
    except ValueError as error:
        real = str(error)
    mine = predict(world, system, after, world.kind.model)
    return Compared(world=world, after=after, real=real, mine=mine)


def _side_by_side(what: str, theirs: str, ours: str) -> Iterator[str]:
    if theirs == ours:
        yield f"  {what}: {theirs}"
    else:
        yield f"! {what}"
        yield f"    the real loader: {theirs}"
        yield f"    the model:       {ours}"


def _told(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not asked"
    failure = outcome.failure
    said = "well" if failure is None else f"{failure.name}: {failure.problem or 'missing'}"
    if failure and failure.needed_by:
        said += f" (needed by {failure.needed_by})"
    by = "called by the library; " if outcome.called_by_library else ""
    return f"{by}{said}; mapped: {', '.join(outcome.mapped)}"


def _described(world: World, after: Changes) -> Iterator[str]:
    """A world in a few lines."""
    yield f"  started as {world.program} in {world.directory}"
    for name, value in (("LD_LIBRARY_PATH", world.library_path), ("LD_PRELOAD", world.preload)):
        if value:
            yield f"  {name}={value}"
    for path, library in world.libraries.items():
        parts = [] if library.content == "library" else [str(library.content)]
        parts += [f"soname {library.soname}"] if library.soname else []
        parts += [f"needs {', '.join(library.needed)}"] if library.needed else []
        parts += [f"rpath {library.rpath!r}"] if library.rpath is not None else []
        parts += [f"runpath {library.runpath!r}"] if library.runpath is not None else []
        parts += ["nodefaultlib"] if library.no_default_libraries else []
        yield f"  {path}: {'; '.join(parts)}"
    for path, target in {**world.links, **after.links}.items():
        yield f"  {path} -> {target}"
    for path, original in world.twins.items():
        yield f"  {path} = {original}"
    for path in (*world.removed, *after.removed):
        yield f"  {path} is removed"
    for name, paths in after.cache.items():
        yield f"  ld.so.cache: {name} => {', '.join(paths)}"
