"""What the loader finds in an image, from its diagnostics and its files; without an engine."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness import elf, systems
from harness.loader.objects import Object, Unloadable
from harness.loader.process import System
from harness.platforms import Platform
from tests.unit.test_ldcache import cache
from tests.unit.tiny_elf import TinyElf

LIBRARY = TinyElf(needed=(b"libc.so.6",)).build()

# As glibc 2.41 of Debian 13 says it, shortened.
DIAGNOSTICS = """\
dl_dst_lib="lib/x86_64-linux-gnu"
dl_hwcap=0x2
dl_hwcaps_subdirs="x86-64-v4:x86-64-v3:x86-64-v2"
dl_hwcaps_subdirs_active=0x6
dl_platform="haswell"
path.prefix="/usr"
path.system_dirs[0x0]="/lib/x86_64-linux-gnu/"
path.system_dirs[0x1]="/usr/lib/x86_64-linux-gnu/"
path.system_dirs[0x2]="/lib/"
path.system_dirs[0x3]="/usr/lib/"
version.version="2.41"
"""


def image(
    files: dict[str, bytes], links: dict[str, str] | None = None, hard: dict[str, str] | None = None
) -> tarfile.TarFile:
    """An image's files as the engine gives them: without a slash at the beginning."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (hard or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
    packed.seek(0)
    return tarfile.open(fileobj=packed)


def found(
    files: dict[str, bytes],
    links: dict[str, str] | None = None,
    hard: dict[str, str] | None = None,
    diagnostics: str = DIAGNOSTICS,
) -> System:
    return systems.system(diagnostics, image(files, links, hard), Platform.X86_64)


def test_the_loader_says_itself_what_it_was_built_with() -> None:
    system = found({})
    assert system.directories == (
        *("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"),
        *("/lib", "/usr/lib"),
    )
    assert (system.lib, system.platform) == ("lib/x86_64-linux-gnu", "haswell")
    # Of the three only those whose bit is set: this CPU does not have the first.
    assert system.subdirectories == ("glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2")


def test_a_loader_that_says_nothing_has_no_directories() -> None:
    """One from before glibc 2.33: what it would find is not known, so nothing is made up."""
    assert found({}, diagnostics="").directories == ()


def test_libraries_are_found_where_a_merged_usr_has_them() -> None:
    place = "usr/lib/x86_64-linux-gnu/libx.so.1"
    system = found({place: LIBRARY, "usr/share/doc/libx.so.1": LIBRARY}, {"lib": "usr/lib"})
    assert list(system.files.files) == [f"/{place}"]
    content = system.files.files[f"/{place}"]
    assert isinstance(content, Object)
    assert content.needed == ("libc.so.6",)
    assert system.files.real("/lib/x86_64-linux-gnu/libx.so.1") == f"/{place}"


def test_a_text_with_a_librarys_name_is_known_for_what_it_is() -> None:
    """Such as a linker script: the loader that comes across it goes no further."""
    system = found({"usr/lib/libc.so": b"/* GNU ld script */"}, {"lib": "usr/lib"})
    assert system.files.files["/usr/lib/libc.so"] == Unloadable(problem=elf.NO_ELF)


def test_directories_of_the_cache_are_looked_into_too() -> None:
    noted = cache((0x0303, "liby.so", "/opt/y/liby.so", 0))
    system = found({"etc/ld.so.cache": noted, "opt/y/liby.so": LIBRARY})
    assert system.cache == {"liby.so": ("/opt/y/liby.so",)}
    assert "/opt/y/liby.so" in system.files.files


def test_two_names_of_one_file_are_one_file() -> None:
    system = found(
        {"usr/lib/libx.so.1": LIBRARY},
        {"lib": "usr/lib"},
        {"usr/lib/libx.so.1.0": "usr/lib/libx.so.1"},
    )
    real = [system.files.real(f"/lib/{name}") for name in ("libx.so.1", "libx.so.1.0")]
    assert None not in real
    assert len({system.files.identity(path) for path in real if path}) == 1


def test_what_was_found_is_read_as_it_was_kept(tmp_path: Path) -> None:
    noted = cache((0x0303, "liby.so", "/opt/y/liby.so", 0))
    files = {"etc/ld.so.cache": noted, "opt/y/liby.so": LIBRARY, "usr/lib/x.so": b"text"}
    system = found(files, {"lib": "usr/lib"})
    path = tmp_path / "system.json"
    path.write_bytes(systems.SYSTEM.dump_json(system))
    assert systems.load(path) == system


@pytest.mark.parametrize("platform", Platform)
def test_every_platform_has_a_loader(platform: Platform) -> None:
    assert systems.LOADERS[platform].startswith("/lib")
