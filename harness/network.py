"""How failures of the network are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests

from harness.errors import FetchError, causes

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""


@contextmanager
def explained(what: str, *, advice: str) -> Iterator[None]:
    """Turn what goes wrong while fetching into one :class:`FetchError` with its root cause."""
    try:
        yield
    except (requests.RequestException, ValueError) as error:
        *_, root = causes(error)
        raise FetchError(f"{what} cannot be fetched: {root}", advice=advice) from error
