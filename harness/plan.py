"""From matrix.yaml to cells: pure, fast, and the same in every process.

Nothing here touches an engine, a network or a clock, so that every xdist worker collects the
same ids in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product

from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock
from harness.matrix import Axes, Expectation, Extension, Matrix
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel, link_model
from harness.remedies import Remedy


class Source(StrEnum):
    """Where an interpreter comes from. A replica is never passed off as the release."""

    REPLICA = "replica"
    UPSTREAM = "upstream"


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A release's CPython for a platform, from a source."""

    python: str
    """As asked of uv, such as 3.13."""
    version: str
    """What the release has for it, such as 3.13.3. A replica may have another patch version."""
    release: str
    platform: Platform
    source: Source
    url: str
    """Where uv would fetch the release's archive."""

    @cached_property
    def link_model(self) -> LinkModel:
        """How it carries libpython, by the table of releases."""
        return link_model(self.release)

    @property
    def id(self) -> str:
        """Such as ``cp313-20250517~replica-aarch64``; an upstream archive has no mark."""
        mark = "" if self.source is Source.UPSTREAM else f"~{self.source}"
        return f"cp{self.python.replace('.', '')}-{self.release}{mark}-{self.platform}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """uv version × interpreter × base image: one image, one container."""

    uv: str
    interpreter: Interpreter
    base: str
    packages: tuple[str, ...] = ()
    """Debian packages that the extensions tested here need, beyond the base's own."""

    @property
    def id(self) -> str:
        """Such as ``uv0.7.6-cp313-20250517~replica-aarch64-debian13``."""
        packages = "".join(f"+{name}" for name in self.packages)
        return f"uv{self.uv}-{self.interpreter.id}-{self.base}{packages}"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What should happen in one cell, and why."""

    reason: Reason = Reason.IMPORTS
    library: str | None = None
    message: str | None = None
    why: str = "A correct extension imports everywhere"
    link: str | None = None

    @property
    def short(self) -> str:
        """One phrase for people, such as ``missing-library libGL.so.1``."""
        return f"{self.reason} {self.library}" if self.library else str(self.reason)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Environment × extension × remedy: one test, one line of results."""

    environment: Environment
    extension: str
    sample: Extension = field(compare=False)
    remedy: Remedy
    expected: Expected

    @property
    def id(self) -> str:
        """Readable and stable; the packages are the extension's own business, so not in it."""
        interpreter = self.environment.interpreter
        remedy = "" if self.remedy is Remedy.NONE else f"+{self.remedy}"
        return (
            f"{self.extension}-uv{self.environment.uv}-{interpreter.id}"
            f"-{self.environment.base}{remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Globs from the command line, by axis; an empty axis selects everything."""

    uv: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    extension: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    def apply(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """The selected cells, or :class:`SelectionError` naming the option that selects none."""
        for axis in ("uv", "release", "platform", "base", "extension", "remedy"):
            patterns: tuple[str, ...] = getattr(self, axis)
            if not patterns:
                continue
            there = list(dict.fromkeys(_coordinates(cell)[axis] for cell in cells))
            for pattern in patterns:
                if not any(fnmatchcase(value, pattern) for value in there):
                    raise SelectionError(
                        f"--{axis} {pattern!r} selects nothing",
                        advice=f"What is left to select from: {', '.join(there)}.",
                    )
            cells = tuple(
                cell
                for cell in cells
                if any(fnmatchcase(_coordinates(cell)[axis], pattern) for pattern in patterns)
            )
        return cells


def plan(
    matrix: Matrix,
    lock: Lock,
    *,
    profile: str = "default",
    source: Source = Source.REPLICA,
    selection: Selection | None = None,
) -> tuple[Cell, ...]:
    """Every selected cell of a profile, each once, in the order of the file.

    Raises :class:`SelectionError` for a profile or option that selects nothing, and
    :class:`harness.errors.LockError` where the lock does not cover the matrix.
    """
    if profile not in matrix.profiles:
        raise SelectionError(
            f"there is no profile {profile!r} in the matrix",
            advice=f"The profiles are: {', '.join(matrix.profiles)}.",
        )
    chosen = matrix.profiles[profile]
    cells: dict[str, Cell] = {}
    for entry in (chosen, *matrix.include, *chosen.include):
        for cell in _product(matrix, lock, entry, source):
            cells.setdefault(cell.id, cell)
    if not cells:
        raise ConfigurationError(
            f"profile {profile!r} has no cell: 'exclude' leaves nothing of it",
            advice="Exclude less, or add cells under 'include'.",
        )
    return (selection or Selection()).apply(tuple(cells.values()))


def environments(cells: tuple[Cell, ...]) -> tuple[Environment, ...]:
    """The environments of some cells, each once."""
    return tuple(dict.fromkeys(cell.environment for cell in cells))


def _product(matrix: Matrix, lock: Lock, axes: Axes, source: Source) -> Iterator[Cell]:
    for uv, python, platform, base, name, remedy in product(
        axes.uv or matrix.uv,
        axes.python or matrix.python,
        axes.platforms or matrix.platforms,
        axes.bases or tuple(matrix.bases),
        axes.extensions or tuple(matrix.extensions),
        axes.remedies or matrix.remedies,
    ):
        default = lock.default(uv, python, platform)
        interpreter = Interpreter(
            python=python,
            version=default.version,
            release=default.release,
            platform=platform,
            source=source,
            url=default.url,
        )
        sample = matrix.extensions[name]
        packages = tuple(sorted(set(sample.packages) - set(matrix.bases[base].packages)))
        cell = Cell(
            environment=Environment(uv=uv, interpreter=interpreter, base=base, packages=packages),
            extension=name,
            sample=sample,
            remedy=remedy,
            expected=Expected(),
        )
        coordinates = _coordinates(cell)
        where = {**coordinates, "link_model": interpreter.link_model}
        if any(rule.matches(**where) for rule in matrix.exclude):  # type: ignore[arg-type]
            continue
        for rule in matrix.expectations:
            if rule.matches(**where):  # type: ignore[arg-type]
                cell = Cell(
                    environment=cell.environment,
                    extension=name,
                    sample=sample,
                    remedy=remedy,
                    expected=_expected(rule, python),
                )
                break
        yield cell


def _expected(rule: Expectation, python: str) -> Expected:
    def filled(text: str | None) -> str | None:
        return None if text is None else text.replace("{python}", python)

    return Expected(
        reason=rule.expect,
        library=filled(rule.library),
        message=filled(rule.message),
        why=rule.reason,
        link=rule.link,
    )


def _coordinates(cell: Cell) -> dict[str, str]:
    return {
        "extension": cell.extension,
        "uv": cell.environment.uv,
        "python": cell.environment.interpreter.python,
        "release": cell.environment.interpreter.release,
        "platform": str(cell.environment.interpreter.platform),
        "base": cell.environment.base,
        "remedy": str(cell.remedy),
    }
