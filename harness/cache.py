"""The host's cache: entries are made once, atomically, whichever process asks first.

An entry is a file or a directory named by the digest of everything that went into it. It appears
under its name only when it is whole; a process that dies half-way leaves a temporary name that
the next clean-up removes, never a damaged entry.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from harness.errors import DiskFullError

LOCATION_VARIABLE = "PBS_MATRIX_CACHE"


def root() -> Path:
    """Where the cache is: ``$PBS_MATRIX_CACHE``, or the user's cache directory."""
    chosen = os.environ.get(LOCATION_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("pbs-matrix")


def digest(*parts: object) -> str:
    """sha256 (hex) of JSON-able inputs; the same inputs give the same digest everywhere."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def entry(kind: str, key: str, make: Callable[[Path], None], *, suffix: str = "") -> Path:
    """Return the entry ``kind/key``, calling ``make(path)`` first where it is not there yet.

    ``make`` writes a file or a directory at the path that it is given. Of several processes that
    ask at the same time one makes the entry and the others wait for it.
    """
    final = root() / kind / f"{key[:24]}{suffix}"
    if final.exists():
        return final
    with disk_full_explained(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.parent / f".{final.name}.lock"):
            if final.exists():
                return final
            scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
            try:
                product = scratch / final.name
                make(product)
                product.rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return final


@contextmanager
def disk_full_explained(place: Path) -> Iterator[None]:
    """Turn "no space left" into :class:`DiskFullError` that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(place) from error


def require_space(place: Path, megabytes: int) -> None:
    """Raise :class:`DiskFullError` where less is free; some programs hang on a full disk."""
    free = shutil.disk_usage(place).free >> 20
    if free < megabytes:
        raise disk_full(place, f": {free} MB are free, and {megabytes} MB are needed")


def disk_full(place: Path | str, details: str = "") -> DiskFullError:
    """The error for a full disk at a place."""
    return DiskFullError(
        f"no space is left on the disk that holds {place}{details}",
        advice="Free some, remove this project's images with `pbs-matrix clean`, or move the "
        f"cache with {LOCATION_VARIABLE}.",
    )
