"""Kills the first process, its parent, every process by number, and all at once; for 2 seconds."""

import json
import os
import signal
import time

refused: dict[str, int] = {}
killed: list[int] = []
# Its own ones: an emulator has threads of which Python does not know.
own = {int(name) for name in os.listdir("/proc/self/task")}
end = time.monotonic() + 2
while time.monotonic() < end:
    for pid in [1, os.getppid(), *range(2, 400)]:
        if pid in own:
            continue
        for number in (signal.SIGSTOP, signal.SIGKILL):
            try:
                os.kill(pid, number)
                killed.append(pid)
            except OSError as error:
                refused[type(error).__name__] = refused.get(type(error).__name__, 0) + 1
    for number in (signal.SIGSTOP, signal.SIGKILL):
        try:
            os.kill(-1, number)  # succeeds, although it reaches nobody
        except OSError as error:
            refused[type(error).__name__] = refused.get(type(error).__name__, 0) + 1
raise ImportError(json.dumps({"killed": killed[:20], "refused": sorted(refused)}))
