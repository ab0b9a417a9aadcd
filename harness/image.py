"""An image on the engine, as what rests on it has to know it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Origin(StrEnum):
    """How a base image came to be."""

    PULLED = "pulled"
    BUILT = "built"


class Image(BaseModel):
    """An image on the engine."""

    model_config = ConfigDict(frozen=True)

    tag: str
    id: str
    origin: Origin
    """Of the base, also for an environment."""
    base_digest: str
    """What the base is made of: the pulled image's digest, or the sha256 of the packages' tar."""
