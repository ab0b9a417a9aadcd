"""Leaves 2,000 directories in /tmp, each in the one before."""

import os

os.chdir("/tmp")
for _ in range(2_000):
    os.mkdir("deeper")
    os.chdir("deeper")
raise ImportError("made directories")
