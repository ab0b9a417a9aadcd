"""A call in a forked child: it may crash, hang or corrupt memory there without harm here."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from typing import Any, Callable, NamedTuple

LIMIT = 5
"""Seconds after which a child counts as hanging. Nothing that is asked takes half a second,
not even under emulation; the rest is for a machine that is busy."""

GRACE = 2
"""Seconds beyond the limit for the child's own alarm, before it is killed from outside."""

MAX_OUTPUT = 1 << 16


class Ending(NamedTuple):
    """How a child ended: with an ``answer``, or with why there is none.

    ``how`` is ``answered``, ``raised``, ``crashed``, ``hung`` or ``exited``; ``text`` is the
    exception, the signal's name or the exit code; ``said`` is what it said of it itself.
    """

    how: str
    answer: Any = None
    text: str = ""
    said: str = ""


def run(function: Callable[[], Any]) -> Ending:
    """Call a function in a forked child, for at most ``LIMIT`` seconds; its answer must be JSON.

    Exit handlers do not run in the child, and it leaves no core file behind.
    """
    answers, errors = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _serve(function, answers[1], errors[1])
    for pipe in (answers, errors):
        os.close(pipe[1])
    try:
        answer, said = _read(answers[0], errors[0], LIMIT + GRACE)
        # What hangs in a signal-proof way, or has closed its pipes, is ended here.
        status = _wait(child, GRACE)
    finally:
        for pipe in (answers, errors):
            os.close(pipe[0])
    return _ending(status, answer, _last_words(said))


def _serve(function: Callable[[], Any], answers: int, errors: int) -> None:
    """The child's side; never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(errors, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT)
        try:
            message = {"how": "answered", "answer": function()}
        except BaseException as error:
            message = {"how": "raised", "text": f"{type(error).__name__}: {error}"}
        os.write(answers, json.dumps(message).encode())
    finally:
        os._exit(0)


def _read(answers: int, errors: int, limit: float) -> tuple[bytes, str]:
    """Both pipes to their ends, or what came until the limit."""
    kept = {answers: b"", errors: b""}
    waiting = [answers, errors]
    end = time.monotonic() + limit
    while waiting:
        ready = select.select(waiting, [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            break
        for pipe in ready:
            part = os.read(pipe, 4096)
            kept[pipe] = (kept[pipe] + part)[-MAX_OUTPUT:]
            if not part:
                waiting.remove(pipe)
    return kept[answers], kept[errors].decode(errors="replace")


def _wait(child: int, limit: float) -> int:
    """The child's wait status; it is killed if it does not end within the limit."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _last_words(said: str) -> str:
    """The line in which a dying process says why, '' for none.

    CPython prints where it was after why it died; the emulator has a line of its own.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error: ")]
    own = [line for line in lines if not line.startswith("qemu: ")]
    return (fatal or own[-1:] or [""])[0]


def _ending(status: int, answer: bytes, said: str) -> Ending:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGALRM, signal.SIGKILL):
            return Ending("hung", said=said)
        return Ending("crashed", text=signal.Signals(number).name, said=said)
    if not answer:
        return Ending("exited", text=str(os.WEXITSTATUS(status)), said=said)
    message = json.loads(answer.decode())
    return Ending(message["how"], message.get("answer"), message.get("text", ""), said)
