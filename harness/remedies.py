"""What is done about the breakage before the import is tried."""

from __future__ import annotations

from enum import StrEnum


class Remedy(StrEnum):
    """A remedy, as an axis of the matrix.

    Two more need no member: staying on an older uv is a column of the table, and the
    distribution's libpython is a base image.
    """

    NONE = "none"
    PRELOAD = "preload"
    """``ctypes.CDLL("libpython3.X.so.1.0")`` first, by name, as published in the bug reports."""
    PRELOAD_BY_PATH = "preload-by-path"
    """The same with the full path, derived from the running interpreter."""
    LD_LIBRARY_PATH = "ld-library-path"
    """The interpreter started with ``LD_LIBRARY_PATH`` naming its own lib/."""
    PATCHELF = "patchelf"
    """``patchelf --remove-needed`` on every installed file that needs libpython."""
    UPGRADE_ONLY = "upgrade-only"
    """An older uv had installed the interpreter; then this uv's ``uv python install 3.X``."""
    REINSTALL = "reinstall"
    """The same, then this uv's ``uv python install --reinstall 3.X.Y``.

    With the patch version, since without it uv 0.7.11 to 0.11 install another beside it.
    """

    @property
    def uv_command(self) -> str:
        """What the newer uv is told, with {python} or {version}; empty for other remedies."""
        return {
            Remedy.UPGRADE_ONLY: "python install {python}",
            Remedy.REINSTALL: "python install --reinstall {version}",
        }.get(self, "")
