"""Does libpython, loaded by its path below ``sys.base_prefix``, give the interpreter's own C API?

The documented remedy for extensions that need libpython is to load it by path first. That is safe
for what it is meant for, since those extensions are bound to the interpreter's copy all the same;
but the handle that ``ctypes.CDLL`` returns must not be used, where it is that of a second copy.

https://github.com/astral-sh/python-build-standalone/issues/619
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import copies
import libpython
from applicability import NotApplicable


def check(cell: dict[str, str]) -> dict[str, Any]:
    """Findings of the copy that the path gives; the loader's OSError where it cannot be loaded."""
    path = libpython.shipped()
    if not os.path.exists(path):
        raise NotApplicable(f"the interpreter ships no libpython: {path} is not there")
    handle = ctypes.CDLL(path)
    return copies.require_own(f'ctypes.CDLL("{path}")', copies.examine(handle))
