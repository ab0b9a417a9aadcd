"""A fake machine: a directory for its files, and a record of its commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import binfmt, doctor
from harness.doctor import Check
from harness.engine import Address
from harness.host import Engine, Host, NoEngine, Silence
from harness.platforms import Platform

GIGABYTE = 10**9
KERNEL, NODE = "6.1.0-test", "here"
SOCKET = Address(url="unix:///var/run/docker.sock")
ENGINE = Engine(
    name="Engine",
    version="20.10",
    arch="amd64",
    storage="overlay2",
    data_root="/data",
    kernel=KERNEL,
    node=NODE,
    address=SOCKET,
    security=("seccomp", "cgroupns"),
)
NOBODY = NoEngine(why=Silence.NOBODY, message="connection refused")
DOCKER_PID = "/var/run/docker.pid"
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
    def node(self) -> str:
        return NODE

    @property
    def engine_address(self) -> Address | None:
        named = self.env.get("DOCKER_HOST")
        return Address(url=named, found="DOCKER_HOST") if named else None

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


def debian(root: Path) -> FakeHost:
    """A Debian machine, x86_64, without systemd, where nothing is missing."""
    host = FakeHost(root=root, env={}, cache=root / "cache", world=World())
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
