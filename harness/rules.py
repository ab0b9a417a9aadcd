"""Rules of the matrix file in their order, and the first that matches: pure.

Each rule is asked of each value of an axis once, however many cells have that value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Generic, Self, TypeVar

from harness.matrix import SELECTING, Conditions

Rule = TypeVar("Rule", bound=Conditions)


class Rules(Generic[Rule]):
    """Such as the expectations. A set of them is a number; its bit 0 stands for the first."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._left = (1 << len(self._rules)) - 1
        named = {axis for axis in SELECTING if any(getattr(r, axis, ()) for r in self._rules)}
        # What each value leaves of all, on the axes that any rule names.
        self._axes: dict[str, dict[str | None, int]] = {axis: {} for axis in sorted(named)}

    def given(self, where: Mapping[str, str]) -> Self:
        """Those that match as far as these axes tell, to be asked about the others."""
        narrowed = copy(self)
        narrowed._left = self._matching(where, self._axes.keys() & where)
        narrowed._axes = {axis: known for axis, known in self._axes.items() if axis not in where}
        return narrowed

    def first(self, where: Mapping[str, str]) -> Rule | None:
        """The first that matches, as :meth:`Conditions.matches` has it; None where none does."""
        found = self._matching(where, self._axes)
        return self._rules[(found & -found).bit_length() - 1] if found else None

    def _matching(self, where: Mapping[str, str], axes: Iterable[str]) -> int:
        found = self._left
        for axis in axes:
            known, value = self._axes[axis], where.get(axis)
            if value not in known:
                known[value] = self._asked(axis, value)
            found &= known[value]
        return found

    def _asked(self, axis: str, value: str | None) -> int:
        where = {} if value is None else {axis: value}
        # Each as if it named this axis alone.
        others: dict[str, tuple[()]] = dict.fromkeys(SELECTING - {axis}, ())
        alone = (rule.model_copy(update=others) for rule in self._rules)
        return sum(rule.matches(where) << number for number, rule in enumerate(alone))
