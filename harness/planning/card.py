"""A cell, as it is known before it has run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import durations, project, releases
from harness.durations import Durations, spoken
from harness.lock import Lock, LockedDefault
from harness.matrix import Check, Extension, Matrix, Sample
from harness.plan import Cell, Interpreter, module_name, where
from harness.sources import Source
from harness.why import printable


def row(cell: Cell) -> dict[str, object]:
    """Where a cell is on each axis, and what is expected of it."""
    return {
        "id": cell.id,
        **where(cell),
        "expected": str(cell.expected.reason),
        "expected_library": cell.expected.library,
        "not_applicable": cell.not_applicable,
    }


def facts(
    cell: Cell, matrix: Matrix, lock: Lock, *, known: Durations, matrix_file: Path
) -> dict[str, Any]:
    """All that there is to know of a cell, as JSON has it."""
    environment, interpreter = cell.environment, cell.environment.interpreter
    base, upgrade = matrix.bases[environment.base], environment.upgrade
    return {
        "id": cell.id,
        "kind": str(cell.sample.kind),
        "sample": _sample(cell, lock),
        "environment": environment.id,
        "uv": {
            "version": environment.uv,
            "asked_as": cell.uv_asked,
            "wheel": lock.uv_wheel(environment.uv, interpreter.platform).model_dump(),
        },
        "interpreter": _interpreter(interpreter, cell.release_asked),
        "before": upgrade
        and {"uv": upgrade.uv, "interpreter": _interpreter(upgrade.interpreter, "")},
        "base": {
            "name": environment.base,
            "about": base.about,
            "suite": base.suite,
            "image": base.image,
            "packages": [*base.packages, *environment.packages],
        },
        "remedy": str(cell.remedy),
        "not_applicable": cell.not_applicable,
        "expected": {
            "outcome": str(cell.expected.reason),
            "library": cell.expected.library,
            "message": cell.expected.message,
            "because": cell.expected.why,
            "link": cell.expected.link,
        },
        "predicted_seconds": {
            "cell": known.cell(cell),
            "preparation": known.preparation(cell),
            "emulated": not durations.here(interpreter.platform),
        },
        "commands": commands(cell.id, matrix_file),
    }


def commands(name: str, matrix_file: Path) -> dict[str, str]:
    """What runs a cell, and what opens its environment."""
    is_default = matrix_file.resolve() == project.matrix_beside(Path()).resolve()
    matrix = [] if is_default else [f"--matrix={matrix_file}"]
    return {
        command: shlex.join(["pbs-matrix", command, *matrix, name])
        for command in ("rerun", "shell")
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The facts for people. What the matrix file says may be anything, and is made harmless."""
    rows = [(label, str(text)) for label, text in _rows(found) if text]
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        yield f"{label:<{width}}  {printable(text)}"


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    sample, base, expected = found["sample"], found["base"], found["expected"]
    yield "cell", found["id"]
    yield found["kind"], f"{sample['name']}: {sample['about']}".removesuffix(": ")
    yield "  from", sample["origin"]
    for wheel in sample["wheels"]:
        yield "  wheel", f"{wheel['filename']} (sha256 {wheel['sha256']})"
    yield "  imported as", sample["module"]
    yield "uv", _as_asked(found["uv"]["version"], found["uv"]["asked_as"])
    yield from _of_interpreter(found["interpreter"])
    if before := found["before"]:
        yield "upgraded from", f"uv {before['uv']}, which had installed:"
        yield from _of_interpreter(before["interpreter"])
    yield "base", f"{base['name']}: {base['about']}".removesuffix(": ")
    yield "  image", base["image"] or f"Debian {base['suite']}"
    yield "  packages", ", ".join(base["packages"])
    yield "remedy", found["remedy"]
    yield "not applicable", found["not_applicable"]
    library = f" {expected['library']}" if expected["library"] else ""
    yield "expected", f"{expected['outcome']}{library}"
    yield "  with", expected["message"]
    yield "  because", expected["because"]
    yield "  see", expected["link"]
    seconds = found["predicted_seconds"]
    how = "emulated" if seconds["emulated"] else "natively"
    yield (
        "predicted",
        f"{seconds['cell']:.2g} s {how}, after {spoken(seconds['preparation'])} of preparation",
    )
    yield "run it", found["commands"]["rerun"]
    yield "open it", found["commands"]["shell"]


def _of_interpreter(found: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    archive = found["archive"]
    yield "CPython", found["python"] + (f" ({archive['version']})" if archive else "")
    dated = f", of {found['commit_date']}" if found["commit_date"] else ""
    yield "  release", _as_asked(found["release"], found["release_asked_as"]) + dated
    yield "  libpython", found["link_model"]
    yield "  source", found["source_words"]
    yield "  archive", archive and archive["url"]
    yield "  sha256", archive and archive["sha256"]


def _as_asked(what: str, asked: str) -> str:
    return f"{what} (asked for as {asked})" if asked not in ("", what, "default") else what


def _interpreter(interpreter: Interpreter, asked: str) -> dict[str, Any]:
    is_replica = interpreter.source is Source.REPLICA
    return {
        "id": interpreter.id,
        "python": interpreter.python,
        "release": interpreter.release,
        "release_asked_as": asked,
        "commit_date": releases.commit_dates().get(interpreter.release),
        "link_model": str(interpreter.link_model),
        "flavour": str(interpreter.flavour),
        "platform": str(interpreter.platform),
        "source": str(interpreter.source),
        "source_words": "a replica: Debian's CPython with that release's link model, in place of:"
        if is_replica
        else "the published archive",
        # Of others than its uv's own the release's SHA256SUMS tells it, when it is fetched.
        "archive": interpreter.default and _archive(interpreter.default),
    }


def _archive(default: LockedDefault) -> dict[str, str]:
    return {"version": default.version, "url": default.url, "sha256": default.sha256}


def _sample(cell: Cell, lock: Lock) -> dict[str, Any]:
    sample: Sample = cell.sample
    interpreter = cell.environment.interpreter
    wheels: list[dict[str, object]] = []
    match sample:
        case Extension(requirement=str(requirement)):
            origin = f"the package index: {requirement}"
            there = lock.wheels.get(requirement, {}).get(interpreter.python, {})
            wheels = [wheel.model_dump() for wheel in there.get(interpreter.platform, ())]
        case Extension(wheel=str(pattern)):
            origin = f"wheel files: {pattern}"
        case Extension(source=source):
            origin = f"built here from {source}"
        case Check(script=script):
            origin = f"a script: {script}"
        case _:
            raise AssertionError(f"unknown kind of sample {sample!r}")
    return {
        "name": cell.extension,
        "about": sample.about,
        "origin": origin,
        "module": module_name(cell),
        "wheels": wheels,
        "timeout": sample.timeout,
    }
