"""Do the interpreter's files search for libraries below the interpreter itself, and nowhere else?

libtcl and libtk carry ``/tools/deps/lib``, a directory of the machine that built them. Where a user
has, or somebody else can make, that directory, libraries are loaded from it; scanners report it.

https://github.com/astral-sh/python-build-standalone/issues/805
"""

from __future__ import annotations

import os
import sys
from typing import Any, Iterator

import elf
import evidence

ORIGINS = ("$ORIGIN", "${ORIGIN}")


def candidates(root: str) -> Iterator[str]:
    """Files below a directory that may be ELF files by their name or place; links are left out.

    Opening all the thousands of files of an interpreter would take a minute under emulation.
    """
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            if (".so" in name or os.path.basename(folder) == "bin") and not os.path.islink(path):
                yield path


def is_stray(entry: str, path: str, root: str) -> bool:
    """Whether an entry of a file's search path leads out of a directory.

    An empty one does: it means the working directory.
    """
    origin = next((o for o in ORIGINS if entry == o or entry.startswith(o + "/")), None)
    if origin is None:
        return True
    target = os.path.normpath(os.path.dirname(path) + entry[len(origin) :])
    return target != root and not target.startswith(root + os.sep)


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The search path of every file that has one."""
    return verify(os.path.realpath(sys.base_prefix))


def verify(root: str) -> dict[str, Any]:
    """The same below any directory."""
    elf_files = [path for path in candidates(root) if elf.is_elf(path)]
    findings: dict[str, Any] = {"elf_files": len(elf_files), "search_paths": {}}
    strays = []
    for path in elf_files:
        section = elf.dynamic_section(path)
        for tag, entries in (("DT_RPATH", section.rpath), ("DT_RUNPATH", section.runpath)):
            if entries:
                name = os.path.relpath(path, root)
                findings["search_paths"].setdefault(name, {})[tag] = list(entries)
                wrong = [entry for entry in entries if is_stray(entry, path, root)]
                if wrong:
                    strays.append(f"{name} has {wrong} in its {tag}")
    if not elf_files:
        raise evidence.unhealthy(f"there is no ELF file below {root}", findings)
    if strays:
        raise evidence.unhealthy("; ".join(strays), findings)
    return findings
