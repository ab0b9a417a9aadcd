"""Targets made of nothing but what the loader reads, for tests of what is said about them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.check.target import SCRIPTS, SITE, Module, Target
from harness.loader.files import Files
from harness.loader.objects import X86_64, Architecture, Object

LIBPYTHON = "libpython3.13.so.1.0"
SUFFIX = ".cpython-313-x86_64-linux-gnu.so"
TAG = "cp313-cp313-manylinux_2_17_x86_64"


def library(
    *needed: str,
    rpath: str | None = None,
    runpath: str | None = None,
    soname: str | None = None,
    architecture: Architecture = X86_64,
) -> Object:
    """An ELF file that needs some names."""
    return Object(
        architecture=architecture, needed=needed, rpath=rpath, runpath=runpath, soname=soname
    )


def target(
    modules: Mapping[str, Object] | None = None,
    libraries: Mapping[str, Object] | None = None,
    programs: Mapping[str, Object] | None = None,
    *,
    reached: frozenset[str] = frozenset(),
    tags: frozenset[str] = frozenset({TAG}),
    is_musl: bool = False,
    unreadable: Mapping[str, str] | None = None,
) -> Target:
    """A target by its files: modules by file name, others by path, programs by name."""
    modules, libraries, programs = modules or {}, libraries or {}, programs or {}
    files = {f"{SITE}/{name}": content for name, content in {**modules, **libraries}.items()}
    files |= {f"{SCRIPTS}/{name}": content for name, content in programs.items()}
    return Target(
        name="made-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        files=Files(files=files),
        modules=tuple(
            Module(
                name=name.partition(".")[0].replace("/", "."),
                path=f"{SITE}/{name}",
                suffix="." + name.partition(".")[2],
            )
            for name in modules
        ),
        reached=reached,
        programs=tuple(f"{SCRIPTS}/{name}" for name in programs),
        tags=tags,
        architectures=frozenset(content.architecture for content in files.values()),
        is_musl=is_musl,
        unreadable=dict(unreadable or {}),
    )
