"""An environment's own interpreter, and what the loader finds on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import elf, ldcache
from harness.check.builds import Libc, Machine, Python
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable
from harness.loader.process import System, Variables

CACHE = Path("/etc/ld.so.cache")
DIRECTORIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
"""Where loaders look by default, after Debian's own ones; what is not there is left out."""


@dataclass(frozen=True, kw_only=True)
class Here:
    """A real interpreter, with the machine around it."""

    program: str
    """The executable itself, links followed."""
    python: Python
    machine: Machine
    variables: Variables
    """This process's own LD_LIBRARY_PATH and LD_PRELOAD."""

    def system(self, needed: Iterable[str]) -> System:
        """The machine's libraries: those with these names, and all that they need."""
        directories = _directories(self.machine)
        cache = _cache(self.machine) if self.machine.libc is Libc.GLIBC else {}
        lib = Path(self.program).parents[1] / "lib"
        own = [str(path) for path in lib.glob("libpython3*")]
        found: dict[str, Object | Unloadable] = {}
        paths = [self.program, *own]
        names = list(needed)
        variable = [part for part in self.variables.library_path.split(":") if part]
        asked: set[str] = set()
        while paths or names:
            for path in paths:
                content = _read(path)
                if content is not None:
                    found[path] = content
                    names += content.needed if isinstance(content, Object) else ()
            fresh = [name for name in dict.fromkeys(names) if name not in asked]
            asked.update(fresh)
            names = []
            paths = [
                path
                for name in fresh
                for path in (
                    [name]
                    if "/" in name
                    else [*(f"{d}/{name}" for d in (*variable, *directories)), *cache.get(name, ())]
                )
                if path not in found and Path(path).is_file()
            ]
        twins = {path: os.path.realpath(path) for path in found}
        return System(
            files=Files(files=found, twins={p: real for p, real in twins.items() if p != real}),
            directories=directories,
            cache=cache,
        )


def of_environment(environment: Path) -> Here | None:
    """The interpreter that an environment starts; None where there is none to be read."""
    program = environment / "bin" / "python"
    version = _version(environment / "pyvenv.cfg")
    if version is None or not program.exists():
        return None
    real = os.path.realpath(program)
    content = _read(real)
    if not isinstance(content, Object):
        return None
    is_musl = "musl" in (content.interpreter or "")
    name = Path(real).name
    flags = name.lstrip("python0123456789.") if name.startswith("python") else ""
    return Here(
        program=real,
        python=Python(version, flags if flags in ("t", "d", "td") else ""),
        machine=Machine(content.architecture, Libc.MUSL if is_musl else Libc.GLIBC),
        variables=Variables(
            library_path=os.environ.get("LD_LIBRARY_PATH", ""),
            preload=os.environ.get("LD_PRELOAD", ""),
        ),
    )


def _version(path: Path) -> int | None:
    """The minor version of CPython 3 that a pyvenv.cfg names; uv and venv spell it differently."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("version", "version_info"):
            major, _, rest = value.strip().partition(".")
            minor = rest.partition(".")[0]
            return int(minor) if major == "3" and minor.isdigit() else None
    return None


def _directories(machine: Machine) -> tuple[str, ...]:
    multiarch = sorted(map(str, Path("/lib").glob(f"{machine.cpu}-linux-*")))
    debian = [directory for name in multiarch for directory in (name, f"/usr{name}")]
    return tuple(d for d in (*debian, *DIRECTORIES) if Path(d).is_dir())


def _cache(machine: Machine) -> dict[str, tuple[str, ...]]:
    try:
        return ldcache.parse(CACHE.read_bytes(), machine.architecture)
    except OSError:
        return {}


def _read(path: str) -> Object | Unloadable | None:
    try:
        with Path(path).open("rb") as stream:
            return elf.read_object(stream)
    except OSError:
        return None
