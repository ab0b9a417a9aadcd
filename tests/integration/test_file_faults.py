"""Some of the faults of files, on the real engine; ``python -m tests.faults file`` has them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import engine
from tests.faults import files
from tests.faults.room import Room

pytestmark = pytest.mark.engine

FAULTS = {fault.name: fault for fault in files.FAULTS}


@pytest.mark.parametrize(
    "name",
    [
        "installed-exchanged",
        "contents-emptied",
        "replicas-unreadable",
        "lock-other-uv-wheel",
        "results-cut-and-appended",
    ],
)
def test_what_is_not_as_it_was_gives_no_verdict(name: str, tmp_path: Path) -> None:
    happened = FAULTS[name].inject(Room(tmp_path, engine.connect()))
    assert not happened.wrong
    assert not happened.left
