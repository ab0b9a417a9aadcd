"""Some hundred damaged and hostile files; ``python -m tests.fuzz`` reads a hundred thousand."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz import mutations, reading
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
