"""Where the project's own files are, in a checkout and when installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli, project
from harness.errors import ConfigurationError, ExitCode

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the package sees of itself where a wheel of it is installed; its directory."""
    package = tmp_path / "site-packages" / "harness"
    within = package / "_project"
    for name, text in {
        "cells.py": "1",
        "check/wheel.py": "2",
        "_project/cases/checks/x.py": "3",
        "_project/images/environment/probe.py": "4",
        "_project/images/environment/Dockerfile": "5",
        "_project/images/environment/__pycache__/probe.cpython-311.pyc": "6",
        "_project/matrix.yaml": "7",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(project, "PACKAGE", package)
    monkeypatch.setattr(project, "_WITHIN", within)
    monkeypatch.setattr(project, "IS_CHECKOUT", False)
    monkeypatch.setattr(project, "ROOT", within)
    monkeypatch.setattr(project, "IMAGES", within / "images")
    monkeypatch.setattr(project, "MATRIX", within / "matrix.yaml")
    return package


def test_in_a_checkout_the_files_are_beside_the_package() -> None:
    assert project.IS_CHECKOUT
    assert project.ROOT == PROJECT
    for path in (project.MATRIX, project.CASES, project.IMAGES, project.SCHEMA):
        assert path.exists()


def test_what_a_verdict_is_made_by_is_named_alike_wherever_it_is(installed: Path) -> None:
    """An answer that a checkout has kept holds for the same code when it is installed."""
    assert list(project.code()) == [
        "harness/cells.py",
        "harness/check/wheel.py",
        "images/environment/Dockerfile",
        "images/environment/probe.py",
    ]


def test_the_code_of_the_checkout_is_the_package_and_the_images() -> None:
    names = project.code()
    assert names["harness/cells.py"] == PROJECT / "harness" / "cells.py"
    assert names["images/environment/probe.py"] == PROJECT / "images" / "environment" / "probe.py"
    assert not [name for name in names if "__pycache__" in name]


def test_a_recipe_has_no_bytecode_of_what_was_installed(installed: Path) -> None:
    """pip compiles what it installs, the probe included."""
    assert project.recipe("environment") == {"Dockerfile": "5", "probe.py": "4"}


def test_the_matrix_that_is_meant_is_the_first_folders_that_has_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    assert project.matrix_beside(first, second) == project.MATRIX
    (second / "matrix.yaml").write_text("")
    assert project.matrix_beside(first, second) == second / "matrix.yaml"
    (first / "matrix.yaml").mkdir(parents=True)
    assert project.matrix_beside(first, second) == second / "matrix.yaml"


def test_a_command_takes_the_matrix_of_the_folder_that_it_is_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text("something: else\n")
    done = CliRunner().invoke(cli.main, ["lock"])
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "matrix.yaml:1: something: unknown key" in done.output


def test_what_was_installed_is_not_written_to(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.require_editable(tmp_path / "matrix.yaml")
    with pytest.raises(ConfigurationError) as caught:
        project.require_editable(installed / "_project" / "matrix.lock")
    assert "pbs-matrix init" in caught.value.advice
    monkeypatch.chdir(tmp_path)
    for arguments in (["lock"], ["try", "x==1", "--add"]):
        done = CliRunner().invoke(cli.main, arguments)
        assert done.exit_code == ExitCode.CONFIGURATION
        assert "belongs to the installed pbs-matrix" in done.output
    assert (installed / "_project" / "matrix.yaml").read_text() == "7"


def test_in_a_checkout_its_own_files_are_for_editing() -> None:
    project.require_editable(project.MATRIX)


def test_a_schema_is_written_where_somebody_wants_it(tmp_path: Path) -> None:
    """For a matrix in another project."""
    path = tmp_path / "matrix.schema.json"
    run = CliRunner().invoke
    assert run(cli.main, ["schema", "--check", "--output", str(path)]).exit_code != 0
    assert run(cli.main, ["schema", "--output", str(path)]).exit_code == 0
    assert path.read_bytes() == project.SCHEMA.read_bytes()
    assert run(cli.main, ["schema", "--check", "--output", str(path)]).exit_code == 0
