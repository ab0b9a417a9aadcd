"""Two runs compared: each cell has one change; a regression is what worked and does not."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from harness import cli, comparison, results, signature
from harness.comparison import Change, Comparison, Pair
from harness.errors import ExitCode
from harness.outcome import Reason, Stage
from harness.releases import LinkModel
from harness.results import Result
from harness.sources import Source
from harness.verdict import Status
from tests.unit.sample_results import LIBPYTHON, made, written

CELL = "sample-uv0.7.6-cp313-20250517-x86_64-debian13"


def only(found: Comparison) -> Pair:
    (pair,) = found.pairs
    return pair


def change(base: list[Result], new: list[Result]) -> Change:
    return only(comparison.compare(base, new)).change


def text(found: Comparison) -> str:
    stream = io.StringIO()
    comparison.render(found, Console(file=stream, width=80, highlight=False))
    return stream.getvalue()


OK = made()
CHECK_OK = made(outcome=Reason.PASSES, stage="check", kind="check")
LACKING = made(outcome=Reason.MISSING_LIBRARY)
LACKING_GL = made(outcome=Reason.MISSING_LIBRARY, missing_library="libGL.so.1")
SPLIT = made(outcome=Reason.SPLIT_BINDING)
ERROR = made(outcome=Reason.IMPORT_ERROR, message="No module named 'a'")
OTHER_ERROR = made(outcome=Reason.IMPORT_ERROR, message="No module named 'b'")
UNTESTABLE = made(outcome=Reason.UNTESTABLE, message="no space left on device")
NOT_APPLICABLE = made(outcome=Reason.NOT_APPLICABLE, message="nothing to patch")
FLAKY = made(evidence={"flaky": True})

CASES: dict[str, tuple[list[Result], list[Result], Change]] = {
    "regressed": ([OK], [LACKING], Change.REGRESSED),
    "a split binding is no success": ([OK], [SPLIT], Change.REGRESSED),
    "retries that fail otherwise": ([OK, OK], [LACKING, ERROR], Change.REGRESSED),
    "fixed": ([LACKING], [OK], Change.FIXED),
    "fixed after all": ([LACKING, ERROR], [OK], Change.FIXED),
    "a split binding that is mended": ([SPLIT], [OK], Change.FIXED),
    "same failure": ([LACKING], [LACKING], Change.SAME_FAILURE),
    "other library": ([LACKING], [LACKING_GL], Change.OTHER_FAILURE),
    "other message": ([ERROR], [OTHER_ERROR], Change.OTHER_FAILURE),
    "other reason": ([ERROR], [SPLIT], Change.OTHER_FAILURE),
    "same success": ([OK], [OK], Change.SAME_SUCCESS),
    "other success": ([OK], [CHECK_OK], Change.SAME_SUCCESS),
    "added": ([], [LACKING], Change.ADDED),
    "removed": ([OK], [], Change.REMOVED),
    "untestable before": ([UNTESTABLE], [LACKING], Change.UNTESTABLE_BEFORE),
    "untestable after": ([OK], [UNTESTABLE], Change.UNTESTABLE_AFTER),
    "untestable both": ([UNTESTABLE], [UNTESTABLE], Change.UNTESTABLE_BOTH),
    "untestable, then not applicable": (
        *([UNTESTABLE], [NOT_APPLICABLE]),
        Change.UNTESTABLE_BEFORE,
    ),
    "newly applicable": ([NOT_APPLICABLE], [LACKING], Change.NEWLY_APPLICABLE),
    "no longer applicable": ([LACKING], [NOT_APPLICABLE], Change.NO_LONGER_APPLICABLE),
    "not applicable": ([NOT_APPLICABLE], [NOT_APPLICABLE], Change.NOT_APPLICABLE),
    "flaky before": ([OK, LACKING], [OK], Change.FLAKY),
    "flaky after": ([OK], [LACKING, OK], Change.FLAKY),
    "fails in several ways": ([LACKING], [LACKING, ERROR], Change.FLAKY),
    "evidence says so": ([OK], [FLAKY], Change.FLAKY),
    "evidence says so of a failure": (
        [OK],
        [made(outcome=Reason.CRASH, evidence={"flaky": True})],
        Change.FLAKY,
    ),
    "what merging noted": (
        [OK],
        [made(evidence={"flaky": ["imports", "crash"]})],
        Change.FLAKY,
    ),
    "merging noted failures only": (
        [OK],
        [made(outcome=Reason.CRASH, evidence={"flaky": ["timeout", "crash"]})],
        Change.REGRESSED,
    ),
    "a retry of what was untestable": ([UNTESTABLE, OK], [OK], Change.SAME_SUCCESS),
    "a retry that was untestable": ([OK], [LACKING, UNTESTABLE], Change.REGRESSED),
    "the same answer twice": ([OK], [OK, made(seconds=9)], Change.SAME_SUCCESS),
}


@pytest.mark.parametrize(("base", "new", "expected"), CASES.values(), ids=CASES)
def test_each_cell_has_one_change(base: list[Result], new: list[Result], expected: Change) -> None:
    assert change(base, new) is expected


def test_every_change_occurs_here() -> None:
    assert {expected for _, _, expected in CASES.values()} == set(Change)


@pytest.mark.parametrize("status", Status)
def test_what_the_matrix_expects_does_not_matter(status: Status) -> None:
    """Known breakage that came between the runs is a regression too, and says that it is known."""
    found = comparison.compare(
        [OK], [made(outcome=Reason.MISSING_LIBRARY, status=status, expected="missing-library")]
    )
    assert only(found).change is Change.REGRESSED
    assert ("(as matrix.yaml expects)" in text(found)) is (status is Status.AS_EXPECTED)


@pytest.mark.parametrize("before", Reason)
@pytest.mark.parametrize("after", Reason)
def test_every_pair_of_outcomes_is_told_everywhere(before: Reason, after: Reason) -> None:
    found = comparison.compare([made(outcome=before)], [made(outcome=after)])
    pair = only(found)
    read = json.loads("".join(comparison.as_json(found)))
    (cell,) = read["cells"]
    assert Change(cell["change"]) is pair.change
    assert (Reason(cell["base"]["outcome"]), Reason(cell["new"]["outcome"])) == (before, after)
    assert pair.change.phrase in text(found)
    assert pair.change.phrase in comparison.markdown(found)
    assert sum(found.counts.values()) == 1
    is_regression = signature.SUCCESSES.count(before) and not signature.SUCCESSES.count(after)
    assert (pair.change is Change.REGRESSED) is bool(is_regression and after.was_tried)
    tried = before.was_tried and after.was_tried
    assert found.exit_code == (2 if not tried else int(bool(is_regression)))


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_told_to_programs(stage: Stage) -> None:
    found = comparison.compare([made(stage=stage)], [made(stage=stage)])
    (cell,) = json.loads("".join(comparison.as_json(found)))["cells"]
    assert Stage(cell["base"]["stage"]) is stage


def test_nothing_that_could_be_compared_is_no_success() -> None:
    assert comparison.compare([], []).exit_code == 2
    found = comparison.compare([made("a")], [made("b")])
    assert found.exit_code == 2
    assert found.notes == ("The two files have no cell in common.",)
    assert comparison.markdown(found).startswith("### Nothing could be compared\n")


def test_only_regressions_count() -> None:
    base = [made("a"), made("b", Reason.CRASH), made("c"), made("d")]
    new = [made("a"), made("b", Reason.TIMEOUT), made("c", Reason.UNTESTABLE), made("e")]
    assert comparison.compare(base, new).exit_code == 0
    found = comparison.compare([*base, made("f")], [*new, made("f", Reason.CRASH)])
    assert found.exit_code == 1
    assert comparison.summary(found) == (
        "6 cells, 3 compared: 1 regressed, 1 still failing, otherwise than before, "
        "1 untestable in NEW only, 0 fixed, 1 added, 1 removed, 1 still succeeding"
    )


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("/opt/a/b.py: line 3", "/srv/c.py: line 14", "<path>: line <n>"),
        ("object at 0x7f01>", "object at 0xdeadBEEF>", "object at <address>>"),
        ("digest 0123abcd0123abcd", "digest ffff0000ffff0000", "digest <address>"),
        ("numpy 2.3.4 is old", "numpy 1.26 is old", "numpy <n> is old"),
        ("took 3 s\nat /a", "\n  took 4 s\nelsewhere", "took <n> s"),
        ("from https://me:s3cret@x.org/a", "from https://x:y@x.org/b", "from https:<path>"),
    ],
)
def test_a_message_is_the_same_without_what_varies(one: str, other: str, shown: str) -> None:
    assert signature.blanked(one) == signature.blanked(other) == shown
    both = [made(outcome=Reason.IMPORT_ERROR, message=message) for message in (one, other)]
    assert change(both[:1], both[1:]) is Change.SAME_FAILURE


@pytest.mark.parametrize("word", ["facade", "and/or", "1", "deadbeef", "a.b"])
def test_words_are_left_in_a_message(word: str) -> None:
    assert signature.blanked(f"no {word}") == ("no <n>" if word == "1" else f"no {word}")


@pytest.mark.parametrize("message", ["/" * 10**6, "0" * 10**6, "a" * 10**6, "://" * 10**6])
def test_a_huge_message_is_short_in_a_signature(message: str) -> None:
    assert len(signature.blanked(message)) <= signature.LENGTH


def test_a_message_counts_where_nothing_else_says_what_failed() -> None:
    crashes = [made(outcome=Reason.CRASH, message=message) for message in ("one", "two")]
    assert change(crashes[:1], crashes[1:]) is Change.SAME_FAILURE
    fails = [made(outcome=Reason.FAILS, message=message) for message in ("one", "two")]
    assert change(fails[:1], fails[1:]) is Change.OTHER_FAILURE


def test_changes_are_grouped_by_signature_and_extension() -> None:
    names = [("b", "0.7.6"), ("a", "0.7.6"), ("a", "0.7.7"), ("c", "0.7.6")]
    base = [made(name, uv=uv) for name, uv in names]
    new = [made(name, Reason.MISSING_LIBRARY, uv=uv) for name, uv in names[:3]]
    new.append(made("c", Reason.CRASH))
    largest, other = comparison.compare(base, new).groups(Change.REGRESSED)
    assert (largest.signature, largest.size) == (f"missing-library {LIBPYTHON}", 3)
    assert [(name, len(pairs)) for name, pairs in largest.extensions.items()] == [
        ("a", 2),
        ("b", 1),
    ]
    assert (other.signature, list(other.extensions)) == ("crash", ["c"])


def test_a_group_of_changed_failures_names_both() -> None:
    assert only(comparison.compare([LACKING], [LACKING_GL])).signature == (
        f"missing-library {LIBPYTHON} → missing-library libGL.so.1"
    )
    assert only(comparison.compare([LACKING], [OK])).signature == f"missing-library {LIBPYTHON}"
    assert only(comparison.compare([OK, LACKING], [OK])).signature == (
        f"imports, then missing-library {LIBPYTHON} | imports"
    )


PINS: dict[str, Any] = {
    "archive_sha256": "a" * 64,
    "uv_sha256": "b" * 64,
    "base_digest": "c" * 64,
    "wheels": {"x-1.whl": "d" * 64, "y-1.whl": "e" * 64},
    "before": {"archive_sha256": "a" * 64, "uv_sha256": "b" * 64},
    "image": "1",
    "qemu": None,
}


@pytest.mark.parametrize(
    ("pins", "said"),
    [
        ({}, []),
        ({"image": "2"}, []),
        ({"qemu": "10.0"}, ["processor: native → QEMU 10.0"]),
        ({"archive_sha256": "f" * 64}, [f"archive: {'a' * 12} → {'f' * 12}"]),
        ({"uv_sha256": "f" * 64}, [f"uv: {'b' * 12} → {'f' * 12}"]),
        ({"base_digest": "f" * 64}, [f"base image: {'c' * 12} → {'f' * 12}"]),
        ({"archive_sha256": None}, []),
        ({"archive_sha256": ["x"]}, []),
        ({"before": None, "wheels": None}, []),
        (
            {"before": {"archive_sha256": "f" * 64, "uv_sha256": "b" * 64}},
            [f"archive before the upgrade: {'a' * 12} → {'f' * 12}"],
        ),
        (
            {"wheels": {"x-2.whl": "d" * 64, "y-1.whl": "e" * 64}},
            [f"wheels: x-1.whl {'d' * 12} → x-2.whl {'d' * 12}"],
        ),
        (
            {"wheels": {"x-1.whl": 3, "y-1.whl": "e" * 64, "z.whl": "0"}},
            [f"wheels: x-1.whl {'d' * 12} → x-1.whl 3, z.whl 0"],
        ),
        ({"wheels": {}}, [f"wheels: x-1.whl {'d' * 12}, y-1.whl {'e' * 12} → none"]),
    ],
)
def test_pins_that_differ_are_told_beside_the_cell(pins: dict[str, Any], said: list[str]) -> None:
    lacking = made(outcome=Reason.MISSING_LIBRARY, pins={**PINS, **pins})
    found = comparison.compare([made(pins=PINS)], [lacking])
    assert [cause.words for cause in only(found).causes] == said
    for line in said:
        assert f"        {line}\n" in text(found)
        assert f"`{line}` |" in comparison.markdown(found)


def test_a_link_model_that_differs_is_told_where_both_were_read() -> None:
    static, rpath = made(linked=LinkModel.STATIC), made(linked=LinkModel.STATIC_RPATH)
    (cause,) = only(comparison.compare([static], [rpath])).causes
    assert cause.words == "linked: static → static+rpath"
    assert only(comparison.compare([made()], [rpath])).causes == ()


def test_a_replica_under_the_name_of_a_release_is_another_source() -> None:
    disguised = made(pins={"archive_is_replica": True})
    found = comparison.compare([made()], [disguised])
    (cause,) = only(found).causes
    assert cause.words == ("source: the published archive → a replica under the release's name")
    assert "0 cells of BASE and 1 of NEW ran on replicas" in text(found)


def test_cells_of_different_sources_are_not_the_same_and_it_is_said() -> None:
    names = ("a", "b")
    replicas = [made(name, source=Source.REPLICA) for name in names]
    found = comparison.compare(replicas, [*map(made, names), made("c")])
    assert found.counts[Change.ADDED] == 3
    assert found.counts[Change.REMOVED] == 2
    said = (
        "The sources differ: 2 of the 3 cells that were added are among the 2 that were removed "
        "but for ~replica in their ids."
    )
    assert any(note.startswith(said) for note in found.notes)
    assert said in comparison.markdown(found)
    assert found.exit_code == 2


def test_a_terminal_is_told_every_cell_that_regressed_and_some_of_the_others() -> None:
    uvs = [f"0.7.{number}" for number in range(12)]
    found = comparison.compare(
        [made("a", uv=uv) for uv in uvs], [made("a", Reason.CRASH, uv=uv) for uv in uvs]
    )
    assert text(found).count("a-uv0.7.") == 12
    found = comparison.compare([], [made("a", Reason.CRASH, uv=uv) for uv in uvs])
    assert text(found).count("a-uv0.7.") == comparison.SHOWN
    assert "and 7 more" in text(found)


HOSTILE = (
    "](https://evil.example) @everyone #1 <script>alert(1)</script> www.evil.example ``` ` | "
    "</details> ~~x~~ **y** https://me:s3cret@mirror.example/ \x1b[2J\u202e"
)


@pytest.mark.parametrize("outcome", Reason)
def test_what_others_wrote_is_code_and_nothing_else(outcome: Reason) -> None:
    hostile: dict[str, Any] = {"message": HOSTILE, "id": f"1{HOSTILE}", "missing_library": HOSTILE}
    other = {**hostile, "id": f"2{HOSTILE}"}
    pins = {"wheels": {HOSTILE: "1"}, "uv_sha256": HOSTILE}
    base = [made(HOSTILE, **hostile, pins=pins), made(HOSTILE, Reason.CRASH, **other)]
    new = made(HOSTILE, outcome, **hostile, pins={**pins, "wheels": {}, "uv_sha256": "x"})
    found = comparison.compare(base, [new])
    shown = comparison.markdown(found)
    assert "s3cret" not in shown + text(found)
    assert all(line.isprintable() for line in (shown + text(found)).split("\n"))
    tokens = MarkdownIt("commonmark").enable("table").parse(shown)
    seen = 0
    for token in (t for whole in tokens for t in (whole, *(whole.children or ()))):
        if token.type == "code_inline":
            seen += "evil" in token.content
        elif token.type == "text":
            assert not re.search(r"evil|everyone|[@#<>|`]", token.content)
        elif token.type == "html_block":
            assert re.fullmatch(
                r"</details>\n?|<details>\n<summary>[a-zE-W ,]+: \d+</summary>\n?", token.content
            )
        assert token.type not in ("link_open", "image", "html_inline", "strong_open")
    assert seen
    json.loads("".join(comparison.as_json(found)))


def many(number: int) -> Comparison:
    """Some of each kind of change that has a table."""
    runs: tuple[list[Result], list[Result]] = [], []
    for name, (base, new, _) in CASES.items():
        for place in range(number):
            cell = f"{name}-{place}".replace(" ", "-")
            for run, lines in zip(runs, (base, new), strict=True):
                run += [line.model_copy(update={"id": cell}) for line in lines]
    return comparison.compare(*runs)


@pytest.mark.parametrize("number", [1, 5, 40, 400])
def test_markdown_fits_and_counts_what_does_not(number: int) -> None:
    found = many(number)
    shown = comparison.markdown(found)
    assert len(shown) <= comparison.LIMIT
    rows = len(re.findall(r"^\| `[^`]*` \| `[^`]*-\d+`", shown, re.MULTILINE))
    left = sum(map(int, re.findall(r"^(\d+) more cells? ha(?:s|ve) no room here", shown, re.M)))
    told = sum(count for change, count in found.counts.items() if change not in comparison.COUNTED)
    assert rows + left == told
    assert (left > 0) is (number >= 40)
    assert shown.count("<details>") == shown.count("</details>")
    for change in Change:
        assert f"| {found.counts[change]} | {change.phrase} |" in shown


@given(st.integers(4000, 20_000))
def test_markdown_is_never_longer_than_its_limit(limit: int) -> None:
    assert len(comparison.markdown(MANY, limit=limit)) <= limit


MANY = many(8)


def test_regressions_are_the_last_to_have_no_room() -> None:
    shown = comparison.markdown(MANY, limit=9000)
    regressed, _, others = shown.partition("#### flaky")
    assert "no room here" not in regressed
    assert "no room here" in others


def test_programs_get_every_cell_and_the_groups() -> None:
    found = comparison.compare([OK, made("b")], [LACKING, made("b"), made("c")])
    read = json.loads("".join(comparison.as_json(found)))
    assert (read["schema_version"], read["exit_code"], read["compared"]) == (1, 1, 2)
    assert read["counts"]["regressed"] == 1
    assert read["groups"][0] == {
        "change": "regressed",
        "signature": f"missing-library {LIBPYTHON}",
        "extensions": {"sample": [CELL]},
    }
    assert [cell["change"] for cell in read["cells"]] == ["regressed", "same-success", "added"]
    assert read["cells"][0]["new"] == {
        "stage": "import",
        "outcome": "missing-library",
        "missing_library": LIBPYTHON,
        "message": "",
        "answers": [f"missing-library {LIBPYTHON}"],
        "status": "as-expected",
        "is_replica": False,
    }
    assert read["cells"][2]["base"] is None


OUTCOMES = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from(Reason), min_size=1))


@given(OUTCOMES, OUTCOMES)
def test_every_cell_is_counted_once_and_comparing_backwards_mirrors_it(
    one: dict[str, list[Reason]], other: dict[str, list[Reason]]
) -> None:
    runs = [
        [made(name, outcome) for name, outcomes in run.items() for outcome in outcomes]
        for run in (one, other)
    ]
    there, back = comparison.compare(*runs), comparison.compare(*reversed(runs))
    assert len(there.pairs) == len({*one, *other}) == sum(there.counts.values())
    mirrored = {
        Change.REGRESSED: Change.FIXED,
        Change.ADDED: Change.REMOVED,
        Change.UNTESTABLE_AFTER: Change.UNTESTABLE_BEFORE,
        Change.NEWLY_APPLICABLE: Change.NO_LONGER_APPLICABLE,
    }
    mirrored |= {value: key for key, value in mirrored.items()}
    expected = {mirrored.get(change, change): n for change, n in there.counts.items()}
    assert back.counts == expected
    same = comparison.compare(runs[0], runs[0])
    assert not same.of(Change.REGRESSED) + same.of(Change.FIXED) + same.of(Change.OTHER_FAILURE)


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, ["compare", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_command_compares_files_of_all_schemas(tmp_path: Path) -> None:
    versions = (1, 2, 3, 4)
    base = [made(f"s{n}", schema_version=n) for n in versions]
    new = [made(f"s{n}", Reason.MISSING_LIBRARY, schema_version=5 - n) for n in versions]
    old = tmp_path / "old.jsonl"
    later = {"kind", "uv_asked", "release_asked", "flavour", "linked", "upgraded_from", "predicted"}
    old.write_text("".join(line.model_dump_json(exclude=later) + "\n" for line in base))
    assert [line.schema_version for line in results.read(old)] == [1, 2, 3, 4]
    status, said = invoke(old, written(tmp_path / "new.jsonl", new))
    assert status == 1
    assert "4 cells, 4 compared: 4 regressed, 0 fixed" in said


def test_the_command_ends_with_1_for_regressions_only(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "g", [OK]), written(tmp_path / "b", [LACKING])
    nothing = written(tmp_path / "n", [])
    assert invoke(good, bad)[0] == 1
    assert invoke(bad, good)[0] == 0
    assert invoke(good, good)[0] == 0
    assert invoke(good, nothing)[0] == 2


def test_the_command_writes_markdown_and_json(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "g", [OK]), written(tmp_path / "b", [LACKING])
    done = CliRunner().invoke(
        cli.main, ["compare", str(good), str(bad), "--json", "--markdown", str(tmp_path / "m.md")]
    )
    assert done.exit_code == 1
    assert json.loads(done.stdout)["counts"]["regressed"] == 1
    assert (tmp_path / "m.md").read_text().startswith("### 1 cell regressed\n")


def test_a_file_that_is_no_results_file_is_named_with_its_line(tmp_path: Path) -> None:
    good = written(tmp_path / "g", [OK])
    wrong = tmp_path / "w"
    wrong.write_text(OK.model_dump_json() + "\n{\n")
    status, said = invoke(good, wrong)
    assert status == ExitCode.CONFIGURATION
    assert f"{wrong}:2: not a result" in said


def test_only_what_both_have_is_compared_where_that_is_asked_for() -> None:
    both = made("both")
    found = comparison.compare([both, made("before")], [both, made("after")], common=True)
    assert [pair.cell for pair in found.pairs] == [both.id]
