"""Interpreter archives, from either source, through one function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never
from urllib.parse import unquote, urlsplit

from harness import cache, catalogue, contents, downloads, inventory, published, replica
from harness.errors import FetchError, HashMismatchError, NotOfferedError, ToolError
from harness.mirror import SUMS, Mirror
from harness.plan import Interpreter
from harness.progress import SILENT, Progress
from harness.replica import Replica
from harness.sources import Source


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that uv can install."""

    path: Path
    sha256: str
    version: str
    """CPython's, as uv names it: of a published archive by its name, of a replica what is in it."""
    name: str
    """Its file name, without what the cache puts before it."""


def provide(
    interpreter: Interpreter, mirror: Mirror | None = None, *, progress: Progress = SILENT
) -> Archive:
    """The archive of an interpreter, from the cache, made, or downloaded.

    Raises :class:`harness.errors.HarnessError` where it cannot be had; the cells that need it are
    then untestable. :class:`NotOfferedError` says that there is no such archive in the release.
    """
    match interpreter.source:
        case Source.REPLICA:
            if not interpreter.has_replica:
                raise ToolError(
                    f"there is no replica of the flavour {interpreter.flavour}",
                    advice="Use --source upstream, or leave the flavour out.",
                )
            made = replica.provide(interpreter.python, interpreter.platform, interpreter.link_model)
            return of_replica(made)
        case Source.UPSTREAM:
            return _published(interpreter, mirror or Mirror(), progress)
        case _:
            assert_never(interpreter.source)


def of_replica(made: Replica) -> Archive:
    """A replica as an archive."""
    return Archive(
        path=made.path,
        sha256=made.sha256,
        version=made.version,
        name=made.path.name.partition("-")[2],
    )


def look_into(archive: Archive) -> Path:
    """What is in an archive, once it was found harmless, as :mod:`harness.contents` keeps it."""

    def make(path: Path) -> None:
        _require_unchanged(archive)
        contents.save(contents.look(archive.path, archive.name), path)

    key = cache.digest("contents", contents.RECIPE, inventory.RECIPE, archive.sha256, archive.name)
    return cache.entry("contents", key, make, suffix=".json", check=cache.is_intact)


def unpacked(interpreter: Interpreter, archive: Archive) -> Path:
    """The archive as a plain tar, laid out as where uv would have unpacked it."""
    folder = interpreter.flavour.uv_key(archive.version, interpreter.platform)

    def make(path: Path) -> None:
        _require_unchanged(archive)
        contents.repack(archive.path, path, folder)

    key = cache.digest("unpacked", contents.RECIPE, archive.sha256, folder)
    return cache.entry("unpacked", key, make, suffix=".tar")


def _require_unchanged(archive: Archive) -> None:
    cache.require_intact(archive.path)
    if (found := cache.file_digest(archive.path)) != archive.sha256:
        raise HashMismatchError(
            f"{archive.path} has sha256 {found}, but {archive.name} has {archive.sha256}",
            advice="Do not use it. Remove it; it is fetched again where it can be had.",
        )


def base_packages(source: Source) -> tuple[str, ...]:
    """Debian packages that interpreters of a source need in their base image."""
    return replica.BASE_PACKAGES if source is Source.REPLICA else ()


def _published(interpreter: Interpreter, mirror: Mirror, progress: Progress) -> Archive:
    """The published archive, checked against the SHA256SUMS of its release."""
    release, default = interpreter.release, interpreter.default
    if default is not None:
        name, version = unquote(Path(urlsplit(default.url).path).name), default.version
        # Checked against SHA256SUMS when it came; by then also what uv's own metadata says.
        kept = cache.existing(downloads.KIND, default.sha256, suffix=f"-{name}")
        if kept is not None:
            return Archive(path=kept, sha256=default.sha256, version=version, name=name)
    else:
        found = published.best(
            catalogue.sums(release, mirror),
            interpreter.python,
            interpreter.platform,
            interpreter.flavour,
        )
        if found is None:
            raise NotOfferedError(
                f"release {release} has no {interpreter.flavour} of CPython {interpreter.python} "
                f"for {interpreter.platform}",
                advice="`pbs-matrix releases` says what each release has.",
            )
        name, version = found.filename, found.version
    sums = catalogue.sums(release, mirror, needing=name)
    if name not in sums:
        raise FetchError(
            f"{mirror.urls(release, SUMS)[0]} does not list {name}",
            advice="The release may be incomplete there; see its page on GitHub.",
        )
    path = downloads.fetch(
        mirror.urls(release, name, first=default.url if default else None),
        name=name,
        sha256=sums[name],
        progress=progress,
    )
    return Archive(path=path, sha256=sums[name], version=version, name=name)
