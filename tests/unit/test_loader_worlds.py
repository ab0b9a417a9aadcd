"""The models against answers of the real loaders that were recorded: no engine is needed."""

from __future__ import annotations

import pytest

from tests.worlds import mutants, recorded
from tests.worlds.comparing import Ending, endings, predict
from tests.worlds.recorded import Recorded
from tests.worlds.world import KINDS, Libc

MAX_SIZE = 300_000
"""Bytes of the recorded answers."""


@pytest.fixture(scope="module", params=sorted(recorded.SEEDS))
def kept(request: pytest.FixtureRequest) -> Recorded:
    return recorded.read(KINDS[request.param])


def test_the_recorded_worlds_are_those_that_the_generator_makes(kept: Recorded) -> None:
    """Else the answers are to other questions: run ``python -m tests.worlds.recorded``."""
    assert kept.is_current


def test_the_model_says_what_the_real_loader_said(kept: Recorded) -> None:
    for world, system, changes, real in kept.cases():
        assert predict(world, system, changes, kept.kind.model).account == real, world.seed


def test_there_is_something_of_every_kind_of_outcome(kept: Recorded) -> None:
    """A generator whose programs never start would prove nothing."""
    found = [ending for *_, real in kept.cases() for ending in endings(real)]
    assert set(found) == set(Ending)
    assert found.count(Ending.IMPORTS) > len(found) / 4


@pytest.mark.parametrize(
    ("kind", "mutant"),
    [
        (kind, mutant)
        for kind in ("glibc x86_64", "musl x86_64")
        for mutant in mutants.of(KINDS[kind].libc)
    ],
)
def test_a_model_with_one_rule_wrong_is_noticed(kind: str, mutant: str) -> None:
    """The worlds would be no proof of a rule that none of them rests on."""
    kept = recorded.read(KINDS[kind])
    assert mutants.caught(mutants.of(kept.kind.libc)[mutant], kept.cases())


def test_the_real_rules_are_no_mutant() -> None:
    for libc in Libc:
        models = mutants.of(libc).values()
        own = next(kind.model for kind in KINDS.values() if kind.libc is libc)
        assert own not in models


def test_the_recorded_answers_stay_small() -> None:
    assert recorded.FILE.stat().st_size < MAX_SIZE
