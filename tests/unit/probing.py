"""Probes that say this or that: made up, or run with the Python that runs these tests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import extensions
from harness.cells import interpret
from harness.outcome import Outcome
from harness.plan import Cell
from harness.platforms import Platform
from harness.probereport import events as events_of
from harness.question import Finished
from tests.unit.sample_cell import sample_cell, sample_check

PROBE = Path(__file__).parents[2] / "images" / "environment" / "probe.py"
MAX_OUTPUT = 1 << 20
"""Bytes that are kept of what a probe reports, as ``images/environment/agent.py`` has it."""

LIBPYTHON = "libpython3.13.so.1.0"
NONCE = "5ca1ab1e5ca1ab1e"

STARTED: dict[str, Any] = {
    "event": "started",
    "nonce": NONCE,
    "python": "3.13.3",
    "machine": "aarch64",
    "base_prefix": "/opt/python",
    "leaked": [],
}
IMPORTED: dict[str, Any] = {
    "event": "finished",
    "nonce": NONCE,
    "outcome": "imported",
    "seconds": 0.25,
    "mapped_libpythons": ["/opt/python/lib/libpython3.13.so.1.0"],
    "modules": {"sample": "/opt/extensions/sample/site/sample.so"},
    "bindings": {
        "home": "/opt/python/bin/python3.13",
        "counts": {"/opt/python/bin/python3.13": 12},
        "copies": {},
    },
}
# What the report on a question has however that was answered.
ASKED = {key: value for key, value in IMPORTED.items() if key != "bindings"}
PASSED: dict[str, Any] = {**ASKED, "outcome": "passed", "findings": {"answer": 42}}

CELL = sample_cell()
CHECK = sample_check()


def raised(exception: str, message: str, missing: str | None = None) -> dict[str, Any]:
    return {
        **ASKED,
        "outcome": "raised",
        "exception": exception,
        "message": message,
        "missing_library": missing,
    }


def line(**event: object) -> str:
    """An event as the probe sends it."""
    return f"\n{json.dumps(event)}\n"


def ended(
    *events: dict[str, Any],
    exit_code: int | None = 0,
    timed_out: bool = False,
    errors: str = "",
    oom_killed: bool = False,
    signal: int | None = None,
    cell: Cell = CELL,
) -> Outcome:
    """What is made of a probe that sent these events and ended so."""
    finished = Finished(
        exit_code=exit_code,
        seconds=1.0,
        timed_out=timed_out,
        events={event["event"]: event for event in events},
        errors=errors,
        oom_killed=oom_killed,
        signal=signal,
    )
    return interpret(finished, cell)


class Ran:
    """A probe's process after its end."""

    def __init__(self, process: subprocess.CompletedProcess[bytes], reports: str) -> None:
        self.exit_code = process.returncode
        self.reports = reports
        self.errors = process.stdout.decode()
        self.events = events_of(reports, NONCE)
        self.started = self.events.get("started", {})
        self.finished = self.events.get("finished", {})

    def outcome(self, cell: Cell = CELL) -> Outcome:
        """What the harness makes of it, as if it had run on the cell's platform."""
        # As from the agent.
        signal = -self.exit_code if self.exit_code < 0 else None
        code = self.exit_code if signal is None else 128 + signal
        events = [dict(event) for event in self.events.values()]
        events[0]["machine"] = str(Platform.AARCH64)
        return ended(*events, exit_code=code, signal=signal, errors=self.errors, cell=cell)


def lay(tree: Path, source: str) -> Path:
    """Make a tree whose module ``sample`` has this source, and which all may read."""
    (tree / "site").mkdir(parents=True, exist_ok=True)
    (tree / "site" / "sample.py").write_text(source, encoding="utf-8")
    # It says nothing of any symbols, unless something has been noted.
    if not (tree / "symbols.json").exists():
        (tree / "symbols.json").write_text("{}")
    return tree


def install(tree: Path, **files: Path) -> Path:
    """Lay files into a tree as installing them would, with what is noted of their symbols."""
    (tree / "site").mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        # By copy, since the loader takes two names of one file for one library.
        (tree / "site" / f"{name}.so").write_bytes(file.read_bytes())
    extensions.note_files(tree)
    return tree


def request(tree: Path, **change: object) -> dict[str, object]:
    """What a probe is asked; ``check`` makes it a check."""
    asked = {"nonce": NONCE, "tree": str(tree), "module": "sample", "remedy": "none", "given": []}
    return {**asked, **change}


def tried(
    tree: Path, source: str | None, env: dict[str, str] | None = None, **change: object
) -> Ran:
    """Let the probe import a module with this source, or without one from nowhere."""
    if source is not None:
        lay(tree, source)
    return start(request(tree, **change), env)


def start(request: dict[str, object], env: dict[str, str] | None = None) -> Ran:
    """Run the probe in an interpreter of its own, with nothing of this process's environment."""
    with tempfile.TemporaryFile() as reports:
        process = subprocess.run(
            [sys.executable, "-I", "-B", str(PROBE), json.dumps(request), str(reports.fileno())],
            env={"HOME": "/", "LANG": "C.UTF-8", **(env or {})},
            pass_fds=[reports.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        reports.seek(0)
        return Ran(process, reports.read().decode())
