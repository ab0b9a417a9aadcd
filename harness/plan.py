"""From matrix.yaml to cells: pure, fast, and the same in every process.

Nothing here touches an engine, a network or a clock, so that every xdist worker collects the
same ids in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product

from packaging.version import Version

from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock
from harness.matrix import Axes, Expectation, Kind, Matrix, Sample
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel, link_model
from harness.remedies import Remedy
from harness.sources import Source


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
    upgrade: Upgrade | None = None

    @property
    def id(self) -> str:
        """Such as ``uv0.7.6-cp313-20250517~replica-aarch64-debian13``."""
        packages = "".join(f"+{name}" for name in self.packages)
        upgrade = f"+{self.upgrade.remedy}-after-uv{self.upgrade.uv}" if self.upgrade else ""
        return f"uv{self.uv}-{self.interpreter.id}-{self.base}{packages}{upgrade}"


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """An older uv had installed its interpreter and made the venv before this uv came."""

    uv: str
    interpreter: Interpreter
    remedy: Remedy
    """Which command of the newer uv was then run."""

    def before(self, environment: Environment) -> Environment:
        """The environment as the older uv left it."""
        return replace(environment, uv=self.uv, interpreter=self.interpreter, upgrade=None)


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


SUCCESS = {
    Kind.EXTENSION: Expected(),
    Kind.CHECK: Expected(reason=Reason.PASSES, why="A healthy interpreter passes"),
}
KINDS = tuple(str(kind) for kind in Kind)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Environment × sample × remedy: one test, one line of results."""

    environment: Environment
    extension: str
    """Name of the extension, or of the check."""
    sample: Sample = field(compare=False)
    remedy: Remedy
    expected: Expected
    not_applicable: str | None = None
    """Why the question does not arise here; None where it does."""

    @property
    def id(self) -> str:
        """Readable and stable; the packages are the sample's own business, so not in it."""
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
    check: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    def apply(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """The selected cells, or :class:`SelectionError` naming the option that selects none."""
        # No cell is on both of extension and check: these two add up, all others narrow.
        for axes in (("uv",), ("release",), ("platform",), ("base",), KINDS, ("remedy",)):
            chosen: set[str] = set()
            asked = [(axis, pattern) for axis in axes for pattern in getattr(self, axis)]
            for axis, pattern in asked:
                there = list(dict.fromkeys(filter(None, (where(c).get(axis) for c in cells))))
                found = [value for value in there if fnmatchcase(value, pattern)]
                if not found:
                    raise SelectionError(
                        f"--{axis} {pattern!r} selects nothing",
                        advice=f"What is left to select from: {', '.join(there) or 'nothing'}.",
                    )
                chosen.update(found)
            if asked:
                cells = tuple(
                    cell for cell in cells if chosen & {where(cell).get(axis) for axis in axes}
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
    for uv, python, platform, base, (name, sample), remedy in product(
        axes.uv or matrix.uv,
        axes.python or matrix.python,
        axes.platforms or matrix.platforms,
        axes.bases or tuple(matrix.bases),
        _samples(matrix, axes),
        axes.remedies or matrix.remedies,
    ):
        if sample.kind is Kind.CHECK and remedy is not Remedy.NONE:
            continue
        cell = Cell(
            environment=Environment(
                uv=uv,
                interpreter=_default_interpreter(lock, uv, python, platform, source),
                base=base,
                packages=tuple(sorted(set(sample.packages) - set(matrix.bases[base].packages))),
            ),
            extension=name,
            sample=sample,
            remedy=remedy,
            expected=SUCCESS[sample.kind],
        )
        if remedy.uv_command:
            cell = _upgraded(cell, matrix, lock)
        coordinates = where(cell)
        if any(rule.matches(coordinates) for rule in matrix.exclude):
            continue
        if not sample.applies.matches(coordinates):
            cell = replace(cell, not_applicable=f"it is asked only of {sample.applies.words}")
        rule = next((r for r in matrix.expectations if r.matches(coordinates)), None)
        yield replace(cell, expected=_expected(rule, python)) if rule else cell


def _samples(matrix: Matrix, axes: Axes) -> tuple[tuple[str, Sample], ...]:
    if axes.extensions is None and axes.checks is None:
        return (*matrix.extensions.items(), *matrix.checks.items())
    extensions = ((name, matrix.extensions[name]) for name in axes.extensions or ())
    return (*extensions, *((name, matrix.checks[name]) for name in axes.checks or ()))


def _default_interpreter(
    lock: Lock, uv: str, python: str, platform: Platform, source: Source
) -> Interpreter:
    default = lock.default(uv, python, platform)
    return Interpreter(
        python=python,
        version=default.version,
        release=default.release,
        platform=platform,
        source=source,
        url=default.url,
    )


def _upgraded(cell: Cell, matrix: Matrix, lock: Lock) -> Cell:
    """The same cell, where an older uv had been before."""
    now = cell.environment
    old = matrix.upgrade_from
    assert old is not None  # the model asks for it where such a remedy is named
    if Version(now.uv) <= Version(old):
        return replace(cell, not_applicable=f"uv {now.uv} is not newer than uv {old}")
    interpreter = now.interpreter
    before = _default_interpreter(
        lock, old, interpreter.python, interpreter.platform, interpreter.source
    )
    upgrade = Upgrade(uv=old, interpreter=before, remedy=cell.remedy)
    return replace(cell, environment=replace(now, upgrade=upgrade))


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


def where(cell: Cell) -> dict[str, str]:
    """A cell's coordinate on each axis that it is on."""
    interpreter = cell.environment.interpreter
    return {
        str(cell.sample.kind): cell.extension,
        "uv": cell.environment.uv,
        "python": interpreter.python,
        "release": interpreter.release,
        "link_model": str(interpreter.link_model),
        "platform": str(interpreter.platform),
        "base": cell.environment.base,
        "source": str(interpreter.source),
        "remedy": str(cell.remedy),
    }
