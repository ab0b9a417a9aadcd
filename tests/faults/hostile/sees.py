"""Harmless: fails with what a sample can see of the place that it runs in, as JSON."""

import builtins
import hashlib
import json
import os
import resource
import signal
import stat
import sys

MINE = {str(os.getpid()), "1"}

OF_THE_CONTAINER = ("/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run")
"""What a new container has newly."""


def digest(thing: object) -> str:
    return hashlib.sha256(repr(thing).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def files() -> tuple[list[object], list[str]]:
    """All of the file system's entries, and the paths of those that are a sample's."""
    found: list[object] = []
    left = []
    for folder, names, others in os.walk("/"):
        names[:] = sorted(n for n in names if folder != "/" or n not in ("proc", "sys"))
        for name in sorted(names + others):
            path = os.path.join(folder, name)
            if path.startswith(("/dev/pts", "/dev/fd")) or path in OF_THE_CONTAINER:
                continue
            try:
                status = os.lstat(path)
            except OSError as error:
                found.append((path, type(error).__name__))
                continue
            if status.st_uid >= 64_000:
                left.append(path)
            # The time of a folder where others come and go says nothing.
            is_shared = status.st_mode & stat.S_ISVTX or not stat.S_ISREG(status.st_mode)
            when = None if is_shared else status.st_mtime_ns
            size = None if stat.S_ISDIR(status.st_mode) else status.st_size
            found.append((path, status.st_mode, status.st_uid, status.st_gid, size, when))
    return found, left


def processes() -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name not in MINE:
            try:
                with open(f"/proc/{name}/status", errors="replace") as stream:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in stream)
            except (OSError, ValueError):
                continue
            if int(status["Uid"].split()[0]) >= 64_000:
                found.append(f"{status['Name']} of {status['Uid'].split()[0]}")
    return found


def text(path: str) -> list[str]:
    try:
        with open(path, errors="replace") as stream:
            return stream.read().splitlines()
    except OSError as error:
        return [type(error).__name__]


def listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return [type(error).__name__]


every, left = files()
limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
seen = {
    "files": digest(every),
    "files of samples": left[:20],
    "processes of samples": processes()[:20],
    "shared memory": len(text("/proc/sysvipc/shm")) - 1,
    "semaphores": len(text("/proc/sysvipc/sem")) - 1,
    "queues": len(text("/proc/sysvipc/msg")) - 1,
    "POSIX queues": listed("/dev/mqueue"),
    "listeners": len(text("/proc/net/tcp")) + len(text("/proc/net/unix")),
    "container": os.environ.pop("HOSTNAME", ""),
    "environment": digest(sorted(os.environ.items())),
    "modules": digest(sorted(sys.modules)),
    "builtins": digest([(name, type(getattr(builtins, name)).__name__) for name in dir(builtins)]),
    "path": sys.path[:-1],
    "finders": len(sys.meta_path) + len(sys.path_hooks),
    "limits": digest([(name, resource.getrlimit(getattr(resource, name))) for name in limits]),
    "signals": digest(
        [str(signal.getsignal(n)) for n in signal.valid_signals()]
        + [str(signal.pthread_sigmask(signal.SIG_BLOCK, []))]
    ),
    "priority": os.getpriority(os.PRIO_PROCESS, 0),
    "processors": sorted(os.sched_getaffinity(0)),
    "mask of files": os.umask(0o22),
    "directory": os.getcwd(),
    "descriptors": listed("/proc/self/fd"),
}
raise ImportError(json.dumps(seen))
