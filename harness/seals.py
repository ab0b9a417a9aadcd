"""Seals: by which it is seen whether an entry of the cache is still what it was when it was made.

An entry is named by what went into it, which does not say what came of that. So a digest of its
bytes, names, links and kinds of files is beside it. That notices damage, and whatever somebody has
changed by mistake; who may write to the cache can write another seal, too.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

SUFFIX = ".seal"
_FORMAT = "1"


def write(entry: Path, content: Path) -> None:
    """Seal an entry whose content is at ``content``, which may be another place for the moment."""
    _keep(_file(entry), _text(content))


def remove(entry: Path) -> None:
    """Forget the seal of an entry that is gone."""
    _file(entry).unlink(missing_ok=True)


def is_intact(entry: Path) -> bool:
    """Whether an entry is as it was sealed. One that is older than seals is sealed as it is."""
    try:
        said = _file(entry).read_text(encoding="utf-8")
    except FileNotFoundError:
        with suppress(OSError):
            write(entry, entry)
        return True
    except (OSError, UnicodeDecodeError):
        return False
    try:
        return said == _text(entry)
    except OSError:
        return False


def _file(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}{SUFFIX}")


def _text(content: Path) -> str:
    """Raises :class:`OSError` for what cannot be read."""
    whole = hashlib.sha256()
    is_folder = content.is_dir() and not content.is_symlink()
    for path in [content, *(sorted(content.rglob("*")) if is_folder else ())]:
        mode = path.lstat().st_mode
        what = str(stat.S_IFMT(mode))
        if stat.S_ISLNK(mode):
            what += f" {path.readlink()}"
        elif stat.S_ISREG(mode):
            with path.open("rb") as stream:
                what += f" {hashlib.file_digest(stream, 'sha256').hexdigest()}"
        name = path.relative_to(content)
        whole.update(os.fsencode(f"{name}\0{what}\0"))
    return f"{_FORMAT} {whole.hexdigest()}\n"


def _keep(path: Path, text: str) -> None:
    # Named as what is beside an entry only while it is made, so that a dead process's is swept.
    name = path.name.removesuffix(SUFFIX)
    number, scratch = tempfile.mkstemp(prefix=f"{name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
