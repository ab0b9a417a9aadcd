"""The cache: an entry is made once, whole or not at all, whoever asks."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from harness import cache
from harness.errors import DiskFullError, HashMismatchError

KEY = hashlib.sha256(b"key").hexdigest()
LONG_AGO = 1_000_000_000.0


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never(path: Path) -> None:
    raise AssertionError(f"{path} is made a second time")


def left(root: Path) -> list[str]:
    """Names in the cache, but for the lock files, which stay."""
    return sorted(
        p.name for p in root.rglob("*") if p.is_file() and p.suffix not in (".lock", ".seal")
    )


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


def whole(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("whole")


def old_entry() -> Path:
    """An entry that nobody has used for years."""
    made = cache.entry("kind", KEY, whole)
    os.utime(made, (LONG_AGO, LONG_AGO))
    return made


def beside(entry: Path) -> list[str]:
    """What else is there, but for lock files."""
    there = entry.parent.iterdir()
    return sorted(
        path.name for path in there if path != entry and path.suffix not in (".lock", ".seal")
    )


def test_asking_for_an_entry_is_its_last_use() -> None:
    made = old_entry()
    before = time.time()
    assert cache.entry("kind", KEY, never) == made
    assert cache.last_use(made) > before - 1


def test_an_entry_that_was_just_made_was_just_used() -> None:
    """Though its file is a copy that has the time of the original."""

    def make(path: Path) -> None:
        path.write_text("x")
        os.utime(path, (LONG_AGO, LONG_AGO))

    before = time.time()
    assert cache.last_use(cache.entry("kind", KEY, make)) > before - 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_an_entry_whose_use_cannot_be_noted_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    made = old_entry()

    def utime(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "utime", utime)
    assert cache.entry("kind", KEY, never) == made


DYING = """
import sys, time
from harness import cache

def make(path):
    path.mkdir()
    (path / "file").write_text("half")
    print("half", flush=True)
    time.sleep(60)

cache.entry("kind", sys.argv[1], make)
"""


def test_what_a_killed_process_left_is_gone_when_the_entry_is_made() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DYING, KEY], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    final = cache.root() / "kind" / KEY[:24]
    assert len(beside(final)) == 1
    assert (cache.entry("kind", KEY, whole) / "file").read_text() == "whole"
    assert beside(final) == []


def test_what_is_beside_another_entry_is_left_to_that(root: Path) -> None:
    """It may be in the making; only who holds an entry's lock knows that it is not."""
    others = [
        f".{KEY[:24]}.json.abcdefgh",
        f".{KEY[:23]}.abcdefgh",
        f".{KEY[:24]}.abcdefghi",
        f".{KEY[:24]}.lock",
        "notes",
    ]
    own = [f".{KEY[:24]}.abcdefgh", f".{KEY[:24]}.0_9_0_9_", f".{KEY[:24]}.unwanted"]
    for name in (*others, *own):
        (root / "kind" / name).mkdir(parents=True) if "lock" not in name else None
    made = cache.entry("kind", KEY, whole)
    seal = f".{made.name}.seal"
    assert {path.name for path in made.parent.iterdir()} == {made.name, seal, *others}


def test_an_entry_is_removed_as_a_whole_and_can_be_made_again() -> None:
    made = old_entry()
    assert cache.remove(made, last_used=LONG_AGO)
    assert not made.exists()
    assert beside(made) == []
    assert cache.entry("kind", KEY, whole) == made


def test_an_entry_that_was_used_meanwhile_is_not_removed() -> None:
    made = old_entry()
    cache.entry("kind", KEY, never)
    assert not cache.remove(made, last_used=LONG_AGO)
    assert (made / "file").read_text() == "whole"
    assert beside(made) == []


def test_an_entry_whose_lock_is_held_is_not_removed_and_nobody_waits() -> None:
    made = old_entry()
    with FileLock(cache.lock_file(made)):
        assert not cache.remove(made, last_used=LONG_AGO)
    assert (made / "file").read_text() == "whole"


def test_an_entry_is_not_removed_between_the_note_of_its_use_and_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = old_entry()
    note_use = cache._note_use
    removed = []

    def interrupted(entry: Path) -> bool:
        noted = note_use(entry)
        removed.append(cache.remove(made, last_used=LONG_AGO))
        return noted

    monkeypatch.setattr(cache, "_note_use", interrupted)
    assert (cache.entry("kind", KEY, never) / "file").read_text() == "whole"
    assert removed == [False]


def test_nobody_is_given_an_entry_between_the_last_look_at_it_and_its_removal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who asks then waits, and makes it anew."""
    made = old_entry()
    last_use = cache.last_use
    answers: list[Path] = []
    asking = threading.Thread(target=lambda: answers.append(cache.entry("kind", KEY, whole)))

    def interrupted(entry: Path) -> float:
        found = last_use(entry)
        asking.start()
        asking.join(0.2)
        assert not answers
        return found

    monkeypatch.setattr(cache, "last_use", interrupted)
    assert cache.remove(made, last_used=LONG_AGO)
    asking.join(20)
    assert answers == [made]
    assert (made / "file").read_text() == "whole"


def test_nobody_is_given_an_entry_that_was_removed_since_its_use_was_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By who had looked at it just before, and has taken its mark away since."""
    made = old_entry()
    last_use, look_for = cache.last_use, cache._beside
    answers: list[Path] = []
    noted, removed = threading.Event(), threading.Event()
    asking = threading.Thread(target=lambda: answers.append(cache.entry("kind", KEY, whole)))

    def looking(entry: Path) -> float:
        found = last_use(entry)
        asking.start()
        assert noted.wait(20)
        return found

    def halted(entry: Path, what: str) -> Path:
        if threading.current_thread() is asking:
            noted.set()
            assert removed.wait(20)
        return look_for(entry, what)

    monkeypatch.setattr(cache, "last_use", looking)
    monkeypatch.setattr(cache, "_beside", halted)
    assert cache.remove(made, last_used=LONG_AGO)
    removed.set()
    asking.join(20)
    assert answers == [made]
    assert (made / "file").read_text() == "whole"


def test_what_was_left_beside_an_entry_goes_with_it(tmp_path: Path) -> None:
    """A link, too, and not what it leads to."""
    made = old_entry()
    outside = tmp_path / "outside"
    whole(outside)
    outside.chmod(0o555)
    for what in ("abcdefgh", "unwanted"):
        whole(made.with_name(f".{made.name}.{what}"))
    made.with_name(f".{made.name}.12345678").symlink_to(outside)
    assert cache.remove(made, last_used=LONG_AGO)
    assert beside(made) == []
    assert (outside / "file").read_text() == "whole"
    assert outside.stat().st_mode & 0o777 == 0o555


@pytest.mark.parametrize("left", ["removing", "unwanted"])
def test_a_removal_that_was_killed_does_not_spoil_the_entry(left: str) -> None:
    """At each of its steps: its mark, and what it had taken away, are swept."""
    made = old_entry()
    (made.parent / f".{made.name}.removing").touch()
    if left == "unwanted":
        made.rename(made.parent / f".{made.name}.unwanted")
    assert (cache.entry("kind", KEY, whole) / "file").read_text() == "whole"
    assert beside(made) == []


def test_what_an_entry_links_to_is_neither_removed_nor_changed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    whole(outside)
    outside.chmod(0o555)

    def make(path: Path) -> None:
        (path / "closed").mkdir(parents=True)
        (path / "closed" / "link").symlink_to(outside)
        (path / "closed").chmod(0o500)

    made = cache.entry("kind", KEY, make)
    assert cache.remove(made, last_used=cache.last_use(made))
    assert beside(made) == []
    assert (outside / "file").read_text() == "whole"
    assert outside.stat().st_mode & 0o777 == 0o555


def test_an_entry_that_is_asked_for_only_if_it_is_there_is_used_by_that() -> None:
    assert cache.existing("kind", KEY) is None
    made = old_entry()
    before = time.time()
    assert cache.existing("kind", KEY) == made
    assert cache.last_use(made) > before - 1


def test_what_replaces_an_entry_was_used_just_now_and_leaves_nothing_beside_it() -> None:
    cache.replace("kind", KEY, b"one", suffix=".json")
    made = cache.root() / "kind" / f"{KEY[:24]}.json"
    os.utime(made, (LONG_AGO, LONG_AGO))
    cache.replace("kind", KEY, b"other", suffix=".json")
    assert made.read_bytes() == b"other"
    assert beside(made) == []
    assert not cache.remove(made, last_used=LONG_AGO)


def instead(entry: Path, target: str) -> None:
    """A link in the place of an entry."""
    entry.rename(entry.with_name("moved"))
    entry.symlink_to(target)


def a_folder_for_a_file(entry: Path) -> None:
    (entry / "sub" / "file").unlink()
    (entry / "sub" / "file").mkdir()


def a_file_for_it(entry: Path) -> None:
    cache.discard(entry)
    entry.touch()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda entry: (entry / "sub" / "file").write_text("wh"),
    "emptied": lambda entry: (entry / "sub" / "file").write_text(""),
    "another byte": lambda entry: (entry / "sub" / "file").write_text("whols"),
    "a file more": lambda entry: (entry / "more").touch(),
    "a file less": lambda entry: (entry / "sub" / "file").unlink(),
    "a link elsewhere": lambda entry: relinked(entry / "link"),
    "a folder for a file": a_folder_for_a_file,
    "renamed": lambda entry: (entry / "sub" / "file").rename(entry / "sub" / "fiel"),
    "a file in its place": a_file_for_it,
    "a link in its place": lambda entry: instead(entry, "moved"),
    "a link to nothing": lambda entry: instead(entry, "nothing"),
    "seal damaged": lambda entry: entry.with_name(f".{entry.name}.seal").write_text("x"),
    "seal unreadable": lambda entry: entry.with_name(f".{entry.name}.seal").write_bytes(b"\xff"),
}


def relinked(link: Path) -> None:
    link.unlink()
    link.symlink_to("elsewhere")


def tree(path: Path) -> None:
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "file").write_text("whole")
    (path / "link").symlink_to("sub")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_that_is_checked_is_made_anew(damage: Callable[[Path], object]) -> None:
    made = cache.entry("kind", KEY, tree, check=cache.is_intact)
    damage(made)
    assert not cache.is_intact(made)
    assert cache.entry("kind", KEY, tree, check=cache.is_intact) == made
    assert (made / "sub" / "file").read_text() == "whole"
    assert cache.is_intact(made)
    assert cache.entry("kind", KEY, never, check=cache.is_intact) == made


def test_an_entry_that_is_not_checked_is_taken_as_it_is() -> None:
    """It may be large; who reads it looks at it then."""
    made = cache.entry("kind", KEY, tree)
    (made / "sub" / "file").write_text("other")
    assert cache.entry("kind", KEY, never) == made


def test_to_use_an_entry_is_no_damage() -> None:
    made = cache.entry("kind", KEY, tree)
    os.utime(made, (0, 0))
    assert cache.existing("kind", KEY) == made
    assert cache.is_intact(made)


def test_an_entry_that_is_older_than_seals_is_sealed_as_it_is() -> None:
    made = cache.entry("kind", KEY, tree)
    made.with_name(f".{made.name}.seal").unlink()
    assert cache.entry("kind", KEY, never, check=cache.is_intact) == made
    (made / "sub" / "file").write_text("other")
    assert not cache.is_intact(made)


def test_a_damaged_entry_is_refused_where_something_in_it_is_read_and_is_gone_then() -> None:
    made = cache.entry("kind", KEY, tree)
    cache.require_intact(made / "sub" / "file")
    (made / "sub" / "file").write_text("other")
    with pytest.raises(HashMismatchError, match=f"{made} is not what it was"):
        cache.require_intact(made / "sub" / "file")
    assert cache.existing("kind", KEY) is None
    assert cache.entry("kind", KEY, tree) == made
    cache.require_intact(made)


def test_what_is_not_in_the_cache_is_nobodys_entry(root: Path) -> None:
    (root.parent / "x").touch()
    cache.require_intact(root.parent / "x")
    (root / "kind").mkdir(parents=True)
    cache.require_intact(root / "kind")


def test_what_is_replaced_is_sealed_anew() -> None:
    for content in (b"one", b"two"):
        cache.replace("kind", KEY, content)
        found = cache.existing("kind", KEY)
        assert found
        assert cache.is_intact(found)
    assert found
    cache.discard(found)
    found.mkdir()
    cache.replace("kind", KEY, b"three")
    assert found.read_bytes() == b"three"


def test_a_removed_entry_has_no_seal(root: Path) -> None:
    made = cache.entry("kind", KEY, tree)
    assert list((root / "kind").glob(".*.seal"))
    assert cache.remove(made, last_used=cache.last_use(made))
    assert not list((root / "kind").glob(".*.seal"))
