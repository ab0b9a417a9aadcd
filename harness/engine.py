"""The container engine: finding it, and telling its failures."""

from __future__ import annotations

import os

import docker
import requests
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from harness import cache, errors
from harness.errors import EngineMissingError, EnginePermissionError, HarnessError, causes

LABEL = "pbs-matrix"
"""Prefix of every label. Clean-up touches nothing that does not carry ``pbs-matrix.kind``."""

KIND, RUN, OWNER = f"{LABEL}.kind", f"{LABEL}.run", f"{LABEL}.owner"

TIMEOUT = 600
"""Seconds that one answer of the engine may take; a quiet build step under emulation is slow."""


def connect() -> docker.DockerClient:
    """A client of the engine that ``DOCKER_HOST`` names, else of the local socket.

    Raises :class:`EngineMissingError` or :class:`EnginePermissionError`.
    """
    where = os.environ.get("DOCKER_HOST", "the local engine's socket")
    try:
        client = docker.from_env(timeout=TIMEOUT)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        beneath = list(causes(error))
        if any(isinstance(cause, PermissionError) for cause in beneath):
            raise EnginePermissionError(
                f"a container engine is there, but this user may not talk to it ({where})",
                advice="Run as root, or join the engine's group: usermod -aG docker $USER, "
                "then log in again.",
            ) from error
        raise EngineMissingError(
            f"no container engine answers ({where}): {beneath[-1]}",
            advice="`pbs-matrix doctor --fix` installs and starts one as root on Debian or "
            "Ubuntu, and prints the commands elsewhere.",
        ) from error
    return client


def translated(error: Exception, doing: str) -> HarnessError:
    """The error of an engine call, in words."""
    said = _said(error)
    if "no space left on device" in said.lower():
        return cache.disk_full("the engine's images")
    if isinstance(error, requests.ConnectionError):
        return EngineMissingError(
            f"{doing}: the engine stopped answering: {said}",
            advice="Start it again (`pbs-matrix doctor --fix`), and run again.",
        )
    return errors.BuildError(f"{doing}: {said}", advice="`pbs-matrix doctor` checks the engine.")


def _said(error: Exception) -> str:
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


def is_here(client: docker.DockerClient) -> bool:
    """Whether the engine runs under this machine's kernel: not remote, not in a virtual machine."""
    try:
        return str(client.info().get("KernelVersion")) == os.uname().release
    except (DockerException, requests.RequestException) as error:
        raise translated(error, "asking the engine where it runs") from error
