"""Interpreter archives, from either source, through one function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote, urlsplit

import requests

from harness import cache, inventory, network, replica
from harness.errors import FetchError, HashMismatchError
from harness.plan import Interpreter
from harness.sources import Source


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that uv can install: its file, its sha256, and the CPython version inside."""

    path: Path
    sha256: str
    version: str


def provide(interpreter: Interpreter) -> Archive:
    """The archive of an interpreter, from the cache, made, or downloaded.

    Raises :class:`harness.errors.HarnessError` where it cannot be had; the cells that need it are
    then untestable.
    """
    match interpreter.source:
        case Source.REPLICA:
            made = replica.provide(interpreter.python, interpreter.platform, interpreter.link_model)
            return Archive(path=made.path, sha256=made.sha256, version=made.version)
        case Source.UPSTREAM:
            return _download(interpreter)
        case _:
            assert_never(interpreter.source)


def inventory_of(archive: Archive) -> Path:
    """What of an archive concerns the loader, as :mod:`harness.inventory` keeps it."""

    def make(path: Path) -> None:
        inventory.save(inventory.of_interpreter(archive.path), path)

    key = cache.digest("interpreter", inventory.RECIPE, archive.sha256)
    return cache.entry("inventories", key, make, suffix=".json")


def base_packages(source: Source) -> tuple[str, ...]:
    """Debian packages that interpreters of a source need in their base image."""
    return replica.BASE_PACKAGES if source is Source.REPLICA else ()


def _download(interpreter: Interpreter) -> Archive:
    """The published archive, checked against the SHA256SUMS of its release."""
    name = unquote(Path(urlsplit(interpreter.url).path).name)
    sums_url = f"{interpreter.url.rpartition('/')[0]}/SHA256SUMS"

    def fetch_sums(path: Path) -> None:
        path.write_bytes(_get(sums_url))

    sums = cache.entry("sums", cache.digest(sums_url), fetch_sums).read_text(errors="replace")
    found = re.search(rf"^([0-9a-f]{{64}})\s+\*?{re.escape(name)}$", sums, re.MULTILINE)
    if found is None:
        raise FetchError(
            f"{sums_url} does not list {name}",
            advice="The release may be incomplete; see its page on GitHub.",
        )
    sha256 = found[1]

    def fetch(path: Path) -> None:
        path.write_bytes(_get(interpreter.url))
        actual = cache.file_digest(path)
        if actual != sha256:
            raise HashMismatchError(
                f"{interpreter.url} has sha256 {actual}, but SHA256SUMS says {sha256}",
                advice="Do not use it; a proxy or mirror may have changed it.",
            )

    path = cache.entry("upstream", sha256, fetch, suffix=f"-{name}")
    return Archive(path=path, sha256=sha256, version=interpreter.version)


def _get(url: str) -> bytes:
    with network.explained(url, advice="Check the network and proxy, or use --source replica."):
        answer = requests.get(url, timeout=network.TIMEOUT)
        answer.raise_for_status()
        return answer.content
