"""Worlds built and loaded for real, in containers without a network."""

from __future__ import annotations

import json
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import docker
from docker.models.containers import Container

from harness import archives, builder, cache, debian
from harness.confinement import confinement
from harness.errors import ToolError
from harness.images import Images
from harness.loader.process import System
from harness.matrix import Base
from harness.platforms import Platform
from tests.worlds import facts, linking
from tests.worlds.generator import defaults
from tests.worlds.world import FOLDERS, Content, Kind, Libc, Library, World

SOURCES = Path(__file__).parent
PACKAGES = ("python3", "musl")
"""Of the base image that worlds are loaded in: what the runner needs, and the other C library."""

LIFE = 3600
"""Seconds after which a container ends by itself."""

BATCH = 100
"""Worlds that are built and loaded at a time."""

AT_ONCE = 2
"""Linkers that run at the same time."""

BASE_FILES = (
    "tar --ignore-failed-read -cf - /lib /lib64 /usr/lib/ld-* /usr/lib64/ld-*"
    " /usr/lib/*/ld-* /usr/lib/*/libc.so.6 /usr/lib/*/libm.so.6 /usr/lib/*-musl/libc.so"
    " 2>/dev/null || true"
)


class Laboratory:
    """Builds worlds of one kind and has the real loader load them."""

    def __init__(self, client: docker.DockerClient, kind: Kind, *, run: str, owner: str) -> None:
        self._images = Images(client)
        self._kind = kind
        self._run = run
        self._owner = owner

    def answers(self, worlds: Sequence[World]) -> Iterator[dict[str, Any]]:
        """What the runner says of each world, in order.

        Raises :class:`harness.errors.HarnessError` where the engine refuses or a tool fails.
        """
        with self._container(self._image, self._kind.platform) as container:
            for start in range(0, len(worlds), BATCH):
                some = worlds[start : start + BATCH]
                files = self._linked(some)
                yield from self._loaded(container, some, files)

    @cached_property
    def system(self) -> System:
        """The container's own files and what its loader was built with."""
        with self._container(self._image, self._kind.platform) as container:

            def said(command: str) -> bytes:
                output, _ = container.exec_run(["/bin/sh", "-c", command], demux=True).output
                return output or b""

            glibc = Kind(libc=Libc.GLIBC, platform=self._kind.platform)
            return facts.system(
                self._kind,
                said(f"{glibc.interpreter} --list-diagnostics").decode(),
                said(f"cat /etc/ld-musl-{self._kind.platform}.path").decode(),
                said(BASE_FILES),
                said("/sbin/ldconfig -p").decode(),
            )

    @property
    def _host(self) -> Platform:
        host = Platform.host()
        if host is None:
            raise ToolError(
                "worlds cannot be built on this machine's architecture",
                advice="Run on x86_64 or aarch64.",
            )
        return host

    @cached_property
    def _image(self) -> str:
        """Where worlds are loaded."""
        base = Base(suite=debian.SUITE)
        return self._images.base("worlds", base, self._kind.platform, PACKAGES).tag

    @cached_property
    def _builder(self) -> str:
        """Where worlds are linked."""
        base = Base(suite=debian.SUITE)
        packages = builder.packages(self._host)
        return self._images.base("builder", base, self._host, packages).tag

    @contextmanager
    def _container(self, image: str, platform: Platform) -> Iterator[Container]:
        confined = confinement(self._run, self._owner, memory=builder.MEMORY)
        container = self._images.client.containers.create(
            image,
            ["sleep", str(LIFE)],
            name=f"pbs-matrix-{self._run}-worlds-{secrets.token_hex(4)}",
            platform=platform.docker,
            **confined,
        )
        try:
            container.start()
            yield container
        finally:
            container.remove(force=True, v=True)

    def _linked(self, worlds: Sequence[World]) -> dict[str, bytes]:
        """Content of every file of some worlds, by its name in :func:`linking.names`."""
        script = linking.Script(kind=self._kind, host=self._host)
        script.begin()
        wanted = {name: library for name, _, library in linking.names(worlds)}
        for name, library in wanted.items():
            script.library(f"out/{name}", library)
        parts = [script.then[number::AT_ONCE] for number in range(AT_ONCE)]
        texts = {f"part-{number}.sh": "\n".join(part) for number, part in enumerate(parts)}
        texts["first.sh"] = "\n".join(script.first)
        texts |= {name: (SOURCES / name).read_text() for name in ("driver.c", "caller.c")}
        command = "set -e; cd /tmp/worlds; mkdir out; sh -e first.sh; "
        command += "".join(f"sh -e part-{number}.sh & p{number}=$!; " for number in range(AT_ONCE))
        command += "".join(f"wait $p{number}; " for number in range(AT_ONCE))
        with self._container(self._builder, self._host) as container:
            with _packed("worlds", texts=texts, files=self._musl) as packed:
                container.put_archive("/tmp", packed)
            done = container.exec_run(["/bin/sh", "-c", command])
            if done.exit_code:
                raise ToolError(
                    f"linking worlds for {self._kind}: {done.output.decode()[-2000:]}",
                    advice="Correct tests/worlds/linking.py.",
                )
            with tempfile.TemporaryFile() as stream:
                for chunk in container.get_archive("/tmp/worlds/out")[0]:
                    stream.write(chunk)
                stream.seek(0)
                content = {}
                with tarfile.open(fileobj=stream) as tar:
                    for member in tar:
                        if member.isreg():
                            file = tar.extractfile(member)
                            assert file is not None
                            content[os.path.basename(member.name)] = file.read()  # noqa: PTH119
        return {name: _checked(library, content[name]) for name, library in wanted.items()}

    @cached_property
    def _musl(self) -> dict[str, bytes]:
        """musl's start files and library, to link with."""
        if self._kind.libc is not Libc.MUSL:
            return {}
        platform = self._kind.platform
        wanted = {
            f"./usr/lib/{platform}-linux-musl/{name}": f"musl/{name}"
            for name in ("Scrt1.o", "crti.o", "crtn.o", "libc.so")
        }

        def make(path: Path) -> None:
            debian.unpack(["musl-dev"], platform, path, suite=debian.SUITE)

        key = cache.digest("musl-dev", debian.SUITE, platform)
        with tarfile.open(cache.entry("musl-dev", key, make, suffix=".tar")) as tar:
            found = {}
            for name, output in wanted.items():
                stream = tar.extractfile(name)
                assert stream is not None
                found[output] = stream.read()
        return found

    def _loaded(
        self, container: Container, worlds: Sequence[World], files: dict[str, bytes]
    ) -> Iterator[dict[str, Any]]:
        plan = "\n".join(json.dumps(_planned(world)) for world in worlds)
        texts = {"plan": plan, "runner.py": (SOURCES / "runner.py").read_text()}
        with _packed("worlds", texts=texts, files=files) as packed:
            container.put_archive("/tmp", packed)
        done = container.exec_run(["python3", "/tmp/worlds/runner.py", "/tmp/worlds/plan"])
        lines = done.output.decode().splitlines()
        if done.exit_code or len(lines) != len(worlds):
            raise ToolError(
                f"loading worlds for {self._kind}: {done.output.decode()[-2000:]}",
                advice="Correct tests/worlds/runner.py.",
            )
        yield from map(json.loads, lines)


def _checked(library: Library, content: bytes) -> bytes:
    """A file as it is to be loaded; it says of itself what the model is told of it."""
    if library.content is not Content.LIBRARY:
        return content
    content = linking.with_tags(content)
    found = replace(facts.read(content), number=library.number)
    if found != library:
        raise ToolError(
            f"linking made {found} instead of {library}",
            advice="Correct tests/worlds/linking.py.",
        )
    return content


def _planned(world: World) -> dict[str, object]:
    """A world as the runner is told of it."""
    arguments = []
    for opening in world.openings:
        arguments += [f"worlds_open_{opening.caller}", opening.name]
    environment = {"LD_LIBRARY_PATH": world.library_path, "LD_PRELOAD": world.preload}
    return {
        "seed": world.seed,
        "files": {path: f"{world.seed}-{lib.number}" for path, lib in world.libraries.items()},
        "folders": FOLDERS,
        "links": world.links,
        "twins": world.twins,
        "configured": world.configured,
        "runs_ldconfig": world.runs_ldconfig,
        "removed": world.removed,
        "program": world.program,
        "directory": world.directory,
        "arguments": arguments,
        "environment": {name: value for name, value in environment.items() if value},
        "system": defaults(world.kind),
    }


@contextmanager
def _packed(folder: str, *, texts: dict[str, str], files: dict[str, bytes]) -> Iterator[IO[bytes]]:
    """A tar of some files below a folder, as a stream."""
    content = {**{name: text.encode() for name, text in texts.items()}, **files}
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, data in content.items():
                archives.add_bytes(tar, f"{folder}/{name}", data, executable=name not in texts)
        stream.seek(0)
        yield stream
