"""Leaves up to 5,000 files in /tmp, with names that are no UTF-8 and have control characters."""

import os

made = 0
os.mkdir(b"/tmp/many\xff\n\x1b[31m")
try:
    for number in range(5_000):
        with open(b"/tmp/many\xff\n\x1b[31m/\xfe%d" % number, "wb"):
            made += 1
except OSError:
    pass
os.chmod(b"/tmp/many\xff\n\x1b[31m", 0)
raise ImportError("made files")
