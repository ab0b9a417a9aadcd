"""The project as a wheel, in an empty environment, in the hands of an extension's author."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from harness import extensions, tools
from harness.platforms import Platform
from harness.results import read
from tests.integration.conftest import PROJECT, leftovers

# Notes what any Python process of the environment opens of the checkout: nothing, it should be.
SPY = """\
import sys

def spy(event, arguments, checkout={checkout!r}, notes={notes!r}):
    if event in ("open", "os.listdir", "os.scandir", "import") and arguments:
        if str(arguments[0]).startswith(checkout):
            with open(notes, "a") as file:
                file.write(f"{{event}} {{arguments[0]}}\\n")

sys.addaudithook(spy)
"""


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A program as somebody else runs it, who knows nothing of the checkout or its environment."""
    ours = ("PYTEST_", "PYTHON", "VIRTUAL_ENV", "TOX_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return subprocess.run(
        [*command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**inherited, "COLUMNS": "200", **more},
    )


def uv(*arguments: str | Path, cwd: Path) -> None:
    done = run(tools.find("uv", advice="pip install uv"), *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True, kw_only=True)
class Installation:
    """An environment that has the wheel and what it needs, and nothing of the checkout."""

    bin: Path
    notes: Path

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return run(self.bin / program, *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's source distribution, and the wheel that is built from that.

    Built as anybody builds them: the back end comes from the index.
    """
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--quiet", "--no-config", "--out-dir", folder, PROJECT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution as a tree, which is what a checkout is."""
    folder = tmp_path_factory.mktemp("unpacked")
    (source,) = built.glob("*.tar.gz")
    assert run("tar", "-xzf", source, cwd=folder).returncode == 0
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("elsewhere")
    bin_folder, notes = folder / "environment" / "bin", folder / "opened"
    uv("venv", "--quiet", "--no-config", "-p", sys.executable, folder / "environment", cwd=folder)
    uv("pip", "install", "-q", "--no-config", "-p", bin_folder / "python", wheel, cwd=folder)
    (site,) = (folder / "environment").glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(SPY.format(checkout=f"{PROJECT}/", notes=str(notes)))
    return Installation(bin=bin_folder, notes=notes)


@pytest.fixture
def project(installation: Installation, tmp_path: Path) -> Path:
    """A directory of an author's, elsewhere; the environment sees nothing of the checkout."""
    done = installation.run("python", "-c", "import harness; print(harness.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installation.bin.parent)
    return tmp_path


def counts(done: subprocess.CompletedProcess[str]) -> str:
    return next((line for line in done.stdout.splitlines() if re.match(r"\d+ cells?:", line)), "")


@pytest.mark.engine
def test_an_empty_environment_begins_a_matrix_and_runs_it(
    installation: Installation, project: Path, client: docker.DockerClient
) -> None:
    """``pbs-matrix init && pytest``: both platforms, as expected, and nothing of the checkout."""
    begun = installation.run("pbs-matrix", "init", cwd=project)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    done = installation.run(
        "pytest", "-n2", "--source=replica", "--results=results.jsonl", cwd=project
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts(done).startswith("6 cells: 6 as expected (2 of them known breakage), 0 regressed")
    results = list(read(project / "results.jsonl"))
    assert {result.platform for result in results} == {"x86_64", "aarch64"}
    assert {result.status for result in results} == {"as-expected"}
    assert f"preparing 6 cells of {project / 'matrix.yaml'}" in done.stdout
    assert not installation.notes.exists(), installation.notes.read_text()
    assert leftovers(client) == []


@pytest.mark.engine
def test_an_author_learns_what_breaks_and_notes_it(
    installation: Installation, project: Path
) -> None:
    """A wheel in dist/ that needs libpython: first it regresses, then it is known breakage."""
    name = "libpython-needed"
    (project / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1.0"\n')
    (project / "dist").mkdir()
    for platform in Platform:
        folder = PROJECT / "cases" / "extensions" / name
        shutil.copy(extensions.build(name, folder, "3.13", platform), project / "dist")
    begun = installation.run("pbs-matrix", "init", cwd=project)
    assert "libpython-needed: dist/libpython_needed-*.whl" in begun.stdout, begun.stderr
    done = installation.run("pytest", "--source=replica", cwd=project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert counts(done).startswith("6 cells: 4 as expected (0 of them known breakage), 2 regressed")
    said = "regressed: expected imports, but got missing-library libpython3.13.so.1.0"
    assert done.stdout.count(said) >= 2
    path = project / "matrix.yaml"
    head, _, example = path.read_text().partition("# expectations:")
    path.write_text(head + re.sub("^# ", "", f"# expectations:{example}", flags=re.MULTILINE))
    done = installation.run("pytest", "--source=replica", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts(done).startswith("6 cells: 6 as expected (2 of them known breakage), 0 regressed")
    assert not installation.notes.exists(), installation.notes.read_text()


def test_the_projects_own_matrix_is_there_where_no_other_is(
    installation: Installation, project: Path
) -> None:
    """Every cell of it, its checks and its tables; it is not written to."""
    arguments = ("--pyargs", "harness.matrixtests", "--collect-only", "-q", "--source=replica")
    done = installation.run("pytest", *arguments, "--profile=quick", cwd=project)
    assert "54 tests collected" in done.stdout, done.stdout + done.stderr
    done = installation.run("pbs-matrix", "schema", "--check", cwd=project)
    assert done.returncode == 0, done.stderr
    done = installation.run("pbs-matrix", "lock", cwd=project)
    assert done.returncode == 10
    assert "is not for editing" in done.stderr
    assert not installation.notes.exists(), installation.notes.read_text()


def test_a_verdict_rests_on_the_same_code_in_a_checkout_and_installed(
    installation: Installation, project: Path, unpacked: Path
) -> None:
    """So that what one of them has found out holds for the other."""
    program = "from harness.bisection import answers; print(answers.harness_version())"
    installed = installation.run("python", "-c", program, cwd=project)
    # The current directory goes before what is installed.
    beside = installation.run("python", "-c", f"import harness; {program}", cwd=unpacked)
    where = installation.run(
        "python", "-c", "import harness; print(harness.__file__)", cwd=unpacked
    )
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
    assert installed.stdout == beside.stdout != ""


def test_a_program_is_run_from_the_wheel_without_installing_it(wheel: Path, tmp_path: Path) -> None:
    uv("tool", "run", "--quiet", "--from", wheel, "pbs-matrix", "init", "begun", cwd=tmp_path)
    assert (tmp_path / "begun" / "matrix.yaml").is_file()


def test_a_wheel_is_the_same_from_a_checkout_and_from_the_source_distribution(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    # What building or testing a sample by hand may leave there.
    for name in ("setuptools-plain/build/x.c", "pyo3-linked/target/x.c", "a/__pycache__/x.pyc"):
        path = unpacked / "cases" / "extensions" / name
        path.parent.mkdir(parents=True)
        path.write_text("")
    uv("build", "--quiet", "--wheel", "--no-config", "-o", tmp_path, unpacked, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        contents = [{name: z.read(name) for name in z.namelist()} for z in (one, other)]
    assert contents[0] == contents[1]


def test_the_source_distribution_has_all_that_is_committed(unpacked: Path) -> None:
    """So that whoever packages it can run the tests."""
    listed = run("git", "ls-files", "-z", cwd=PROJECT)
    if listed.returncode != 0:
        pytest.skip(f"this is no clone: {listed.stderr.strip()}")
    names = [name for name in listed.stdout.split("\0") if (PROJECT / name).is_file()]
    assert [name for name in names if not (unpacked / name).is_file()] == []
