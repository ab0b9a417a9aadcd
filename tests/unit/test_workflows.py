"""The workflows as they are written: schema, security, shell, and what every job has to have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflows import expressions, runner
from tests.workflows.expressions import UnknownExpression

PROJECT = runner.PROJECT
WORKFLOWS = sorted(runner.WORKFLOWS.glob("*.yml"))
ACTIONS = [PROJECT / "action.yml", *sorted(PROJECT.glob(".github/actions/*/action.yml"))]
JOBS = [
    pytest.param(job, id=f"{path.name} {name}")
    for path in WORKFLOWS
    for name, job in runner.load(path)["jobs"].items()
]


def program(name: str, *arguments: str | Path, text: str = "") -> str:
    """What a program of this environment says; it has to end well."""
    done = subprocess.run(
        [Path(sys.executable).parent / name, *arguments],
        input=text,
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_zizmor_finds_nothing() -> None:
    """Not even what is informational; what is ignored says why, where it stands."""
    found = program("zizmor", "--offline", "--format=json", ".github", "action.yml")
    assert json.loads(found) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_what_githubs_schema_takes(path: Path) -> None:
    program("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
def test_actions_are_what_githubs_schema_takes(path: Path) -> None:
    program("check-jsonschema", "--builtin-schema", "vendor.github-actions", path)


@pytest.mark.parametrize(("where", "job", "script"), list(runner.run_blocks()))
def test_every_script_is_clean_and_has_no_expression(where: str, job: str, script: str) -> None:
    """A value of anybody else's is a variable of the shell, never a part of its text."""
    assert "${{" not in script, (where, job)
    # $ARGUMENTS and $TARGETS are lists with globs, for the shell to expand.
    excluded = "SC2086" if where == "action.yml" else "SC0000"
    program("shellcheck", "--shell=bash", f"--exclude={excluded}", "-", text=script)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_permission_of_its_own(path: Path) -> None:
    assert runner.load(path)["permissions"] == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_of_a_workflow_that_starts_by_itself_one_runs_at_a_time(path: Path) -> None:
    document = runner.load(path)
    if set(document["on"]) != {"workflow_call"}:
        assert document["concurrency"]["group"]


@pytest.mark.parametrize("job", JOBS)
def test_every_job_says_what_it_may_and_how_long(job: dict[str, Any]) -> None:
    assert job["permissions"]
    assert "uses" in job or 0 < int(job["timeout-minutes"]) <= 240
    if "strategy" in job:
        assert job["strategy"]["fail-fast"] == "false"


def _uses(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (step for step in steps if "uses" in step)


@pytest.mark.parametrize("job", JOBS)
def test_every_action_of_others_is_pinned_by_commit(job: dict[str, Any]) -> None:
    for step in _uses(job.get("steps", [])):
        uses = step["uses"]
        assert uses.startswith(runner.OWN) or re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", uses)
        if uses.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_the_night_takes_published_archives_and_nothing_else() -> None:
    jobs = runner.jobs_of("nightly.yml")
    assert jobs["matrix"]["with"]["source"] == "upstream"
    scripts = [step.get("run", "") for job in jobs.values() for step in job.get("steps", [])]
    running = [s for s in scripts if re.search(r"pbs-matrix (try|bisect) ", s)]
    assert len(running) == 3
    assert all("--source=upstream" in script for script in running)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ a.b }}", "1"),
        ("x${{ a.b }}y", "x1y"),
        ("${{ a.none.deeper }}", None),
        ("${{ a.none || 'other' }}", "other"),
        ("${{ !a.none && a.b != '2' }}", True),
        ("${{ (a.b == '2' || true) && 'it''s' }}", "it's"),
        ("${{ fromJSON(a.list).include }}", [3]),
        ("${{ a.none != '' || a.none == 1 }}", False),
        ("${{ a.b == 1 && 'X' == 'x' }}", True),
        ("plain", "plain"),
    ],
)
def test_expressions_are_read_as_github_does(text: str, value: object) -> None:
    contexts = {"a": {"b": "1", "list": '{"include": [3]}'}}
    assert expressions.value(text, contexts, {}) == value


@pytest.mark.parametrize("text", ["${{ b.c }}", "${{ later() }}", "${{ 1 + 1 }}", "${{ (1 }}"])
def test_an_expression_that_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(UnknownExpression):
        expressions.value(text, {}, {})
