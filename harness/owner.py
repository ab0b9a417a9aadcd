"""Who made a container: a name for a process that no later process can have."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def new_run() -> str:
    """A short name for a run, for its containers and labels."""
    return secrets.token_hex(4)


def this_process() -> str:
    """This process's name: machine, boot, pid namespace, pid and start time, as a label value."""
    return " ".join([*_here(), str(os.getpid()), _start_time(os.getpid())])


def is_alive(label: str) -> bool:
    """Whether the process that a label names may still run.

    Only what this process can see is called dead: a pid that is gone or was given to another
    process since, or an earlier boot of this machine. A process of another machine that uses the
    same engine, or of another container, is none of ours to judge.
    """
    match label.split():
        case [machine, boot, namespace, pid, start] if pid.isdigit():
            here = _here()
            if machine != here[0]:
                return True
            if boot != here[1]:
                return False
            if namespace != here[2]:
                return True
            try:
                return start == _start_time(int(pid))
            except OSError:
                return False
        case _:
            return True


def _here() -> tuple[str, str, str]:
    """This machine, its boot, and this process's pid namespace."""

    def read(path: str) -> str:
        try:
            return Path(path).read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "unknown"
    return read("/etc/machine-id"), read("/proc/sys/kernel/random/boot_id"), namespace


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat; the command name in field 2 may hold blanks and brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise OSError(f"no process {pid}") from None
    if fields[0] == "Z":
        raise OSError(f"process {pid} is a zombie")
    return fields[19]
