"""The results file in a zip that another run has left: that, and nothing else that is in it."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from harness import results
from harness.errors import ConfigurationError

NAME = "results.jsonl"

PACKED = 128 << 20
"""Bytes of a zip that are read."""

UNPACKED = 1 << 30
"""Bytes of the results; those of 10,000 cells with explanations have a tenth of it."""

_PIECE = 1 << 20


def unpack(content: bytes, to: Path) -> None:
    """Write the results of a zip; ``to`` is a new file, which is removed if it is no good.

    Raises ``ValueError`` where the zip is damaged, has no such file, two, or a larger one than may
    be, and where that is no results file. No name in the zip becomes a path.
    """
    try:
        _unpack(content, to)
        for _ in results.read(to):
            pass
    except ConfigurationError as error:
        to.unlink(missing_ok=True)
        raise ValueError(error.problem.replace(str(to), NAME)) from None
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def _unpack(content: bytes, to: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if (found := archive.namelist().count(NAME)) != 1:
                raise ValueError(f"it has {found or 'no'} files of the name {NAME}")
            _copy(archive, to)
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        UnicodeDecodeError,
    ) as error:
        raise ValueError(f"it is no zip that can be read: {error}") from None


def _copy(archive: zipfile.ZipFile, to: Path) -> None:
    # What a zip says of its sizes may be wrong, so what comes is counted.
    left = UNPACKED
    with archive.open(NAME) as source, to.open("xb") as target:
        while piece := source.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"its {NAME} is larger than {UNPACKED >> 20} MiB")
            target.write(piece)
