"""Every command of the workflows, executed here as GitHub's runners would."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import index, results
from harness import lock as locks
from harness.lock import LockedWheel
from harness.outcome import Reason
from harness.platforms import Platform
from tests import githubapi
from tests.integration import mirrored
from tests.integration.conftest import PROJECT
from tests.unit.sample_results import made, written
from tests.workflows.runner import GitHub, run_blocks

pytestmark = pytest.mark.engine

SAMPLES = ["python-mscl", "no-libpython"]
FAILING = "python-mscl-uv0.7.6-cp313-20250517-x86_64-debian13"


@pytest.fixture
def api() -> Iterator[githubapi.GitHub]:
    with githubapi.serving() as server:
        yield server


class Night:
    """The nightly workflow over a small matrix; replicas are served as the published archives."""

    def __init__(self, api: githubapi.GitHub, folder: Path) -> None:
        self.api = api
        folder.mkdir()
        small = {
            "extensions": SAMPLES,
            "bases": ["debian13"],
            # Which is that of the newest uv in the lock, since GitHub has no list here.
            "include": [
                {
                    "extensions": ["python-mscl"],
                    "bases": ["debian13"],
                    "platforms": ["x86_64"],
                    "uv": ["0.7.6"],
                    "releases": ["latest"],
                }
            ],
        }
        _, self.matrix, self.lock = mirrored.matrix_for(
            folder,
            ("0.7.5", "0.7.6"),
            more_profiles={"nightly": small, "default": {"bases": ["debian13"]}},
        )
        mirrored.fill(api.store, self.lock, ("0.7.5", "0.7.6", "0.13.9"))
        self.files = {name: folder / name for name in ("matrix.yaml", "matrix.lock")}
        self.folder = folder

    def github(self, name: str, event: str = "schedule") -> GitHub:
        return GitHub(
            self.folder / name,
            event=event,
            token=githubapi.TOKEN,
            environment={"GITHUB_API_URL": self.api.url},
            variables={
                "PBS_MATRIX_MIRROR": self.api.store.downloads,
                "PBS_MATRIX_TRUST_MIRROR": "true",
            },
            instead=self.files,
        )

    def earlier(self, *lines: results.Result) -> None:
        """A good night that is over, whose results are an artifact."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(written(self.folder / "earlier.jsonl", lines), "results.jsonl")
        self.api.leave(self.api.run(999), packed.getvalue())


@pytest.fixture
def night(api: githubapi.GitHub, tmp_path: Path) -> Night:
    return Night(api, tmp_path / "night")


def told(github: GitHub) -> str:
    return "\n".join(
        f"{r.workflow} {r.job} {r.step}: {r.code} in {r.seconds:.0f} s\n{r.output}"
        for r in github.ran
    )


def outputs(github: GitHub, job: str) -> dict[str, str]:
    return {ran.step: ran.output for ran in github.ran if ran.job == job}


def lines(github: GitHub, name: str) -> list[results.Result]:
    return list(results.read(github.artifacts / "results" / name))


def test_a_night_plans_runs_merges_reports_bisects_and_files_once(night: Night) -> None:
    """Against the mirror and the API on this machine, from a schedule to an issue and a page."""
    night.earlier(made("python-mscl"), made("no-libpython"))
    github = night.github("first")
    github.run("nightly.yml")
    assert {name: job.result for name, job in github.jobs.items()} == {
        "matrix": "success",
        "matrix/plan": "success",
        "matrix/cells": "success",
        "matrix/merge": "success",
        "report": "success",
        "bisect": "success",
        "issues": "success",
        "pages": "success",
        "try": "skipped",
        "bisect-by-hand": "skipped",
    }, told(github)

    merged = {result.id: result for result in lines(github, "results.jsonl")}
    native = {result.id: result for result in lines(github, "native.jsonl")}
    assert set(native) == {name for name, r in merged.items() if r.platform is Platform.AARCH64}
    assert {result.platform for result in merged.values()} == set(Platform)
    assert all(result.status == "as-expected" for result in merged.values())
    assert merged[FAILING].outcome is Reason.MISSING_LIBRARY
    newest = merged["python-mscl-uv0.7.6-cp313-20261110-x86_64-debian13"]
    assert newest.release_asked == "latest"
    assert newest.outcome is Reason.IMPORTS
    plan = json.loads((github.artifacts / "plan" / "plan.json").read_text())
    assert {cell for job in plan["jobs"] for cell in job["cells"]} == set(merged)

    assert github.page is not None
    assert "python-mscl" in (github.page / "index.html").read_text()
    assert (github.page / "results.jsonl").read_bytes() == (
        github.artifacts / "results" / "results.jsonl"
    ).read_bytes()
    assert "QEMU against native aarch64" in github.summary.read_text()
    assert "1 cell regressed" in github.summary.read_text()

    (issue,) = night.api.open_issues()
    assert "python-mscl" in issue["title"]
    assert "missing-library libpython3.13.so.1.0" in issue["title"]
    assert "python-mscl breaks with 20250517" in issue["body"]
    assert FAILING in issue["body"]

    # The same jobs again, as when somebody has them run once more: nothing is filed twice.
    before = night.api.changes()
    again = night.github("again")
    again.artifacts.rmdir()
    github.artifacts.rename(again.artifacts)
    again.rerun("nightly.yml", "issues", after=github)
    assert night.api.changes() == before, told(again)


def test_by_hand_a_package_is_tried_and_a_bisection_made(night: Night) -> None:
    """What was typed into the form is an argument, whatever is in it."""
    github = night.github("try", "workflow_dispatch")
    github.run("nightly.yml", inputs={"requirement": "python-mscl==67.0.1.0"})
    assert github.jobs["try"].result == "failure", told(github)  # it fails somewhere
    assert github.jobs["matrix"].result == "skipped"
    assert "python-mscl" in (github.artifacts / "tried" / "report.html").read_text()

    github = night.github("bisect", "workflow_dispatch")
    asked = {"bisect": "python-mscl", "good": "20250409", "bad": "20250517"}
    github.run("nightly.yml", inputs=asked)
    assert github.jobs["bisect-by-hand"].result == "success", told(github)
    assert "python-mscl breaks with 20250517" in github.summary.read_text()

    hostile = "$(touch pwned); `touch pwned` --results=pwned"
    github = night.github("hostile", "workflow_dispatch")
    github.run("nightly.yml", inputs={"requirement": hostile})
    assert github.jobs["try"].result == "failure"
    assert not list(github.folder.rglob("pwned"))


def test_the_commands_of_ci_run_in_a_clean_checkout(tmp_path: Path) -> None:
    """Types take minutes and are left out, as are known vulnerabilities, of which a service says
    what it knows that day; of the tests it is seen that they are collected.
    """
    github = GitHub(
        tmp_path / "ci",
        event="push",
        environment={
            "TOX_SKIP_ENV": "types",
            "TOX_OVERRIDE": "testenv.pass_env+=PYTEST_ADDOPTS;"
            "testenv:audit.commands=zizmor --offline .github",
            "PYTEST_ADDOPTS": "--collect-only -q",
        },
    )
    result = github.run("ci.yml", first_only=("unit",))
    assert result == "success", told(github)
    assert "tests collected" in outputs(github, "unit")["Lint, types and unit tests"]
    assert "tests collected" in outputs(github, "matrix")["What a newcomer types, and the tests"]


def test_the_action_for_other_projects_checks_their_wheels(tmp_path: Path) -> None:
    """Also one that a job of theirs has just built, found by its glob."""
    github = GitHub(tmp_path / "action", event="push")
    wheel = index.fetch(_wheel())
    ran = github.action("action.yml", {}, files={f"dist/{wheel.name}": wheel})
    assert [step.code for step in ran] == [0, 1], told(github)
    assert "::error" in ran[-1].output
    assert "libpython3.13.so.1.0" in ran[-1].output


def _wheel() -> LockedWheel:
    lock = locks.load(PROJECT / "matrix.lock")
    (wheel,) = lock.wheels["python-mscl==67.0.1.0"]["3.13"][Platform.X86_64]
    return wheel


def test_every_script_is_one_that_is_executed_here() -> None:
    """A job that is added is to be added to these tests."""
    assert {(where, job) for where, job, _ in run_blocks()} == {
        ("ci.yml", "unit"),
        ("ci.yml", "audit"),
        ("ci.yml", "matrix"),
        *(("matrix.yml", job) for job in ("plan", "cells", "merge")),
        *(("nightly.yml", job) for job in ("report", "bisect", "issues", "try", "bisect-by-hand")),
        ("action.yml", "action"),
        (".github/actions/setup/action.yml", "setup"),
    }
