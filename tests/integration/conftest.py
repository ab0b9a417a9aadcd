"""Fixtures for tests on the real engine: a run of its own for each worker, reaped at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest

from harness import engine, extensions, lock, matrix, owner, plan, preparing, resolution
from harness.containers import Containers
from harness.mirror import Mirror
from harness.platforms import Platform
from harness.prepared import Prepared

PROJECT = Path(__file__).parent.parent.parent

Pytest = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    """The engine; without one these tests fail, and say how to get one."""
    return engine.connect()


@pytest.fixture(scope="session")
def project_matrix() -> matrix.Matrix:
    return matrix.load(PROJECT / "matrix.yaml")


@pytest.fixture(scope="session")
def project_lock() -> lock.Lock:
    return lock.load(PROJECT / "matrix.lock")


@pytest.fixture(scope="session")
def cells(project_matrix: matrix.Matrix, project_lock: lock.Lock) -> tuple[plan.Cell, ...]:
    """Two cells of each platform: uv 0.7.6 (static) with the control and a broken sample."""
    return plan.plan(
        project_matrix,
        project_lock,
        selection=plan.Selection(
            uv=("0.7.6",), base=("debian13",), extension=("no-libpython", "libpython-needed")
        ),
    )


def prepare(
    client: docker.DockerClient,
    cells: tuple[plan.Cell, ...],
    read: matrix.Matrix,
    locked: lock.Lock,
) -> Prepared:
    """What some cells of the project's matrix need, for a run of its own."""
    return preparing.prepare(
        cells,
        read,
        locked,
        client,
        run=owner.new_run(),
        owner=owner.this_process(),
        beside=PROJECT,
        say=lambda line: None,
    )


@pytest.fixture(scope="session")
def prepared(
    client: docker.DockerClient,
    cells: tuple[plan.Cell, ...],
    project_matrix: matrix.Matrix,
    project_lock: lock.Lock,
) -> Prepared:
    """What those cells need."""
    return prepare(client, cells, project_matrix, project_lock)


@pytest.fixture(scope="session")
def pool(
    client: docker.DockerClient, cells: tuple[plan.Cell, ...], prepared: Prepared
) -> Iterator[Containers]:
    """This worker's containers."""
    with Containers(client, prepared.run, prepared.owner) as containers:
        containers.plan(cells, prepared)
        yield containers


@pytest.fixture(scope="session")
def without_github() -> str | None:
    """Why no published archive can be had here; None where they can."""
    return resolution.unreachable(Mirror(), ("20250517",))


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> None:
    """Skip what needs GitHub where there is none, and say so."""
    if request.node.get_closest_marker("network"):
        problem = request.getfixturevalue("without_github")
        if problem is not None:
            pytest.skip(f"the published archives are needed, but {problem}")


@pytest.fixture(scope="session")
def run_pytest() -> Pytest:
    """Run the project's own pytest in a process of its own, as a user would.

    On replicas, unless a source is named: what is tested is the same whether GitHub answers or not.
    """

    def run(
        *arguments: str, environment: dict[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        if not any(argument.startswith("--source") for argument in arguments):
            arguments = ("--source=replica", *arguments)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        return subprocess.run(
            [*before, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=PROJECT,
            env={**inherited, "COLUMNS": "200", **(environment or {})},
        )

    return run


def installed(
    name: str, platform: Platform, project_matrix: matrix.Matrix, project_lock: lock.Lock
) -> Path:
    """The directory that a container gets for an extension of the matrix that needs no builder."""
    selection = plan.Selection(extension=(name,), platform=(platform,), remedy=("none",))
    cell = plan.plan(project_matrix, project_lock, profile="wide", selection=selection)[0]

    def build_project(name: str, folder: Path, python: str, platform: Platform) -> Path:
        raise AssertionError(f"{name} is a project")

    return extensions.provide(cell, project_lock, PROJECT, build_project).tree


def leftovers(
    client: docker.DockerClient, run: str | None = None, *, pid: int | None = None
) -> list[str]:
    """Names of this project's containers: of a run, of a process, or of all that are dead.

    Of all: other tests, which kill on purpose, leave some that end by themselves. What has ended
    the engine may be removing just now, and is given the time.
    """

    def is_meant(labels: Mapping[str, str]) -> bool:
        if run is not None:
            return labels[engine.RUN] == run
        if pid is not None:
            return labels[engine.OWNER].split()[3] == str(pid)
        return not owner.is_alive(labels[engine.OWNER])

    deadline = time.monotonic() + 5
    while True:
        found = client.containers.list(
            all=True, filters={"label": f"{engine.KIND}=cell"}, ignore_removed=True
        )
        meant = [container for container in found if is_meant(container.labels)]
        if all(c.status == "running" for c in meant) or time.monotonic() > deadline:
            return [container.name for container in meant]
        time.sleep(0.05)
