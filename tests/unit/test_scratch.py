"""Temporary folders that the next run removes where whoever made them was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness import owner, scratch

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_at_the_end_of_its_context(place: Path) -> None:
    def fail() -> None:
        with scratch.directory() as folder:
            assert list(folder.iterdir()) == []
            (folder / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(place.iterdir()) == []


def test_those_of_a_killed_process_are_removed_by_the_next_and_no_others(place: Path) -> None:
    script = "import os; from harness import scratch; scratch.make(); os.kill(os.getpid(), 9)"
    told = {**os.environ, "TMPDIR": str(place)}
    subprocess.run([sys.executable, "-c", script], check=False, cwd=PROJECT, env=told)
    ours = scratch.make("of-a-test-")
    (dead,) = set(place.iterdir()) - {ours}
    (dead / "below").mkdir(mode=0o500)
    (others := place / "pbs-matrix-by-hand").mkdir()
    (others / "file").touch()
    (link := place / "pbs-matrix-link").symlink_to(dead)

    assert scratch.reap_dead() == 1
    assert set(place.iterdir()) == {ours, others, link}


def test_one_without_an_owner_goes_when_it_is_old_and_empty(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "pbs-matrix-new").mkdir()
    scratch.reap_dead()
    assert list(place.iterdir())
    monkeypatch.setattr(scratch, "YOUNG", -1)
    scratch.reap_dead()
    assert list(place.iterdir()) == []


def test_who_made_it_is_written_in_it() -> None:
    folder = scratch.make()
    assert (folder / scratch.OWNER).read_text() == owner.this_process()
    scratch.remove(folder)
    scratch.remove(folder)
    assert not folder.exists()
