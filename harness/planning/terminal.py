"""A process in a container, at this process's own terminal or pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from harness import engine

CHUNK = 65536
GONE = 137
"""Exit code of a process whose container is gone: as of one that was killed."""

_STREAMS = {1: sys.__stdout__, 2: sys.__stderr__}


def run(
    container: Container,
    command: Sequence[str],
    *,
    user: str,
    environment: Mapping[str, str],
    folder: str,
) -> int:
    """Run a command with this process's standard streams; its exit code.

    At a terminal it gets one of its own, of the same size, and every key; else three pipes. Raises
    :class:`harness.errors.HarnessError` where the engine refuses.
    """
    api = container.client.api
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    doing = "opening a shell"
    with engine.asking(doing):
        execution = api.exec_create(
            container.id,
            list(command),
            stdin=True,
            tty=is_terminal,
            user=user,
            environment=dict(environment),
            workdir=folder,
        )["Id"]
        connection = api.exec_start(execution, tty=is_terminal, socket=True)
    with _raw() if is_terminal else contextlib.nullcontext():
        if is_terminal:
            _follow_size(api, execution)
        sender = threading.Thread(target=_send, args=(connection,), daemon=True)
        sender.start()
        # An engine that goes away ends it; what that means is found out below.
        with contextlib.suppress(OSError):
            _show(_received(connection), is_multiplexed=not is_terminal)
    return _exit_code(api, execution)


@contextmanager
def _raw() -> Iterator[None]:
    """Every key to whoever runs in the container, Ctrl-C as well."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _follow_size(api: Any, execution: str) -> None:
    """Give the other terminal this one's size, now and whenever it changes."""

    def resize(*_: object) -> None:
        with contextlib.suppress(OSError, DockerException, requests.RequestException):
            size = os.get_terminal_size(sys.stdout.fileno())
            api.exec_resize(execution, height=size.lines, width=size.columns)

    signal.signal(signal.SIGWINCH, resize)
    resize()


def _send(connection: Any) -> None:
    """Everything that is typed or piped, then its end."""
    raw = getattr(connection, "_sock", connection)
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK):
            raw.sendall(data)
        raw.shutdown(1)


def _received(connection: Any) -> IO[bytes]:
    """What comes back: what was read together with the answer's head, too."""
    response = getattr(connection, "_response", None)
    buffered = getattr(getattr(response, "raw", None), "_fp", None)
    stream: IO[bytes] = getattr(buffered, "fp", None) or connection
    return stream


def _show(stream: IO[bytes], *, is_multiplexed: bool) -> None:
    """Copy to standard output, and of three pipes what is for standard error there."""
    read = getattr(stream, "read1", stream.read)
    if not is_multiplexed:
        while data := read(CHUNK):
            _write(1, data)
        return
    # https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Container/operation/ContainerAttach
    while len(head := _exactly(stream, 8)) == 8:
        left = int.from_bytes(head[4:], "big")
        while left and (data := read(min(left, CHUNK))):
            _write(head[0], data)
            left -= len(data)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _write(number: int, data: bytes) -> None:
    stream = _STREAMS.get(number) or sys.stdout
    stream.buffer.write(data)
    stream.buffer.flush()


def _exit_code(api: Any, execution: str) -> int:
    """Once the engine has noted it, which may be after the output has ended."""
    pause = 0.01
    with engine.asking("asking how the command in the container ended"):
        try:
            while (found := api.exec_inspect(execution))["Running"]:
                time.sleep(pause)
                pause = min(2 * pause, 1)
        except NotFound:
            return GONE
    return GONE if found["ExitCode"] is None else int(found["ExitCode"])
