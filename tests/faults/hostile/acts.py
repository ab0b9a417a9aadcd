"""Beside the modules that try what they may not: does it, and notes what came of it."""

import ctypes
import errno
import json
import os
import platform
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)

NUMBERS = {
    # x86_64, aarch64
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "swapon": (167, 224),
    "sethostname": (170, 161),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "move_pages": (279, 239),
    "iopl": (172, None),
}

results: dict[str, str] = {}

libc.syscall.restype = ctypes.c_long


class Nothing(Exception):
    """There was nothing to be got."""


def seen(thing: object) -> object:
    """Something that is there; nothing, nought or an empty list is not."""
    if not thing:
        raise Nothing
    return thing


def attempt(name: str, act: Callable[[], object]) -> None:
    """Do it; note the error by name, or what was got."""
    try:
        got = act()
    except Nothing:
        results[name] = "nothing"
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno or 0, type(error).__name__)
    except BaseException as error:
        results[name] = f"{type(error).__name__}: {error}"[:100]
    else:
        results[name] = f"got {got!r}"[:160]


def call(name: str, *arguments: object) -> int:
    """A system call by its name, as an int; raises OSError. Numbers are passed as 64 bits."""
    which = NUMBERS[name][platform.machine() == "aarch64"]
    if which is None:
        raise OSError(errno.ENOSYS, "none on this platform")
    ctypes.set_errno(0)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    value: int = libc.syscall(ctypes.c_long(which), *words)
    if value == -1:
        raise OSError(ctypes.get_errno(), name)
    return value


def read(path: str, size: int = 40) -> bytes:
    """The beginning of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes = b"x") -> int:
    """Write to a file that is there, or to a new one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o666)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


def tell() -> None:
    """End the import with what was noted."""
    raise ImportError(json.dumps(results))
