"""Looking at cells before their tests are due; without an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.ahead import Ahead
from harness.plan import Cell
from tests.unit.sample_cell import sample_cell

CELLS = [replace(sample_cell(), extension=f"x{number}") for number in range(20)]
PATIENCE = 30


class Looked:
    """Notes which cells are looked at, and lets none end before it may."""

    def __init__(self) -> None:
        self.at: list[str] = []
        self.most = 0
        self.now = 0
        self.may_end = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, cell: Cell) -> str:
        with self._lock:
            self.at.append(cell.extension)
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.may_end.wait(PATIENCE)
        with self._lock:
            self.now -= 1
        if cell.extension == "x3":
            raise ValueError("x3")
        return cell.extension.upper()


@pytest.fixture
def looked() -> Looked:
    return Looked()


@pytest.fixture
def ahead(looked: Looked) -> Iterator[Ahead[str]]:
    made = Ahead(CELLS, looked, threads=3)
    yield made
    looked.may_end.set()
    made.close()


def test_nothing_is_looked_at_before_the_first_is_asked_for(
    looked: Looked, ahead: Ahead[str]
) -> None:
    assert looked.at == []


def test_each_cell_has_what_came_of_it_and_is_looked_at_once(
    looked: Looked, ahead: Ahead[str]
) -> None:
    looked.may_end.set()
    for cell in CELLS:
        if cell.extension == "x3":
            with pytest.raises(ValueError, match="x3"):
                ahead.take(cell)
        else:
            assert ahead.take(cell) == cell.extension.upper()
    assert sorted(looked.at) == sorted(cell.extension for cell in CELLS)


def test_as_many_as_there_are_threads_are_looked_at_at_a_time(
    looked: Looked, ahead: Ahead[str]
) -> None:
    threading.Timer(0.2, looked.may_end.set).start()
    ahead.take(CELLS[0])
    assert looked.most == 3
    assert sorted(looked.at[:3]) == ["x0", "x1", "x2"]


def test_no_more_is_begun_than_will_soon_be_due(looked: Looked, ahead: Ahead[str]) -> None:
    """Whoever ends a run early has not waited for all of it."""
    looked.may_end.set()
    ahead.take(CELLS[0])
    ahead.close()
    assert len(looked.at) <= 1 + 2 * 3


def test_a_cell_out_of_turn_is_looked_at_once(looked: Looked, ahead: Ahead[str]) -> None:
    looked.may_end.set()
    assert ahead.take(CELLS[19]) == "X19"
    for cell in CELLS[4:19]:
        ahead.take(cell)
    assert looked.at.count("x19") == 1


def test_a_cell_may_be_asked_for_again(looked: Looked, ahead: Ahead[str]) -> None:
    looked.may_end.set()
    assert [ahead.take(CELLS[0]), ahead.take(CELLS[0])] == ["X0", "X0"]
    assert looked.at.count("x0") == 2
