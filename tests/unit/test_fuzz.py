"""Some hundred damaged and hostile files; ``python -m tests.fuzz`` reads a hundred thousand."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from tests.fuzz import documents, mutations, programs, reading, texts
from tests.unit.conftest import Compile


@pytest.fixture(scope="session")
def elves(compiled: Compile) -> list[bytes]:
    return [
        compiled(mutations.SOURCE, flags=mutations.FLAGS, target=triplet).read_bytes()
        for triplet in mutations.TRIPLETS
    ]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", [*mutations.KINDS, reading.DIRECTORY])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 1 << 32))
@example(number=0)
def test_whatever_is_read_ends_in_a_target_or_in_the_error_for_it(
    kind: str, number: int, elves: list[bytes], folder: Path
) -> None:
    """Anything else that is raised fails this; so does what takes more than a second or two."""
    done = reading.trial(kind, Random(number), elves, folder)
    assert done.seconds < 3


def test_every_outcome_is_met(elves: list[bytes], folder: Path) -> None:
    """Else the inputs would be too wild, or too tame, to tell anything."""
    met = {
        reading.trial(kind, Random(number), elves, folder).outcome
        for number in range(60)
        for kind in ("wheel, odd members", "wheel, odd archive", "ELF of a compiler")
    }
    assert met == {"read", "read, with unreadable files", "read, without ELF files", "refused"}


@pytest.mark.parametrize("kind", documents.KINDS)
def test_a_changed_file_is_read_or_refused_with_the_place(kind: str, folder: Path) -> None:
    """Of each kind, some that are always the same."""
    outcomes = set()
    for number in range(60):
        done = documents.trial(kind, Random(f"{kind}/{number}"), folder)
        assert not done.placeless
        assert done.seconds < 5
        outcomes.add(done.outcome.partition(",")[0])
    # Else the changes would be too wild, or too tame, to tell anything.
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("special", texts.SPECIAL)
@pytest.mark.parametrize("kind", ["matrix.yaml", "matrix.lock", "results, many lines", "plan"])
def test_what_is_no_file_is_refused_by_its_name(kind: str, special: str, folder: Path) -> None:
    path = folder / documents.KINDS[kind].file
    texts.SPECIAL[special](path)
    try:
        with documents.in_time(), pytest.raises(HarnessError) as caught:
            documents.KINDS[kind].readers[0](path)
    finally:
        texts.clear(path)
    assert str(path) in caught.value.problem


@pytest.mark.parametrize("name", [n for n in programs.CALLS if not n.startswith("pytest")])
def test_a_program_that_is_given_a_changed_file_says_where_it_is_wrong(
    name: str, folder: Path
) -> None:
    for number in range(3):
        done = programs.trial(name, Random(f"{name}/{number}"), folder)
        assert not done.placeless


def test_a_message_without_a_place_is_told_from_one_with_it() -> None:
    path = Path("/x/matrix.yaml")
    assert documents.has_place("/x/matrix.yaml:3: uv: is missing", path)
    assert documents.has_place("/x/matrix.yaml: jobs.1.number: 1 instead of 2", path)
    assert not documents.has_place("/x/matrix.yaml is wrong", path)
    assert not documents.has_place("uv: is missing", path)
    assert documents.has_place("/x/matrix.yaml is wrong", path, whole=True)
    assert not documents.has_place("it is wrong", path, whole=True)
