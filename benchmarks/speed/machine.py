"""On what was measured, for the record."""

from __future__ import annotations

import os
import re
from pathlib import Path

import docker
from pydantic import BaseModel, ConfigDict

from harness import engine, preparing
from harness.platforms import Platform

CPUINFO = Path("/proc/cpuinfo")


class Machine(BaseModel):
    """Ratios of two machines can be compared, seconds of one with another's cannot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str
    cpus: int
    """That this process may use."""
    engine: str
    emulators: dict[str, str]
    """Version of QEMU by platform, where one is emulated."""
    load: float
    """Processes that wanted to run in the minute before the start, on average."""

    @property
    def is_busy(self) -> bool:
        """Whether others take so much of it that the ratios may be off, too."""
        return self.load > 0.5 * self.cpus

    def is_like(self, other: Machine) -> bool:
        """Whether seconds may be compared."""
        mine, its = (m.model_dump(exclude={"load"}) for m in (self, other))
        return mine == its


def this(client: docker.DockerClient) -> Machine:
    """This machine, now."""
    emulators = {str(p): preparing.emulator(p, client) for p in Platform}
    return Machine(
        cpu=cpu_model(CPUINFO.read_text() if CPUINFO.exists() else ""),
        cpus=len(os.sched_getaffinity(0)),
        engine=engine.describe(client),
        emulators={name: version for name, version in emulators.items() if version},
        load=round(os.getloadavg()[0], 2),
    )


def cpu_model(cpuinfo: str) -> str:
    """What the kernel calls the CPU; on ARM it has no name for it."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else os.uname().machine
