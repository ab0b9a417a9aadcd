"""The container engine: finding it, what it is, and telling its failures.

Any engine that speaks Docker's API will do: Docker, or Podman's socket. Nothing here or elsewhere
asks which it is, except to name it; where they differ, what both do is used, with a link.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import docker
import requests
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import APIError, BuildError, DockerException, ImageNotFound
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env
from urllib3.exceptions import HTTPError, ReadTimeoutError

from harness import cache, errors, tunnel
from harness.errors import (
    ConfigurationError,
    EmulationMissingError,
    EngineMissingError,
    EnginePermissionError,
    HarnessError,
    causes,
)
from harness.platforms import Platform
from harness.why import printable

LABEL = "pbs-matrix"
"""Prefix of every label. Clean-up touches nothing that does not carry ``pbs-matrix.kind``."""

KIND, RUN, OWNER = f"{LABEL}.kind", f"{LABEL}.run", f"{LABEL}.owner"

TIMEOUT_VARIABLE = "PBS_MATRIX_ENGINE_TIMEOUT"
"""Seconds that one answer of the engine may take."""

TIMEOUT = 600
"""The same by default; a quiet build step under emulation is slow."""

GREETING = 60
"""Seconds that its first answer may take."""

DEFAULT_SOCKET, PODMAN_SOCKET = "/var/run/docker.sock", "/run/podman/podman.sock"

ERRORS = (DockerException, requests.RequestException, HTTPError)
"""What a call of the engine may raise; the client lets those of the libraries below it through."""

EXEC_FORMAT = "exec format error"
"""What a kernel says of a program of another architecture, in any engine's words."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an engine is: ``url`` as in ``DOCKER_HOST``, and by what it was found."""

    url: str
    found: str = ""
    """``DOCKER_HOST``, or the Docker context; empty for a usual socket."""
    tls: TLSConfig | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return printable(f"{self.url}, by {self.found}" if self.found else self.url)

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket of this machine. Something else may be at its other end."""
        return self.url.startswith(("unix:", "/"))


class Client(docker.DockerClient):  # type: ignore[misc]  # docker has no types
    """A client that knows its engine's address. ``timeout`` is in seconds, for each answer."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        url = address.url
        if url.startswith("ssh:"):
            url = f"unix://{tunnel.to(url).path}"
        super().__init__(base_url=url, tls=address.tls or False, timeout=timeout)
        self.api.send = partial(self._send, self.api.send)

    def _send(self, send: Callable[..., Any], request: Any, **options: Any) -> Any:
        # For a build and for a pull the library would wait for ever.
        if options.get("timeout") is None:
            options["timeout"] = self.api.timeout
        return send(request, **options)


def named(environment: Mapping[str, str] | None = None) -> Address | None:
    """The engine that ``DOCKER_HOST`` or the current Docker context names; None without either.

    As with the docker command, ``DOCKER_CONTEXT`` goes before the context in its configuration,
    and ``DOCKER_HOST`` before both. Raises :class:`EngineMissingError` for a context, or a
    certificate, that cannot be read.
    """
    given = os.environ if environment is None else environment
    if host := given.get("DOCKER_HOST"):
        try:
            tls = kwargs_from_env(given).get("tls")
        except DockerException as error:
            raise EngineMissingError(
                f"the engine's certificates cannot be read: {error}",
                advice="Look at DOCKER_CERT_PATH and DOCKER_TLS_VERIFY.",
            ) from error
        return Address(url=host, found="DOCKER_HOST", tls=tls)
    name = given.get("DOCKER_CONTEXT") or get_current_context_name()
    if name == "default":
        return None
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # docker raises bare ones of a damaged file
        raise _unusable(name, f"cannot be read: {printable(str(error))}") from error
    if context is None:
        raise _unusable(name, "does not exist")
    if not context.Host:
        raise _unusable(name, "names no engine")
    return Address(url=context.Host, found=f"the Docker context {name}", tls=context.TLSConfig)


def _unusable(context: str, why: str) -> EngineMissingError:
    return EngineMissingError(
        f"the Docker context {printable(context)} {why}",
        advice="`docker context ls` lists them, `docker context use` chooses one; or set "
        "DOCKER_HOST, which goes before it.",
    )


def find(environment: Mapping[str, str] | None = None) -> Address:
    """Where the engine is: what :func:`named` says, else a usual socket: the first that answers.

    The usual ones are Docker's, rootless Docker's, rootless Podman's and Podman's, in this order.
    Where none answers, the first that is there; where none is there, Docker's.
    """
    if (address := named(environment)) is not None:
        return address
    given = os.environ if environment is None else environment
    own = given.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    there = []
    for path in (
        DEFAULT_SOCKET,
        f"{own}/docker.sock",
        f"{own}/podman/podman.sock",
        PODMAN_SOCKET,
    ):
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(GREETING)
            try:
                trial.connect(path)
            except FileNotFoundError:
                continue
            except OSError:  # nobody serves it, or it is not ours
                there.append(path)
                continue
        return Address(url=f"unix://{path}")
    return Address(url=f"unix://{next(iter(there), DEFAULT_SOCKET)}")


def connect(
    environment: Mapping[str, str] | None = None, *, timeout: float | None = None
) -> Client:
    """A client of the engine that :func:`find` finds.

    ``timeout``: seconds, for each answer; by default what :data:`TIMEOUT_VARIABLE` says. Raises
    :class:`EngineMissingError`, :class:`EnginePermissionError`, or :class:`ConfigurationError`
    where that is no number of seconds.
    """
    if timeout is None:
        timeout = _timeout(os.environ if environment is None else environment)
    address = find(environment)
    try:
        # It is asked for its version here. That there is none is said sooner than a build step may
        # have to be waited for.
        client = Client(address, min(timeout, GREETING))
    except (*ERRORS, OSError) as error:
        raise _silent(address, error) from error
    client.api.timeout = timeout
    return client


def _timeout(environment: Mapping[str, str]) -> float:
    text = environment.get(TIMEOUT_VARIABLE) or str(TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigurationError(
            f"{TIMEOUT_VARIABLE} is {printable(text)!r}, and not a number of seconds",
            advice=f"Set it to one, or unset it: {TIMEOUT} are waited for then.",
        )
    return seconds


def _silent(address: Address, error: Exception) -> HarnessError:
    beneath = list(causes(error))
    if address.url.startswith("ssh:"):
        return tunnel.to(address.url).failure(printable(str(beneath[-1])))
    if any(isinstance(cause, PermissionError) for cause in beneath):
        return EnginePermissionError(
            f"a container engine is there, but this user may not talk to it ({address})",
            advice="Run as root, or join the engine's group: usermod -aG docker $USER, "
            "then log in again.",
        )
    if any(isinstance(cause, _ODD) for cause in beneath):
        return EngineMissingError(
            f"what answers at {address} is no container engine, or it is out of order: "
            f"{printable(_raw(error))[:200]}",
            advice="Look at what serves that address, or name another engine with DOCKER_HOST.",
        )
    why = printable(str(beneath[-1]))
    if any(isinstance(cause, socket.gaierror) for cause in beneath):
        why = f"there is no host of that name ({why})"
    if address.found:
        advice = (
            f"Start that engine, or correct {address.found}, which names it; without that, "
            "`pbs-matrix doctor --fix` installs and starts one here."
        )
    else:
        advice = (
            "`pbs-matrix doctor --fix` installs and starts one as root on Debian or "
            "Ubuntu, and prints the commands elsewhere."
        )
    return EngineMissingError(f"no container engine answers ({address}): {why}", advice=advice)


_ODD = (APIError, requests.exceptions.InvalidJSONError, KeyError)
"""What is beneath where somebody was reached, and said something odd."""


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Have the errors of engine calls told in words."""
    try:
        yield
    except ERRORS as error:
        raise translated(error, doing) from error


def translated(error: Exception, doing: str) -> HarnessError:
    """The error of an engine call, in words."""
    said = _said(error)
    if "no space left on device" in said.lower():
        return cache.disk_full("the engine's images")
    if EXEC_FORMAT in said.lower():
        return EmulationMissingError(
            f"{doing}: the engine's machine cannot run programs of that platform: {said}",
            advice="It needs QEMU in its binfmt_misc, with the flag F; docs/engines.md says how. "
            "Or leave the platform out with --platform.",
        )
    if re.search(r"setting rlimits?\b", said):
        return errors.BuildError(
            f"{doing}: the engine asks for limits that it may not set: {said}",
            advice='Give Podman lower ones: default_ulimits = ["nofile=4096:4096", '
            '"nproc=4096:4096"] under [containers] in /etc/containers/containers.conf.',
        )
    if isinstance(error, requests.Timeout | TimeoutError | ReadTimeoutError):
        return EngineMissingError(
            f"{doing}: the engine has not answered in time: {said}",
            advice="Look at what it is at; where it only takes longer, say how many seconds it may "
            f"with {TIMEOUT_VARIABLE} (by default {TIMEOUT}).",
        )
    if isinstance(error, requests.JSONDecodeError | KeyError):
        return EngineMissingError(
            f"{doing}: what answers is no container engine, or speaks another protocol: {said}",
            advice="Look at what serves that address (`pbs-matrix doctor` names it).",
        )
    if isinstance(error, requests.ConnectionError | HTTPError):
        return EngineMissingError(
            f"{doing}: the engine stopped answering: {said}",
            advice="Start it again (`pbs-matrix doctor --fix`), and run again.",
        )
    return errors.BuildError(f"{doing}: {said}", advice="`pbs-matrix doctor` checks the engine.")


def _said(error: Exception) -> str:
    """What an engine says, and the programs in its builds: without colours, or anything else."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", _raw(error))
    return "\n".join(printable(line) for line in re.split(r"\r*\n", plain))


def _raw(error: Exception) -> str:
    if isinstance(error, BuildError):
        log = "".join(
            str(line.get("stream") or line.get("error") or "")
            for line in error.build_log
            if isinstance(line, dict)
        )
        return "\n".join([error.msg, *log.strip().splitlines()[-15:]])
    if isinstance(error, ImageNotFound | APIError):
        return str(error.explanation or error)
    return str(error)


def describe(client: docker.DockerClient) -> str:
    """What the engine is, for the record: ``Docker 20.10.24+dfsg1 (linux/amd64)``."""
    version = _asked(client.version)
    return (
        f"{name(version)} {version.get('Version', '?')} "
        f"({version.get('Os', '?')}/{version.get('Arch', '?')})"
    )


def name(version: Mapping[str, object]) -> str:
    """The name of the engine that gave an answer to ``/version``."""
    components = version.get("Components")
    first = components[0] if isinstance(components, list) and components else {}
    called = str(first.get("Name", "Engine")) if isinstance(first, dict) else "Engine"
    # Docker calls itself so since 2017; others put their name before it.
    return called.removesuffix("Engine").strip() or "Docker"


def platform(client: docker.DockerClient) -> Platform | None:
    """The platform that the engine's machine runs without emulation; None if not one under test.

    It need not be this machine's.
    """
    return Platform.named(str(_asked(client.version).get("Arch")))


def info(client: docker.DockerClient) -> Mapping[str, object]:
    """What the engine says of itself and of its machine (``/info``)."""
    return _asked(client.info)


def lacks_limits(client: docker.DockerClient) -> bool:
    """Whether the engine takes limits of memory and processes, and does not keep to them.

    As it is without root under cgroup v1
    (https://github.com/containers/podman/blob/main/rootless.md); Podman says otherwise of itself.
    """
    its = info(client)
    rootless = bool(its.get("Rootless")) and str(its.get("CgroupVersion")) == "1"
    return rootless or its.get("MemoryLimit") is False


def is_here(client: docker.DockerClient) -> bool:
    """Whether the engine runs under this machine's kernel: not remote, not in a virtual machine."""
    address = getattr(client, "address", None)
    its, this = info(client), os.uname()
    kernel_and_name = (str(its.get("KernelVersion", "")), str(its.get("Name", "")))
    return runs_here(address, kernel_and_name, (this.release, this.nodename))


def security(info: Mapping[str, object]) -> tuple[str, ...]:
    """What an engine says that it keeps containers apart with: ``seccomp``, ``userns``, …."""
    options = info.get("SecurityOptions")
    found = options if isinstance(options, list) else []
    return tuple(str(each).removeprefix("name=").partition(",")[0] for each in found)


def storage(client: docker.DockerClient) -> str | None:
    """The folder in which the engine keeps images and containers, where that is of this machine."""
    place = info(client).get("DockerRootDir")
    return str(place) if place and is_here(client) else None


def can_mount(client: docker.DockerClient) -> bool:
    """Whether containers can be given folders of this machine, to read them where they are.

    Not where SELinux keeps them apart, which would want the folders labelled anew.
    """
    options = info(client).get("SecurityOptions")
    has_selinux = "selinux" in str(options)
    return is_here(client) and not has_selinux


def runs_here(address: Address | None, its: tuple[str, str], this: tuple[str, str]) -> bool:
    """The same, by the kernel's release and the name of the engine's machine and of this one.

    Another machine may well have the same kernel; so over the network it must have this host's
    name too. At a socket it need not: a container that was given the engine's socket has a name of
    its own, but the machine's kernel.
    """
    if its[0] != this[0]:
        return False
    return address is None or address.is_socket or its[1] == this[1]


def _asked(question: object) -> Mapping[str, object]:
    assert callable(question)
    with asking("asking the engine what it is"):
        answer: Mapping[str, object] = question()
    return answer
