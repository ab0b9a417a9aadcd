"""From matrix.yaml to cells: pure, fast, and the same in every process.

Nothing here touches an engine, a network or a clock, so that every xdist worker collects the
same ids in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from pathlib import Path

from packaging.version import Version

from harness import releasechoice, releases
from harness.errors import ConfigurationError, SelectionError
from harness.flavours import Flavour
from harness.lock import Lock, LockedDefault
from harness.matrix import (
    DEFAULT,
    Axes,
    Check,
    Conditions,
    Exclusion,
    Expectation,
    Extension,
    Kind,
    Matrix,
    Sample,
)
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel, link_model
from harness.remedies import Remedy
from harness.rules import Rules
from harness.sources import Source


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A release's CPython for a platform, from a source."""

    python: str
    """As asked of uv, such as 3.13."""
    release: str
    platform: Platform
    source: Source
    flavour: Flavour = Flavour.STRIPPED
    default: LockedDefault | None = None
    """What its uv says of the archive, where the lock has that; else None."""

    @cached_property
    def link_model(self) -> LinkModel:
        """How it carries libpython, by the table of releases."""
        return link_model(self.release)

    @property
    def has_replica(self) -> bool:
        """Whether one can be made of it at all: of other flavours Debian has nothing alike."""
        return self.flavour is Flavour.STRIPPED

    @cached_property
    def id(self) -> str:
        """Such as ``cp313-20250517~replica-aarch64``; an upstream archive has no mark."""
        mark = "" if self.source is Source.UPSTREAM else f"~{self.source}"
        build = f"{self.release}{self.flavour.mark}{mark}"
        return f"cp{self.python.replace('.', '')}-{build}-{self.platform}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """uv version × interpreter × base image: one image, one container."""

    uv: str
    interpreter: Interpreter
    base: str
    packages: tuple[str, ...] = ()
    """Debian packages that the extensions tested here need, beyond the base's own."""
    upgrade: Upgrade | None = None

    @cached_property
    def id(self) -> str:
        """Such as ``uv0.7.6-cp313-20250517~replica-aarch64-debian13``."""
        packages = "".join(f"+{name}" for name in self.packages)
        upgrade = f"+{self.upgrade.remedy}-after-uv{self.upgrade.uv}" if self.upgrade else ""
        return f"uv{self.uv}-{self.interpreter.id}-{self.base}{packages}{upgrade}"

    @cached_property
    def where(self) -> dict[str, str]:
        """Its coordinate on each axis of environments."""
        interpreter = self.interpreter
        return {
            "uv": self.uv,
            "python": interpreter.python,
            "release": interpreter.release,
            "link_model": str(interpreter.link_model),
            "platform": str(interpreter.platform),
            "base": self.base,
            "source": str(interpreter.source),
            "flavour": str(interpreter.flavour),
        }


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

ORDINARY = (Flavour.STRIPPED, Flavour.INSTALL_ONLY)
"""Flavours for which wheels are made and samples are built here."""

MUSL = "musl"
"""The Debian package that a base needs to run interpreters of flavour musl: their loader."""


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
    uv_asked: str = field(default="", compare=False)
    release_asked: str = field(default="", compare=False)
    """What the matrix file says, such as latest; what that was in this run is in the id."""

    @property
    def id(self) -> str:
        """Readable and stable; the packages are the sample's own business, so not in it."""
        interpreter = self.environment.interpreter
        remedy = "" if self.remedy is Remedy.NONE else f"+{self.remedy}"
        return (
            f"{self.extension}-uv{self.environment.uv}-{interpreter.id}"
            f"-{self.environment.base}{remedy}"
        )


_NARROWING = (
    *(("uv",), ("release",), ("platform",), ("base",), ("flavour",)),
    *(KINDS, ("remedy",)),
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Globs from the command line, by axis; an empty axis selects everything."""

    uv: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    flavour: tuple[str, ...] = ()
    extension: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()

    def apply(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """The selected cells, or :class:`SelectionError` naming the option that selects none."""
        # No cell is on both of extension and check: these two add up, all others narrow.
        for axes in _NARROWING:
            asked = [(axis, pattern) for axis in axes for pattern in getattr(self, axis)]
            if not asked:
                continue
            values = {axis: [where(cell).get(axis) for cell in cells] for axis in axes}
            chosen: set[str | None] = set()
            for axis, pattern in asked:
                there = list(dict.fromkeys(filter(None, values[axis])))
                found = [value for value in there if fnmatchcase(value, pattern)]
                if not found:
                    raise SelectionError(
                        f"--{axis} {pattern!r} selects nothing",
                        advice=f"What is left to select from: {', '.join(there) or 'nothing'}.",
                    )
                chosen.update(found)
            cells = tuple(
                cell
                for cell, *its in zip(cells, *values.values(), strict=True)
                if not chosen.isdisjoint(its)
            )
        return cells


@dataclass(frozen=True, kw_only=True)
class Names:
    """What names that depend on the day, such as ``latest``, stand for in this run."""

    releases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tags in commit order, by what the matrix file says."""
    uv: Mapping[str, str] = field(default_factory=dict)

    def tags(self, choice: str) -> tuple[str, ...]:
        """The releases that a choice names; by the table of releases if nothing else was found."""
        if choice in self.releases:
            return self.releases[choice]
        return releasechoice.choose(choice, tuple(releases.commit_dates()))


def plan(
    matrix: Matrix,
    lock: Lock,
    *,
    profile: str = "default",
    source: Source = Source.REPLICA,
    names: Names | None = None,
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
        for cell in _product(matrix, lock, entry, source, names or Names()):
            cells.setdefault(cell.id, cell)
    if not cells:
        raise ConfigurationError(
            f"profile {profile!r} has no cell: 'exclude' leaves nothing of it",
            advice="Exclude less, or add cells under 'include'.",
        )
    return (selection or Selection()).apply(tuple(cells.values()))


def both_sources(
    matrix: Matrix,
    lock: Lock,
    *,
    profile: str,
    names: Names | None = None,
    selection: Selection | None = None,
) -> tuple[Cell, ...]:
    """The applicable cells of which there is a published archive and a replica, in pairs."""
    sides = [
        plan(matrix, lock, profile=profile, source=source, names=names, selection=selection)
        for source in (Source.UPSTREAM, Source.REPLICA)
    ]
    return tuple(
        cell
        for pair in zip(*sides, strict=True)
        if all(c.not_applicable is None and c.environment.interpreter.has_replica for c in pair)
        for cell in pair
    )


def environments(cells: tuple[Cell, ...]) -> tuple[Environment, ...]:
    """The environments of some cells, each once."""
    return tuple(dict.fromkeys(cell.environment for cell in cells))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What is asked in every environment: a sample, with a remedy."""

    name: str
    sample: Sample
    remedy: Remedy
    upgrade: Remedy | None
    """The remedy, where it makes environments of its own."""
    where: Mapping[str, str]
    """Its coordinate on each axis that environments are not on."""
    conditions: Rules[Conditions]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """An environment, and all that it has to say of any question."""

    environment: Environment
    not_applicable: str | None
    exclusions: Rules[Exclusion]
    expectations: Rules[Expectation]


def _product(
    matrix: Matrix, lock: Lock, axes: Axes, source: Source, names: Names
) -> Iterator[Cell]:
    """The cells of a part of the matrix file, which share whatever several of them have."""
    exclusions, expectations = Rules(matrix.exclude), Rules(matrix.expectations)
    questions = tuple(_questions(matrix, axes))
    if not questions:
        return
    for uv_asked, release_asked, python, flavour, platform, base in product(
        axes.uv or matrix.uv,
        axes.releases or matrix.releases,
        axes.python or matrix.python,
        axes.flavours or matrix.flavours,
        axes.platforms or matrix.platforms,
        axes.bases or tuple(matrix.bases),
    ):
        uv = names.uv.get(uv_asked, uv_asked)
        default = lock.default(uv, python, platform)
        tags = (default.release,) if release_asked == DEFAULT else names.tags(release_asked)
        on_base = set(matrix.bases[base].packages)
        sites: dict[tuple[str, tuple[str, ...], Remedy | None], _Site] = {}
        for question, tag in product(questions, tags):
            sample = question.sample
            packages = tuple(sorted(set(sample.packages) - on_base))
            site = sites.get(key := (tag, packages, question.upgrade))
            if site is None:
                # What uv's own default is, is that also where it was asked for by its name.
                known = default if tag == default.release and flavour is Flavour.STRIPPED else None
                interpreter = Interpreter(
                    python=python,
                    release=tag,
                    platform=platform,
                    source=source,
                    flavour=flavour,
                    default=known,
                )
                environment, reason = _upgraded(
                    Environment(uv=uv, interpreter=interpreter, base=base, packages=packages),
                    question.upgrade,
                    matrix,
                    lock,
                )
                site = sites[key] = _Site(
                    environment=environment,
                    not_applicable=reason,
                    exclusions=exclusions.given(environment.where),
                    expectations=expectations.given(environment.where),
                )
            if site.exclusions.first(question.where):
                continue
            rule = site.expectations.first(question.where)
            yield Cell(
                environment=site.environment,
                extension=question.name,
                sample=sample,
                remedy=question.remedy,
                expected=_expected(rule, python) if rule else SUCCESS[sample.kind],
                not_applicable=_why_not_asked(question, site, matrix),
                uv_asked=uv_asked,
                release_asked=release_asked,
            )


def _questions(matrix: Matrix, axes: Axes) -> Iterator[_Question]:
    for (name, sample), remedy in product(_samples(matrix, axes), axes.remedies or matrix.remedies):
        if sample.kind is Kind.CHECK and remedy is not Remedy.NONE:
            continue
        yield _Question(
            name=name,
            sample=sample,
            remedy=remedy,
            upgrade=remedy if remedy.uv_command else None,
            where={str(sample.kind): name, "remedy": str(remedy)},
            conditions=Rules([sample.applies]),
        )


def _samples(matrix: Matrix, axes: Axes) -> tuple[tuple[str, Sample], ...]:
    if axes.extensions is None and axes.checks is None:
        return (*matrix.extensions.items(), *matrix.checks.items())
    extensions = ((name, matrix.extensions[name]) for name in axes.extensions or ())
    return (*extensions, *((name, matrix.checks[name]) for name in axes.checks or ()))


def _why_not_asked(question: _Question, site: _Site, matrix: Matrix) -> str | None:
    """Why a question does not arise; None where it does."""
    environment = site.environment
    flavour = environment.interpreter.flavour
    if not question.conditions.first(environment.where):
        return f"it is asked only of {question.sample.applies.words}"
    if flavour is Flavour.MUSL and MUSL not in matrix.bases[environment.base].packages:
        return f"the base has no musl to run it: add {MUSL} to its packages"
    if question.sample.kind is Kind.EXTENSION and flavour not in ORDINARY:
        return f"extensions are not built for {flavour} interpreters here; checks are asked of them"
    if environment.upgrade and flavour is not Flavour.STRIPPED:
        return "what upgrading does is asked of the interpreter that uv installs by default"
    return site.not_applicable


def _upgraded(
    now: Environment, remedy: Remedy | None, matrix: Matrix, lock: Lock
) -> tuple[Environment, str | None]:
    """The environment where an older uv had been before, if a remedy upgrades; or why not."""
    if remedy is None:
        return now, None
    old = matrix.upgrade_from
    assert old is not None  # the model asks for it where such a remedy is named
    if Version(now.uv) <= Version(old):
        return now, f"uv {now.uv} is not newer than uv {old}"
    interpreter = now.interpreter
    where_asked = interpreter.python, interpreter.platform
    default = lock.default(old, *where_asked)
    before = replace(interpreter, release=default.release, default=default)
    if remedy is Remedy.REINSTALL and interpreter.default:
        # Not what this uv installs by default: the patch version stays, and so its own release.
        again = lock.reinstalled(now.uv, *where_asked)
        if again is None:
            return now, f"uv {now.uv} has no CPython {default.version} any more"
        interpreter = replace(interpreter, release=again.release, default=again)
    upgrade = Upgrade(uv=old, interpreter=before, remedy=remedy)
    return replace(now, interpreter=interpreter, upgrade=upgrade), None


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
    asked = {str(cell.sample.kind): cell.extension}
    return {**asked, **cell.environment.where, "remedy": str(cell.remedy)}


def tree_name(cell: Cell) -> str:
    """Name of the directory that a cell's sample gets in its container."""
    if isinstance(cell.sample, Check):
        return f"check-{cell.extension}"
    patched = "+patchelf" if cell.remedy is Remedy.PATCHELF else ""
    return f"{cell.extension}{patched}"


def module_name(cell: Cell) -> str:
    """What is imported in a cell."""
    match cell.sample:
        case Extension(imports=name):
            return name
        case Check(script=script):
            return Path(script).stem
        case _:
            raise AssertionError(f"unknown kind of sample {cell.sample!r}")
