"""The host's cache: entries are made once, atomically, whichever process asks first.

An entry is a file or a directory named by the digest of everything that went into it. It appears
under its name only when it is whole; a process that dies half-way leaves a temporary name that
the next clean-up removes, never a damaged entry.

The time of an entry's last use is its modification time. Not its access time: whether reading sets
that is up to how the disk is mounted, and a backup reads too.

:func:`entry` and :func:`remove` may run at the same time. ``entry`` notes the use and then looks
for the mark of ``remove``; ``remove`` makes the mark and then looks at the use. So at least one of
them sees the other, without a lock for every use of an entry that is there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness import seals
from harness.errors import ConfigurationError, DiskFullError, HashMismatchError
from harness.interruption import RUNS
from harness.turns import turn

LOCATION_VARIABLE = "PBS_MATRIX_CACHE"

SCRATCH = re.compile(r"\.(?P<entry>.+)\.[a-z0-9_]{8}")
"""Name of what is beside an entry only while its lock is held: mkdtemp's, and these two."""

_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)

_MARK = "removing"
_REMOVED = "unwanted"


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


def entry(
    kind: str,
    key: str,
    make: Callable[[Path], None],
    *,
    suffix: str = "",
    check: Callable[[Path], bool] | None = None,
) -> Path:
    """Return the entry ``kind/key``, calling ``make(path)`` first where it is not there yet.

    ``make`` writes a file or a directory at the path that it is given. Of several processes that
    ask at the same time one makes the entry and the others wait for it. One that does not pass a
    ``check``, such as :func:`is_intact`, is made anew.
    """
    found = existing(kind, key, suffix=suffix)
    if found and (check is None or check(found)):
        return found
    final = root() / kind / f"{key[:24]}{suffix}"
    with disk_full_explained(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        with turn(lock_file(final), f"makes {kind}/{final.name} of the cache"):
            RUNS.check()
            sweep(final)
            if _note_use(final) and (check is None or check(final)):
                return final
            discard(final)
            scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
            try:
                product = scratch / final.name
                make(product)
                _note_use(product)  # What was copied or unpacked may bring a time of its own.
                seals.write(final, product)
                product.rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return final


def existing(kind: str, key: str, *, suffix: str = "") -> Path | None:
    """The entry ``kind/key`` where it is there, and then this is a use of it; else None."""
    final = root() / kind / f"{key[:24]}{suffix}"
    if _note_use(final) and not _beside(final, _MARK).exists() and final.exists():
        return final
    return None


def is_intact(entry: Path) -> bool:
    """Whether an entry is what it was when it was made; all of it is read for that."""
    return seals.is_intact(entry)


def require_intact(path: Path) -> None:
    """Refuse an entry, or what is in one, that is not what it was when it was made.

    For what is not checked each time that it is asked for, since it is large and mostly not read:
    before it is. Raises :class:`HashMismatchError`, and the entry is then gone. A path elsewhere
    is nobody's entry.
    """
    if not path.is_relative_to(root()):
        return
    parts = path.relative_to(root()).parts
    if len(parts) < 2 or seals.is_intact(found := root().joinpath(*parts[:2])):
        return
    with turn(lock_file(found), f"removes {'/'.join(parts[:2])} of the cache"):
        discard(found)
        seals.remove(found)
    raise HashMismatchError(
        f"{found} is not what it was when it was made: it is damaged, or was changed",
        advice="It was removed; run again, and it is made anew.",
    )


def replace(kind: str, key: str, content: bytes, *, suffix: str = "") -> None:
    """Put a file in the place of the entry ``kind/key``, whether there is one already or not.

    Only for what has another content another day, such as the answer to a question: who reads the
    entry meanwhile sees the one or the other.
    """
    final = root() / kind / f"{key[:24]}{suffix}"
    with disk_full_explained(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        with turn(lock_file(final), f"writes {kind}/{final.name} of the cache"):
            sweep(final)
            scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
            try:
                (scratch / final.name).write_bytes(content)
                if final.is_dir():  # which a file does not replace
                    discard(final)
                # Who asks between the two finds a damaged entry, which is none.
                seals.write(final, scratch / final.name)
                (scratch / final.name).replace(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def remove(entry: Path, *, last_used: float) -> bool:
    """Remove an entry, unless it was used since ``last_used`` or is in use: then False.

    It disappears as a whole. Waits for nobody. Raises :class:`OSError` where it may not be
    removed, or only in part; what is left of it is then no entry any more.
    """
    try:
        with FileLock(lock_file(entry), timeout=0):
            sweep(entry)
            mark, removed = _beside(entry, _MARK), _beside(entry, _REMOVED)
            mark.touch()
            try:
                if last_use(entry) != last_used:
                    return False
                entry.rename(removed)
            finally:
                mark.unlink(missing_ok=True)
            seals.remove(entry)
            discard(removed)
    except Timeout:
        return False
    # Its lock file stays. Others may have opened it and wait, and would get the lock of a file
    # that is gone while a third makes a new one: https://github.com/tox-dev/filelock/issues/574
    return True


def lock_file(entry: Path) -> Path:
    """The file whose lock is held by who makes an entry, or removes it."""
    return entry.with_name(f".{entry.name}.lock")


def last_use(entry: Path) -> float:
    """When an entry was made or asked for last, in seconds since the epoch."""
    return entry.stat().st_mtime


def sweep(entry: Path) -> None:
    """Remove what a process that died left beside an entry. Only for who holds the entry's lock."""
    for path in list(entry.parent.iterdir()):
        match = SCRATCH.fullmatch(path.name)
        if match and match["entry"] == entry.name:
            with suppress(OSError):
                discard(path)


def discard(path: Path) -> None:
    """Remove a file, or a directory with all in it, even where it is not writable.

    Raises :class:`OSError` where something stays.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        path.chmod(0o700)
        for folder, names, _ in os.walk(path):
            for name in names:
                if not (below := Path(folder, name)).is_symlink():
                    below.chmod(0o700)
        shutil.rmtree(path)


def _note_use(entry: Path) -> bool:
    """Whether an entry is there; if it is, its use is noted, where this process may."""
    try:
        os.utime(entry)
    except FileNotFoundError:
        return False
    except OSError:
        return entry.exists()
    return True


def _beside(entry: Path, what: str) -> Path:
    """Such a name as :data:`SCRATCH`, so that whatever stays of it is swept."""
    return entry.with_name(f".{entry.name}.{what}")


@contextmanager
def disk_full_explained(place: Path) -> Iterator[None]:
    """Turn "no space left" into :class:`DiskFullError` that names the place.

    And what else keeps a place from being written to: a limit of this process into the same, a
    folder or a disk that may not be written to into :class:`ConfigurationError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(place) from error
        if error.errno == errno.EFBIG:
            raise DiskFullError(
                f"a file in {place} became too large for this process: {error.strerror}",
                advice="Lift its limit: `ulimit -f unlimited`.",
            ) from error
        # Of a file elsewhere, such as one that is read, it would say what is not so.
        about = Path(os.fsdecode(error.filename)) if error.filename else place
        if error.errno in _UNWRITABLE and (about == place or place in about.parents):
            raise ConfigurationError(
                f"{place} cannot be written to: {error.strerror}",
                advice="Let it be where you may write: the cache with "
                f"{LOCATION_VARIABLE}, temporary files with TMPDIR.",
            ) from error
        raise


def require_space(place: Path, megabytes: int) -> None:
    """Raise :class:`DiskFullError` where less is free; some programs hang on a full disk."""
    free = shutil.disk_usage(place).free >> 20
    if free < megabytes:
        raise disk_full(place, f": {free} MB are free, and {megabytes} MB are needed")


def disk_full(place: Path | str, details: str = "") -> DiskFullError:
    """The error for a full disk at a place."""
    return DiskFullError(
        f"no space is left on the disk that holds {place}{details}",
        advice="Free some, remove this project's images with `pbs-matrix clean` or what the cache "
        "has not used for long with `pbs-matrix cache prune --to SIZE`, or move the cache with "
        f"{LOCATION_VARIABLE}.",
    )
