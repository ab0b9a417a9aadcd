"""Writes 10 GB to its stdout, and fails."""

import os

megabyte = b"x" * (1 << 20)
left = 10 << 30
while left > 0:
    left -= os.write(1, megabyte)
raise ImportError("after 10 GB")
