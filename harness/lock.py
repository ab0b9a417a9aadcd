"""matrix.lock: what ``pbs-matrix lock`` found out about the names in matrix.yaml.

It pins the sha256 of every wheel, and records which release each uv version installs by default,
as that uv binary itself says. It is generated, committed, and verified again when a run uses it,
so that planning needs neither a network nor an engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness import inputs
from harness.errors import LockError
from harness.platforms import Platform

MOST_BYTES = 64 << 20
"""Bytes of a lock file; one of 10,000 wheels has a twentieth of it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockedWheel(_Model):
    """A wheel file of the index."""

    filename: Annotated[str, Field(pattern=r"^[\w.+-]+\.whl$")]
    sha256: Sha256


class LockedDefault(_Model):
    """What ``uv python install X.Y`` fetches: CPython's version, the release, the archive."""

    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+\w*$")]
    release: Annotated[str, Field(pattern=r"^\d{8}$")]
    url: str
    sha256: Sha256
    """What the archive's is by uv's own metadata, asked of the uv program itself."""


class LockedUv(_Model):
    """One uv version: its wheels, and its default interpreter by CPython version and platform."""

    wheels: dict[Platform, LockedWheel]
    defaults: dict[str, dict[Platform, LockedDefault]]
    reinstalls: dict[str, dict[Platform, LockedDefault]] = {}
    """Of one that is newer than ``upgrade_from``: what it has of the very version of CPython that
    the older one installs, which is what ``--reinstall`` with that version brings."""


class Lock(_Model):
    """The content of a lock file."""

    version: Literal[1] = 1
    uv: dict[str, LockedUv]
    wheels: dict[str, dict[str, dict[Platform, tuple[LockedWheel, ...]]]]
    """Wheels of an extension and of what it depends on, by requirement, CPython and platform."""

    def default(self, uv: str, python: str, platform: Platform) -> LockedDefault:
        """The interpreter that a uv version installs, or :class:`LockError`."""
        try:
            return self.uv[uv].defaults[python][platform]
        except KeyError:
            raise _not_locked(f"uv {uv} with CPython {python} on {platform}") from None

    def reinstalled(self, uv: str, python: str, platform: Platform) -> LockedDefault | None:
        """What a newer uv reinstalls over what the older one had; None where it has none."""
        return self.uv[uv].reinstalls.get(python, {}).get(platform)

    def uv_wheel(self, uv: str, platform: Platform) -> LockedWheel:
        """The wheel that carries a uv version, or :class:`LockError`."""
        try:
            return self.uv[uv].wheels[platform]
        except KeyError:
            raise _not_locked(f"uv {uv} for {platform}") from None

    def extension_wheels(
        self, requirement: str, python: str, platform: Platform
    ) -> tuple[LockedWheel, ...]:
        """The wheel of a pinned requirement, then its dependencies', or :class:`LockError`."""
        try:
            return self.wheels[requirement][python][platform]
        except KeyError:
            raise _not_locked(f"{requirement} with CPython {python} on {platform}") from None


def _not_locked(what: str) -> LockError:
    return LockError(
        f"matrix.lock does not know {what}",
        advice="Run `pbs-matrix lock` (it needs the package index) and commit the result.",
    )


def path_for(matrix: Path) -> Path:
    """The lock file of a matrix file: beside it, with the suffix ``.lock``."""
    return matrix.with_suffix(".lock")


def load(path: Path) -> Lock:
    """Read a lock file; :class:`LockError` where it is missing or damaged, and in which line."""
    try:
        return inputs.json_of(Lock, path, most=MOST_BYTES)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    except inputs.Mistake as error:
        problem = f"{error.place}: damaged: {error.what}"
    raise LockError(
        problem,
        advice="Make it with `pbs-matrix lock` (it needs the package index), or restore it.",
    )


def dump(lock: Lock) -> str:
    """The text of a lock file: sorted, so that a change shows as a small difference."""
    return json.dumps(lock.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
