"""A bisection's journal loses nothing but what was under way, and says what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cache, storage
from harness.bisection import endings, journal
from harness.bisection.model import Axis, Inquiry, Trial
from harness.bisection.search import (
    Answer,
    Cancelled,
    Counts,
    Direction,
    End,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    Transition,
    WrongEnds,
)
from harness.errors import ConfigurationError, DiskFullError, SelectionError
from harness.platforms import Platform
from tests.unit.sample_bisection import bad, ending_of, inquiry, result, trials

PROJECT = Path(__file__).parents[2]
ASKED = inquiry()
TRIALS = trials(ASKED, ".x?x-")
FOUND = Found(last=0, first=1, warnings=("sampled 1 of the rest",))
CUT_SHORT = ending_of(ASKED, TRIALS[:2])


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def written(asked: Inquiry = ASKED, *tested: Trial, ending: Ending | None = None) -> Path:
    """A journal that nobody has open."""
    with journal.create(asked) as made:
        for trial in tested:
            made.append(trial)
        if ending:
            made.end(ending)
        return made.path


def read(path: Path) -> tuple[Inquiry, tuple[Trial, ...], Ending | None]:
    with journal.open(path, write=False) as found:
        return found.inquiry, found.trials, found.ending


# What is written is what is read

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
indices = st.integers(0, 4)
some = st.lists(indices, max_size=3).map(tuple)
warnings = st.lists(st.text(), max_size=2).map(tuple)
counts = st.builds(Counts, good=indices, bad=indices, untestable=indices)
transitions = st.lists(
    st.builds(
        Transition,
        last=indices,
        first=indices,
        was=st.sampled_from(Answer),
        becomes=st.sampled_from(Answer),
        untestable=some,
        unasked=some,
    ),
    max_size=3,
).map(tuple)
ends = st.builds(
    End,
    index=indices,
    counts=counts,
    nearest=st.none() | indices,
    answer=st.none() | st.sampled_from(Answer),
)
any_ending = st.one_of(
    st.builds(Found, last=indices, first=indices, warnings=warnings),
    st.builds(Range, last=indices, first=indices, untestable=some, unasked=some, warnings=warnings),
    st.builds(NotMonotonic, transitions=transitions, warnings=warnings),
    st.builds(WrongEnds, good=ends, bad=ends, warnings=warnings),
    st.builds(Flaky, index=indices, counts=counts, warnings=warnings),
    st.builds(
        Cancelled, transitions=transitions, good=ends, bad=ends, asked=indices, warnings=warnings
    ),
)


@given(
    st.lists(st.tuples(indices, st.text(), st.dictionaries(st.text(), json_values, max_size=3))),
    any_ending,
)
def test_a_journal_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    tested: list[tuple[int, str, dict[str, object]]],
    ending: Ending,
) -> None:
    made = [
        Trial(place=place, result=result(ASKED, place, bad(said), evidence=evidence))
        for place, said, evidence in tested
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PBS_MATRIX_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = written(ASKED, *made, ending=ending)
        assert read(path) == (ASKED, tuple(made), ending)
        assert len(path.read_bytes().splitlines()) == len(made) + 2


@given(any_ending)
def test_an_ending_is_the_same_after_it_was_kept_as_json(ending: Ending) -> None:
    assert endings.load(json.loads(json.dumps(endings.dump(ending)))) == ending


def test_what_was_found_out_is_in_the_file_before_the_next_is_asked() -> None:
    with journal.create(ASKED) as opened:
        for number, trial in enumerate(TRIALS):
            opened.append(trial)
            assert opened.trials == TRIALS[: number + 1] == read(opened.path)[1]


def test_a_line_is_on_the_disk_and_not_only_with_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        real(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, os.fstat(descriptor).st_size))

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    with journal.create(ASKED) as opened:
        assert [name for name, _ in synced] == [f".{opened.path.name}.new", journal.FOLDER]
        opened.append(TRIALS[0])
        assert synced[-1] == (opened.path.name, opened.path.stat().st_size)


# Going on


def test_a_session_goes_on_where_it_stopped() -> None:
    path = written(ASKED, *TRIALS[:2])
    with journal.open(path) as opened:
        assert (opened.inquiry, opened.trials, opened.ending) == (ASKED, TRIALS[:2], None)
        for trial in TRIALS[2:]:
            opened.append(trial)
        opened.end(FOUND)
    assert read(path) == (ASKED, TRIALS, FOUND)


def test_a_last_line_that_was_cut_at_any_byte_is_dropped_and_written_over() -> None:
    path = written(ASKED, *TRIALS)
    content = path.read_bytes()
    whole = len(b"".join(content.splitlines(keepends=True)[:-1]))
    for size in range(whole, len(content)):
        path.write_bytes(content[:size])
        assert read(path) == (ASKED, TRIALS[:-1], None)
        assert path.stat().st_size == size, "who only looks changes nothing"
        # Going on takes a while for each byte of a line.
        if size % 97 == 0 or size > len(content) - 3:
            with journal.open(path) as opened:
                opened.append(TRIALS[-1])
            assert path.read_bytes() == content


def test_nothing_stays_of_a_line_that_was_longer_than_the_next() -> None:
    path = written(ASKED, *TRIALS[:2])
    content = path.read_bytes()
    path.write_bytes(content + b'{"trial":' + b" " * 100_000)
    with journal.open(path) as opened:
        opened.append(TRIALS[2])
    assert path.read_bytes().startswith(content)
    assert len(path.read_bytes().splitlines()) == 4
    assert read(path)[1] == TRIALS[:3]


def test_an_ending_that_was_cut_at_any_byte_is_none() -> None:
    path = written(ASKED, *TRIALS, ending=FOUND)
    content = path.read_bytes()
    whole = len(b"".join(content.splitlines(keepends=True)[:-1]))
    for size in range(whole, len(content)):
        path.write_bytes(content[:size])
        assert read(path) == (ASKED, TRIALS, None)
        assert journal.newest() == path


@pytest.mark.parametrize("end", [b"\0" * 4096, b"\0" * 10 + b'"x"}}\n', b'{"trial"' + b"\0" * 9])
def test_zeros_that_a_power_cut_left_in_the_last_line_are_dropped(end: bytes) -> None:
    path = written(ASKED, *TRIALS[:2])
    content = path.read_bytes()
    path.write_bytes(content + end)
    assert read(path)[1] == TRIALS[:2]
    with journal.open(path) as opened:
        opened.append(TRIALS[2])
    assert path.read_bytes().startswith(content)
    assert read(path)[1] == TRIALS[:3]


def test_what_was_cut_short_goes_on_and_what_has_ended_does_not() -> None:
    path = written(ASKED, *TRIALS[:2], ending=CUT_SHORT)
    assert isinstance(CUT_SHORT, Cancelled)
    assert read(path)[2] == CUT_SHORT
    with journal.open(path) as opened:
        opened.append(TRIALS[2])
        assert opened.ending is None
        assert read(path)[2] is None
        opened.end(FOUND)
        with pytest.raises(ValueError, match="has come to its end"):
            opened.append(TRIALS[3])
        with pytest.raises(ValueError, match="has come to its end"):
            opened.end(FOUND)
    assert read(path) == (ASKED, TRIALS[:3], FOUND)


@pytest.mark.parametrize("part", [0, 1, 50])
def test_a_full_disk_costs_the_trial_in_flight_and_damages_nothing(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        os.truncate(descriptor, before + part)
        raise OSError(errno.ENOSPC, "No space left on device")

    with journal.create(ASKED) as opened:
        opened.append(TRIALS[0])
        before = opened.path.stat().st_size
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            with pytest.raises(DiskFullError):
                opened.append(TRIALS[1])
        assert opened.trials == TRIALS[:1] == read(opened.path)[1]
        opened.append(TRIALS[2])
        assert opened.trials == (TRIALS[0], TRIALS[2]) == read(opened.path)[1]


def test_a_journal_that_could_not_be_begun_is_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ConfigurationError, match="cannot be written: Input/output error"):
            journal.create(ASKED)
    assert [path.suffix for path in (root / journal.FOLDER).iterdir()] in ([], [".lock"])
    assert journal.newest() is None
    assert written() == journal.newest(), "and its lock is free"


# Damage

GARBAGE = [
    ("", "Expecting value"),
    ("garbage", "Expecting value"),
    ("[]", "neither an inquiry"),
    ('{"trial": {}, "more": 1}', "neither an inquiry"),
    ('{"trial": {}}', "place: Field required"),
    ('{"ending": {"kind": "lost"}}', "no ending has the kind"),
    ('{"ending": []}', "no ending has the kind"),
    ('{"ending": {"kind": "found", "last": 0, "first": 1}}', "fields that it does not have"),
    ('{"ending": {"kind": "found", "last": 0, "first": 9, "warnings": []}}', "no candidate 9"),
    ("[" * 100_000, "recursion"),
    ('{"trial": "\\', "Unterminated string"),
]


@pytest.mark.parametrize(("line", "problem"), GARBAGE, ids=lambda text: text[:30])
def test_any_other_damage_is_named_by_file_and_line(line: str, problem: str) -> None:
    path = written(ASKED, *TRIALS)
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("".join(f"{line}\n" for line in lines))
    content = path.read_bytes()
    for write in (False, True):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            journal.open(path, write=write)
        assert f"{path}:3: " in caught.value.problem
    assert path.read_bytes() == content


def lines_of(*kinds: str) -> Callable[[], bytes]:
    """A file of such lines of a good one."""

    def make() -> bytes:
        path = written(ASKED, TRIALS[0], ending=FOUND)
        known = dict(
            zip(("inquiry", "trial", "ending"), path.read_bytes().splitlines(), strict=True)
        )
        path.unlink()
        return b"".join(known[kind] + b"\n" for kind in kinds)

    return make


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda: b"", 1),
        (lambda: b'{"inquiry', 1),
        (lambda: b"\0\n", 1),
        (lines_of("trial"), 1),
        (lines_of("ending"), 1),
        (lines_of("inquiry", "inquiry"), 2),
        (lines_of("inquiry", "trial", "inquiry"), 3),
        (lines_of("inquiry", "ending", "trial"), 3),
        (lines_of("inquiry", "ending", "ending"), 3),
    ],
)
def test_lines_that_are_not_where_they_belong_are_damage(
    make: Callable[[], bytes], number: int
) -> None:
    content = make()
    path = written()
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        journal.open(path)
    assert f"{path}:{number}: " in caught.value.problem


@pytest.mark.parametrize("change", [{"good": 5}, {"bad": -1}, {"schema_version": 2}])
def test_an_inquiry_that_makes_no_sense_is_damage(change: dict[str, int]) -> None:
    path = written()
    line = json.loads(path.read_text())
    line["inquiry"] |= change
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ConfigurationError, match=":1: damaged, or of another version"):
        journal.open(path)


def test_a_trial_of_a_candidate_that_there_is_not_is_damage() -> None:
    path = written(ASKED, TRIALS[0].model_copy(update={"place": 5}))
    with pytest.raises(ConfigurationError, match=r":2: .*there is no candidate 5"):
        journal.open(path)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jsonl", tmp_path):
        for write in (False, True):
            with pytest.raises(ConfigurationError, match="cannot be read"):
                journal.open(path, write=write)
    assert [path.name for path in tmp_path.iterdir()] == [], "not even a lock is left behind"


# Several processes

HOLDING = """
import sys
from pathlib import Path
from harness.bisection import journal
with journal.open(Path(sys.argv[1])) as opened:
    print("open", flush=True)
    sys.stdin.read()
"""
WRITING = """
import sys
from pathlib import Path
from harness.bisection import journal
with journal.open(Path(sys.argv[1])) as opened:
    trial = opened.trials[0]
    print(len(opened.trials), flush=True)
    while True:
        opened.append(trial)
        print(len(opened.trials), flush=True)
"""


def start(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )


def test_only_one_process_goes_on_with_a_session(tmp_path: Path) -> None:
    path = written(ASKED, *TRIALS)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with start(HOLDING, path) as other:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        for way in (path, link, Path(os.path.relpath(path))):
            with pytest.raises(
                ConfigurationError, match=f"is being gone on with by process {other.pid}\n"
            ):
                journal.open(way)
        assert read(path)[1] == TRIALS, "anybody may look"
        other.kill()
        other.wait()
        with journal.open(path) as opened:
            opened.append(TRIALS[0])
            with pytest.raises(ConfigurationError, match=f"by process {os.getpid()}\n"):
                journal.open(path)
        journal.open(path).close()


def test_who_only_looks_cannot_write() -> None:
    with (
        journal.open(written(), write=False) as opened,
        pytest.raises(ValueError, match="opened to be read"),
    ):
        opened.append(TRIALS[0])


def test_whoever_is_killed_while_writing_loses_no_more_than_what_was_under_way() -> None:
    path = written(ASKED, TRIALS[0])
    told = 1
    for more in range(8):
        with start(WRITING, path) as writer:
            assert writer.stdout
            assert int(writer.stdout.readline()) >= told, "all that was told before is there"
            for _ in range(more):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            *_, told = (told, *(int(line) for line in writer.stdout if line.endswith("\n")))
        assert told <= len(read(path)[1]) <= told + 1


# Which one


def test_a_new_id_is_readable_and_names_no_file_that_is_there() -> None:
    now = datetime(2026, 11, 28, 22, 4, 5, tzinfo=UTC)
    made = {journal.new_id(now, f"python-mscl-{Platform.X86_64}") for _ in range(9)}
    assert len(made) > 1
    for name in made:
        assert name.startswith("20261128-2204-python-mscl-x86_64-")
    hostile = journal.new_id(now, "../../etc\n/passwd " + "x" * 500)
    assert written(inquiry(id=hostile)) == journal.newest()


def test_an_id_that_is_taken_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 28, 22, 4, tzinfo=UTC)
    tokens = iter(["ab12", "ab12", "cd34"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(tokens))
    written(inquiry(id=journal.new_id(now, "x")))
    assert journal.new_id(now, "x") == "20261128-2204-x-cd34"


def test_a_journal_is_not_begun_twice_nor_outside_of_its_folder() -> None:
    path = written(ASKED, *TRIALS)
    with pytest.raises(ConfigurationError, match="there is a bisection") as caught:
        journal.create(ASKED)
    assert f"--resume {ASKED.id}" in caught.value.advice
    assert read(path)[1] == TRIALS
    journal.open(path).close()
    for name in ("../x", "", ".x", "a/b", "a\0"):
        with pytest.raises(ValueError, match="cannot be the name of a file"):
            journal.create(inquiry(id=name))


def aged(path: Path, age: int) -> Path:
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def test_the_newest_is_the_one_that_was_written_to_last() -> None:
    assert journal.newest(unfinished=False) is None
    first = aged(written(inquiry(id="z")), 300)
    second = aged(written(inquiry(id="a")), 200)
    ended = aged(written(inquiry(id="m"), *TRIALS, ending=FOUND), 100)
    assert journal.newest() == second
    assert journal.newest(unfinished=False) == ended
    with journal.open(first) as opened:
        opened.append(TRIALS[0])
    assert journal.newest() == journal.newest(unfinished=False) == first
    with journal.open(first) as opened:
        opened.end(CUT_SHORT)
    assert journal.newest() == first, "what was cut short can be gone on with"


def test_one_is_found_by_its_id_by_its_path_or_as_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SelectionError, match="no bisection has been made"):
        journal.find()
    first, second = aged(written(inquiry(id="one")), 100), written(inquiry(id="two"), ending=FOUND)
    assert journal.find("one") == journal.find(str(first)) == journal.find(unfinished=True) == first
    assert journal.find() == second
    with journal.open(first) as opened:
        opened.end(FOUND)
    with pytest.raises(SelectionError, match="no bisection was cut short"):
        journal.find(unfinished=True)
    copy = tmp_path / "copy.txt"
    copy.write_bytes(first.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert journal.find("copy.txt") == Path("copy.txt")
    for name in ("three", "../one", "x" * 5000, "a\0b", "no/such"):
        with pytest.raises(SelectionError, match="there is no bisection") as caught:
            journal.find(name)
        assert "one" in caught.value.advice


DIFFERENT = [
    {"platform": Platform.AARCH64},
    {"subject": "other"},
    {"base": "other"},
    {"any_failure": True},
    {"candidates": (*ASKED.candidates, ASKED.candidates[0])},
    {"check": 5},
    {"direction": Direction.FIX},
    {"axis": Axis.UV},
]


@pytest.mark.parametrize("change", DIFFERENT, ids=lambda change: next(iter(change)))
def test_another_question_is_another(change: dict[str, object]) -> None:
    other = ASKED.model_copy(update={"id": "other", **change})
    assert not journal.matches(ASKED, other)
    written(other)
    assert journal.unfinished_like(ASKED) is None


def test_the_same_question_is_known_again_as_long_as_it_is_unfinished() -> None:
    same = inquiry(id="same", started="later", command="other words", notes=("offline",), jobs=4)
    assert journal.matches(ASKED, same)
    assert journal.unfinished_like(same) is None
    path = written(ASKED, *TRIALS)
    path.with_name("damaged.jsonl").write_text("{}\n")
    path.with_name("empty.jsonl").write_text("")
    assert journal.unfinished_like(same) == ASKED.id
    with journal.open(path) as opened:
        opened.end(FOUND)
    assert journal.unfinished_like(same) is None


# In the cache


def test_no_journal_is_pruned_and_the_cache_says_what_they_are(root: Path) -> None:
    path = aged(written(ASKED, *TRIALS), 10**8)
    entry = cache.entry("uv", "ab" * 32, Path.touch)
    files = set(path.parent.iterdir())
    pruned = storage.prune(0, now=True)
    assert [item.path for item in pruned.entries] == [entry]
    with journal.open(path):
        storage.prune(0, kind=journal.FOLDER, now=True)
    assert set(path.parent.iterdir()) == files
    assert journal.FOLDER in storage.HOLDS
    assert read(path)[1] == TRIALS


def test_what_is_no_journal_among_them_is_neither_waited_for_nor_an_end(root: Path) -> None:
    """A pipe, a folder, a link to itself, nesting beyond what a parser bears."""
    written(ASKED, *TRIALS[:1])
    folder = root / journal.FOLDER
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    (folder / "deep.jsonl").write_text("[" * 100_000 + "\n")
    (loop := folder / "loop.jsonl").symlink_to(loop)
    assert journal.unfinished_like(ASKED) == ASKED.id
    for name in ("pipe", "folder", "deep", "loop"):
        with pytest.raises(ConfigurationError, match=f"{name}.jsonl"):
            journal.open(folder / f"{name}.jsonl")
