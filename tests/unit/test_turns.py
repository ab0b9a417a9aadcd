"""Lock files are waited for, and whoever waits long says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from harness import turns
from harness.interruption import SIGNALS, Interrupted, Interruption
from harness.turns import holders, turn

HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(turns.TELLER, "say", found.append)
    return found


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock ``lock``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_lock_that_nobody_has_is_not_spoken_of(tmp_path: Path, said: list[str]) -> None:
    with turn(tmp_path / "lock", "makes it"), pytest.raises(TimeoutError):
        FileLock(tmp_path / "lock").acquire(timeout=0)
    FileLock(tmp_path / "lock").acquire(timeout=0)
    assert said == []


def test_one_that_is_held_is_waited_for_and_whoever_has_it_is_named(
    tmp_path: Path,
    said: list[str],
    holder: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    freeing = threading.Timer(0.3, holder.kill)
    freeing.start()
    with turn(tmp_path / "lock", "makes\x1b[1m it"):
        assert holder.wait() == -signal.SIGKILL
    freeing.join()
    (line,) = said
    assert line.startswith("waiting for another process that makes\\x1b[1m it (process ")
    assert f"process {holder.pid};" in line


def test_whoever_waits_ends_at_a_signal(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Interruption()
    monkeypatch.setattr(turns, "RUNS", runs)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            with turn(tmp_path / "lock", "makes it"):
                pass
        except Interrupted as error:
            ended.append(error)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        runs.handle()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    waiting.join(60)
    assert len(ended) == 1
    assert holder.poll() is None


def test_who_waits_is_no_holder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = tmp_path / "lock"
    about = lock.stat()
    place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
    table = tmp_path / "locks"
    table.write_text(
        f"1: FLOCK  ADVISORY  WRITE 41 {place} 0 EOF\n"
        f"1: -> FLOCK  ADVISORY  WRITE 42 {place} 0 EOF\n"
        f"2: POSIX  ADVISORY  WRITE 43 {place} 0 EOF\n"
        "3: FLOCK  ADVISORY  WRITE 44 00:00:1 0 EOF\n"
        "4: nonsense\n"
    )
    assert holders(lock, table) == (41,)
    assert holders(lock, tmp_path / "none") == ()
    assert holders(tmp_path / "none", table) == ()
    while holder.pid not in holders(lock):
        time.sleep(0.01)
