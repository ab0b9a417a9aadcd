"""Tries to read, write, trace and change the agent, which is the first process."""

import ctypes
import os
import signal
from functools import partial

from acts import attempt, call, read, tell, write

buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
other = (ctypes.c_void_p * 2)(0x400000, 64)


def descriptors() -> str:
    return ", ".join(os.listdir("/proc/1/fd"))


attempt("its memory (/proc/1/mem)", partial(read, "/proc/1/mem"))
attempt("write to its memory", partial(write, "/proc/1/mem"))
attempt("its environment", partial(read, "/proc/1/environ"))
attempt("its mappings", partial(read, "/proc/1/maps"))
attempt("its root (/proc/1/root)", lambda: os.listdir("/proc/1/root"))
attempt("its directory", lambda: os.listdir("/proc/1/cwd"))
attempt("its descriptors", descriptors)
attempt("write to its output", partial(write, "/proc/1/fd/1", b'{"id": 1}\n'))
attempt("take its input", partial(read, "/proc/1/fd/0"))
attempt("its stack", partial(read, "/proc/1/stack"))
attempt("its system call", partial(read, "/proc/1/syscall"))
attempt("its namespaces", lambda: os.open("/proc/1/ns/mnt", os.O_RDONLY))
attempt("ptrace: attach", partial(call, "ptrace", 16, 1, 0, 0))
attempt("ptrace: seize", partial(call, "ptrace", 0x4206, 1, 0, 0))
attempt("process_vm_readv", lambda: call("process_vm_readv", 1, vector, 1, other, 1, 0))
attempt("SIGKILL", partial(os.kill, 1, signal.SIGKILL))
attempt("SIGSTOP", partial(os.kill, 1, signal.SIGSTOP))
attempt("SIGTERM", partial(os.kill, 1, signal.SIGTERM))
attempt("its group", partial(os.killpg, 1, signal.SIGKILL))
attempt("pidfd: send SIGKILL", lambda: call("pidfd_send_signal", call("pidfd_open", 1, 0), 9, 0, 0))
attempt("pidfd: take a descriptor", lambda: call("pidfd_getfd", call("pidfd_open", 1, 0), 1, 0))
attempt("its priority", partial(os.setpriority, os.PRIO_PROCESS, 1, 19))
attempt("its processors", partial(os.sched_setaffinity, 1, {0}))
attempt("its limits", lambda: __import__("resource").prlimit(1, 7, (3, 3)))
attempt("have it killed first", partial(write, "/proc/1/oom_score_adj", b"1000"))
attempt("never be killed first", partial(write, "/proc/self/oom_score_adj", b"-1000"))
attempt("move its pages", partial(call, "move_pages", 1, 1, vector, 0, buffer, 0))
tell()
