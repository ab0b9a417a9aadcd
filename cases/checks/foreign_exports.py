"""Do the interpreter and its libpython export nothing but CPython's own names?

What they export is found before the same name in any library that is loaded later. CPython's test
module ``_ctypes_test``, linked in until 20250808, exported ``my_free``, ``top`` and others: a
component of MySQL called that ``my_free`` instead of MySQL's, and crashed.

https://github.com/astral-sh/python-build-standalone/issues/721
https://github.com/astral-sh/python-build-standalone/issues/744
"""

from __future__ import annotations

import os
from typing import Any

import dynamic_symbols
import evidence
import libpython
from applicability import NotApplicable

PREFIXES = ("Py", "_Py", "PY_")

EVERY_ELF_FILE = """
    _init _fini _start _start_c main _dl_relocate_static_pie
    __libc_csu_init __libc_csu_fini __libc_start_main _IO_stdin_used __gmon_start__
    data_start __data_start _edata edata __bss_start __bss_start__ _bss_end__ __bss_end__
    _end end __end__ _etext etext __etext __executable_start __ehdr_start
    __init_array_start __init_array_end __fini_array_start __fini_array_end
    __preinit_array_start __preinit_array_end __rela_iplt_start __rela_iplt_end
    __dso_handle __TMC_END__ _DYNAMIC _GLOBAL_OFFSET_TABLE_ __GNU_EH_FRAME_HDR
"""
"""What the linker, and the start-up code of the C library, define."""

DEBUGGERS = "__jit_debug_descriptor __jit_debug_register_code"
"""The names by which debuggers look for code that CPython 3.15 compiles while it runs."""

LEGITIMATE = frozenset(EVERY_ELF_FILE.split() + DEBUGGERS.split())

MAX_NAMED = 12


def foreign(names: list[str]) -> list[str]:
    """Those of some exported names that are neither CPython's nor legitimate otherwise."""
    return [n for n in names if not n.startswith(PREFIXES) and n not in LEGITIMATE]


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The foreign names of the executable and of the libpython that it ships."""
    paths = [libpython.interpreter(), libpython.shipped()]
    return verify([path for path in paths if os.path.exists(path)], cell)


def verify(paths: list[str], cell: dict[str, str]) -> dict[str, Any]:
    """The same for any files. Not asked of a replica, whose files are Debian's."""
    exported = {path: dynamic_symbols.exported(path) for path in paths}
    findings: dict[str, Any] = {
        "exported": {path: len(names) for path, names in exported.items()},
        "foreign": {path: foreign(names) for path, names in exported.items()},
    }
    said = "; ".join(
        f"{path} exports {len(exported[path])} names, {len(names)} of them foreign"
        + (": " + ", ".join(names[:MAX_NAMED]) if names else "")
        for path, names in findings["foreign"].items()
    )
    if cell["source"] == "replica":
        raise NotApplicable("a replica's files are Debian's: " + said)
    if any(findings["foreign"].values()):
        raise evidence.unhealthy(said, findings)
    return findings
