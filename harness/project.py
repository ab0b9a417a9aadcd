"""Where the project's own files are: beside the package in a checkout, within it in a wheel."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ConfigurationError

PACKAGE = Path(__file__).parent

_WITHIN = PACKAGE / "_project"

IS_CHECKOUT = not _WITHIN.is_dir()
"""Whether the files are the ones that people edit and commit."""

ROOT = PACKAGE.parent if IS_CHECKOUT else _WITHIN
"""The directory that the paths in the project's own matrix file are relative to."""

MATRIX = ROOT / "matrix.yaml"
SCHEMA = PACKAGE / "data" / "matrix.schema.json"
CASES = ROOT / "cases"
IMAGES = ROOT / "images"

MATRIX_NAME = MATRIX.name
"""Of a matrix file that is used without being named."""

TESTS = "harness.matrixtests"
"""What a test module of another project imports its tests from."""

TEST_MODULE = "test_matrix.py"
"""How that module is called, unless it is renamed."""


def matrix_beside(*folders: Path) -> Path:
    """The matrix file that is meant where none is named: of the first folder that has one.

    Else the project's own.
    """
    there = (folder / MATRIX_NAME for folder in folders)
    return next((path for path in there if path.is_file()), MATRIX)


def is_own(path: Path) -> bool:
    """Whether a file is one of the project's own."""
    return path.resolve().is_relative_to(ROOT.resolve())


def require_editable(path: Path) -> None:
    """Refuse to write to what was installed: the next installation would undo it, unseen."""
    if not IS_CHECKOUT and is_own(path):
        raise ConfigurationError(
            f"{path} belongs to the installed pbs-matrix, and is not for editing",
            advice=f"Make a {MATRIX_NAME} of your own with `pbs-matrix init`, or name one with "
            "--matrix.",
        )


def recipe(name: str) -> dict[str, str]:
    """The files of a folder in ``images/`` by name: no folders, such as of Python's bytecode."""
    files = sorted(path for path in (IMAGES / name).iterdir() if path.is_file())
    return {path.name: path.read_text() for path in files}


def code() -> dict[str, Path]:
    """Everything that a verdict is made by, named alike in a checkout and when installed.

    This package, and what runs in containers.
    """
    package = (file for file in PACKAGE.rglob("*.py") if not file.is_relative_to(_WITHIN))
    images = (file for file in IMAGES.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {
        **{f"harness/{file.relative_to(PACKAGE).as_posix()}": file for file in sorted(package)},
        **{f"images/{file.relative_to(IMAGES).as_posix()}": file for file in sorted(images)},
    }
