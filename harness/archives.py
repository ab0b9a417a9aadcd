"""Tar archives with the same bytes for the same content."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def add_tree(tar: tarfile.TarFile, tree: Path, prefix: str) -> None:
    """Add a directory's files and links below a prefix: sorted, owned by root, without times."""
    for path in [tree, *sorted(tree.rglob("*"))]:
        relative = path.relative_to(tree).as_posix()
        name = prefix if relative == "." else f"{prefix}/{relative}"
        info = tar.gettarinfo(path, arcname=name)
        # Hard links would depend on which of two names the file system lists first.
        if info.islnk():
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
        _plain(info, executable=bool(info.mode & 0o111))
        if info.isreg():
            with path.open("rb") as stream:
                tar.addfile(info, stream)
        else:
            tar.addfile(info)


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes, *, executable: bool = False) -> None:
    """Add one file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    _plain(info, executable=executable)
    tar.addfile(info, io.BytesIO(content))


def extract(path: Path, directory: Path, *, below: tuple[str, ...] = ("",)) -> None:
    """Unpack a tar's members whose names start with one of some prefixes."""
    with tarfile.open(path) as tar:
        # Debian 12's Python 3.11.2 has no filters yet; there, what is unpacked is what Debian
        # has signed or this project has made.
        if hasattr(tarfile, "tar_filter"):
            tar.extraction_filter = tarfile.tar_filter
        members = [m for m in tar.getmembers() if m.name.startswith(below)]
        tar.extractall(directory, members)  # noqa: S202 - see above


def write_gzip(output: Path, tree: Path, prefix: str) -> None:
    """Write ``prefix/`` with a directory's content as a .tar.gz."""
    with (
        output.open("wb") as raw,
        # Level 3: a third of the time of the default for a tenth more bytes.
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=3, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        add_tree(tar, tree, prefix)


def write_context(
    output: Path, files: Mapping[str, Path], texts: Mapping[str, str], programs: Iterable[str] = ()
) -> None:
    """Write an engine's build context: files from the host and texts, by their names in it."""
    executable = set(programs)
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in sorted(texts.items()):
            add_bytes(tar, name, text.encode(), executable=name in executable)
        for name, path in sorted(files.items()):
            with path.open("rb") as stream:
                # By its content: not as the link that it may be.
                info = tarfile.TarInfo(name)
                info.size = os.fstat(stream.fileno()).st_size
                mode = os.fstat(stream.fileno()).st_mode
                _plain(info, executable=name in executable or bool(mode & 0o111))
                tar.addfile(info, stream)


def _plain(info: tarfile.TarInfo, *, executable: bool) -> None:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = 0
    info.mode = 0o755 if executable or info.isdir() else 0o644
