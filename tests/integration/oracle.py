"""The truth table, written by hand from upstream's account, apart from matrix.yaml.

Rows: how the extension is linked. Columns: how the interpreter carries libpython, on a base
without a libpython of the distribution's. See docs/verdicts.md.
"""

from __future__ import annotations

LIBPYTHON = "libpython3.13.so.1.0"
COLUMNS = ("shared", "static", "static+runpath", "static+rpath")
FAILS = {
    # extension: whether it fails, by column
    "python-mscl": (0, 1, 1, 0),
    "no-libpython": (0, 0, 0, 0),
    "libpython-needed": (0, 1, 1, 0),
    "libpython-needed-runpath": (0, 1, 1, 1),
    "libpython-needed-rpath": (0, 1, 1, 0),
    "ucxx-shaped": (0, 1, 1, 1),
    "runpath-plain-helper": (0, 1, 1, 0),
    "abi3-libpython3": (1, 1, 1, 0),
}

RELEASES = {
    # uv: release on x86_64, release on aarch64, link model on x86_64, link model on aarch64
    "0.7.5": ("20250409", "20250409", "shared", "shared"),
    "0.7.6": ("20250517", "20250517", "static", "static"),
    "0.7.7": ("20250521", "20250521", "static+runpath", "static+runpath"),
    "0.7.8": ("20250409", "20250521", "shared", "static+runpath"),
    "0.7.9": ("20250529", "20250529", "static+rpath", "static+rpath"),
}

MESSAGE = f"{LIBPYTHON}: cannot open shared object file: No such file or directory"
"""What python-build-standalone issue 619 reports."""


def missing(extension: str, link_model: str, base: str) -> str | None:
    """The library that should be missing, or None where the import should succeed."""
    fails = FAILS[extension][COLUMNS.index(link_model)]
    if extension == "abi3-libpython3":
        # Debian ships no libpython3.so, so the distribution's libpython3.13 does not help.
        return "libpython3.so" if fails else None
    return LIBPYTHON if fails and base == "debian13" else None


REMEDY_FAILS = {
    # remedy: whether it leaves the extension broken, by column. Where a remedy upgrades, the
    # column is that of the release which the newer uv brings; the older one had brought static.
    "python-mscl": {
        "preload": (0, 1, 0, 0),
        "preload-by-path": (0, 0, 0, 0),
        "ld-library-path": (0, 0, 0, 0),
        "patchelf": (0, 0, 0, 0),
        "upgrade-only": (1, 1, 1, 1),
        "reinstall": (0, 1, 1, 0),
    },
    "ucxx-shaped": {
        "preload": (0, 1, 0, 0),
        "preload-by-path": (0, 0, 0, 0),
        "ld-library-path": (0, 0, 0, 0),
        "patchelf": (0, 0, 0, 0),
        "upgrade-only": (1, 1, 1, 1),
        "reinstall": (0, 1, 1, 1),
    },
}


def missing_in_spite_of(remedy: str, extension: str, link_model: str) -> str | None:
    """The library that should still be missing with a remedy, on the base without libpython."""
    fails = REMEDY_FAILS[extension][remedy][COLUMNS.index(link_model)]
    return LIBPYTHON if fails else None
