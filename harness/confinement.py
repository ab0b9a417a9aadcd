"""What a container that runs strangers' code may do.

docs/threat-model.md says against what this stands, and what of it the tests have seen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import docker
from docker.types import LogConfig, Ulimit

from harness import engine
from harness.errors import ConfigurationError
from harness.limits import PROCESSES, Limits
from harness.sizes import parse_size
from harness.why import printable

RUNTIME_VARIABLE = "PBS_MATRIX_RUNTIME"
"""Names the engine's runtime for containers with strangers' code, such as ``runsc``."""


MOST_OF_A_USER = 4096
"""Processes that a user may have, in all containers of the machine together."""


def confinement(
    run: str, owner: str, *, memory: str, processes: int = PROCESSES, runtime: str | None = None
) -> dict[str, Any]:
    """What the engine is told of every container that runs strangers' code, and by whom to reap.

    ``memory`` is a size such as 1GiB; ``runtime`` as :func:`chosen_runtime` has it.
    """
    limit = parse_size(memory)
    return {
        "labels": {engine.KIND: "cell", engine.RUN: run, engine.OWNER: owner},
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": limit,
        "memswap_limit": limit,
        "pids_limit": processes,
        # The user's proxies and the like are no business of theirs.
        "use_config_proxy": False,
        **({"runtime": runtime} if runtime else {}),
    }


def attended(
    run: str, owner: str, limits: Limits, *, cpus: float | None, runtime: str | None = None
) -> dict[str, Any]:
    """The same of a container that has an agent and imports samples, with its limits.

    ``cpus``: as :func:`cpus` has them.
    """
    file_size = parse_size(limits.file_size)
    return {
        **confinement(
            run, owner, memory=limits.memory, processes=limits.processes, runtime=runtime
        ),
        "read_only": True,
        # Shared memory goes with the last process that has it.
        "sysctls": {"kernel.shm_rmid_forced": "1"},
        # Of the container, where it is nobody else's. Docker would forbid programs there, and to
        # run one that is mapped is no more than to run one that is written to memory.
        "tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={parse_size(limits.tmp)}"},  # noqa: S108
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=file_size, hard=file_size),
            Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
            # Above what any sample may have. Podman 4.3 forgets its own where others are given, and
            # then asks for as many as it may not set.
            Ulimit(name="nproc", soft=MOST_OF_A_USER, hard=MOST_OF_A_USER),
        ],
        **({"nano_cpus": int(cpus * 1e9)} if cpus else {}),
        "stdin_open": True,
        # For the agent, which gives each of its children a user of its own, and no capability.
        "cap_add": ["SETUID", "SETGID", "KILL"],
        "environment": {"HOME": "/tmp", "LANG": "C.UTF-8"},  # noqa: S108 - as above
        # What it says is for the one who attends it, and kept by nobody else.
        "log_config": LogConfig(type="none"),
    }


def cpus(client: docker.DockerClient, limits: Limits) -> float | None:
    """How many CPUs a container is limited to; None where it may have, or can but have, all."""
    info = engine.info(client)
    there = info.get("NCPU")
    can_limit = info.get("CpuCfsQuota") is not False
    return limits.cpus if can_limit and isinstance(there, int) and limits.cpus < there else None


def chosen_runtime(
    client: docker.DockerClient,
    named: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """The runtime that was ``named``, or that :data:`RUNTIME_VARIABLE` names; None for neither.

    Raises :class:`ConfigurationError` where the engine has none of that name.
    """
    given = os.environ if environment is None else environment
    wanted = named or given.get(RUNTIME_VARIABLE) or None
    if wanted is None:
        return None
    there = engine.info(client).get("Runtimes")
    names = sorted(there) if isinstance(there, Mapping) else []
    if wanted not in names:
        raise ConfigurationError(
            f"the engine has no runtime {printable(wanted)}: it has "
            f"{', '.join(map(printable, names)) or 'none that it names'}",
            advice="Install that runtime and add it to the engine's configuration "
            "(docs/threat-model.md), or leave --runtime out.",
        )
    return wanted
