"""Looks for what can be seen of the host: variables, names, processes, mounts, hardware."""

import os
import re

from acts import attempt, read, seen, tell

GIVEN = {"HOME", "HOSTNAME", "LANG", "PATH"}


def processes() -> list[str]:
    """Those that are neither the first nor a sample's."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            with open(f"/proc/{name}/status") as stream:
                users = next(line.split()[1:] for line in stream if line.startswith("Uid:"))
            if any(int(user) < 64_000 for user in users):
                found.append(name)
    return found


def mounts() -> list[str]:
    """Paths of the host from which something is mounted."""
    with open("/proc/self/mountinfo") as stream:
        fields = [line.split() for line in stream]
    return sorted({root for _, _, _, root, point, *_ in fields if point.startswith("/opt/ext")})


def layers() -> int:
    """Paths of the host that the root file system is made of."""
    with open("/proc/self/mountinfo") as stream:
        return sum(line.count("lowerdir=") for line in stream)


def kernel_command() -> object:
    """By what the host was started."""
    return seen(read("/proc/cmdline"))


attempt("variables of the host", lambda: seen(sorted({*os.environ} - GIVEN)))
attempt("the home of a user", lambda: seen(os.environ["HOME"] != "/tmp" and os.environ["HOME"]))
attempt("the name of the host", lambda: seen(not re.fullmatch("[0-9a-f]{12}", os.uname().nodename)))
attempt("processes of the host", lambda: seen(processes()))
attempt("files of the host's root", lambda: os.listdir("/proc/1/root/root"))
attempt("paths of mounts, as text", lambda: len(mounts()))
attempt("paths of layers, as text", lambda: seen(layers()))
attempt("the kernel's version", lambda: os.uname().release)
attempt("the kernel's command line", kernel_command)
attempt("the memory that the host has", lambda: read("/proc/meminfo", 40).split()[1].decode())
attempt("the command of the first process", lambda: read("/proc/1/cmdline", 40).decode())
tell()
