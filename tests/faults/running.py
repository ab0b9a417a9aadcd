"""A run that is being looked at while it goes on."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults.room import LIMIT, Ran, Room, lines_of
from tests.faults.stages import Stage, stage_of
from tests.faults.traces import MARK, new_mark, start_time


class Running:
    """A run, started now."""

    def __init__(
        self,
        room: Room,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        """``before``: words of a command that ends by becoming the one that follows it."""
        marked = {**new_mark(), **(environment or {})}
        self.mark = marked[MARK]
        self.start = time.monotonic()
        self.process, self.results = room.start(*arguments, environment=marked, before=before)
        self.started = start_time(self.process.pid)
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """What it has said so far."""
        return "".join(self._said)

    @property
    def stage(self) -> Stage:
        """What it is at."""
        return stage_of(self.said)

    @property
    def is_over(self) -> bool:
        """Whether its first process has ended."""
        return self.process.poll() is not None

    def wait_for(self, condition: Callable[[Running], bool], seconds: float = LIMIT) -> bool:
        """Wait until something is so, or the run is over; whether it was so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition(self):
                return True
            if self.is_over:
                return condition(self)
            time.sleep(0.005)
        return False

    def finish(self, seconds: float = LIMIT) -> Ran:
        """Wait for its end. Raises :class:`subprocess.TimeoutExpired` where it hangs."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        # Whoever has its output besides is ended with it, or is what is looked for.
        self._reader.join(10)
        return Ran(
            code=self.process.returncode,
            said=self.said,
            results=tuple(lines_of(self.results)),
            seconds=time.monotonic() - self.start,
        )

    def written(self) -> tuple[dict[str, object], ...]:
        """Lines of results so far."""
        return tuple(lines_of(Path(self.results)))

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            # As it comes: a line that is not complete tells something, too.
            while piece := stream.read(1):
                self._said.append(piece)
