"""Remedies, symbol bindings and the second copy, in whole runs on the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.results import Result, read
from tests.integration import oracle
from tests.integration.conftest import PROJECT, Pytest

pytestmark = pytest.mark.engine

BROKEN = ("--extension=python-mscl", "--extension=ucxx-shaped")
INTERPRETER, LIBPYTHON = "bin/python3.13", "lib/libpython3.13.so.1.0"


def bound_to(result: Result) -> dict[str, int]:
    """How many names of the C API are bound to each file, by its path below the prefix."""
    prefix = f"{result.evidence['prefix']}/"
    counts = result.evidence["bindings"]["counts"]
    return {path.removeprefix(prefix): number for path, number in counts.items()}


@pytest.mark.parametrize(
    "selection",
    [("--platform=x86_64",), ("--platform=aarch64", "--uv=0.7.6", "--uv=0.7.9")],
    ids=["x86_64", "aarch64"],
)
def test_every_remedy_does_what_was_found_out_by_hand(
    run_pytest: Pytest, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    """Compared with the oracle and not with matrix.yaml alone."""
    file = tmp_path / "results.jsonl"
    remedies = [f"--remedy={name}" for name in oracle.REMEDY_FAILS["python-mscl"]]
    done = run_pytest(
        *("--profile=wide", "-n2", *BROKEN, *remedies, *selection, f"--results={file}")
    )
    assert done.returncode == 0, done.stdout
    seen = set()
    for result in read(file):
        if result.outcome == "not-applicable":
            assert "is not newer than uv 0.7.6" in result.message
            assert result.upgraded_from is None
            continue
        missing = oracle.missing_in_spite_of(result.remedy, result.extension, result.link_model)
        assert result.missing_library == missing, result.id
        seen.add((result.extension, result.remedy))
        if missing and result.extension == "python-mscl":
            assert result.message == oracle.MESSAGE
    assert len(seen) == 12


def test_the_c_api_of_python_mscl_is_bound_to_what_runs(run_pytest: Pytest, tmp_path: Path) -> None:
    """With static+rpath a second libpython is mapped, and none of 85 names is bound to it."""
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--extension=python-mscl", "--base=debian13", "--uv=0.7.5", "--uv=0.7.9", "-n2"),
        f"--results={file}",
    )
    assert done.returncode == 0, done.stdout
    by_model = {(r.platform, r.link_model): r for r in read(file)}
    assert len(by_model) == 4
    for (_, model), result in by_model.items():
        mapped = result.evidence["mapped_libpythons"]
        assert mapped == [f"{result.evidence['prefix']}/{LIBPYTHON}"]
        expected = {LIBPYTHON: 85} if model == "shared" else {INTERPRETER: 85}
        assert bound_to(result) == expected, result.id


def test_a_binding_into_the_second_copy_is_never_a_plain_success(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """A plugin loaded with RTLD_DEEPBIND imports, and works with a copy that nobody runs."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    document["expectations"] = []
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={tmp_path / 'matrix.yaml'}", "--profile=wide", f"--results={file}", "-n2"),
        *("--extension=deepbind-plugin", "--base=debian13", "--uv=0.7.5", "--uv=0.7.9"),
    )
    assert done.returncode == 1
    for result in read(file):
        if result.link_model == "shared":
            assert (result.status, bound_to(result)) == ("as-expected", {LIBPYTHON: 4})
        else:
            assert (result.status, result.outcome) == ("regressed", "split-binding")
            assert bound_to(result) == {INTERPRETER: 3, LIBPYTHON: 1}
            assert "PyLong_FromLong bound to" in result.message
    assert "expected imports, but got split-binding" in done.stdout


def test_a_remedy_with_nothing_to_do_is_counted_and_not_passed(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """patchelf on the control, which does not need libpython."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    document["remedies"] = ["patchelf"]
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={tmp_path / 'matrix.yaml'}", f"--results={file}", "--uv=0.7.6"),
        *("--extension=no-libpython", "--base=debian13", "--platform=x86_64"),
    )
    assert done.returncode == 0, done.stdout
    (result,) = read(file)
    assert (result.outcome, result.status) == ("not-applicable", "not-applicable")
    assert "nothing to patch" in result.message
    assert "1 skipped" in done.stdout
    assert "1 not applicable" in done.stdout
