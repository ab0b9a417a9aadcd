"""Making matrix.lock: asking the package index and the uv programs themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import buildsystem, extensions, index, tools, uvbinary
from harness.lock import Lock, LockedUv, LockedWheel
from harness.matrix import Matrix
from harness.platforms import Platform


def make(matrix: Matrix, say: Callable[[str], None], *, beside: Path) -> Lock:
    """Find out everything that the matrix names. Needs the package index, not an engine.

    ``beside`` is the directory of the matrix file, which ``source`` is relative to.
    """
    entries = (matrix, *matrix.entries)
    upgraded = filter(None, [matrix.upgrade_from])
    versions = tuple(dict.fromkeys((*_union(entries, "uv"), *upgraded)))
    pythons = _union(entries, "python")
    platforms = tuple(Platform(name) for name in _union(entries, "platforms"))
    wanted = _requirements(matrix, platforms, beside)

    def lock_uv(version: str) -> tuple[str, LockedUv]:
        locked = _lock_uv(version, pythons, platforms)
        for python, by_platform in locked.defaults.items():
            releases = ", ".join(f"{d.release} on {p}" for p, d in by_platform.items())
            say(f"uv {version} installs CPython {python} of {releases}")
        return version, locked

    def lock_wheels(job: tuple[tuple[str, Platform], str]) -> tuple[LockedWheel, ...]:
        (requirement, platform), python = job
        return wheels_of(requirement, python, platform)

    jobs = list(product(wanted, pythons))
    wheels: dict[str, dict[str, dict[Platform, tuple[LockedWheel, ...]]]] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        uv = dict(pool.map(lock_uv, versions))
        for (pair, python), found in zip(jobs, pool.map(lock_wheels, jobs), strict=True):
            requirement, platform = pair
            wheels.setdefault(requirement, {}).setdefault(python, {})[platform] = found
            say(f"{requirement} on {platform}: {', '.join(wheel.filename for wheel in found)}")
    return Lock(uv=uv, wheels=wheels)


def _requirements(
    matrix: Matrix, platforms: tuple[Platform, ...], beside: Path
) -> tuple[tuple[str, Platform], ...]:
    """Every requirement to lock, with its platform.

    Those of extensions, of what builds samples, and of what measures interpreters.

    Samples are built by programs of the machine's own platform, whatever they are built for, so
    what builds them is locked for every platform that a machine may have.
    """
    pairs: list[tuple[str, Platform]] = []
    for extension in matrix.extensions.values():
        if extension.requirement is not None:
            pairs += product([extension.requirement], platforms)
        if extension.source is None:
            continue
        folder = extensions.find_source(extension.source, beside)
        if extensions.is_project(folder):
            pairs += product(buildsystem.read(folder).requires, Platform)
    pairs += product(matrix.benchmarks, Platform)
    return tuple(dict.fromkeys(pairs))


def _union(entries: tuple[object, ...], axis: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v for entry in entries for v in getattr(entry, axis) or ()))


def _lock_uv(version: str, pythons: tuple[str, ...], platforms: tuple[Platform, ...]) -> LockedUv:
    host = Platform.host()
    wanted = dict.fromkeys((*platforms, *([host] if host else ())))
    wheels = {platform: index.find("uv", version, "3.13", platform) for platform in wanted}
    program = uvbinary.fetch(wheels[host or platforms[0]])
    return LockedUv(
        wheels=wheels,
        defaults={
            python: {
                platform: uvbinary.default_interpreter(program, python, platform)
                for platform in platforms
            }
            for python in pythons
        },
    )


def wheels_of(requirement: str, python: str, platform: Platform) -> tuple[LockedWheel, ...]:
    """A pinned requirement's wheel, then those of what it depends on, as uv resolves it."""
    asked = Requirement(requirement)
    (pin,) = asked.specifier
    first = index.find(asked.name, pin.version, python, platform)
    resolved = tools.run(
        [tools.find("uv", advice="pip install uv"), "pip", "compile", "--quiet", "--no-config"]
        + ["--no-header", "--no-annotate", "--only-binary", ":all:"]
        # Whatever Python runs uv's questions; else it tries all that it finds on PATH.
        + ["--python", sys.executable]
        + ["--python-version", python, "--python-platform", f"{platform}-manylinux_2_40"]
        + ["--default-index", index.endpoint(), "-"],
        doing=f"resolving {requirement} for CPython {python} on {platform}",
        text=requirement,
    )
    others = [
        index.find(dependency.name, next(iter(dependency.specifier)).version, python, platform)
        for dependency in map(Requirement, filter(None, resolved.splitlines()))
        if canonicalize_name(dependency.name) != canonicalize_name(asked.name)
    ]
    return (first, *others)
