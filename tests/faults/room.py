"""A room to inject faults in: runs of a small matrix, and a look at what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from harness import engine

PROJECT = Path(__file__).parent.parent.parent

SMALL = (
    *("--profile=quick", "--source=replica", "--uv=0.7.6", "--base=debian13"),
    *("--extension=no-libpython", "--extension=libpython-needed"),
)
"""What selects two cells of each platform: the control, and a sample with known breakage."""

LIMIT = 900
"""Seconds that a run may take; beyond them it hangs."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that has ended."""

    code: int
    """Exit code; negative for a signal."""
    said: str
    """Standard output and error, as they came."""
    results: tuple[dict[str, Any], ...]
    """Lines of the results file, as far as they are whole."""
    seconds: float

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by cell."""
        return {line["id"]: line["outcome"] for line in self.results if "id" in line}

    @property
    def tracebacks(self) -> int:
        """How often a traceback was shown, which is never right."""
        return self.said.count("Traceback (most recent call last)")


class Room:
    """Runs of the project in a folder of their own, with the user's cache unless told otherwise."""

    def __init__(self, folder: Path, client: docker.DockerClient, platform: str = "x86_64") -> None:
        self.folder = folder
        self.client = client
        self.platform = platform

    def command(self, *arguments: str, results: Path) -> list[str]:
        """What starts the small matrix, with further arguments."""
        return [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "no:hypothesispytest", f"--results={results}"),
            *(*SMALL, f"--platform={self.platform}", *arguments, "cases"),
        ]

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start a run in a session of its own; the process, and where its results will be.

        ``before``: words of a command that ends by becoming the one that follows it.
        """
        results = Path(tempfile.mkdtemp(dir=self.folder)) / "results.jsonl"
        process = subprocess.Popen(
            [*before, *self.command(*arguments, results=results)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=PROJECT,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "200", **(environment or {})},
        )
        return process, results

    def finish(self, process: subprocess.Popen[str], results: Path, start: float) -> Ran:
        """Wait for a run that was started at ``start`` (``time.monotonic``)."""
        said, _ = process.communicate(timeout=LIMIT)
        return Ran(
            code=process.returncode,
            said=said,
            results=tuple(lines_of(results)),
            seconds=time.monotonic() - start,
        )

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Run the small matrix."""
        start = time.monotonic()
        return self.finish(*self.start(*arguments, environment=environment), start)

    def left(self, before: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Containers, networks and volumes of the project, beyond what there was ``before``."""
        label = {"label": [engine.KIND]}
        api = self.client.api
        found = {
            *(f"container {c['Id'][:12]}" for c in api.containers(all=True, filters=label)),
            *(f"network {n['Id'][:12]}" for n in api.networks(filters=label)),
            *(f"volume {v['Name'][:12]}" for v in api.volumes(filters=label)["Volumes"] or []),
        }
        return tuple(sorted(found - before))


def lines_of(results: Path) -> list[dict[str, Any]]:
    """The lines of a results file, as far as they are whole."""
    if not results.exists():
        return []
    found = []
    for line in results.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut short by what was done to the run
            continue
    return found
