"""What a user sees of their mistakes: one clear message, an exit code of its own, no traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.errors import ExitCode, HarnessError

PROJECT = Path(__file__).parent.parent.parent


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """On replicas, so that no network is asked anything."""
    arguments = ("--source=replica", *arguments)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**inherited, "COLUMNS": "200", **environment},
    )


def test_an_option_that_selects_nothing_says_what_there_is() -> None:
    done = run_pytest("--uv=9.9.9")
    assert done.returncode == ExitCode.SELECTION
    assert "--uv '9.9.9' selects nothing" in done.stderr
    assert "0.7.5, 0.7.6, 0.7.7" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_wrong_matrix_file_is_named_with_its_line(tmp_path: Path) -> None:
    text = (PROJECT / "matrix.yaml").read_text().replace("\nremedies:", "\nremedys:")
    (tmp_path / "matrix.yaml").write_text(text)
    line = text[: text.index("remedys:")].count("\n") + 1
    done = run_pytest(f"--matrix={tmp_path / 'matrix.yaml'}")
    assert done.returncode == ExitCode.CONFIGURATION
    assert f"matrix.yaml:{line}: remedys: unknown key (did you mean 'remedies'?)" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_uv_version_that_is_not_locked_says_how_to_lock_it(tmp_path: Path) -> None:
    text = (PROJECT / "matrix.yaml").read_text().replace("0.7.7,", "0.7.10,", 1)
    (tmp_path / "matrix.yaml").write_text(text)
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    done = run_pytest(f"--matrix={tmp_path / 'matrix.yaml'}")
    assert done.returncode == ExitCode.LOCK
    assert "matrix.lock does not know uv 0.7.10" in done.stderr
    assert "pbs-matrix lock" in done.stderr


def test_no_engine_is_one_message_and_not_a_failure_of_each_cell() -> None:
    done = run_pytest("--uv=0.7.6", "-n2", DOCKER_HOST="unix:///nonexistent/docker.sock")
    said = done.stdout + done.stderr
    assert done.returncode == ExitCode.ENGINE_MISSING
    assert "no container engine answers (unix:///nonexistent/docker.sock, by DOCKER_HOST)" in said
    assert "pbs-matrix doctor --fix" in said
    assert "FAILED" not in said
    assert "Traceback" not in said


def test_pytest_taking_the_wrong_root_is_explained(tmp_path: Path) -> None:
    """pytest looks for its root before it knows that --matrix takes a value."""
    (tmp_path / "matrix.yaml").write_text((PROJECT / "matrix.yaml").read_text())
    done = run_pytest("--matrix", str(tmp_path / "matrix.yaml"))
    assert done.returncode == ExitCode.CONFIGURATION
    assert "Write it with an equals sign" in done.stderr


def test_the_matrix_options_are_in_the_help() -> None:
    done = run_pytest("--help")
    for option in ("--matrix", "--profile", "--source", "--uv", "--release", "--platform"):
        assert f"  {option}" in done.stdout
    for option in ("--extension", "--remedy", "--base", "--results", "--allow-untestable"):
        assert f"  {option}" in done.stdout


@pytest.mark.parametrize(
    "command", ["doctor", "lock", "schema", "clean", "releases", "compare", "merge"]
)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(cli.main, [command, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output


def test_a_command_without_an_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    done = CliRunner().invoke(cli.main, ["clean"])
    assert done.exit_code == ExitCode.ENGINE_MISSING
    assert "no container engine answers" in done.output


def test_locking_a_matrix_that_is_not_there_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.main, ["lock", "--matrix", str(tmp_path / "none.yaml")])
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "none.yaml cannot be read: No such file or directory" in done.output


def test_the_committed_schema_is_current() -> None:
    done = CliRunner().invoke(cli.main, ["schema", "--check"])
    assert done.exit_code == 0, done.output


def test_the_matrix_file_refers_to_its_schema_and_fits_it() -> None:
    """So that editors complete and check it."""
    import json

    import jsonschema
    import yaml

    text = (PROJECT / "matrix.yaml").read_text()
    reference = text.splitlines()[0].partition("$schema=")[2]
    schema = json.loads((PROJECT / reference).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(text), schema)


def test_every_kind_of_error_has_an_exit_code_of_its_own() -> None:
    kinds = HarnessError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(ExitCode)
    # `check` and `try` end as linters do; all others are above pytest's own.
    assert sorted(codes)[0] == 2
    assert sorted(codes)[1] > 5


def test_every_command_is_listed_once_in_the_help() -> None:
    listed = [name for names in cli.SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(cli.main.commands)
    said = CliRunner().invoke(cli.main, ["--help"]).output
    for name in cli.main.commands:
        assert re.search(rf"^  {name} ", said, re.MULTILINE)
