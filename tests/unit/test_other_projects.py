"""The plugin in projects that have nothing to do with it, and in those that have a matrix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ExitCode

MODULE = """\
import pytest

@pytest.fixture
def cell():
    return 1

@pytest.fixture(params=["a", "b"])
def check(request):
    return request.param

@pytest.fixture
def run():
    return "mine"

def test_fixtures(cell, check, run):
    assert (cell, run) == (1, "mine")

@pytest.mark.parametrize("cell", [1, 2])
def test_import(cell):
    assert cell

@pytest.mark.parametrize("nothing", [])
def test_of_nothing(nothing):
    pass
"""


def run_pytest(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """In a folder of its own, with the plugin installed as it is, and no engine to be found."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **inherited,
            "COLUMNS": "200",
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "PBS_MATRIX_CACHE": "/nonexistent/cache",
            **environment,
        },
    )


@pytest.fixture
def unrelated(tmp_path: Path) -> Path:
    """A project with tests of its own, and a matrix.yaml that is something else."""
    (tmp_path / "test_mine.py").write_text(MODULE)
    (tmp_path / "matrix.yaml").write_text("{{ a template: [of something else\n")
    return tmp_path


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_project_without_a_matrix_of_ours_runs_undisturbed(
    unrelated: Path, workers: tuple[str, ...], tmp_path: Path
) -> None:
    """Its fixtures may have the names of ours, its parameters brackets, its sets be empty."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run_pytest(unrelated, *workers, "-W", "error", TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed, 1 skipped" in done.stdout
    assert "pbs-matrix" not in done.stdout + done.stderr
    assert [path.name for path in scratch.iterdir() if "pbs-matrix" in path.name] == []


def test_our_options_do_nothing_to_tests_that_are_not_ours(unrelated: Path) -> None:
    done = run_pytest(unrelated, "--uv=9.9.9", "--source=upstream", "--results=x.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed, 1 skipped" in done.stdout
    assert not (unrelated / "x.jsonl").exists()


def test_a_project_with_such_an_option_of_its_own_can_leave_the_plugin_out(unrelated: Path) -> None:
    (unrelated / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--profile')\n"
    )
    done = run_pytest(unrelated, "-p", "no:harness.plugin", "--profile=x")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    """The directory that ``pbs-matrix init`` made, with tests of another kind beside."""
    program = "from harness.front import main; main()"
    subprocess.run([sys.executable, "-c", program, "init"], cwd=tmp_path, check=True)
    (tmp_path / "test_mine.py").write_text(MODULE)
    return tmp_path


def collected(done: subprocess.CompletedProcess[str], prefix: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(prefix)]


def test_a_matrix_that_was_begun_is_collected_where_it_is(starter: Path) -> None:
    done = run_pytest(starter, "--collect-only", "--source=replica", "test_matrix.py")
    assert done.returncode == 0, done.stdout + done.stderr
    ids = collected(done, "test_matrix.py::test_import[libpython-needed-uv")
    assert len(ids) == 6
    assert "6 tests collected" in done.stdout


def test_its_matrix_is_found_from_a_folder_below_too(starter: Path) -> None:
    """The rule is: the folder that pytest is run in, then pytest's root."""
    (starter / "pytest.ini").write_text("[pytest]\n")
    (starter / "below").mkdir()
    done = run_pytest(starter / "below", "--collect-only", "--source=replica", "../test_matrix.py")
    assert "6 tests collected" in done.stdout, done.stdout + done.stderr


def test_its_matrix_is_found_beside_it_from_a_folder_above(starter: Path) -> None:
    (starter / "pbs").mkdir()
    for name in ("matrix.yaml", "matrix.lock", "test_matrix.py"):
        (starter / name).rename(starter / "pbs" / name)
    (starter / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    for asked in ("pbs", "pbs/test_matrix.py::test_import"):
        done = run_pytest(starter, "--collect-only", "--source=replica", asked)
        assert "6 tests collected" in done.stdout, done.stdout + done.stderr


def test_a_module_of_another_name_and_place_will_do(starter: Path) -> None:
    (starter / "tests" / "slow").mkdir(parents=True)
    (starter / "test_matrix.py").rename(starter / "tests" / "slow" / "test_everything.py")
    done = run_pytest(starter, "--collect-only", "--source=replica", "tests")
    assert "6 tests collected" in done.stdout, done.stdout + done.stderr


def test_no_module_is_needed_at_all(starter: Path) -> None:
    (starter / "test_matrix.py").unlink()
    done = run_pytest(
        starter, "--collect-only", "--source=replica", "--pyargs", "harness.matrixtests"
    )
    assert "6 tests collected" in done.stdout, done.stdout + done.stderr


def test_a_mistake_in_its_matrix_is_one_message(starter: Path) -> None:
    text = (starter / "matrix.yaml").read_text().replace("\nprofiles:", "\nprofils:")
    (starter / "matrix.yaml").write_text(text)
    line = text[: text.index("profils:")].count("\n") + 1
    for arguments in ([], ["test_matrix.py"], ["-n2", "test_matrix.py"]):
        done = run_pytest(starter, *arguments)
        assert done.returncode == ExitCode.CONFIGURATION
        assert f"matrix.yaml:{line}: profils: unknown key (did you mean 'profiles'?)" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_where_the_cells_are_come_upon_late_all_processes_plan_the_same(starter: Path) -> None:
    """Nothing told the controller that there are cells: a worker decided for all, once."""
    (starter / "below").mkdir()
    (starter / "test_matrix.py").rename(starter / "below" / "test_late.py")
    (starter / "conftest.py").write_text(
        "import pathlib\n"
        "from harness import resolution\n"
        "resolve = resolution.resolve\n"
        "def counted(*args, **kwargs):\n"
        "    with pathlib.Path('decided').open('a') as file:\n"
        "        file.write('once ')\n"
        "    return resolve(*args, **kwargs)\n"
        "resolution.resolve = counted\n"
    )
    done = run_pytest(starter, "-n2", "--source=replica", "below")
    # No engine: so far it went, and no further.
    assert done.returncode == ExitCode.ENGINE_MISSING, done.stdout + done.stderr
    assert "no container engine answers" in done.stdout
    assert (starter / "decided").read_text() == "once "


def test_results_beside_the_matrix_are_not_taken_for_a_wrong_root(starter: Path) -> None:
    done = run_pytest(starter, "--collect-only", "--source=replica", "--results=results.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
