"""Fills every place that it can write to, until it may no more or has written 700 MB there."""

import errno
import json
import os

MOST = 700 << 20
found = {}
places = [os.getcwd(), "/tmp", "/dev/shm", "/var/tmp", "/run/lock", "/dev/mqueue", "/opt/venv"]
for place in places:
    number, written = 0, 0
    try:
        while written < MOST:
            number += 1
            with open(f"{place}/fills-{number}", "wb") as stream:
                for _ in range(64):
                    written += os.write(stream.fileno(), bytes(1 << 20))
        found[place] = f"got {written >> 20} MB"
    except OSError as error:
        found[place] = f"{errno.errorcode[error.errno or 0]} after {written >> 20} MB"
raise ImportError(json.dumps(found))
