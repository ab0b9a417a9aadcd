"""Tries devices: those of the host by name, and new ones by number."""

import os
import stat
from functools import partial

from acts import attempt, read, seen, tell, write


def make(kind: int, major: int, minor: int) -> str:
    path = "/tmp/device"
    os.mknod(path, kind | 0o666, os.makedev(major, minor))
    os.unlink(path)
    return "a device"


for name in (
    *("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1"),
    *("/dev/kvm", "/dev/fuse", "/dev/loop-control", "/dev/loop0", "/dev/dri/card0", "/dev/input"),
    *("/dev/vhost-net", "/dev/snapshot", "/dev/console", "/dev/tty", "/dev/ptmx/0", "/dev/hwrng"),
):
    attempt(f"read {name}", partial(read, name))
for name in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/console"):
    attempt(f"write {name}", partial(write, name))
attempt("make /dev/mem (1, 1)", partial(make, stat.S_IFCHR, 1, 1))
attempt("make a disk (8, 0)", partial(make, stat.S_IFBLK, 8, 0))
attempt("make a virtual disk (254, 0)", partial(make, stat.S_IFBLK, 254, 0))
attempt("make /dev/null (1, 3)", partial(make, stat.S_IFCHR, 1, 3))
OWN = {
    *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue"),
    *("stdin", "stdout", "stderr", "fd", "core", "console"),
}
attempt(
    "devices other than the engine gives all", lambda: seen(sorted({*os.listdir("/dev")} - OWN))
)
tell()
