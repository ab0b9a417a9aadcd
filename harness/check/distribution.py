"""The wheels that a requirement stands for: of one version, for Linux, fetched from the index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from harness import index
from harness.check.builds import OLDEST, Python
from harness.errors import NoSuchWheelError, TargetError
from harness.lock import LockedWheel

LINUX = re.compile(r"(?:manylinux|musllinux|linux)(?:\d+|_\d+_\d+)?_(?P<cpu>\w+)")


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A version of a project, and those of its wheels that were asked for."""

    name: str
    version: str
    wheels: tuple[LockedWheel, ...]
    of: int
    """How many wheels there are in all."""

    def fetch(self) -> Iterator[Path]:
        """The files, from the cache or downloaded now."""
        return (index.fetch(wheel) for wheel in self.wheels)


def find(requirement: str, pythons: Sequence[Python], cpus: Sequence[str]) -> Distribution:
    """Every wheel for Linux of a pinned requirement, else of the newest version.

    ``pythons`` and ``cpus`` leave out wheels that are for others. Raises :class:`TargetError` for
    a requirement of another kind, and :class:`NoSuchWheelError` where nothing is left.
    """
    name, version = _parse(requirement)
    version = version or index.newest(name)
    found = index.wheels(name, version)
    chosen = tuple(wheel for wheel in found if _is_wanted(wheel, pythons, cpus))
    if not chosen:
        raise NoSuchWheelError(
            f"{name} {version} has no such wheel for Linux", advice=_what_there_is(found)
        )
    return Distribution(name=name, version=version, wheels=chosen, of=len(found))


def _parse(text: str) -> tuple[str, str | None]:
    """Name and version; no version where any will do."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise TargetError(
            f"{text!r} is neither a file nor a requirement",
            advice="Name a wheel, a directory, an environment, a library, or a requirement such "
            "as python-mscl==67.0.1.0.",
        ) from error
    specifiers = list(requirement.specifier)
    if not specifiers:
        return requirement.name, None
    one = specifiers[0]
    if len(specifiers) > 1 or one.operator not in ("==", "===") or one.version.endswith(".*"):
        raise TargetError(
            f"{text} does not say which version to check",
            advice=f"Name one, as in {requirement.name}==1.0, or none for the newest.",
        )
    return requirement.name, one.version


def _tags(wheel: LockedWheel) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(wheel.filename)[3]
    except InvalidWheelFilename:
        return frozenset()


def _is_wanted(wheel: LockedWheel, pythons: Sequence[Python], cpus: Sequence[str]) -> bool:
    return any(_is_for(tag, pythons, cpus) for tag in _tags(wheel))


def _is_for(tag: Tag, pythons: Sequence[Python], cpus: Sequence[str]) -> bool:
    if tag.platform == "any":
        return True
    match = LINUX.fullmatch(tag.platform)
    if match is None or (cpus and match["cpu"] not in cpus):
        return False
    first, abi = Python.parse(tag.interpreter), Python.parse(tag.abi)
    if tag.interpreter == "py3":
        return True
    if tag.abi == "abi3":
        later = [one for one in pythons if first and one >= first and "t" not in one.flags]
        return first is not None and (not pythons or bool(later))
    one = abi or (first if tag.abi == "none" else None)
    # Not for CPythons that there are no builds of, nor for PyPy.
    return one is not None and one.minor >= OLDEST and (not pythons or one in pythons)


def _what_there_is(wheels: Sequence[LockedWheel]) -> str:
    tags = [
        (tag, match["cpu"])
        for wheel in wheels
        for tag in _tags(wheel)
        if (match := LINUX.fullmatch(tag.platform))
    ]
    if not tags:
        return "None of its wheels is for Linux."
    kinds = sorted({f"{tag.interpreter}-{tag.abi}" for tag, _ in tags})
    cpus = sorted({cpu for _, cpu in tags})
    return f"Those for Linux are {', '.join(kinds)}, on {', '.join(cpus)}."
