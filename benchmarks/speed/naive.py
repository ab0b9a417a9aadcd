"""The obvious way: for each cell a ``docker run`` that does everything, two at a time.

``run`` is what a user would script. What it needs is put together before the clock runs: the same
uv, archives and wheels as the harness has, mounted into the containers, which have no network.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError, ContainerError

from benchmarks.speed.reference import FILE, Reference
from harness import (
    archives,
    engine,
    extensions,
    images,
    index,
    interpreters,
    owner,
    routes,
    uvbinary,
)
from harness.errors import ToolError
from harness.lock import Lock
from harness.matrix import Extension
from harness.plan import Cell, Environment
from harness.platforms import Platform

INSTALL = """\
set -eu
uv python install 3.13
uv venv --python 3.13 /opt/venv
uv pip install --python /opt/venv/bin/python --no-index --no-deps "$@"
"""

SCRIPT = f'{INSTALL}exec /opt/venv/bin/python -c "import $MODULE"\n'

VARIABLES = {
    "HOME": "/root",
    "UV_PYTHON_INSTALL_DIR": routes.PYTHONS,
    "UV_PYTHON_PREFERENCE": "only-managed",
    "UV_PYTHON_DOWNLOADS_JSON_URL": "/given/downloads.json",
}

UV, GIVEN = "/usr/local/bin/uv", "/given"
"""Where a container has uv, and the other files."""


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What the containers of an environment are given, and of which image they are."""

    image: str
    volumes: dict[str, dict[str, str]]
    wheels: dict[str, str]
    """Path of each extension's wheel in the container, by the extension's name."""


Kits = dict[str, Kit]
"""By environment id."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one container: whether the import succeeded, and wall seconds."""

    imports: bool
    took: float


@contextmanager
def kits(client: docker.DockerClient, reference: Reference, folder: Path) -> Iterator[Kits]:
    """Put together, below a folder, what each environment's containers are given.

    The images that they are of are gone at the end.
    """
    environments = dict.fromkeys(cell.environment for cell in reference.cells)
    own: dict[Platform, str] = {}
    try:
        for environment in environments:
            platform = environment.interpreter.platform
            if platform not in own:
                own[platform] = _image(client, reference, environment, folder)
        yield {
            environment.id: _kit(
                reference,
                environment,
                tuple(cell for cell in reference.cells if cell.environment == environment),
                folder / str(number),
                own[environment.interpreter.platform],
            )
            for number, environment in enumerate(environments)
        }
    finally:
        for tag in own.values():
            with contextlib.suppress(APIError):
                client.images.remove(tag, force=True)


def _image(
    client: docker.DockerClient, reference: Reference, environment: Environment, folder: Path
) -> str:
    """The base image once more, from other bytes, so that no layer serves the builder twice."""
    interpreter = environment.interpreter
    base = images.Images(client).base(
        environment.base,
        reference.matrix.bases[environment.base],
        interpreter.platform,
        tuple(sorted(interpreters.base_packages(interpreter.source))),
    )
    root, context = folder / "root.tar", folder / "context.tar"
    container = client.containers.create(base.tag, ["true"], labels=labels())
    try:
        with root.open("wb") as stream:
            for chunk in container.export():
                stream.write(chunk)
    finally:
        container.remove(force=True)
    # The files first: of a first layer without any, the classic builder forgets the platform.
    recipe = f"FROM scratch\nADD root.tar /\nLABEL {engine.KIND}=benchmark\n"
    archives.write_context(context, {"root.tar": root}, {"Dockerfile": recipe})
    root.unlink()
    tag = f"pbs-matrix/benchmark:{interpreter.platform}"
    with context.open("rb") as stream:
        client.images.build(
            fileobj=stream,
            custom_context=True,
            tag=tag,
            platform=interpreter.platform.docker,
            rm=True,
        )
    context.unlink()
    return tag


def _kit(
    reference: Reference, environment: Environment, cells: Sequence[Cell], folder: Path, image: str
) -> Kit:
    interpreter = environment.interpreter
    archive = interpreters.provide(interpreter)
    folder.mkdir()
    (folder / "downloads.json").write_text(images.downloads_json(interpreter, archive))
    found = {cell.extension: _wheel(cell, reference.lock) for cell in cells}
    for wheel in found.values():
        shutil.copy(wheel, folder / wheel.name)
    places = {
        uvbinary.fetch(reference.lock.uv_wheel(environment.uv, interpreter.platform)): UV,
        archive.path: f"{routes.MIRROR}/{interpreter.release}/{archive.name}",
        folder: GIVEN,
    }
    return Kit(
        image=image,
        volumes={str(here): {"bind": there, "mode": "ro"} for here, there in places.items()},
        wheels={name: f"{GIVEN}/{wheel.name}" for name, wheel in found.items()},
    )


def _wheel(cell: Cell, lock: Lock) -> Path:
    """The wheel of a sample, as the harness has it."""
    interpreter, sample = cell.environment.interpreter, cell.sample
    assert isinstance(sample, Extension)
    if sample.requirement is not None:
        (locked, *_) = lock.extension_wheels(
            sample.requirement, interpreter.python, interpreter.platform
        )
        return index.fetch(locked)
    assert sample.source is not None
    folder = extensions.find_source(sample.source, FILE.parent)
    return extensions.build(cell.extension, folder, interpreter.python, interpreter.platform)


def labels() -> dict[str, str]:
    """What has a container removed by the next run should this process die."""
    return {
        engine.KIND: "cell",
        engine.RUN: "benchmark",
        engine.OWNER: owner.this_process(),
    }


def run(
    client: docker.DockerClient, cells: Sequence[Cell], kits: Kits, together: int
) -> dict[str, Answer]:
    """Ask every cell in a container of its own, ``together`` at a time; answers by cell id."""

    def ask(cell: Cell) -> Answer:
        kit = kits[cell.environment.id]
        assert isinstance(cell.sample, Extension)
        start = time.monotonic()
        try:
            client.containers.run(
                kit.image,
                ["sh", "-c", SCRIPT, "cell", kit.wheels[cell.extension]],
                platform=cell.environment.interpreter.platform.docker,
                environment={**VARIABLES, "MODULE": cell.sample.imports},
                volumes=kit.volumes,
                network_mode="none",
                labels=labels(),
                remove=True,
            )
            imports = True
        except ContainerError as error:
            if b"ImportError: " not in error.stderr:
                said = error.stderr.decode(errors="replace").strip()[-500:]
                raise ToolError(
                    f"the naive loop failed in {cell.id} before the import: {said}",
                    advice="Run the matrix first: `pytest` says more of what is wrong.",
                ) from error
            imports = False
        return Answer(imports=imports, took=time.monotonic() - start)

    with ThreadPoolExecutor(together) as pool:
        return dict(zip((cell.id for cell in cells), pool.map(ask, cells), strict=True))
