"""Cells that are looked at before their tests are due, where one process has all the tests.

A cell's question is answered in a container; whoever asks only waits. So threads of one process do
what several processes would, and none of those has to start, load and collect.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from harness.plan import Cell

T = TypeVar("T")


class Ahead(Generic[T]):
    """What comes of cells, looked at in order and by as many threads as there are CPUs."""

    def __init__(
        self,
        cells: Iterable[Cell],
        look: Callable[[Cell], T],
        *,
        room: Callable[[], AbstractContextManager[None]] = nullcontext,
        threads: int | None = None,
    ) -> None:
        """``look`` says what comes of a cell; ``room`` waits until there is room for that.

        Nothing is looked at before somebody asks.
        """
        self._room = room
        self._look = look
        self._threads = threads or max(2, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, "ahead")
        self._waiting = {cell.id: cell for cell in cells}
        self._begun: dict[str, Future[T]] = {}

    def take(self, cell: Cell) -> T:
        """What comes of a cell, which may be out of turn; raises what looking at it raises."""
        begun = self._begun.pop(cell.id, None)
        if begun is None:
            self._waiting.pop(cell.id, None)
            begun = self._pool.submit(self._looked_at, cell)
        # As many again as are being looked at, so that no thread waits for this one.
        while self._waiting and len(self._begun) < 2 * self._threads:
            name = next(iter(self._waiting))
            self._begun[name] = self._pool.submit(self._looked_at, self._waiting.pop(name))
        return begun.result()

    def _looked_at(self, cell: Cell) -> T:
        with self._room():
            return self._look(cell)

    def close(self) -> None:
        """Begin with nothing more. What has begun goes on until it is answered."""
        self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
