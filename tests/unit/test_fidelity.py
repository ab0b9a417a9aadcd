"""Replica against release: every difference is listed, and only a wrong outcome misleads."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import fidelity
from harness.fidelity import Aspect, Difference, Fidelity
from harness.matrix import Kind
from harness.outcome import Reason, Stage
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.results import Result
from harness.sources import Source
from harness.verdict import Status

DEBIAN = "/opt/python/cpython-3.13.5-linux-x86_64-gnu"
RELEASE = "/opt/python/cpython-3.13.3-linux-x86_64-gnu"
LIBPYTHON = "libpython3.13.so.1.0"
CELL = "sample-uv0.7.9-cp313-20250529-x86_64-debian13"


def result(
    source: Source = Source.REPLICA,
    *,
    sample: str = "sample",
    outcome: Reason = Reason.IMPORTS,
    library: str | None = None,
    message: str = "",
    python: str = "3.13.5",
    prefix: str = DEBIAN,
    evidence: dict[str, Any] | None = None,
    **more: Any,
) -> Result:
    mark = "~replica" if source is Source.REPLICA else ""
    stage = Stage.IMPORT if outcome.was_tried else Stage.IMAGE
    ran = {"python": python, "prefix": prefix, **(evidence or {})} if outcome.was_tried else {}
    fields: dict[str, Any] = {
        "id": f"{sample}-uv0.7.9-cp313-20250529{mark}-x86_64-debian13",
        "uv": "0.7.9",
        "python": "3.13",
        "release": "20250529",
        "source": source,
        "link_model": LinkModel.STATIC_RPATH,
        "platform": Platform.X86_64,
        "base": "debian13",
        "kind": Kind.EXTENSION,
        "extension": sample,
        "remedy": Remedy.NONE,
        "stage": stage,
        "outcome": outcome,
        "missing_library": library,
        "message": message,
        "expected": Reason.IMPORTS,
        "expected_library": None,
        "expected_because": "A correct extension imports everywhere",
        "expected_link": None,
        "status": Status.AS_EXPECTED,
        "seconds": 0.1,
        "evidence": ran,
        "pins": {},
    }
    return Result(**{**fields, **more})


def pair(
    one: dict[str, Any] | None = None, other: dict[str, Any] | None = None, **both: Any
) -> tuple[list[Result], list[Result]]:
    return (
        [result(Source.REPLICA, **{**both, **(one or {})})],
        [result(Source.UPSTREAM, **{**both, **(other or {})})],
    )


def compared(*arguments: Any, **more: Any) -> Fidelity:
    return fidelity.compare(*pair(*arguments, **more))


def only(found: Fidelity) -> Difference:
    (difference,) = found.differences
    assert difference.cell == CELL
    return difference


def text(found: Fidelity, width: int = 160) -> str:
    stream = io.StringIO()
    fidelity.report(found, Console(file=stream, width=width))
    return stream.getvalue()


def test_two_that_are_alike_are_equal() -> None:
    found = compared(evidence={"mapped_libpythons": [], "modules": {"x": "/x"}}, message="m")
    assert (found.compared, found.equal, found.differences, found.exit_code) == (1, 1, (), 0)
    assert fidelity.summary(found) == (
        "1 cell compared: 1 the same outcome, 0 differ; 1 the same in everything"
    )


def test_how_long_it_took_is_no_difference() -> None:
    assert compared({"seconds": 1.0}, {"seconds": 2.0}).equal == 1


MISSING = {"outcome": Reason.MISSING_LIBRARY, "library": LIBPYTHON, "status": Status.REGRESSED}


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (MISSING, {}, (f"missing-library {LIBPYTHON}", "imports")),
        ({}, MISSING, ("imports", f"missing-library {LIBPYTHON}")),
        (
            MISSING,
            {**MISSING, "library": "libGL.so.1"},
            (f"missing-library {LIBPYTHON}", "missing-library libGL.so.1"),
        ),
        ({"outcome": Reason.CRASH}, {"outcome": Reason.TIMEOUT}, ("crash", "timeout")),
    ],
)
def test_another_outcome_misleads(
    one: dict[str, Any], other: dict[str, Any], words: tuple[str, str]
) -> None:
    found = compared(one, other)
    difference = only(found)
    assert (difference.aspect, difference.known) == (Aspect.OUTCOME, None)
    assert (difference.replica, difference.upstream) == words
    assert (found.compared, found.equal, found.exit_code) == (1, 0, 1)
    assert "0 the same outcome, 1 differ;" in fidelity.summary(found)


def test_another_stage_is_another_outcome() -> None:
    found = compared({"stage": Stage.CHECK}, {}, outcome=Reason.CRASH)
    assert [each.aspect for each in found.differences] == [Aspect.OUTCOME]


def test_an_outcome_that_the_matrix_expects_to_differ_does_not_mislead() -> None:
    """As of a miscompiled release, whose replica is healthy."""
    found = compared(
        {"expected": Reason.PASSES, "outcome": Reason.PASSES},
        {
            "expected": Reason.FAILS,
            "outcome": Reason.FAILS,
            "expected_because": "BOLT folded two functions into one",
        },
    )
    assert only(found).known == (
        "A correct extension imports everywhere; BOLT folded two functions into one"
    )
    assert found.exit_code == 0
    assert "1 differ (1 as matrix.yaml expects);" in fidelity.summary(found)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"status": Status.REGRESSED, "expected_because": "x"}, id="regressed"),
        pytest.param({}, id="expected for the same reason, as in a trial"),
    ],
)
def test_an_outcome_that_merely_happened_does_mislead(other: dict[str, Any]) -> None:
    found = compared({}, {"outcome": Reason.CRASH, **other})
    assert only(found).known is None
    assert found.exit_code == 1


def test_where_the_outcome_differs_its_message_is_no_difference_of_its_own() -> None:
    found = compared(MISSING, {"message": "other"})
    assert [each.aspect for each in found.differences] == [Aspect.OUTCOME]


def test_another_message_is_listed_and_does_not_mislead() -> None:
    found = compared({"message": "a"}, {"message": "b"}, outcome=Reason.IMPORT_ERROR)
    assert only(found) == Difference(
        cell=CELL, aspect=Aspect.MESSAGE, replica="a", upstream="b", known=None
    )
    assert found.exit_code == 0


def test_the_patch_version_is_known_to_differ_and_its_paths_are_no_difference() -> None:
    """uv names the directory of an interpreter by it."""

    def side(python: str, prefix: str) -> dict[str, Any]:
        mapped = f"{prefix}/lib/{LIBPYTHON}"
        evidence = {
            "mapped_libpythons": [mapped],
            "bindings": {"home": mapped, "counts": {mapped: 3}, "copies": {}},
            "findings": {"at": {mapped: [mapped]}},
        }
        message = f"in {prefix}/bin/python3"
        return {"python": python, "prefix": prefix, "evidence": evidence, "message": message}

    found = compared(side("3.13.5", DEBIAN), side("3.13.3", RELEASE))
    assert only(found) == Difference(
        cell=CELL,
        aspect=Aspect.PYTHON_VERSION,
        replica="3.13.5",
        upstream="3.13.3",
        known="a replica has Debian's patch version",
    )
    assert (found.equal, found.exit_code) == (0, 0)


def test_bindings_are_compared_by_kind_of_file() -> None:
    def bound(**counts: int) -> dict[str, Any]:
        files = {
            "program": f"{DEBIAN}/bin/python3.13",
            "own": f"{DEBIAN}/lib/{LIBPYTHON}",
            "debian": f"/usr/lib/x86_64-linux-gnu/{LIBPYTHON}",
            "bundled": f"/opt/extensions/x/site/{LIBPYTHON}",
            "other": "elsewhere",
        }
        paths = {files[name]: number for name, number in counts.items()}
        return {"evidence": {"bindings": {"home": "", "counts": paths, "copies": {}}}}

    found = compared(bound(program=3, own=1), bound(own=4))
    assert only(found) == Difference(
        cell=CELL,
        aspect=Aspect.BINDINGS,
        replica="interpreter 3, its libpython 1",
        upstream="its libpython 4",
    )
    assert compared(bound(debian=1, bundled=2), bound(debian=3)).equal == 1
    assert only(compared(bound(other=1), bound())).replica == "other files 1"
    assert only(compared(bound(other=1), bound())).upstream == "none"


def test_what_was_mapped_is_listed() -> None:
    found = compared(
        {"evidence": {"mapped_libpythons": []}},
        {"evidence": {"mapped_libpythons": [f"{DEBIAN}/lib/{LIBPYTHON}"]}},
    )
    assert only(found) == Difference(
        cell=CELL,
        aspect=Aspect.MAPPED_LIBPYTHONS,
        replica="none",
        upstream=f"<prefix>/lib/{LIBPYTHON}",
    )


def test_findings_are_listed_by_their_keys() -> None:
    found = compared(
        {"evidence": {"findings": {"same": [1], "ssl": "3.5", "only": None}}},
        {"evidence": {"findings": {"same": [1], "ssl": "3.0", "new": {}}}},
    )
    assert [(each.replica, each.upstream) for each in found.of(Aspect.FINDINGS)] == [
        ('ssl: "3.5"', 'ssl: "3.0"'),
        ("only: null", "only: nothing"),
        ("new: nothing", "new: {}"),
    ]
    assert len(found.differences) == 3
    assert found.exit_code == 0
    assert "findings: libraries that a release bundles, a replica takes" in text(found)


def test_findings_that_are_no_dictionary_are_compared_as_a_whole() -> None:
    found = compared({"evidence": {"findings": [1]}}, {"evidence": {"findings": {"a": 1}}})
    assert only(found).replica == "all: [1]"


@pytest.mark.parametrize("name", ["mapped_libpythons", "bindings", "findings", "python"])
def test_evidence_that_one_side_lacks_is_no_difference(name: str) -> None:
    """A process that died has none."""
    value: Any = {"bindings": {"home": "", "counts": {"x": 1}, "copies": {}}}.get(name, ["x"])
    if name == "python":
        found = compared({"evidence": {"python": None}}, {"evidence": {"python": "3.13.3"}})
    else:
        found = compared({"evidence": {name: value}}, {})
    assert found.equal == 1


@pytest.mark.parametrize("side", [0, 1])
def test_what_could_not_be_tested_is_not_compared(side: int) -> None:
    failed = {"outcome": Reason.UNTESTABLE, "message": "no network"}
    sides: list[dict[str, Any]] = [{}, {}]
    sides[side] = failed
    found = compared(*sides)
    difference = only(found)
    assert difference.aspect is Aspect.UNTESTABLE
    words = [difference.replica, difference.upstream]
    assert words[side] == "untestable (image): no network"
    assert words[1 - side] == "imports"
    assert (found.compared, found.equal, found.exit_code) == (0, 0, 2)
    assert "; 1 untestable" in fidelity.summary(found)


def test_a_question_that_arises_nowhere_is_counted_and_no_difference() -> None:
    found = compared(outcome=Reason.NOT_APPLICABLE)
    assert (found.compared, found.not_applicable, found.differences) == (0, 1, ())
    assert "1 not applicable on either" in fidelity.summary(found)


def test_a_question_that_arises_on_one_side_only_is_listed() -> None:
    found = compared({"outcome": Reason.NOT_APPLICABLE}, {})
    assert only(found).aspect is Aspect.NOT_APPLICABLE
    assert "1 not applicable on one side" in fidelity.summary(found)


def test_a_cell_of_one_side_is_listed_with_what_that_says() -> None:
    replicas, upstream = pair()
    found = fidelity.compare(replicas, [])
    assert only(found) == Difference(
        cell=CELL, aspect=Aspect.ONLY_ONE_SIDE, replica="imports", upstream=""
    )
    found = fidelity.compare([], upstream)
    assert (only(found).replica, only(found).upstream) == ("", "imports")
    assert found.exit_code == 2
    assert "1 on one side only" in fidelity.summary(found)


def test_nothing_at_all_is_nothing_compared() -> None:
    assert fidelity.compare([], []).exit_code == 2


def test_how_the_files_are_linked_is_compared_with_each_other_and_with_the_table() -> None:
    found = compared({"linked": LinkModel.STATIC_RPATH}, {"linked": LinkModel.STATIC})
    assert only(found) == Difference(
        cell=CELL,
        aspect=Aspect.LINK_MODEL,
        replica="static+rpath (static+rpath by the table)",
        upstream="static (static+rpath by the table)",
    )
    assert found.exit_code == 0
    # Both alike, and the table is wrong.
    assert only(compared(linked=LinkModel.STATIC)).aspect is Aspect.LINK_MODEL
    words = only(compared({}, {"linked": LinkModel.STATIC})).replica
    assert words == "not read (static+rpath by the table)"
    assert compared(linked=LinkModel.STATIC_RPATH).equal == 1
    assert compared({}, {"linked": LinkModel.STATIC_RPATH}).equal == 1


def test_an_interpreter_that_an_older_uv_left_is_not_what_the_table_is_about() -> None:
    remedy = {"remedy": Remedy.UPGRADE_ONLY, "upgraded_from": "0.7.6"}
    assert compared(linked=LinkModel.STATIC, **remedy).equal == 1
    found = compared({"linked": LinkModel.SHARED}, {"linked": LinkModel.STATIC}, **remedy)
    assert only(found).aspect is Aspect.LINK_MODEL


def test_a_mirror_with_replicas_under_the_names_of_releases_is_seen() -> None:
    found = compared({}, {"pins": {"archive_is_replica": True}})
    assert found.disguised == 1
    assert "1 of the compared cells ran a replica on both sides" in text(found)
    assert "on both sides" not in text(compared())


def test_the_last_line_about_a_cell_counts() -> None:
    replicas, upstream = pair()
    again = result(Source.REPLICA, outcome=Reason.CRASH)
    assert fidelity.compare([again, *replicas], upstream).equal == 1
    assert fidelity.compare([*replicas, again], upstream).exit_code == 1


def test_the_gravest_comes_first_and_what_is_the_same_is_printed_once() -> None:
    names = ["a", "b", "c"]
    found = fidelity.compare(
        [result(sample=name) for name in names],
        [
            result(Source.UPSTREAM, sample="a", python="3.13.3"),
            result(Source.UPSTREAM, sample="b", python="3.13.3"),
            result(Source.UPSTREAM, sample="c", python="3.13.3", outcome=Reason.CRASH),
        ],
    )
    assert [each.aspect for each in found.differences] == [
        Aspect.OUTCOME,
        *[Aspect.PYTHON_VERSION] * 3,
    ]
    lines = text(found).splitlines()
    (version,) = [line for line in lines if "3.13.3" in line]
    assert version.split("│")[1].strip() == "python-version"
    assert version.split("│")[2].strip() == "3"
    assert "a-uv0.7.9-cp313-20250529-x86_64-debian13 and 2 more" in version
    (outcome,) = [line for line in lines if "crash" in line]
    assert lines.index(outcome) < lines.index(version)
    assert lines[-1] == ("3 cells compared: 2 the same outcome, 1 differ; 0 the same in everything")


def test_outcomes_are_named_for_each_cell() -> None:
    names = ["a", "b"]
    found = fidelity.compare(
        [result(sample=name) for name in names],
        [result(Source.UPSTREAM, sample=name, outcome=Reason.CRASH) for name in names],
    )
    assert text(found).count("crash") == 2


def test_all_of_it_is_there_for_programs() -> None:
    found = compared({"python": "3.13.5"}, {"python": "3.13.3", "outcome": Reason.CRASH})
    content = json.loads(fidelity.as_json(found))
    assert content.pop("differences") == [
        {
            "cell": CELL,
            "aspect": "outcome",
            "replica": "imports",
            "upstream": "crash",
            "known": None,
        },
        {
            "cell": CELL,
            "aspect": "python-version",
            "replica": "3.13.5",
            "upstream": "3.13.3",
            "known": "a replica has Debian's patch version",
        },
    ]
    assert content == {
        "compared": 1,
        "equal": 0,
        "not_applicable": 0,
        "disguised": 0,
        "exit_code": 1,
    }


OUTCOMES = st.sampled_from(list(Reason))


@given(
    st.dictionaries(st.sampled_from("abcdef"), OUTCOMES),
    st.dictionaries(st.sampled_from("abcdef"), OUTCOMES),
)
def test_every_cell_is_counted_once_and_sides_can_be_exchanged(
    one: dict[str, Reason], other: dict[str, Reason]
) -> None:
    def run(source: Source, outcomes: dict[str, Reason]) -> list[Result]:
        return [result(source, sample=name, outcome=each) for name, each in outcomes.items()]

    found = fidelity.compare(run(Source.REPLICA, one), run(Source.UPSTREAM, other))
    uncompared = sum(len(found.of(aspect)) for aspect in fidelity.UNCOMPARED)
    assert found.compared + uncompared + found.not_applicable == len({*one, *other})
    assert found.compared == found.equal + len(found.of(Aspect.OUTCOME))
    back = fidelity.compare(run(Source.REPLICA, other), run(Source.UPSTREAM, one))
    assert sorted(map(str, found.differences)) == sorted(
        str(replace(each, replica=each.upstream, upstream=each.replica))
        for each in back.differences
    )
