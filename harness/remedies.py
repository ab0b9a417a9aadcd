"""What is done about the breakage before the import is tried."""

from __future__ import annotations

from enum import StrEnum


class Remedy(StrEnum):
    """A remedy, as an axis of the matrix. The probe applies it inside the container."""

    NONE = "none"
    PRELOAD = "preload"
    """``ctypes.CDLL("libpython3.X.so.1.0")`` first, by name, as published in the bug reports."""
    PRELOAD_BY_PATH = "preload-by-path"
    """The same with the full path, derived from the running interpreter."""
