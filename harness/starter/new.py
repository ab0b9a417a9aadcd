"""A new matrix: its files, by where they go."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import yaml

from harness import locking, project
from harness.lock import Lock, dump, path_for
from harness.matrix import Matrix, schema_text
from harness.starter import texts
from harness.starter.candidate import Candidate

SCHEMA_NAME = project.SCHEMA.name


def files(candidate: Candidate, directory: Path, own: Matrix, locked: Lock) -> dict[Path, bytes]:
    """The files of a matrix in a directory that tests one extension.

    ``own`` and ``locked`` are the project's own, which base image and pins are taken from: no
    network is needed.
    """
    uv = texts.uv_versions(locked, own.python[0])
    text = texts.matrix(candidate, uv, own)
    made = Matrix.model_validate(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506 - only texts
    needed = [name for name, _ in locking.requirements(made, made.platforms, directory)]
    matrix_file = directory / project.MATRIX_NAME
    return {
        matrix_file: text.encode(),
        path_for(matrix_file): dump(texts.lock(needed, uv, locked, candidate)).encode(),
        directory / project.TEST_MODULE: texts.TESTS.encode(),
        directory / SCHEMA_NAME: schema_text().encode(),
    }


def workflow(directory: Path) -> dict[Path, bytes]:
    """A workflow of GitHub Actions that runs the matrix, where the repository begins."""
    here = directory.absolute()
    root = next((place for place in (here, *here.parents) if (place / ".git").exists()), here)
    text = texts.workflow(here.relative_to(root).as_posix(), metadata.version("pbs-matrix"))
    # As the others are, relative to the current directory where the directory is.
    top = directory if root == here else root
    return {top / ".github" / "workflows" / "pbs-matrix.yml": text.encode()}
