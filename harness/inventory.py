"""Which ELF files there are in a folder: what the loader's rules are applied to."""

from __future__ import annotations

import posixpath
import tarfile
from dataclasses import dataclass, field
from functools import cache as cache_in_process
from pathlib import Path
from typing import BinaryIO, cast

from pydantic import TypeAdapter

from harness import elf, imports
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable

RECIPE = 1
"""Counts up whenever this module, or what reads ELF, finds other things in the same files."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """ELF files and links, by their paths from the folder that they lie in, such as ``/x.so``."""

    files: Files
    modules: tuple[str, ...] = ()
    """Paths of the extension modules: those that define what Python calls to load one."""

    def below(self, directory: str) -> Inventory:
        """The same files somewhere else: each path put behind a directory's."""
        modules = tuple(directory + path for path in self.modules)
        return Inventory(files=self.files.below(directory), modules=modules)


INVENTORY = TypeAdapter(Inventory)


@cache_in_process
def load(path: Path) -> Inventory:
    """Read what :func:`save` wrote; the same object for the same path."""
    return INVENTORY.validate_json(path.read_bytes())


def save(inventory: Inventory, path: Path) -> None:
    """Write an inventory as JSON."""
    path.write_bytes(INVENTORY.dump_json(inventory))


@dataclass(kw_only=True)
class Noted:
    """What was found so far, while something is gone through."""

    files: dict[str, Object | Unloadable] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)

    def add(self, name: str, stream: elf.Stream) -> elf.Reader:
        """Read a file; one that is no ELF file is not noted."""
        reader = elf.Reader(stream)
        found = reader.object()
        if found is not None:
            self.files[name] = found
            if elf.is_extension_module(reader, posixpath.basename(name).partition(".")[0]):
                self.modules.append(name)
        return reader

    def done(self) -> Inventory:
        """All of it."""
        files = Files(files=self.files, links=self.links, twins=self.twins)
        return Inventory(files=files, modules=tuple(self.modules))


def of_folder(folder: Path) -> Inventory:
    """The ELF files and the links in a folder."""
    noted = Noted()
    for path in sorted(folder.rglob("*")):
        name = f"/{path.relative_to(folder).as_posix()}"
        if path.is_symlink():
            noted.links[name] = str(path.readlink())
        elif path.is_file():
            with path.open("rb") as stream:
                noted.add(name, stream)
    return noted.done()


@cache_in_process
def imported(tree: Path, module: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths of the extension modules that an import opens, in order; and what else it may open.

    ``tree`` holds ``site/`` and, as ``files.json``, what is in it. By what its import statements
    show without being run (:mod:`harness.imports`). One in a function or a ``try`` is among what
    else it may open, and so are plugins: libraries that no other file of the tree needs.
    """
    listed = load(tree / "files.json")
    extensions = {_name(path.removeprefix("/site/")): path for path in listed.modules}
    sources = {
        _name(path.relative_to(tree / "site").as_posix()): path.read_bytes
        for path in (tree / "site").rglob("*.py")
    }
    opened = [extensions[name] for name in imports.reached([module], sources, extensions)]
    objects = {p: o for p, o in listed.files.files.items() if isinstance(o, Object)}
    needed = {posixpath.basename(name) for found in objects.values() for name in found.needed}
    plugins = [
        path
        for path, found in objects.items()
        if not found.is_program
        and path not in listed.modules
        and not {posixpath.basename(path), found.soname} & needed
    ]
    modules = (path for path in listed.modules if path not in opened)
    return tuple(opened), (*modules, *plugins)


def _name(path: str) -> str:
    """What a file is imported as; a package's own module is called ``NAME.__init__``."""
    folder, slash, file = path.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}".replace("/", ".")


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    """A file of an archive, to be read."""
    stream = tar.extractfile(member)
    assert stream is not None  # it is a file
    return cast(BinaryIO, stream)
