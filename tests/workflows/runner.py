"""Runs the jobs of a workflow here, as GitHub's runners would: real commands, simulated actions.

Every ``run:`` is executed by bash with GitHub's variables and files; every ``uses:`` of this
repository is followed, and the few actions of others are stood in for by what they do to files.
What is not understood is an error, so that nothing is passed over silently.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.workflows import expressions
from tests.workflows.expressions import UnknownExpression

PROJECT = Path(__file__).parents[2]
WORKFLOWS = PROJECT / ".github" / "workflows"
OWN = "$/"

SUDO = """#!/bin/sh
# Its options say which variables it keeps; here all are.
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


def load(path: Path) -> dict[str, Any]:
    """A workflow or action, with every value as text, as GitHub reads it: ``on`` is no boolean."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return document


def jobs_of(name: str) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow of this repository."""
    jobs: dict[str, dict[str, Any]] = load(WORKFLOWS / name)["jobs"]
    return jobs


@dataclass(kw_only=True)
class Ran:
    """A ``run:`` that was executed."""

    workflow: str
    job: str
    step: str
    code: int
    seconds: float
    output: str
    environment: dict[str, str]


@dataclass(kw_only=True)
class Job:
    """How a job went."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)


class GitHub:
    """One run of a workflow: its artifacts, its summary, its published page."""

    def __init__(
        self,
        folder: Path,
        *,
        event: str,
        token: str = "",
        environment: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        instead: Mapping[str, Path] | None = None,
    ) -> None:
        """``variables``: the repository's (``vars``); ``instead``: files of other checkouts."""
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.summary = folder / "summary.md"
        self.page: Path | None = None
        self.ran: list[Ran] = []
        self.jobs: dict[str, Job] = {}
        self.environment = environment or {}
        self.instead = instead or {}
        self._event = event
        self._token = token
        self._variables = variables or {}
        self.programs = folder / "bin"
        for path in (self.artifacts, self.programs):
            path.mkdir(parents=True)
        (self.programs / "sudo").write_text(SUDO)
        (self.programs / "sudo").chmod(0o755)
        self.summary.touch()

    @cached_property
    def python(self) -> Path:
        """The directory of a Python with pip, into which packages may be installed."""
        folder = self.folder / "python"
        base = Path(sys.base_prefix) / "bin" / "python3"
        command = [sys.executable, "-m", "uv", "venv", "-q", "--seed", "--python", str(base)]
        subprocess.run([*command, str(folder)], check=True)
        return folder / "bin"

    def run(
        self,
        workflow: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        first_only: tuple[str, ...] = (),
    ) -> str:
        """Run a workflow, ``success`` or ``failure``; of jobs in ``first_only`` one of a matrix."""
        given = {name: one.get("default", "") for name, one in _inputs_of(workflow, self._event)}
        jobs = self._workflow(workflow, {**given, **(inputs or {})}, "", first_only)
        return _worst(job.result for job in jobs.values())

    def rerun(self, workflow: str, job: str, *, after: GitHub) -> None:
        """Run one job again, whose needs went as in another run; its artifacts are here by now."""
        jobs = jobs_of(workflow)
        given = {name: one.get("default", "") for name, one in _inputs_of(workflow, self._event)}
        self.jobs[job] = self._job(workflow, job, jobs[job], given, after.jobs, ())

    def action(
        self, path: str, inputs: Mapping[str, str], *, files: Mapping[str, Path]
    ) -> list[Ran]:
        """Run an action as a step of another repository that has these files."""
        machine = _Machine(self, path, "action", 0, {"github": {"action_path": str(PROJECT)}})
        for name, file in files.items():
            machine.put(name, file)
        machine.steps([{"uses": f"{OWN}{Path(path).parent}", "with": dict(inputs)}])
        return self.ran

    def _workflow(
        self, workflow: str, inputs: Mapping[str, Any], prefix: str, first_only: tuple[str, ...]
    ) -> dict[str, Job]:
        done: dict[str, Job] = {}
        jobs = jobs_of(workflow)
        while left := [name for name in jobs if name not in done]:
            ready = [n for n in left if all(need in done for need in _needs(jobs[n]))]
            assert ready, f"{workflow}: jobs that wait for each other: {left}"
            for name in ready:
                done[name] = self._job(workflow, name, jobs[name], inputs, done, first_only)
                self.jobs[f"{prefix}{name}"] = done[name]
        return done

    def _job(
        self,
        workflow: str,
        name: str,
        job: dict[str, Any],
        inputs: Mapping[str, Any],
        done: Mapping[str, Job],
        first_only: tuple[str, ...],
    ) -> Job:
        needs = {need: done[need] for need in _needs(job)}
        contexts: dict[str, Any] = {
            "inputs": inputs,
            "vars": self._variables,
            "github": {
                "token": self._token,
                "ref": "refs/heads/main",
                "ref_name": "main",
                "event": {"repository": {"default_branch": "main"}},
            },
            "runner": {"arch": "X64", "temp": str(self.folder / "temp")},
            "needs": {n: {"result": j.result, "outputs": j.outputs} for n, j in needs.items()},
        }
        states = [one.result for one in needs.values()]
        if not _condition(job.get("if", "success()"), contexts, states):
            return Job(result="skipped")
        if "uses" in job:
            file = job["uses"].removeprefix(f"{OWN}.github/workflows/")
            with_ = {k: expressions.value(v, contexts, {}) for k, v in job["with"].items()}
            defaults = {k: v.get("default", "") for k, v in _inputs_of(file, "")}
            inner = self._workflow(file, {**defaults, **with_}, f"{name}/", first_only)
            return Job(result=_worst(one.result for one in inner.values()))
        entries: list[dict[str, Any]] = [{}]
        if strategy := job.get("strategy"):
            entries = _entries(strategy["matrix"], contexts)
        if name in first_only:
            entries = entries[:1]
        results = []
        outputs: dict[str, str] = {}
        for index, entry in enumerate(entries):
            own = {**contexts, "matrix": entry, "strategy": {"job-index": index}}
            machine = _Machine(self, workflow, name, index, own)
            machine.steps(job["steps"])
            results.append(machine.state)
            outputs |= {
                key: expressions.filled(text, {**own, "steps": machine.outputs}, {})
                for key, text in job.get("outputs", {}).items()
            }
        return Job(result=_worst(results), outputs=outputs)


class _Machine:
    """A fresh runner that executes the steps of one job."""

    def __init__(
        self, github: GitHub, workflow: str, job: str, index: int, contexts: dict[str, Any]
    ) -> None:
        self._github = github
        self._workflow = workflow
        self._name = job
        self._contexts = contexts
        self._root = github.folder / f"{Path(workflow).stem}-{job}-{index}"
        self._workspace = self._root / "workspace"
        self._workspace.mkdir(parents=True)
        self._path: list[str] = []
        self.state = "success"
        self.outputs: dict[str, dict[str, dict[str, str]]] = {}

    def put(self, name: str, file: Path) -> None:
        """Lay a file into the workspace."""
        (self._workspace / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, self._workspace / name)

    def steps(self, steps: list[dict[str, Any]], contexts: dict[str, Any] | None = None) -> None:
        contexts = contexts or self._contexts
        for number, step in enumerate(steps):
            own = {**contexts, "steps": self.outputs}
            if not _condition(step.get("if", "success()"), own, [self.state]):
                continue
            if "run" in step:
                self._run(step, own, number)
            else:
                self._use(step, own)

    def _run(self, step: dict[str, Any], contexts: dict[str, Any], number: int) -> None:
        assert "${{" not in step["run"], f"an expression in a shell: {step['run']}"
        files = {
            name: self._root / f"{name}-{number}"
            for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH")
        }
        for file in files.values():
            file.touch()
        own = {k: expressions.filled(v, contexts, {}) for k, v in step.get("env", {}).items()}
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_"))},
            **{k: str(v) for k, v in files.items()},
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self._github.summary),
            "GITHUB_WORKSPACE": str(self._workspace),
            "GITHUB_REPOSITORY": "someone/something",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "1000",
            "GITHUB_REF_NAME": "main",
            "RUNNER_TEMP": str(self._root / "temp"),
            **self._github.environment,
            **own,
            "PATH": os.pathsep.join([*self._path, str(self._github.programs), *_usual_path()]),
        }
        (self._root / "temp").mkdir(exist_ok=True)
        start = time.monotonic()
        # As GitHub's own shells: https://docs.github.com/actions/reference/workflow-syntax-for-github-actions
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._workspace,
            env=environment,
        )
        name = step.get("name") or step["run"].splitlines()[0]
        self._github.ran.append(
            Ran(
                workflow=self._workflow,
                job=self._name,
                step=name,
                code=done.returncode,
                seconds=time.monotonic() - start,
                output=done.stdout,
                environment=own,
            )
        )
        if done.returncode:
            self.state = "failure"
        if step_id := step.get("id"):
            lines = files["GITHUB_OUTPUT"].read_text().splitlines()
            outputs = dict(line.split("=", 1) for line in lines)
            self.outputs[step_id] = {"outputs": outputs}
        self._path = [*files["GITHUB_PATH"].read_text().split(), *self._path]

    def _use(self, step: dict[str, Any], contexts: dict[str, Any]) -> None:
        uses = step["uses"]
        given = {
            k: expressions.filled(v, contexts, _FILES) for k, v in step.get("with", {}).items()
        }
        if uses.startswith(OWN):
            action = load(PROJECT / uses.removeprefix(OWN) / "action.yml")
            defaults = {k: v.get("default", "") for k, v in action.get("inputs", {}).items()}
            inner = {**contexts, "inputs": {**defaults, **given}}
            self.steps(action["runs"]["steps"], inner)
            return
        name, _, commit = uses.partition("@")
        assert len(commit) == 40, f"{uses} is not pinned by commit"
        match name:
            case "actions/checkout":
                _checkout(self._workspace)
                for name, file in self._github.instead.items():
                    self.put(name, file)
            case "actions/setup-python":
                self._path = [str(self._github.python), *self._path]
            case "actions/cache" | "actions/configure-pages":
                pass
            case "actions/upload-artifact":
                self._upload(given)
            case "actions/download-artifact":
                self._download(given)
            case "actions/upload-pages-artifact":
                self._github.page = self._github.artifacts / "github-pages"
                shutil.copytree(self._workspace / given["path"], self._github.page)
            case "actions/deploy-pages":
                assert self._github.page, "there is no page to deploy"
                self.outputs["deployment"] = {"outputs": {"page_url": "https://example.org/"}}
            case _:
                raise UnknownExpression(f"uses: {uses}")

    def _upload(self, given: dict[str, str]) -> None:
        target = self._github.artifacts / given["name"]
        assert not target.exists(), f"there is an artifact {given['name']} already"
        found = [
            path
            for pattern in given["path"].split()
            for path in sorted(self._workspace.glob(pattern.rstrip("/")))
        ]
        assert found or given.get("if-no-files-found") != "error", given
        for path in found:
            target.mkdir(exist_ok=True)
            # Relative to the least common folder, which for these is the workspace.
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, target / path.relative_to(self._workspace))

    def _download(self, given: dict[str, str]) -> None:
        target = self._workspace / given.get("path", ".")
        if name := given.get("name"):
            assert (self._github.artifacts / name).exists(), f"there is no artifact {name}"
            shutil.copytree(self._github.artifacts / name, target, dirs_exist_ok=True)
            return
        for artifact in sorted(self._github.artifacts.iterdir()):
            if fnmatch(artifact.name, given["pattern"]):
                merged = given.get("merge-multiple") == "true"
                place = target if merged else target / artifact.name
                shutil.copytree(artifact, place, dirs_exist_ok=True)


def _usual_path() -> list[str]:
    """The PATH without the environment that this runs in, which no runner has."""
    own = Path(sys.prefix) / "bin"
    return [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own]


_FILES: expressions.Functions = {"hashFiles": lambda *patterns: "0" * 64}


def _checkout(workspace: Path) -> None:
    """The files of this repository as they are now, those that git does not ignore."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    for name in filter(None, done.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, workspace / name)
    # In a repository only does ruff pass over what git ignores.
    subprocess.run(["git", "init", "-q", workspace], check=True)


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _inputs_of(workflow: str, event: str) -> list[tuple[str, dict[str, Any]]]:
    """What a workflow can be told when it is started by an event, or called by another."""
    triggers = load(WORKFLOWS / workflow)["on"]
    name = event if event == "workflow_dispatch" else "workflow_call"
    inputs: dict[str, dict[str, Any]] = (triggers.get(name) or {}).get("inputs", {})
    return list(inputs.items())


def _condition(text: str, contexts: Mapping[str, Any], states: list[str]) -> bool:
    """Whether a job or step runs; one that does not ask for states runs after successes only."""
    asked: list[str] = []

    def function(name: str, answer: bool) -> Any:
        def call() -> bool:
            asked.append(name)
            return answer

        return call

    # A skipped need skips what needs it, unless that asks for the state itself.
    succeeded = all(state == "success" for state in states)
    functions = {
        "success": function("success", succeeded),
        "failure": function("failure", "failure" in states),
        "always": function("always", True),
        "cancelled": function("cancelled", False),
    }
    inside = expressions.INSIDE.fullmatch(text.strip())
    found = bool(expressions.evaluate(inside[1] if inside else text, contexts, functions))
    return found and (bool(asked) or succeeded)


def _entries(matrix: Any, contexts: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(matrix, str):
        matrix = expressions.value(matrix, contexts, {})
    if "include" in matrix:
        assert set(matrix) == {"include"}
        return list(matrix["include"])
    ((axis, values),) = matrix.items()
    return [{axis: one} for one in values]


def _worst(results: Iterator[str] | list[str]) -> str:
    found = list(results)
    return "failure" if "failure" in found else "success" if "success" in found else "skipped"


def run_blocks() -> Iterator[tuple[str, str, str]]:
    """Every ``run:`` of the repository: file, name of its job or action, script."""
    for path in sorted(WORKFLOWS.glob("*.yml")):
        for name, job in load(path)["jobs"].items():
            for step in job.get("steps", []):
                if "run" in step:
                    yield path.name, name, step["run"]
    for path in (PROJECT / "action.yml", *sorted(PROJECT.glob(".github/actions/*/action.yml"))):
        for step in load(path)["runs"]["steps"]:
            if "run" in step:
                name = "action" if path.parent == PROJECT else path.parent.name
                yield str(path.relative_to(PROJECT)), name, step["run"]
