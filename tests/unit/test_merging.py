"""Results files made into one: each cell once, nothing lost unseen, the same from any order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness import cli, comparison, merging, planfile, results
from harness.comparison import Change
from harness.errors import ConfigurationError, ExitCode
from harness.merging import Merged
from harness.outcome import Reason
from harness.planfile import Job, Track
from harness.request import Request
from harness.resolution import Resolution
from harness.results import Result
from harness.sources import Source
from tests.unit.sample_results import LIBPYTHON, made, written
from tests.unit.test_results import ENUMS

PROJECT = Path(__file__).parents[2]


def merged(
    folder: Path, *shards: Sequence[Result], expected: Sequence[str] | None = None
) -> tuple[Merged, list[Result]]:
    paths = [written(folder / f"{n}.jsonl", shard) for n, shard in enumerate(shards)]
    out = folder / "merged.jsonl"
    with merging.merged(paths, expected) as found:
        out.write_bytes(b"".join(found.lines()))
    return found, list(results.read(out))


A, B, C = made("a"), made("b", Reason.CRASH), made("c")


def test_shards_become_one_file_in_an_order_of_its_own(tmp_path: Path) -> None:
    found, lines = merged(tmp_path, [C, A], [], [B])
    assert lines == [A, B, C]
    assert (found.read, found.identical, found.repeated) == (3, 0, 0)
    assert (found.conflicts, found.missing, found.unexpected) == ((), (), ())
    assert found.exit_code == 0


@given(st.permutations(range(8)), st.integers(1, 8))
def test_any_division_gives_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], size: int
) -> None:
    lines = [made(f"s{n}") for n in order]
    shards = [lines[start : start + size] for start in range(0, 8, size)]
    folder = tmp_path_factory.mktemp("shards")
    assert merged(folder, *shards)[1] == merged(folder, lines)[1]


def test_what_is_expected_gives_the_order(tmp_path: Path) -> None:
    found, lines = merged(tmp_path, [A, B], [C], expected=[C.id, A.id, C.id])
    assert lines == [C, A, B]
    assert found.unexpected == (B.id,)


def test_the_same_line_is_dropped_and_counted(tmp_path: Path) -> None:
    found, lines = merged(tmp_path, [A, A], [A, B])
    assert lines == [A, B]
    assert (found.identical, found.repeated, found.conflicts) == (2, 0, ())


def test_the_last_line_counts_where_the_answer_is_the_same(tmp_path: Path) -> None:
    later = made("a", seconds=9.0)
    found, lines = merged(tmp_path, [A], [later, A])
    assert lines == [later]
    assert (found.identical, found.repeated, found.conflicts) == (1, 1, ())


def test_different_answers_are_reported_and_noted_in_the_line(tmp_path: Path) -> None:
    other = made("a", Reason.MISSING_LIBRARY)
    found, (line,) = merged(tmp_path, [A], [other])
    (conflict,) = found.conflicts
    assert conflict.cell == A.id
    assert conflict.answers == ("imports", f"missing-library {LIBPYTHON}")
    assert conflict.files == (tmp_path / "0.jsonl", tmp_path / "1.jsonl")
    assert line.outcome is Reason.MISSING_LIBRARY
    assert line.model_copy(update={"evidence": {}}) == other
    assert line.evidence == {"flaky": list(conflict.answers)}
    assert "different answers: a-uv0.7.6" in next(merging.report(found))


def test_what_was_noted_survives_another_merge_and_is_seen_when_comparing(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    _, first = merged(tmp_path / "first", [A], [made("a", Reason.CRASH)])
    found, again = merged(tmp_path, first, [A], [made("a", Reason.TIMEOUT)])
    assert found.conflicts[0].answers == ("imports", "crash", "timeout")
    assert again[0].evidence["flaky"] == ["imports", "crash", "timeout"]
    (pair,) = comparison.compare([A], again).pairs
    assert pair.change is Change.FLAKY
    (pair,) = comparison.compare([A], [A, made("a", Reason.CRASH)]).pairs
    assert pair.change is Change.FLAKY


@pytest.mark.parametrize("reason", [Reason.UNTESTABLE, Reason.NOT_APPLICABLE])
@pytest.mark.parametrize("order", [1, -1])
def test_an_answer_goes_before_none(tmp_path: Path, reason: Reason, order: int) -> None:
    """A retry after the engine died is no different answer."""
    lines = [made("a", reason, "no space"), B.model_copy(update={"id": A.id})][::order]
    found, (line,) = merged(tmp_path, lines[:1], lines[1:])
    assert line.outcome is Reason.CRASH
    assert line.evidence == {}
    assert (found.repeated, found.conflicts) == (1, ())


def test_holes_are_named_and_what_there_is_is_kept(tmp_path: Path) -> None:
    found, lines = merged(tmp_path, [B], [A], expected=[A.id, "x", B.id, "y"])
    assert lines == [A, B]
    assert found.missing == ("x", "y")
    assert found.exit_code == 1
    said = list(merging.report(found))
    assert said[:2] == ["missing: x", "missing: y"]
    assert said[-1] == "2 lines: 2 cells, 0 with different answers, 2 missing"


def test_lines_of_all_schemas_stay_what_they_are(tmp_path: Path) -> None:
    shards = [[made(f"s{n}", schema_version=n)] for n in (4, 2, 1, 3)]
    _, lines = merged(tmp_path, *shards)
    assert [line.schema_version for line in lines] == [1, 2, 3, 4]
    old = tmp_path / "old.jsonl"
    later = {"kind", "uv_asked", "release_asked", "flavour", "linked", "upgraded_from", "predicted"}
    old.write_text(made("s1", schema_version=1).model_dump_json(exclude=later) + "\n")
    with merging.merged([old, tmp_path / "2.jsonl"]) as found:
        assert found.identical == 1


@pytest.mark.parametrize(
    ("field", "member"), [(field, member) for field, kind in ENUMS.items() for member in kind]
)
def test_every_member_of_every_enum_survives(tmp_path: Path, field: str, member: StrEnum) -> None:
    line = made(**{"outcome": member}) if field == "outcome" else made(**{field: member})  # type: ignore[arg-type]
    other = line.model_copy(update={"seconds": 7.5})
    _, (read,) = merged(tmp_path, [line], [other])
    assert read == other
    assert getattr(read, field) is member


@pytest.mark.parametrize("bad", ["{", "", '{"id": 1}', "[" * 100_000])
def test_a_line_that_is_no_result_ends_it_and_nothing_is_written(tmp_path: Path, bad: str) -> None:
    good, wrong = written(tmp_path / "good", [A]), tmp_path / "wrong"
    wrong.write_text(f"{B.model_dump_json()}\n{bad}\n")
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    status, said = invoke(good, wrong, "-o", out)
    assert status == ExitCode.CONFIGURATION
    assert f"{wrong}:2: not a result" in said
    assert out.read_text() == "before"


def test_evidence_that_cannot_be_written_again_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    content = {**A.model_dump(mode="json"), "evidence": {"x": "\ud800"}}
    path.write_text(A.model_dump_json() + "\n" + json.dumps(content) + "\n")
    refused = pytest.raises(ConfigurationError, match=r"r\.jsonl:2: not a result")
    with refused, merging.merged([path]):
        pass


@pytest.mark.parametrize("noted", [True, "x", {"a": 1}, [1, None], []])
def test_notes_that_are_not_ours_do_no_harm(tmp_path: Path, noted: object) -> None:
    line = made("a", evidence={"flaky": noted})
    assert merged(tmp_path, [line])[1] == [line]


def test_a_report_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    hostile = [made("a", id="\x1b[2J\n"), made("a", Reason.CRASH, id="\x1b[2J\n")]
    found, _ = merged(tmp_path, hostile, expected=["\x1b"])
    assert all(line.isprintable() for line in merging.report(found))


def test_ids_are_read_one_a_line_or_from_what_pytest_printed(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("# a run\n\na-1\n  b+x~replica \n")
    assert merging.expected_ids(path) == ("a-1", "b+x~replica")
    path.write_text(
        "pbs-matrix: source auto: replicas\n"
        "cases/test_import.py::test_import[a-1]\n"
        "cases/test_interpreter.py::test_interpreter[b+x~replica]\n\n"
        "2 tests collected in 0.10s\n"
    )
    assert merging.expected_ids(path) == ("a-1", "b+x~replica")


def test_a_file_that_holds_no_ids_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("a-1\nno tests collected in 0.10s\n")
    with pytest.raises(ConfigurationError, match=r"ids:2: not the id of a cell"):
        merging.expected_ids(path)
    with pytest.raises(ConfigurationError, match=r"absent cannot be read"):
        merging.expected_ids(tmp_path / "absent")


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, ["merge", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_command_merges_and_says_what_it_did(tmp_path: Path) -> None:
    shards = [written(tmp_path / "1", [B, A]), written(tmp_path / "2", [A])]
    out = tmp_path / "new" / "all.jsonl"
    status, said = invoke(*shards, "-o", out)
    assert status == 0
    assert said.splitlines() == [
        "3 lines: 2 cells, 1 duplicate dropped (1 identical, 0 not), "
        "0 with different answers, 0 missing",
        f"wrote {out}",
    ]
    assert list(results.read(out)) == [A, B]
    # What is there already may be merged again.
    assert invoke(out, *shards, "-o", out)[0] == 0
    assert list(results.read(out)) == [A, B]


def test_the_command_ends_with_1_for_holes_and_writes_all_the_same(tmp_path: Path) -> None:
    shard, ids, out = written(tmp_path / "1", [A]), tmp_path / "ids", tmp_path / "out"
    ids.write_text(f"{A.id}\nhole\n")
    status, said = invoke(shard, "-o", out, "--expect", ids)
    assert status == 1
    assert "missing: hole\n" in said
    assert list(results.read(out)) == [A]


def test_the_command_expects_what_was_planned_for_one_track(tmp_path: Path) -> None:
    plan, ids = tmp_path / "plan.json", [A.id, B.id, C.id]
    jobs = [
        Job(number=1, name="1", seconds=1, cells=(A.id, C.id)),
        Job(number=2, name="2", seconds=1, cells=(B.id,)),
        Job(number=3, name="3", track=Track.NATIVE, seconds=1, cells=(A.id, "hole")),
    ]
    made = planfile.make(
        jobs,
        matrix_file=PROJECT / "matrix.yaml",
        request=Request(),
        resolution=Resolution(source=Source.REPLICA),
    )
    planfile.write(made, plan)
    shard, out = written(tmp_path / "1", [C, B, A]), tmp_path / "out"
    assert invoke(shard, "-o", out, "--plan", plan)[0] == 0
    assert [line.id for line in results.read(out)] == [ids[0], ids[2], ids[1]]
    status, said = invoke(shard, "-o", out, "--plan", plan, "--track", "native")
    assert status == 1
    assert [line for line in said.splitlines() if "missing: " in line] == ["missing: hole"]


def test_only_one_way_to_say_what_is_expected(tmp_path: Path) -> None:
    status, said = invoke(
        *(written(tmp_path / "1", [A]), "-o", tmp_path / "out", "--plan", "p", "--expect", "ids")
    )
    assert status == ExitCode.CONFIGURATION
    assert "by --expect FILE or by --plan FILE" in said
