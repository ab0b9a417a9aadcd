"""Containers: one per environment and run, without a network, shared by every worker.

A container ends by itself when nothing has run in it for a while (``images/environment/idle.sh``),
so a harness that was killed leaves nothing behind; the run that made it removes it earlier.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from filelock import FileLock

from harness import archives, cache, engine, owner
from harness.platforms import Platform

GRACE = 30
"""Seconds beyond a probe's own limit after which the container is killed from outside."""

MAX_OUTPUT = 1 << 20
"""Bytes of a probe's output that are kept, of each stream."""

EXTENSIONS = "/opt/extensions"
"""Where a container has the unpacked samples, one directory each."""

IDLE = "/opt/pbs-matrix/idle.sh"
"""The first process of a container; of its two numbers the image's are the default."""

MEMORY = "1g"
PIDS = 256


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a probe's process ended, and what it said. ``timed_out``: its time limit ended it."""

    exit_code: int
    seconds: float
    timed_out: bool
    events: dict[str, dict[str, Any]]
    errors: str
    oom_killed: bool = False


class Containers:
    """The containers of one run, found by name, made by whichever process needs one first."""

    def __init__(
        self,
        client: docker.DockerClient,
        run: str,
        owner: str,
        locks: Path,
        *,
        lasting: int | None = None,
    ) -> None:
        """``lasting``: seconds after which one ends although it is in use; None: the image's."""
        self._command = ["/bin/sh", IDLE, "45", str(lasting)] if lasting else None
        self._client = client
        self._run = run
        self._owner = owner
        self._locks = locks

    def get(self, key: str, image: str, platform: Platform, trees: Mapping[str, Path]) -> Container:
        """The running container of an image, made and given its extensions if need be.

        ``trees`` are the directories to lay under /opt/extensions, by name. Raises
        :class:`harness.errors.HarnessError` where the engine refuses.
        """
        name = f"pbs-matrix-{self._run}-{cache.digest(key)[:12]}"
        doing = f"starting the container of {key}"
        try:
            with FileLock(self._locks / f"{name}.lock"):
                with contextlib.suppress(NotFound):
                    found = self._client.containers.get(name)
                    if found.status == "running":
                        return found
                    _remove(found)
                return self._make(name, image, platform, trees)
        except (DockerException, requests.RequestException) as error:
            raise engine.translated(error, doing) from error

    def _make(
        self, name: str, image: str, platform: Platform, trees: Mapping[str, Path]
    ) -> Container:
        container = self._client.containers.create(
            image,
            command=self._command,
            name=name,
            platform=platform.docker,
            auto_remove=True,
            **confinement(self._run, self._owner),
        )
        try:
            with _packed(trees) as packed:
                put(container, EXTENSIONS, packed)
            container.start()
        except BaseException:
            _remove(container)
            raise
        return container

    def reap(self) -> int:
        """Remove every container of this run; their number."""
        return reap(self._client, self._run)


def confinement(run: str, owner: str, *, memory: str = MEMORY) -> dict[str, Any]:
    """What the engine is told of every container that runs strangers' code, and by whom to reap."""
    return {
        "labels": {engine.KIND: "cell", engine.RUN: run, engine.OWNER: owner},
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": PIDS,
        # The user's proxies and the like are no business of theirs.
        "use_config_proxy": False,
    }


def put(container: Container, directory: str, packed: IO[bytes]) -> None:
    """Unpack a tar, from its beginning, into a directory of a container.

    The tar loses the padding beyond the two blocks of zeros that end it: Podman reads no further,
    and may fail since nobody reads the rest (https://github.com/containers/buildah/issues/6573).
    """
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        while tar.next() is not None:
            pass
        end = tar.offset
    packed.truncate(end + 2 * tarfile.BLOCKSIZE)
    packed.seek(0)
    container.put_archive(directory, packed)


def reap(client: docker.DockerClient, run: str) -> int:
    """Remove every container of a run; their number."""
    return _remove_all(client, lambda labels: labels.get(engine.RUN) == run)


def reap_dead(client: docker.DockerClient) -> int:
    """Remove containers of runs whose process is gone; their number. Live runs are left alone."""
    return _remove_all(client, lambda labels: not owner.is_alive(labels[engine.OWNER]))


def run_probe(
    container: Container,
    request: Mapping[str, object],
    *,
    limit: int,
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """Run the probe in a fresh interpreter, for at most ``limit`` seconds.

    ``variables`` are added to its environment, and to that of ``timeout``.

    The limit holds inside the container (``timeout``). Should that not work, the container is
    killed from outside. Raises docker's errors where the container or the engine is gone.
    """
    api = container.client.api
    nonce = secrets.token_hex(8)
    command = ["timeout", "--signal=KILL", str(limit), "/opt/venv/bin/python", "-I", "-B"]
    command += ["/opt/pbs-matrix/probe.py", json.dumps({**request, "nonce": nonce})]
    execution = api.exec_create(
        container.id,
        command,
        user="65534:65534",
        # Inside the container, where /tmp is nobody else's.
        environment={"HOME": "/tmp", "LANG": "C.UTF-8", **(variables or {})},  # noqa: S108
    )
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        with contextlib.suppress(DockerException, requests.RequestException):
            container.kill()

    watchdog = threading.Timer(limit + GRACE, kill)
    watchdog.daemon = True
    start = time.monotonic()
    watchdog.start()
    try:
        said, errors = _read(api.exec_start(execution["Id"], stream=True, demux=True))
        seconds = time.monotonic() - start
        exit_code = 137 if killed.is_set() else _exit_code(api, execution["Id"], killed)
    finally:
        watchdog.cancel()
    events = _events(said, nonce)
    gone_by_kill = exit_code == 137
    return Finished(
        exit_code=exit_code,
        seconds=seconds,
        timed_out=killed.is_set() or (gone_by_kill and seconds >= limit),
        events=events,
        errors=errors,
        oom_killed=gone_by_kill and _oom_kills_since(container, events),
    )


def _exit_code(api: docker.APIClient, execution: str, killed: threading.Event) -> int:
    """The exit code of a process whose output has ended, once the engine has noted it.

    An engine may end the output first; and a process may close its output and go on, until it is
    killed.
    """
    pause = 0.01
    while not killed.is_set():
        found = api.exec_inspect(execution)
        if not found["Running"] and found["ExitCode"] is not None:
            return int(found["ExitCode"])
        killed.wait(pause)
        pause = min(2 * pause, 1)
    return 137


def _read(stream: Iterator[tuple[bytes | None, bytes | None]]) -> tuple[bytes, str]:
    """Both streams to their end: the beginning of the first, where the reports are, and the end
    of the second, where a dying process says why. What is beyond the limit is dropped.
    """
    kept = (bytearray(), bytearray())
    for output, errors in stream:
        if output and len(kept[0]) < MAX_OUTPUT:
            kept[0].extend(output[: MAX_OUTPUT - len(kept[0])])
        if errors:
            kept[1].extend(errors)
            del kept[1][:-MAX_OUTPUT]
    return bytes(kept[0]), kept[1].decode(errors="replace")


def _events(said: bytes, nonce: str) -> dict[str, dict[str, Any]]:
    """The probe's own lines among what it printed, by event."""
    events = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("nonce") == nonce:
                events[str(event.get("event"))] = event
    return events


def _oom_kills_since(container: Container, events: dict[str, dict[str, Any]]) -> bool:
    """Whether the kernel killed for want of memory after the probe had started."""
    before = events.get("started", {}).get("oom_kills")
    if before is None:
        return False
    files = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
    said = container.exec_run(["sh", "-c", f"cat {files} 2>/dev/null"]).output
    kills = [line for line in said.decode().splitlines() if line.startswith("oom_kill ")]
    return bool(kills) and int(kills[0].split()[1]) > int(before)


@contextmanager
def _packed(trees: Mapping[str, Path]) -> Iterator[IO[bytes]]:
    """A tar of some trees, by name, as a stream."""
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, tree in sorted(trees.items()):
                archives.add_tree(tar, tree, name)
        stream.seek(0)
        yield stream


def _remove_all(client: docker.DockerClient, which: Any) -> int:
    """Raises :class:`harness.errors.HarnessError` where the engine does not answer."""
    removed = 0
    try:
        found = client.containers.list(
            all=True, filters={"label": [f"{engine.KIND}=cell"]}, ignore_removed=True
        )
        for container in found:
            if engine.OWNER in container.labels and which(container.labels):
                _remove(container)
                removed += 1
    except (DockerException, requests.RequestException) as error:
        raise engine.translated(error, "looking for containers of other runs") from error
    return removed


def _remove(container: Container) -> None:
    # Gone already, or going because it is set to remove itself: both are what is wanted.
    with contextlib.suppress(NotFound, APIError):
        container.remove(force=True, v=True)
