"""What the doctor finds and says, on a fake machine."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness import binfmt, doctor
from harness.doctor import State
from harness.engine import Address
from harness.errors import SetupIncompleteError
from harness.host import Engine, NoEngine, Silence
from harness.platforms import Platform
from tests.unit.fake_host import (
    DOCKER_PID,
    ENGINE,
    GIGABYTE,
    INSTALL_DOCKER,
    NOBODY,
    FakeHost,
    check,
    debian,
    handler,
    heal,
    no_engine,
    put,
)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return debian(tmp_path)


def snapshot(host: FakeHost) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in host.root.rglob("*") if path.is_file()}


def run(host: FakeHost, *, fix: bool) -> tuple[int, str]:
    output = io.StringIO()
    code = doctor.run(fix, host=host, console=Console(file=output, width=40))
    return code, output.getvalue()


def test_everything_there_is_ok(host: FakeHost) -> None:
    checks = doctor.examine(host)
    assert [check.name for check in checks] == [
        "engine",
        "isolation",
        "mmdebstrap",
        "aarch64 emulation",
        "registry",
        "GitHub",
        "PyPI",
        "disk",
    ]
    assert {check.state for check in checks} == {State.OK}
    assert (
        checks[0].detail == "Engine 20.10, amd64, storage overlay2, at unix:///var/run/docker.sock"
    )
    assert "QEMU 10.0" in checks[3].detail


def test_fix_changes_nothing_where_nothing_is_missing(host: FakeHost) -> None:
    before = snapshot(host)
    code, output = run(host, fix=True)
    assert code == 0
    assert "nothing was changed" in output
    assert snapshot(host) == before
    assert host.world.did == []


def test_without_fix_nothing_is_ever_changed(host: FakeHost) -> None:
    no_engine(host)
    put(host, DOCKER_PID, "77")
    host.path("/proc/sys/fs/binfmt_misc/qemu-aarch64").unlink()
    before = snapshot(host)
    with pytest.raises(SetupIncompleteError) as caught:
        run(host, fix=False)
    assert "engine: nothing answers" in caught.value.problem
    assert "aarch64 emulation: no handler is registered" in caught.value.problem
    assert "doctor --fix" in caught.value.advice
    assert snapshot(host) == before
    assert host.world.did == []


def test_without_root_the_commands_are_printed_and_nothing_changes(host: FakeHost) -> None:
    no_engine(host)
    host.world.is_root = False
    put(host, DOCKER_PID, "77")
    host.path("/proc/sys/fs/binfmt_misc/qemu-aarch64").unlink()
    before = snapshot(host)
    heal(host)
    said = "\n".join(host.world.said)
    assert "Not root: nothing was changed" in said
    assert f"  DEBIAN_FRONTEND=noninteractive {INSTALL_DOCKER}" in said
    assert f"  rm -f {DOCKER_PID}" in said
    assert "  setsid dockerd " in said
    assert "tonistiigi/binfmt --install arm64" in said
    assert snapshot(host) == before
    assert host.world.did == []


def test_root_of_another_distribution_gets_commands_too(host: FakeHost) -> None:
    no_engine(host)
    put(host, "/etc/os-release", 'ID="fedora"\n')
    heal(host)
    said = "\n".join(host.world.said)
    assert "not Debian or Ubuntu: nothing was changed" in said
    assert "apt-get" not in said
    assert host.world.did == []


def test_an_engine_elsewhere_that_is_dead_is_not_repaired(host: FakeHost, tmp_path: Path) -> None:
    no_engine(host)
    remote = FakeHost(
        root=tmp_path,
        env={"DOCKER_HOST": "tcp://10.0.0.9:2375"},
        cache=host.cache,
        world=host.world,
    )
    engine = check(remote, "engine")
    assert engine.state is State.MISSING
    assert "tcp://10.0.0.9:2375, by DOCKER_HOST" in engine.detail
    assert engine.repairs == ()
    with pytest.raises(SetupIncompleteError):
        run(remote, fix=True)
    assert host.world.did == []


def test_the_default_socket_spelled_out_is_still_the_default(
    host: FakeHost, tmp_path: Path
) -> None:
    no_engine(host)
    env = {"DOCKER_HOST": "unix:///var/run/docker.sock"}
    spelled = FakeHost(root=tmp_path, env=env, cache=host.cache, world=host.world)
    assert check(spelled, "engine").repairs


def test_a_socket_without_permission_is_told_and_left_alone(host: FakeHost) -> None:
    host.world.engine = NoEngine(why=Silence.DENIED, message="denied")
    engine = check(host, "engine")
    assert "permission denied" in engine.detail
    assert "group `docker`" in engine.advice
    assert engine.repairs == ()


def test_an_engine_that_answers_nonsense_is_left_alone(host: FakeHost) -> None:
    host.world.engine = NoEngine(why=Silence.OTHER, message="timed out")
    engine = check(host, "engine")
    assert "timed out" in engine.detail
    assert engine.repairs == ()


@pytest.mark.parametrize(("status", "state"), [(401, State.WARNING), ("x", State.MISSING)])
def test_elsewhere_mmdebstrap_is_needed_only_without_a_registry(
    host: FakeHost, status: int | str, state: State
) -> None:
    put(host, "/etc/os-release", "ID=fedora\n")
    host.world.programs = {"dockerd"}
    host.world.sites[doctor.REGISTRY_URL] = status
    assert check(host, "mmdebstrap").state is state


def test_old_qemu_is_a_warning_and_fix_registers_ours_beside_it(host: FakeHost) -> None:
    theirs = handler(host, Platform.AARCH64, version="7.2.11")
    before = theirs.read_text()
    found = check(host, "aarch64 emulation")
    assert found.state is State.WARNING
    assert "QEMU 7.2" in found.detail
    assert "4x slower" in found.advice
    heal(host)
    line = host.path("/proc/sys/fs/binfmt_misc/register").read_text()
    assert line == binfmt.registration_line(Platform.AARCH64, Path("/cache/qemu/aarch64"))
    assert line.startswith(":pbs-matrix-aarch64:M::")
    assert theirs.read_text() == before
    assert host.world.did == ["fetch aarch64"]


def test_a_handler_without_flag_f_counts_as_missing(host: FakeHost) -> None:
    handler(host, Platform.AARCH64, flags="OC")
    found = check(host, "aarch64 emulation")
    assert found.state is State.MISSING
    assert "flag F" in found.advice
    assert found.repairs


def test_a_handler_whose_file_is_out_of_sight_is_good_enough(host: FakeHost) -> None:
    host.path("/opt/qemu-aarch64").unlink()
    found = check(host, "aarch64 emulation")
    assert found.state is State.OK
    assert "of unknown version" in found.detail


def test_an_aarch64_host_needs_x86_64(host: FakeHost) -> None:
    host.world.native = Platform.AARCH64
    found = check(host, "x86_64 emulation")
    assert found.state is State.MISSING
    assert "aarch64 emulation" not in [check.name for check in doctor.examine(host)]
    heal(host)
    line = host.path("/proc/sys/fs/binfmt_misc/register").read_text()
    assert line.startswith(":pbs-matrix-x86_64:M::")
    assert r"\x3e\x00:" in line


def test_an_engine_under_another_kernel_has_its_own_binfmt(host: FakeHost) -> None:
    host.path("/proc/sys/fs/binfmt_misc/qemu-aarch64").unlink()
    host.world.engine = Engine(
        name="Desktop", version="27", arch="x", storage="x", data_root="/data", kernel="linuxkit"
    )
    found = check(host, "aarch64 emulation")
    assert found.state is State.WARNING
    assert found.repairs == ()
    assert "(/data)" not in check(host, "disk").detail


@pytest.mark.parametrize(
    ("name", "url", "answer", "state"),
    [
        ("registry", doctor.REGISTRY_URL, 401, State.OK),
        ("registry", doctor.REGISTRY_URL, 403, State.WARNING),
        ("registry", doctor.REGISTRY_URL, "no connection", State.WARNING),
        ("GitHub", doctor.GITHUB_URL, 200, State.OK),
        ("GitHub", doctor.GITHUB_URL, "no connection", State.WARNING),
        ("PyPI", f"{doctor.PYPI_INDEX}/pip/", 404, State.WARNING),
    ],
)
def test_a_site_out_of_reach_is_a_warning(
    host: FakeHost, name: str, url: str, answer: int | str, state: State
) -> None:
    host.world.sites[url] = answer
    found = check(host, name)
    assert found.state is state
    assert bool(found.advice) is (state is State.WARNING)
    assert run(host, fix=False)[0] == 0


def test_a_mirror_is_asked_instead_of_github(host: FakeHost, tmp_path: Path) -> None:
    """One that lists nothing answers all the same."""
    env = {"UV_PYTHON_INSTALL_MIRROR": "https://me:secret@mirror.example/pbs"}
    mirrored = FakeHost(root=tmp_path, env=env, cache=host.cache, world=host.world)
    host.world.sites["https://me:secret@mirror.example/pbs"] = 404
    assert check(mirrored, "mirror").detail == "https://mirror.example/pbs answers"


def test_a_private_index_is_asked_and_its_password_not_shown(
    host: FakeHost, tmp_path: Path
) -> None:
    env = {"UV_INDEX_URL": "https://me:secret@mirror.example:8443/simple/"}
    private = FakeHost(root=tmp_path, env=env, cache=host.cache, world=host.world)
    assert check(private, "PyPI").detail == "https://mirror.example:8443/simple/pip/ answers"


@pytest.mark.parametrize(
    ("free", "state"), [(10, State.OK), (9, State.WARNING), (3, State.WARNING), (2, State.MISSING)]
)
def test_disk_is_judged_by_free_gigabytes(host: FakeHost, free: int, state: State) -> None:
    host.world.free = free * GIGABYTE
    found = check(host, "disk")
    assert found.state is state
    assert f"{free}.0 GB free" in found.detail


def test_the_report_is_readable_without_a_terminal(host: FakeHost) -> None:
    host.world.free = 5 * GIGABYTE
    _, output = run(host, fix=False)
    lines = output.splitlines()
    assert (
        lines[0]
        == "ok       engine             Engine 20.10, amd64, storage overlay2, at unix:///var/run/docker.sock"
    )
    assert "\x1b" not in output
    assert any(line.startswith("warning  disk ") for line in lines)
    assert any(line.lstrip().startswith("A full run wants 10 GB") for line in lines)


def test_what_fix_could_not_put_right_is_an_error_of_its_own(host: FakeHost) -> None:
    host.world.free = 1 * GIGABYTE
    with pytest.raises(SetupIncompleteError) as caught:
        run(host, fix=True)
    assert caught.value.problem.startswith("still missing: disk: 1.0 GB free")


def test_what_only_the_tests_use_is_looked_at_when_asked(host: FakeHost) -> None:
    host.world.programs |= {"google-chrome", "podman"}
    assert "podman" not in [found.name for found in doctor.examine(host)]
    found = doctor.examine(host, tests=True)[-2:]
    assert [(one.name, one.state) for one in found] == [
        ("chromium", State.OK),
        ("podman", State.OK),
    ]


def test_what_only_the_tests_use_is_installed_saying_so_and_never_needed(host: FakeHost) -> None:
    checks = doctor.examine(host, tests=True)
    assert [one.state for one in checks[-2:]] == [State.WARNING] * 2
    assert "The tests of the report page use it" in checks[-2].advice
    assert doctor.run(False, tests=True, host=host, console=Console(file=io.StringIO())) == 0
    assert host.world.did == []
    said: list[str] = []
    doctor.heal(checks, host, said.append, tests=True)
    assert host.world.did == [
        "apt-get update",
        "apt-get install -y --no-install-recommends chromium",
        "apt-get install -y --no-install-recommends podman",
    ]
    assert [line.partition(" (")[0] for line in said] == [
        "-> read the package lists",
        "-> install chromium",
        "-> install podman",
    ]


def test_what_only_the_tests_use_is_told_as_commands_without_root(host: FakeHost) -> None:
    host.world.is_root = False
    doctor.heal(doctor.examine(host, tests=True), host, host.world.said.append, tests=True)
    said = "\n".join(host.world.said)
    assert "apt-get install -y --no-install-recommends chromium" in said
    assert host.world.did == []


def test_an_engine_on_another_machine_says_what_is_native_there(host: FakeHost) -> None:
    """An arm laptop with an engine on x86_64, and the other way round; its disk is out of sight."""
    host.world.engine = Engine(
        name="Docker",
        version="28",
        arch="arm64",
        storage="overlay2",
        data_root="/data",
        kernel=host.kernel,
        node="far",
        address=Address(url="tcp://10.0.0.9:2375", found="DOCKER_HOST"),
    )
    names = [found.name for found in doctor.examine(host)]
    assert "x86_64 emulation" in names
    assert "aarch64 emulation" not in names
    assert check(host, "x86_64 emulation").repairs == ()
    assert "unknown for the engine, which is on another machine" in check(host, "disk").detail
    assert check(host, "engine").detail.endswith("at tcp://10.0.0.9:2375, by DOCKER_HOST")


def test_an_engine_that_says_what_to_do_is_quoted(host: FakeHost) -> None:
    host.world.engine = NoEngine(why=Silence.OTHER, message="no such context", advice="Choose one.")
    found = check(host, "engine")
    assert "no such context" in found.detail
    assert found.advice == "Choose one."


@pytest.mark.parametrize(
    ("security", "state", "words"),
    [
        (("seccomp", "cgroupns"), State.OK, "seccomp; root in a container is root"),
        (("apparmor", "seccomp", "userns"), State.OK, "apparmor, seccomp, userns"),
        (("rootless", "seccomp"), State.OK, "rootless, seccomp"),
        ((), State.WARNING, "nothing that the engine names"),
    ],
)
def test_what_keeps_samples_apart_from_this_machine_is_said(
    host: FakeHost, security: tuple[str, ...], state: State, words: str
) -> None:
    host.world.engine = replace(ENGINE, security=security)
    found = check(host, "isolation")
    assert found.state is state
    assert found.detail.startswith(words)
    assert ("root in a container" in found.detail) == ({"userns", "rootless"}.isdisjoint(security))


def test_without_an_engine_nothing_is_said_of_isolation(host: FakeHost) -> None:
    host.world.engine = NOBODY
    assert "isolation" not in [each.name for each in doctor.examine(host)]
