"""The floor: bare imports in containers that run already, with the bytecode there.

No harness can be faster than these divided by the number of CPUs, unless it starts fewer
interpreters than there are cells. A loop in the container starts them and measures, one at a time,
so that nothing of ``docker exec`` is in it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from benchmarks.speed import naive
from benchmarks.speed.naive import Kits
from harness.errors import ToolError
from harness.matrix import Extension
from harness.plan import Cell, Environment

# Runs in the interpreter under test: the parent of what it measures.
LOOP = """\
import json, os, sys, time
quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (1, 2)]
taken = {}
for name in sys.argv[1:]:
    start = time.perf_counter()
    words = [sys.executable, "-c", "import " + name]
    pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=quiet)
    status = os.waitpid(pid, 0)[1]
    taken[name] = [time.perf_counter() - start, status == 0]
print(json.dumps(taken))
"""

PYTHON = "/opt/venv/bin/python"


class Floor:
    """Containers in which everything is installed, one for each environment."""

    def __init__(self, cells: Sequence[Cell], containers: dict[str, Container]) -> None:
        self._cells = cells
        self._containers = containers

    def measure(self) -> dict[str, naive.Answer]:
        """What the bare import of each cell takes, by its id: start of the interpreter and all."""
        found = {}
        for environment, container in self._containers.items():
            cells = [cell for cell in self._cells if cell.environment.id == environment]
            modules = {_module(cell): cell.id for cell in cells}
            taken = json.loads(_run(container, [PYTHON, "-c", LOOP, *modules]))
            for module, (seconds, imports) in taken.items():
                found[modules[module]] = naive.Answer(imports=imports, took=seconds)
        return found


@contextmanager
def running(client: docker.DockerClient, cells: Sequence[Cell], kits: Kits) -> Iterator[Floor]:
    """Have the containers of some cells' environments run, and remove them at the end."""
    containers: dict[str, Container] = {}

    def start(environment: Environment) -> None:
        kit = kits[environment.id]
        container = client.containers.run(
            kit.image,
            ["sleep", "infinity"],
            platform=environment.interpreter.platform.docker,
            environment=naive.VARIABLES,
            volumes=kit.volumes,
            network_mode="none",
            labels=naive.labels(),
            detach=True,
        )
        containers[environment.id] = container
        _run(container, ["sh", "-c", naive.INSTALL, "install", *kit.wheels.values()])

    try:
        for environment in dict.fromkeys(cell.environment for cell in cells):
            start(environment)
        floor = Floor(cells, containers)
        floor.measure()  # writes the bytecode
        yield floor
    finally:
        for container in containers.values():
            with contextlib.suppress(APIError, NotFound):
                container.remove(force=True)


def _module(cell: Cell) -> str:
    assert isinstance(cell.sample, Extension)
    return cell.sample.imports


def _run(container: Container, command: list[str]) -> str:
    exit_code, (said, errors) = container.exec_run(command, demux=True)
    if exit_code:
        text = (errors or said or b"").decode(errors="replace").strip()[-500:]
        raise ToolError(
            f"the floor cannot be measured: {command[0]} ended with {exit_code}: {text}",
            advice="Run the matrix first: `pytest` says more of what is wrong.",
        )
    return str((said or b"").decode())
