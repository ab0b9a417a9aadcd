"""The agent of a container, from this side: questions to it, and its answers, over one stream.

The other side is ``images/environment/agent.py``, the first process of the container. The stream
is that process's standard input and output (``attach``), so that a question costs no call of the
engine; and at its end, whoever has ended it, the container ends.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import socket
import struct
import threading
import time
from concurrent.futures import Future
from typing import Any

import docker
from docker.models.containers import Container

from harness.probereport import events
from harness.question import Finished, Question

START = "import sys; sys.path.append('/opt/pbs-matrix'); import agent; sys.path.pop(); agent.main()"
IDLE, LASTING = 45, 7200
"""Seconds."""

FIRST_USER = 64000
"""Of the users that the image has for the processes of samples."""

GRACE = 30
"""Seconds beyond a probe's own limit after which the container is killed from outside."""

MAX_LINE = 32 << 20
"""Bytes of one answer: what is kept of a probe's output, every byte of it escaped, and more."""

MAX_LAST_WORDS = 2000
STDOUT, STDERR = 1, 2
_FRAME = struct.Struct(">BxxxL")


class AgentGone(Exception):
    """The agent has ended, or cannot be reached any more; its last words, if it had any."""


class AgentBusy(Exception):
    """The agent could not start a process for a question: others in its container have them all."""


def command(*, idle: int = IDLE, lasting: int = LASTING) -> list[str]:
    """What an environment's container runs.

    ``idle``: seconds without anything to do after which it ends; ``lasting``: after which it does
    although it is in use.
    """
    python = ["/opt/venv/bin/python", "-I", "-B", "-c", START]
    return [*python, str(idle), str(lasting), str(FIRST_USER)]


class Agent:
    """The agent of one container, from before its start until :meth:`close`."""

    def __init__(self, container: Container) -> None:
        """Raises docker's errors where the engine refuses. The container is not started yet."""
        self.container = container
        given = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._given = given
        # docker gives a reader of it; what is under that can be written, too.
        self._stream: Any = getattr(given, "_sock", given)
        if isinstance(self._stream, socket.socket):
            self._stream.settimeout(None)
        self._numbers = itertools.count(1)
        self._pending: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._last_words = b""
        self._is_over = False
        self._reader = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Start the container."""
        self.container.start()
        self._reader.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._is_over

    def ask(self, question: Question) -> Finished:
        """Have a question answered. Raises :class:`AgentGone` and :class:`AgentBusy`.

        The limit holds inside the container. Should that not work, the container is killed from
        outside.
        """
        nonce, number = secrets.token_hex(8), next(self._numbers)
        message = {
            "id": number,
            "limit": question.limit,
            "fresh": question.fresh,
            "variables": dict(question.variables),
            "ask": {**question.ask, "nonce": nonce},
        }
        answer: Future[dict[str, Any]] = Future()
        start = time.monotonic()
        with self._lock:
            if self._is_over:
                raise AgentGone(self.last_words)
            self._pending[number] = answer
            try:
                self._stream.sendall(json.dumps(message).encode() + b"\n")
            except OSError as error:
                del self._pending[number]
                raise AgentGone(str(error)) from error
        try:
            said = answer.result(question.limit + GRACE)
        except TimeoutError:
            self._kill()
            return Finished(
                exit_code=None,
                seconds=time.monotonic() - start,
                timed_out=True,
                events={},
                errors=f"its agent had not answered {GRACE} s after the time limit",
            )
        if "unasked" in said:
            raise AgentBusy(said["unasked"])
        return Finished(
            exit_code=said["exit_code"],
            seconds=said["seconds"],
            timed_out=said["timed_out"],
            events=events(said["reports"], nonce),
            errors=said["errors"],
            oom_killed=said["oom_killed"],
            signal=said["signal"],
        )

    @property
    def last_words(self) -> str:
        """The end of what the agent printed for people: why it ended, if it should not have."""
        return self._last_words.decode(errors="replace").strip()

    def close(self) -> None:
        """End the agent, and with it the container, by ending its input."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)

    def has_ended(self, seconds: float) -> bool:
        """Whether its container has ended, or does so within some time."""
        self._reader.join(max(0, seconds))
        return not self._reader.is_alive()

    def _kill(self) -> None:
        with contextlib.suppress(docker.errors.DockerException, OSError):
            self.container.kill()

    def _listen(self) -> None:
        """Give answers to those who wait for them, until the stream ends."""
        line = bytearray()
        try:
            while (frame := self._frame()) is not None:
                kind, data = frame
                if kind == STDERR:
                    self._last_words = (self._last_words + data)[-MAX_LAST_WORDS:]
                    continue
                line += data
                if b"\n" in data:  # else a long line would be gone through for each piece of it
                    *lines, rest = line.split(b"\n")
                    line = bytearray(rest)
                    for whole in lines:
                        self._give(json.loads(whole))
                if len(line) > MAX_LINE:
                    break
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._last_words += f"\n{type(error).__name__}: {error}".encode()
        finally:
            with contextlib.suppress(OSError):
                self._given.close()
            with self._lock:
                self._is_over = True
                pending, self._pending = self._pending, {}
            # Nobody else will: there may be more containers in a run than a process may have files.
            with contextlib.suppress(OSError):
                self._given.close()
                self._stream.close()
            for answer in pending.values():
                answer.set_exception(AgentGone(self.last_words))

    def _give(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            return
        with self._lock:
            answer = self._pending.pop(said["id"], None)
        if answer is not None:
            answer.set_result(said)

    def _frame(self) -> tuple[int, bytes] | None:
        """The next piece of output, and of which stream; None at the end."""
        header = self._exactly(_FRAME.size)
        if header is None:
            return None
        kind, size = _FRAME.unpack(header)
        data = self._exactly(size)
        return None if data is None else (kind, data)

    def _exactly(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            piece = self._stream.recv(size - len(data))
            if not piece:
                return None
            data += piece
        return bytes(data)
