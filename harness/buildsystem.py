"""The pyproject.toml of a sample that its own back end builds: what it needs, all pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from packaging.requirements import Requirement
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness import inputs
from harness.errors import ConfigurationError
from harness.pins import pinned

FILE = "pyproject.toml"
MOST_BYTES = 1 << 20

_ADVICE = (
    "A sample of this kind needs [build-system] with requires (each pinned, as in "
    '"setuptools==84.2.1") and build-backend; cases/extensions has examples.'
)


def _unconditional(text: str) -> str:
    # It would have to be asked of the container's interpreter; a sample's author can decide.
    if Requirement(text).marker:
        raise ValueError(f"{text!r} must not depend on a marker")
    return text


class BuildSystem(BaseModel):
    """The table [build-system] of PEP 518."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    requires: Annotated[
        tuple[Annotated[str, AfterValidator(pinned), AfterValidator(_unconditional)], ...],
        Field(min_length=1, strict=False),
    ]
    build_backend: Annotated[
        str, Field(alias="build-backend", pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?$")
    ]


def read(folder: Path) -> BuildSystem:
    """What a folder's pyproject.toml says; :class:`ConfigurationError` names file and mistake."""
    path = folder / FILE
    try:
        content = inputs.toml(path, most=MOST_BYTES)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    except inputs.Mistake as error:
        problem = str(error)
    else:
        if "build-system" not in content:
            raise ConfigurationError(f"{path} has no table [build-system]", advice=_ADVICE)
        try:
            return BuildSystem.model_validate(content["build-system"])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = inputs.keys(("build-system", *first["loc"]))
            said = "is missing" if first["type"] == "missing" else first["msg"]
            problem = f"{path}: {where}{inputs.short(said.removeprefix('Value error, '))}"
    raise ConfigurationError(problem, advice=_ADVICE)
