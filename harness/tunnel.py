"""An engine behind ssh, as a socket of this machine.

Docker's own library wants paramiko even where it calls the system's ssh. Here each connection to
the socket is handed to an ssh of its own, for its input and output, as inetd did. One master
carries them all (``ControlMaster`` in ssh_config(5)), so that a connection costs no handshake.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from functools import cache as cache_in_process
from pathlib import Path
from urllib.parse import urlsplit

from harness import scratch
from harness.errors import EngineMissingError
from harness.why import printable

READY = "pbs-matrix"
CONNECT_SECONDS = 20
MOST_GREETING = 1 << 20
"""Bytes."""

READY_SECONDS = 60
"""Until ssh has connected and logged in."""

LONGEST_FOLDER = 60
"""Bytes: a socket's path is limited to 107, of which ssh takes 17 while it makes its own."""

OPTIONS = (
    *("-T", "-x", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"),
    # What a person may have set for the same host, and would be in the way.
    *("-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "LogLevel=ERROR"),
)

KNOWN = (
    # ssh's own words, or those of the programs there; what it means; what to do about it.
    (
        "could not resolve hostname",
        "there is no host of that name",
        "Correct the address, or the host's entry in ~/.ssh/config.",
    ),
    (
        r"host key verification failed|host identification has changed",
        "its host key is not known here, or is another one than is known",
        "Connect by hand once, and look at the key: `{ssh}`",
    ),
    (
        "permission denied|too many authentication failures",
        "it lets nobody in with the keys that there are",
        "A key is needed that asks for nothing: load it into ssh-agent, and try `{ssh}`",
    ),
    (
        "connection refused",
        "no ssh server listens there",
        "Start one there, or correct the address (ssh://user@host:port).",
    ),
    (
        "timed out|no route to host|network is unreachable",
        "it cannot be reached",
        "Look at the network, and try `{ssh}`",
    ),
    (
        "not found|no such command|unknown command",
        "neither docker nor podman is installed there, or is on the PATH of an ssh login",
        "Install the docker command there; or forward the socket yourself (ssh -L), and name it "
        "in DOCKER_HOST.",
    ),
    (
        "cannot connect to the docker daemon|no such file or directory|dial unix",
        "no engine runs there, or not for this user",
        "Start it there, or name its socket: ssh://user@host/path/to/engine.sock",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What an address says: where ssh goes, and what it runs there."""

    arguments: tuple[str, ...]
    command: str

    @classmethod
    def of(cls, url: str) -> Destination:
        """Read ``ssh://[user@]host[:port][/path/to/engine.sock]``.

        Raises :class:`EngineMissingError` for anything else.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or host.startswith("-") or parts.password or parts.query or parts.fragment:
            raise EngineMissingError(
                f"{printable(url)} is no address of an engine behind ssh",
                advice="Write ssh://user@host, ssh://user@host:port, or with the engine's socket "
                "there: ssh://user@host/run/user/1000/podman/podman.sock",
            )
        arguments = [*(["-l", parts.username] if parts.username else [])]
        arguments += [*(["-p", str(port)] if port else []), "--", host]
        there = f"unix://{parts.path}" if parts.path.strip("/") else ""
        docker = ["docker", *(["--host", there] if there else []), "system", "dial-stdio"]
        podman = ["podman", *(["--url", there] if there else []), "system", "dial-stdio"]
        choice = (
            f"if command -v docker >/dev/null; then exec {shlex.join(docker)}; "
            f"else exec {shlex.join(podman)}; fi"
        )
        # Whichever shell the user has there.
        return cls(arguments=tuple(arguments), command=f"exec sh -c {shlex.quote(choice)}")


class Tunnel:
    """A socket that leads to an engine behind ssh, until it is closed or this process ends.

    Raises :class:`EngineMissingError` where ssh does not get there.
    """

    def __init__(self, url: str) -> None:
        self._url = printable(url)
        self._to = Destination.of(url)
        parent = tempfile.gettempdir()
        # The directory is its maker's alone.
        short = parent if len(parent.encode()) <= LONGEST_FOLDER else "/tmp"  # noqa: S108
        self._folder = scratch.make("ssh-", Path(short))
        self._errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - as long as the tunnel
        self._ssh = ["ssh", *OPTIONS, "-o", f"ControlPath={self._folder / 'control'}"]
        self._master: subprocess.Popen[bytes] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._connect()
            self._listener.bind(str(self.path))
            self._listener.listen()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def path(self) -> Path:
        """The socket."""
        return self._folder / "engine.sock"

    def close(self) -> None:
        """End every connection, and leave nothing behind."""
        with contextlib.suppress(OSError):  # it does not listen yet
            # Closing alone does not wake the thread that waits for connections.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._master:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._master.pid, signal.SIGTERM)
            self._master.communicate()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def failure(self, otherwise: str) -> EngineMissingError:
        """Why no engine answers, by what ssh or the program there said last."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [printable(line.strip()) for line in lines if line.strip()]
        line = " ".join(("ssh", *(shlex.quote(part) for part in self._to.arguments)))
        problem, advice = otherwise, f"Try by hand: `{line}`"
        for pattern, meaning, what_to_do in KNOWN:
            if re.search(pattern, "\n".join(said), re.IGNORECASE):
                problem, advice = meaning, what_to_do.replace("{ssh}", line)
                break
        why = f"{problem} ({said[-1]})" if said else problem
        return EngineMissingError(
            f"no container engine answers ({self._url}): {why}", advice=advice
        )

    def _connect(self) -> None:
        """Start the master, which lives as long as this process does: it waits for its input.

        However this process ends, nothing stays: the shell around it removes the directory.
        """
        if not shutil.which("ssh"):
            raise EngineMissingError(
                f"no container engine answers ({self._url}): there is no ssh here",
                advice="Install it (Debian: openssh-client).",
            )
        argv = ["sh", "-c", '"$@"; rm -rf "$0"', str(self._folder), *self._ssh]
        argv += ["-M", "-o", "ControlPersist=no", *self._to.arguments, f"echo {READY}; exec cat"]
        self._master = self._start(argv, subprocess.PIPE, subprocess.PIPE)
        output = self._master.stdout
        assert output is not None
        said = b""
        while select.select([output], [], [], READY_SECONDS)[0] and len(said) < MOST_GREETING:
            piece = os.read(output.fileno(), 4096)
            said += piece
            # A login there may greet first.
            if READY.encode() in said.split():
                return
            if not piece:
                raise self.failure("ssh ended without a word")
        raise self.failure(f"nobody is logged in after {READY_SECONDS} s")

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                try:
                    ssh = self._start(
                        [*self._ssh, *self._to.arguments, self._to.command],
                        *[connection.fileno()] * 2,
                    )
                except (OSError, ValueError):  # closed meanwhile, or no process to be had
                    continue
            # So that it does not stay as a zombie.
            threading.Thread(target=ssh.wait, daemon=True).start()

    def _start(self, argv: list[str], put: int, got: int) -> subprocess.Popen[bytes]:
        # An interrupt at the terminal is the harness's to see, which then still has containers to
        # remove.
        return subprocess.Popen(
            argv, stdin=put, stdout=got, stderr=self._errors, start_new_session=True
        )


@cache_in_process
def to(url: str) -> Tunnel:
    """The tunnel of this process to an address, closed when it ends."""
    tunnel = Tunnel(url)
    atexit.register(tunnel.close)
    return tunnel
