"""This project, as of some commit: its pytest run as a user would, in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed.reference import PROJECT
from harness import cache, tools
from harness.errors import ConfigurationError, ToolError

DOWNLOADS = (
    *("base-images", "base-roots", "debian-python", "qemu", "releases", "sums", "upstream"),
    *("uv", "wheels"),
)
"""Kinds of cache entries that came over the network; a cold run has nothing else. Of Debian's
packages only what was unpacked of them is kept, and of uv's wheels the program."""

SHOWN = 30
"""Lines of a failed run's output that are shown."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of pytest."""

    wall: float
    """Seconds, from the start of the process to its end."""
    began: float
    """By the monotonic clock, which all processes share."""
    memory: int
    """Bytes of the largest of its processes, at its worst moment."""
    took: dict[str, float]
    """Seconds on the host of each cell, by id; older commits do not say."""
    itself: dict[str, float]
    """Seconds of each cell's import alone, by id."""
    imports: dict[str, bool]
    """By id of each cell."""
    images: frozenset[str]
    """Ids of the images that the cells ran in."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A commit of this project with an environment of its own."""

    name: str
    """As ``git describe`` has it."""
    folder: Path
    python: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        options: Sequence[str],
        *,
        cache_folder: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> Run:
        """Run pytest with some options; :class:`ToolError` where a cell did not do as expected.

        ``cache_folder``: another cache than the user's.
        """
        with tempfile.TemporaryDirectory(prefix="pbs-matrix-") as name:
            results = Path(name) / "results.jsonl"
            given = {**_inherited(), **self.variables, **(variables or {})}
            if cache_folder is not None:
                given[cache.LOCATION_VARIABLE] = str(cache_folder)
            command = [
                str(self.python),
                "-m",
                "pytest",
                "-n",
                "auto",
                # Of a library that only this project's own tests take; no user has it.
                "-p",
                "no:hypothesispytest",
                *options,
                f"--results={results}",
            ]
            with (Path(name) / "output").open("w+") as output:
                began = time.monotonic()
                process = subprocess.Popen(
                    command, stdout=output, stderr=output, cwd=self.folder, env=given
                )
                status, used = _wait(process)
                wall = time.monotonic() - began
                if status:
                    output.seek(0)
                    said = "".join(output.readlines()[-SHOWN:])
                    raise ToolError(
                        f"pytest of {self.name} ended with {status}:\n{said}",
                        advice="Only a run in which each cell does as expected counts.",
                    )
            lines = [json.loads(line) for line in results.read_text().splitlines()]
        return Run(
            wall=wall,
            began=began,
            memory=used.ru_maxrss * 1024,
            took={line["id"]: line["took"] for line in lines if line.get("took") is not None},
            itself={line["id"]: line["seconds"] for line in lines if line["seconds"] is not None},
            imports={line["id"]: line["outcome"] == "imports" for line in lines},
            images=frozenset(line["pins"]["image"] for line in lines),
        )

    def clean(self) -> None:
        """Remove the containers that earlier runs have left, should any be kept for the next."""
        program = "from harness.front import main; main()"
        tools.run(
            [self.python, "-c", program, "clean"],
            doing=f"cleaning up with {self.name}",
            directory=self.folder,
        )


def _inherited() -> dict[str, str]:
    """The environment without what would change what is measured."""
    unwanted = ("PYTEST_", "PYTHON", "COV_")
    return {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Exit status of a process, and what it has used with all that it had waited for."""
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used


def this() -> Checkout:
    """This checkout, with the Python that runs this."""
    name = _git("describe", "--always", "--dirty").strip()
    return Checkout(name=name, folder=PROJECT, python=Path(sys.executable))


@contextmanager
def other(revision: str) -> Iterator[Checkout]:
    """Another commit, in a git worktree with a virtual environment, which are gone at the end."""
    name = _git("describe", "--always", _commit(revision)).strip()
    if name == this().name:
        raise ConfigurationError(
            f"--against {revision} is this very commit",
            advice="Name another one, or change something.",
        )
    with tempfile.TemporaryDirectory(prefix="pbs-matrix-") as parent:
        folder, environment = Path(parent) / "project", Path(parent) / "environment"
        _git("worktree", "add", "--quiet", "--detach", str(folder), _commit(revision))
        try:
            uv = tools.find("uv", advice="pip install uv")
            settings = {k: v for k, v in os.environ.items() if k.startswith("UV_")}
            tools.run(
                [uv, "venv", "--quiet", "--python", sys.executable, environment],
                doing="making an environment",
                environment=settings,
            )
            python = environment / "bin" / "python"
            tools.run(
                [uv, "pip", "install", "--quiet", "--python", python, "--editable", folder],
                doing=f"installing {name}",
                environment=settings,
            )
            yield Checkout(name=name, folder=folder, python=python)
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _commit(revision: str) -> str:
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    except ToolError as error:
        raise ConfigurationError(
            f"--against {revision}: git knows no such commit",
            advice="Name a commit, tag or branch of this project, such as HEAD~1.",
        ) from error


def _git(*arguments: str) -> str:
    return tools.run(["git", *arguments], doing=f"git {arguments[0]}", directory=PROJECT)


@contextmanager
def cold_cache() -> Iterator[Path]:
    """A cache that holds what is in the user's own of downloads, and nothing that was made."""
    with tempfile.TemporaryDirectory(prefix=".cold-", dir=cache.root()) as name:
        for kind in DOWNLOADS:
            source = cache.root() / kind
            if source.is_dir():
                shutil.copytree(source, Path(name) / kind, symlinks=True, copy_function=_link)
        yield Path(name)


def _link(source: str, target: str) -> str:
    """Entries never change, so another name will do."""
    os.link(source, target, follow_symlinks=False)
    return target
