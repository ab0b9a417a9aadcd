"""What a run takes beside time: memory of its own and of the engine, and the disk of its images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError

from harness import engine
from harness.errors import BuildError
from harness.images import PULLED

DAEMONS = frozenset({"dockerd", "containerd", "podman"})
"""Names of the processes that an engine is, between its runs of containers."""

PROCESSES = Path("/proc")

FORGETTABLE = ("upgrade", "environment", "base")
"""Kinds of images; those that samples are built in are none of the reference matrix's."""


class EngineMemory:
    """The most memory that the engine has had since this was made; None where that is not seen."""

    def __init__(self, processes: Path = PROCESSES) -> None:
        self._daemons = [p for p in processes.glob("[0-9]*") if _name(p) in DAEMONS]
        for process in self._daemons:
            with contextlib.suppress(OSError):
                # proc(5): forget the highest yet. As root, or of one's own engine.
                (process / "clear_refs").write_text("5")

    def peak(self) -> int | None:
        """Bytes, of all its processes, each at its own worst moment."""
        found = [peak for process in self._daemons if (peak := _peak(process)) is not None]
        return sum(found) if found else None


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def _peak(process: Path) -> int | None:
    try:
        status = (process / "status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) * 1024 if "VmHWM" in fields else None


def disk(client: docker.DockerClient, ids: Iterable[str]) -> int | None:
    """Bytes of some images, what they share counted once; None where one is not there (any more).

    Layers are told apart by what the engine says of their making; it names no layer's size itself.
    """
    layers: dict[tuple[object, ...], int] = {}
    for image in sorted(set(ids)):
        try:
            history: list[Mapping[str, Any]] = client.api.history(image)
        except APIError:
            return None
        for entry in history:
            # The id is that of an intermediate image, where the builder keeps those.
            key = (entry["Id"], entry["Created"], entry["CreatedBy"], entry["Size"])
            layers[key] = int(entry["Size"])
    return sum(layers.values())


def forget(client: docker.DockerClient) -> int:
    """Remove the images that a run would find; their number.

    Raises :class:`BuildError` where a container uses one: what is then measured would not be cold.
    """
    removed = 0
    for kind in FORGETTABLE:
        for image in client.images.list(filters={"label": f"{engine.KIND}={kind}"}):
            if image.labels.get(f"{engine.LABEL}.base", "").startswith("builder"):
                continue
            _remove(client, image.id)
            removed += 1
    for image in client.images.list(name=PULLED):
        for tag in image.tags:
            if tag.startswith(f"{PULLED}:"):
                _remove(client, tag)
                removed += 1
    return removed


def _remove(client: docker.DockerClient, name: str) -> None:
    try:
        client.images.remove(name, force=True)
    except APIError as error:
        raise BuildError(
            f"an image cannot be removed before a cold run: {error.explanation}",
            advice="Let the other run end, or remove its containers: `pbs-matrix clean`.",
        ) from error
