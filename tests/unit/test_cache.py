"""The cache: an entry is made once, whole or not at all, whoever asks."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import cache
from harness.errors import DiskFullError

KEY = hashlib.sha256(b"key").hexdigest()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never(path: Path) -> None:
    raise AssertionError(f"{path} is made a second time")


def left(root: Path) -> list[str]:
    """Names in the cache, but for the lock files, which stay."""
    return sorted(p.name for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_the_cache_is_where_the_variable_says(root: Path) -> None:
    assert cache.root() == root
    made = cache.entry("kind", KEY, lambda path: path.touch())
    assert made.parent == root / "kind"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_cache_is_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("PBS_MATRIX_CACHE")
    else:
        monkeypatch.setenv("PBS_MATRIX_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "pbs-matrix"


def test_a_file_is_made_once_and_found_again() -> None:
    made = cache.entry("kind", KEY, lambda path: _ignore(path.write_text("x")), suffix=".tar.gz")
    assert made.name == f"{KEY[:24]}.tar.gz"
    assert made.read_text() == "x"
    assert cache.entry("kind", KEY, never, suffix=".tar.gz") == made


def _ignore(_: object) -> None:
    """Nothing: ``make`` returns None."""


def test_a_directory_can_be_an_entry() -> None:
    def make(path: Path) -> None:
        (path / "sub").mkdir(parents=True)
        (path / "sub" / "file").write_text("x")

    made = cache.entry("kind", KEY, make)
    assert (made / "sub" / "file").read_text() == "x"
    assert cache.entry("kind", KEY, never) == made


def test_other_kinds_keys_and_suffixes_are_other_entries() -> None:
    other = hashlib.sha256(b"other").hexdigest()
    made = {
        cache.entry(kind, key, lambda path: path.touch(), suffix=suffix)
        for kind in ("a", "b")
        for key in (KEY, other)
        for suffix in ("", ".x")
    }
    assert len(made) == 8


def test_threads_that_ask_together_make_an_entry_once() -> None:
    calls: list[Path] = []
    together = threading.Barrier(8)

    def make(path: Path) -> None:
        calls.append(path)
        time.sleep(0.05)
        path.write_text("whole")

    def ask() -> str:
        together.wait(timeout=10)
        return cache.entry("kind", KEY, make).read_text()

    with ThreadPoolExecutor(8) as pool:
        found = [future.result(timeout=20) for future in [pool.submit(ask) for _ in range(8)]]
    assert found == ["whole"] * 8
    assert len(calls) == 1


ASKING = """
import sys, time
from pathlib import Path
from harness import cache

def make(path):
    with open(sys.argv[2], "a") as calls:
        calls.write("made\\n")
    path.mkdir()
    time.sleep(0.1)
    (path / "file").write_text("whole")

print((cache.entry("kind", sys.argv[1], make) / "file").read_text())
"""


def test_processes_that_ask_together_make_an_entry_once(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING, KEY, str(calls)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=30)[0] for process in processes] == ["whole\n"] * 3
    assert calls.read_text() == "made\n"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, PermissionError])
def test_a_failing_make_leaves_nothing_and_may_be_tried_again(
    root: Path, error: type[BaseException]
) -> None:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("half")
        raise error("broken off")

    with pytest.raises(error, match="broken off"):
        cache.entry("kind", KEY, make)
    assert left(root) == []
    assert [p.name for p in (root / "kind").iterdir() if p.is_dir()] == []
    made = cache.entry("kind", KEY, lambda path: _ignore(path.write_text("whole")))
    assert made.read_text() == "whole"
    assert left(root) == [made.name]


def test_an_entry_is_not_there_before_it_is_whole(root: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        assert not (root / "kind" / KEY[:24]).exists()

    assert cache.entry("kind", KEY, make).exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_place_and_the_way_out(root: Path, number: int) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(DiskFullError) as caught:
        cache.entry("kind", KEY, make)
    assert int(caught.value.exit_code) == 41
    assert str(root / "kind") in caught.value.problem
    assert "pbs-matrix clean" in caught.value.advice
    assert "PBS_MATRIX_CACHE" in caught.value.advice
    assert left(root) == []


def test_another_error_of_the_disk_is_no_full_disk() -> None:
    with pytest.raises(OSError, match="Input/output") as caught, cache.disk_full_explained(Path()):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert caught.value.errno == errno.EIO


def test_a_disk_that_is_really_full_is_told() -> None:
    with (
        pytest.raises(DiskFullError, match="/dev/full"),
        cache.disk_full_explained(Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_digest_is_the_same_in_every_process_and_order_of_keys() -> None:
    parts = ["a", 1, {"y": [1, 2], "x": None}, Path("/p")]
    assert cache.digest(*parts) == cache.digest("a", 1, {"x": None, "y": [1, 2]}, Path("/p"))
    assert cache.digest("a", 1) == hashlib.sha256(b'["a",1]').hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((["a"], "b"), (["a", "b"],)),
        (("1",), (1,)),
        ((None,), ("null",)),
        (({"a": 1},), ({"a": 2},)),
        ((), ("",)),
    ],
)
def test_other_inputs_have_another_digest(
    one: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert cache.digest(*one) != cache.digest(*other)


def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    assert cache.file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
