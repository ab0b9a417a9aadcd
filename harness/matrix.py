"""matrix.yaml: the typed model of the file that a user edits, and the only place that reads it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from packaging.requirements import InvalidRequirement, Requirement
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

from harness import yamlfile
from harness.errors import ConfigurationError
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel, ReleaseRange
from harness.remedies import Remedy

NAME = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
"""Names become parts of test ids and image labels, hence the narrow alphabet."""


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


def _pinned_requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is not a requirement: {error}") from None
    pins = [s for s in requirement.specifier if s.operator == "==" and "*" not in s.version]
    if len(pins) != 1 or len(requirement.specifier) != 1 or requirement.url:
        raise ValueError(f"{text!r} must pin one version, as in python-mscl==67.0.1.0")
    return text


def _uv_version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError(f"{text!r} is not a uv version such as 0.7.9") from None
    return text


Name = Annotated[str, Field(pattern=NAME)]
DebianPackage = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
UvVersion = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$"), AfterValidator(_uv_version)]
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
else:
    Globs = _one_or_more(str)
    Ranges = _one_or_more(Annotated[str, AfterValidator(_release_range)])
    LinkModels = _one_or_more(LinkModel)


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


class Extension(_Model):
    """A sample under test: a pinned wheel from the index, or a project built here."""

    about: str = ""
    """What real package or mistake it stands for."""
    requirement: Annotated[str, AfterValidator(_pinned_requirement)] | None = None
    """Pinned requirement, such as python-mscl==67.0.1.0; its hashes are in matrix.lock."""
    source: str | None = None
    """Folder of a sample project, relative to this file or to the project's own cases."""
    imports: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
    """Module to import."""
    packages: tuple[DebianPackage, ...] = ()
    """Debian packages that it needs in its base, such as libgl1."""
    timeout: Annotated[int, Field(ge=1, le=600)] = 60
    """Seconds until an import that does not end is a time-out; ten times that is never waited."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.requirement is None) == (self.source is None):
            raise ValueError("needs either 'requirement' or 'source', and not both")
        return self


class Selector(_Model):
    """Picks cells: a cell matches when every axis that is named here does. Globs, one or more."""

    extension: Globs = ()
    uv: Globs = ()
    python: Globs = ()
    release: Ranges = ()
    """Releases in commit order: a tag, A..B, A.. or ..B."""
    link_model: LinkModels = ()
    platform: Globs = ()
    base: Globs = ()
    remedy: Globs = ()

    def matches(
        self,
        *,
        extension: str,
        uv: str,
        python: str,
        release: str,
        link_model: LinkModel,
        platform: str,
        base: str,
        remedy: str,
    ) -> bool:
        """Whether a cell with these coordinates is picked."""

        def glob(patterns: tuple[str, ...], value: str) -> bool:
            return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)

        return (
            glob(self.extension, extension)
            and glob(self.uv, uv)
            and glob(self.python, python)
            and glob(self.platform, platform)
            and glob(self.base, base)
            and glob(self.remedy, remedy)
            and (not self.link_model or link_model in self.link_model)
            and (
                not self.release
                or any(release in ReleaseRange.parse(text) for text in self.release)
            )
        )


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
        if self.expect is Reason.UNTESTABLE:
            raise ValueError("'untestable' is the absence of a result and cannot be expected")
        if (self.library is not None) != (self.expect is Reason.MISSING_LIBRARY):
            raise ValueError("'library' goes with 'expect: missing-library', and only with it")
        if self.library is not None and "{" in self.library.replace("{python}", ""):
            raise ValueError("'library' knows no placeholder but {python}")
        return self


class Axes(_Model):
    """Values of the axes; where one is left out, the matrix's own values hold."""

    uv: Annotated[tuple[UvVersion, ...], Axis] | None = None
    python: Annotated[tuple[PythonVersion, ...], Axis] | None = None
    platforms: Annotated[tuple[Platform, ...], Axis] | None = None
    bases: Annotated[tuple[Name, ...], Axis] | None = None
    extensions: Annotated[tuple[Name, ...], Axis] | None = None
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
    uv: Annotated[tuple[UvVersion, ...], Axis, Field(min_length=1)]
    """uv versions; each installs the release that is its own default."""
    python: Annotated[tuple[PythonVersion, ...], Axis, Field(min_length=1)]
    """CPython versions, such as 3.13."""
    platforms: Annotated[tuple[Platform, ...], Axis, Field(min_length=1)]
    bases: Annotated[dict[Name, Base], Field(min_length=1)]
    extensions: Annotated[dict[Name, Extension], Field(min_length=1)]
    remedies: Annotated[tuple[Remedy, ...], Axis, Field(min_length=1)] = (Remedy.NONE,)
    """What is done about the breakage before importing."""
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


def _dotted(location: yamlfile.Location) -> str:
    return ".".join(str(part) for part in location) or "the file"


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
            problem += f", found {detail['input']!r}"
        problems.append(f"{document.place(location)}: {_dotted(location)}: {problem}")
    more = f"\n{chr(10).join(problems[1:])}" if problems[1:] else ""
    return ConfigurationError(
        problems[0] + more,
        advice="The allowed keys and values are in harness/data/matrix.schema.json.",
    )


def _did_you_mean(location: yamlfile.Location) -> str:
    """The key of the same part of the file that looks most like an unknown one."""
    parts: dict[str | int, type[_Model]] = {
        "bases": Base,
        "extensions": Extension,
        "expectations": Expectation,
        "exclude": Exclusion,
        "include": Inclusion,
        "profiles": Inclusion if "include" in location else Profile,
    }
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
        for field, allowed in (("bases", axes["base"]), ("extensions", axes["extension"])):
            for value in getattr(entry, field) or ():
                if value not in allowed:
                    yield (*location, field), _no_such(value, allowed)
        axes["uv"] += entry.uv or ()
        axes["python"] += entry.python or ()
        axes["platform"] += (str(platform) for platform in entry.platforms or ())
    selectors: list[tuple[yamlfile.Location, Selector]] = [
        *((("exclude", i), entry) for i, entry in enumerate(matrix.exclude)),
        *((("expectations", i), entry) for i, entry in enumerate(matrix.expectations)),
    ]
    for location, selector in selectors:
        for field, allowed in axes.items():
            for pattern in getattr(selector, field):
                if not any(fnmatchcase(value, pattern) for value in allowed):
                    yield (*location, field), _no_such(pattern, allowed)


def _no_such(value: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(value, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(allowed)}"
    return f"{value!r} matches nothing{hint}"
