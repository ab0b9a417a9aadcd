"""Do ``ctypes.pythonapi`` and ``ctypes.CDLL(None)`` give the running interpreter's own C API?

They are what to write instead of a name or path of libpython's, so they have to be right in every
link model, and to stay right after libpython was loaded by path for everybody (``RTLD_GLOBAL``).

https://github.com/astral-sh/python-build-standalone/issues/619
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import copies
import evidence
import libpython
import maps


def check(cell: dict[str, str]) -> dict[str, Any]:
    """Findings of the interpreter's own copy, asked for before and after a second one came."""
    before = copies.address(ctypes.pythonapi)
    path = libpython.shipped()
    findings: dict[str, Any] = {"loaded_for_everybody": None}
    if os.path.exists(path):
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        findings["loaded_for_everybody"] = path
    everything = ctypes.CDLL(None)
    findings.update(copies.examine(everything))
    # The type of every int lies in the data of the copy that made it.
    findings["int_lies_in"] = os.path.realpath(maps.file_at(id(int)))
    for asked, found in (
        ("ctypes.pythonapi", copies.address(ctypes.pythonapi)),
        ("ctypes.CDLL(None)", copies.address(everything)),
    ):
        if found != before:
            raise evidence.unhealthy(
                f"{asked} is answered by {maps.file_at(found)} instead of {maps.file_at(before)} "
                f"(loaded for everybody: {findings['loaded_for_everybody']})",
                findings,
            )
    if findings["int_lies_in"] != findings["answered_by"]:
        raise evidence.unhealthy(
            f"ctypes.CDLL(None) is answered by {findings['answered_by']}, but the running "
            f"interpreter's int lies in {findings['int_lies_in']}",
            findings,
        )
    return copies.require_own("ctypes.CDLL(None)", findings)
