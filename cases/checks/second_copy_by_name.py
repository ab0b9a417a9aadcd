"""Does ``ctypes.CDLL("libpython3.X.so.1.0")``, by name, give the running interpreter's own C API?

An interpreter that has libpython inside and a search path to its ``lib/`` (since 20250529, for
extensions that need libpython) lets that name be found, but as a second copy beside the one that
runs. Code that has worked with the shared builds then crashes, hangs, or silently does nothing.
Where no search path leads to it (20250517), a libpython of the distribution's may answer instead.

https://github.com/astral-sh/python-build-standalone/issues/619
"""

from __future__ import annotations

import ctypes
from typing import Any

import copies
import libpython


def check(cell: dict[str, str]) -> dict[str, Any]:
    """Findings of the copy that the name gives; the loader's OSError where none is found."""
    name = libpython.soname()
    handle = ctypes.CDLL(name)
    return copies.require_own(f'ctypes.CDLL("{name}")', copies.examine(handle))
