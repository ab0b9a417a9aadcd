"""Tries to become somebody else, by calls and by setuid programs."""

import os
import shutil
import stat
import subprocess
import time
from functools import partial

from acts import attempt, libc, seen, tell


def status(key: str) -> str:
    with open("/proc/self/status") as stream:
        return next(line.split()[1] for line in stream if line.startswith(key + ":"))


def users(*command: str) -> set[int]:
    """As which users a program runs."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.2)
        with open(f"/proc/{process.pid}/status") as stream:
            line = next(line for line in stream if line.startswith("Uid:"))
        return {int(word) for word in line.split()[1:]}
    finally:
        process.kill()
        process.wait()


def own_copy() -> object:
    """A copy of a program with its setuid bit set, run: as somebody else?"""
    shutil.copy(os.path.realpath("/bin/sh"), "/tmp/shell")
    os.chmod("/tmp/shell", 0o6777)
    try:
        return seen(users("/tmp/shell", "-p") - {os.getuid()})
    finally:
        os.unlink("/tmp/shell")


def of_the_image() -> object:
    """Programs of the image with a setuid or setgid bit that run as somebody else."""
    found = []
    for top in ("/bin", "/sbin", "/usr", "/opt/venv", "/lib"):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(path)
    return seen([path for path in found if users(path) - {os.getuid()}])


def clear() -> int:
    """Put no-new-privileges off."""
    if libc.prctl(38, 0, 0, 0, 0):
        raise OSError(22, "PR_SET_NO_NEW_PRIVS")
    return 0


attempt("setuid(0)", partial(os.setuid, 0))
attempt("setgid(0)", partial(os.setgid, 0))
attempt("setresuid(0, 0, 0)", partial(os.setresuid, 0, 0, 0))
attempt("setgroups", partial(os.setgroups, [0]))
attempt("another sample's user", partial(os.setuid, 64000 + (os.getuid() - 64000 + 1) % 200))
attempt("capabilities held", lambda: seen(int(status("CapPrm"), 16)))
attempt("capabilities in effect", lambda: seen(int(status("CapEff"), 16)))
attempt("capabilities to inherit", lambda: seen(int(status("CapInh"), 16)))
attempt("ambient capabilities", lambda: seen(int(status("CapAmb"), 16)))
attempt("groups beside its own", lambda: seen({*os.getgroups()} - {os.getgid()}))
attempt("run without no-new-privileges", lambda: seen(status("NoNewPrivs") == "0"))
attempt("run without seccomp", lambda: seen(status("Seccomp") != "2"))
attempt("put no-new-privileges off", clear)
attempt("a setuid copy of a program", own_copy)
attempt("setuid programs of the image", of_the_image)
attempt("a file of root's", lambda: os.chown("/proc/self/fd/0", 0, 0))
attempt("a higher priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt("real-time scheduling", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
tell()
