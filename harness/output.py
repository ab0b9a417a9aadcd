"""Files that somebody asked for: written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.errors import ConfigurationError


def write(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that a full disk leaves the old one whole."""
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """The same of what comes piece by piece, and may be more than memory holds."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as stream:
            stream.writelines(pieces)
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            advice="Name a file in a directory that you may write to.",
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def folder_of(path: Path) -> Path:
    """The folder that a file will be in, or where that is still to be made."""
    return next(p for p in (path.parent, *path.absolute().parents) if p.exists())


def require_writable(*paths: Path | None) -> None:
    """Refuse, before minutes of measuring, a file that could not be written after them."""
    for path in filter(None, paths):
        folder = folder_of(path)
        problem = "it is a directory" if path.is_dir() else None
        try:
            # Not os.access, which tells root that /proc may be written to.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            raise ConfigurationError(
                f"{path} cannot be written: {problem}",
                advice="Name a file in a directory that you may write to.",
            )
