"""Whole runs of the matrix, as a user starts them, on the real engine and both platforms."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import docker
import pytest
import yaml

from harness import engine, owner
from harness.results import Result, read
from tests.integration import oracle
from tests.integration.conftest import PROJECT, Pytest, leftovers

pytestmark = pytest.mark.engine


def results_by_id(path: Path) -> dict[str, Result]:
    return {result.id: result for result in read(path)}


def test_quick_profile_agrees_with_the_truth_table_cell_by_cell(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """Shared, static and static+rpath, every extension, both platforms: as upstream's account."""
    file = tmp_path / "results.jsonl"
    done = run_pytest("--profile=quick", f"--results={file}", "-n2")
    assert done.returncode == 0, done.stdout
    results = list(read(file))
    checks = [r for r in results if r.kind == "check"]
    assert [(r.extension, r.outcome) for r in checks] == [("list-iadd", "passes")] * 6
    results = [r for r in results if r.kind == "extension"]
    assert len(results) == 48
    for result in results:
        release = oracle.RELEASES[result.uv][result.platform == "aarch64"]
        assert result.release == release
        assert result.link_model == oracle.RELEASES[result.uv][2 + (result.platform == "aarch64")]
        missing = oracle.missing(result.extension, result.link_model, result.base)
        assert result.missing_library == missing, result.id
        assert (result.outcome == "imports") is (missing is None)
        if result.extension == "python-mscl" and missing:
            assert result.message == oracle.MESSAGE
        assert result.source == "replica"
        assert result.status == "as-expected"
        assert result.pins["qemu"] is None or result.platform == "aarch64"
    assert "54 as expected" in done.stdout
    assert "python-mscl" in done.stdout


def test_fresh_interpreters_in_containers_of_their_own_say_the_same(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """Every outcome with its message and evidence; only what it takes is different."""
    said = {}
    for name, options in (("forked", []), ("fresh", ["--fresh"])):
        file = tmp_path / f"{name}.jsonl"
        done = run_pytest("--profile=quick", "--uv=0.7.6", f"--results={file}", "-n2", *options)
        assert done.returncode == 0, done.stdout
        unlike = {"seconds", "started", "took", "prepared_in"}
        said[name] = {r.id: r.model_dump(exclude=unlike) for r in read(file)}
    assert len(said["fresh"]) == 18
    assert said["forked"] == said["fresh"]


def test_uv_0_7_8_is_split_between_the_platforms(run_pytest: Pytest, tmp_path: Path) -> None:
    """Its x86_64 interpreter was reverted to 20250409, its aarch64 one was not."""
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--uv=0.7.8", "--base=debian13", "--extension=python-mscl", f"--results={file}")
    )
    assert done.returncode == 0, done.stdout
    seen = {r.platform: (r.release, r.outcome) for r in read(file)}
    assert seen == {
        "x86_64": ("20250409", "imports"),
        "aarch64": ("20250521", "missing-library"),
    }


@pytest.mark.parametrize(
    ("extension", "rule", "status"),
    [
        (
            "no-libpython",
            {"expect": "missing-library", "library": "libGL.so.1"},
            "fixed",
        ),
        ("libpython-needed", {"expect": "imports"}, "regressed"),
        (
            "ucxx-shaped",
            {"expect": "missing-library", "library": "libGL.so.1"},
            "regressed",
        ),
    ],
)
def test_flipping_one_expectation_fails_that_cell_and_only_it(
    run_pytest: Pytest, tmp_path: Path, extension: str, rule: dict[str, str], status: str
) -> None:
    """A fix that nobody noted fails the run just as a breakage does, and so does another one."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    where = {"extension": extension, "uv": "0.7.6", "platform": "x86_64", "base": "debian13"}
    document["expectations"].insert(0, {**where, **rule, "reason": "flipped by a test"})
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={tmp_path / 'matrix.yaml'}", f"--results={file}"),
        *("--uv=0.7.6", "--uv=0.7.5", "--platform=x86_64", "--base=debian13"),
    )
    assert done.returncode == 1
    wrong = {r.id: r.status for r in read(file) if r.status != "as-expected"}
    assert wrong == {f"{extension}-uv0.7.6-cp313-20250517~replica-x86_64-debian13": status}
    assert "1 failed, 17 passed" in done.stdout
    if status == "fixed":
        assert "update the expectation in matrix.yaml" in done.stdout


def test_the_environment_of_the_host_does_not_leak_into_a_cell(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """LD_LIBRARY_PATH, PYTHON* and UV_* of the user change no verdict."""
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--uv=0.7.6", "--base=debian13", "--platform=x86_64", f"--results={file}"),
        environment={
            "LD_LIBRARY_PATH": "/usr/lib",
            "PYTHONVERBOSE": "",
            "UV_PYTHON_INSTALL_DIR": "/nonexistent",
            "UV_PYTHON_DOWNLOADS_JSON_URL": "/nonexistent/downloads.json",
            "HTTPS_PROXY": os.environ.get("HTTPS_PROXY", ""),
        },
    )
    assert done.returncode == 0, done.stdout
    assert {r.status for r in read(file)} == {"as-expected"}


def test_collection_needs_no_engine_and_no_network_and_repeats_itself(run_pytest: Pytest) -> None:
    """Every xdist worker must collect the same ids in the same order."""
    nowhere = {
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "PBS_MATRIX_CACHE": "/nonexistent/cache",
    }
    runs = [
        run_pytest("--collect-only", "-q", environment={**nowhere, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout + runs[0].stderr
    ids = [re.findall(r"test_(?:import|interpreter)\[.*\]", run.stdout) for run in runs]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 192 + 24


def test_a_killed_run_leaves_no_container_and_the_next_run_works(
    client: docker.DockerClient, run_pytest: Pytest, tmp_path: Path
) -> None:
    """SIGKILL to the whole process group: the containers end by themselves, at once."""
    arguments = ["--uv=0.7.6", "--base=debian13", "--source=replica", "-n2"]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        mine: set[str] = set()
        while not mine and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
            mine = {
                c.name
                for c in client.containers.list(
                    filters={"label": f"{engine.KIND}=cell"}, ignore_removed=True
                )
                if f" {process.pid} " in c.labels[engine.OWNER]
            }
        assert mine, "the run ended before it had a container"
        os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while (left := mine & set(leftovers(client))) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left, "two minutes after the kill"
    file = tmp_path / "results.jsonl"
    done = run_pytest(*arguments, f"--results={file}")
    assert done.returncode == 0, done.stdout
    assert len(results_by_id(file)) == 18


def test_a_run_reaps_what_a_dead_run_left_and_nothing_of_a_live_one(
    client: docker.DockerClient, run_pytest: Pytest
) -> None:
    """The owner on the label decides: boot, pid and start time of the process."""
    image = client.images.list(filters={"label": f"{engine.KIND}=environment"})[0]

    def make(label: str) -> docker.models.containers.Container:
        labels = {engine.KIND: "cell", engine.RUN: "test", engine.OWNER: label}
        return client.containers.create(image.id, "true", labels=labels)

    *here, pid, start = owner.this_process().split()
    gone = " ".join([*here, pid, str(int(start) - 1)])
    dead, alive = make(gone), make(owner.this_process())
    try:
        done = run_pytest(
            *("--uv=0.7.6", "--base=debian13", "--platform=x86_64", "--extension=no-libpython")
        )
        assert done.returncode == 0, done.stdout
        names = {c.name for c in client.containers.list(all=True, ignore_removed=True)}
        assert dead.name not in names
        assert alive.name in names
    finally:
        alive.remove(force=True)


def test_results_that_cannot_be_written_are_told_before_any_cell_runs(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = run_pytest(
        *("--uv=0.7.6", "--base=debian13", "--platform=x86_64"),
        f"--results={tmp_path / 'file' / 'results.jsonl'}",
    )
    assert done.returncode == 10
    assert "results.jsonl cannot be written" in done.stdout
    assert "INTERNALERROR" not in done.stdout


def test_collecting_does_not_touch_a_results_file(run_pytest: Pytest, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("of an earlier run\n")
    assert run_pytest("--collect-only", "-q", f"--results={file}").returncode == 0
    assert file.read_text() == "of an earlier run\n"


def test_junit_xml_has_the_axes_and_the_outcome_of_each_cell(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """By pytest's own writer, with one process and with workers; what a cell needs is timed too."""
    for workers in ("-n0", "-n2"):
        junit, file = tmp_path / "junit.xml", tmp_path / "results.jsonl"
        done = run_pytest(
            *("--uv=0.7.6", "--base=debian13", "--extension=python-mscl", workers),
            *(f"--junit-xml={junit}", f"--results={file}"),
        )
        assert done.returncode == 0, done.stdout
        results = results_by_id(file)
        cases = {
            str(case.get("name")): {
                str(one.get("name")): str(one.get("value")) for one in case.iter("property")
            }
            for case in ElementTree.parse(junit).iter("testcase")
        }
        assert cases.keys() == {f"test_import[{name}]" for name in results}
        for name, result in results.items():
            told = cases[f"test_import[{name}]"]
            assert told["platform"] == result.platform
            assert (told["uv"], told["release"], told["link_model"]) == (
                "0.7.6",
                "20250517",
                "static",
            )
            assert (told["outcome"], told["status"]) == ("missing-library", "as-expected")
            assert told["missing_library"] == "libpython3.13.so.1.0"
            assert told["is_replica"] == "true"
            assert "upgraded_from" not in told
            assert (result.started or "").endswith("+00:00")
            assert (result.took or 0) > (result.seconds or 0) > 0
            assert result.prepared_in


def test_results_carry_every_pin(run_pytest: Pytest, tmp_path: Path) -> None:
    """A result can be traced to the bytes that it rests on."""
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--uv=0.7.6", "--base=debian13", "--extension=python-mscl", f"--results={file}")
    )
    assert done.returncode == 0, done.stdout
    lock = json.loads((PROJECT / "matrix.lock").read_text())
    for result in read(file):
        pins = result.pins
        assert pins["image"].startswith("sha256:")
        assert pins["uv_sha256"] == lock["uv"]["0.7.6"]["wheels"][result.platform]["sha256"]
        assert re.fullmatch("[0-9a-f]{64}", pins["archive_sha256"])
        (wheel,) = lock["wheels"]["python-mscl==67.0.1.0"]["3.13"][result.platform]
        assert pins["wheels"] == {wheel["filename"]: wheel["sha256"]}
        assert pins["engine"]
        assert pins["base_origin"] in ("built", "pulled")
