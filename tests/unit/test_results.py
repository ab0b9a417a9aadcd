"""results.jsonl: what is written is what is read, and a bad line is named."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from harness import inputs, results
from harness.errors import ConfigurationError
from harness.flavours import Flavour
from harness.loader.process import Look, Search, Step
from harness.matrix import Kind
from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Expected
from harness.platforms import Platform
from harness.prediction import Prediction
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.results import Result, Writer, result_of
from harness.sources import Source
from harness.verdict import Status
from tests.unit.sample_cell import sample_cell, sample_check, upgraded_cell

LIBPYTHON = "libpython3.13.so.1.0"

# As schema 1 had it; what came later has a value for lines that do not know of it.
RESULT: dict[str, Any] = {
    "id": "sample-uv0.7.6-cp313-20250517~replica-aarch64-debian13",
    "uv": "0.7.6",
    "python": "3.13",
    "release": "20250517",
    "source": "replica",
    "link_model": "static",
    "platform": "aarch64",
    "base": "debian13",
    "extension": "sample",
    "remedy": "none",
    "stage": "import",
    "outcome": "missing-library",
    "missing_library": LIBPYTHON,
    "message": f"{LIBPYTHON}: cannot open shared object file",
    "expected": "missing-library",
    "expected_library": LIBPYTHON,
    "expected_because": "nothing searches lib/",
    "expected_link": "https://example.org/619",
    "status": "as-expected",
    "seconds": 0.25,
    "evidence": {"modules": {"sample": "/opt/sample.py"}, "mapped_libpythons": [], "n": None},
    "pins": {"image": "sha256:0", "qemu": None},
}


def result(**change: object) -> Result:
    return Result.model_validate({**RESULT, **change})


def written(path: Path, *lines: Result) -> list[Result]:
    with Writer(path) as writer:
        for line in lines:
            writer.write(line)
    return list(results.read(path))


ENUMS: dict[str, type[StrEnum]] = {
    "status": Status,
    "outcome": Reason,
    "expected": Reason,
    "stage": Stage,
    "link_model": LinkModel,
    "platform": Platform,
    "source": Source,
    "remedy": Remedy,
    "kind": Kind,
    "flavour": Flavour,
}


@pytest.mark.parametrize(
    ("field", "member"),
    [(field, member) for field, members in ENUMS.items() for member in members],
)
def test_every_member_of_every_enum_is_read_as_it_was_written(
    tmp_path: Path, field: str, member: StrEnum
) -> None:
    (read,) = written(tmp_path / "r.jsonl", result(**{field: member}))
    assert getattr(read, field) is member
    assert json.loads((tmp_path / "r.jsonl").read_text())[field] == member.value


def test_every_enum_of_a_result_is_covered_here() -> None:
    annotated = {
        name: field.annotation
        for name, field in Result.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum)
    }
    assert annotated == ENUMS


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seconds": None, "missing_library": None, "expected_library": None},
        {"message": 'two\nlines\r\n\u2028and a "quote" \\ \x00 \U0001f40d'},
        {"evidence": {"deep": [{"a": [1, 2.5, None, True, "x"]}]}},
        {"evidence": {}, "pins": {}, "expected_link": None, "message": ""},
        {"kind": "check", "stage": "check", "outcome": "fails", "expected": "passes"},
        {"remedy": "reinstall", "upgraded_from": "0.7.5"},
        {"stage": "install", "outcome": "not-applicable", "status": "not-applicable"},
        {"schema_version": 1},
        {
            "predicted": {
                "outcome": "imports",
                "missing_library": None,
                "needed_by": None,
                "searched": [],
            }
        },
    ],
    ids=[
        *("all", "nothing optional", "odd text", "deep evidence", "empty"),
        *("check", "upgraded", "not applicable", "schema 1", "predicted"),
    ],
)
def test_a_result_is_read_as_it_was_written(tmp_path: Path, change: dict[str, object]) -> None:
    line = result(**change)
    assert written(tmp_path / "r.jsonl", line) == [line]


def test_a_line_of_schema_1_is_read_as_what_it_was_then(tmp_path: Path) -> None:
    """Then there were only extensions, and no remedy that upgraded."""
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"schema_version": 1, **RESULT}) + "\n")
    (read,) = results.read(path)
    assert read.schema_version == 1
    assert (read.kind, read.upgraded_from) == (Kind.EXTENSION, None)
    assert read.predicted is None
    assert (read.flavour, read.release_asked, read.linked) == (Flavour.STRIPPED, "default", None)
    later = {"schema_version", "kind", "upgraded_from", "predicted"}
    later |= {"flavour", "uv_asked", "release_asked", "linked"}
    later |= {"started", "took", "prepared_in"}
    assert read.model_dump(mode="json", exclude=later) == RESULT


def test_lines_of_all_schemas_may_be_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    lines = [{"schema_version": version, **RESULT} for version in (1, 3, 2, 5, 4, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [read.schema_version for read in results.read(path)] == [1, 3, 2, 5, 4, 1]


def test_a_new_line_says_that_it_is_of_schema_5(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    written(path, result_of(sample_cell(), untestable(Stage.IMAGE, ""), {}))
    assert json.loads(path.read_text())["schema_version"] == 5


def test_a_prediction_is_written_beside_what_was_observed(tmp_path: Path) -> None:
    search = Search(
        name=LIBPYTHON,
        needed_by="/opt/x.so",
        looks=(
            Look(step=Step.RPATH, owner="/opt/x.so", ignored="/opt/x.so has a DT_RUNPATH"),
            Look(step=Step.RUNPATH, owner="/opt/x.so", directories=("/opt",)),
            Look(step=Step.DEFAULT, directories=("/lib", "/usr/lib")),
        ),
    )
    foreseen = Prediction(outcome=Reason.MISSING_LIBRARY, library=LIBPYTHON, search=search)
    seen = Outcome(stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON)
    (read,) = written(tmp_path / "r.jsonl", result_of(sample_cell(), seen, {}, foreseen))
    assert read.predicted is not None
    assert read.predicted.model_dump(mode="json") == {
        "outcome": "missing-library",
        "missing_library": LIBPYTHON,
        "needed_by": "/opt/x.so",
        "searched": ["/opt", "/lib", "/usr/lib"],
    }
    assert read.status is Status.REGRESSED


def test_what_contradicts_its_prediction_is_no_regression_but_mispredicted() -> None:
    foreseen = Prediction(outcome=Reason.IMPORTS)
    seen = Outcome(stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON)
    assert result_of(sample_cell(), seen, {}, foreseen).status is Status.MISPREDICTED


def test_results_come_one_a_line_in_their_order(tmp_path: Path) -> None:
    lines = [result(id=f"cell-{number}", message="a\nb") for number in range(5)]
    path = tmp_path / "r.jsonl"
    assert written(path, *lines) == lines
    assert len(path.read_text().splitlines()) == 5


def test_a_result_is_on_disk_before_the_next_is_known(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Writer(path) as writer:
        writer.write(result())
        assert list(results.read(path)) == [result()]


def test_the_directory_of_the_results_is_made(tmp_path: Path) -> None:
    assert written(tmp_path / "a" / "b" / "r.jsonl", result()) == [result()]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Writer(tmp_path)
    assert f"--results {tmp_path} cannot be written: Is a directory" in caught.value.problem
    assert caught.value.advice


GOOD = result().model_dump_json()
BAD_LINES: dict[str, bytes] = {
    "no JSON": b"{",
    "cut short": GOOD[:-10].encode(),
    "empty": b"",
    "no object": b"[1]",
    "a number": b"3",
    "unknown key": json.dumps({**RESULT, "more": 1}).encode(),
    "missing key": json.dumps({key: RESULT[key] for key in RESULT if key != "uv"}).encode(),
    "schema of the future": json.dumps({**RESULT, "schema_version": 6}).encode(),
    "schema as text": json.dumps({**RESULT, "schema_version": "2"}).encode(),
    "unknown kind": json.dumps({**RESULT, "kind": "wheel"}).encode(),
    "unknown status": json.dumps({**RESULT, "status": "great"}).encode(),
    "wrong type": json.dumps({**RESULT, "evidence": "none"}).encode(),
    "huge number": b"9" * 5000,
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_result_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode() + b"\n")
    found = results.read(path)
    assert next(found) == result()
    with pytest.raises(ConfigurationError) as caught:
        next(found)
    assert int(caught.value.exit_code) == 10
    assert caught.value.problem.startswith(f"{path}:2: not a result")
    assert "--results" in caught.value.advice


def test_a_line_that_nests_too_deeply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(ConfigurationError, match=r"r\.jsonl:1: "):
        list(results.read(path))


def test_a_missing_results_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        list(results.read(tmp_path / "absent.jsonl"))


def test_a_results_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"r\.jsonl:1: .*not valid JSON"):
        list(results.read(tmp_path / "r.jsonl"))


def test_a_line_without_an_end_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + b"x" * (inputs.LONGEST + 1))
    told = rf"r\.jsonl:2: this cannot be read: a line has more than {inputs.LONGEST} bytes"
    with pytest.raises(ConfigurationError, match=told):
        list(results.read(path))


def test_a_result_says_what_happened_and_what_should_have() -> None:
    breakage = Expected(
        reason=Reason.MISSING_LIBRARY,
        library=LIBPYTHON,
        why="nothing searches lib/",
        link="https://example.org/619",
    )
    outcome = Outcome(
        stage=Stage.IMPORT,
        reason=Reason.MISSING_LIBRARY,
        message=RESULT["message"],
        missing_library=LIBPYTHON,
        seconds=0.25,
        evidence=RESULT["evidence"],
    )
    assert result_of(sample_cell(breakage), outcome, RESULT["pins"]) == result()


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS), Status.AS_EXPECTED),
        (Outcome(stage=Stage.IMPORT, reason=Reason.CRASH), Status.REGRESSED),
        (Outcome(stage=Stage.IMPORT, reason=Reason.SPLIT_BINDING), Status.REGRESSED),
        (untestable(Stage.IMAGE, "no space"), Status.UNTESTABLE),
        (not_applicable(Stage.INSTALL, "nothing to patch"), Status.NOT_APPLICABLE),
    ],
)
def test_a_result_carries_the_verdict(outcome: Outcome, status: Status) -> None:
    assert result_of(sample_cell(), outcome, {}).status is status


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(stage=Stage.CHECK, reason=Reason.PASSES), Status.AS_EXPECTED),
        (Outcome(stage=Stage.CHECK, reason=Reason.FAILS), Status.REGRESSED),
        (not_applicable(Stage.INTERPRETER, "no tkinter"), Status.NOT_APPLICABLE),
    ],
)
def test_the_result_of_a_check_says_that_it_is_one(outcome: Outcome, status: Status) -> None:
    made = result_of(sample_check(), outcome, {})
    assert (made.kind, made.extension, made.status) == (Kind.CHECK, "sample-check", status)
    assert (made.outcome, made.stage) == (outcome.reason, outcome.stage)
    assert made.upgraded_from is None


def test_the_result_of_a_remedy_that_upgrades_says_from_which_uv() -> None:
    """All else in the line is about the uv and the interpreter that came after."""
    made = result_of(upgraded_cell(), Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS), {})
    assert (made.remedy, made.upgraded_from) == (Remedy.REINSTALL, "0.7.5")
    assert (made.uv, made.release, made.link_model) == ("0.7.6", "20250517", LinkModel.STATIC)
    assert made.id == f"{RESULT['id']}+reinstall"
