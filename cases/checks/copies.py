"""The copies of the C API in this process: the one that runs, and any other that ctypes reaches.

An interpreter with libpython inside exports the C API itself. A libpython that is loaded beside it
is a second copy: its functions are other functions, with thread-local and static variables of their
own that nobody has initialised. Extension modules are bound to the interpreter's copy, since
the main program comes first in the order of look-ups; a symbol that is asked of a handle is not.

https://github.com/astral-sh/python-build-standalone/blob/main/cpython-unix/build-cpython.sh
(at "There is a downside of making this libpython locatable") accepts that risk knowingly.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import c_api
import evidence
import maps

LANDMARK = "Py_GetVersion"
"""A function that every CPython exports; where it lies is where a copy lies."""


def address(handle: ctypes.CDLL, symbol: str = LANDMARK) -> int:
    """Address of a function as a handle gives it; ``AttributeError`` where there is none."""
    found = ctypes.cast(handle[symbol], ctypes.c_void_p).value
    assert found is not None
    return found


def file_of(handle: ctypes.CDLL) -> str:
    """The file whose C API a handle gives."""
    return os.path.realpath(maps.file_at(address(handle)))


def is_own(handle: ctypes.CDLL) -> bool:
    """Whether a handle gives the running interpreter's own C API."""
    return address(handle) == address(ctypes.pythonapi)


def examine(handle: ctypes.CDLL) -> dict[str, Any]:
    """Whose C API a handle gives, and what comes of using it."""
    return {
        "answered_by": file_of(handle),
        "interpreter_runs_in": file_of(ctypes.pythonapi),
        "own": is_own(handle),
        # 1 even in a second copy that has bound its global data to the interpreter's.
        "py_is_initialized": handle["Py_IsInitialized"](),
        "uses": c_api.verdicts(handle),
    }


def require_own(asked: str, findings: dict[str, Any]) -> dict[str, Any]:
    """The findings, if they are those of the interpreter's own copy, in which everything works.

    ``asked`` says how the handle was had. Raises ``AssertionError`` for a second copy.
    """
    groups = c_api.by_verdict(findings["uses"])
    working = len(groups.pop("works", []))
    broken = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in groups.items())
    answer = f"{asked} is answered by {findings['answered_by']}"
    if not findings["own"]:
        raise evidence.unhealthy(
            f"{answer}, a second copy of the C API beside the interpreter's own in "
            f"{findings['interpreter_runs_in']} (Py_IsInitialized() = "
            f"{findings['py_is_initialized']}): of {len(findings['uses'])} uses {working} work; "
            f"{broken or 'none is broken'}",
            findings,
        )
    if broken:
        raise evidence.unhealthy(f"{answer}, the interpreter's own copy, but {broken}", findings)
    return findings
