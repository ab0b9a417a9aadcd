"""Other engines than the machine's Docker: Podman, a second dockerd, and one behind ssh.

Each has a data directory of its own, which is empty at first; see ``engines``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest

from harness import containers, engine, owner
from harness.confinement import confinement
from harness.images import PULLED, remove_all
from harness.limits import PROCESSES
from harness.question import EXTENSIONS
from tests.integration import engines
from tests.integration.conftest import PROJECT, Pytest

SELECTION = (
    *("--profile=quick", "--uv=0.7.6"),
    *("--extension=python-mscl", "--extension=no-libpython", "--extension=*-runpath"),
)
"""One environment of each platform, with what imports there and what does not."""

OF_ENGINE = {"image", "engine"}
"""Pins that are another engine's own."""

OF_RUN = {"seconds", "started", "took", "prepared_in"}

Results = dict[str, dict[str, Any]]

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start engines beside the machine's")


@pytest.fixture(scope="module")
def links() -> Iterator[None]:
    """What a test's engine does to the network stays with it."""
    before = _links()
    yield
    assert _links() == before


def _links() -> list[str]:
    """The machine's network interfaces; those of other tests' containers come and go."""
    names = (path.name for path in Path("/sys/class/net").iterdir())
    return sorted(name for name in names if not name.startswith("veth"))


@pytest.fixture(scope="module")
def on_podman(links: None) -> Iterator[str]:
    """The address of Podman's service."""
    if not shutil.which("podman"):
        pytest.skip("Podman is not installed; `pbs-matrix doctor --tests --fix` does that")
    with engines.directory() as root:
        with engines.podman(root) as address:
            yield address
        assert (engines.started_in(root), engines.mounts_in(root)) == ([], [])


@pytest.fixture(scope="module")
def on_second(links: None) -> Iterator[str]:
    """The address of a second dockerd."""
    if not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("dockerd is not installed here")
    with engines.directory() as root:
        with engines.dockerd(root) as address:
            yield address
        assert (engines.started_in(root), engines.mounts_in(root)) == ([], [])


@pytest.fixture(scope="module")
def on_docker(run_pytest: Pytest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the machine's engine says of the selected cells."""
    path = tmp_path_factory.mktemp("docker") / "results.jsonl"
    done = run_pytest(*SELECTION, f"--results={path}")
    assert done.returncode == 0, done.stdout
    return read(path)


def read(path: Path) -> Results:
    lines = map(json.loads, path.read_text().splitlines())
    return {line["id"]: line for line in lines if "id" in line}


def lasting(results: Results) -> Results:
    """Results without what belongs to one run, or to one engine."""
    return {
        name: {
            **{key: value for key, value in result.items() if key not in OF_RUN},
            "pins": {k: v for k, v in result["pins"].items() if k not in OF_ENGINE},
        }
        for name, result in results.items()
    }


def test_podman_says_of_every_cell_what_docker_says(
    on_podman: str, on_docker: Results, run_pytest: Pytest, tmp_path: Path
) -> None:
    """Outcome, message, prediction and evidence, natively and under emulation."""
    path = tmp_path / "results.jsonl"
    done = run_pytest(*SELECTION, f"--results={path}", environment={"DOCKER_HOST": on_podman})
    assert done.returncode == 0, done.stdout
    found = read(path)
    assert lasting(found) == lasting(on_docker)
    assert {result["platform"] for result in found.values()} == {"x86_64", "aarch64"}
    assert all(result["pins"]["engine"].startswith("Podman ") for result in found.values())
    assert all(result["pins"]["engine"].startswith("Docker ") for result in on_docker.values())
    assert engine.connect({"DOCKER_HOST": on_podman}).containers.list(all=True) == []


@pytest.fixture(scope="module")
def podman(on_podman: str, run_pytest: Pytest) -> docker.DockerClient:
    """Podman, with an environment's image on it."""
    chosen = ("--profile=quick", "--uv=0.7.6", "--platform=x86_64", "--extension=no-libpython")
    done = run_pytest(*chosen, environment={"DOCKER_HOST": on_podman})
    assert done.returncode == 0, done.stdout
    return engine.connect({"DOCKER_HOST": on_podman})


def an_environment(client: docker.DockerClient) -> str:
    found = client.images.list(filters={"label": f"{engine.KIND}=environment"})
    return str(next(image.id for image in found if image.attrs["Architecture"] == "amd64"))


def test_podman_keeps_a_container_in_the_same_confines(podman: docker.DockerClient) -> None:
    container = podman.containers.create(
        an_environment(podman),
        ["sleep", "600"],
        auto_remove=True,
        **confinement(owner.new_run(), owner.this_process(), memory="1GiB"),
    )
    try:
        container.start()
        said = container.exec_run(["cat", "/proc/self/status"], user="65534:65534").output.decode()
        status = dict(line.split(":\t") for line in said.splitlines() if ":\t" in line)
        assert {status[f"Cap{kind}"].strip("0") for kind in ("Prm", "Eff", "Bnd", "Amb")} == {""}
        assert status["NoNewPrivs"] == "1"
        devices = container.exec_run(["cat", "/proc/net/dev"]).output.decode().splitlines()[2:]
        assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
        limits = container.attrs["HostConfig"]
        assert (limits["Memory"], limits["PidsLimit"]) == (1 << 30, PROCESSES)
    finally:
        container.remove(force=True)


def test_podman_takes_files_whatever_ends_their_tar(
    podman: docker.DockerClient, tmp_path: Path
) -> None:
    """It fails now and then where a tar is padded; see ``containers.put``."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zeros").write_bytes(bytes(100_000))
    container = podman.containers.create(
        an_environment(podman),
        ["sleep", "600"],
        **confinement(owner.new_run(), owner.this_process(), memory="1GiB"),
    )
    try:
        for _ in range(20):
            trees = {name: tmp_path / name for name in ("one", "two")}
            with containers._packed(trees) as packed:
                containers.put(container, EXTENSIONS, packed)
        container.start()
        done = container.exec_run(["sh", "-c", f"cat {EXTENSIONS}/*/zeros | wc -c"])
        assert int(done.output) == 200_000
    finally:
        container.remove(force=True)


def test_images_are_cleaned_off_podman_too(podman: docker.DockerClient) -> None:
    image = podman.images.get(an_environment(podman))
    image.tag(PULLED, "0-x86_64")
    assert remove_all(podman) >= 2
    assert podman.images.list(filters={"label": engine.KIND}) == []
    assert podman.images.list(name=PULLED) == []


def test_a_run_split_over_two_engines_is_the_run_unsplit(
    on_second: str, on_docker: Results, run_pytest: Pytest, tmp_path: Path
) -> None:
    """Both at once, on one cache; the second as if it were on another machine."""
    paths = [tmp_path / f"shard-{number}.jsonl" for number in (1, 2)]
    with (
        engines.tcp(Path(on_second.removeprefix("unix://"))) as remote,
        ThreadPoolExecutor() as pool,
    ):
        done = list(
            pool.map(
                lambda number, variables: run_pytest(
                    *SELECTION,
                    f"--shard={number}/2",
                    f"--results={paths[number - 1]}",
                    environment=variables,
                ),
                (1, 2),
                ({}, {"DOCKER_HOST": remote}),
            )
        )
    for one in done:
        assert one.returncode == 0, one.stdout
    shards = [read(path) for path in paths]
    assert all(shards)
    merged = tmp_path / "merged.jsonl"
    program = [sys.executable, "-c", "from harness.front import main; main()", "merge"]
    program += [*map(str, paths), "-o", str(merged)]
    subprocess.run(program, check=True, cwd=PROJECT, capture_output=True)
    assert len(shards[0]) + len(shards[1]) == len(on_docker)
    assert lasting(read(merged)) == lasting(on_docker)
    second = engine.connect({"DOCKER_HOST": on_second})
    assert second.images.list(filters={"label": engine.KIND})
    assert second.containers.list(all=True) == []


def test_an_engine_behind_ssh_runs_cells(
    on_second: str, run_pytest: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engines.SSHD is None:
        pytest.skip("no ssh server is installed (Debian: openssh-server)")
    chosen = ("--profile=quick", "--uv=0.7.6", "--platform=x86_64", "--extension=no-libpython")
    with (
        engines.directory() as root,
        engines.sshd(root, path=os.environ["PATH"]) as (port, programs),
    ):
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        address = f"ssh://root@127.0.0.1:{port}{on_second.removeprefix('unix://')}"
        done = run_pytest(*chosen, environment={"DOCKER_HOST": address})
        assert done.returncode == 0, done.stdout
        done = run_pytest(*chosen, environment={"DOCKER_HOST": f"{address}.none"})
    assert done.returncode == 20
    assert "no engine runs there" in done.stdout + done.stderr
