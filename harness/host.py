"""The machine, as far as the doctor looks at it or touches it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import docker.errors
import requests

from harness import binfmt, cache, engine, network
from harness.errors import HarnessError, causes
from harness.platforms import Platform

PROBE_SECONDS = 3.0
ENGINE_SECONDS = 10.0
_LATE = f"no answer within {PROBE_SECONDS:g} s"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on the PATH of every user


class Silence(StrEnum):
    """Why there is no talking to an engine."""

    NOBODY = "nothing answers"
    DENIED = "permission denied on the socket"
    OTHER = "no usable answer"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers, as it describes itself."""

    name: str
    version: str
    arch: str
    storage: str
    data_root: str
    kernel: str
    node: str = ""
    """Its machine's name."""
    address: engine.Address | None = None
    security: tuple[str, ...] = ()
    """What it keeps containers apart with, in its own words: seccomp, userns, …."""


@dataclass(frozen=True, kw_only=True)
class NoEngine:
    """No engine, the client library's own words about it, and what to do where that is known."""

    why: Silence
    message: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """This machine. Paths are taken below ``root``."""

    root: Path = Path("/")
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cache: Path = field(default_factory=cache.root)

    def path(self, absolute: str) -> Path:
        """Where an absolute path is, below ``root``."""
        return self.root / absolute.lstrip("/")

    def exists(self, path: Path) -> bool:
        """Whether it is there and in sight: below a directory that is closed to us, nothing is."""
        try:
            return path.exists()
        except OSError:  # Python 3.11 raises where a parent may not be searched
            return False

    @property
    def binfmt(self) -> Path:
        """Where binfmt_misc is, or would be mounted."""
        return self.path(str(binfmt.BINFMT_MISC))

    @property
    def native(self) -> Platform | None:
        """The platform that needs no emulation; None where it is not one under test."""
        return Platform.host()

    @property
    def kernel(self) -> str:
        """The kernel's release, as the engine tells it too."""
        return os.uname().release

    @property
    def node(self) -> str:
        """This machine's name, as its engine tells it too."""
        return os.uname().nodename

    @property
    def is_root(self) -> bool:
        """Whether this process may change the machine."""
        return os.geteuid() == 0

    @property
    def is_debian(self) -> bool:
        """Debian, Ubuntu, or one that says it is like them."""
        try:
            lines = self.path("/etc/os-release").read_text().splitlines()
        except OSError:
            return False
        fields = dict(line.partition("=")[::2] for line in lines)
        ids = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        return "debian" in ids or "ubuntu" in ids

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs here; being installed is not enough."""
        return self.exists(self.path("/run/systemd/system"))

    def _environment(self) -> dict[str, str]:
        return {**self.env, "PATH": os.pathsep.join((self.env.get("PATH") or os.defpath, *_SBIN))}

    def which(self, program: str) -> str | None:
        """Path of a program, one for root alone included."""
        return shutil.which(program, path=self._environment()["PATH"])

    def run(self, *argv: str, **extra: str) -> tuple[int, str]:
        """Exit code and merged output of a command; ``extra`` adds to its environment."""
        try:
            done = subprocess.run(
                argv,
                env={**self._environment(), **extra},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            return 127, str(error)
        return done.returncode, done.stdout

    def spawn(self, argv: Sequence[str], log: Path) -> Callable[[], int | None]:
        """Start a daemon in a session of its own; what comes back polls its exit code."""
        with log.open("ab") as output:
            daemon = subprocess.Popen(
                argv,
                cwd="/",
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it must outlive this program and its terminal
            )
        return daemon.poll

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def disk_free(self, path: Path) -> int:
        """Bytes free where ``path`` is, or would be."""
        while not self.exists(path) and path != path.parent:
            path = path.parent
        return shutil.disk_usage(path).free

    @property
    def engine_address(self) -> engine.Address | None:
        """What ``DOCKER_HOST`` or a Docker context names; None for the usual sockets.

        None, too, where that cannot be read: asking the engine says so.
        """
        try:
            return engine.named(self.env)
        except HarnessError:
            return None

    def engine(self) -> Engine | NoEngine:
        """Ask the engine that ``DOCKER_HOST`` or a Docker context names, or a usual one."""
        try:
            client = engine.connect(self.env, timeout=ENGINE_SECONDS)
            try:
                version, info = client.version(), client.info()
            finally:
                client.close()
        except HarnessError as error:
            return NoEngine(why=_silence(error), message=error.problem, advice=error.advice)
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            return NoEngine(why=_silence(error), message=str(error))
        return Engine(
            name=engine.name(version),
            version=str(version.get("Version", "?")),
            arch=str(version.get("Arch", "?")),
            storage=str(info.get("Driver", "?")),
            data_root=str(info.get("DockerRootDir", "")),
            kernel=str(info.get("KernelVersion", "")),
            node=str(info.get("Name", "")),
            address=client.address,
            security=engine.security(info),
        )

    def is_elsewhere(self, found: Engine | NoEngine) -> bool:
        """Whether it runs under another kernel: a remote one, or one in a virtual machine."""
        if isinstance(found, Engine):
            this = (self.kernel, self.node)
            return not engine.runs_here(found.address, (found.kernel, found.node), this)
        return self.engine_address is not None and not self.engine_address.is_socket

    def probe(self, url: str) -> int | str:
        """HTTP status of a URL, or why there was none."""
        verify = network.certificates(self.env)
        try:
            with requests.get(url, timeout=PROBE_SECONDS, stream=True, verify=verify) as answer:
                return answer.status_code
        except requests.exceptions.SSLError:
            return "its certificate is not trusted here"
        except requests.exceptions.ProxyError:
            return "the proxy refuses"
        except requests.exceptions.Timeout:
            return _LATE
        except (requests.RequestException, OSError, ValueError):
            return "no connection"

    def probe_all(self, urls: Iterable[str]) -> Callable[[], dict[str, int | str]]:
        """Probe all at once; what comes back waits for the answers, as long as they may take."""
        answers: dict[str, int | str] = dict.fromkeys(urls, _LATE)

        def ask(url: str) -> None:
            answers[url] = self.probe(url)

        # Daemon threads: a silent name server must not hold up the end of the program.
        threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in answers]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PROBE_SECONDS + 1

        def wait() -> dict[str, int | str]:
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            return dict(answers)

        return wait

    def fetch_qemu(self, platform: Platform) -> Path:
        """A static QEMU of Debian 13 in the cache. Raises HarnessError."""
        from harness.debian import fetch_qemu  # late: only a repair needs mmdebstrap's module

        return fetch_qemu(platform)


def _silence(error: BaseException) -> Silence:
    """Tell a socket that nobody serves from one that is not ours, by what lies beneath."""
    for cause in causes(error):
        if isinstance(cause, PermissionError):
            return Silence.DENIED
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return Silence.NOBODY
    return Silence.OTHER
