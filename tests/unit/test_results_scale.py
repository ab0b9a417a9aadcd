"""Results files of any length: read line by line, and of no line more kept than is needed."""

from __future__ import annotations

import errno
import json
import tempfile
import tracemalloc
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import results_scale
from harness import brief, cli, comparison, durations, merging, output, results
from harness.comparison import Change
from harness.errors import ConfigurationError, DiskFullError, ExitCode
from harness.filing import suspects, troubles
from harness.outcome import Reason
from harness.planning import rerun
from harness.report import model
from harness.results import Result, Writer
from harness.signature import FLAKY
from tests.unit.sample_results import LIBPYTHON, made

CELLS = 300


class Alive:
    """Counts how many of the lines that it gives are there at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.given = 0

    def _gone(self) -> None:
        self.now -= 1

    def lines(self, outcome: Reason = Reason.IMPORTS) -> Iterator[Result]:
        for number in range(CELLS):
            evidence = {"long": f"{number}" * 2000}
            result = made(f"sample-{number}", outcome, evidence=evidence, took=1.0)
            self.now, self.given = self.now + 1, self.given + 1
            self.most = max(self.most, self.now)
            weakref.finalize(result, self._gone)
            yield result
            del result

    def read(self, path: Path) -> Iterator[Result]:
        """In place of what reads a file."""
        return self.lines(Reason.CRASH if path.name == "new.jsonl" else Reason.IMPORTS)


def merged(base: Path, new: Path) -> list[bytes]:
    with merging.merged([base, new]) as found:
        return list(found.lines())


CONSUMERS: dict[str, Callable[[Path, Path], object]] = {
    "compare": lambda base, new: comparison.compare(results.read(base), results.read(new)),
    "issues": lambda base, new: troubles.of(results.read(new), results.read(base)),
    "suspects": lambda base, new: suspects.find(results.read(new), results.read(base), most=4),
    "durations": lambda base, new: (durations.read(base), durations.read(new)),
    "merge": merged,
    "rerun": lambda base, new: rerun.chosen(
        [str(base), str(new)],
        None,  # type: ignore[arg-type]  # neither is looked at where files are named
        None,  # type: ignore[arg-type]
        only_failed=True,
    ),
}


@pytest.mark.parametrize("consume", CONSUMERS.values(), ids=CONSUMERS)
def test_a_line_is_gone_before_the_one_after_the_next_is_read(
    consume: Callable[[Path, Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = Alive()
    monkeypatch.setattr(results, "read", alive.read)
    kept = consume(tmp_path / "base.jsonl", tmp_path / "new.jsonl")
    assert kept is not None
    assert alive.given == 2 * CELLS
    assert alive.most <= 2, "the one that is looked at, and the one that is being read"


def test_the_test_above_sees_what_keeps_lines() -> None:
    alive = Alive()
    assert len(list(alive.lines())) == CELLS
    assert alive.most == CELLS


def long_file(path: Path, outcome: Reason = Reason.IMPORTS) -> Path:
    """2000 lines of 4 KB, as after many retries with explanations."""
    with Writer(path) as writer:
        for number in range(2000):
            pins = {"archive_sha256": "a" * 64, "image": f"{number}" * 100, "qemu": None}
            evidence = {"long": f"{number:04}" * 700}
            writer.write(made(f"s{number}", outcome, "why", pins=pins, evidence=evidence))
    return path


def peak(function: Callable[[], object]) -> int:
    """Bytes of memory at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("consume", CONSUMERS.values(), ids=CONSUMERS)
def test_what_is_kept_of_long_lines_is_short(
    consume: Callable[[Path, Path], object], tmp_path: Path
) -> None:
    base, new = (
        long_file(tmp_path / f"{name}.jsonl", outcome)
        for name, outcome in (("base", Reason.IMPORTS), ("new", Reason.CRASH))
    )
    if consume is merged:
        consume = _written
    consume(base, new)  # what is kept for good, such as of modules, is there now
    size = base.stat().st_size
    assert size > 2000 * 3500
    assert peak(lambda: consume(base, new)) < size / 3


def _written(base: Path, new: Path) -> None:
    with merging.merged([base, new]) as found:
        output.write_pieces(base.with_name("out"), found.lines())


def test_cells_that_say_the_same_in_both_runs_are_kept_once() -> None:
    lines = [made("a", pins={"wheels": {"a.whl": "1"}}), made("b", Reason.CRASH)]
    again = [line.model_copy(update={"seconds": 9.0, "evidence": {"x": 1}}) for line in lines]
    for pair in comparison.compare(lines, again).pairs:
        assert pair.new is pair.base
        assert pair.causes == ()


def test_what_differs_in_pins_is_kept_apart() -> None:
    one, other = ({"wheels": {"a.whl": sha}, "image": "x"} for sha in "12")
    (pair,) = comparison.compare([made(pins=one)], [made(pins=other)]).pairs
    assert pair.base is not None
    assert pair.base.result.pins == {"wheels": {"a.whl": "1"}}
    assert pair.new is not None
    assert pair.new.result.pins == {"wheels": {"a.whl": "2"}}
    assert [cause.what for cause in pair.causes] == ["wheels"]


def test_cells_with_equal_pins_share_them() -> None:
    lines = [made(name, pins={"wheels": {"w.whl": "1"}, "before": None}) for name in "ab"]
    one, other = (pair.new for pair in comparison.compare([], lines).pairs)
    assert one is not None
    assert other is not None
    assert one.result.pins["wheels"] is other.result.pins["wheels"]


@pytest.mark.parametrize("first", [True, False])
def test_a_cell_is_flaky_if_one_of_its_lines_says_so(first: bool) -> None:
    lines = [made("a", evidence={FLAKY: True}), made("a", seconds=9.0)]
    (pair,) = comparison.compare([made("a")], lines if first else lines[::-1]).pairs
    assert pair.change is Change.FLAKY


def test_a_conflict_is_in_the_files_that_have_an_answer(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for path, outcome in zip(paths, (Reason.IMPORTS, Reason.UNTESTABLE, Reason.CRASH), strict=True):
        with Writer(path) as writer:
            writer.write(made("a", outcome))
    with merging.merged(paths) as found:
        (conflict,) = found.conflicts
    assert conflict.files == (paths[0], paths[2])


def test_a_brief_says_what_its_line_says() -> None:
    ruled = {"outcome": "missing-library", "missing_library": LIBPYTHON, "needed_by": None}
    line = made(
        "a",
        Reason.CRASH,
        "m",
        predicted={**ruled, "searched": ["/lib"]},
        pins={"archive_is_replica": True, "image": "x", "qemu": None, "before": {"a": [1]}},
        upgraded_from="0.7.5",
        linked="shared",
    )
    told = brief.of(line, brief.Shared())
    for name in brief.Brief.__slots__:
        if name not in ("pinned", "predicted"):
            assert getattr(told, name) == getattr(line, name), name
    assert told.predicted is not None
    assert line.predicted is not None
    assert told.predicted.outcome is line.predicted.outcome
    assert told.predicted.missing_library == LIBPYTHON
    assert told.pins == {"qemu": None, "before": {"a": [1]}}


def test_values_are_shared_only_with_those_of_their_type() -> None:
    shared = brief.Shared()
    words, reason = shared(("imports", None)), shared(("x",))
    assert shared(("imports", None)) is words
    assert shared(("x",)) is reason
    assert shared("imports") is not shared(Reason.IMPORTS)
    assert type(shared(Reason.IMPORTS)) is Reason


@pytest.mark.parametrize("flaky", [["crash", "imports"], True])
def test_the_same_flaky_cell_on_both_sides_is_told_from_both(flaky: object) -> None:
    line = made("a", evidence={FLAKY: flaky})
    (pair,) = comparison.compare([line], [line]).pairs
    assert pair.change is Change.FLAKY
    assert pair.base is not None
    assert pair.signature == f"{pair.base.words} | {pair.base.words}"


HOSTILE = 'x\n"groups": []\n"cells": [] \u2028 \\ "'


@pytest.mark.parametrize(
    ("base", "new"),
    [
        ([], []),
        ([made("a")], []),
        ([made("a"), made("b")], [made("a", Reason.IMPORT_ERROR, HOSTILE), made("b")]),
        ([made("a")], [made(HOSTILE, pins={"wheels": {HOSTILE: HOSTILE}})]),
        ([made("a", pins={"uv_sha256": "1"})], [made("a", pins={"uv_sha256": HOSTILE})]),
    ],
    ids=["nothing", "one side", "several", "odd names", "odd pins"],
)
def test_json_in_pieces_is_as_json_writes_it_at_once(
    base: Sequence[Result], new: Sequence[Result]
) -> None:
    text = "".join(comparison.as_json(comparison.compare(base, new)))
    assert text == json.dumps(json.loads(text), indent=1)


def test_json_comes_cell_by_cell() -> None:
    lines = [made(f"s{number}") for number in range(500)]
    found = comparison.compare(lines, lines)
    whole = sum(map(len, comparison.as_json(found)))
    assert max(map(len, comparison.as_json(found))) < whole / 100


def test_nothing_is_left_of_what_merging_keeps_on_the_disk(tmp_path: Path) -> None:
    shard, folder = long_file(tmp_path / "1.jsonl"), tmp_path / "out"
    folder.mkdir()
    done = CliRunner().invoke(cli.main, ["merge", str(shard), "-o", str(folder / "all.jsonl")])
    assert done.exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["all.jsonl"]
    assert sorted((folder / "all.jsonl").read_bytes().splitlines()) == sorted(
        shard.read_bytes().splitlines()
    )


def test_merging_keeps_what_it_reads_where_the_output_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary files may be in memory, or on a small disk."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: pytest.fail("asked for"))
    shard = long_file(tmp_path / "1.jsonl")
    there = tmp_path / "new" / "folder" / "all.jsonl"
    done = CliRunner().invoke(cli.main, ["merge", str(shard), "-o", str(there)])
    assert (done.exit_code, len(there.read_bytes().splitlines())) == (0, 2000)


class Full:
    """A file on a full disk; what is not written yet cannot be at its end either."""

    def write(self, *content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    close = write


@pytest.mark.parametrize("at_once", [True, False])
def test_merging_on_a_full_disk_says_so_and_leaves_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    shard, out = long_file(tmp_path / "1.jsonl"), tmp_path / "out.jsonl"
    out.write_text("before")

    def full(**where: Path) -> Full:
        assert where == {"dir": tmp_path}
        if at_once:
            raise OSError(errno.ENOSPC, "No space left on device")
        return Full()

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(output, "require_writable", lambda *paths: None)
    done = CliRunner().invoke(cli.main, ["merge", str(shard), "-o", str(out)])
    assert done.exit_code == ExitCode.DISK_FULL == DiskFullError.exit_code
    assert f"cannot be kept in {tmp_path} meanwhile: No space left on device" in done.output
    assert out.read_text() == "before"


def test_pieces_that_break_off_leave_the_file_whole(tmp_path: Path) -> None:
    def pieces() -> Iterable[bytes]:
        yield b"half"
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "f"
    path.write_text("before")
    with pytest.raises(ConfigurationError, match="cannot be written: Input/output error"):
        output.write_pieces(path, pieces())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_has_each_merged_cell_once(tmp_path: Path) -> None:
    shard = long_file(tmp_path / "1.jsonl")
    with merging.merged([shard, shard]) as found:
        assert len(model.read(found)) == found.cells == 2000


def test_the_benchmarks_files_are_two_nights_of_a_run(tmp_path: Path) -> None:
    files = results_scale.made(tmp_path, 2000)
    found = comparison.compare(results.read(files.base), results.read(files.new))
    assert len(found.pairs) == 2000
    assert found.counts[Change.REGRESSED] == 2
    assert found.counts[Change.SAME_FAILURE] == 100
    halves = [path.read_text() for path in files.shards]
    assert [len(half.splitlines()) for half in halves] == [1000, 1000]
    assert "".join(halves) == files.new.read_text()
    assert not any(pair.causes for pair in found.pairs)
