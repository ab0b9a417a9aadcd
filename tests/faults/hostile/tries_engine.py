"""Tries the engine's sockets, and what may be seen of the host."""

import os
import socket
from functools import partial

from acts import attempt, read, seen, tell, write


def connect(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.connect(path)
        return "a connection"


for name in (
    *("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"),
    *("/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/user/0/docker.sock"),
    *("/run/systemd/private", "/run/dbus/system_bus_socket"),
    *("\0/containerd-shim", "\0/run/docker.sock"),
):
    attempt(name.replace("\0", "@"), partial(connect, name))
attempt("the runtime's program", partial(write, "/proc/1/exe"))
attempt("the host's core pattern", partial(write, "/proc/sys/kernel/core_pattern", b"|/tmp/x %P"))
attempt("the host's modprobe", partial(write, "/proc/sys/kernel/modprobe", b"/tmp/x"))
attempt("the host's hotplug helper", partial(write, "/sys/kernel/uevent_helper", b"/tmp/x"))
attempt("sysrq", partial(write, "/proc/sysrq-trigger", b"b"))
attempt("binfmt_misc", partial(write, "/proc/sys/fs/binfmt_misc/register", b":x:M::x::/tmp/x:"))
attempt("parameters of the kernel", partial(write, "/proc/sys/kernel/hostname", b"x"))
attempt("parameters of its memory", partial(write, "/proc/sys/vm/overcommit_memory", b"1"))
attempt("addresses in the kernel", lambda: seen(int(read("/proc/kallsyms", 16), 16)))
attempt("memory of the kernel (/proc/kcore)", lambda: seen(read("/proc/kcore")))
attempt("messages of the kernel (/dev/kmsg)", partial(read, "/dev/kmsg"))
attempt("keys of others (/proc/keys)", lambda: seen(read("/proc/keys")))
attempt("timers of others", lambda: seen(read("/proc/timer_list")))
attempt("debugfs", lambda: seen(os.listdir("/sys/kernel/debug")))
attempt("tracefs", lambda: seen(os.listdir("/sys/kernel/tracing")))
attempt("firmware", lambda: seen(os.listdir("/sys/firmware")))
attempt("EFI variables", lambda: seen(os.listdir("/sys/firmware/efi/efivars")))
attempt(
    "a release agent of control groups",
    partial(write, "/sys/fs/cgroup/memory/release_agent", b"/tmp/x"),
)
attempt(
    "a higher limit of memory",
    partial(write, "/sys/fs/cgroup/memory/memory.limit_in_bytes", b"-1"),
)
attempt("a higher limit of memory (v2)", partial(write, "/sys/fs/cgroup/memory.max", b"max"))
attempt("a higher limit of processes", partial(write, "/sys/fs/cgroup/pids/pids.max", b"max"))
attempt("leave the control group", partial(write, "/sys/fs/cgroup/memory/cgroup.procs", b"0"))
tell()
