"""What the doctor finds and puts right, on a fake machine: a directory and a record of commands."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker.errors  # type: ignore[import-untyped, unused-ignore]
import pytest
from rich.console import Console

from harness import binfmt, doctor
from harness.doctor import Check, Engine, Host, NoEngine, Silence, State
from harness.errors import SetupIncompleteError, ToolError
from harness.platforms import Platform

GIGABYTE = 10**9
KERNEL = "6.1.0-test"
ENGINE = Engine(
    name="Engine",
    version="20.10",
    arch="amd64",
    storage="overlay2",
    data_root="/data",
    kernel=KERNEL,
)
NOBODY = NoEngine(why=Silence.NOBODY, message="connection refused")
DOCKER_PID = "/var/run/docker.pid"
CONTAINERD_PID = "/var/run/docker/containerd/containerd.pid"
INSTALL_DOCKER = "apt-get install -y --no-install-recommends docker.io"


@dataclass(kw_only=True)
class World:
    """The state of a fake machine. As it stands, nothing is missing."""

    engine: Engine | NoEngine = ENGINE
    native: Platform | None = Platform.X86_64
    is_root: bool = True
    programs: set[str] = field(default_factory=lambda: {"dockerd", "mmdebstrap"})
    sites: dict[str, int | str] = field(default_factory=dict)
    free: int = 50 * GIGABYTE
    results: dict[str, tuple[int, str]] = field(default_factory=dict)
    effects: dict[str, Callable[[], object]] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    daemon: Callable[[Path], int | None] = lambda log: None
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FakeHost(Host):
    """A host whose files are below a temporary directory, and whose commands are only recorded."""

    world: World

    @property
    def native(self) -> Platform | None:
        return self.world.native

    @property
    def kernel(self) -> str:
        return KERNEL

    @property
    def is_root(self) -> bool:
        return self.world.is_root

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.world.programs else None

    def run(self, *argv: str, **extra: str) -> tuple[int, str]:
        command = " ".join(argv)
        self.world.did.append(command)
        if argv[:2] == ("apt-get", "install"):
            assert extra == {"DEBIAN_FRONTEND": "noninteractive"}
        if command in self.world.effects:
            self.world.effects[command]()
        return self.world.results.get(command, (0, ""))

    def spawn(self, argv: Sequence[str], log: Path) -> Callable[[], int | None]:
        self.world.did.append(f"spawn {' '.join(argv)}")
        code = self.world.daemon(log)
        return lambda: code

    def pause(self, seconds: float) -> None:
        self.world.did.append("pause")

    def disk_free(self, path: Path) -> int:
        return self.world.free

    def engine(self) -> Engine | NoEngine:
        return self.world.engine

    def probe(self, url: str) -> int | str:
        return self.world.sites.get(url, 200)

    def fetch_qemu(self, platform: Platform) -> Path:
        self.world.did.append(f"fetch {platform}")
        return Path(f"/cache/qemu/{platform}")


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A Debian machine, x86_64, without systemd, where nothing is missing."""
    host = FakeHost(root=tmp_path, env={}, cache=tmp_path / "cache", world=World())
    put(host, "/etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n')
    put(host, doctor.DEBIAN_KEYRING, "")
    put(host, "/var/log/other.log", "")
    put(host, "/data/overlay2", "")
    mount(host)
    handler(host, Platform.AARCH64)
    return host


def put(host: FakeHost, name: str, text: str) -> Path:
    path = host.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def mount(host: FakeHost) -> None:
    put(host, "/proc/sys/fs/binfmt_misc/register", "")
    put(host, "/proc/sys/fs/binfmt_misc/status", "enabled\n")


def handler(
    host: FakeHost, platform: Platform, *, version: str = "10.0.2", flags: str = "OCF"
) -> Path:
    """Register somebody's QEMU that says ``version``."""
    qemu = put(host, f"/opt/qemu-{platform}", f"#!/bin/sh\necho qemu-x version {version}\n")
    qemu.chmod(0o755)
    return put(
        host,
        f"/proc/sys/fs/binfmt_misc/qemu-{platform}",
        f"enabled\ninterpreter {qemu}\nflags: {flags}\noffset 0\n"
        f"magic {binfmt.elf_header(platform).hex()}\nmask {'ff' * 16}feffffff\n",
    )


def process(host: FakeHost, pid: int, comm: str, state: str) -> None:
    put(host, f"/proc/{pid}/comm", f"{comm}\n")
    put(host, f"/proc/{pid}/stat", f"{pid} ({comm}) {state} 1 {pid} {pid} 0 -1\n")


def no_engine(host: FakeHost, *programs: str) -> None:
    """Nothing answers until something starts a dockerd; ``programs`` are installed."""
    world = host.world
    world.engine = NOBODY
    world.programs = {"mmdebstrap", *programs}

    def start(log: Path | None = None) -> None:
        world.engine = ENGINE

    world.daemon = start
    world.effects["systemctl start docker"] = start


def check(host: FakeHost, name: str) -> Check:
    return next(check for check in doctor.examine(host) if check.name == name)


def heal(host: FakeHost) -> list[Check]:
    return doctor.heal(doctor.examine(host), host, host.world.said.append)


def snapshot(host: FakeHost) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in host.root.rglob("*") if path.is_file()}


def run(host: FakeHost, *, fix: bool) -> tuple[int, str]:
    output = io.StringIO()
    code = doctor.run(fix, host=host, console=Console(file=output, width=40))
    return code, output.getvalue()


# ---- A machine that has everything


def test_everything_there_is_ok(host: FakeHost) -> None:
    checks = doctor.examine(host)
    assert [check.name for check in checks] == [
        "engine",
        "mmdebstrap",
        "aarch64 emulation",
        "registry",
        "GitHub",
        "PyPI",
        "disk",
    ]
    assert {check.state for check in checks} == {State.OK}
    assert checks[0].detail == "Engine 20.10, amd64, storage overlay2"
    assert "QEMU 10.0" in checks[2].detail


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


@pytest.mark.parametrize(
    ("text", "is_debian"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=alpine\n", False),
        ("", False),
    ],
)
def test_debian_is_known_by_os_release(host: FakeHost, text: str, is_debian: bool) -> None:
    put(host, "/etc/os-release", text)
    assert host.is_debian is is_debian


# ---- Engine


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
    assert host.world.did == ["pause"] * doctor.ENGINE_SECONDS
    assert kept.exists()


def test_a_name_with_parentheses_does_not_hide_a_process_state(host: FakeHost) -> None:
    put(host, DOCKER_PID, "77")
    put(host, "/proc/77/comm", "dockerd\n")
    put(host, "/proc/77/stat", "77 (a) Z) S 1\n")
    assert doctor.live_pid(host, DOCKER_PID) == 77


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
    assert "DOCKER_HOST=tcp://10.0.0.9:2375" in engine.detail
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


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (PermissionError(13, "denied"), Silence.DENIED),
        (FileNotFoundError(2, "no such file"), Silence.NOBODY),
        (ConnectionRefusedError(111, "refused"), Silence.NOBODY),
        (TimeoutError("timed out"), Silence.OTHER),
    ],
)
def test_the_reason_of_silence_is_found_beneath_the_clients_error(
    cause: Exception, why: Silence
) -> None:
    error = docker.errors.DockerException("Error while fetching server API version")
    error.__cause__ = RuntimeError("Connection aborted.", cause)  # as urllib3 does
    assert doctor._silence(error) is why


# docker-py leaves the socket that it could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_real_client_finds_nobody_at_a_socket_that_is_not_there(tmp_path: Path) -> None:
    host = Host(env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}, cache=tmp_path)
    engine = host.engine()
    assert isinstance(engine, NoEngine)
    assert engine.why is Silence.NOBODY
    gc.collect()


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


# ---- mmdebstrap


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


@pytest.mark.parametrize(("status", "state"), [(401, State.WARNING), ("x", State.MISSING)])
def test_elsewhere_mmdebstrap_is_needed_only_without_a_registry(
    host: FakeHost, status: int | str, state: State
) -> None:
    put(host, "/etc/os-release", "ID=fedora\n")
    host.world.programs = {"dockerd"}
    host.world.sites[doctor.REGISTRY_URL] = status
    assert check(host, "mmdebstrap").state is state


# ---- Emulation


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


def test_our_former_entry_is_dropped_before_the_new_one_is_registered(host: FakeHost) -> None:
    theirs = handler(host, Platform.AARCH64, flags="OC")
    own = theirs.rename(theirs.with_name("pbs-matrix-aarch64"))
    heal(host)
    assert own.read_text() == "-1"


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


def test_binfmt_misc_is_mounted_first(host: FakeHost) -> None:
    for path in host.binfmt.iterdir():
        path.unlink()
    command = f"mount -t binfmt_misc binfmt_misc {binfmt.BINFMT_MISC}"
    host.world.effects[command] = lambda: mount(host)
    assert check(host, "aarch64 emulation").detail == "binfmt_misc is not mounted"
    heal(host)
    assert host.world.did == [command, "fetch aarch64"]
    assert (host.binfmt / "register").read_text().startswith(":pbs-matrix-aarch64:")


def test_what_mounting_brings_to_light_is_used(host: FakeHost) -> None:
    for path in host.binfmt.iterdir():
        path.unlink()

    def appear() -> None:
        mount(host)
        handler(host, Platform.AARCH64)

    host.world.effects[f"mount -t binfmt_misc binfmt_misc {binfmt.BINFMT_MISC}"] = appear
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


def test_an_engine_under_another_kernel_has_its_own_binfmt(host: FakeHost) -> None:
    host.path("/proc/sys/fs/binfmt_misc/qemu-aarch64").unlink()
    host.world.engine = Engine(
        name="Desktop", version="27", arch="x", storage="x", data_root="/data", kernel="linuxkit"
    )
    found = check(host, "aarch64 emulation")
    assert found.state is State.WARNING
    assert found.repairs == ()
    assert "(/data)" not in check(host, "disk").detail


# ---- Network and disk


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


def test_what_lies_below_a_closed_directory_is_out_of_sight(tmp_path: Path) -> None:
    class Closed(type(tmp_path)):  # type: ignore[misc]  # root may enter any real directory
        def exists(self, **_: object) -> bool:
            raise PermissionError(13, "Permission denied")

    assert not Host(env={}, cache=tmp_path).exists(Closed(tmp_path))


def test_room_is_measured_where_the_cache_will_be(tmp_path: Path) -> None:
    assert Host(env={}, cache=tmp_path).disk_free(tmp_path / "not" / "yet") > 0


# ---- The real host's plumbing, and the front


def test_a_command_gives_its_code_and_all_its_output() -> None:
    host = Host(env={"PATH": "/usr/bin:/bin"}, cache=Path("/nowhere"))
    code, output = host.run("sh", "-c", "echo $ADDED; echo oops >&2; exit 3", ADDED="yes")
    assert (code, output) == (3, "yes\noops\n")
    assert host.run("/no/such/program")[0] == 127


def test_a_daemon_writes_to_its_log_in_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    host = Host(env={"PATH": "/usr/bin:/bin"}, cache=tmp_path)
    ended = host.spawn(["sh", "-c", "cut -d' ' -f1,6 /proc/$$/stat; cat"], log)
    for _ in range(200):
        if ended() is not None:
            break
        host.pause(0.01)
    assert ended() == 0  # cat ended at once: standard input is /dev/null
    pid, session = log.read_text().split()
    assert pid == session


def test_the_report_is_readable_without_a_terminal(host: FakeHost) -> None:
    host.world.free = 5 * GIGABYTE
    _, output = run(host, fix=False)
    lines = output.splitlines()
    assert lines[0] == "ok       engine             Engine 20.10, amd64, storage overlay2"
    assert "\x1b" not in output
    assert any(line.startswith("warning  disk ") for line in lines)
    assert any(line.lstrip().startswith("A full run wants 10 GB") for line in lines)


def test_what_fix_could_not_put_right_is_an_error_of_its_own(host: FakeHost) -> None:
    host.world.free = 1 * GIGABYTE
    with pytest.raises(SetupIncompleteError) as caught:
        run(host, fix=True)
    assert caught.value.problem.startswith("still missing: disk: 1.0 GB free")
