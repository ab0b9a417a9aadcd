"""The package index: finding and fetching wheels for any platform, from PyPI or a mirror of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import cache as memoize
from pathlib import Path
from typing import TYPE_CHECKING, Self

from packaging import tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from harness import cache, network, wheelfile
from harness.errors import FetchError, HashMismatchError, NoSuchWheelError
from harness.lock import LockedWheel
from harness.platforms import Platform

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

NEWEST_GLIBC = 41
"""Minor version of the newest glibc (2.x) that a base image has: Debian 13's."""


def endpoint() -> str:
    """URL of the simple index: what uv and pip are told by environment variable, else PyPI."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if url := os.environ.get(variable):
            return url
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return str(PYPI_SIMPLE_ENDPOINT)


def find(name: str, version: str, python: str, platform: Platform) -> LockedWheel:
    """The best wheel of a version for a CPython and a platform.

    Raises :class:`NoSuchWheelError` saying what there is instead.
    """
    packages = [package for package in _project(name) if package.version == version]
    if not packages:
        known = list(dict.fromkeys(p.version for p in _project(name) if p.version))
        raise NoSuchWheelError(
            f"the index has no {name} {version}",
            advice=f"Its newest versions there are: {', '.join(known[-5:]) or 'none'}.",
        )
    wheels = {p.filename: p for p in packages if p.package_type == "wheel"}
    best = fitting(list(wheels), python, platform)
    if best is None:
        raise NoSuchWheelError(
            f"{name} {version} has no wheel for CPython {python} on {platform}",
            advice=f"Its wheels are: {', '.join(wheels) or 'none, only source'}.",
        )
    return _locked(wheels[best])


def wheels(name: str, version: str) -> tuple[LockedWheel, ...]:
    """Every wheel of a version; :class:`NoSuchWheelError` where it has none."""
    packages = [package for package in _project(name) if package.version]
    found = [p for p in packages if p.version == version and p.package_type == "wheel"]
    if not found:
        known = list(dict.fromkeys(str(p.version) for p in packages if p.package_type == "wheel"))
        raise NoSuchWheelError(
            f"the index has no wheel of {name} {version}",
            advice=f"Versions with wheels there are: {', '.join(known[-5:]) or 'none'}.",
        )
    return tuple(_locked(package) for package in found)


def _locked(package: DistributionPackage) -> LockedWheel:
    sha256 = (package.digests or {}).get("sha256")
    if sha256 is None:
        raise FetchError(
            f"the index gives no sha256 for {package.filename}",
            advice="Use an index that does, such as PyPI; the variable is UV_DEFAULT_INDEX.",
        )
    return LockedWheel(filename=package.filename, sha256=sha256)


def fetch(wheel: LockedWheel) -> Path:
    """The file of a locked wheel, from the cache or downloaded and checked against its sha256."""
    # A folder for each, since installers read a wheel's tags from its whole name.
    made = cache.entry(
        "wheels",
        wheel.sha256,
        lambda folder: _into(folder, wheel),
        check=lambda folder: _is_locked(folder, wheel),
    )
    return made / wheel.filename


def download(wheel: LockedWheel, folder: Path) -> Path:
    """The file of a locked wheel, checked as by :func:`fetch`, in a folder that this makes.

    For what is looked at once; from the cache where it is there.
    """
    if (cached := cache.existing("wheels", wheel.sha256)) and _is_locked(cached, wheel):
        return cached / wheel.filename
    _into(folder, wheel)
    return folder / wheel.filename


def _is_locked(folder: Path, wheel: LockedWheel) -> bool:
    """Whether a folder has the wheel, and nothing has changed it since."""
    with suppress(OSError):
        return cache.file_digest(folder / wheel.filename) == wheel.sha256
    return False


def _into(folder: Path, wheel: LockedWheel) -> None:
    name = wheel.filename.partition("-")[0]
    found = [p for p in _project(name) if p.filename == wheel.filename]
    if not found:
        raise NoSuchWheelError(
            f"the index no longer has {wheel.filename}",
            advice="Run `pbs-matrix lock` to choose again, or use an index that has it.",
        )
    folder.mkdir()
    path = folder / wheel.filename
    with _explained(wheel.filename), _client() as client:
        client.download_package(
            found[0], path, verify=False, timeout=network.TIMEOUT, progress=lambda _: _Counted(path)
        )
    actual = cache.file_digest(path)
    if actual != wheel.sha256:
        raise HashMismatchError(
            f"{wheel.filename} from the index has sha256 {actual}, "
            f"but matrix.lock says {wheel.sha256}",
            advice="Do not use it. If the index was changed on purpose, run `pbs-matrix lock`.",
        )
    wheelfile.vet(path)


class _Counted:
    """What is told of each piece of a download, and ends one that does not come to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing: it is only counted."""

    def update(self, increment: int) -> None:
        """Raises :class:`FetchError`."""
        self._size += increment
        if self._size > wheelfile.MAX_PACKED:
            raise FetchError(
                f"{self._path.name} from the index has more than {wheelfile.MAX_PACKED} bytes",
                advice="No wheel has: look at what answers there.",
            )


@memoize
def _project(name: str) -> tuple[DistributionPackage, ...]:
    """Every file of a project, oldest version first."""
    from pypi_simple import NoSuchProjectError

    with _explained(name), _client() as client:
        try:
            return tuple(client.get_project_page(name, timeout=network.TIMEOUT).packages)
        except NoSuchProjectError:
            raise NoSuchWheelError(
                f"the index has no project called {name!r}", advice="Check the spelling."
            ) from None


def _client() -> PyPISimple:
    # Only here: it takes long to load, and most runs have every wheel already.
    from pypi_simple import PyPISimple

    return PyPISimple(endpoint())


def _explained(what: str) -> AbstractContextManager[None]:
    return network.explained(
        f"{what} from the package index {endpoint()}",
        advice="Check the network and proxy, or name a mirror with UV_DEFAULT_INDEX.",
    )


def fitting(filenames: Iterable[str], python: str, platform: Platform) -> str | None:
    """Of some wheels, by their file names, the one that installers take; None where none fits."""
    rank = {tag: place for place, tag in enumerate(_supported(python, platform))}
    places = {
        filename: min((rank[tag] for tag in _tags(filename) if tag in rank), default=None)
        for filename in filenames
    }
    fits = {filename: place for filename, place in places.items() if place is not None}
    return min(fits, key=lambda filename: fits[filename], default=None)


def newest(name: str) -> str:
    """The newest version of a project that has a wheel; a pre-release only if there is no other.

    Raises :class:`NoSuchWheelError` where there is none.
    """
    return candidates(name)[-1]


def candidates(name: str) -> tuple[str, ...]:
    """What installers choose among, oldest first: versions with a wheel that are not withdrawn.

    Pre-releases only if there is nothing else. Raises :class:`NoSuchWheelError` where there is
    none.
    """
    there = {
        Version(package.version)
        for package in _project(name)
        if package.package_type == "wheel" and package.version and not package.is_yanked
    }
    if not there:
        raise NoSuchWheelError(
            f"the index has no wheel of {name}", advice="Only wheels can be tried, not sources."
        )
    stable = {version for version in there if not version.is_prerelease}
    return tuple(str(version) for version in sorted(stable or there))


def _tags(filename: str) -> frozenset[tags.Tag]:
    try:
        return parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return frozenset()


def _supported(python: str, platform: Platform) -> Iterator[tags.Tag]:
    """Tags that a CPython on a platform accepts, best first."""
    version = tuple(int(part) for part in python.split("."))
    names = list(_platform_names(platform))
    yield from tags.cpython_tags(version, platforms=names)
    yield from tags.compatible_tags(version, f"cp{python.replace('.', '')}", names)


def _platform_names(platform: Platform) -> Iterator[str]:
    aliases = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    # aarch64 has no manylinux before 2014.
    oldest = 17 if platform is Platform.AARCH64 else 5
    for minor in range(NEWEST_GLIBC, oldest - 1, -1):
        yield f"manylinux_2_{minor}_{platform}"
        if minor in aliases:
            yield f"{aliases[minor]}_{platform}"
    yield f"linux_{platform}"
