"""The models against the real loaders, on random worlds that are linked and loaded for real.

For more of them: ``python -m tests.worlds 500 --loader glibc --platform x86_64``.
"""

from __future__ import annotations

from collections import Counter

import docker
import pytest

from harness import owner
from tests.integration.conftest import leftovers
from tests.worlds import recorded
from tests.worlds.comparing import Account, Ending, compare, endings
from tests.worlds.generator import generate
from tests.worlds.real import Laboratory
from tests.worlds.world import KINDS, Kind

pytestmark = pytest.mark.engine

FIRST = 10_000
"""Number of the first world: others than those whose answers are recorded."""


def laboratory(client: docker.DockerClient, kind: Kind, run: str) -> Laboratory:
    return Laboratory(client, kind, run=run, owner=owner.this_process())


@pytest.mark.parametrize(
    ("name", "count"), [("glibc x86_64", 60), ("musl x86_64", 40), ("glibc aarch64", 12)]
)
def test_the_model_and_the_real_loader_say_the_same(
    client: docker.DockerClient, name: str, count: int
) -> None:
    """Outcome, name of what is missing, and path of all that is mapped, after each dlopen."""
    kind, run = KINDS[name], owner.new_run()
    real = laboratory(client, kind, run)
    worlds = [generate(number, kind) for number in range(FIRST, FIRST + count)]
    tally: Counter[Ending] = Counter()
    for world, answer in zip(worlds, real.answers(worlds), strict=True):
        compared = compare(world, real.system, answer)
        assert compared.agree, str(compared)
        assert isinstance(compared.real, Account)
        tally.update(endings(compared.real))
    assert tally[Ending.IMPORTS] >= count
    assert tally[Ending.MISSING] >= count / 4
    assert leftovers(client, run) == []


@pytest.mark.parametrize(("name", "count"), [("glibc x86_64", 30), ("musl x86_64", 20)])
def test_the_real_loader_still_says_what_was_recorded(
    client: docker.DockerClient, name: str, count: int
) -> None:
    """So the tests without an engine compare with something true."""
    kind = KINDS[name]
    kept = recorded.read(kind)
    real = laboratory(client, kind, owner.new_run())
    here = (real.system.subdirectories, real.system.platform)
    if here != (kept.system.subdirectories, kept.system.platform):
        pytest.skip(f"recorded on another processor: this one has {here}")
    assert (
        list(recorded.record(real, kind, recorded.SEEDS[name][:count]))
        == kept.content["worlds"][:count]
    )


def test_what_does_not_come_out_as_described_is_told(client: docker.DockerClient) -> None:
    """A world that crashed is a disagreement, and its account has both sides."""
    kind = KINDS["glibc x86_64"]
    world = generate(FIRST, kind)
    real = laboratory(client, kind, owner.new_run())
    (answer,) = real.answers([world])
    crashed = compare(world, real.system, {**answer, "exit_code": -11})
    assert not crashed.agree
    assert f"world {FIRST} of {kind}" in str(crashed)
    assert "ended with -11" in str(crashed)
    assert answer["output"].startswith("M \nM ")
    elsewhere = answer["output"].replace("M /", "M /elsewhere/")
    other = compare(world, real.system, {**answer, "output": elsewhere})
    assert not other.agree
    assert "the real loader: well; mapped: /elsewhere/" in str(other)
    assert "the model:       well; mapped: /" in str(other)
