"""Programs that are started."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import tools
from harness.errors import ToolError


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\necho started\n")
    path.chmod(0o755)
    return path


def test_a_program_that_is_still_open_for_writing_is_waited_for(program: Path) -> None:
    with program.open("a") as writing:
        closing = threading.Timer(0.3, writing.close)
        closing.start()
        assert tools.run([program], doing="a test") == "started\n"
        closing.join()


def test_one_that_stays_open_is_an_error(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "BUSY", 0.1)
    with program.open("a"), pytest.raises(ToolError, match="could not be started: Text file busy"):
        tools.run([program], doing="a test")


def test_programs_are_written_and_started_by_many_threads(tmp_path: Path) -> None:
    """Each thread's child holds, for a moment, what the others are writing."""

    def written_and_run(number: int) -> str:
        path = tmp_path / str(number)
        path.write_text(f"#!/bin/sh\necho {number}\n")
        path.chmod(0o755)
        return tools.run([path], doing="a test")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(written_and_run, range(300))) == [f"{n}\n" for n in range(300)]
