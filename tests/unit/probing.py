"""Probes that say this or that: made up, or run with the Python that runs these tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.cells import interpret
from harness.containers import Finished, _events
from harness.outcome import Outcome
from harness.plan import Cell
from harness.platforms import Platform
from tests.unit.sample_cell import sample_cell, sample_check

PROBE = Path(__file__).parents[2] / "images" / "environment" / "probe.py"
LIBPYTHON = "libpython3.13.so.1.0"
NONCE = "5ca1ab1e5ca1ab1e"

STARTED: dict[str, Any] = {
    "event": "started",
    "nonce": NONCE,
    "python": "3.13.3",
    "machine": "aarch64",
    "base_prefix": "/opt/python",
    "leaked": [],
    "oom_kills": 0,
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


def line(**event: object) -> bytes:
    """An event as the probe sends it."""
    return b"\n" + json.dumps(event).encode() + b"\n"


def ended(
    *events: dict[str, Any],
    exit_code: int = 0,
    timed_out: bool = False,
    errors: str = "",
    oom_killed: bool = False,
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
    )
    return interpret(finished, cell)


class Ran:
    """A probe's process after its end."""

    def __init__(self, process: subprocess.CompletedProcess[bytes]) -> None:
        self.exit_code = process.returncode
        self.output = process.stdout
        self.errors = process.stderr.decode()
        self.events = _events(process.stdout, NONCE)
        self.started = self.events.get("started", {})
        self.finished = self.events.get("finished", {})

    def outcome(self, cell: Cell = CELL) -> Outcome:
        """What the harness makes of it, as if it had run on the cell's platform."""
        # A signal reaches the harness as the shell's exit code, as from `timeout`.
        code = self.exit_code if self.exit_code >= 0 else 128 - self.exit_code
        events = [dict(event) for event in self.events.values()]
        events[0]["machine"] = str(Platform.AARCH64)
        return ended(*events, exit_code=code, errors=self.errors, cell=cell)


def tried(
    tree: Path, source: str | None, env: dict[str, str] | None = None, **change: object
) -> Ran:
    """Let the probe import a module with this source, or without one from nowhere.

    ``check`` makes it a check. The tree gets a symbols.json that says nothing, unless it has one.
    """
    if source is not None:
        (tree / "site").mkdir(parents=True, exist_ok=True)
        (tree / "site" / "sample.py").write_text(source, encoding="utf-8")
        if not (tree / "symbols.json").exists():
            (tree / "symbols.json").write_text("{}")
    request = {"nonce": NONCE, "tree": str(tree), "module": "sample", "remedy": "none", **change}
    return start(request, env)


def start(request: dict[str, object], env: dict[str, str] | None = None) -> Ran:
    """Run the probe as a container does, with nothing of this process's environment."""
    process = subprocess.run(
        [sys.executable, "-I", "-B", str(PROBE), json.dumps(request)],
        env={"HOME": "/", "LANG": "C.UTF-8", **(env or {})},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(process)
