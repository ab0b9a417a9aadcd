"""Engines of a test's own, beside the machine's: a second dockerd, Podman's service, and sshd.

Each keeps to a directory of its own and to a socket there; the second dockerd has a network
namespace of its own as well, since with ``--bridge=none`` it deletes ``docker0``, whosever that is.
All are ended by their process ids, and take their mounts with them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60
END_SECONDS = 30

CONTAINERS_CONF = """\
[containers]
# Podman asks for a million open files, which a machine may not be allowed to grant.
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
# Else a process stays for five minutes after each probe.
exit_command_delay = 10
"""


@contextmanager
def directory() -> Iterator[Path]:
    """A directory with a short path, since a socket's may not be long."""
    with tempfile.TemporaryDirectory(prefix="e-", dir="/tmp", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def dockerd(root: Path) -> Iterator[str]:
    """A second dockerd, with a containerd of its own; its address."""
    (root / "config.json").write_text("{}")
    address = f"unix://{root}/docker.sock"
    argv = ["unshare", "--net", "dockerd", "--host", address]
    argv += ["--data-root", f"{root}/data", "--exec-root", f"{root}/run"]
    argv += ["--pidfile", f"{root}/pid", "--config-file", f"{root}/config.json"]
    argv += ["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    with _daemon(argv, root, {}):
        yield address


@contextmanager
def podman(root: Path) -> Iterator[str]:
    """Podman's service on Docker's API; its address."""
    (root / "tmp").mkdir()
    (root / "containers.conf").write_text(CONTAINERS_CONF)
    address = f"unix://{root}/podman.sock"
    argv = ["podman", "--root", f"{root}/data", "--runroot", f"{root}/run"]
    argv += ["--tmpdir", f"{root}/state", "system", "service", "--time=0", address]
    variables = {"CONTAINERS_CONF": f"{root}/containers.conf", "TMPDIR": f"{root}/tmp"}
    # What its builds run keeps its state there, and leaves the directory.
    shared = Path("/run/runc")
    was_there = shared.exists()
    try:
        with _daemon(argv, root, variables):
            yield address
    finally:
        if not was_there:
            with contextlib.suppress(OSError):  # none was made, or another engine uses it by now
                shared.rmdir()


@contextmanager
def _daemon(argv: Sequence[str], root: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """A daemon that serves the socket in ``root``, until it and all that it has started ends."""
    log = root / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(lambda: process.poll() is not None or any(map(_answers, root.glob("*.sock"))))
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.wait()
        for pid in started_in(root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait(lambda: not started_in(root))
        for mount in mounts_in(root):
            subprocess.run(["umount", "--lazy", mount], check=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return False
    return True


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + START_SECONDS
    while not until() and time.monotonic() < end:
        time.sleep(0.05)


def started_in(root: Path) -> list[int]:
    """Processes that name the directory in their command line: monitors of containers, say."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{root}/".encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return [pid for pid in found if pid != os.getpid()]


def mounts_in(root: Path) -> list[str]:
    """Mount points below a directory, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return sorted((point for point in points if point.startswith(f"{root}/")), reverse=True)


@contextmanager
def tcp(path: Path) -> Iterator[str]:
    """A port of this machine that leads to a socket: an engine reached over the network."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(path))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Closing alone does not wake who waits for it.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


SSHD = next(filter(None, map(shutil.which, ("sshd", "/usr/sbin/sshd"))), None)


@contextmanager
def sshd(root: Path, *, path: str = os.defpath) -> Iterator[tuple[int, Path]]:
    """An ssh server on 127.0.0.1 with throw-away keys: its port, and a directory for PATH.

    The ssh in that directory knows the server and has the key; who logs in has ``path`` as PATH.
    """
    assert SSHD is not None
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
        subprocess.run(key, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    public = " ".join((root / "host.pub").read_text().split()[:2])
    (root / "known").write_text(f"[127.0.0.1]:{port} {public}\n")
    (root / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nPidFile {root}/sshd.pid\n"
        f"AuthorizedKeysFile {root}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"PermitRootLogin prohibit-password\nUsePAM no\nSetEnv PATH={path}\n"
    )
    programs = root / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(
        "#!/bin/sh\n"
        f"exec {shutil.which('ssh')} -F none -i {root}/user -o IdentitiesOnly=yes "
        f'-o UserKnownHostsFile={root}/known -o GlobalKnownHostsFile=/dev/null "$@"\n'
    )
    ssh.chmod(0o755)
    # Debian's sshd wants this directory, which its service would make.
    separation = Path("/run/sshd")
    made = not separation.exists()
    separation.mkdir(mode=0o755, exist_ok=True)
    with (root / "log").open("wb") as output:
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(root / "sshd_config")], stdout=output, stderr=output
        )
    try:
        _wait(lambda: server.poll() is not None or _listens(port))
        assert server.poll() is None, (root / "log").read_text(errors="replace")
        yield port, programs
    finally:
        server.terminate()
        server.wait()
        if made:
            separation.rmdir()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
