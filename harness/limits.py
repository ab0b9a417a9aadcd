"""How much of the machine a container has in which samples are imported."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.errors import ConfigurationError
from harness.sizes import parse_size

PROCESSES = 256


def _size(text: str) -> str:
    try:
        parse_size(text)
    except ConfigurationError as error:
        raise ValueError(f"{error.problem}. {error.advice}") from None
    return text


Size = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*([KMGTkmgt]i?)?[Bb]?$"), AfterValidator(_size)]


class Limits(BaseModel):
    """As ``limits`` in matrix.yaml has them; the defaults suffice for what is there."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    memory: Size = "1GiB"
    """Of it, swap and what lies in its /tmp included, such as 1GiB or 500MB."""
    processes: Annotated[int, Field(ge=8)] = PROCESSES
    """Threads included."""
    cpus: Annotated[float, Field(ge=0.01)] = 2
    """Processors at a time; where the engine has fewer, all that it has."""
    tmp: Size = "256MiB"
    """What may lie in its /tmp. Nothing else can be written but /dev/shm, which has 64 MiB."""
    file_size: Size = "256MiB"
    """Of one file that it writes."""
    open_files: Annotated[int, Field(ge=64)] = 1024
    """In each of its processes."""
