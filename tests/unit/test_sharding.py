"""Cells divided among machines: all of them, each once, the same everywhere, and evenly."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import lock, matrix
from harness.durations import CELL, NOTHING, PREPARATION, Durations
from harness.errors import ConfigurationError
from harness.plan import Cell, Names, plan
from harness.platforms import Platform
from harness.sharding import MOST, SPREAD, Shard, Work, divide, predicted

PROJECT = Path(__file__).parents[2]


@cache
def cells(profile: str) -> tuple[Cell, ...]:
    """The cells of a profile; what is latest does not matter here."""
    read, locked = matrix.load(PROJECT / "matrix.yaml"), lock.load(PROJECT / "matrix.lock")
    names = Names(uv={"latest": "0.13.9"}, releases={"latest": ("20251120",)})
    return plan(read, locked, profile=profile, names=names)


def on_x86_64(platform: Platform) -> bool:
    """Whatever these tests run on, the machines that are planned for are such ones."""
    return platform is Platform.X86_64


def work_of(profile: str) -> tuple[list[Work], Mapping[str, float]]:
    return Durations().work(cells(profile), on_x86_64)


def seconds(shards: Sequence[Sequence[Work]], preparations: Mapping[str, float]) -> list[float]:
    return [predicted(shard, preparations) for shard in shards]


works = st.lists(
    st.builds(
        Work,
        id=st.integers(0, 10**6).map(str),
        environment=st.sampled_from([None, *"abcdef"]),
        seconds=st.one_of(st.just(0.0), st.floats(0, 600)),
    ),
    max_size=60,
    unique_by=lambda work: work.id,
)
preparations = st.fixed_dictionaries({name: st.floats(0, 300) for name in "abcdef"})


@given(works, preparations, st.integers(1, 50))
def test_every_cell_is_in_one_shard_and_in_the_order_given(
    work: list[Work], prepared: dict[str, float], count: int
) -> None:
    shards = divide(work, prepared, count)
    assert len(shards) == count
    assert sorted(w.id for shard in shards for w in shard) == sorted(w.id for w in work)
    place = {w.id: number for number, w in enumerate(work)}
    for shard in shards:
        numbers = [place[w.id] for w in shard]
        assert numbers == sorted(numbers)


@given(works, preparations, st.integers(1, 50), st.randoms(use_true_random=False))
def test_the_order_of_the_cells_changes_nothing(
    work: list[Work], prepared: dict[str, float], count: int, chance: random.Random
) -> None:
    mixed = chance.sample(work, len(work))
    once, again = (
        [{w.id for w in shard} for shard in divide(given, prepared, count)]
        for given in (work, mixed)
    )
    assert once == again


@given(works, preparations, st.integers(1, 50))
def test_the_longest_shard_is_never_longer_than_all_on_one_machine(
    work: list[Work], prepared: dict[str, float], count: int
) -> None:
    shards = seconds(divide(work, prepared, count), prepared)
    assert max(shards) <= predicted(work, prepared) + 0.001 * len(work) + 0.01
    assert max(shards) >= predicted(work, prepared) / count - 0.001 * len(work) - 0.01


@pytest.mark.parametrize("count", [2, 3, 7, 40])
@pytest.mark.parametrize("profile", ["default", "wide", "nightly"])
def test_shards_of_the_projects_matrix_take_about_as_long_each(profile: str, count: int) -> None:
    work, prepared = work_of(profile)
    shards = divide(work, prepared, count)
    assert sorted(w.id for shard in shards for w in shard) == sorted(w.id for w in work)
    took = seconds(shards, prepared)
    assert max(took) <= SPREAD * min(took)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("profile", ["default", "wide"])
def test_few_shards_do_hardly_more_together_than_one_machine_would(
    profile: str, count: int
) -> None:
    work, prepared = work_of(profile)
    took = seconds(divide(work, prepared, count), prepared)
    assert max(took) <= 1.05 * predicted(work, prepared) / count


@pytest.mark.parametrize("count", [2, 3, 7, 40])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_they_do_so_whatever_each_cell_was_measured_to_take(count: int, seed: int) -> None:
    """Half and twice what is usual: machines in a cloud are no more alike than that."""
    chance = random.Random(seed)
    work, usual = work_of("wide")
    measured = [
        Work(id=w.id, environment=w.environment, seconds=w.seconds * chance.uniform(0.5, 2))
        for w in work
    ]
    prepared = {name: cost * chance.uniform(0.5, 2) for name, cost in usual.items()}
    took = seconds(divide(measured, prepared, count), prepared)
    assert max(took) <= SPREAD * min(took)


def test_an_environment_is_prepared_on_one_machine_where_that_is_enough() -> None:
    work, prepared = work_of("default")
    shards = divide(work, prepared, 2)
    homes = {w.environment: n for n, shard in enumerate(shards) for w in shard}
    assert all(homes[w.environment] == n for n, shard in enumerate(shards) for w in shard)


def test_an_environment_is_parted_where_the_others_would_wait_for_it() -> None:
    work = [Work(id=f"{n:03}", environment="e", seconds=10) for n in range(100)]
    shards = divide(work, {"e": 20}, 4)
    assert [len(shard) for shard in shards] == [25, 25, 25, 25]


def test_the_longest_of_many_shards_is_as_short_as_can_be() -> None:
    """12 emulated environments of 9 cells on 40 machines: in thirds, and in no smaller parts."""
    work, prepared = work_of("default")
    took = seconds(divide(work, prepared, 40), prepared)
    assert max(took) == pytest.approx(PREPARATION[True] + 3 * CELL[True])


def test_what_is_dear_to_prepare_is_not_parted_for_little() -> None:
    work = [Work(id=f"{n}", environment="e", seconds=1) for n in range(4)]
    work += [Work(id=f"{n}+", environment="f", seconds=1) for n in range(4)]
    shards = divide(work, {"e": 100, "f": 100}, 2)
    assert {tuple({w.environment for w in shard}) for shard in shards} == {("e",), ("f",)}


def test_what_needs_no_preparation_goes_anywhere() -> None:
    work = [Work(id=f"{n}", environment=None, seconds=NOTHING) for n in range(10)]
    assert [len(shard) for shard in divide(work, {}, 5)] == [2] * 5


def test_of_few_cells_some_shards_are_empty() -> None:
    work = [Work(id=f"{n}", environment="e", seconds=1) for n in range(3)]
    shards = divide(work, {"e": 0.1}, 40)
    assert sorted(map(len, shards), reverse=True) == [1, 1, 1, *[0] * 37]
    assert divide([], {}, 3) == ((), (), ())


@pytest.mark.parametrize("environments", [1, 30, 3000])
def test_a_hundred_thousand_cells_are_divided_in_few_steps(environments: int) -> None:
    """No step is taken for each pair of a cell and a shard, or this would not end."""
    chance = random.Random(7)
    work = [
        Work(id=str(n), environment=str(n % environments), seconds=chance.uniform(0.1, 3))
        for n in range(100_000)
    ]
    prepared = {str(n): chance.uniform(1, 30) for n in range(environments)}
    took = seconds(divide(work, prepared, 256), prepared)
    assert max(took) <= SPREAD * min(took)
    assert sum(took) <= 1.1 * predicted(work, prepared)


def test_every_process_divides_alike(tmp_path: Path) -> None:
    """Whatever the seed of its hashes."""
    program = (
        "from tests.unit.test_sharding import *\n"
        "work, prepared = work_of('wide')\n"
        "print([[w.id for w in shard] for shard in divide(work, prepared, 7)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            cwd=PROJECT,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert said != {"\n"}


@pytest.mark.parametrize(("text", "number", "count"), [("1/1", 1, 1), ("40/40", 40, 40)])
def test_a_shard_is_written_as_its_number_of_how_many(text: str, number: int, count: int) -> None:
    assert Shard.parse(text) == Shard(number=number, count=count)
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("0/3", "4/3", "a/b", "1/100000000", f"1/{MOST + 1}", "1", "1/", "/2", "-1/2", "1/2/3"),
        *("", " 1/2", "1/2\n", "1.0/2", "١/٢", "0/0", "1/0"),
    ],
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--shard") as told:
        Shard.parse(text)
    assert "3/12" in told.value.advice


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_no_such_number_of_shards(count: int) -> None:
    with pytest.raises(ConfigurationError, match="shards are asked for"):
        divide([], {}, count)


def test_emulation_is_what_makes_the_difference() -> None:
    work, prepared = work_of("quick")
    assert {w.seconds for w in work} == set(CELL.values())
    assert set(prepared.values()) == set(PREPARATION.values())
