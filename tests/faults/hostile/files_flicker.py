"""Leaves three processes that make files in /tmp and remove them, as fast as they can."""

import os

for number in range(3):
    if os.fork() == 0:
        os.setsid()
        while True:
            path = f"/tmp/flicker-{number}"
            with open(path, "w"):
                os.unlink(path)
raise ImportError("files flicker")
