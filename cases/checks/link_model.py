"""Is the interpreter linked to libpython in the way that the table of releases says?

The table (``harness/data/link_models.tsv``) is taken from upstream's release notes; every replica
rests on it, and so does every expectation that names a link model. This reads it off the ELF file.

https://github.com/astral-sh/python-build-standalone/issues/619
"""

from __future__ import annotations

import os
from typing import Any

import elf
import evidence
import libpython


def classify(section: elf.DynamicSection, origin: str) -> str:
    """The link model of an executable in the directory ``origin``, in the harness's words.

    A search path counts if it leads to the ``lib`` beside that directory.
    """
    if any(os.path.basename(name).startswith("libpython") for name in section.needed):
        return "shared"
    home = os.path.normpath(os.path.join(origin, "..", "lib"))

    def leads_home(entries: tuple[str, ...]) -> bool:
        expanded = (e.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for e in entries)
        return any(entry and os.path.normpath(entry) == home for entry in expanded)

    # glibc does not look at DT_RPATH where there is a DT_RUNPATH.
    if section.runpath:
        return "static+runpath" if leads_home(section.runpath) else "static"
    return "static+rpath" if leads_home(section.rpath) else "static"


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The entries of the executable, and the link model that they make."""
    return verify(libpython.interpreter(), cell)


def verify(interpreter: str, cell: dict[str, str]) -> dict[str, Any]:
    """The same for any executable."""
    section = elf.dynamic_section(interpreter)
    model = classify(section, os.path.dirname(interpreter))
    entries = {
        "DT_NEEDED": list(section.needed),
        "DT_RPATH": list(section.rpath),
        "DT_RUNPATH": list(section.runpath),
    }
    findings = {"interpreter": interpreter, "link_model": model, **entries}
    if model != cell["link_model"]:
        said = ", ".join(f"{name} {values}" for name, values in entries.items())
        raise evidence.unhealthy(
            f"{interpreter} is linked {model!r}, but release {cell['release']} should be "
            f"{cell['link_model']!r}: {said}",
            findings,
        )
    return findings
