"""Questions from other processes of a run: the one with the containers serves, the others ask.

Over a socket in the run's directory, a line of JSON each way for a question. So there is one
container of an environment, whoever asks, and only one process has to know the engine.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from harness.errors import BuildError, EngineMissingError, HarnessError
from harness.question import Answers, Finished, Question

NAME = "containers.sock"
"""Of the socket, in a run's directory."""


class Broker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers other processes' questions, until the end of the context."""

    daemon_threads = True

    def __init__(self, answers: Answers, directory: Path) -> None:
        """``directory`` is the run's."""
        super().__init__(str(directory / NAME), _Handler)
        self.answers = answers
        # Between two looks at whether it is to end, which whoever ends it waits for.
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """One who asked is gone, and needs no answer."""


class _Handler(socketserver.StreamRequestHandler):
    server: Broker

    def handle(self) -> None:
        for line in self.rfile:
            try:
                answer: dict[str, object] = asdict(
                    self.server.answers.ask(Question(**json.loads(line)))
                )
            except HarnessError as error:
                answer = {"problem": error.problem, "advice": error.advice}
            except Exception as error:  # what nobody thought of is to be seen, not waited for
                answer = {
                    "problem": f"{type(error).__name__}: {error}",
                    "advice": "This is a mistake of pbs-matrix's own; please tell its authors.",
                }
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Remote:
    """Has questions answered by the process that serves in a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._connections = threading.local()

    def ask(self, question: Question) -> Finished:
        """Raises :class:`harness.errors.HarnessError` where the engine refuses."""
        try:
            stream = self._stream()
            stream.write(json.dumps(asdict(question)).encode() + b"\n")
            stream.flush()
            line = stream.readline()
        except OSError as error:
            self._connections.stream = None
            raise _gone(str(error)) from error
        if not line:
            self._connections.stream = None
            raise _gone("it has closed the connection")
        answer = json.loads(line)
        if "problem" in answer:
            raise BuildError(answer["problem"], advice=answer["advice"])
        return Finished(**answer)

    def _stream(self) -> Any:
        """This thread's connection."""
        stream = getattr(self._connections, "stream", None)
        if stream is None:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self._path))
                # Keeps the connection open after this name of it is closed.
                stream = self._connections.stream = connection.makefile("rwb")
        return stream


def _gone(why: str) -> EngineMissingError:
    return EngineMissingError(
        f"the process of this run that has the containers does not answer: {why}",
        advice="Run again; if it ended by itself, its last lines say why.",
    )
