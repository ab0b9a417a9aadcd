"""What is put right, and how, on a fake machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import binfmt, doctor, repairs
from harness.doctor import State
from harness.errors import ToolError
from harness.platforms import Platform
from tests.unit.fake_host import (
    DOCKER_PID,
    ENGINE,
    INSTALL_DOCKER,
    FakeHost,
    check,
    debian,
    handler,
    heal,
    mount,
    no_engine,
    put,
)

CONTAINERD_PID = "/var/run/docker/containerd/containerd.pid"
MOUNT = f"mount -t binfmt_misc binfmt_misc {binfmt.BINFMT_MISC}"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return debian(tmp_path)


def process(host: FakeHost, pid: int, comm: str, state: str) -> None:
    put(host, f"/proc/{pid}/comm", f"{comm}\n")
    put(host, f"/proc/{pid}/stat", f"{pid} ({comm}) {state} 1 {pid} {pid} 0 -1\n")


def test_an_absent_engine_is_installed_and_started(host: FakeHost) -> None:
    no_engine(host)
    assert heal(host)[0].state is State.OK
    assert host.world.did == ["apt-get update", INSTALL_DOCKER, "spawn dockerd"]


def test_each_step_is_said_before_it_is_done(host: FakeHost) -> None:
    no_engine(host)
    world = host.world
    told: list[int] = []
    world.effects[INSTALL_DOCKER] = lambda: told.append(len(world.said))
    heal(host)
    assert told == [2]
    assert world.said[1] == f"-> install docker.io ({INSTALL_DOCKER})"
    assert world.said[-1] == "-> dockerd in the background, output to /var/log/dockerd.log"


def test_an_engine_that_its_package_started_is_not_started_again(host: FakeHost) -> None:
    no_engine(host)
    host.world.effects[INSTALL_DOCKER] = lambda: setattr(host.world, "engine", ENGINE)
    heal(host)
    assert host.world.did == ["apt-get update", INSTALL_DOCKER]


def test_a_stopped_engine_is_started_without_apt(host: FakeHost) -> None:
    no_engine(host, "dockerd")
    heal(host)
    assert host.world.did == ["spawn /usr/bin/dockerd"]


def test_a_client_without_a_daemon_is_no_engine(host: FakeHost) -> None:
    no_engine(host, "docker")
    heal(host)
    assert INSTALL_DOCKER in host.world.did


def test_systemd_starts_the_engine_where_it_runs(host: FakeHost) -> None:
    no_engine(host, "dockerd")
    put(host, "/run/systemd/system/x", "")
    stale = put(host, DOCKER_PID, "77")
    heal(host)
    assert host.world.did == ["systemctl start docker"]
    assert stale.exists()


@pytest.mark.parametrize(
    ("comm", "state"),
    [("dockerd", "Z"), ("bash", "S"), (None, "")],
    ids=["zombie", "reused", "gone"],
)
def test_a_stale_pid_file_is_removed(host: FakeHost, comm: str | None, state: str) -> None:
    no_engine(host, "dockerd")
    files = [put(host, DOCKER_PID, "77\n"), put(host, CONTAINERD_PID, "78")]
    if comm:
        process(host, 77, comm, state)
    heal(host)
    assert not any(path.exists() for path in files)
    assert f"-> remove {DOCKER_PID}: no live dockerd has the pid in it" in host.world.said
    assert host.world.did == ["spawn /usr/bin/dockerd"]


def test_the_pid_file_of_a_live_containerd_stays(host: FakeHost) -> None:
    no_engine(host, "dockerd")
    put(host, DOCKER_PID, "77")
    kept = put(host, CONTAINERD_PID, "78")
    process(host, 78, "containerd", "S")
    heal(host)
    assert kept.exists()
    assert not host.path(DOCKER_PID).exists()


def test_a_live_dockerd_is_waited_for_and_no_second_one_started(host: FakeHost) -> None:
    no_engine(host, "dockerd")
    kept = put(host, DOCKER_PID, "77")
    process(host, 77, "dockerd", "S")
    with pytest.raises(ToolError, match="does not answer"):
        heal(host)
    assert host.world.did == ["pause"] * repairs.ENGINE_SECONDS
    assert kept.exists()


def test_a_name_with_parentheses_does_not_hide_a_process_state(host: FakeHost) -> None:
    put(host, DOCKER_PID, "77")
    put(host, "/proc/77/comm", "dockerd\n")
    put(host, "/proc/77/stat", "77 (a) Z) S 1\n")
    assert repairs.live_pid(host, DOCKER_PID) == 77


def test_a_daemon_that_dies_shows_the_end_of_its_log(host: FakeHost) -> None:
    no_engine(host, "dockerd")

    def die(log: Path) -> int:
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        return 1

    host.world.daemon = die
    with pytest.raises(ToolError) as caught:
        heal(host)
    assert "line 99" in caught.value.problem
    assert "line 79\n" not in caught.value.problem
    assert "/var/log/dockerd.log" in caught.value.advice
    assert "pause" not in host.world.did


def test_a_daemon_that_cannot_be_started_is_told(host: FakeHost) -> None:
    no_engine(host)

    def absent(log: Path) -> int:
        raise FileNotFoundError(2, "No such file or directory", "dockerd")

    host.world.daemon = absent
    with pytest.raises(ToolError, match="dockerd cannot be started"):
        heal(host)


def test_a_failing_command_is_told_with_the_end_of_its_output(host: FakeHost) -> None:
    no_engine(host)
    output = "".join(f"noise {number}\n" for number in range(50)) + "E: Unable to locate package\n"
    host.world.results[INSTALL_DOCKER] = (100, output)
    with pytest.raises(ToolError) as caught:
        heal(host)
    assert f"`{INSTALL_DOCKER}` failed with exit code 100" in caught.value.problem
    assert caught.value.problem.endswith("E: Unable to locate package")
    assert "noise 30\n" not in caught.value.problem
    assert "spawn dockerd" not in host.world.did


def test_package_lists_are_read_once_in_a_run(host: FakeHost) -> None:
    no_engine(host)
    host.world.programs = set()
    heal(host)
    assert host.world.did.count("apt-get update") == 1
    assert "apt-get install -y --no-install-recommends mmdebstrap" in host.world.did


def test_ubuntu_needs_debians_keys_with_mmdebstrap(host: FakeHost) -> None:
    host.world.programs = {"dockerd"}
    host.path(doctor.DEBIAN_KEYRING).unlink()
    heal(host)
    assert host.world.did[-1].endswith(" mmdebstrap debian-archive-keyring")


def test_our_former_entry_is_dropped_before_the_new_one_is_registered(host: FakeHost) -> None:
    theirs = handler(host, Platform.AARCH64, flags="OC")
    own = theirs.rename(theirs.with_name("pbs-matrix-aarch64"))
    heal(host)
    assert own.read_text() == "-1"


def test_binfmt_misc_is_mounted_first(host: FakeHost) -> None:
    for path in host.binfmt.iterdir():
        path.unlink()
    host.world.effects[MOUNT] = lambda: mount(host)
    assert check(host, "aarch64 emulation").detail == "binfmt_misc is not mounted"
    heal(host)
    assert host.world.did == [MOUNT, "fetch aarch64"]
    assert (host.binfmt / "register").read_text().startswith(":pbs-matrix-aarch64:")


def test_what_mounting_brings_to_light_is_used(host: FakeHost) -> None:
    for path in host.binfmt.iterdir():
        path.unlink()

    def appear() -> None:
        mount(host)
        handler(host, Platform.AARCH64)

    host.world.effects[MOUNT] = appear
    checks = {check.name: check for check in heal(host)}
    assert checks["aarch64 emulation"].state is State.OK
    assert "fetch aarch64" not in host.world.did
    assert host.world.said[-1] == "-> nothing to register: the entry qemu-aarch64 will do"


def test_the_module_is_loaded_where_there_is_no_mount_point(host: FakeHost) -> None:
    for path in host.binfmt.iterdir():
        path.unlink()
    host.binfmt.rmdir()
    repair = check(host, "aarch64 emulation").repairs[0]
    assert repair.commands[0] == "modprobe binfmt_misc"


def test_binfmt_misc_that_is_switched_off_is_switched_on(host: FakeHost) -> None:
    status = put(host, "/proc/sys/fs/binfmt_misc/status", "disabled\n")
    assert "switched off" in check(host, "aarch64 emulation").detail
    heal(host)
    assert status.read_text() == "1"
    assert host.world.did == []  # the handler that was there is used again


def test_a_kernel_that_refuses_the_handler_is_told(host: FakeHost) -> None:
    handler(host, Platform.AARCH64, version="7.2")
    register = host.binfmt / "register"
    register.unlink()
    register.mkdir()  # writing to it fails, for root too
    with pytest.raises(ToolError, match="the kernel refuses"):
        heal(host)
