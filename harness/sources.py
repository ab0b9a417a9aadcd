"""Where interpreters come from."""

from __future__ import annotations

from enum import StrEnum

AUTO = "auto"
"""The word for "upstream where it can be reached, else replicas": a run decides it once."""


class Source(StrEnum):
    """Where an interpreter comes from. A replica is never passed off as the release."""

    REPLICA = "replica"
    UPSTREAM = "upstream"
