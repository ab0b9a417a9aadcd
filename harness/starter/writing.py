"""Several new files: all of them or none, and over nothing that is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from harness import output
from harness.errors import ConfigurationError


def write_all(files: Mapping[Path, bytes], *, force: bool = False) -> tuple[Path, ...]:
    """Write files, but those that have this content already; the ones written.

    Raises :class:`ConfigurationError`, and leaves everything as it was, where a file with another
    content is there and ``force`` is not given, or one cannot be written.
    """
    before = {path: _content(path) for path in files}
    changed = {path: content for path, content in files.items() if before[path] != content}
    there = [str(path) for path in changed if os.path.lexists(path)]
    if there and not force:
        raise ConfigurationError(
            f"already there, and not the same: {', '.join(there)}",
            advice="Nothing was written. --force overwrites them; or name another directory.",
        )
    made = [folder for path in changed for folder in path.parents if not folder.exists()]
    tried: list[Path] = []
    try:
        for path, content in changed.items():
            tried.append(path)
            output.write(path, content)
    except BaseException:
        for path in tried:
            _restore(path, before[path])
        # The innermost first; what somebody else has put something into stays.
        for folder in sorted(made, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    return tuple(changed)


def _content(path: Path) -> bytes | None:
    """What is in a file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}",
            advice="Name another directory, or put it right.",
        ) from error


def _restore(path: Path, content: bytes | None) -> None:
    with contextlib.suppress(OSError):
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
