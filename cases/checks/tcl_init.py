"""Does ``tkinter.Tcl()`` find Tcl's own scripts, both in a virtual environment and outside it?

With 20251120 CPython 3.14 looked for ``init.tcl`` relative to the virtual environment instead of
the interpreter. ``Tk()`` needs a display, but fails at the same place as ``Tcl()``, which does not.

https://github.com/astral-sh/python-build-standalone/issues/913
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import evidence
import libpython
from applicability import NotApplicable

SCRIPT = "import tkinter; print(tkinter.Tcl().eval('info library'))"

LIMIT = 60
"""Seconds that an interpreter may take to start and say where its Tcl library is."""


def check(cell: dict[str, str]) -> dict[str, Any]:
    """Where each finds its Tcl library; the loader's ImportError where there is no libtcl."""
    try:
        import _tkinter  # noqa: F401 - whether it is there, and loads
    except ModuleNotFoundError as error:
        raise NotApplicable(f"this interpreter has no tkinter: {error}") from error
    interpreters = {"virtual environment": sys.executable, "base": libpython.interpreter()}
    if sys.prefix == sys.base_prefix:
        del interpreters["virtual environment"]
    return verify(interpreters)


def verify(interpreters: dict[str, str]) -> dict[str, Any]:
    """The same for some interpreters, each by what it is."""
    findings: dict[str, Any] = {}
    problems = []
    for name, path in interpreters.items():
        done = subprocess.run(
            [path, "-I", "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=LIMIT
        )
        said = " ".join((done.stdout if done.returncode == 0 else done.stderr).split())
        findings[name] = said
        if done.returncode:
            # The exception's text is long: the directories that Tcl has looked through.
            at = max(said.rfind("_tkinter.TclError"), 0)
            problems.append(f"{name} ({path}): {said[at:][:1000]}")
    if problems:
        raise evidence.unhealthy(
            "tkinter.Tcl() fails in the " + "; in the ".join(problems), findings
        )
    return findings
