"""Which files there are, as plain data: a system's, an interpreter's, an extension's."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from harness.loader.objects import Object, Unloadable

MAX_LINKS = 40
"""Symbolic links that Linux follows in one path."""

MAX_NAME, MAX_PATH = 255, 4096
"""Bytes of a file's name and, with the zero at its end, of a path."""


class Nowhere(StrEnum):
    """Why a path leads to no regular file, in the system's words."""

    MISSING = "No such file or directory"
    NOT_A_DIRECTORY = "Not a directory"
    DIRECTORY = "Is a directory"
    LOOP = "Too many levels of symbolic links"
    TOO_LONG = "File name too long"


class _Files(NamedTuple):
    files: Mapping[str, Object | Unloadable] = {}
    links: Mapping[str, str] = {}
    """Where each link points, as it stands there."""
    twins: Mapping[str, str] = {}
    """Hard links: another path of the same file, the same one for all of them."""
    folders: frozenset[str] = frozenset()
    """Directories that nothing else here tells of."""


class Files(_Files):  # a class of its own, since a NamedTuple has no room for what it keeps
    """Regular files and symbolic links by absolute path; most directories follow from them."""

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory that something lies in."""
        found = {"/"}
        inside = (f"{folder}/." for folder in self.folders)
        for path in (*self.files, *self.links, *inside):
            parent = posixpath.dirname(path)
            while parent not in found:
                found.add(parent)
                parent = posixpath.dirname(parent)
        return frozenset(found)

    def reach(self, path: str, *, directory: str = "/") -> str | Nowhere:
        """Path of the file that a path leads to, without links; or why there is none.

        ``directory`` is where a relative path starts.
        """
        if not path:
            return Nowhere.MISSING
        found = self._followed(posixpath.join(directory, path))
        if isinstance(found, Nowhere):
            return found
        if found in self.directories:
            return Nowhere.DIRECTORY
        if found not in self.files:
            return Nowhere.MISSING
        is_named_as_directory = path.endswith(("/", "/.")) or posixpath.basename(path) == ".."
        return Nowhere.NOT_A_DIRECTORY if is_named_as_directory else found

    def real(self, path: str, *, directory: str = "/") -> str | None:
        """The same for those who do not ask why."""
        found = self.reach(path, directory=directory)
        return None if isinstance(found, Nowhere) else found

    def real_directory(self, path: str) -> str | None:
        """The same for a directory; one that holds no file is not known here."""
        found = self._followed(path)
        return found if found in self.directories else None

    def _followed(self, path: str) -> str | Nowhere:
        if len(path.encode(errors="replace")) >= MAX_PATH:
            return Nowhere.TOO_LONG
        left = [*reversed(path.split("/"))]
        here, links = "/", 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if here not in self.directories:
                return Nowhere.NOT_A_DIRECTORY if here in self.files else Nowhere.MISSING
            if part == "..":
                here = posixpath.dirname(here)
                continue
            if len(part.encode(errors="replace")) > MAX_NAME:
                return Nowhere.TOO_LONG
            step = posixpath.join(here, part)
            target = self.links.get(step)
            if target is None:
                here = step
                continue
            links += 1
            if links > MAX_LINKS:
                return Nowhere.LOOP
            if target.startswith("/"):
                here = "/"
            left += reversed(target.split("/"))
        return here

    def below(self, directory: str) -> Files:
        """The same files somewhere else: each path put behind a directory's."""
        return Files(
            files={directory + path: content for path, content in self.files.items()},
            # What an absolute link leads to has not moved.
            links={directory + path: target for path, target in self.links.items()},
            twins={directory + path: directory + twin for path, twin in self.twins.items()},
            folders=frozenset(directory + folder for folder in self.folders),
        )

    def identity(self, real: str) -> str:
        """The same for two paths, without links, that are one file."""
        return self.twins.get(real, real)

    def __or__(self, other: Files) -> Files:
        """Both; what ``other`` has hides what is there."""
        return Files(
            files={**self.files, **other.files},
            links={**self.links, **other.links},
            twins={**self.twins, **other.twins},
            folders=self.folders | other.folders,
        )
