"""Prediction beside observation, on the real engine and both platforms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import docker
import pytest
import yaml

from harness import lock, matrix
from harness.loader.glibc import Glibc
from harness.plan import Cell, plan
from harness.prepared import Prepared
from harness.results import Result, read
from tests.integration import oracle
from tests.integration.conftest import PROJECT, Pytest, prepare
from tests.mutated_cells import contradicted

pytestmark = pytest.mark.engine

Run = tuple[Mapping[str, Result], tuple[Cell, ...], Prepared]


@pytest.fixture(scope="module")
def quick(
    run_pytest: Pytest,
    tmp_path_factory: pytest.TempPathFactory,
    client: docker.DockerClient,
    project_matrix: matrix.Matrix,
    project_lock: lock.Lock,
) -> Run:
    """A run of the quick profile, its cells, and what they were made from."""
    file = tmp_path_factory.mktemp("quick") / "results.jsonl"
    done = run_pytest("--profile=quick", f"--results={file}", "-n2")
    assert done.returncode == 0, done.stdout
    assert "48 compared with the loader's rules" in done.stdout
    cells = plan(project_matrix, project_lock, profile="quick")
    prepared = prepare(client, cells, project_matrix, project_lock)
    return {result.id: result for result in read(file)}, cells, prepared


def test_every_import_is_predicted_with_what_is_missing_and_who_needs_it(quick: Run) -> None:
    observed, _, _ = quick
    for result in observed.values():
        if result.kind == "check":
            assert result.predicted is None
            continue
        assert result.predicted is not None
        missing = oracle.missing(result.extension, result.link_model, result.base)
        assert result.predicted.missing_library == missing, result.id
        assert result.predicted.outcome == result.outcome
        if missing:
            assert result.predicted.needed_by is not None
            assert result.predicted.needed_by.startswith(f"/opt/extensions/{result.extension}/")
            triplet = f"{result.platform}-linux-gnu"
            assert result.predicted.searched[-4:] == (
                *(f"/lib/{triplet}", f"/usr/lib/{triplet}"),
                *("/lib", "/usr/lib"),
            )


WRONG = {
    "RUNPATH does not hide RPATH": (
        Glibc(runpath_hides_rpath=False),
        {("libpython-needed-runpath", "0.7.9"), ("ucxx-shaped", "0.7.9")},
    ),
    "RPATH is not inherited": (
        Glibc(rpath_is_inherited=False),
        {
            (name, "0.7.9")
            for name in (
                *("python-mscl", "libpython-needed", "libpython-needed-rpath"),
                *("runpath-plain-helper", "abi3-libpython3"),
            )
        },
    ),
    "loaded names do not count": (
        Glibc(loaded_names_count=False),
        {
            (name, "0.7.5")
            for name in (
                *("python-mscl", "libpython-needed", "libpython-needed-runpath"),
                *("libpython-needed-rpath", "ucxx-shaped", "runpath-plain-helper"),
            )
        },
    ),
}


@pytest.mark.parametrize(("model", "wanted"), WRONG.values(), ids=WRONG)
def test_a_wrong_rule_is_noticed_by_the_cells_that_rest_on_it(
    quick: Run, model: Glibc, wanted: set[tuple[str, str]]
) -> None:
    """By those on both platforms, and by no other. Without a wrong rule none is noticed."""
    observed, cells, prepared = quick
    assert list(contradicted(observed, cells, prepared, Glibc())) == []
    noticed = [observed[name] for name in contradicted(observed, cells, prepared, model)]
    for platform in ("x86_64", "aarch64"):
        assert {(r.extension, r.uv) for r in noticed if r.platform == platform} == wanted


def test_a_failing_cell_is_explained_on_request_by_both_accounts(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--explain", "--uv=0.7.7", "--extension=python-mscl", "--extension=ucxx-shaped"),
        *("--base=debian13", f"--results={file}"),
    )
    assert done.returncode == 0, done.stdout
    assert "this interpreter (20250521) has only a DT_RUNPATH" in done.stdout.replace("\n  ", " ")
    for result in read(file):
        explanation = result.evidence["explanation"]
        needing = "_mscl.so" if result.extension == "python-mscl" else "libucxx_shaped_python.so"
        start = f"`{needing}` needs `libpython3.13.so.1.0`."
        assert explanation["account"].startswith(start)
        trace = explanation["trace"]
        assert trace[0].startswith("file=libpython3.13.so.1.0 [0];  needed by /opt/extensions/")
        assert trace[0].endswith(f"{needing} [0]")
        # The loader itself tried the directories that the model names, in that order.
        tried = [line.rpartition("/")[0] for line in trace if line.startswith("trying file=")]
        assert result.predicted is not None
        assert tried == [f"trying file={directory}" for directory in result.predicted.searched]


def test_a_regressed_cell_is_explained_unasked(run_pytest: Pytest, tmp_path: Path) -> None:
    data = yaml.safe_load((PROJECT / "matrix.yaml").read_text())
    data["expectations"] = []
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={tmp_path / 'matrix.yaml'}", "--uv=0.7.6", "--extension=libpython-needed"),
        *("--base=debian13", "--platform=x86_64", f"--results={file}"),
    )
    assert done.returncode == 1
    assert "regressed: expected imports, but got missing-library" in done.stdout
    assert "The loader's own account (LD_DEBUG=libs,files):" in done.stdout
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["evidence"]["explanation"]["trace"]
