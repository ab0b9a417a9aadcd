"""Verdicts: known breakage is as expected only when it is that breakage."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.outcome import Outcome, Reason, Stage, untestable
from harness.plan import Expected
from harness.verdict import Status, explain, judge

LIBPYTHON = "libpython3.13.so.1.0"
NOT_FOUND = f"{LIBPYTHON}: cannot open shared object file: No such file or directory"
EXPECTABLE = [reason for reason in Reason if reason is not Reason.UNTESTABLE]
PAIRS = list(itertools.product(Reason, EXPECTABLE))


def outcome(reason: Reason, *, library: str = LIBPYTHON, message: str = NOT_FOUND) -> Outcome:
    if reason is Reason.UNTESTABLE:
        return untestable(Stage.IMAGE, message)
    return Outcome(
        stage=Stage.IMPORT,
        reason=reason,
        message="" if reason is Reason.IMPORTS else message,
        missing_library=library if reason is Reason.MISSING_LIBRARY else None,
    )


def expected(reason: Reason, *, message: str | None = None) -> Expected:
    return Expected(
        reason=reason,
        library=LIBPYTHON if reason is Reason.MISSING_LIBRARY else None,
        message=message,
        why="of the loader",
    )


@pytest.mark.parametrize(("got", "wanted"), PAIRS)
def test_every_outcome_against_every_expectation(got: Reason, wanted: Reason) -> None:
    """No verdict without an import; the same is as expected; success instead is a fix."""
    if got is Reason.UNTESTABLE:
        status = Status.UNTESTABLE
    elif got == wanted:
        status = Status.AS_EXPECTED
    elif got is Reason.IMPORTS:
        status = Status.FIXED
    else:
        status = Status.REGRESSED
    assert judge(outcome(got), expected(wanted)) is status
    assert explain(outcome(got), expected(wanted)).startswith(f"{status.replace('-', ' ')}: ")


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.IMPORT])
def test_a_failure_before_the_import_is_never_a_verdict(stage: Stage) -> None:
    said = untestable(stage, NOT_FOUND)
    assert {judge(said, expected(wanted)) for wanted in EXPECTABLE} == {Status.UNTESTABLE}
    assert f"stage {stage} failed" in explain(said, expected(Reason.IMPORTS))


@pytest.mark.parametrize(
    "library", ["libGL.so.1", "libpython3.so", "libpython3.12.so.1.0", "libpython3.13.so"]
)
def test_another_missing_library_than_the_expected_one_is_a_regression(library: str) -> None:
    got = outcome(Reason.MISSING_LIBRARY, library=library)
    assert judge(got, expected(Reason.MISSING_LIBRARY)) is Status.REGRESSED
    words = explain(got, expected(Reason.MISSING_LIBRARY))
    assert f"expected missing-library {LIBPYTHON}, but got missing-library {library}" in words


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (None, Status.AS_EXPECTED),
        ("", Status.AS_EXPECTED),
        (NOT_FOUND, Status.AS_EXPECTED),
        ("cannot open shared object file", Status.AS_EXPECTED),
        ("cannot open shared object file: Permission denied", Status.REGRESSED),
        ("CANNOT OPEN", Status.REGRESSED),
    ],
)
def test_an_expected_message_must_be_contained_in_the_exceptions(
    message: str | None, status: Status
) -> None:
    got = outcome(Reason.MISSING_LIBRARY)
    assert judge(got, expected(Reason.MISSING_LIBRARY, message=message)) is status


def test_a_regression_by_message_shows_both_messages() -> None:
    words = explain(
        outcome(Reason.IMPORT_ERROR, message="circular import"),
        expected(Reason.IMPORT_ERROR, message="no module named x"),
    )
    assert "with 'no module named x'" in words
    assert "circular import" in words


def test_a_fix_asks_to_update_the_matrix_and_says_why_breakage_was_expected() -> None:
    words = explain(outcome(Reason.IMPORTS), expected(Reason.MISSING_LIBRARY))
    assert words.startswith("fixed: ")
    assert "matrix.yaml" in words
    assert "of the loader" in words


NAMES = st.sampled_from([LIBPYTHON, "libpython3.so", "libGL.so.1"])
OUTCOMES = st.builds(
    outcome, st.sampled_from(Reason), library=NAMES, message=st.sampled_from(["", NOT_FOUND, "x"])
)
EXPECTATIONS = st.builds(
    expected, st.sampled_from(EXPECTABLE), message=st.sampled_from([None, NOT_FOUND, "y"])
)


@given(OUTCOMES, EXPECTATIONS)
def test_status_says_which_side_imports(got: Outcome, wanted: Expected) -> None:
    """Fixed is an import against the expectation; regressed is never one that imports."""
    status = judge(got, wanted)
    assert (status is Status.UNTESTABLE) == (got.stage is not Stage.IMPORT)
    assert (status is Status.FIXED) == (
        got.reason is Reason.IMPORTS and wanted.reason is not Reason.IMPORTS
    )
    if status is Status.REGRESSED:
        assert got.reason is not Reason.IMPORTS
    if status is Status.AS_EXPECTED:
        assert (got.reason, got.missing_library) == (wanted.reason, wanted.library)


@pytest.mark.parametrize(
    ("stage", "reason", "library"),
    [
        (Stage.IMPORT, Reason.UNTESTABLE, None),
        (Stage.IMAGE, Reason.IMPORTS, None),
        (Stage.INSTALL, Reason.CRASH, None),
        (Stage.IMPORT, Reason.MISSING_LIBRARY, None),
        (Stage.IMPORT, Reason.IMPORTS, LIBPYTHON),
        (Stage.IMPORT, Reason.CRASH, LIBPYTHON),
    ],
)
def test_an_outcome_that_contradicts_itself_cannot_be_made(
    stage: Stage, reason: Reason, library: str | None
) -> None:
    with pytest.raises(ValueError, match=str(reason)):
        Outcome(stage=stage, reason=reason, missing_library=library)
