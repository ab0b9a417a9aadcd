"""Predictions for tests of what is made of one, and what a run has at hand beside them."""

from __future__ import annotations

from pathlib import Path

from harness.outcome import Outcome
from harness.plan import Cell
from harness.prediction import Prediction
from harness.prepared import PreparedExtension
from harness.releases import LinkModel


class Foresight:
    """A prediction, and words for it."""

    account = "Nothing searches there."

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction

    def given(self, outcome: Outcome) -> Foresight:
        return self


class Prepared:
    """A tree with nothing in it that could be advised about."""

    def __init__(self, tree: Path) -> None:
        (tree / "site").mkdir(exist_ok=True)
        self._tree = tree

    def extension(self, cell: Cell) -> PreparedExtension:
        return PreparedExtension(tree=self._tree)

    def pins(self, cell: Cell) -> dict[str, object]:
        return {"image": f"of {cell.id}"}

    def linked(self, cell: Cell) -> LinkModel:
        return LinkModel.STATIC

    def seconds(self, cell: Cell) -> float:
        return 1.5
