"""An open cell: a shell, or another command, in exactly the container that its probe would have."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import docker
from docker.models.containers import Container

from harness import engine
from harness.errors import SelectionError, ToolError
from harness.finding import Found
from harness.lock import Lock
from harness.matrix import Kind, Matrix
from harness.plan import Cell, module_name, tree_name, where
from harness.planning import terminal
from harness.progress import SILENT, Progress
from harness.question import EXTENSIONS
from harness.remedies import Remedy
from harness.resolution import Resolution
from harness.running import Laboratory

Say = Callable[[str], None]

LASTING = 24 * 3600
"""Seconds after which the container ends although its user is still there."""

USER = "65534:65534"
"""As of a probe: nobody."""

PYTHON = "/opt/venv/bin/python"

_SHELL = ("sh", "-c", "if command -v bash >/dev/null; then exec bash --norc; else exec sh; fi")
_TERM = re.compile(r"[A-Za-z0-9._+-]{1,40}")


def run(
    found: Found,
    command: Sequence[str],
    matrix: Matrix,
    lock: Lock,
    client: docker.DockerClient,
    *,
    resolution: Resolution,
    beside: Path,
    say: Say,
    progress: Progress = SILENT,
) -> int:
    """Open a cell's environment; the exit code of the shell, or of ``command``, in it.

    The container is there until that ends, and is then removed, also where this process is told to
    end. Raises :class:`harness.errors.HarnessError` where there is nothing to open.
    """
    (cell,) = found.cells
    if cell.not_applicable is not None:
        raise SelectionError(
            f"{cell.id} is not applicable: {cell.not_applicable}",
            advice="Name another cell; `pbs-matrix list` lists them.",
        )
    with (
        _ending_in_order(),
        Laboratory(
            matrix,
            client,
            beside=beside,
            say=say,
            resolution=resolution,
            progress=progress,
            lasting=LASTING,
        ) as laboratory,
    ):
        prepared = laboratory.prepare((cell,), resolution.completed(lock))
        environment, extension = (
            prepared.environments[cell.environment.id],
            prepared.extension(cell),
        )
        if problem := environment.problem or extension.problem:
            raise ToolError(
                f"{cell.id} cannot be opened: {problem}",
                advice="`pbs-matrix doctor` says what this machine lacks.",
            )
        container = laboratory.container(cell, prepared)
        variables = _variables(cell, container)
        for line in instructions(cell, variables):
            say(line)
        return terminal.run(
            container,
            command or _SHELL,
            user=USER,
            environment=variables,
            folder="/tmp",  # noqa: S108 - of the container, where it is nobody else's
        )


def instructions(cell: Cell, variables: Mapping[str, str]) -> Iterator[str]:
    """How to do in the shell what the probe does."""
    site, module = _site(cell), module_name(cell)
    yield f"this is {cell.environment.id}; {cell.extension} is in {site}"
    steps = ["import site", f"site.addsitedir({json.dumps(site)})"]
    if cell.remedy is Remedy.PRELOAD:
        yield f"remedy {cell.remedy}: load libpython by its name first, as below"
        steps += ["import ctypes, sys", f"ctypes.CDLL({_LIBPYTHON})"]
    elif cell.remedy is Remedy.PRELOAD_BY_PATH:
        yield f"remedy {cell.remedy}: load libpython by its path first, as below"
        steps += [
            "import ctypes, os, sys",
            f'ctypes.CDLL(os.path.join(sys.base_prefix, "lib", {_LIBPYTHON}))',
        ]
    elif cell.remedy is Remedy.LD_LIBRARY_PATH:
        yield f"remedy {cell.remedy}: LD_LIBRARY_PATH is {variables['LD_LIBRARY_PATH']}"
    elif cell.remedy is not Remedy.NONE:
        yield f"remedy {cell.remedy}: it has been applied"
    steps.append(f"import {module}")
    if cell.sample.kind is Kind.CHECK:
        steps.append(f"{module}.check({json.dumps(where(cell))})")
    yield "python finds it (PYTHONPATH names it). What the probe does, without that variable:"
    yield f"  python -I -B -c {shlex.quote('; '.join(steps))}"


_LIBPYTHON = '"libpython{}.{}{}.so.1.0".format(*sys.version_info[:2], sys.abiflags)'


def _site(cell: Cell) -> str:
    return f"{EXTENSIONS}/{tree_name(cell)}/site"


def _variables(cell: Cell, container: Container) -> dict[str, str]:
    """The environment of the shell: the probe's, and what spares its user typing."""
    variables = {
        "HOME": "/tmp",  # noqa: S108 - of the container, where it is nobody else's
        "LANG": "C.UTF-8",
        "PATH": "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": _site(cell),
        "PS1": f"({cell.environment.id}) \\w $ ",
    }
    if _TERM.fullmatch(term := os.environ.get("TERM", "")):
        variables["TERM"] = term
    if cell.remedy is Remedy.LD_LIBRARY_PATH:
        code = "import os, sys; print(os.path.join(sys.base_prefix, 'lib'))"
        with engine.asking("asking where the interpreter's libpython is"):
            said = container.exec_run([PYTHON, "-I", "-B", "-c", code], user=USER)
        variables["LD_LIBRARY_PATH"] = said.output.decode(errors="replace").strip()
    return variables


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have what is told to end do so as an exception, which removes the container."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(TypeError, ValueError):
                signal.signal(number, handler)
