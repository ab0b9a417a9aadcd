"""What a container that imports samples may do and have, on the real engine."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from docker.errors import NotFound

from harness import cells as cells_module
from harness import confinement, engine
from harness.containers import Containers
from harness.errors import ConfigurationError
from harness.limits import Limits
from harness.outcome import Reason
from harness.plan import Cell
from harness.platforms import Platform
from harness.prepared import Prepared
from tests.integration.conftest import Pytest


def cell_of(cells: tuple[Cell, ...], platform: Platform) -> Cell:
    return next(
        cell
        for cell in cells
        if cell.environment.interpreter.platform is platform and cell.extension == "no-libpython"
    )


@pytest.mark.parametrize("platform", Platform)
def test_the_engine_is_told_all_that_a_sample_may_not(
    platform: Platform, cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    container = pool.container(cell_of(cells, platform).environment.id)
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert list(host["Tmpfs"]) == ["/tmp"]
    assert {option for option in host["Tmpfs"]["/tmp"].split(",") if "=" not in option} == {
        *("rw", "exec", "nosuid", "nodev")
    }
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (1 << 30, 1 << 30, 256)
    limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]}
    sizes = {"core": 0, "fsize": 1 << 28, "nofile": 1024, "nproc": 4096}
    assert limits == {name: (most, most) for name, most in sizes.items()}
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Sysctls"] == {"kernel.shm_rmid_forced": "1"}
    assert host["NetworkMode"] == "none"
    assert (host["Privileged"], host["Devices"] or [], host["Binds"]) == (False, [], None)
    assert {mount["RW"] for mount in container.attrs["Mounts"]} == {False}
    written = container.exec_run(
        ["sh", "-c", "for d in / /opt /opt/venv /opt/extensions /etc /root; do touch $d/x; done"]
    ).output.decode()
    assert written.count("Read-only file system") == 6


@pytest.mark.parametrize("platform", Platform)
def test_an_engine_that_cannot_mount_is_sent_the_samples_into_a_volume(
    platform: Platform,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest can be written as little as before, and the volume goes with the container."""
    monkeypatch.setattr(engine, "can_mount", lambda client: False)
    cell = cell_of(cells, platform)
    run = f"{prepared.run}-{platform}-sent"
    labels = {"label": [f"{engine.RUN}={run}"]}
    with Containers(pool._client, run, prepared.owner) as own:
        own.plan([cell], prepared)
        assert cells_module.observe(cell, prepared, own).reason is Reason.IMPORTS
        container = own.container(cell.environment.id)
        assert len(pool._client.api.volumes(filters=labels)["Volumes"]) == 1
        said = container.exec_run(["touch", "/opt/extensions/x", "/opt/x"], user="64000").output
        assert said.count(b"Permission denied") == 1
        assert said.count(b"Read-only file system") == 1
    with contextlib.suppress(NotFound):  # it is gone already
        container.wait(condition="removed", timeout=60)
    assert not pool._client.api.volumes(filters=labels)["Volumes"]


def test_limits_are_those_of_the_matrix(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    limits = Limits(
        memory="300MB", processes=40, cpus=0.5, tmp="1MiB", file_size="100kB", open_files=64
    )
    cell = cell_of(cells, Platform.X86_64)
    with Containers(pool._client, f"{prepared.run}-few", prepared.owner, limits=limits) as own:
        own.plan([cell], prepared)
        assert cells_module.observe(cell, prepared, own).reason is Reason.IMPORTS
        container = own.container(cell.environment.id)
        container.reload()
        host = container.attrs["HostConfig"]
        assert (host["Memory"], host["PidsLimit"], host["NanoCpus"]) == (300e6, 40, 5e8)
        tried = [
            "head -c 90000 /dev/zero > /tmp/small && echo small",
            "head -c 200000 /dev/zero > /tmp/large || echo too large",
            "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cp /tmp/small /tmp/$n || break; done",
            "ulimit -n",
        ]
        said = container.exec_run(["sh", "-c", "; ".join(tried)]).output.decode()
    assert "small\n" in said
    assert "too large" in said
    assert "No space left on device" in said
    assert "64" in said.split()


def test_a_runtime_is_the_one_that_was_named(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    its = confinement.chosen_runtime(pool._client, "io.containerd.runc.v2")
    cell = cell_of(cells, Platform.X86_64)
    with Containers(pool._client, f"{prepared.run}-runtime", prepared.owner, runtime=its) as own:
        own.plan([cell], prepared)
        assert cells_module.observe(cell, prepared, own).reason is Reason.IMPORTS
        container = own.container(cell.environment.id)
        container.reload()
        assert container.attrs["HostConfig"]["Runtime"] == "io.containerd.runc.v2"


def test_a_runtime_that_the_engine_has_not_is_refused_before_anything_is_made(
    pool: Containers, run_pytest: Pytest
) -> None:
    with pytest.raises(ConfigurationError, match=r"no runtime runsc-x: it has .*runc"):
        confinement.chosen_runtime(pool._client, environment={"PBS_MATRIX_RUNTIME": "runsc-x"})
    done: subprocess.CompletedProcess[str] = run_pytest(
        *("-q", "--profile=quick", "--platform=x86_64", "--runtime=runsc-x", "cases")
    )
    assert done.returncode == ConfigurationError.exit_code
    assert "the engine has no runtime runsc-x: it has " in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
