"""The end of a run that a signal asks for: soon, and with nothing left behind.

The handler raises :class:`Interrupted` in the main thread, as Python does at SIGINT, so that
everything ends by the ways that it has for errors. It also ends what other threads wait for:
programs, and answers of the engine. Else a build that has begun would be waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

AT_ONCE = 1.0
"""Seconds within which several signals are one: a terminal and a supervisor may each send one."""

_LOOK = 0.2
"""Seconds between two looks of a thread that sleeps."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end."""


class Interruption:
    """Whether a signal has asked a process to end, and what is to be ended then."""

    def __init__(self) -> None:
        self._asked: signal.Signals | None = None
        self._since = 0.0
        self._is_ending = False
        self._stops: dict[object, Callable[[], None]] = {}

    @property
    def asked(self) -> signal.Signals | None:
        """The first signal that came."""
        return self._asked

    @property
    def exit_code(self) -> int | None:
        """What a shell expects of what a signal has ended: 130, 143, 129; None where none has."""
        return None if self._asked is None else 128 + self._asked

    def handle(self) -> None:
        """Take the signals from now on. For the main thread; elsewhere nothing changes.

        What was ignored stays so: that is how ``nohup`` is told from a terminal that has gone.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)

    def ending(self) -> None:
        """Say that this process is ending anyway: a signal only sets the exit code from now on."""
        self._is_ending = True

    def check(self) -> None:
        """Raise :class:`Interrupted` where a signal has come: for threads that begin something."""
        if self._asked is not None and not self._is_ending:
            raise Interrupted(self._asked.name)

    def sleep(self, seconds: float) -> None:
        """Sleep, in any thread, until a signal comes: then :class:`Interrupted`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _LOOK))
        self.check()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have ``stop`` called when a signal comes while the context lasts.

        It is called in the main thread, in between whatever that does, so it must take no lock.
        """
        key = object()
        self._stops[key] = stop
        try:
            self.check()  # else one that came just before would stop nothing
            yield
        finally:
            self._stops.pop(key, None)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._asked is not None:
            if time.monotonic() - self._since > AT_ONCE:
                # Whoever asks twice does not want to wait. The next run clears up.
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self._asked, self._since = signal.Signals(number), time.monotonic()
        if self._is_ending:
            return
        for stop in list(self._stops.values()):
            with contextlib.suppress(Exception):
                stop()
        raise Interrupted(self._asked.name)


RUNS = Interruption()
"""This process's."""


def hang_up(client: Any) -> None:
    """Shut down this process's connections to an engine.

    Whoever waits there for an answer has an error at once, and the engine ends a build that nobody
    waits for. New connections can be made.
    """
    api = client.api
    path = getattr(getattr(api, "_custom_adapter", None), "socket_path", None)
    peer = path or urlsplit(api.base_url).port
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not os.readlink(entry).startswith("socket:"):  # noqa: PTH115 - it is no path
                continue
            # A descriptor of its own: who has the other one goes on to close it.
            with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                there = connection.getpeername()
                if peer and peer in (there, there[1] if isinstance(there, tuple) else None):
                    connection.shutdown(socket.SHUT_RDWR)
