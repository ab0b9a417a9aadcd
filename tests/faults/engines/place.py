"""A place to inject an engine's faults in: an engine of its own behind a proxy, and a cache.

The machine's own engine, and what others have on it, is left alone; and what a run leaves behind
is seen to the last container, since nobody else is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from harness import cache, engine
from tests.faults import callsites
from tests.faults.proxy import Proxy
from tests.integration import engines

PROJECT = Path(__file__).parent.parent.parent.parent

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

PATIENCE = {"PBS_MATRIX_ENGINE_TIMEOUT": "60"}
"""How many seconds the processes under test wait for one answer of the engine."""

IMPATIENCE = {"PBS_MATRIX_ENGINE_TIMEOUT": "6", callsites.MOST: "6"}
"""The same where an answer will not come."""

LIMIT = 150
"""Seconds that a command may take; beyond them it hangs."""

KINDS = (
    *("base-roots", "benchmarks", "bytecode", "contents", "debian-python", "installed"),
    *("inventories", "pair-links", "pairs", "replicas", "samples", "sdks", "systems"),
    *("uv-answers", "uv-defaults", "wheels", "uv"),
)
"""Kinds of the user's cache that the place gets, as links to the same files."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int | None
    """None where it had to be ended: it hung."""
    said: str
    results: tuple[dict[str, Any], ...]
    seconds: float
    files: tuple[str, ...]
    """What it left in the folder for temporary files."""

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by cell."""
        return {
            str(line["id"]): " ".join(filter(None, (line["outcome"], line.get("missing_library"))))
            for line in self.results
            if "id" in line
        }


class Place:
    """An engine, a proxy before it, and a cache."""

    def __init__(self, root: Path, address: str, proxy: Proxy) -> None:
        self.root = root
        self.address = address
        self.proxy = proxy
        self.client = docker.DockerClient(base_url=address, timeout=120)
        self.cache = root / "cache"
        self.argv: list[str] = []
        """How the engine was started, once it was stopped."""
        self._variables = callsites.environment(root / "python")

    def wait_until_it_answers(self) -> None:
        """Wait until the engine takes calls, on connections that it has not ended."""
        self.client.close()
        _wait_until_it_answers(self.address)
        self.client = docker.DockerClient(base_url=self.address, timeout=120)

    def start(
        self, *argv: str, environment: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start Python with some arguments, and its own folder.

        ``{results}`` in an argument or a variable is the results file, ``{root}`` the folder of the
        place.
        """
        folder = Path(tempfile.mkdtemp(dir=self.root))

        def filled(text: str) -> str:
            known = (("{results}", folder / "results"), ("{root}", self.root))
            for name, path in known:
                text = text.replace(name, str(path))
            return text

        (folder / "tmp").mkdir()
        variables = {
            **os.environ,
            **self._variables,
            "DOCKER_HOST": self.proxy.address,
            "PBS_MATRIX_CACHE": str(self.cache),
            **PATIENCE,
            "TMPDIR": str(folder / "tmp"),
            "COLUMNS": "500",
            **{name: filled(value) for name, value in (environment or {}).items()},
        }
        process = subprocess.Popen(
            [sys.executable, *map(filled, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=PROJECT,
            start_new_session=True,
            env=variables,
        )
        return process, folder

    def finish(self, process: subprocess.Popen[str], folder: Path, start: float) -> Ended:
        """Wait for a command that was started at ``start`` (``time.monotonic``)."""
        try:
            said, _ = process.communicate(timeout=LIMIT)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            code = None
        files = sorted(path.name for path in (folder / "tmp").iterdir())
        found = _lines(folder / "results")
        shutil.rmtree(folder, ignore_errors=True)
        return Ended(
            code=code,
            said=said,
            results=found,
            seconds=time.monotonic() - start,
            files=tuple(files),
        )

    def run(self, *argv: str, environment: Mapping[str, str] | None = None) -> Ended:
        """Run Python with some arguments."""
        start = time.monotonic()
        return self.finish(*self.start(*argv, environment=environment), start)

    def left(self) -> tuple[str, ...]:
        """What is on the engine and should not be after a command, once it has settled."""
        # An engine removes what has ended a moment later.
        deadline = time.monotonic() + 10
        while (found := self._left()) and time.monotonic() < deadline:
            if not any("running" in each or "removing" in each for each in found):
                break
            time.sleep(0.2)
        return found

    def _left(self) -> tuple[str, ...]:
        api = self.client.api
        found = [
            f"container {each['State']} {(each['Names'] or ['?'])[0].strip('/')}"
            for each in api.containers(all=True)
            if "keep" not in (each["Labels"] or {})
        ]
        for image in api.images(filters={"dangling": True}):
            # What has labels is removed with the others, by a limit or by `clean --images`.
            if not image["Labels"]:
                found.append(f"image {image['Id'][7:19]} without labels")
        found += [f"volume {each['Name']}" for each in api.volumes()["Volumes"] or ()]
        return tuple(sorted(found))

    def wipe(self, *, images: bool) -> None:
        """Remove all containers, and images that nothing needs, or all."""
        for each in self.client.api.containers(all=True):
            with contextlib.suppress(NotFound, APIError):
                self.client.api.remove_container(each["Id"], force=True, v=True)
        if images:
            for _ in range(3):
                for each in self.client.api.images(all=False):
                    with contextlib.suppress(NotFound, APIError):
                        self.client.api.remove_image(each["Id"], force=True)
        self.client.api.prune_images({"dangling": True})

    def forget(self, *kinds: str) -> None:
        """Remove kinds of the cache, so that they are made again."""
        for kind in kinds:
            shutil.rmtree(self.cache / kind, ignore_errors=True)

    def fill(self, kinds: Sequence[str] = KINDS) -> None:
        """Give the cache what the user's has, as links."""
        for kind in kinds:
            if (cache.root() / kind).is_dir():
                shutil.copytree(
                    cache.root() / kind,
                    self.cache / kind,
                    symlinks=True,
                    copy_function=_link,
                    dirs_exist_ok=True,
                )

    def make_image(
        self, name: str, labels: Mapping[str, str], text: str, *, architecture: str = "amd64"
    ) -> None:
        """An image with one small file, made long ago."""
        self.client.images.load(tiny_image(name, labels, text, architecture=architecture))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        shutil.copy2(source, target)


def tiny_image(
    name: str, labels: Mapping[str, str], text: str, *, architecture: str = "amd64"
) -> bytes:
    """What ``docker save`` would give of an image that was made in 2020."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "file", text.encode() * 1000)
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": {"Labels": dict(labels), "Cmd": ["/file"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"],
        },
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": f"ADD {text}"}],
    }
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "config.json", json.dumps(config).encode())
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return whole.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return tuple(found)


@contextmanager
def place() -> Iterator[Place]:
    """A place until the end of the context; nothing is left of it."""
    with engines.directory() as root, engines.dockerd(root) as address:
        _wait_until_it_answers(address)
        with Proxy(address.removeprefix("unix://")) as proxy:
            made = Place(root, address, proxy)
            try:
                made.cache.mkdir()
                made.fill()
                yield made
            finally:
                made.client.close()


def _wait_until_it_answers(address: str) -> None:
    deadline = time.monotonic() + engines.START_SECONDS
    while True:
        try:
            docker.DockerClient(base_url=address, timeout=10).close()
        except (DockerException, requests.RequestException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


DEAD = {
    engine.KIND: "cell",
    engine.RUN: "dead",
    engine.OWNER: "",
}
"""Labels of a container whose run is gone; :func:`dead_owner` gives the owner."""


def dead_owner() -> str:
    """The owner of a process that has ended."""
    code = "from harness import owner; print(owner.this_process())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    return done.stdout.strip()
