"""What puts a machine right: Debian packages, a running engine, a recent QEMU in binfmt_misc.

Each repair says what it is about to do; nothing happens before ``perform`` is called.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import binfmt
from harness.errors import ToolError
from harness.host import Engine, Host
from harness.platforms import Platform

ENGINE_SECONDS = 60
GOOD_QEMU = (9, 0)
# What a killed engine leaves behind, each with the program whose pid should be in it. The second
# belongs to Debian's init script, and is only ever looked at.
_PID_FILES = {
    "/var/run/docker.pid": "dockerd",
    "/var/run/docker-ssd.pid": "dockerd",
    "/var/run/docker/containerd/containerd.pid": "containerd",
}
_BLOCKING_PID_FILES = ("/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid")
_DOCKERD_LOG = "/var/log/dockerd.log"
_TAIL_LINES = 20

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """One change of the host. Equal words are the same repair: done once in a run.

    ``commands`` is what a person would type as root; ``perform`` may raise HarnessError.
    """

    says: str
    commands: tuple[str, ...]
    perform: Callable[[Host, Say], None] = field(compare=False, repr=False)


def install(host: Host, *packages: str) -> tuple[Repair, ...]:
    """Have Debian packages installed; in words where apt is not this system's."""
    update = _repair("read the package lists", ("apt-get", "update"))
    unpack = _repair(
        f"install {' and '.join(packages)}",
        ("apt-get", "install", "-y", "--no-install-recommends", *packages),
        DEBIAN_FRONTEND="noninteractive",
    )
    if host.is_debian:
        return update, unpack
    by_hand = f"# install {' '.join(packages)} with this system's package manager"
    return (replace(unpack, commands=(by_hand,)),)


def live_pid(host: Host, pid_file: str) -> int | None:
    """The pid in the file, if it is that of a live program of the expected name.

    A zombie's, or one that has since been given to another program, is not.
    """
    try:
        pid = int(host.path(pid_file).read_text())
        name = host.path(f"/proc/{pid}/comm").read_text().strip()
        # "pid (name) state ...", where the name may itself contain parentheses
        state = host.path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    return pid if name == _PID_FILES[pid_file] and state not in "ZX" else None


def _stale_pid_files(host: Host) -> list[str]:
    """What a killed engine left behind, and would keep the next one from starting."""
    return [
        name
        for name in _BLOCKING_PID_FILES
        if host.exists(host.path(name)) and live_pid(host, name) is None
    ]


def _live_dockerd(host: Host) -> int | None:
    names = [name for name, program in _PID_FILES.items() if program == "dockerd"]
    return next((pid for name in names if (pid := live_pid(host, name))), None)


def start_engine(host: Host) -> Repair:
    """Have the engine that is installed, or will be, started."""
    if host.has_systemd:
        commands = ["systemctl start docker"]
    else:
        commands = [f"rm -f {' '.join(stale)}"] if (stale := _stale_pid_files(host)) else []
        commands.append(f"setsid dockerd </dev/null >>{_DOCKERD_LOG} 2>&1 &")
    says = "start the engine (unless installing it has done so)"
    return Repair(says=says, commands=tuple(commands), perform=_start_engine)


def _start_engine(host: Host, say: Say) -> None:
    engine = host.engine()
    if isinstance(engine, Engine):
        return
    ended = _launch(host, say)
    for _ in range(ENGINE_SECONDS):
        code = ended()
        engine = host.engine()
        if isinstance(engine, Engine):
            return
        if code is not None and not _live_dockerd(host):
            break
        host.pause(1)
    log = host.path(_DOCKERD_LOG)
    text = log.read_text(errors="replace") if host.exists(log) and not host.has_systemd else ""
    raise ToolError(
        f"the engine does not answer: {engine.message}\n{_tail(text)}".rstrip(),
        advice="See `journalctl -u docker`." if host.has_systemd else f"See {_DOCKERD_LOG}.",
    )


def _launch(host: Host, say: Say) -> Callable[[], int | None]:
    """Get dockerd going; what comes back polls its exit code, where it is ours to know."""
    if host.has_systemd:
        say("-> systemctl start docker")
        _must(host, "systemctl", "start", "docker")
        return lambda: None
    if pid := _live_dockerd(host):
        say(f"-> wait for dockerd, which runs already (pid {pid})")
        return lambda: None
    for name in _stale_pid_files(host):
        say(f"-> remove {name}: no live {_PID_FILES[name]} has the pid in it")
        host.path(name).unlink()
    say(f"-> dockerd in the background, output to {_DOCKERD_LOG}")
    try:
        return host.spawn([host.which("dockerd") or "dockerd"], host.path(_DOCKERD_LOG))
    except OSError as error:
        raise ToolError(
            f"dockerd cannot be started: {error}",
            advice="Install an engine by hand, or point DOCKER_HOST at one that runs.",
        ) from error


def by_container(platform: Platform) -> str:
    """The command that registers a QEMU from a container, for a person to type."""
    return f"docker run --privileged --rm tonistiigi/binfmt --install {platform.debian}"


def emulate(host: Host, platform: Platform, replaced: str | None) -> tuple[Repair, ...]:
    """Have the platform's programs run by a recent QEMU, before the entry ``replaced`` does it."""
    repairs: list[Repair] = []
    mount_point = str(binfmt.BINFMT_MISC)
    if not binfmt.is_mounted(host.binfmt):
        argvs: list[tuple[str, ...]] = [("mount", "-t", "binfmt_misc", "binfmt_misc", mount_point)]
        if not host.exists(host.binfmt):  # the kernel makes the directory when it loads the module
            argvs.insert(0, ("modprobe", "binfmt_misc"))
        repairs.append(_repair("mount binfmt_misc", *argvs))
    elif binfmt.is_switched_off(host.binfmt):
        repairs.append(
            Repair(
                says=f"switch binfmt_misc on (write 1 to {mount_point}/status)",
                commands=(f"echo 1 >{mount_point}/status",),
                perform=lambda host, say: _write(host.binfmt / "status", "1"),
            )
        )
    by_hand = [by_container(platform), "# or this system's package qemu-user-static"]
    if replaced:  # the image leaves an entry of the same name as it is
        by_hand.insert(0, f"echo -1 >{mount_point}/{replaced}")
    name = binfmt.entry_name(platform)
    kept = f"; the entry {replaced} stays" if replaced not in (None, name) else ""
    register = Repair(
        says=f"register {name} with QEMU of Debian 13 (fetched to the cache{kept})",
        commands=tuple(by_hand),
        perform=lambda host, say: _register(host, say, platform),
    )
    return (*repairs, register)


def is_good(handler: binfmt.Handler, version: tuple[int, int] | None) -> bool:
    """Whether it can stay as it is. An unknown version is no reason to replace what works."""
    return handler.works_in_containers and (version is None or version >= GOOD_QEMU)


def _register(host: Host, say: Say, platform: Platform) -> None:
    found = binfmt.find_handler(platform, host.binfmt)  # perhaps mounting has brought it to light
    if found and is_good(found, binfmt.qemu_version(found.interpreter)):
        say(f"-> nothing to register: the entry {found.name} will do")
        return
    interpreter = host.fetch_qemu(platform)
    line = binfmt.registration_line(platform, interpreter)
    own = host.binfmt / binfmt.entry_name(platform)
    if own.exists():
        say(f"-> drop the former {own.name} (write -1 to it)")
        _write(own, "-1")
    say(f"-> write {line} to {binfmt.BINFMT_MISC}/register")
    _write(host.binfmt / "register", line)


def _repair(says: str, *argvs: Sequence[str], **extra: str) -> Repair:
    """Commands as a repair; ``extra`` adds to their environment."""

    def perform(host: Host, say: Say) -> None:
        for argv in argvs:
            _must(host, *argv, **extra)

    lines = [shlex.join(argv) for argv in argvs]
    prefix = "".join(f"{name}={value} " for name, value in extra.items())
    return Repair(
        says=f"{says} ({' && '.join(lines)})",
        commands=tuple(prefix + line for line in lines),
        perform=perform,
    )


def _must(host: Host, *argv: str, **extra: str) -> None:
    """Run a command; ToolError with the end of its output where it fails."""
    code, output = host.run(*argv, **extra)
    if code:
        raise ToolError(
            f"`{shlex.join(argv)}` failed with exit code {code}:\n{_tail(output)}",
            advice="Put that right by hand, then run `pbs-matrix doctor --fix` again.",
        )


def _tail(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-_TAIL_LINES:])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ToolError(
            f"the kernel refuses {text!r} in {path}: {error.strerror}",
            advice="In a container it takes --privileged; otherwise do it on the host.",
        ) from error
