"""Cells run again: which, and how pytest is called for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import finding, results, scratch
from harness.errors import ConfigurationError
from harness.lock import Lock
from harness.matrix import Matrix
from harness.verdict import Status

FAILED = (Status.REGRESSED, Status.FIXED, Status.MISPREDICTED, Status.UNTESTABLE)
"""What did not do as expected."""

TESTS = ("--pyargs", "harness.matrixtests")
"""What pytest collects: the tests of this package, wherever it is called."""


def chosen(
    targets: Sequence[str], matrix: Matrix, lock: Lock, *, only_failed: bool
) -> tuple[str, ...]:
    """The ids that results files, ids and globs name, each once.

    Raises :class:`ConfigurationError` for what is no results file, and where none is named though
    only those that failed are asked for; :class:`harness.errors.SelectionError` for no cell.
    """
    files = [target for target in targets if _is_file(target)]
    others = [target for target in targets if not _is_file(target)]
    if only_failed and (others or not files):
        raise ConfigurationError(
            "--failed needs the results file of a run"
            + (f", and {others[0]!r} is none" if others else ""),
            advice="Name what pytest --results FILE wrote.",
        )
    # Of several lines about a cell the last one counts.
    last = {result.id: result.status for file in files for result in results.read(Path(file))}
    ids = [name for name, status in last.items() if status in FAILED or not only_failed]
    if others:
        ids += (cell.id for cell in finding.some(others, matrix, lock).cells)
    return tuple(dict.fromkeys(ids))


def run(ids: Sequence[str], matrix_file: Path, options: Sequence[str]) -> int:
    """Run pytest on some cells, all CPUs at work; its exit code. ``options`` are added to its."""
    with scratch.directory() as folder:
        file = folder / "cells"
        file.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", *(("-n", "auto") if len(ids) > 1 else ())]
        command += [f"--cells={file}", f"--matrix={matrix_file.absolute()}", *options, *TESTS]
        with subprocess.Popen(command) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue  # pytest has had it too, and cleans up


def _is_file(target: str) -> bool:
    if target.endswith(".jsonl"):
        return True
    try:
        return Path(target).is_file()
    except OSError:  # a glob may be longer than any file's name
        return False
