"""A copy of the project's matrix whose images nobody else has.

What is done to images, such as removing them in the middle of a run, must not be done to those
that others on the same engine use. So the base has one more package, by which all differs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound
from filelock import FileLock, Timeout

from harness import cache

PROJECT = Path(__file__).parents[2]

PACKAGES = ("hello", "tree", "sl", "figlet")
"""Of Debian, and small: one for each that is at work at the same time."""

_BASE = "    suite: trixie\n"


@dataclass(frozen=True, kw_only=True)
class OwnMatrix:
    """A folder with a matrix file, its lock, and the samples that it names."""

    folder: Path
    package: str
    lock: FileLock
    """Held, so that nobody else takes the same package meanwhile."""

    @classmethod
    def make(cls, folder: Path) -> OwnMatrix:
        """Write it into a folder, which need not be there."""
        package, lock = _free_package()
        folder.mkdir(parents=True, exist_ok=True)
        text = (PROJECT / "matrix.yaml").read_text(encoding="utf-8")
        place = text.index(_BASE, text.index("\n  debian13:\n")) + len(_BASE)
        changed = f"{text[:place]}    packages: [{package}]\n{text[place:]}"
        (folder / "matrix.yaml").write_text(changed, encoding="utf-8")
        shutil.copy2(PROJECT / "matrix.lock", folder)
        if not (samples := folder / "cases").exists():
            samples.symlink_to(PROJECT / "cases", target_is_directory=True)
        return cls(folder=folder, package=package, lock=lock)

    @property
    def option(self) -> str:
        """What pytest is told."""
        return f"--matrix={self.folder / 'matrix.yaml'}"


def _free_package() -> tuple[str, FileLock]:
    """A package that no other process has, and the lock that it is taken by."""
    for package in PACKAGES:
        lock = FileLock(Path(tempfile.gettempdir()) / f"pbs-matrix-faults-{package}.lock")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return package, lock
    raise RuntimeError("too many of these are at work at the same time")


PATIENCE = 30.0
"""Seconds."""

SHARED = ("wheels", "uv", "uv-answers", "uv-defaults", "debian-python", "zig")
"""Kinds of cache entries that take long to be made, and are linked from the user's cache."""


def link_cache(folder: Path) -> None:
    """Begin a cache with what others have in theirs; who has an entry never writes to it."""
    for kind in SHARED:
        # Without links, on another file system say, it is made anew.
        with suppress(OSError):
            shutil.copytree(
                cache.root() / kind,
                folder / kind,
                symlinks=True,
                copy_function=os.link,
                ignore=shutil.ignore_patterns(".*.lock", ".*.????????"),
            )


def environments(results: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Ids of the images of environments that cells were tried in, by lines of results."""
    return frozenset(line["pins"]["image"] for line in results if line["pins"].get("image"))


def remove_environments(client: docker.DockerClient, images: Iterable[str]) -> None:
    """Remove images and the steps of their builds, and leave the bases that they are made from.

    A container that has just ended has its image for a moment more.
    """
    end = time.monotonic() + PATIENCE
    for image in images:
        while True:
            try:
                client.api.remove_image(image, force=True)
            except ImageNotFound:
                break
            except APIError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def remove(client: docker.DockerClient, images: Iterable[str]) -> None:
    """Remove images, what they are made of where nothing else is, and the bases of this cache."""
    digests = {path.read_text() for path in cache.root().glob("base-roots/*/sha256")}
    bases = {
        str(each["Id"])
        for digest in digests
        for each in client.api.images(filters={"label": f"pbs-matrix.base-digest={digest}"})
    }
    # Those that others are made from have their turn when these are gone.
    for _ in range(3):
        for image in (*images, *bases):
            with suppress(ImageNotFound, APIError):
                client.api.remove_image(image, force=True)
