"""A few faults of the host, and a few kills; ``python -m tests.faults host`` has all of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.faults import kills
from tests.faults.fault import Fault
from tests.faults.hosts import FAULTS
from tests.faults.kills import Ground, Kills, Victim, Watch
from tests.faults.room import Room

pytestmark = pytest.mark.engine

QUICK = (
    "sigint-first-cell-n0",
    "sigterm-to-all-first-cell-n2",
    "sighup-preparing-n0",
    "sigint-twice",
    "sigkill-to-worker",
    "asleep",
    "clock-to-and-fro",
    "results-on-full-disk",
    "cache-on-tiny-disk",
    "cache-read-only",
    "tmp-full",
    "home-unusable",
    "stdout-closed",
    "few-open-files",
    "two-runs-warm",
)
"""Names of those that take seconds, and have no images built."""

MOUNTING = {"cache-on-tiny-disk", "cache-read-only", "tmp-full"}
"""Those that mount something in a name space of their own."""

SEED, COUNT, LATER = 9, 4, 10


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: a socket's path has room for a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="f-") as name:
        yield Path(name)


def _named(name: str) -> Fault:
    (found,) = (fault for fault in FAULTS if fault.name == name)
    return found


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_of_the_host_ends_as_it_should(
    name: str, client: docker.DockerClient, folder: Path
) -> None:
    if name in MOUNTING and not (os.geteuid() == 0 and shutil.which("unshare")):
        pytest.skip("only root may mount something")
    happened = _named(name).inject(Room(folder, client))
    assert not happened.wrong
    assert not happened.left


def test_runs_are_killed_and_the_next_is_right_and_clears_up(
    client: docker.DockerClient, folder: Path
) -> None:
    ground = kills.undisturbed(Ground(folder=folder, client=client), lambda line: None)
    killing, watch = Kills(ground, None, SEED), Watch(client, LATER)
    done: list[kills.Killed] = []
    while len(done) < COUNT:
        if killed := killing.once(len(done) + 1):
            done.append(killed)
            watch.add(killed)
    watch.close()
    assert [(each.wrong, each.next_run, each.left) for each in done] == [([], [], [])] * COUNT
    assert {each.victim for each in done} <= set(Victim)


def test_the_names_of_faults_are_theirs_alone() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= 18
