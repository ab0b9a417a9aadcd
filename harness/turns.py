"""Taking turns with other processes: a lock file is waited for, and whoever waits long says so.

The kernel lets go of a dead process's lock, so one that is not to be had is held by a live one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from harness.interruption import RUNS
from harness.why import printable

PATIENCE = 5.0
"""Seconds that are waited without a word."""

AGAIN = 60.0
"""Seconds between two words about the same lock."""

_LOOK = 0.2
"""Seconds between two looks at whether a signal has come."""

Say = Callable[[str], None]


class Teller:
    """Whom to tell that something is waited for; nobody at first."""

    def __init__(self) -> None:
        self.say: Say = lambda line: None


TELLER = Teller()
"""This process's."""


@contextmanager
def turn(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file, waiting as long as another process has it.

    ``what`` says what that other one is at, such as ``makes wheels/0133518f51ca``. Raises
    :class:`harness.interruption.Interrupted` where a signal comes meanwhile.
    """
    held = FileLock(lock)
    start = time.monotonic()
    said = start + PATIENCE - AGAIN
    while True:
        try:
            held.acquire(timeout=_LOOK)
            break
        except Timeout:
            RUNS.check()
        if (now := time.monotonic()) - said >= AGAIN:
            said = now
            pids = holders(lock)
            if os.getpid() not in pids:  # else it is another thread of this one
                who = ", ".join(map(str, pids)) or "not known"
                TELLER.say(
                    f"waiting for another process that {printable(what)} "
                    f"(process {who}; {now - start:.0f} s so far)"
                )
    try:
        yield
    finally:
        held.release()


def holders(lock: Path, table: Path = Path("/proc/locks")) -> tuple[int, ...]:
    """Pids of whoever holds a lock file, as far as the kernel tells them here."""
    with suppress(OSError):
        about = lock.stat()
        place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
        lines = [line.split() for line in table.read_text().splitlines()]
        # 1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF; of who waits with -> before FLOCK.
        return tuple(
            int(words[4])
            for words in lines
            if len(words) > 5 and words[1] == "FLOCK" and words[5] == place
        )
    return ()
