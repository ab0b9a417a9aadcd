"""What a bisection walks along, and the cells of its steps."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from harness import cache, catalogue, index, lock, locking, matrix
from harness.bisection import walk
from harness.bisection.model import Candidate
from harness.bisection.search import Direction
from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock
from harness.matrix import Check, Matrix
from harness.resolution import Resolution
from harness.sources import Source
from tests.servers import tiny_wheel
from tests.unit.test_bisection_session import inquiry

PROJECT = Path(__file__).parents[2]
REPLICAS = Resolution(source=Source.REPLICA)


@pytest.fixture(scope="module")
def own() -> Matrix:
    return matrix.load(PROJECT / "matrix.yaml")


@pytest.fixture(scope="module")
def own_lock() -> Lock:
    return lock.load(PROJECT / "matrix.lock")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))


def subject(text: str | None, own: Matrix, own_lock: Lock, **options: Any) -> walk.Subject:
    given = {"command": None, "imports": None, **options}
    return walk.subject(text, given["command"], own, own_lock, imports=given["imports"])


def test_a_name_of_the_matrix_is_that_extension_or_check(own: Matrix, own_lock: Lock) -> None:
    found = subject("python-mscl", own, own_lock)
    assert (found.name, found.sample) == ("python-mscl", own.extensions["python-mscl"])
    assert subject("list-iadd", own, own_lock).sample == own.checks["list-iadd"]


def test_a_wheel_file_is_taken_as_it_is(own: Matrix, own_lock: Lock, tmp_path: Path) -> None:
    path = tmp_path / "mine-1.0-cp313-cp313-linux_x86_64.whl"
    path.write_bytes(tiny_wheel("mine", "1.0", "cp313-cp313-linux_x86_64"))
    found = subject(str(path), own, own_lock)
    assert (found.name, found.words) == ("mine", path.name)


def test_nothing_to_test_is_a_mistake(own: Matrix, own_lock: Lock) -> None:
    with pytest.raises(ConfigurationError, match="nothing says what is to be tested"):
        subject(None, own, own_lock)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("exit 0", "good"),
        ("exit 1", "bad"),
        ("exit 124", "bad"),
        ("exit 126", "bad"),
        ("no-such-program", "bad"),
        ("exit 125", "untestable"),
        ("exit 128", "untestable"),
        ("kill -SEGV $$", "untestable"),
    ],
)
def test_a_command_answers_by_gits_contract(
    command: str, answer: str, own: Matrix, own_lock: Lock
) -> None:
    """125 is its own word for untestable; 126 and 127 are the shell's, and bad, as for git."""
    found = subject(None, own, own_lock, command=command)
    assert isinstance(found.sample, Check)
    script = runpy.run_path(found.sample.script)
    where = {"release": "20250517"}
    if answer == "good":
        assert script["check"](where)["exit_code"] == 0
        return
    kind = AssertionError if answer == "bad" else script["NotApplicable"]
    with pytest.raises(kind) as caught:
        script["check"](where)
    if answer == "bad":
        assert caught.value.findings["exit_code"] != 0


def test_a_command_sees_where_it_runs_and_what_is_there(own: Matrix, own_lock: Lock) -> None:
    found = subject(
        "no-libpython", own, own_lock, command="echo $PBS_MATRIX_RELEASE $PYTHONPATH; exit 3"
    )
    assert found.beside == own.extensions["no-libpython"]
    assert isinstance(found.sample, Check)
    with pytest.raises(AssertionError) as caught:
        runpy.run_path(found.sample.script)["check"]({"release": "20250517"})
    said = caught.value.findings["said"]  # type: ignore[attr-defined]
    assert said == "20250517 /opt/extensions/no-libpython/site\n"


def test_the_script_of_a_command_runs_on_old_pythons(own: Matrix, own_lock: Lock) -> None:
    """It runs on every Python under test; quotes and newlines stay what they are."""
    command = 'printf \'%s\' "it\'s {a} \\"b\\""\nexit 2'
    found = subject(None, own, own_lock, command=command)
    assert isinstance(found.sample, Check)
    namespace = runpy.run_path(found.sample.script)
    assert namespace["COMMAND"] == command
    with pytest.raises(AssertionError, match=r"exit code 2: it's {a} \"b\""):
        namespace["check"]({})


def test_releases_between_two_tags_are_in_commit_order_and_ask_nobody(
    own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "known", None)
    found, said = walk.releases_between("20250409", "20250529", "0.7.6", REPLICAS, own_lock)
    assert [(c.release, c.commit_date) for c in found] == [
        ("20250409", "2025-04-08"),
        ("20250517", "2025-05-17"),
        ("20250521", "2025-05-21"),
        ("20250529", "2025-05-30"),
    ]
    assert said == ()
    found, _ = walk.releases_between("20260320", "20260414", "0.7.6", REPLICAS, own_lock)
    assert "20250323" in [candidate.release for candidate in found]


def test_an_open_end_is_the_oldest_or_the_newest_that_is_known(own_lock: Lock) -> None:
    """The lock's own releases are among them, though the table ends before."""
    found, said = walk.releases_between("20260320", None, "0.7.6", REPLICAS, own_lock)
    assert said
    tags = [candidate.release for candidate in found]
    assert tags[-1] == "20261110"
    found, _ = walk.releases_between(None, "20250409", "0.7.6", REPLICAS, own_lock)
    assert found[0].release == "20181218"


def test_ends_that_are_not_there_or_the_wrong_way_round_are_told(own_lock: Lock) -> None:
    with pytest.raises(SelectionError, match="there is no release 20250518"):
        walk.releases_between("20250518", None, "0.7.6", REPLICAS, own_lock)
    with pytest.raises(SelectionError, match="20250529 comes after 20250409"):
        walk.releases_between("20250529", "20250409", "0.7.6", REPLICAS, own_lock)


def test_uv_versions_are_those_of_the_index_that_can_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = ("0.5.0", "0.6.9", "0.6.10", "0.7.0", "0.7.10", "0.8.0")
    monkeypatch.setattr(index, "candidates", lambda name: there)
    assert [c.uv for c in walk.uvs_between(None, None)] == ["0.6.10", "0.7.0", "0.7.10", "0.8.0"]
    assert [c.uv for c in walk.uvs_between("0.7.0", "latest-1")] == ["0.7.0", "0.7.10"]
    with pytest.raises(SelectionError, match=r"there is no uv 0\.7\.3"):
        walk.uvs_between("0.7.3", None)


def test_the_ends_are_first_and_last_by_what_is_looked_for() -> None:
    assert walk.ends(Direction.BREAK, 5) == (0, 4)
    assert walk.ends(Direction.FIX, 5) == (4, 0)


def test_each_candidate_is_one_cell_whatever_else_the_matrix_has(
    own: Matrix, own_lock: Lock
) -> None:
    steps = walk.Walk(inquiry(), subject("python-mscl", own, own_lock), own, print)
    (cell,) = steps.cells(Candidate(uv="0.7.9", release="20250517"))
    assert cell.id == "python-mscl-uv0.7.9-cp313-20250517~replica-aarch64-debian13"


def test_a_commands_cell_comes_first_and_what_is_beside_it_after(
    own: Matrix, own_lock: Lock
) -> None:
    found = subject("no-libpython", own, own_lock, command="true")
    steps = walk.Walk(inquiry(), found, own, print)
    cells = steps.cells(Candidate(uv="0.7.9", release="20250517"))
    assert [cell.extension for cell in cells] == [walk.SHELL, "no-libpython"]
    assert len({cell.environment for cell in cells}) == 1


def test_a_uv_that_the_lock_lacks_is_asked_once(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lock_uv(version: str, read: Matrix) -> Any:
        asked.append(version)
        return own_lock.uv["0.7.9"]

    monkeypatch.setattr(locking, "lock_uv", lock_uv)
    said: list[str] = []
    steps = walk.Walk(inquiry(axis="uv"), subject("python-mscl", own, own_lock), own, said.append)
    for _ in range(2):
        (cell,) = steps.cells(Candidate(uv="0.7.10"))
        assert cell.environment.interpreter.release == "20250529"
    assert asked == ["0.7.10"]
    assert said == ["asking uv 0.7.10 what it installs"]


def test_a_base_that_the_matrix_lacks_is_told(own: Matrix, own_lock: Lock) -> None:
    with pytest.raises(SelectionError, match="no base 'x'"):
        walk.Walk(inquiry(base="x"), subject("python-mscl", own, own_lock), own, print)
