"""What is in an interpreter's archive, once it was found harmless: one pass, from a stranger.

An archive that comes from a mirror is vetted whole before anything else uses it, uv included: its
sha256 says that it is what the mirror's SHA256SUMS names, and no more. On the way it is read what
concerns the loader, and how the interpreter carries libpython: from its ELF files, never from the
table of releases (:mod:`harness.releases`), which this is compared with.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as cache_in_process
from pathlib import Path
from typing import IO, assert_never

from pydantic import TypeAdapter

from harness import elf, published, replica
from harness.errors import ArchiveError
from harness.inventory import Inventory, Noted
from harness.loader.files import Files
from harness.loader.objects import Architecture, Object
from harness.platforms import Platform
from harness.releases import LIBPYTHON, LinkModel
from harness.tarball import Kind, Member, Tarball, quoted

RECIPE = 1
"""Counts up whenever this module finds other things in the same archive."""

TOP = "python"
"""The one folder that everything in an archive lies in."""

FULL, BUILD = "/install", "/build"
"""Folders in it of a full archive: the interpreter, and what it was built from."""

MAX_IN_MEMORY = 16 << 20
"""Bytes of an ELF file that are kept in memory; of a larger one, in a temporary file."""

MAX_LINKS = 40
"""Links behind each other that Linux follows."""

C_API = ("Py_BytesMain", "PyModule_Create2")
"""What a program exports that has libpython inside; extensions take the second of it."""

PROGRAM = re.compile(r"/bin/python(3(\.\d+[a-z]*)?)?")
LIBRARY = re.compile(r"/lib/libpython3\.\d+[a-z]*\.so[.\d]*")
"""Not libpython3.so, which only leads to it."""

HEADER = re.compile(r"/include/python3\.\d+[a-z]*/patchlevel\.h")
MAX_HEADER = 1 << 16
STANDARD_LIBRARY = re.compile(r"/lib/python(3\.\d+)[a-z]*/os\.py")
VERSION = re.compile(rb'^#define\s+PY_VERSION\s+"(3\.\d+\.\d+\w*)\+?"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """An interpreter's archive, as far as it concerns the matrix."""

    inventory: Inventory
    """Its programs, libraries and links, by their paths in the interpreter's folder."""
    linked: LinkModel | None
    """How it carries libpython; None where it is in none of the known ways."""
    linked_because: str
    """What in its files says so, in words."""
    platform: Platform | None
    """What its program runs on; None for one that is not under test."""
    libc: str | None
    """``gnu`` or ``musl``, by the loader that its program asks for; None where it asks for none."""
    version: str | None
    """CPython's by its own header, such as 3.13.3; only 3.13 where that is not in it."""
    misnamed: str | None
    """The version that its name says, where that is another: so of a replica that has the name of
    a release."""
    is_replica: bool
    """Whether this project has made it, wherever it came from."""
    members: int
    unpacked: int
    """Bytes, all of it unpacked."""


CONTENTS = TypeAdapter(Contents)


@cache_in_process
def load(path: Path) -> Contents:
    """Read what :func:`save` wrote; the same object for the same path."""
    return CONTENTS.validate_json(path.read_bytes())


def save(contents: Contents, path: Path) -> None:
    """Write contents as JSON."""
    path.write_bytes(CONTENTS.dump_json(contents))


def look(path: Path, name: str) -> Contents:
    """Vet an archive and read what is in it.

    ``name`` is its published name, or another; what that says is compared with what is there.
    Raises :class:`harness.errors.ArchiveError`, which names the archive, the member and what is
    wrong: damaged, cut short, larger than any interpreter; with anything but files, folders and
    links in its one folder; with a link that leads out of it, or a file that would be written
    through one; without an interpreter, or with one for another platform than the name says.
    """
    reading = _Reading()
    with Tarball(path, name) as tar:
        for member in _vetted(tar):
            reading.take(member, tar)
        return reading.done(tar)


def repack(path: Path, output: Path, folder: str) -> None:
    """Write an archive's interpreter as a plain tar, all of it below ``folder``.

    Raises as :func:`look` does; what was written until then is of no use.
    """
    with Tarball(path, path.name) as tar:
        parts = {_part(member.name) for member in _vetted(tar)}
    root = TOP + FULL if FULL in parts else TOP
    with (
        Tarball(path, path.name) as tar,
        tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as out,
    ):
        for member in _vetted(tar):
            if member.name.startswith(f"{root}/"):
                _write(member, tar, out, root, folder)


# Vetting.


def _vetted(tar: Tarball) -> Iterator[Member]:
    """The members of an archive that was found harmless, if it is gone through to its end."""
    vetting = _Vetting(tar)
    for member in tar:
        vetting.add(member)
        yield member
    vetting.check_links()


class _Vetting:
    """The members so far, and whether unpacking them stays where it should."""

    def __init__(self, tar: Tarball) -> None:
        self._tar = tar
        self._folders: set[str] = set()
        self._others: dict[str, Kind] = {}
        self._links: dict[str, str] = {}

    def add(self, member: Member) -> None:
        name = member.name
        if name != TOP and not name.startswith(f"{TOP}/"):
            raise self._tar.refusal(f"lies outside the folder {TOP}, which everything should be in")
        self._place(name)
        if member.kind is Kind.FOLDER:
            self._folders.add(name)
            return
        if name == TOP:
            raise self._tar.refusal(
                f"is a {member.kind}, not the folder that everything should be in"
            )
        if name in self._folders:
            raise self._tar.refusal(f"is a {member.kind} where there was a folder")
        if member.kind is Kind.HARD_LINK:
            target = _plain(member.target)
            if target is None or not target.startswith(f"{TOP}/"):
                raise self._target_refusal(member)
            if self._others.get(target) not in (Kind.FILE, Kind.HARD_LINK):
                to = quoted(member.target)
                raise self._tar.refusal(
                    f"is a hard link to {to}, which is no file that came before it"
                )
        if member.kind is Kind.SYMLINK:
            if member.target.startswith("/"):
                raise self._target_refusal(member)
            self._links[name] = member.target
        self._others[name] = member.kind

    def _place(self, name: str) -> None:
        """Refuse what would be written over, or through, something else."""
        before = self._others.get(name)
        if before is not None:
            through = f"through the {before} " if before is Kind.SYMLINK else "over the one "
            raise self._tar.refusal(f"is there twice: it would be written {through}that came first")
        parent = posixpath.dirname(name)
        while parent and parent not in self._folders:
            if parent in self._others:
                raise self._tar.refusal(
                    f"would be written through {quoted(parent)}, which is a {self._others[parent]}"
                )
            self._folders.add(parent)
            parent = posixpath.dirname(parent)

    def check_links(self) -> None:
        """Refuse symbolic links that lead out of the archive, through others too."""
        known: dict[str, str | None] = {}
        for name in self._links:
            self._follow(name, known, ())

    def _follow(self, name: str, known: dict[str, str | None], on_the_way: tuple[str, ...]) -> str:
        """Where a link leads, without links, and whether or not anything is there."""
        found = known.get(name)
        if found is not None:
            return found
        if name in on_the_way or len(on_the_way) > MAX_LINKS:
            raise self._link_refusal(
                name, "leads to itself, or is one of too many behind each other"
            )
        here = posixpath.dirname(name)
        for part in self._links[name].split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                here = posixpath.dirname(here)
                if not here:
                    raise self._link_refusal(name, "leads out of the archive")
                continue
            here = f"{here}/{part}"
            if here in self._links:
                here = self._follow(here, known, (*on_the_way, name))
            if len(here) > 1 << 12:
                raise self._link_refusal(name, "leads further down than any path can")
        known[name] = here
        return here

    def _link_refusal(self, name: str, problem: str) -> ArchiveError:
        to = quoted(self._links[name])
        return self._tar.refusal(f"is a symbolic link to {to}: {problem}", member=name)

    def _target_refusal(self, member: Member) -> ArchiveError:
        return self._tar.refusal(
            f"is a {member.kind} to {quoted(member.target)}: leads out of the archive"
        )


def _plain(name: str) -> str | None:
    """A hard link's target as members are named; None where it is no such name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if name.startswith("/") or ".." in parts else "/".join(parts)


# Reading.


def _part(name: str) -> str:
    """Which folder of an archive a member is in: FULL, BUILD, or neither."""
    below = name.removeprefix(TOP)
    return next((part for part in (FULL, BUILD) if below.startswith(f"{part}/")), "")


@contextmanager
def _kept(tar: Tarball, *, only: bytes = b"") -> Iterator[IO[bytes]]:
    """A member's content, to be read; not much more than its start where that is not ``only``."""
    with tempfile.SpooledTemporaryFile(max_size=MAX_IN_MEMORY) as stream:
        start = b""
        for piece in tar.content():
            stream.write(piece)
            start += piece[: len(only) - len(start)]
            if not only.startswith(start):
                break
        stream.seek(0)
        yield stream


@dataclass(kw_only=True)
class _Reading:
    """What was found so far, by paths in the archive's folder."""

    noted: Noted = field(default_factory=Noted)
    exporting: set[str] = field(default_factory=set)
    """Programs with the C API inside."""
    versions: dict[str, str] = field(default_factory=dict)
    """CPython's, by the file that says it."""
    marks: set[str] = field(default_factory=set)
    part: str = ""
    """FULL as soon as anything is there: all else is not the interpreter then."""

    def take(self, member: Member, tar: Tarball) -> None:
        """Read a member, as far as it concerns us."""
        part = _part(member.name)
        name = member.name.removeprefix(TOP)
        if part == BUILD:
            return
        self.part = self.part or part
        match member.kind:
            case Kind.FILE:
                self._read(name, name.removeprefix(part), tar)
            case Kind.SYMLINK:
                self.noted.links[name] = member.target
            case Kind.HARD_LINK:
                target = (_plain(member.target) or "").removeprefix(TOP)
                self.noted.twins[name] = self.noted.twins.get(target, target)
            case Kind.FOLDER:
                pass
            case _:
                assert_never(member.kind)

    def _read(self, name: str, own: str, tar: Tarball) -> None:
        if own == f"/{replica.MARK}":
            self.marks.add(name)
        elif library := STANDARD_LIBRARY.fullmatch(own):
            self.versions[name] = library[1]
        elif HEADER.fullmatch(own):
            with _kept(tar) as stream:
                if version := VERSION.search(stream.read(MAX_HEADER)):
                    self.versions[name] = version[1].decode()
        else:
            with _kept(tar, only=elf.MAGIC) as stream:
                reader = self.noted.add(name, stream)
                found = self.noted.files.get(name)
                asks_for_loader = isinstance(found, Object) and found.interpreter is not None
                if asks_for_loader and any(reader.defines(symbol) for symbol in C_API):
                    self.exporting.add(name)

    def done(self, tar: Tarball) -> Contents:
        """What all of it comes to; refuses what is no interpreter, or not the one it should be."""
        inventory = self._inventory()
        path, program = _program(inventory.files, tar)
        exports = self.part + inventory.files.identity(path) in self.exporting
        linked, because = link_model(path, program, inventory.files, exports=exports)
        platform, libc = _runs_on(program)
        named = published.parse(tar.name)
        if named and (platform is not named.platform or libc not in (named.flavour.libc, None)):
            here = " and ".join(filter(None, (platform or _machine(program.architecture), libc)))
            there = f"{named.platform} and {named.flavour.libc}"
            raise tar.refusal(f"holds an interpreter for {here}, but its name says {there}")
        version = max(
            (v for name, v in self.versions.items() if self._own(name)), key=len, default=None
        )
        said = re.match(r"cpython-(3\.\d+\.\d+[a-z\d]*)", tar.name)
        return Contents(
            inventory=inventory,
            linked=linked,
            linked_because=because,
            platform=platform,
            libc=libc,
            version=version,
            misnamed=said[1] if said and version and not _agrees(said[1], version) else None,
            is_replica=any(map(self._own, self.marks)),
            members=tar.members,
            unpacked=tar.unpacked,
        )

    def _own(self, name: str) -> str | None:
        """A path in the interpreter's folder; None for what is not in it."""
        return name.removeprefix(self.part) if name.startswith(f"{self.part}/") else None

    def _inventory(self) -> Inventory:
        """What concerns the loader: all links, and files where an interpreter has its own."""
        noted = self.noted
        every = dict(noted.files)
        modules = list(noted.modules)
        for name, twin in noted.twins.items():
            if twin in noted.files:
                every[name] = noted.files[twin]
                if twin in noted.modules and _stem(twin) == _stem(name):
                    modules.append(name)
        files = {own: found for name, found in every.items() if (own := self._loadable(name))}
        links = {own: to for name, to in noted.links.items() if (own := self._own(name))}
        twins = {
            own: there
            for name, to in noted.twins.items()
            if (own := self._loadable(name)) and (there := self._own(to))
        }
        found = (self._loadable(name) for name in modules)
        return Inventory(
            files=Files(files=files, links=links, twins=twins),
            modules=tuple(name for name in found if name),
        )

    def _loadable(self, name: str) -> str | None:
        """The path of a library or program."""
        own = self._own(name)
        if own and (".so" in posixpath.basename(own) or posixpath.dirname(own) == "/bin"):
            return own
        return None


def _stem(path: str) -> str:
    return posixpath.basename(path).partition(".")[0]


def _agrees(said: str, version: str) -> bool:
    return said == version or said.startswith(f"{version}.")


# The program.


def _program(files: Files, tar: Tarball) -> tuple[str, Object]:
    """The interpreter, behind whichever links lead to it."""
    paths = (path for path in (*files.files, *files.links) if PROGRAM.fullmatch(path))
    for path in sorted(paths, key=len):
        real = files.real(path)
        if real is None:
            continue
        found = files.files[real]
        if isinstance(found, Object):
            return real, found
        raise tar.refusal(f"cannot be run: {found.problem}", member=real.lstrip("/"))
    raise tar.refusal("has no interpreter: no bin/python3 that is a program")


def _runs_on(program: Object) -> tuple[Platform | None, str | None]:
    platforms = {platform.architecture: platform for platform in Platform}
    libc = None
    if program.interpreter is not None:
        libc = "musl" if "/ld-musl-" in program.interpreter else "gnu"
    return platforms.get(program.architecture), libc


def _machine(architecture: Architecture) -> str:
    return f"machine {architecture.machine} of {architecture.bits} bits"


def link_model(
    path: str, program: Object, files: Files, *, exports: bool
) -> tuple[LinkModel | None, str]:
    """How an interpreter carries libpython, and what says so.

    ``exports``: whether the program at ``path`` has the C API inside. The check ``link-model`` asks
    the same in a container (``cases/checks/link_model.py``).
    """
    name = path.lstrip("/")
    for needed in program.needed:
        if posixpath.basename(needed).startswith(LIBPYTHON):
            return LinkModel.SHARED, f"{name} needs {quoted(needed)}"
    if program.interpreter is None:
        return None, f"{name} asks for no loader: it is linked statically, the C library included"
    if not exports:
        return None, f"{name} neither needs libpython nor exports the C API"
    library = next((found for found in sorted(files.files) if LIBRARY.fullmatch(found)), None)
    if library is None:
        return None, f"{name} exports the C API, and there is no libpython in lib/"
    library = library.lstrip("/")
    start = f"{name} exports the C API"
    # glibc does not look at DT_RPATH where there is a DT_RUNPATH.
    kind, entries, model = (
        ("DT_RUNPATH", program.runpath, LinkModel.STATIC_RUNPATH)
        if program.runpath is not None
        else ("DT_RPATH", program.rpath, LinkModel.STATIC_RPATH)
    )
    if not entries:
        return LinkModel.STATIC, f"{start}, and has no search path"
    if _leads_home(entries, posixpath.dirname(path)):
        return model, f"{start}, and its {kind} {quoted(entries)} leads to {library}"
    return LinkModel.STATIC, f"{start}, and its {kind} {quoted(entries)} does not lead to {library}"


def _leads_home(entries: str, origin: str) -> bool:
    """Whether a search path has the folder ``lib`` beside a program's among its own."""
    # A place that no entry can name, but by the program's own.
    home = "/\0"
    expanded = (
        entry.replace("${ORIGIN}", home + origin).replace("$ORIGIN", home + origin)
        for entry in entries.split(":")
    )
    return any(posixpath.normpath(entry) == f"{home}/lib" for entry in expanded if entry)


def _write(member: Member, tar: Tarball, out: tarfile.TarFile, root: str, folder: str) -> None:
    """Copy a member into another archive, below a folder instead of ``root``."""
    info = tarfile.TarInfo(folder + member.name.removeprefix(root))
    info.mode = 0o755 if member.is_executable or member.kind is Kind.FOLDER else 0o644
    match member.kind:
        case Kind.FILE:
            info.size = member.size
            with _kept(tar) as stream:
                out.addfile(info, stream)
            return
        case Kind.FOLDER:
            info.type = tarfile.DIRTYPE
        case Kind.SYMLINK:
            info.type, info.linkname = tarfile.SYMTYPE, member.target
        case Kind.HARD_LINK:
            target = _plain(member.target) or ""
            if not target.startswith(f"{root}/"):
                raise tar.refusal(f"is a hard link to {quoted(target)}, which is not in {root}")
            info.type, info.linkname = tarfile.LNKTYPE, folder + target.removeprefix(root)
        case _:
            assert_never(member.kind)
    out.addfile(info)
