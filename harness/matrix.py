"""matrix.yaml: the typed model of the file that a user edits, and the only place that reads it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from packaging.version import InvalidVersion, Version
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from harness import inputs, project, yamlfile
from harness.errors import ConfigurationError
from harness.flavours import Flavour
from harness.limits import Limits
from harness.outcome import Reason
from harness.pins import pinned
from harness.platforms import Platform
from harness.releasechoice import ReleaseRange, check_choice
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.sources import Source

MOST_PROBLEMS = 20
"""That are told of a file; it may have a mistake in each line."""

NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
"""Names become parts of test ids and image labels, hence the narrow alphabet."""


DEFAULT = "default"
"""Of the releases: the one that each uv installs by itself."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"listed twice: {', '.join(twice)}")
    return values


def _release_range(text: str) -> str:
    ReleaseRange.parse(text)
    return text


def _uv_version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError(f"{text!r} is not a uv version such as 0.7.9") from None
    return text


def _uv_choice(text: str) -> str:
    return text if text.startswith("latest") else _uv_version(text)


def _release_choice(text: str) -> str:
    if text != DEFAULT:
        check_choice(text)
    return text


Name = Annotated[str, Field(pattern=NAME)]
DebianPackage = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
UvVersion = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$"), AfterValidator(_uv_version)]
UvChoice = Annotated[
    str, Field(pattern=r"^(\d+\.\d+\.\d+|latest(-\d+)?)$"), AfterValidator(_uv_choice)
]
ReleaseChoice = Annotated[str, AfterValidator(_release_choice)]
PythonVersion = Annotated[str, Field(pattern=r"^3\.\d{1,2}$")]
Axis = AfterValidator(_distinct)


def _one_or_more(item: Any) -> Any:
    """A tuple that may be written as a single value in the file."""
    return Annotated[
        tuple[item, ...],
        BeforeValidator(
            lambda value: (value,) if isinstance(value, str) else value,
            json_schema_input_type=item | tuple[item, ...],
        ),
    ]


if TYPE_CHECKING:
    Globs = tuple[str, ...]
    Ranges = tuple[str, ...]
    LinkModels = tuple[LinkModel, ...]
    Sources = tuple[Source, ...]
    Flavours = tuple[Flavour, ...]
else:
    Globs = _one_or_more(str)
    Ranges = _one_or_more(Annotated[str, AfterValidator(_release_range)])
    LinkModels = _one_or_more(LinkModel)
    Sources = _one_or_more(Source)
    Flavours = _one_or_more(Flavour)


class Base(_Model):
    """A base image: a Debian suite, pulled where a registry answers, else built from packages."""

    about: str = ""
    """What this base stands for."""
    suite: Name
    """Debian suite, such as trixie; used to build the image and to add packages to it."""
    image: Annotated[str, Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$")] | None = None
    """Image to pull, pinned by the digest of its multi-platform index."""
    packages: tuple[DebianPackage, ...] = ()
    """Debian packages to add, with what they depend on."""


class Conditions(_Model):
    """Picks environments: one matches when every axis that is named here does. Globs or lists."""

    uv: Globs = ()
    python: Globs = ()
    release: Ranges = ()
    """Releases in commit order: a tag, A..B, A.. or ..B."""
    link_model: LinkModels = ()
    platform: Globs = ()
    base: Globs = ()
    source: Sources = ()
    flavour: Flavours = ()

    def matches(self, where: Mapping[str, str]) -> bool:
        """Whether something is picked. ``where`` has its coordinate on each axis that it is on."""
        for axis in type(self).model_fields:
            wanted = getattr(self, axis) if axis in SELECTING else ()
            value = where.get(axis)
            if wanted and (value is None or not any(_picks(axis, text, value) for text in wanted)):
                return False
        return True

    @property
    def words(self) -> str:
        """Such as ``release 20250517.., source upstream``."""
        return ", ".join(
            f"{axis.replace('_', ' ')} {' or '.join(map(str, wanted))}"
            for axis in type(self).model_fields
            if axis in SELECTING and (wanted := getattr(self, axis))
        )


SELECTING = frozenset({*Conditions.model_fields, "extension", "check", "remedy"})
"""Axes that something can be picked by."""


def _picks(axis: str, pattern: str, value: str) -> bool:
    if axis == "release":
        return value in ReleaseRange.parse(pattern)
    return fnmatchcase(value, pattern)


class Kind(StrEnum):
    """What is under test in a cell."""

    EXTENSION = "extension"
    CHECK = "check"


class Sample(_Model):
    """What is under test: something that is imported in every environment."""

    kind: ClassVar[Kind]

    about: str = ""
    """What real package, mistake or report it stands for."""
    applies: Conditions = Conditions()
    """Where its question arises; elsewhere its cells are counted as not applicable."""
    packages: tuple[DebianPackage, ...] = ()
    """Debian packages that it needs in its base, such as libgl1."""
    timeout: Annotated[int, Field(ge=1, le=600)] = 60
    """Seconds until an import that does not end is a time-out; ten times that is never waited."""


ORIGINS = ("requirement", "wheel", "source")
"""Where an extension may come from."""


class Extension(Sample):
    """An extension under test: a wheel from the index or of your own, or a project built here."""

    kind: ClassVar[Kind] = Kind.EXTENSION

    requirement: Annotated[str, AfterValidator(pinned)] | None = None
    """Pinned requirement, such as python-mscl==67.0.1.0; its hashes are in matrix.lock."""
    wheel: str | None = None
    """Wheel files of your own, such as dist/*.whl, relative to this file; the one that fits best
    is taken. What they depend on is not installed."""
    source: str | None = None
    """Folder of a sample project, relative to this file or to the project's own cases."""
    imports: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
    """Module to import."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("needs one of 'requirement', 'wheel' and 'source', and only one")
        return self


class Check(Sample):
    """A question asked of the interpreter itself, by a script that runs in the container."""

    kind: ClassVar[Kind] = Kind.CHECK

    script: Annotated[str, Field(pattern=r"(^|/)[a-z_][a-z0-9_]*\.py$")]
    """Python file with a function ``check``, relative to this file or to the project."""
    link: Annotated[str, Field(pattern=r"^https://")] | None = None
    """The report upstream that it comes from."""


class Selector(Conditions):
    """Picks cells: one matches when every axis that is named here does. Globs, one or more."""

    extension: Globs = ()
    check: Globs = ()
    remedy: Globs = ()


class Exclusion(Selector):
    """Cells to leave out."""

    reason: str = ""


class Expectation(Selector):
    """What should happen in the cells that it picks. The first one that matches counts."""

    expect: Reason
    library: str | None = None
    """With missing-library: its soname; {python} stands for the CPython version, as in 3.13."""
    message: str | None = None
    """Text that the exception's message must contain."""
    reason: str
    """Why this is so."""
    link: Annotated[str, Field(pattern=r"^https://")] | None = None
    """Where upstream says it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.expect.was_tried:
            raise ValueError(f"{str(self.expect)!r} is no result, and cannot be expected")
        if (self.library is not None) != (self.expect is Reason.MISSING_LIBRARY):
            raise ValueError("'library' goes with 'expect: missing-library', and only with it")
        if self.library is not None and "{" in self.library.replace("{python}", ""):
            raise ValueError("'library' knows no placeholder but {python}")
        return self


class Axes(_Model):
    """Values of the axes; where one is left out, the matrix's own values hold.

    ``extensions`` and ``checks`` go together: who names one of them and not the other gets none
    of the other. Checks are asked without a remedy.
    """

    uv: Annotated[tuple[UvChoice, ...], Axis] | None = None
    releases: Annotated[tuple[ReleaseChoice, ...], Axis] | None = None
    python: Annotated[tuple[PythonVersion, ...], Axis] | None = None
    flavours: Annotated[tuple[Flavour, ...], Axis] | None = None
    platforms: Annotated[tuple[Platform, ...], Axis] | None = None
    bases: Annotated[tuple[Name, ...], Axis] | None = None
    extensions: Annotated[tuple[Name, ...], Axis] | None = None
    checks: Annotated[tuple[Name, ...], Axis] | None = None
    remedies: Annotated[tuple[Remedy, ...], Axis] | None = None

    @model_validator(mode="after")
    def _no_empty_axis(self) -> Self:
        empty = [name for name in Axes.model_fields if getattr(self, name) == ()]
        if empty:
            raise ValueError(f"{empty[0]!r} is empty; leave it out to take the matrix's values")
        return self


class Inclusion(Axes):
    """Cells to add: the product of these axes, the matrix's own where one is left out."""

    reason: str = ""


class Profile(Axes):
    """A named choice of axes, for --profile."""

    about: str = ""
    include: tuple[Inclusion, ...] = ()
    """Cells to add in this profile only."""


class Matrix(_Model):
    """What is tested, and what should happen."""

    model_config = ConfigDict(title="matrix.yaml")

    version: Literal["1"]
    """Version of this file's format."""
    uv: Annotated[tuple[UvChoice, ...], Axis, Field(min_length=1)]
    """uv versions, such as 0.7.9; latest and latest-1 are the newest ones of the package index."""
    releases: Annotated[tuple[ReleaseChoice, ...], Axis, Field(min_length=1)] = (DEFAULT,)
    """Releases that each uv installs: default (that uv's own), a tag, latest, latest-3 (the third
    before the latest), or a range in commit order, such as 20250517..latest."""
    python: Annotated[tuple[PythonVersion, ...], Axis, Field(min_length=1)]
    """CPython versions, such as 3.13."""
    flavours: Annotated[tuple[Flavour, ...], Axis, Field(min_length=1)] = (Flavour.STRIPPED,)
    """Builds of CPython; uv installs install_only_stripped where it is not asked for another."""
    platforms: Annotated[tuple[Platform, ...], Axis, Field(min_length=1)]
    bases: Annotated[dict[Name, Base], Field(min_length=1)]
    extensions: Annotated[dict[Name, Extension], Field(min_length=1)]
    checks: dict[Name, Check] = {}
    """Questions asked of the interpreter itself."""
    benchmarks: tuple[Annotated[str, AfterValidator(pinned)], ...] = ()
    """What `pbs-matrix bench` measures with: pyperf and pyperformance, pinned."""
    upgrade_from: UvVersion | None = None
    """The uv whose interpreter is in place before the remedies that upgrade."""
    remedies: Annotated[tuple[Remedy, ...], Axis, Field(min_length=1)] = (Remedy.NONE,)
    """What is done about the breakage before importing."""
    limits: Limits = Limits()
    """How much of the machine a container has in which samples are imported."""
    include: tuple[Inclusion, ...] = ()
    exclude: tuple[Exclusion, ...] = ()
    profiles: Annotated[dict[Name, Profile], Field(min_length=1)]
    """Named choices of axes; the one called 'default' is used without --profile."""
    expectations: tuple[Expectation, ...] = ()
    """Every cell is expected to import, unless the first matching entry says otherwise."""

    @model_validator(mode="after")
    def _has_default_profile(self) -> Self:
        if "default" not in self.profiles:
            raise ValueError("'profiles' must have one called 'default'")
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        if both := sorted(set(self.extensions) & set(self.checks)):
            raise ValueError(f"{both[0]!r} is the name of an extension and of a check")
        return self

    @model_validator(mode="after")
    def _knows_what_to_upgrade(self) -> Self:
        asked = {remedy for entry in self.entries for remedy in entry.remedies or ()}
        upgrading = sorted(r for r in {*asked, *self.remedies} if r.uv_command)
        if upgrading and self.upgrade_from is None:
            raise ValueError(f"remedy {upgrading[0]} needs 'upgrade_from', such as 0.7.6")
        return self

    @property
    def entries(self) -> tuple[Axes, ...]:
        """Every part of the file that names values of the axes: profiles and inclusions."""
        profiles = self.profiles.values()
        included = (entry for profile in profiles for entry in profile.include)
        return (*self.include, *profiles, *included)

    def entries_of(self, profile: str) -> tuple[Axes | Matrix, ...]:
        """The parts that the cells of a profile come from, with the file's own axes."""
        chosen = self.profiles.get(profile)
        return (self, *self.include, *((chosen, *chosen.include) if chosen else ()))


def load(path: Path) -> Matrix:
    """Read and check a matrix file; :class:`ConfigurationError` names file, line and remedy."""
    document = yamlfile.read(path)
    try:
        matrix = Matrix.model_validate(document.data)
    except ValidationError as error:
        raise _explained(error, document) from None
    for location, problem in _dangling_names(matrix):
        raise ConfigurationError(
            f"{document.place(location)}: {_dotted(location)}: {problem}",
            advice="Correct the name, or add what it names.",
        )
    return matrix


def json_schema() -> dict[str, object]:
    """JSON Schema of matrix.yaml, as editors use it."""
    schema = Matrix.model_json_schema()
    # In the file versions may be written with or without quotes; the reader takes both as text.
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def schema_text() -> str:
    """The same as the text of a file."""
    return json.dumps(json_schema(), indent=1) + "\n"


def _dotted(location: yamlfile.Location) -> str:
    return inputs.short(".".join(str(part) for part in location)) or "the file"


def _explained(error: ValidationError, document: yamlfile.Document) -> ConfigurationError:
    problems = []
    for detail in error.errors(include_url=False):
        # Pydantic adds parts of its own to a location (validator names); the file has only these.
        location = tuple(part for part in detail["loc"] if part != "[key]")
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            problem = f"unknown key{_did_you_mean(location)}"
        elif detail["type"] == "missing":
            problem = "is missing"
        elif isinstance(detail["input"], str):
            problem = f"{inputs.short(problem)}, found {inputs.short(repr(detail['input']))}"
        problems.append(f"{document.place(location)}: {_dotted(location)}: {problem}")
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [f"and {len(problems) - MOST_PROBLEMS} more"]
    return ConfigurationError(
        "\n".join(problems),
        advice=f"The allowed keys and values are in {project.SCHEMA}.",
    )


def _did_you_mean(location: yamlfile.Location) -> str:
    """The key of the same part of the file that looks most like an unknown one."""
    parts: dict[str | int, type[BaseModel]] = {
        "bases": Base,
        "extensions": Extension,
        "checks": Check,
        "expectations": Expectation,
        "exclude": Exclusion,
        "include": Inclusion,
        "limits": Limits,
        "profiles": Inclusion if "include" in location else Profile,
    }
    if location[2:3] == ("applies",):
        model: type[BaseModel] = Conditions
    else:
        model = Matrix if len(location) == 1 else parts[location[0]]
    close = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _dangling_names(matrix: Matrix) -> Iterator[tuple[yamlfile.Location, str]]:
    """Names in the file that name nothing: a mistyped one would silently pick no cell."""
    axes: dict[str, list[str]] = {
        "uv": list(matrix.uv),
        "python": list(matrix.python),
        "platform": [str(platform) for platform in matrix.platforms],
        "base": list(matrix.bases),
        "extension": list(matrix.extensions),
        "check": list(matrix.checks),
        "remedy": [str(remedy) for remedy in Remedy],
    }
    inclusions: list[tuple[yamlfile.Location, Axes]] = [
        (("include", i), entry) for i, entry in enumerate(matrix.include)
    ]
    for name, profile in matrix.profiles.items():
        inclusions.append((("profiles", name), profile))
        inclusions += [
            (("profiles", name, "include", i), entry) for i, entry in enumerate(profile.include)
        ]
    for location, entry in inclusions:
        # Only names that are defined elsewhere can dangle; uv versions may be new here.
        for field, kind in (("bases", "base"), ("extensions", "extension"), ("checks", "check")):
            allowed = axes[kind]
            for value in getattr(entry, field) or ():
                if value not in allowed:
                    yield (*location, field), _no_such(value, allowed)
        axes["uv"] += entry.uv or ()
        axes["python"] += entry.python or ()
        axes["platform"] += (str(platform) for platform in entry.platforms or ())
    samples: dict[str, Mapping[str, Sample]] = {
        "extensions": matrix.extensions,
        "checks": matrix.checks,
    }
    selectors: list[tuple[yamlfile.Location, Conditions]] = [
        *(
            ((section, name, "applies"), sample.applies)
            for section, entries in samples.items()
            for name, sample in entries.items()
        ),
        *((("exclude", i), entry) for i, entry in enumerate(matrix.exclude)),
        *((("expectations", i), entry) for i, entry in enumerate(matrix.expectations)),
    ]
    for location, selector in selectors:
        for field, allowed in axes.items():
            # What applies to a release of the past may name versions that are not tested now.
            if not isinstance(selector, Selector) and field in ("uv", "python"):
                continue
            for pattern in getattr(selector, field, ()):
                if not any(fnmatchcase(value, pattern) for value in allowed):
                    yield (*location, field), _no_such(pattern, allowed)


def _no_such(value: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(value, allowed, n=1)
    there = ", ".join(allowed[:MOST_PROBLEMS]) or "none"
    if len(allowed) > MOST_PROBLEMS:
        there += f" and {len(allowed) - MOST_PROBLEMS} more"
    hint = f"; did you mean {inputs.short(repr(close[0]))}?" if close else f"; there are: {there}"
    return f"{inputs.short(repr(value))} matches nothing{hint}"
