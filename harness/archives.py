"""Tar archives with the same bytes for the same content."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import ArchiveError

MAX_MEMBERS = 200_000
"""Of what is unpacked; Debian's Python with all that it needs has a tenth."""

MAX_UNPACKED = 4 << 30
"""Bytes; it has a tenth of that, too."""


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
    """Unpack a tar's members whose names start with one of some prefixes.

    Raises :class:`ArchiveError` for one with a member that is not a file, a folder or a link, that
    would be written outside the directory or through a link, or with more of them, or more bytes,
    than packages of Debian have.
    """
    with tarfile.open(path) as tar:
        # Debian 12's Python 3.11.2 has no filters yet; Python's own is one more check elsewhere.
        # Not its "data": packages have links to absolute names, which lead nowhere here.
        if hasattr(tarfile, "tar_filter"):
            tar.extraction_filter = tarfile.tar_filter
        members = [m for m in tar.getmembers() if m.name.startswith(below)]
        _vet(path, members)
        tar.extractall(directory, members)  # noqa: S202 - they have just been vetted


def _vet(path: Path, members: Sequence[tarfile.TarInfo]) -> None:
    if len(members) > MAX_MEMBERS or sum(member.size for member in members) > MAX_UNPACKED:
        raise _refusal(path, f"has more than {MAX_MEMBERS} members or {MAX_UNPACKED} bytes")
    links: set[str] = set()
    for member in members:
        name = _inside(member.name)
        if name is None:
            raise _refusal(path, f"has a member {member.name!r} that leads out of it")
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise _refusal(path, f"has a member {member.name!r} that is a device or a pipe")
        parts = name.split("/")
        if any("/".join(parts[:end]) in links for end in range(1, len(parts) + 1)):
            raise _refusal(path, f"has a member {member.name!r} that is written through a link")
        if member.islnk() and (to := _inside(member.linkname)) in (None, *links):
            raise _refusal(path, f"has a hard link {member.name!r} that leads to {to or 'outside'}")
        if member.issym():
            links.add(name)


def _inside(name: str) -> str | None:
    """A name without what does nothing; None for one that leads elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if name.startswith("/") or ".." in parts else "/".join(parts)


def _refusal(path: Path, problem: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} {problem}", advice="Do not use it; look at where its packages are from."
    )


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
