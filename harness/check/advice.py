"""What to do about a finding, by who reads it: the user, the author, who makes interpreters."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from harness.check import baseline
from harness.check.verdicts import (
    Cell,
    Failure,
    Finding,
    Missing,
    Role,
    Row,
    Verdict,
    called,
)
from harness.releases import LinkModel
from harness.why import printable, wrapped

FEW = 4
"""File names that a command is given before it says `…` instead."""


class Reader(StrEnum):
    """Whom a piece of advice is for."""

    USER = "user"
    AUTHOR = "author"
    MAINTAINER = "maintainer"
    """Of the interpreters: python-build-standalone and uv."""

    @property
    def heading(self) -> str:
        """A heading for people."""
        return {
            Reader.USER: "If you use it",
            Reader.AUTHOR: "If it is yours",
            Reader.MAINTAINER: "If you make interpreters",
        }[self]


class Advice(NamedTuple):
    """Some sentences, and what to type or to paste after them."""

    reader: Reader
    text: str
    code: str = ""


def advise(findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """What helps, as docs/remedies.md and docs/building.md have it; nothing where nothing breaks.

    The findings are those of one distribution: what is said of one is not said again of another.
    """
    rows = [row for finding in findings for row in finding.rows]
    failures = [f for finding in findings for f in finding.failures if f.role is not Role.PROGRAM]
    programs = [failure for row in rows for failure in row.programs]
    ours = [f for f in failures if baseline.is_libpython(f.library)]
    found: list[Advice] = []
    if ours:
        found += _for_users(rows, ours)
        found += _for_authors(ours)
        found += _for_maintainers(rows, ours)
    if programs:
        found += _for_programs(programs)
    if others := [f for f in failures if not baseline.is_libpython(f.library)]:
        found.append(
            Advice(
                reader=Reader.AUTHOR,
                text=f"{_files(others)} cannot be loaded anywhere, whatever the interpreter. Put "
                "what is missing into the wheel, with a search path that starts at $ORIGIN; "
                "`auditwheel repair` does both.",
            )
        )
    return tuple(dict.fromkeys(found))


def about_other(library: str, missing: Iterable[Missing]) -> tuple[Advice, ...]:
    """What helps where a library other than libpython was not there."""
    name = printable(library)
    inside = next((one.inside for one in missing if one.name == library and one.inside), None)
    mend = (
        f"`{name}` lies in the wheel, as `{called(inside)}`, but no search path leads there. Link "
        "what needs it with -Wl,-rpath,'$ORIGIN/…'."
        if inside
        else f"Put `{name}` into the wheel, with a search path that starts at $ORIGIN; "
        "`auditwheel repair` does both."
    )
    return (
        Advice(
            reader=Reader.USER,
            text=f"This has nothing to do with how Python was built. Install what has `{name}`: a "
            "package of the distribution's, or one that says how to in its documentation.",
        ),
        Advice(reader=Reader.AUTHOR, text=mend),
    )


def lines(advice: Iterable[Advice]) -> list[str]:
    """Advice as lines of text, under a heading for each reader."""
    found: list[str] = []
    reader = None
    for one in advice:
        if one.reader is not reader:
            found += ([""] if found else []) + [f"{one.reader.heading}:"]
            reader = one.reader
        found += wrapped(f"- {one.text}", 2)
        found += [f"      {line}".rstrip() for line in one.code.splitlines()]
    return found


def _for_users(rows: Iterable[Row], failures: Sequence[Failure]) -> list[Advice]:
    rows = [row for row in rows if any(cell.verdict.breaks for cell in row.cells)]
    helps = [_which_help(row) for row in rows]
    found = [
        Advice(reader=Reader.USER, text=text)
        for text in dict.fromkeys(
            _release_that_helps(row, cells) for row, cells in zip(rows, helps, strict=True)
        )
    ]
    if any(cell.era.link_model is LinkModel.STATIC_RPATH for cells in helps for cell in cells):
        found.append(
            Advice(
                reader=Reader.USER,
                text="An interpreter that an older uv has installed stays as it is, so upgrade uv "
                "and then install that one anew, with the patch version that is there "
                "(`python -V`):",
                code="uv python install --reinstall 3.X.Y",
            )
        )
    own = {_library(failure) for failure in failures if _is_of(failure, rows)}
    if not own:
        return found
    by_path = "Without another interpreter: load libpython by its path before the import"
    name = (
        'name = "libpython3.so"'
        if own == {"libpython3.so"}
        else 'name = "libpython{}.{}{}.so.1.0".format(*sys.version_info[:2], sys.abiflags)'
    )
    found.append(
        Advice(
            reader=Reader.USER,
            text=f"{by_path}. It imports everywhere then:",
            code="import ctypes, os, sys\n\n"
            f"{name}\n"
            'ctypes.CDLL(os.path.join(sys.base_prefix, "lib", name))',
        )
    )
    return found


def _which_help(row: Row) -> list[Cell]:
    return [cell for cell in row.cells if cell.verdict is Verdict.IMPORTS]


def _release_that_helps(row: Row, helps: Sequence[Cell]) -> str:
    if not helps:
        return f"On {row.machine.name}, no release imports all of it."
    newest = helps[-1]
    if newest.era.releases.last is None:
        text = f"On {row.machine.name}, use release {newest.era.releases.first} or a later one"
        uv = newest.era.uv[-1].first if newest.era.uv else None
        return f"{text}: uv {uv} and later install one." if uv else f"{text}."
    spans = ", ".join(str(span) for span in newest.era.uv)
    return f"On {row.machine.name}, no release after {newest.era.releases.last} imports it" + (
        f"; uv {spans} install one up to that." if spans else "."
    )


def _is_of(failure: Failure, rows: Iterable[Row]) -> bool:
    """Whether what is missing is a library of the interpreter's own, only not found."""
    names = {row.python.libpython for row in rows} | {"libpython3.so"}
    return failure.library in names


def _for_authors(failures: Sequence[Failure]) -> list[Advice]:
    libraries = sorted({printable(failure.library) for failure in failures})
    modules = [f for f in failures if f.role is not Role.PROGRAM]
    found = [
        Advice(
            reader=Reader.AUTHOR,
            text="An extension module must not link libpython (PEP 513, "
            "https://peps.python.org/pep-0513/#libpythonx-y-so-1): the interpreter has it, and "
            "exports the C API. Take it off the line that links "
            f"{_files(modules)}:",
            code="CMake       Python3::Module, not Python3::Python or ${Python3_LIBRARIES};\n"
            "            find_package(Python3 COMPONENTS Interpreter Development.Module)\n"
            "setuptools  Extension(..., libraries=[...]) without python3.X\n"
            "Meson       py.extension_module(), not py.dependency(embed: true)\n"
            "pybind11    pybind11::module, not pybind11::embed\n"
            'PyO3        features = ["extension-module"]',
        ),
        Advice(
            reader=Reader.AUTHOR,
            text="Or take the entry out of what is built; nothing else used it:",
            code="\n".join(
                f"patchelf --remove-needed {shlex.quote(library)} {_paths(modules, library)}"
                for library in libraries
            ),
        ),
    ]
    plain = [name for name in libraries if _auditwheel_removes(name)]
    if plain == libraries:
        found.append(
            Advice(
                reader=Reader.AUTHOR,
                text="`auditwheel repair` (6.4.0 or later) takes it out by itself "
                "(https://github.com/pypa/auditwheel/pull/590), so this wheel was not repaired "
                "by one.",
            )
        )
    else:
        rest = ", ".join(name for name in libraries if name not in plain)
        found.append(
            Advice(
                reader=Reader.AUTHOR,
                text="`auditwheel repair` takes libpython3.X.so.1.0 out by itself, but not "
                f"{rest}.",
            )
        )
    if any(failure.has_runpath for failure in failures):
        found.append(
            Advice(
                reader=Reader.AUTHOR,
                text=f"{_files([f for f in failures if f.has_runpath])} has a DT_RUNPATH, which "
                "switches off the search path that newer interpreters lend. If it only names "
                "directories of the machine that built it: `patchelf --remove-rpath`.",
            )
        )
    return found


def _auditwheel_removes(name: str) -> bool:
    """Its ``LIBPYTHON_RE``, as of 6.8.2: no abiflags but the old ``m``, and no libpython3.so."""
    return re.fullmatch(r"libpython\d+\.\d+m?.so(\.\d)*", name) is not None


def _for_maintainers(rows: Iterable[Row], failures: Sequence[Failure]) -> list[Advice]:
    found = []
    rows = [row for row in rows if any(cell.verdict.breaks for cell in row.cells)]
    said: dict[tuple[LinkModel, ...], None] = {}
    for row in rows:
        said.setdefault(tuple(cell.era.link_model for cell in _which_help(row)))
    for models in said:
        if not models:
            text = "No way to link the interpreter imports all of it."
            wrong = sorted({printable(f.library) for f in failures if not _is_of(f, rows)})
            if wrong:
                text += f" {', '.join(wrong)} is no library of that interpreter."
        else:
            text = f"It imports where libpython is linked {' or '.join(models)}."
            if LinkModel.STATIC_RPATH in models and LinkModel.STATIC_RUNPATH not in models:
                text += " It is the DT_RPATH of bin/python3.X that makes the difference."
            if LinkModel.STATIC_RPATH not in models and any(f.has_runpath for f in failures):
                text += (
                    " No search path of bin/python3.X can reach what has a DT_RUNPATH of its own "
                    "(https://github.com/astral-sh/python-build-standalone/issues/619)."
                )
        found.append(Advice(reader=Reader.MAINTAINER, text=text))
    return found


def _for_programs(programs: Sequence[Failure]) -> list[Advice]:
    paths = list(dict.fromkeys(f"`{called(failure.path)}`" for failure in programs))
    whose = f"{_and(paths[:FEW])}{' and others' if len(paths) > FEW else ''}"
    first = shlex.quote(posixpath.basename(called(programs[0].path)))
    found = [
        Advice(
            reader=Reader.USER,
            text=f"{whose} embeds Python: no interpreter's search path counts for it. Name "
            "libpython's directory when you start it:",
            code='LD_LIBRARY_PATH="$(python -c \'import sys; print(sys.base_prefix + "/lib")\')" '
            f"{first}",
        )
    ]
    if any(baseline.is_libpython(failure.library) for failure in programs):
        found.append(
            Advice(
                reader=Reader.AUTHOR,
                text=f"{whose}: no search path that starts at $ORIGIN leads from an environment "
                "to the interpreter's lib. Link libpython statically, bring one along, or start "
                "the program from Python, which knows where libpython is. `auditwheel repair` "
                "takes libpython out of programs as well, and what is left does not start "
                "(https://github.com/pypa/auditwheel/issues/604).",
            )
        )
    return found


def _library(failure: Failure) -> str:
    """libpython's name without the version, so that all CPythons of a wheel get one snippet."""
    return failure.library if failure.library == "libpython3.so" else "libpython"


def _needing(failures: Iterable[Failure], library: str | None = None) -> list[str]:
    return list(
        dict.fromkeys(
            called(failure.search.needed_by)
            for failure in failures
            if library is None or printable(failure.library) == library
        )
    )


def _files(failures: Iterable[Failure]) -> str:
    names = _needing(failures)
    more = len(names) - FEW
    return f"{_and([f'`{name}`' for name in names[:FEW]])}" + (
        f" and {more} more" if more > 0 else ""
    )


def _paths(failures: Iterable[Failure], library: str) -> str:
    names = _needing(failures, library)
    return " ".join(map(shlex.quote, names[:FEW])) + (" …" if len(names) > FEW else "")


def _and(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
