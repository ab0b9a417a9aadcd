"""Predicted seconds: by what was measured before, else by what is usual."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness import durations
from harness.durations import CELL, LONGEST, NOTHING, PREPARATION, Durations
from harness.errors import ConfigurationError
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell
from harness.platforms import Platform
from harness.results import Result, result_of
from tests.unit.sample_cell import sample_cell, sample_check, upgraded_cell
from tests.unit.sample_results import made, written

QEMU = {"qemu": "10.0.3"}


def native(platform: Platform) -> bool:
    return True


def emulated(platform: Platform) -> bool:
    return False


def measured(cell: Cell, took: float | None, prepared_in: float | None = None) -> Result:
    """A line about a cell, as a native machine of its platform writes it."""
    outcome = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)
    if cell.sample.kind == "check":
        outcome = Outcome(stage=Stage.CHECK, reason=Reason.PASSES)
    line = result_of(cell, outcome, {})
    return line.model_copy(update={"took": took, "prepared_in": prepared_in})


def test_without_a_measurement_emulation_decides() -> None:
    known, cell = Durations(), sample_cell()
    assert known.cell(cell, native) == CELL[False]
    assert known.cell(cell, emulated) == CELL[True]
    assert known.preparation(cell, native) == PREPARATION[False]
    assert known.preparation(cell, emulated) == PREPARATION[True]


def test_an_upgrade_makes_two_environments() -> None:
    assert Durations().preparation(upgraded_cell(), native) == 2 * PREPARATION[False]


def test_what_does_not_apply_takes_nothing_and_needs_nothing() -> None:
    cell = replace(sample_cell(), not_applicable="it is another's")
    assert Durations().cell(cell, emulated) == NOTHING
    assert Durations().work([cell], emulated)[1] == {}


def test_a_cell_takes_what_it_took() -> None:
    cell = sample_cell()
    known = durations.of([measured(cell, 4.0), measured(cell, 2.0), measured(cell, 60.0)])
    assert known.cell(cell, native) == 4.0


def test_a_cell_that_is_new_takes_what_its_sample_does_on_the_platform_and_then_its_kind() -> None:
    cell = sample_cell()
    elsewhere = replace(cell, environment=replace(cell.environment, uv="0.7.9"))
    other = replace(cell, extension="other")
    known = durations.of([measured(elsewhere, 4.0), measured(other, 10.0)])
    assert known.cell(cell, native) == 4.0
    assert known.cell(replace(cell, extension="third"), native) == 7.0
    assert known.cell(sample_check(), native) == CELL[False]


def test_emulation_and_native_speed_are_never_mixed() -> None:
    """The same cell runs under QEMU here and natively there, with one id."""
    cell = sample_cell()
    slow = measured(cell, 9.0, 50.0).model_copy(update={"pins": QEMU})
    known = durations.of([measured(cell, 0.5, 2.0), slow])
    assert (known.cell(cell, native), known.cell(cell, emulated)) == (0.5, 9.0)
    assert (known.preparation(cell, native), known.preparation(cell, emulated)) == (2.0, 50.0)


def test_an_environment_takes_what_it_took_or_what_others_of_its_platform_did() -> None:
    cell, known = sample_cell(), durations.of([measured(sample_cell(), 1.0, 8.0)])
    assert known.preparation(replace(cell, extension="other"), native) == 8.0
    other = replace(cell, environment=replace(cell.environment, base="other"))
    assert known.preparation(other, native) == 8.0
    assert known.preparation(upgraded_cell(), native) == 2 * PREPARATION[False]


def test_an_upgraded_environment_is_found_again() -> None:
    known = durations.of([measured(upgraded_cell(), 1.0, 33.0)])
    assert known.preparation(upgraded_cell(), native) == 33.0
    assert known.preparation(sample_cell(), native) == PREPARATION[False]


@pytest.mark.parametrize("absurd", [0.0, -1.0, math.nan, math.inf, -math.inf, LONGEST * 2, None])
def test_what_no_machine_can_have_measured_counts_for_nothing(absurd: float | None) -> None:
    known = durations.of([measured(sample_cell(), absurd, absurd)])
    assert known == Durations()


def test_what_was_not_tried_says_nothing_about_trying_it() -> None:
    cell = sample_cell()
    line = result_of(cell, Outcome(stage=Stage.IMAGE, reason=Reason.UNTESTABLE), {})
    known = durations.of([line.model_copy(update={"took": 0.001})])
    assert known.cell(cell, native) == CELL[False]


def test_a_file_of_any_schema_is_read(tmp_path: Path) -> None:
    old = made("a", schema_version=3)
    known = durations.read(written(tmp_path / "r", [old, made("b", took=3.0)]))
    assert known.cells
    assert durations.read(None) == Durations()
    (tmp_path / "empty").write_text("")
    assert durations.read(tmp_path / "empty") == Durations()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e308"])
def test_a_file_with_absurd_numbers_does_no_harm(tmp_path: Path, number: str) -> None:
    line = json.loads(made("a", took=1.0).model_dump_json())
    text = json.dumps({**line, "took": "HERE"}).replace('"HERE"', number)
    (tmp_path / "r").write_text(text + "\n")
    try:
        assert durations.read(tmp_path / "r") == Durations()
    except ConfigurationError as error:
        assert "r:1: not a result" in error.problem  # noqa: PT017 - either is right


def test_what_is_no_results_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        durations.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (45.4, "45 s"), (99.4, "99 s"), (100, "2 min"), (3600, "60 min")]
    + [(5999, "1 h 40 min"), (11_100, "3 h 05 min")],
)
def test_seconds_are_told_as_people_do(seconds: float, words: str) -> None:
    assert durations.spoken(seconds) == words
