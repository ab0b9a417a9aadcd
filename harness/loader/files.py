"""Which files there are, as plain data: a system's, an interpreter's, an extension's."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.loader.objects import Object, Unloadable

MAX_LINKS = 40
"""Symbolic links that Linux follows in one path."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Regular files and symbolic links by their absolute path; directories follow from them."""

    files: Mapping[str, Object | Unloadable] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    """Where each link points, as it stands there."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """Hard links: another path of the same file, the same one for all of them."""

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory that something lies in."""
        found = {"/"}
        for path in (*self.files, *self.links):
            parent = posixpath.dirname(path)
            while parent not in found:
                found.add(parent)
                parent = posixpath.dirname(parent)
        return frozenset(found)

    def real(self, path: str, *, directory: str = "/") -> str | None:
        """Path of the file that a path leads to, without links; None where there is no file.

        ``directory`` is where a relative path starts.
        """
        found = self._followed(posixpath.join(directory, path))
        return found if found in self.files else None

    def real_directory(self, path: str) -> str | None:
        """The same for a directory; one that holds no file is not known here."""
        found = self._followed(path)
        return found if found in self.directories else None

    def _followed(self, path: str) -> str | None:
        left = [*reversed(path.split("/"))]
        here, links = "/", 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if here not in self.directories:
                return None
            if part == "..":
                here = posixpath.dirname(here)
                continue
            step = posixpath.join(here, part)
            target = self.links.get(step)
            if target is None:
                here = step
                continue
            links += 1
            if links > MAX_LINKS:
                return None
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
        )
