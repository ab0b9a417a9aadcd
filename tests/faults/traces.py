"""What a run leaves behind, told from what other runs have on the same machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import NotFound

from harness import cache, engine, storage

MARK = "PBS_MATRIX_FAULT"
"""Environment variable of a run's processes, by which they are known, whatever became of them."""


def new_mark() -> dict[str, str]:
    """Environment of a run whose processes are to be found again."""
    return {MARK: secrets.token_hex(8)}


def processes(mark: str) -> dict[int, str]:
    """Command lines of the processes of a run, by pid; what has ended and not been reaped too."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted not in (place / "environ").read_bytes().split(b"\0"):
                continue
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile, or is not ours to look at
            continue
        found[int(place.name)] = " ".join(words).strip()
    return found


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat, as it is in the label of an owner; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """Pids of a process's children."""
    found = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in place.read_text().split()]
        except OSError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What is on an engine that a build leaves behind which nobody has ended."""

    images: frozenset[str]
    """Those without a name that nothing else is made from."""
    containers: frozenset[str]
    """Those that no process owns: the steps of builds."""

    @classmethod
    def look(cls, client: docker.DockerClient) -> Engine:
        """What there is now."""
        api = client.api
        return cls(
            images=frozenset(str(i["Id"]) for i in api.images(filters={"dangling": True})),
            containers=frozenset(
                str(c["Id"])
                for c in api.containers(all=True)
                if engine.OWNER not in (c.get("Labels") or {})
            ),
        )

    def beyond(self, before: Engine) -> Engine:
        """What is there that was not."""
        return Engine(
            images=self.images - before.images, containers=self.containers - before.containers
        )


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a run had at some moment that is to be gone after it."""

    mark: str
    pid: int
    started: str
    """Of its first process, as :func:`start_time` tells."""
    files: frozenset[Path] = frozenset()
    """Temporary folders and files, and what is in the cache besides entries."""
    engine: Engine = field(
        default_factory=lambda: Engine(images=frozenset(), containers=frozenset())
    )

    def left(self, client: docker.DockerClient) -> tuple[str, ...]:
        """What of it is still there."""
        now = Engine.look(client)
        found = [f"process {pid}: {line[:60]}" for pid, line in processes(self.mark).items()]
        found += containers(client, self.pid, self.started)
        found += [f"file {path}" for path in self.files if os.path.lexists(path)]
        found += [f"image {name[:19]}" for name in self.engine.images & now.images]
        found += [f"build step {name[:12]}" for name in self.engine.containers & now.containers]
        return tuple(sorted(found))


def containers(client: docker.DockerClient, pid: int, started: str) -> list[str]:
    """The containers of a run, by its first process; also those that are being removed."""
    found = []
    for each in client.api.containers(all=True, filters={"label": [engine.OWNER]}):
        label = str(each["Labels"][engine.OWNER]).split()
        if label[3:] == [str(pid), started]:
            try:
                state = client.api.inspect_container(each["Id"])["State"]["Status"]
            except NotFound:
                continue
            found.append(f"container {each['Id'][:12]} ({state})")
    return found


def made_in(folder: Path) -> frozenset[Path]:
    """What is in a folder for temporary files, but what pytest keeps on purpose for its workers."""
    return frozenset(p for p in folder.iterdir() if not p.name.startswith("pytest-of-"))


def temporary(folders: Iterable[Path]) -> frozenset[Path]:
    """What is in some folders for temporary files, and besides entries in the cache."""
    there = {path for folder in folders for path in made_in(folder)}
    looked = storage.look()
    scratch = {item.path for item in (*looked.leftovers, *looked.in_work, *looked.partial)}
    marks = set(cache.root().glob("*/.*.removing"))
    return frozenset(there | scratch | marks)
