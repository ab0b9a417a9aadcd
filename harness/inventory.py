"""Which ELF files a folder or an archive holds: what the loader's rules are applied to."""

from __future__ import annotations

import posixpath
import tarfile
from functools import cache as cache_in_process
from pathlib import Path

from pydantic import TypeAdapter

from harness import elf
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable

RECIPE = 1
"""Counts up whenever this module, or what reads ELF, finds other things in the same files."""

FILES = TypeAdapter(Files)


@cache_in_process
def load(path: Path) -> Files:
    """Read what :func:`save` wrote; the same object for the same path."""
    return FILES.validate_json(path.read_bytes())


def save(files: Files, path: Path) -> None:
    """Write files as JSON."""
    path.write_bytes(FILES.dump_json(files))


def of_folder(folder: Path) -> Files:
    """The ELF files and the links in a folder, by their paths from it, such as ``/bin/x``."""
    files: dict[str, Object | Unloadable] = {}
    links: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = f"/{path.relative_to(folder).as_posix()}"
        if path.is_symlink():
            links[name] = str(path.readlink())
        elif path.is_file():
            with path.open("rb") as stream:
                found = elf.read_object(stream)
            if found is not None:
                files[name] = found
    return Files(files=files, links=links)


def of_interpreter(archive: Path) -> Files:
    """The programs, libraries and links of an ``install_only`` archive, below its one folder."""
    files: dict[str, Object | Unloadable] = {}
    links: dict[str, str] = {}
    twins: dict[str, str] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, below = member.name.partition("/")
            name = f"/{below}"
            if member.issym():
                links[name] = member.linkname
            elif ".so" in posixpath.basename(name) or posixpath.dirname(name) == "/bin":
                if member.islnk():
                    twins[name] = f"/{member.linkname.partition('/')[2]}"
                stream = tar.extractfile(member) if member.isreg() or member.islnk() else None
                found = elf.read_object(stream) if stream else None
                if found is not None:
                    files[name] = found
    return Files(files=files, links=links, twins=twins)
