"""Tries system calls that an import has no use for."""

import ctypes
import os
from functools import partial

from acts import attempt, call, tell

text = ctypes.create_string_buffer(b"/tmp")
none = ctypes.create_string_buffer(b"none")
tmpfs = ctypes.create_string_buffer(b"tmpfs")
block = ctypes.create_string_buffer(256)
NEW_USER, NEW_MOUNT, NEW_NET, NEW_PID = 0x10000000, 0x20000, 0x40000000, 0x20000000

attempt("mount a tmpfs", partial(call, "mount", none, text, tmpfs, 0, 0))
attempt("mount /proc anew", partial(call, "mount", none, text, b"proc\0", 0, 0))
attempt("mount / to be written", partial(call, "mount", none, b"/\0", none, 0x1020, 0))
attempt("umount", partial(call, "umount2", b"/proc/kcore\0", 2))
attempt("pivot_root", partial(call, "pivot_root", text, text))
attempt("chroot", partial(call, "chroot", text))
attempt("unshare: users", partial(call, "unshare", NEW_USER))
attempt("unshare: mounts", partial(call, "unshare", NEW_MOUNT))
attempt("unshare: network", partial(call, "unshare", NEW_NET))
attempt("unshare: processes", partial(call, "unshare", NEW_PID))
attempt("setns", lambda: call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0))
attempt("fsopen", partial(call, "fsopen", tmpfs, 0))
attempt("open_tree", partial(call, "open_tree", -100, text, 1))
attempt("open_by_handle_at", partial(call, "open_by_handle_at", -100, block, 0))
attempt("keyctl: own session", partial(call, "keyctl", 0, -3, 1))
attempt("add_key", partial(call, "add_key", b"user\0", b"x\0", b"x", 1, -4))
attempt("bpf", partial(call, "bpf", 0, block, 72))
attempt("perf_event_open", partial(call, "perf_event_open", block, 0, -1, -1, 0))
attempt("kexec_load", partial(call, "kexec_load", 0, 0, 0, 0))
attempt("init_module", partial(call, "init_module", block, 256, b"\0"))
attempt("delete_module", partial(call, "delete_module", b"loop\0", 0))
attempt("reboot", partial(call, "reboot", 0xFEE1DEAD, 672274793, 0, 0))
attempt("syslog: read all", partial(call, "syslog", 3, block, 256))
attempt("swapon", partial(call, "swapon", text, 0))
attempt("sethostname", partial(call, "sethostname", b"x", 1))
attempt("settimeofday", partial(call, "settimeofday", block, 0))
attempt("clock_settime", partial(call, "clock_settime", 0, block))
attempt("acct", partial(call, "acct", 0))
attempt("quotactl", partial(call, "quotactl", 0x80000700, none, 0, block))
attempt("userfaultfd", partial(call, "userfaultfd", 0))
attempt("io_uring", partial(call, "io_uring_setup", 1, block))
attempt("iopl", partial(call, "iopl", 3))
tell()
