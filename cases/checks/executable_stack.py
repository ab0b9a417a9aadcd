"""Do the interpreter and its libpython ask for a stack that is not executable?

20260320 was built with a linker that marked the stack of libpython as executable, and BOLT dropped
the mark from others, which counts as the same. glibc refuses to load such a library since 2.41, and
so do hardened systems; the interpreter itself, which does not load it, is none the wiser.

https://github.com/astral-sh/python-build-standalone/issues/1061
https://github.com/astral-sh/python-build-standalone/issues/1072
https://github.com/astral-sh/python-build-standalone/pull/1065
"""

from __future__ import annotations

import ctypes
import glob
import os
from typing import Any

import children
import elf
import evidence
import libpython


def libraries(interpreter: str) -> list[str]:
    """Each libpython file in the ``lib`` beside an interpreter's directory, once."""
    folder = os.path.join(os.path.dirname(interpreter), "..", "lib")
    return sorted({os.path.realpath(p) for p in glob.glob(os.path.join(folder, "libpython*.so*"))})


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The stack flags of each file, and whether libpython can be loaded by its path."""
    return verify(libpython.interpreter(), libpython.soname())


def verify(interpreter: str, soname: str) -> dict[str, Any]:
    """The same for any interpreter, with the name of its libpython."""
    files = [interpreter, *libraries(interpreter)]
    flags = {path: elf.stack_flags(path) for path in files}
    findings: dict[str, Any] = {"stack": flags, "loads": {}}
    problems = []
    for path, letters in flags.items():
        if letters == "missing":
            problems.append(
                f"{path} has no PT_GNU_STACK, which the loader takes for an executable stack"
            )
        elif "X" in letters:
            problems.append(f"{path} asks for an executable stack ({letters})")
    for path in files[1:]:
        if os.path.basename(path) == soname:
            # In a child: the rest of this process stays as it is without a libpython.
            ending = children.run(lambda path=path: bool(ctypes.CDLL(path)))  # type: ignore[misc]
            findings["loads"][path] = ending.how == "answered" or (ending.text or ending.how)
            if ending.how != "answered":
                problems.append(f"{path} cannot be loaded: {ending.text or ending.how}")
    if problems:
        raise evidence.unhealthy("; ".join(problems), findings)
    return findings
