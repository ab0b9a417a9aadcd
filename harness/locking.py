"""Making matrix.lock: asking the package index and the uv programs themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness import buildsystem, extensions, index, tools, uvbinary
from harness.lock import Lock, LockedDefault, LockedUv, LockedWheel
from harness.matrix import Matrix
from harness.platforms import Platform
from harness.releasechoice import LATEST


def make(matrix: Matrix, say: Callable[[str], None], *, beside: Path) -> Lock:
    """Find out everything that the matrix names. Needs the package index, not an engine.

    ``beside`` is the directory of the matrix file, which ``source`` is relative to.
    """
    entries = (matrix, *matrix.entries)
    upgraded = filter(None, [matrix.upgrade_from])
    named = dict.fromkeys((*_union(entries, "uv"), *upgraded))
    # What the latest is, each run finds out.
    versions = tuple(version for version in named if not LATEST.fullmatch(version))
    pythons = _union(entries, "python")
    platforms = _platforms(matrix)
    wanted = requirements(matrix, platforms, beside)

    before = lock_uv(matrix.upgrade_from, matrix) if matrix.upgrade_from else None

    def lock_one(version: str) -> tuple[str, LockedUv]:
        locked = lock_uv(version, matrix, before)
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
        uv = dict(pool.map(lock_one, versions))
        for (pair, python), found in zip(jobs, pool.map(lock_wheels, jobs), strict=True):
            requirement, platform = pair
            wheels.setdefault(requirement, {}).setdefault(python, {})[platform] = found
            say(f"{requirement} on {platform}: {', '.join(wheel.filename for wheel in found)}")
    return Lock(uv=uv, wheels=wheels)


def requirements(
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


def _platforms(matrix: Matrix) -> tuple[Platform, ...]:
    return tuple(Platform(name) for name in _union((matrix, *matrix.entries), "platforms"))


def _union(entries: tuple[object, ...], axis: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v for entry in entries for v in getattr(entry, axis) or ()))


def lock_uv(version: str, matrix: Matrix, before: LockedUv | None = None) -> LockedUv:
    """A uv version, with what it installs of every CPython and platform that a matrix names.

    ``before`` is the matrix's ``upgrade_from``, whose interpreters a newer uv may reinstall. Raises
    :class:`harness.errors.HarnessError` where the index or that uv does not say it.
    """
    host, platforms = Platform.host(), _platforms(matrix)
    wanted = dict.fromkeys((*platforms, *([host] if host else ())))
    wheels = {platform: index.find("uv", version, "3.13", platform) for platform in wanted}
    program = uvbinary.fetch(wheels[host or platforms[0]])
    is_newer = matrix.upgrade_from and Version(version) > Version(matrix.upgrade_from)
    return LockedUv(
        wheels=wheels,
        reinstalls=_reinstalls(program, before.defaults) if before and is_newer else {},
        defaults={
            python: {
                platform: uvbinary.default_interpreter(program, python, platform)
                for platform in platforms
            }
            for python in _union((matrix, *matrix.entries), "python")
        },
    )


def _reinstalls(
    program: Path, installed: Mapping[str, Mapping[Platform, LockedDefault]]
) -> dict[str, dict[Platform, LockedDefault]]:
    """What a uv has of the very versions that another had installed."""
    found: dict[str, dict[Platform, LockedDefault]] = {}
    for python, by_platform in installed.items():
        for platform, old in by_platform.items():
            again = uvbinary.reinstalled(program, old.version, python, platform)
            if again is not None:
                found.setdefault(python, {})[platform] = again
    return found


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
