"""Leaves four processes that go on writing to its output and its reports, and ends."""

import os
import stat

megabyte = b"x" * (1 << 20)
for name in os.listdir("/proc/self/fd"):
    path = "/proc/self/fd/" + name
    if not os.path.exists(path) or not stat.S_ISFIFO(os.stat(path).st_mode):
        continue
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            while True:
                os.write(int(name), megabyte)
os._exit(0)
