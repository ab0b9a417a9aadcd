"""The cache is shown as it is, and pruned without pulling anything from under anybody."""

from __future__ import annotations

import ast
import errno
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import cache, cli, storage
from harness.errors import ConfigurationError, ExitCode, SelectionError
from harness.sizes import parse_size

PROJECT = Path(__file__).parents[2]
DAY = 24 * 3600.0
BLOCK = 64 << 10
"""Bytes of an entry here, so that directories, which are small, do not matter."""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def made(name: str, *, kind: str = "kind", days: float = 0, size: int = BLOCK) -> Path:
    """An entry that was used so many days ago."""

    def make(path: Path) -> None:
        path.mkdir()
        (path / "file").write_bytes(os.urandom(size))

    path = cache.entry(kind, key(name), make)
    aged(path, days)
    return path


def aged(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def names(items: tuple[storage.Item, ...]) -> list[str]:
    return [item.path.name for item in items]


def there(root: Path) -> set[Path]:
    """All that is in the cache, but for lock files."""
    return {path for path in root.rglob("*") if path.suffix not in (".lock", ".seal")}


def du(path: Path) -> int:
    """What the program says, of an entry with its seal."""
    seal = path.with_name(f".{path.name}.seal")
    done = subprocess.run(
        ["du", "-sc", "--block-size=1", path, *([seal] if seal.exists() else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout.splitlines()[-1].split()[0])


def content(root: Path) -> int:
    """The same of what is in the cache, without the folder itself."""
    return du(root) - root.stat().st_blocks * 512


def shown(found: storage.Storage) -> str:
    stream = io.StringIO()
    storage.render(found, Console(file=stream, width=110))
    return stream.getvalue()


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, ["cache", *arguments])
    return done.exit_code, done.output


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("2GB", 2_000_000_000),
        ("2gb", 2_000_000_000),
        ("2G", 2_000_000_000),
        (" 2 GB ", 2_000_000_000),
        ("1.5GiB", 3 << 29),
        ("500MiB", 500 << 20),
        ("500M", 500_000_000),
        ("3kB", 3000),
        ("1TiB", 1 << 40),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["banana", "", "-1GB", "2XB", "GB", "1.GB", "2 G B", "2iB", "1e9", "٣GB", "2GBB"]
)
def test_what_is_no_size_is_one_message(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_size(text)
    assert caught.value.problem == f"{text!r} is no size"
    assert "500MiB" in caught.value.advice


def test_a_sparse_file_counts_with_its_blocks(root: Path) -> None:
    entry = made("a", size=0)
    with (entry / "file").open("wb") as stream:
        stream.truncate(1 << 30)
    (item,) = storage.look().entries
    assert item.usage.size < 1 << 20
    assert storage.look().size == content(root)


def test_a_file_with_several_names_counts_once(root: Path) -> None:
    one, other = made("one"), made("other")
    (one / "again").hardlink_to(one / "file")
    (other / "the same").hardlink_to(one / "file")
    (other / "link").symlink_to(one / "file")
    found = storage.look()
    assert found.size == content(root)
    assert {item.path: item.usage.size for item in found.entries} == {
        one: du(one),
        other: du(other),
    }


def test_what_an_entry_shares_is_not_counted_as_freed(root: Path) -> None:
    shares, other = made("shares", days=2), made("other", days=1)
    (other / "the same").hardlink_to(shares / "file")
    aged(other, 1)
    pruned = storage.prune(storage.look().size - BLOCK)
    assert names(pruned.entries) == [shares.name, other.name], "the first freed next to nothing"
    assert pruned.after == content(root)


def status(inode: int, names: int, blocks: int) -> os.stat_result:
    return os.stat_result((0o100644, inode, 1, names, *[0] * 6), {"st_blocks": blocks})


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6),
    st.sets(st.integers(0, 5)),
)
def test_usages_add_up_however_files_are_shared_among_them(
    entries: list[list[int]], removed: set[int]
) -> None:
    """Each entry is the numbers of its files; file n takes 2**n blocks."""
    every = [number for entry in entries for number in entry]

    def usage_of(entry: list[int]) -> storage.Usage:
        usage = storage.Usage()
        for number in entry:
            usage.count(status(number, every.count(number), 2**number))
        assert usage.size == sum(2**number for number in set(entry)) * 512 or 1 in [
            every.count(number) for number in entry
        ]
        return usage

    usages = [usage_of(entry) for entry in entries]
    whole = storage.total(usages)
    assert whole.size == sum(2**number for number in set(every)) * 512
    for index in removed & set(range(len(entries))):
        whole.take(usages[index])
    left = {n for i, entry in enumerate(entries) if i not in removed for n in entry}
    assert whole.size == sum(2**number for number in left) * 512


# What is shown


def test_a_cache_that_is_not_there_is_empty(root: Path) -> None:
    assert invoke() == (0, f"{root}: empty\n")
    assert invoke("prune", "--to", "1GB") == (0, "nothing to remove: 0 bytes\n")
    assert not root.exists(), "looking makes nothing"


def test_each_kind_is_shown_with_its_entries_size_and_uses(root: Path) -> None:
    made("old", kind="replicas", days=12)
    made("new", kind="replicas")
    made("uv", kind="uv", days=3)
    zig = root / "zig" / "o"
    zig.mkdir(parents=True)
    (zig / "object").write_bytes(bytes(3 * BLOCK))
    text = shown(storage.look())
    assert re.search(r"replicas +2 +1\d\d\.\d kB +12 days +a moment +replica archives", text)
    assert re.search(r"uv +1 +\d\d\.\d kB +3 days +3 days +uv programs", text)
    assert re.search(r"zig +2\d\d\.\d kB +the compiler's own cache; not pruned", text)
    assert re.match(rf"{re.escape(str(root))}: \d+\.\d kB, 3 entries\n", text)
    assert "lock files: 3, empty; they stay" in text
    assert "left by" not in text
    assert "downloads" not in text


def test_the_same_is_there_for_programs(root: Path) -> None:
    entry = made("a", kind="uv", days=1)
    (root / "partial").mkdir()
    part = root / "partial" / f"{key('b')[:24]}-b.part"
    part.write_bytes(bytes(10))
    (root / "note").write_bytes(bytes(4096))
    code, output = invoke("--json")
    told = json.loads(output)
    assert code == 0
    assert told["root"] == str(root)
    assert told["size"] == content(root)
    assert told["kinds"]["uv"]["entries"] == 1
    assert told["kinds"]["uv"]["size"] == du(root / "uv")
    assert told["kinds"]["uv"]["holds"] == "uv programs"
    used = told["kinds"]["uv"]["oldest_use"]
    assert used == told["kinds"]["uv"]["newest_use"]
    assert used.endswith("+00:00")
    assert [found["path"] for found in told["partial"]] == [str(part)]
    assert set(told["kinds"]) == {"uv", "partial"}
    assert told["other_files"] == (root / "note").stat().st_blocks * 512
    assert told["lock_files"] == 1
    assert told["leftovers"] == told["in_work"] == told["problems"] == []
    assert entry.exists()


def test_looking_changes_nothing(root: Path) -> None:
    made("a", days=5)
    (root / "kind" / f".{key('gone')[:24]}.abcdefgh").mkdir()

    def state() -> dict[Path, float]:
        return {path: path.lstat().st_mtime for path in root.rglob("*")}

    before = state()
    storage.look()
    storage.prune(0, now=True, dry_run=True)
    assert state() == before


def test_what_vanishes_while_it_is_looked_at_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, stays = made("gone"), made("stays")
    lstat = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path in (gone, stays / "file", root / "kind" / f".{gone.name}.lock"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    found = storage.look()
    assert names(found.entries) == [stays.name]
    assert found.problems == ()


def test_what_was_made_while_it_is_looked_at_is_not_taken_for_a_leftover(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is free by the time that it is tried."""
    scratch = root / "kind" / f".{key('a')[:24]}.abcdefgh"
    scratch.mkdir(parents=True)

    def made_now(entry: Path) -> bool:
        scratch.rename(entry)
        return False

    monkeypatch.setattr(storage, "_is_locked", made_now)
    found = storage.look()
    assert (found.leftovers, found.in_work) == ((), ())


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = made("closed")
    made("open", kind="uv")
    (root / "secret").mkdir()
    scandir, iterdir = os.scandir, Path.iterdir

    def refuse(path: object) -> None:
        if path in (str(closed), root / "secret"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def guarded(path: str) -> Iterator[os.DirEntry[str]]:
        refuse(path)
        return scandir(path)

    def listed(path: Path) -> Iterator[Path]:
        refuse(path)
        return iterdir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    monkeypatch.setattr(Path, "iterdir", listed)
    found = storage.look()
    assert len(found.entries) == 2
    assert found.problems == (
        f"{closed} cannot be read: Permission denied",
        f"{root / 'secret'} cannot be read: Permission denied",
    )
    assert f"\n{closed} cannot be read: Permission denied\n" in shown(found)


def test_a_cache_that_is_a_file_is_a_problem_and_no_traceback(root: Path) -> None:
    root.write_text("")
    code, output = invoke()
    assert (code, f"{root} cannot be read: Not a directory" in output) == (0, True)
    code, output = invoke("prune")
    assert (code, f"{root} cannot be read: Not a directory" in output) == (1, True)


def kinds_of(file: Path) -> set[str]:
    """Kinds of the entries that a module makes."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="cache"), attr="entry" | "replace"), args=args
            ):
                match args[0]:
                    case ast.Constant(value=str(kind)):
                        found.add(kind)
                    case ast.Name(id=name):
                        found.add(str(constants[name]))
    return found


def test_every_kind_is_said_in_words() -> None:
    kinds = set().union(*map(kinds_of, (PROJECT / "harness").rglob("*.py")))
    assert len(kinds) > 10
    assert kinds - set(storage.HOLDS) == set()


# What is removed


def test_the_least_recently_used_goes_first_and_no_more_than_necessary(root: Path) -> None:
    made("b", days=2)
    made("a", days=3)
    third, fourth = made("c", days=1), made("d", days=1.5)
    cache.entry("kind", key("a"), lambda path: pytest.fail("made a second time"))
    pruned = storage.prune(storage.look().size - du(third) - 1)
    assert names(pruned.entries) == [key("b")[:24], fourth.name]
    assert third.exists()
    assert cache.entry("kind", key("a"), lambda path: pytest.fail("it was used just now")).exists()
    assert pruned.before - pruned.after >= 2 * BLOCK
    assert pruned.after == content(root) <= (pruned.wanted or 0)


def test_without_a_size_no_entry_is_removed() -> None:
    entry = made("a", days=1000)
    assert storage.prune().entries == ()
    assert storage.prune(now=True).entries == ()
    assert entry.exists()


def test_only_kinds_that_are_named_count_and_are_removed() -> None:
    other = made("other", kind="uv", days=9)
    first, second = made("a", kind="sdks", days=2), made("b", kind="samples", days=1)
    size = du(second)
    pruned = storage.prune(size, kind="s*s")
    assert names(pruned.entries) == [first.name]
    assert (pruned.before, pruned.after) == (2 * size, size)
    assert other.exists()
    assert second.exists()
    assert storage.prune(0, kind="upstream").entries == (), "a kind that is not there yet"


def test_a_kind_that_there_is_not_is_a_mistake_and_nothing_is_removed() -> None:
    entry = made("a", days=9)
    with pytest.raises(SelectionError, match="no kind of entry is called 'uvs'") as caught:
        storage.prune(0, kind="uvs")
    assert "replicas" in caught.value.advice
    assert " uv," in caught.value.advice
    assert entry.exists()


def test_what_was_used_within_the_hour_stays_and_that_is_said() -> None:
    old, recent = made("old", days=1), made("recent", days=0.9 / 24)
    code, output = invoke("prune", "--to", "0")
    assert code == 0
    assert f"removed kind/{old.name}: " in output
    assert "1 entry was used within the last hour" in output
    assert "--now has them removed too" in output
    assert recent.exists()
    code, output = invoke("prune", "--to", "0", "--now")
    assert (code, recent.exists()) == (0, False)
    assert "last hour" not in output


def test_what_was_used_within_the_hour_is_not_mentioned_where_the_size_is_reached() -> None:
    made("recent")
    pruned = storage.prune(1 << 30)
    assert (pruned.recent, pruned.entries) == ((), ())


def test_a_dry_run_says_what_would_go_and_removes_nothing(root: Path) -> None:
    made("a", days=2)
    made("b", days=1)
    scratch = root / "kind" / f".{key('c')[:24]}.abcdefgh"
    scratch.mkdir()
    part = root / "partial" / f"{key('d')[:24]}-d.part"
    for folder in (part.parent, root / "upstream"):
        folder.mkdir()
    part.touch()
    aged(part, 8)
    before = there(root)
    code, output = invoke("prune", "--to", "0", "--dry-run")
    assert code == 0
    assert there(root) == before
    assert f"would remove kind/{scratch.name}, left by a process that died" in output
    assert f"would remove partial/{part.name}, a download cut short 8 days ago" in output
    assert re.search(rf"would remove kind/{key('a')[:24]}: \d+\.\d kB, used 2 days ago", output)
    assert "would remove 4 things: " in output
    # And that is what goes.
    assert invoke("prune", "--to", "0")[1] == output.replace("would remove", "removed")
    assert there(root) == {root / "kind", root / "partial", root / "upstream"}


def test_what_is_no_entry_is_never_removed(root: Path) -> None:
    """Also where somebody has named a folder of their own as the cache."""
    own = [root / "file", root / "zig/o", root / "kind/letters", root / "kind/.hidden"]
    own += [root / "kind" / key("k")[:23], root / "kind/.hidden.abcdefgh", root / "partial/movie"]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        aged(path, 1000)
    code, output = invoke("prune", "--to", "0", "--now")
    assert code == 0
    assert "nothing to remove" in output
    assert "what stays is no entry" in output
    assert [path for path in own if not path.exists()] == []


def test_a_symbolic_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / key("a")[:24]).mkdir()
    root.mkdir()
    (root / "kind").symlink_to(outside)
    assert storage.look().entries == ()
    storage.prune(0, now=True)
    assert (outside / key("a")[:24]).exists()


def test_what_cannot_be_removed_is_said_and_the_next_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck, free = made("stuck", days=2), made("free", days=1)
    remove = cache.remove

    def refusing(entry: Path, *, last_used: float) -> bool:
        if entry == stuck:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(entry))
        return remove(entry, last_used=last_used)

    monkeypatch.setattr(cache, "remove", refusing)
    code, output = invoke("prune", "--to", "0")
    assert code == 1
    assert f"{stuck} cannot be removed: Read-only file system" in output
    assert f"removed kind/{free.name}" in output


def test_a_cache_that_is_read_only_is_shown_and_not_pruned(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = made("a", days=1)
    scratch = root / "kind" / f".{entry.name}.abcdefgh"
    scratch.mkdir()

    def refuse(self: FileLock, timeout: float | None = None, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    found = storage.look()
    assert (names(found.entries), names(found.in_work)) == ([entry.name], [scratch.name])
    code, output = invoke("prune", "--to", "0")
    assert code == 1
    assert f"{root} cannot be pruned: Read-only file system" in output
    assert entry.exists()


def test_a_download_is_kept_for_a_week_to_go_on_with(root: Path) -> None:
    folder = root / "partial"
    folder.mkdir(parents=True)
    fresh, stale = (folder / f"{key(name)[:24]}-{name}.part" for name in ("fresh", "stale"))
    for path, days in ((fresh, 6.9), (stale, 7.1)):
        for each in (path, path.with_name(f"{path.name}.json")):
            each.write_text("x")
            aged(each, days)
    assert re.search("downloads to go on with: 2, .*, the oldest of 7 days ago", shown_now())
    assert len(storage.prune().partial) == 2
    assert {path.name for path in folder.iterdir()} == {fresh.name, f"{fresh.name}.json"}


def shown_now() -> str:
    return shown(storage.look())


def test_a_download_that_somebody_goes_on_with_is_left(root: Path) -> None:
    entry = root / "upstream" / f"{key('a')[:24]}-a.tar.gz"
    part = root / "partial" / f"{entry.name}.part"
    for path in (entry, part):
        path.parent.mkdir(parents=True)
    part.write_text("x")
    aged(part, 30)
    with FileLock(cache.lock_file(entry)):
        assert storage.prune().partial == ()
    assert part.exists()
    assert names(storage.prune().partial) == [part.name]


# Other processes

HOLDING = """
import sys, time
from pathlib import Path
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

MAKING = """
import sys, time
from harness import cache

def make(path):
    path.mkdir()
    (path / "file").write_text("half")
    print("half", flush=True)
    sys.stdin.read()

cache.entry("kind", sys.argv[1], make)
"""


@contextmanager
def process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One that has said a word, and ends when its standard input does."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout
        assert started.stdout.readline()
        yield started


def test_an_entry_that_another_process_is_at_is_left_and_the_next_is_taken() -> None:
    busy, free = made("busy", days=2), made("free", days=1)
    with process(HOLDING, str(cache.lock_file(busy))):
        code, output = invoke("prune", "--to", "0", "--now")
    assert code == 0
    assert "1 entry in use at this moment: left" in output
    assert busy.exists()
    assert not free.exists()


def test_what_a_killed_process_left_is_removed(root: Path) -> None:
    with process(MAKING, key("a")) as maker:
        maker.send_signal(signal.SIGKILL)
    (left,) = storage.look().leftovers
    assert "left by processes that died: 1, " in shown_now()
    assert names(storage.prune().leftovers) == [left.path.name]
    assert there(root) == {root / "kind"}


def test_what_a_living_process_makes_is_left(root: Path) -> None:
    with process(MAKING, key("a")) as maker:
        found = storage.look()
        assert (len(found.in_work), found.leftovers) == (1, ())
        assert "being made or removed now: 1" in shown(found)
        assert storage.prune(0, now=True).leftovers == ()
        maker.communicate()
        assert maker.returncode == 0
    assert (root / "kind" / key("a")[:24] / "file").read_text() == "half"


def test_what_was_left_is_not_removed_once_its_entry_is_made_again(root: Path) -> None:
    """Between the look and the removal somebody may have begun to."""
    scratch = root / "kind" / f".{key('a')[:24]}.abcdefgh"
    scratch.mkdir(parents=True)
    found = storage.look()
    assert names(found.leftovers) == [scratch.name]
    with FileLock(cache.lock_file(root / "kind" / key("a")[:24])):
        assert storage._prune(found, 0, "*", now=True, dry_run=False).leftovers == ()
    assert scratch.exists()


PRUNING = """
import sys
from harness import storage

def say(line):
    print(line, flush=True)

pruned = storage.prune(int(sys.argv[1]), say=say)
print(*(item.path.name for item in pruned.entries))
"""


def test_two_prunes_at_once_remove_what_one_would(root: Path) -> None:
    entries = [made(str(number), days=20 - number) for number in range(10)]
    wanted = storage.look().size - 4 * du(entries[0])
    with (
        FileLock(root / ".prune.lock") as lock,
        process(PRUNING, str(wanted)) as one,
        process(PRUNING, str(wanted)) as other,
    ):
        lock.release()  # Both have said that they wait.
        removed = [each.communicate()[0].split() for each in (one, other)]
    assert sorted(removed) == [[], [entry.name for entry in entries[:4]]]
    assert [entry.exists() for entry in entries] == [False] * 4 + [True] * 6


ASKING = """
import random, sys, time
from harness import cache

FILES, RECENT, END = 20, float(sys.argv[2]), time.monotonic() + float(sys.argv[3])

def make(path):
    path.mkdir()
    for number in range(FILES):
        (path / str(number)).write_text("whole")

chosen = random.Random(int(sys.argv[1]))
asked = late = 0
print("ready", flush=True)
while time.monotonic() < END:
    key = f"{int(chosen.random() ** 6 * 300):064x}"[::-1]
    start = time.monotonic()
    path = cache.entry("kind", key, make)
    try:
        found = [(path / str(number)).read_text() for number in range(FILES)]
    except FileNotFoundError:
        # Else this process was kept waiting for longer than who asks may take.
        assert time.monotonic() - start > RECENT, f"{path} was pulled away"
        late += 1
        continue
    assert found == ["whole"] * FILES
    asked += 1
print(asked, late)
"""


def test_whoever_asks_has_a_whole_entry_while_others_are_pruned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent = 0.05
    monkeypatch.setattr(storage, "RECENT", recent)
    removed = 0
    with (
        process(ASKING, "1", str(recent), "1.5") as one,
        process(ASKING, "2", str(recent), "1.5") as other,
    ):
        while one.poll() is None or other.poll() is None:
            pruned = storage.prune(0)
            assert pruned.problems == ()
            removed += len(pruned.entries)
        said = [each.communicate()[0].split() for each in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0]
    assert removed > 20
    assert all(int(asked) > 20 for asked, _ in said)
    assert storage.prune().leftovers == (), "nobody died"


# The command


def test_a_size_that_is_none_is_one_message() -> None:
    code, output = invoke("prune", "--to", "banana")
    assert code == ExitCode.CONFIGURATION
    assert output.startswith("pbs-matrix: error: 'banana' is no size\n")
    assert output.count("\n") == 2


@pytest.mark.parametrize("option", [("--kind", "uv"), ("--now",)])
def test_options_about_entries_need_a_size(option: tuple[str, ...]) -> None:
    code, output = invoke("prune", *option)
    assert code == ExitCode.CONFIGURATION
    assert "without --to none does" in output


def test_both_commands_have_help() -> None:
    assert "prune" in invoke("--help")[1]
    code, output = invoke("prune", "--help")
    assert code == 0
    for option in ("--to SIZE", "--kind GLOB", "--now", "--dry-run"):
        assert option in output


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "a moment"),
        (59, "a moment"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (2 * 3600, "2 hours"),
        (DAY, "1 day"),
        (400 * DAY, "400 days"),
    ],
)
def test_a_span_of_time_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    assert storage.age(seconds) == words
