"""What the model is told of the system in a container: asked of its loader, read from its files."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from pydantic import TypeAdapter

from harness.loader.files import Files
from harness.loader.objects import Object
from harness.loader.process import System
from tests.worlds.world import Changes, Kind, Libc, Library, World, files

SYSTEM = TypeAdapter(System)

CACHED = re.compile(
    r'(?P<name>\S+) \((?P<flags>[^)"]*)(?:hwcap: "(?P<level>[^"]+)")?\) => (?P<path>.*)'
)
"""A line of ``ldconfig -p``."""

FLAGS = {"x86_64": "libc6,x86-64", "aarch64": "libc6,AArch64"}

NO_DEFAULT_LIBRARIES = 0x800
"""DF_1_NODEFLIB of DT_FLAGS_1."""

USED = ("libc.so.6", "libm.so.6", "libc.so")
"""Libraries of the base that worlds may need, the loader aside."""


def system(kind: Kind, diagnostics: str, musl_path: str, tar: bytes, cache: str) -> System:
    """A container's system without any world.

    ``diagnostics`` is what ``ld.so --list-diagnostics`` says, ``musl_path`` musl's list of
    directories, ``tar`` its links and libraries, and ``cache`` what ``ldconfig -p`` prints.
    """
    values = dict(re.findall(r'^([\w.\[\]]+)="(.*)"$', diagnostics, re.MULTILINE))
    known = _files(kind, tar)
    if kind.libc is Libc.MUSL:
        return System(files=known, directories=tuple(musl_path.split()))
    active = re.search(r"^dl_hwcaps_subdirs_active=0x(\w+)$", diagnostics, re.MULTILINE)
    mask = int(active[1], 16) if active else 0
    levels = [name for name in values["dl_hwcaps_subdirs"].split(":") if name]
    subdirectories = [
        f"glibc-hwcaps/{name}" for number, name in enumerate(levels) if mask >> number & 1
    ]
    keys = [key for key in values if key.startswith("path.system_dirs[")]
    return System(
        files=known,
        directories=tuple(values[key].rstrip("/") for key in keys),
        cache=cached(kind, cache.splitlines(), subdirectories),
        subdirectories=tuple(subdirectories),
        lib=values["dl_dst_lib"],
        platform=values.get("dl_platform", ""),
    )


def cached(
    kind: Kind, lines: Iterable[str], subdirectories: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Entries of ld.so.cache that count for an architecture and CPU, the preferred one first."""
    ranks = {name.rpartition("/")[2]: rank for rank, name in enumerate(subdirectories)}
    found: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        match = CACHED.fullmatch(line.strip())
        if match is None or match["flags"].rstrip(", ") != FLAGS[kind.platform]:
            continue
        level = match["level"]
        if level is None or level in ranks:
            rank = len(ranks) if level is None else ranks[level]
            found.setdefault(match["name"], []).append((rank, match["path"]))
    return {
        name: tuple(path for _, path in sorted(paths, key=lambda entry: entry[0]))
        for name, paths in found.items()
    }


def with_world(system: System, world: World, changes: Changes) -> System:
    """A system with a world in it."""
    # What the loader compares by value stands side by side, in the order of the file.
    merged = {**changes.cache, **system.cache}
    return system._replace(files=system.files | files(world, changes), cache=merged)


def _files(kind: Kind, tar: bytes) -> Files:
    """The links of some directories, and those of their libraries that worlds may need."""
    found: dict[str, Object] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as packed:
        for member in packed:
            path = f"/{member.name.strip('/')}"
            name = posixpath.basename(path)
            if member.issym() and (name.startswith("ld-") or path in ("/lib", "/lib64", "/bin")):
                links[path] = member.linkname
            elif member.isreg() and (name in USED or name.startswith("ld-linux")):
                stream = packed.extractfile(member)
                assert stream is not None
                found[path] = _known(stream.read(), kind)
    return Files(files=found, links=links)


def _known(content: bytes, kind: Kind) -> Object:
    found = read(content)
    return Object(architecture=kind.architecture, soname=found.soname, needed=found.needed)


def read(content: bytes) -> Library:
    """What a file says of itself: soname, needs and search paths, as :class:`Library` has them."""
    section = ELFFile(io.BytesIO(content)).get_section_by_name(".dynamic")
    assert isinstance(section, DynamicSection)
    flags = next((tag.entry.d_val for tag in section.iter_tags("DT_FLAGS_1")), 0)
    return Library(
        number=0,
        soname=next(_texts(section, "soname"), None),
        needed=tuple(_texts(section, "needed")),
        rpath=next(_texts(section, "rpath"), None),
        runpath=next(_texts(section, "runpath"), None),
        no_default_libraries=bool(flags & NO_DEFAULT_LIBRARIES),
    )


def _texts(section: DynamicSection, name: str) -> Iterator[str]:
    return (getattr(tag, name) for tag in section.iter_tags(f"DT_{name.upper()}"))
