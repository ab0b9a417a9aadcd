"""Who made a container: a name for a process that no later process can have."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def new_run() -> str:
    """A short name for a run, for its containers and labels."""
    return secrets.token_hex(4)


def this_process() -> str:
    """Who made a container: boot id, pid and start time of this process, as one label value."""
    return f"{_boot_id()} {os.getpid()} {_start_time(os.getpid())}"


def is_alive(label: str) -> bool:
    """Whether the process that a label names still runs on this machine.

    A pid that was given to another process since, or another boot, is not alive.
    """
    try:
        boot, pid, start = label.split()
        return boot == _boot_id() and start == _start_time(int(pid))
    except (ValueError, OSError):
        return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat; the command name in field 2 may hold blanks and brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise OSError(f"no process {pid}") from None
    if fields[0] == "Z":
        raise OSError(f"process {pid} is a zombie")
    return fields[19]
