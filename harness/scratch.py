"""Temporary folders that are removed even where whoever made them was killed: by the next run.

Each says whose it is, as containers do.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import cache, owner

PREFIX = "pbs-matrix-"

OWNER = ".owner"
"""The file in such a folder that says whose it is, as :func:`harness.owner.this_process` does."""

YOUNG = 3600.0
"""Seconds for which a folder without that file may be one that is just being made."""


def make(name: str = "", place: Path | None = None) -> Path:
    """A new temporary folder of this process, which :func:`remove` removes.

    ``name`` is part of its name; ``place`` is the folder that it is in, if not the usual one.
    Raises :class:`harness.errors.DiskFullError`.
    """
    place = place or Path(tempfile.gettempdir())
    with cache.disk_full_explained(place):
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}", dir=place))
        try:
            (folder / OWNER).write_text(owner.this_process(), encoding="utf-8")
        except BaseException:
            remove(folder)
            raise
    return folder


def remove(folder: Path) -> None:
    """Remove a folder, as far as possible."""
    with suppress(OSError):
        cache.discard(folder)


@contextmanager
def directory() -> Iterator[Path]:
    """An empty temporary folder, until the end of the context."""
    folder = make()
    try:
        (work := folder / "work").mkdir()
        yield work
    finally:
        remove(folder)


def reap_dead() -> int:
    """Remove the folders of processes of this user that are gone; their number."""
    removed = 0
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if _is_dead(folder):
                remove(folder)
                removed += not folder.exists()
    return removed


def _is_dead(folder: Path) -> bool:
    try:
        about = folder.lstat()
        # Anybody may make anything in /tmp; a link there is none of ours.
        if about.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
            return False
        label = (folder / OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        # Killed before it could say whose it is, or nothing of ours: only an empty one goes.
        with suppress(OSError):
            if time.time() - about.st_mtime > YOUNG:
                folder.rmdir()
        return False
    except (OSError, UnicodeDecodeError):
        return False
    return not owner.is_alive(label)
