"""Replaces what ends a process, and what writes, so that the caller goes on; and fails."""

import os


def nothing(*_: object) -> int:
    return 0


os._exit = nothing
os.write = nothing
raise ImportError("really")
