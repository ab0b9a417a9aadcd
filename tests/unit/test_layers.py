"""Layers point one way: what each module may load, asked of a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]

UPWARDS = ("docker", "pytest", "_pytest", "click")
HEAVY = ("docker", "requests", "pytest", "elftools")
LAYERS = [
    # modules, and what none of them may bring along
    (("errors", "outcome", "platforms", "remedies", "sources", "releases"), ("pydantic", *HEAVY)),
    (("flavours", "published", "tarball"), ("pydantic", "zstandard", *HEAVY)),
    # The loader's rules and the check are plain Python: to start is most of what a check takes.
    (
        ("loader.glibc", "loader.musl", "elf", "ldcache", "imports", "prediction", "why"),
        ("pydantic", "click", "yaml", *HEAVY),
    ),
    (
        ("check.command", "check.verdicts", "check.advice", "check.report", "check.targets"),
        ("pydantic", "click", "rich", "yaml", *HEAVY),
    ),
    (("flavours", "published", "sources", "mirror", "tarball"), ("pydantic", *HEAVY)),
    (("bisection.search",), ("pydantic", "click", "rich", "yaml", *HEAVY)),
    (("bisection.report", "bisection.journal", "bisection.model"), HEAVY),
    (("project",), ("pydantic", "click", "rich", "yaml", *HEAVY)),
    (("starter.candidate", "starter.new", "starter.texts", "starter.writing"), UPWARDS),
    (("plan", "verdict", "outcome", "lock", "releases"), HEAVY),
    (("results", "table", "fidelity"), HEAVY),
    (("markdown",), ("pydantic", "click", "rich", "yaml", *HEAVY)),
    (("signature", "brief", "comparison", "merging"), ("click", *HEAVY)),
    (("sharding",), ("pydantic", "click", "rich", "yaml", *HEAVY)),
    (("question",), ("pydantic", "click", "yaml", *HEAVY)),
    # Of the containers, a worker knows only whom to ask.
    (("cells", "broker"), ("docker", "pytest", "_pytest", "click")),
    (("durations", "request", "planfile", "jobs", "finding", "decision"), ("click", *HEAVY)),
    (
        ("filing.troubles", "filing.deciding", "filing.wording", "filing.suspects"),
        ("click", *HEAVY),
    ),
    (("filing.applying", "filing.lastresults"), UPWARDS),
    (("grid", "report.model", "report.page", "report.markdown"), ("click", *HEAVY)),
    (("index", "uvbinary", "replica", "interpreters", "extensions", "locking"), UPWARDS),
    (("catalogue", "releasing", "resolution", "downloads", "storage", "routes"), UPWARDS),
    # Only where it is asked something does a run need the network's modules.
    (("resolution",), HEAVY),
    (("contents",), ("requests", "zstandard", *UPWARDS)),
    (
        (
            "agent",
            "containers",
            "broker",
            "cells",
            "images",
            "preparing",
            "running",
            "trial",
            "doctor",
        ),
        ("pytest", "_pytest", "click"),
    ),
    (("imagestorage",), ("pytest", "_pytest", "click", "rich.table", "rich.console")),
    (("plugin",), ("docker", "requests", "rich", "click", "elftools")),
    (("cli",), ("docker", "requests", "pydantic", "pytest")),
]


@pytest.mark.parametrize(("modules", "forbidden"), LAYERS, ids=lambda names: "+".join(names))
def test_a_layer_does_not_reach_upwards(
    modules: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    """Planning knows nothing of Docker, containers nothing of pytest; collection stays fast."""
    program = (
        f"import sys; {'; '.join(f'import harness.{name}' for name in modules)}; "
        f"print([name for name in {forbidden!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def imported(path: Path, *, at_once: bool = False) -> set[str]:
    """Names of the packages that a file imports; ``at_once``: as soon as it is itself imported."""
    found = set()
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in left:
        match node:
            case ast.Import(names=names):
                found |= {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
            case ast.FunctionDef() | ast.If(test=ast.Name(id="TYPE_CHECKING")) if at_once:
                continue
        left += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("program", ["agent.py", "probe.py"])
def test_what_runs_in_a_container_needs_nothing_but_the_standard_library(program: str) -> None:
    """It runs on every Python under test, in images without any package."""
    needed = imported(PROJECT / "images" / "environment" / program) - {"probe"}
    assert needed <= sys.stdlib_module_names


@pytest.mark.parametrize("at_once", [True, False])
def test_whatever_the_harness_imports_is_among_its_dependencies(at_once: bool) -> None:
    """Not among those of its developers alone: else it breaks where it is only installed.

    What a part of it needs that not everybody uses is imported there, and may be an extra.
    """
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    if not at_once:
        wanted += [text for name in extras if name != "dev" for text in extras[name]]
    declared = {canonicalize_name(Requirement(text).name) for text in wanted}
    providers = metadata.packages_distributions()
    files = [*(PROJECT / "harness").rglob("*.py"), PROJECT / "conftest.py"]
    needed = {name: file.name for file in files for name in imported(file, at_once=at_once)}
    missing = {
        name: file
        for name, file in needed.items()
        if name not in sys.stdlib_module_names and name != "harness"
        if not declared & {canonicalize_name(by) for by in providers.get(name, [name])}
    }
    assert missing == {}
