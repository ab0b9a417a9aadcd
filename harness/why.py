"""Why a file was not found, in words: the account of a search, place by place."""

from __future__ import annotations

import posixpath
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.loader.files import Files
from harness.loader.objects import Object
from harness.loader.process import Look, Search, Step, Variables
from harness.releases import LIBPYTHON

WIDTH = 80
"""Columns of what is printed for people, wherever they read it."""

MANY = 6
"""Default directories beyond which their names help nobody."""


class Setting(NamedTuple):
    """What a search happened in, as far as words about it need that."""

    files: Files
    """All that there are: the system's, the interpreter's, the extension's."""
    program: str
    """Path of the interpreter, as it was started."""
    program_name: str = "the interpreter"
    """What to call it in the middle of a sentence; a program that embeds Python has a name."""
    label: str = ""
    """What to call this interpreter of all, such as its release."""
    variables: Variables = Variables()
    system: str | None = None
    """What to say of ld.so.cache and the default directories where they only stand for other
    machines', such as "It is not among the libraries that every system has"."""
    called: Callable[[str], str] = posixpath.basename
    """Makes a path into what people call the file."""

    def object(self, path: str | None) -> Object | None:
        """What the file at a path says of itself, where it is one that can be loaded."""
        real = self.files.real(path) if path else None
        content = self.files.files[real] if real else None
        return content if isinstance(content, Object) else None

    def name(self, path: str | None) -> str:
        """What to call a file in the middle of a sentence."""
        if path is None or path == self.program:
            return f"{self.program_name} ({self.label})" if self.label else self.program_name
        return f"`{self.called(path)}`"

    @property
    def this_interpreter(self) -> str:
        """What to call the interpreter where others would have done."""
        return f"this interpreter ({self.label})" if self.label else "this interpreter"


def account(search: Search, setting: Setting) -> str:
    """What was needed, where it was looked for, and what was there, in short sentences."""
    clauses = [_need(search, setting)]
    if any(look.step is Step.PATH for look in search.looks):
        clauses.append("That is a path, so it is not searched for")
        if search.found is None:
            clauses.append("There is no such file")
    elif search.looks and search.looks[-1].step is Step.LOADED:
        clauses.append(f"It is loaded already, as {search.found}")
    else:
        # musl asks LD_LIBRARY_PATH first and glibc second: told in the order of the looks.
        for step in dict.fromkeys(look.step for look in search.looks):
            looks = [look for look in search.looks if look.step is step]
            clauses += _place(step, looks, search, setting)
    clauses += [f"{path} was passed over: it is {what}" for path, what in search.passed_over]
    if search.found is not None and search.problem:
        clauses.append(f"{search.found} is there but cannot be loaded: {search.problem}")
    return printable(" ".join(f"{clause[0].upper()}{clause[1:]}." for clause in clauses))


def printable(text: str) -> str:
    """A text in one line that does nothing to a terminal: names in files can be anything."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _need(search: Search, setting: Setting) -> str:
    if search.needed_by == setting.program and "/" in search.name:
        return f"{setting.name(search.needed_by)} opens `{setting.called(search.name)}`"
    need = f"{setting.name(search.needed_by)} needs `{search.name}`"
    # Another libpython in the process does not help, and people take one for the other.
    program = setting.object(setting.program)
    names = [posixpath.basename(name) for name in program.needed] if program else []
    loaded = next((name for name in names if name.startswith(LIBPYTHON)), search.name)
    if search.name.startswith(LIBPYTHON) and loaded != search.name:
        need += f", and what {setting.this_interpreter} has loaded is `{loaded}`"
    return need


def _place(step: Step, looks: Sequence[Look], search: Search, setting: Setting) -> list[str]:
    """What there is to say of one kind of place."""
    match step:
        case Step.RPATH:
            return _search_paths(looks, search, setting)
        case Step.RUNPATH:
            return [_led("its DT_RUNPATH", look, search) for look in looks if look.directories]
        case Step.LIBRARY_PATH:
            if not setting.variables.library_path:
                return ["LD_LIBRARY_PATH is unset"]
            return [_led("LD_LIBRARY_PATH", look, search) for look in looks]
        case Step.CACHE:
            if looks[0].ignored:
                return []
            if setting.system:
                # Once for both places, unless the other will say it.
                last = Step.DEFAULT in [look.step for look in search.looks]
                return [] if last else [setting.system]
            return [_found(search) or "it is not in ld.so.cache"]
        case Step.DEFAULT:
            return _default_directories(looks[0], search, setting)
        case _:
            return []


def _search_paths(looks: Sequence[Look], search: Search, setting: Setting) -> list[str]:
    """DT_RPATH of the file in need and of those above it; of musl, every search path."""
    own = next((look for look in looks if look.owner == search.needed_by), None)
    if own is not None and own.ignored and len(looks) == 1:
        return ["it has a DT_RUNPATH, so no DT_RPATH counts, not even the interpreter's"]
    clauses = []
    for look in looks:
        content = setting.object(look.owner)
        kind = "DT_RUNPATH" if content is not None and content.runpath is not None else "DT_RPATH"
        if look.directories:
            whose = "its own" if look is own else f"the {kind} of {setting.name(look.owner)}"
            clauses.append(_led(f"{whose} {kind}" if look is own else whose, look, search))
        elif look.ignored:
            clauses.append(
                f"the DT_RPATH of {setting.name(look.owner)} does not count: {look.ignored}"
            )
    program = next((look for look in looks if look.owner == setting.program), None)
    if program is None or program is own or program.directories or program.ignored:
        return clauses
    content = setting.object(setting.program)
    only_runpath = content is not None and content.runpath is not None
    none = "has only a DT_RUNPATH, which serves nothing but itself" if only_runpath else "has none"
    this = setting.this_interpreter
    needing = setting.object(search.needed_by)
    if needing is not None and (needing.rpath or needing.runpath):
        return [*clauses, f"the interpreter's DT_RPATH would be next, but {this} {none}"]
    start = "it has no search path of its own, so the interpreter's DT_RPATH would be used"
    return [*clauses, f"{start}, but {this} {none}"]


def _led(whose: str, look: Look, search: Search) -> str:
    named = [directory or "the working directory" for directory in look.directories]
    *most, last = named or ["nothing"]
    directories = f"{', '.join(most)} and {last}" if most else last
    here = search.found is not None and any(
        search.found.startswith(f"{directory.rstrip('/')}/") for directory in look.directories
    )
    return f"{whose} leads to {directories}: {'there it is' if here else 'not there'}"


def _default_directories(look: Look, search: Search, setting: Setting) -> list[str]:
    if look.ignored:
        return [f"the system's directories do not count: {look.ignored}"]
    if found := _found(search):
        return [found]
    if setting.system:
        return [setting.system]
    if len(look.directories) > MANY:
        return ["it is not in the system's directories"]
    return [f"it is not in {' or '.join(look.directories)}"] if look.directories else []


def _found(search: Search) -> str | None:
    """Of the system's library: where; the other places say so themselves."""
    return f"it is the system's, {search.found}" if search.found is not None else None


def wrapped(text: str, indent: int, width: int = WIDTH) -> list[str]:
    """Words as lines; of a list entry (indented by 2) the further ones stand below its text."""
    return textwrap.wrap(
        printable(text),
        width - 1,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + (2 if indent == 2 else 0)),
        break_long_words=False,
        break_on_hyphens=False,
    )
