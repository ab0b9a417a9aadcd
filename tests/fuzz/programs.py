"""The same changed files, end to end: given to the programs that people run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from click.testing import CliRunner

from harness import cache, cli
from harness.errors import ExitCode
from tests.fuzz import documents, texts
from tests.fuzz.reading import Trial
from tests.unit import sample_results

FINE = (0, 1, 2)
"""What a program ends with that could read its files: 1 and 2 say what it found, or did not."""

PYTEST = ("--collect-only", "-q", "--source=replica", "-p", "no:cacheprovider", "cases")
SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """A program that reads a file."""

    kind: str
    """Of :data:`tests.fuzz.documents.KINDS`."""
    name: str
    """The file's."""
    words: Callable[[Path, Path], Sequence[object]]
    """What is typed, by the file and by a folder with good ones; ``pytest`` is another program."""


CALLS = {
    "plan --matrix": Call(
        kind="matrix.yaml",
        name="matrix.yaml",
        words=lambda file, good: ("plan", "--source=replica", "--matrix", file),
    ),
    "pytest --matrix": Call(
        kind="matrix.yaml",
        name="matrix.yaml",
        words=lambda file, good: ("pytest", f"--matrix={file}", *PYTEST),
    ),
    "plan, its lock": Call(
        kind="matrix.lock",
        name="matrix.lock",
        words=lambda file, good: (
            "plan",
            "--source=replica",
            "--matrix",
            file.with_suffix(".yaml"),
        ),
    ),
    "pytest, its lock": Call(
        kind="matrix.lock",
        name="matrix.lock",
        words=lambda file, good: ("pytest", f"--matrix={file.with_suffix('.yaml')}", *PYTEST),
    ),
    "plan --durations": Call(
        kind="results, many lines",
        name="old.jsonl",
        words=lambda file, good: (
            *("plan", "--source=replica", "--matrix", good / "matrix.yaml"),
            *("--shards=2", "--durations", file),
        ),
    ),
    "compare": Call(
        kind="results, many lines",
        name="new.jsonl",
        words=lambda file, good: ("compare", good / "good.jsonl", file, "--json"),
    ),
    "compare --markdown": Call(
        kind="results, one line",
        name="base.jsonl",
        words=lambda file, good: (
            *("compare", file, good / "good.jsonl"),
            *("--markdown", good / "made.md"),
        ),
    ),
    "merge": Call(
        kind="results, many lines",
        name="shard.jsonl",
        words=lambda file, good: ("merge", good / "good.jsonl", file, "-o", good / "made.jsonl"),
    ),
    "merge --expect": Call(
        kind="expected ids",
        name="ids",
        words=lambda file, good: (
            *("merge", good / "good.jsonl", "-o", good / "made.jsonl"),
            *("--expect", file),
        ),
    ),
    "merge --plan": Call(
        kind="plan",
        name="plan.json",
        words=lambda file, good: (
            *("merge", good / "good.jsonl", "-o", good / "made.jsonl"),
            *("--plan", file),
        ),
    ),
    "pytest --plan": Call(
        kind="plan",
        name="plan.json",
        words=lambda file, good: ("pytest", f"--plan={file}", "--shard=1/3", *PYTEST),
    ),
    "report": Call(
        kind="results, many lines",
        name="results.jsonl",
        words=lambda file, good: ("report", file, "-o", good / "made.html"),
    ),
    "report --bench": Call(
        kind="benchmark",
        name="bench.json",
        words=lambda file, good: (
            *("report", good / "good.jsonl", "-o", good / "made.html"),
            *("--bench", file),
        ),
    ),
}
"""By what the table calls them."""


def chosen(random: Random) -> str:
    """A call; those of pytest take longest."""
    return random.choices([*CALLS], [1 if name.startswith("pytest") else 2 for name in CALLS])[0]


def trial(name: str, random: Random, folder: Path) -> Trial:
    """Change a file and call a program; what no person should see raises ``AssertionError``."""
    call = CALLS[name]
    good = folder / "good"
    good.mkdir(exist_ok=True)
    small = documents.KINDS["matrix.yaml"].good()[1]
    for place in (folder, good):
        (place / "matrix.yaml").write_bytes(small)
        (place / "matrix.lock").write_bytes(documents.LOCK.read_bytes())
    sample_results.written(good / "good.jsonl", [sample_results.made("a")])
    path = folder / call.name
    texts.clear(path)
    kind = documents.KINDS[call.kind]
    special = random.choice([*texts.SPECIAL]) if random.randrange(10) == 0 else None
    size = 0
    if special:
        texts.SPECIAL[special](path)
    else:
        everything = [one for other in documents.KINDS.values() for one in other.good()[:1]]
        whole_files = {"matrix.yaml": small, "matrix.lock": documents.LOCK.read_bytes()}
        begun = whole_files.get(call.kind) or random.choice(kind.good())
        content = texts.changed(random, begun, everything)
        size = len(content)
        path.write_bytes(content)
    words = [str(word) for word in call.words(path, good)]
    start = time.perf_counter()
    try:
        run = _pytest if words[0] == "pytest" else _command
        code, said = run(words[1:] if words[0] == "pytest" else words, folder)
    finally:
        texts.clear(path)
    seconds = time.perf_counter() - start
    assert "Traceback" not in said, said
    assert "INTERNALERROR" not in said, said
    # pytest's own: 4 wrong usage, 5 nothing collected.
    fine = (0, 5) if words[0] == "pytest" else FINE
    assert code in (*fine, 4, *ExitCode), f"ended with {code}: {said}"
    if code in fine:
        return Trial(kind=name, outcome="read", seconds=seconds, size=size)
    whole = special is not None or size == 0
    # What is not there has no place.
    placed = documents.has_place(said, path, whole=whole) or "does not know" in said
    return Trial(
        kind=name,
        outcome=f"refused, exit code {code}",
        seconds=seconds,
        size=size,
        placeless="" if placed else said,
    )


def _command(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """``pbs-matrix``, in this process."""
    environment = {cache.LOCATION_VARIABLE: str(folder), "COLUMNS": "500"}
    with documents.in_time():
        done = CliRunner().invoke(cli.main, list(words), env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def _pytest(words: Sequence[str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=SECONDS,
        cwd=documents.PROJECT,
        env={**os.environ, cache.LOCATION_VARIABLE: str(folder), "COLUMNS": "500"},
    )
    return done.returncode, done.stdout + done.stderr
