"""Writes 10 GB to the descriptor that reports go to, and fails."""

import os
import stat

megabyte = b"x" * (1 << 20)
pipes = [
    int(name)
    for name in os.listdir("/proc/self/fd")
    if int(name) > 2
    and os.path.exists("/proc/self/fd/" + name)
    and stat.S_ISFIFO(os.stat("/proc/self/fd/" + name).st_mode)
]
left = 10 << 30
while left > 0:
    left -= os.write(pipes[0], megabyte)
raise ImportError("after 10 GB")
