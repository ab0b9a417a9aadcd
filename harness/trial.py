"""One package through the whole matrix, without a line in any file."""

from __future__ import annotations

import posixpath
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness import index, locking
from harness.errors import (
    ConfigurationError,
    NoSuchWheelError,
    SelectionError,
    TargetError,
)
from harness.lock import Lock, LockedWheel
from harness.matrix import Extension, Matrix
from harness.outcome import Outcome, Reason
from harness.plan import Cell, Expected, Selection, plan
from harness.platforms import Platform
from harness.resolution import Resolution
from harness.results import Result
from harness.verdict import Status

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A package to try: its name, where it comes from and what is imported, and its pins."""

    name: str
    sample: Extension
    wheels: dict[str, dict[Platform, tuple[LockedWheel, ...]]]
    """Of a requirement: by CPython and platform, where there are any."""
    lacking: tuple[str, ...] = ()
    """Sentences about the combinations that it has no wheel for."""


def of_requirement(text: str, matrix: Matrix, *, imports: str | None = None) -> Trial:
    """A package of the index; without a version, the newest.

    Raises :class:`NoSuchWheelError` where there is no wheel for any platform of the matrix.
    """
    try:
        asked = Requirement(text)
    except InvalidRequirement as error:
        raise ConfigurationError(
            f"{text!r} is no requirement: {error}".splitlines()[0],
            advice="Write it as python-mscl==67.0.1.0, or name a wheel file.",
        ) from None
    pins = [s.version for s in asked.specifier if s.operator == "==" and "*" not in s.version]
    if asked.specifier and not pins:
        raise ConfigurationError(
            f"{text!r} does not say one version",
            advice=f"Write {asked.name}==VERSION, or only {asked.name} for the newest.",
        )
    requirement = f"{asked.name}=={pins[0] if pins else index.newest(asked.name)}"
    found: dict[str, dict[Platform, tuple[LockedWheel, ...]]] = {}
    problems: list[NoSuchWheelError] = []
    for python in matrix.python:
        for platform in matrix.platforms:
            try:
                wheels = locking.wheels_of(requirement, python, platform)
            except NoSuchWheelError as error:
                problems.append(error)
            else:
                found.setdefault(python, {})[platform] = wheels
    if not found:
        raise problems[0]
    first = next(wheels[0] for by in found.values() for wheels in by.values())
    module = imports or top_level(index.fetch(first), asked.name)
    return Trial(
        name=canonicalize_name(asked.name),
        sample=Extension(requirement=requirement, imports=module),
        wheels=found,
        lacking=tuple(problem.problem for problem in problems),
    )


def of_wheel(path: Path, *, imports: str | None = None) -> Trial:
    """A wheel file of the user's own, without what it depends on."""
    name = path.name.partition("-")[0]
    sample = Extension(wheel=str(path.absolute()), imports=imports or top_level(path, name))
    return Trial(name=canonicalize_name(name), sample=sample, wheels={})


def top_level(wheel: Path, distribution: str) -> str:
    """What a wheel is imported as: of several, the one named like it, else the one with most files.

    Raises :class:`TargetError` where it holds nothing that could be imported.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise TargetError(
            f"{wheel} is no wheel: {error}", advice="Download or build it again."
        ) from None
    sizes: Counter[str] = Counter()
    for name in names:
        first, _, rest = name.partition("/")
        if first.endswith((".dist-info", ".libs")):
            continue
        if first.endswith(".data"):
            kind, _, rest = rest.partition("/")
            if kind not in ("purelib", "platlib"):
                continue
            first, _, rest = rest.partition("/")
        is_code = posixpath.basename(name).endswith((".py", ".so"))
        stem = first if rest else first.partition(".")[0]
        if is_code and stem.isidentifier():
            sizes[stem] += 1
    if not sizes:
        raise TargetError(
            f"{wheel.name} holds no module that could be imported",
            advice="Name what to import with --imports.",
        )
    alike = [n for n in sizes if canonicalize_name(n) == canonicalize_name(distribution)]
    return alike[0] if alike else max(sizes, key=lambda name: sizes[name])


def cells_of(
    trial: Trial,
    matrix: Matrix,
    lock: Lock,
    *,
    profile: str,
    resolution: Resolution,
    selection: Selection,
) -> tuple[tuple[Cell, ...], Matrix, Lock]:
    """The trial's cells in the environments of a profile, with the matrix and lock that has it."""
    only = {"extensions": (trial.name,), "checks": None, "include": ()}
    own = matrix.model_copy(
        update={
            "extensions": {trial.name: trial.sample},
            "checks": {},
            "include": (),
            "expectations": (),
            "profiles": {
                name: chosen.model_copy(update=only) for name, chosen in matrix.profiles.items()
            },
        }
    )
    requirement = trial.sample.requirement
    if requirement is not None:
        lock = lock.model_copy(update={"wheels": {**lock.wheels, requirement: trial.wheels}})
    planned = plan(
        own,
        lock,
        profile=profile,
        source=resolution.source,
        names=resolution.names,
        selection=selection,
    )
    there = tuple(cell for cell in planned if _has_wheel(trial, cell))
    if not there:
        raise SelectionError(
            f"{trial.name} has no wheel for any of the {len(planned)} environments selected",
            advice="Select others, or look at the wheel's tags.",
        )
    return there, own, lock


def _has_wheel(trial: Trial, cell: Cell) -> bool:
    interpreter = cell.environment.interpreter
    if trial.sample.wheel is not None:
        name = Path(trial.sample.wheel).name
        return index.fitting([name], interpreter.python, interpreter.platform) is not None
    return interpreter.platform in trial.wheels.get(interpreter.python, {})


def as_observed(cell: Cell, outcome: Outcome) -> Cell:
    """A cell that expects what has happened: a trial asks what does, not whether it should."""
    return replace(cell, expected=expectation_of(outcome))


def expectation_of(outcome: Outcome) -> Expected:
    """What was observed, as what should happen."""
    if not outcome.reason.was_tried:
        return Expected()
    return Expected(
        reason=outcome.reason, library=outcome.missing_library, why="Observed in a trial"
    )


def summary(results: Sequence[Result]) -> str:
    """The counts, in one line."""
    imports = sum(result.outcome is Reason.IMPORTS for result in results)
    untried = sum(not result.outcome.was_tried for result in results)
    compared = sum(result.predicted is not None for result in results)
    mistaken = sum(result.status is Status.MISPREDICTED for result in results)
    replicas = sum(result.is_replica for result in results)
    return (
        f"{results[0].extension} imports in {imports} of {len(results)} environments, fails in "
        f"{len(results) - imports - untried}, was not tested in {untried}; "
        f"{replicas} are replicas (~); "
        f"{compared} compared with the loader's rules, {mistaken} mispredicted"
    )


def exit_code(results: Sequence[Result]) -> int:
    """2 where something could not be tested or is not understood, else 1 where something fails."""
    if any(r.status is Status.MISPREDICTED or not r.outcome.was_tried for r in results):
        return 2
    return int(any(result.outcome is not Reason.IMPORTS for result in results))
