"""What a new matrix is to test: what its author names, or what lies there, or a sample."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from harness import buildsystem, index, inputs, trial
from harness.errors import ConfigurationError, FetchError, NoSuchWheelError
from harness.lock import LockedWheel
from harness.matrix import NAME, Expectation, Extension, Matrix
from harness.pins import pinned
from harness.platforms import Platform
from harness.why import printable

SAMPLE = "libpython-needed"
"""What stands in the new file where there is nothing of the author's: something that breaks."""

INDEXED = "As its users install it"
"""Of a package of the index."""

WHEELS = "dist/*.whl"
"""Where build front ends put wheels."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An extension for a new matrix, with what is known of it."""

    name: str
    sample: Extension
    platforms: tuple[Platform, ...]
    """Those that it has wheels for; all, where that is not known."""
    wheels: dict[str, dict[Platform, tuple[LockedWheel, ...]]] | None = None
    """Of a requirement: by CPython and platform; None where the index did not say."""
    expectations: tuple[Expectation, ...] = ()
    """Of one of the project's own: what is known to happen."""
    version: str | None = None
    """Of wheels of the author's own, where it is known."""
    is_placeholder: bool = False
    """Whether it only shows the place for the author's own."""
    told: tuple[str, ...] = ()
    """Sentences about what was taken, and what is still to be done."""


def find(asked: str | None, directory: Path, own: Matrix) -> Candidate:
    """The extension for a matrix in ``directory``: the one ``asked`` for, else what lies there.

    ``asked`` is the name of one of the project's own extensions, a requirement, or wheel files (a
    path or glob, as seen from the current directory). Raises :class:`ConfigurationError` or
    :class:`NoSuchWheelError` where that is none of these.
    """
    if asked is None:
        return _lying_there(directory, own) or _of_the_project(SAMPLE, own, is_placeholder=True)
    if asked in own.extensions:
        return _of_the_project(asked, own)
    if asked.endswith(".whl"):
        files = _glob(Path(), asked)
        if not files:
            raise NoSuchWheelError(
                f"there is no file {printable(asked)} in {Path().absolute()}",
                advice="Build the wheel first, or leave --extension out to prepare for it.",
            )
        _require_one({_distribution(file) for file in files}, asked)
        found = _of_wheels(_seen_from(directory, asked), files, own)
        if not found.platforms:
            raise NoSuchWheelError(
                f"{printable(asked)} has no wheel for CPython {', '.join(own.python)} on Linux",
                advice=f"What is there: {', '.join(printable(file.name) for file in files)}.",
            )
        return found
    return _of_requirement(asked, own)


def _of_the_project(name: str, own: Matrix, *, is_placeholder: bool = False) -> Candidate:
    base = next(iter(own.bases))
    rules = [
        rule.model_copy(update={"extension": (name,), "remedy": (), "base": ()})
        for rule in own.expectations
        if _any(rule.extension, name)
        and (not rule.base or _any(rule.base, base))
        and (not rule.remedy or _any(rule.remedy, "none"))
    ]
    told = f"extension {name}: a sample of pbs-matrix"
    if is_placeholder:
        told += ", since there is neither a pyproject.toml nor a wheel here; put yours in its place"
    return Candidate(
        name=name,
        sample=own.extensions[name],
        platforms=own.platforms,
        expectations=tuple(rules),
        is_placeholder=is_placeholder,
        told=(told,),
    )


def _any(globs: Sequence[str], value: str) -> bool:
    return any(fnmatchcase(value, glob) for glob in globs)


def _lying_there(directory: Path, own: Matrix) -> Candidate | None:
    """The project in this directory, or in the current one if that is further up."""
    places = [directory.absolute()]
    if places[0].is_relative_to(Path().absolute()):
        places.append(Path().absolute())
    for place in places:
        declared, version = _declared(place / "pyproject.toml")
        files = {file: _distribution(file) for file in _glob(place, WHEELS)}
        names = sorted({*files.values()})
        name = declared or (names[0] if len(names) == 1 else None)
        if name is None:
            _require_one(names, WHEELS)
            continue
        mine = [file for file, distribution in files.items() if distribution == name]
        escaped = mine[0].name.partition("-")[0] if mine else name.replace("-", "_")
        pattern = os.path.relpath(place / "dist" / f"{escaped}-*.whl", directory.absolute())
        found = _of_wheels(pattern, mine, own)
        if found.platforms:
            return found
        lacking = f"dist/ has no wheel of it for CPython {' or '.join(own.python)} yet"
        return replace(
            found,
            platforms=own.platforms,
            version=version,
            told=(*found.told, f"{lacking}: build one first, such as with `uv build --wheel`"),
        )
    return None


def _require_one(names: Collection[str], pattern: str) -> None:
    if len(names) > 1:
        raise ConfigurationError(
            f"{printable(pattern)} are wheels of several projects: {', '.join(sorted(names))}",
            advice="Say which with --extension dist/NAME-*.whl.",
        )


def _declared(path: Path) -> tuple[str | None, str | None]:
    """Name and version in a pyproject.toml; None for what it has not, or not as plain text."""
    try:
        document = inputs.toml(path, most=buildsystem.MOST_BYTES)
    except FileNotFoundError:
        return None, None
    except (OSError, inputs.Mistake) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"{path} cannot be read: {problem}",
            advice="Correct it, or say with --extension what to test.",
        ) from None
    table = document.get("project")
    name, version = (table.get(k) if isinstance(table, dict) else None for k in ("name", "version"))
    return (
        canonicalize_name(name) if isinstance(name, str) else None,
        _version(version) if isinstance(version, str) else None,
    )


def _version(text: str) -> str | None:
    """A version in its normal form; None where it is none."""
    try:
        return str(Version(text))
    except InvalidVersion:
        return None


def _distribution(wheel: Path) -> str:
    return canonicalize_name(wheel.name.partition("-")[0])


def _glob(place: Path, pattern: str) -> list[Path]:
    """Files by a pattern, which may be an absolute one."""
    start = Path(pattern)
    if start.is_absolute():
        place, pattern = start.parent, start.name
    return sorted(path for path in place.glob(pattern) if path.is_file())


def _seen_from(directory: Path, pattern: str) -> str:
    """A pattern as a matrix file in a directory has to write it; an absolute one stays that."""
    return pattern if Path(pattern).is_absolute() else os.path.relpath(pattern, directory)


def _of_wheels(pattern: str, files: Sequence[Path], own: Matrix) -> Candidate:
    """Wheel files of the author's own; of no platform where none fits."""
    fits = {
        platform: next(file for file in files if file.name == named)
        for platform in own.platforms
        for python in own.python
        if (named := index.fitting([file.name for file in files], python, platform))
    }
    best = next(iter(fits.values()), None)
    shown = best or (files[0] if files else Path(pattern))
    distribution, version = [*shown.name.split("-"), ""][:2]
    name = _checked(canonicalize_name(distribution))
    module = trial.top_level(best, distribution) if best else _guessed_module(name)
    return Candidate(
        name=name,
        sample=Extension(about="The wheel that is built here", wheel=pattern, imports=module),
        platforms=tuple(fits),
        version=_version(version),
        told=(f"extension {name}: {printable(pattern)}, imported as {module}",),
    )


def _of_requirement(text: str, own: Matrix) -> Candidate:
    """A package of the index, pinned; where that does not answer, only what was typed."""
    try:
        tried = trial.of_requirement(text, own)
    except FetchError as error:
        try:
            name = canonicalize_name(Requirement(pinned(text)).name)
        except ValueError:
            raise error from None
        sample = Extension(about=INDEXED, requirement=text, imports=_guessed_module(name))
        return Candidate(
            name=_checked(name),
            sample=sample,
            platforms=own.platforms,
            told=(
                f"extension {name}: {printable(text)}, thought to be imported as {sample.imports}",
                f"{printable(error.problem)}: run `pbs-matrix lock` where the index can be reached",
            ),
        )
    there = {platform for by_platform in tried.wheels.values() for platform in by_platform}
    sample = tried.sample.model_copy(update={"about": INDEXED})
    return Candidate(
        name=_checked(tried.name),
        sample=sample,
        platforms=tuple(platform for platform in own.platforms if platform in there),
        wheels=tried.wheels,
        told=(
            f"extension {tried.name}: {sample.requirement}, imported as {sample.imports}",
            *map(printable, tried.lacking),
        ),
    )


def _guessed_module(name: str) -> str:
    """What a distribution is imported as if it does not say otherwise."""
    module = re.sub(r"\W", "_", name)
    return module if module.isidentifier() else f"_{module}"


def _checked(name: str) -> str:
    if not re.match(NAME, name):
        raise ConfigurationError(
            f"{printable(name)!r} is no name of a Python project",
            advice="Say with --extension what to test.",
        )
    return name
