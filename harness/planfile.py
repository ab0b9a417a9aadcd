"""The plan file: what one machine has decided, so that several run parts of the same matrix.

What "latest" is, and whether published archives can be reached, is found out once. Whoever runs a
part takes it from the file, and so all of them plan the same cells.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness import inputs, output
from harness import lock as locks
from harness import mirror as mirrors
from harness.errors import ConfigurationError
from harness.markdown import without_passwords
from harness.mirror import Mirror
from harness.plan import Cell
from harness.platforms import Platform
from harness.request import Request
from harness.resolution import Resolution
from harness.sharding import Shard

SCHEMA: Literal[1] = 1
"""Version of the file's format."""

MOST_BYTES = 256 << 20
"""Bytes of a plan file; one of a million cells has half of it."""

_AGAIN = "Make it again with `pbs-matrix plan -o FILE`."


class Track(StrEnum):
    """Which of two runs of a cell a job does: both may be wanted of one."""

    MAIN = "main"
    NATIVE = "native"
    """The cells that others run under emulation, again where none is needed."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Words = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./ -]{1,80}$")]
"""What may be put anywhere, a shell included."""


class Job(_Model):
    """A shard, and the machine that it is for."""

    number: Annotated[int, Field(ge=1)]
    name: Words
    track: Track = Track.MAIN
    platform: Platform | None = None
    """None where it has cells of any."""
    runner: Words | None = None
    """GitHub's name of the machine; None for any."""
    emulated: bool | None = None
    """Whether its cells run under emulation; None where some may."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Predicted, preparation included."""
    cells: tuple[str, ...]
    """Ids."""


class Plan(_Model):
    """The content of a plan file."""

    schema_version: Literal[1] = SCHEMA
    harness: str
    """Version of this program."""
    matrix_sha256: str
    lock_sha256: str
    request: Request
    resolution: Resolution
    jobs: Annotated[tuple[Job, ...], Field(min_length=1)]

    def ids(self, track: Track = Track.MAIN) -> tuple[str, ...]:
        """The cells of a track, each once."""
        jobs = (job for job in self.jobs if job.track is track)
        return tuple(dict.fromkeys(name for job in jobs for name in job.cells))

    def job(self, shard: Shard, path: Path) -> Job:
        """The job with a shard's number.

        Raises :class:`ConfigurationError` where there are not as many jobs as shards.
        """
        if shard.count != len(self.jobs):
            raise ConfigurationError(
                f"--shard {shard}, but {path} has {len(self.jobs)} jobs",
                advice=f"Write --shard={min(shard.number, len(self.jobs))}/{len(self.jobs)}.",
            )
        return self.jobs[shard.number - 1]

    def require(self, matrix_file: Path, path: Path) -> None:
        """Refuse another matrix or lock file than the one that was planned by."""
        for file, planned in (
            (matrix_file, self.matrix_sha256),
            (locks.path_for(matrix_file), self.lock_sha256),
        ):
            if _sha256(file) != planned:
                raise ConfigurationError(
                    f"{path} was made with another {file.name} than {file}",
                    advice=f"Take the file that it was made with, or: {_AGAIN}",
                )

    def resolved(self, mirror: str | None) -> Resolution:
        """What was decided; a mirror that is named here counts for this machine alone."""
        here = mirrors.of(mirror)
        return self.resolution.model_copy(update={"mirror": here}) if here.base else self.resolution

    def chosen(self, ids: Iterable[str], cells: Sequence[Cell], path: Path) -> tuple[Cell, ...]:
        """Those of the planned cells that have these ids.

        Raises :class:`ConfigurationError` for an id that none has.
        """
        by_id = {cell.id: cell for cell in cells}
        try:
            return tuple(by_id[name] for name in ids)
        except KeyError as error:
            raise ConfigurationError(
                f"{path} (of version {self.harness}) has a cell that is not planned here: {error}",
                advice=_AGAIN,
            ) from None


def make(
    jobs: Sequence[Job], *, matrix_file: Path, request: Request, resolution: Resolution
) -> Plan:
    """A plan of some jobs. Nobody's password for a mirror is in it: a plan is handed around."""
    base = resolution.mirror.base
    told = resolution.model_copy(
        update={
            "mirror": Mirror(base=_anonymous(base)) if base else resolution.mirror,
            "said": tuple(map(without_passwords, resolution.said)),
        }
    )
    return Plan(
        harness=metadata.version("pbs-matrix"),
        matrix_sha256=_sha256(matrix_file),
        lock_sha256=_sha256(locks.path_for(matrix_file)),
        request=request,
        resolution=told,
        jobs=tuple(jobs),
    )


def write(plan: Plan, path: Path) -> None:
    """Write the file, whole or not at all."""
    output.write(path, plan.model_dump_json(indent=1).encode() + b"\n")


def read(path: Path) -> Plan:
    """Read what :func:`write` wrote; :class:`ConfigurationError` for what is no such file."""
    try:
        plan = inputs.json_of(Plan, path, most=MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}", advice=_AGAIN
        ) from None
    except inputs.Mistake as error:
        raise ConfigurationError(
            f"{error.place}: not a plan: {error.what}", advice=_AGAIN
        ) from None
    for place, job in enumerate(plan.jobs):
        if job.number != place + 1:
            raise ConfigurationError(
                f"{path}: not a plan: jobs.{place}.number: {job.number} instead of {place + 1}",
                advice=_AGAIN,
            )
    return plan


def ids(path: Path, track: Track = Track.MAIN) -> tuple[str, ...]:
    """The cells that a plan file's jobs of a track have, each once."""
    return read(path).ids(track)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(inputs.content(path, most=locks.MOST_BYTES)).hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}",
            advice="Name another with --matrix.",
        ) from None


def _anonymous(url: str) -> str:
    return re.sub(r"(?<=://)[^/\s]+@", "", url)
