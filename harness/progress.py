"""How downloads are shown while they last: bars on a terminal, lines elsewhere, or nothing.

A retry is shown in either case, and kept: what went wrong on the way belongs into a run's summary.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

QUIET_BELOW = 1_000_000
"""Bytes; a smaller download is over before a line about it is read."""


class Progress(Protocol):
    """Told by each download what becomes of it; by several at once, from threads of their own."""

    @property
    def retries(self) -> Sequence[str]:
        """What had to be tried again, and why; oldest first."""
        ...

    def started(self, name: str, *, total: int | None, done: int) -> None:
        """Bytes are about to come: ``total`` of them (None: not known), of which ``done`` are here.

        Said again when a download goes on after a retry.
        """
        ...

    def advanced(self, name: str, count: int) -> None:
        """So many more bytes are here."""
        ...

    def retried(self, name: str, what: str) -> None:
        """Something went wrong: what it was, and what is done about it."""
        ...

    def finished(self, name: str, *, whole: bool) -> None:
        """It is over, and all is here, or not; said once for each download, and only then."""
        ...


class Silent:
    """Shows nothing and keeps nothing."""

    retries: Sequence[str] = ()

    def started(self, name: str, *, total: int | None, done: int) -> None:
        """Nothing."""

    def advanced(self, name: str, count: int) -> None:
        """Nothing."""

    def retried(self, name: str, what: str) -> None:
        """Nothing."""

    def finished(self, name: str, *, whole: bool) -> None:
        """Nothing."""


SILENT = Silent()


class _Transfer:
    """What is known of one download."""

    def __init__(self, total: int | None, done: int) -> None:
        self.total = total
        self.done = done
        self.came = 0
        self.since = time.monotonic()

    def told(self) -> str:
        seconds = max(time.monotonic() - self.since, 0.001)
        size = f"{size_of(self.came)} in {seconds:.1f} s, {size_of(self.came / seconds)}/s"
        here = self.done - self.came
        return f"{size}, after {size_of(here)} that were there" if here > 0 else size


class Lines:
    """A line where a large download begins and ends, and for each retry."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.retries: list[str] = []
        self._say = say
        self._transfers: dict[str, _Transfer] = {}
        self._lock = threading.RLock()  # what says a line may be no safer than print

    def started(self, name: str, *, total: int | None, done: int) -> None:
        """Say how large it is, and how much of it is there already; once only."""
        with self._lock:
            if known := self._transfers.get(name):
                known.total, known.done = total, done
                return
            self._transfers[name] = _Transfer(total, done)
            if total is None or total >= QUIET_BELOW:
                self._begun(name, total, done)

    def advanced(self, name: str, count: int) -> None:
        """Count."""
        with self._lock:
            if transfer := self._transfers.get(name):
                transfer.done += count
                transfer.came += count

    def retried(self, name: str, what: str) -> None:
        """Say it, whatever the size."""
        line = f"{name}: {what}"
        with self._lock:
            self.retries.append(line)
            self._say(line)

    def finished(self, name: str, *, whole: bool) -> None:
        """Say how long it took; of one that failed, the error says all there is."""
        with self._lock:
            transfer = self._transfers.pop(name, None)
            if whole and transfer and transfer.done >= QUIET_BELOW:
                self._say(f"downloaded {name}: {transfer.told()}")

    def _begun(self, name: str, total: int | None, done: int) -> None:
        size = "size unknown" if total is None else size_of(total)
        here = f", {size_of(done)} are there already" if done else ""
        self._say(f"downloading {name} ({size}{here})")


class Bars(Lines):
    """A bar for each download that runs, with bytes, rate and time left; lines appear above them.

    The bars are there only while something runs, so that nothing else need know of them.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(self._print)
        self._console = console
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def started(self, name: str, *, total: int | None, done: int) -> None:
        """Add the bar, or put it where the download stands now."""
        with self._lock:
            super().started(name, total=total, done=done)
            if self._bars is None:
                self._bars = _bars(self._console)
                self._bars.start()
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None)
            self._bars.update(self._tasks[name], total=total, completed=done)

    def advanced(self, name: str, count: int) -> None:
        """Let the bar grow."""
        with self._lock:
            super().advanced(name, count)
            if self._bars is not None and name in self._tasks:
                self._bars.advance(self._tasks[name], count)

    def finished(self, name: str, *, whole: bool) -> None:
        """Take the bar away; the last one gives the terminal back."""
        with self._lock:
            if self._bars is not None and name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
                if not self._tasks:
                    self._bars.stop()
                    self._bars = None
            super().finished(name, whole=whole)

    def _begun(self, name: str, total: int | None, done: int) -> None:
        """The bar says it."""

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def for_terminal(
    stream: TextIO, say: Callable[[str], None], environment: Mapping[str, str] = os.environ
) -> Progress:
    """Bars where ``stream`` is a terminal that a person looks at, else lines through ``say``.

    ``NO_PROGRESS`` and ``CI`` (set to anything) and ``TERM=dumb`` ask for lines.
    """
    terminal = False
    with suppress(ValueError):  # a stream that is closed
        terminal = stream.isatty()
    if not terminal or environment.get("TERM") == "dumb":
        return Lines(say)
    if environment.get("NO_PROGRESS") or environment.get("CI"):
        return Lines(say)
    from rich.console import Console  # late: it takes longer to load than all else here

    return Bars(Console(file=stream))


def size_of(count: float) -> str:
    """Bytes, as a person reads them: of a thousand, as disks and networks are sold."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return (
                f"{count:.0f} {unit}"
                if unit == "bytes" or count >= 99.95
                else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} GB"


def _bars(console: Console) -> RichProgress:
    from rich import progress
    from rich.table import Column

    # One line each: of a long name the end is left out.
    name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    number = [Column(no_wrap=True, justify="right") for _ in range(3)]
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False, table_column=name),
        progress.BarColumn(bar_width=20),
        progress.DownloadColumn(table_column=number[0]),
        progress.TransferSpeedColumn(table_column=number[1]),
        progress.TimeRemainingColumn(table_column=number[2]),
        console=console,
        transient=True,
        expand=True,
    )
