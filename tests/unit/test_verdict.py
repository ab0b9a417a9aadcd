"""Verdicts: known breakage is as expected only when it is that breakage."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.outcome import Outcome, Reason, Stage, not_applicable, untestable
from harness.plan import Expected
from harness.prediction import Prediction
from harness.verdict import Status, explain, judge

LIBPYTHON = "libpython3.13.so.1.0"
NOT_FOUND = f"{LIBPYTHON}: cannot open shared object file: No such file or directory"
SUCCESSES = {Reason.IMPORTS, Reason.PASSES}
NO_ANSWERS = {Reason.UNTESTABLE: Status.UNTESTABLE, Reason.NOT_APPLICABLE: Status.NOT_APPLICABLE}
OF_CHECKS = {Reason.PASSES, Reason.FAILS}
EXPECTABLE = [reason for reason in Reason if reason not in NO_ANSWERS]
PAIRS = list(itertools.product(Reason, EXPECTABLE))


def outcome(reason: Reason, *, library: str = LIBPYTHON, message: str = NOT_FOUND) -> Outcome:
    if reason is Reason.UNTESTABLE:
        return untestable(Stage.IMAGE, message)
    if reason is Reason.NOT_APPLICABLE:
        return not_applicable(Stage.INSTALL, message)
    return Outcome(
        stage=Stage.CHECK if reason in OF_CHECKS else Stage.IMPORT,
        reason=reason,
        message="" if reason in SUCCESSES else message,
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
    """No verdict without an answer; the same is as expected; success instead is a fix."""
    if got in NO_ANSWERS:
        status = NO_ANSWERS[got]
    elif got == wanted:
        status = Status.AS_EXPECTED
    elif got in SUCCESSES:
        status = Status.FIXED
    else:
        status = Status.REGRESSED
    assert judge(outcome(got), expected(wanted)) is status
    assert explain(outcome(got), expected(wanted)).startswith(f"{status.replace('-', ' ')}: ")


ANSWERING = (Stage.IMPORT, Stage.CHECK)
BEFORE = [stage for stage in Stage if stage not in ANSWERING]


@pytest.mark.parametrize("stage", BEFORE)
def test_a_failure_before_the_import_is_never_a_verdict(stage: Stage) -> None:
    said = untestable(stage, NOT_FOUND)
    assert {judge(said, expected(wanted)) for wanted in EXPECTABLE} == {Status.UNTESTABLE}
    assert f"stage {stage} failed" in explain(said, expected(Reason.IMPORTS))


@pytest.mark.parametrize("stage", BEFORE)
def test_a_question_that_does_not_arise_is_never_a_verdict(stage: Stage) -> None:
    said = not_applicable(stage, "nothing to patch")
    assert {judge(said, expected(wanted)) for wanted in EXPECTABLE} == {Status.NOT_APPLICABLE}
    assert explain(said, expected(Reason.IMPORTS)) == "not applicable: nothing to patch"


def test_only_what_gave_an_answer_was_tried() -> None:
    assert [reason for reason in Reason if not reason.was_tried] == list(NO_ANSWERS)


def test_an_import_that_binds_to_a_second_libpython_is_no_success() -> None:
    """And one that no longer does, where it was known to, is a fix."""
    split, whole = outcome(Reason.SPLIT_BINDING), outcome(Reason.IMPORTS)
    assert judge(split, expected(Reason.IMPORTS)) is Status.REGRESSED
    assert judge(whole, expected(Reason.SPLIT_BINDING)) is Status.FIXED
    words = explain(whole, expected(Reason.SPLIT_BINDING))
    assert words.startswith("fixed: expected split-binding, but it imports.")


def test_a_check_that_passes_where_it_was_known_to_fail_is_a_fix_that_says_so() -> None:
    words = explain(outcome(Reason.PASSES), expected(Reason.FAILS))
    assert words.startswith("fixed: expected fails, but it passes.")


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
def test_status_says_which_side_succeeds(got: Outcome, wanted: Expected) -> None:
    """Fixed is a success against the expectation; regressed is never one."""
    status = judge(got, wanted)
    assert (status in NO_ANSWERS.values()) == (got.stage not in ANSWERING)
    assert (status is Status.FIXED) == (got.reason in SUCCESSES and wanted.reason is not got.reason)
    if status is Status.REGRESSED:
        assert got.reason not in SUCCESSES
    if status is Status.AS_EXPECTED:
        assert (got.reason, got.missing_library) == (wanted.reason, wanted.library)


@pytest.mark.parametrize(
    ("stage", "reason", "library"),
    [
        *((stage, reason, None) for stage in ANSWERING for reason in NO_ANSWERS),
        *((stage, reason, None) for stage in BEFORE for reason in EXPECTABLE),
        (Stage.IMPORT, Reason.MISSING_LIBRARY, None),
        (Stage.IMPORT, Reason.IMPORTS, LIBPYTHON),
        (Stage.IMPORT, Reason.CRASH, LIBPYTHON),
        (Stage.CHECK, Reason.PASSES, LIBPYTHON),
        (Stage.CHECK, Reason.MISSING_LIBRARY, None),
        (Stage.INSTALL, Reason.NOT_APPLICABLE, LIBPYTHON),
    ],
)
def test_an_outcome_that_contradicts_itself_cannot_be_made(
    stage: Stage, reason: Reason, library: str | None
) -> None:
    with pytest.raises(ValueError, match=str(reason)):
        Outcome(stage=stage, reason=reason, missing_library=library)


MISSING = Prediction(outcome=Reason.MISSING_LIBRARY, library=LIBPYTHON)
FOUND = Prediction(outcome=Reason.IMPORTS)
DAMAGED = Prediction(outcome=Reason.IMPORT_ERROR, library="libx.so")


@pytest.mark.parametrize(("got", "wanted"), PAIRS)
def test_what_the_loader_did_against_its_rules_goes_before_every_expectation(
    got: Reason, wanted: Reason
) -> None:
    """A library that is missing against them, or not missing; nothing else is their business."""
    plain = judge(outcome(got), expected(wanted))
    for prediction, agrees in (
        (FOUND, got is not Reason.MISSING_LIBRARY),
        (MISSING, got is Reason.MISSING_LIBRARY),
        (DAMAGED, got is Reason.IMPORT_ERROR),
    ):
        status = judge(outcome(got), expected(wanted), prediction)
        mistaken = got not in NO_ANSWERS and not agrees
        assert status is (Status.MISPREDICTED if mistaken else plain)


def test_another_missing_library_than_the_rules_say_is_mispredicted() -> None:
    got = outcome(Reason.MISSING_LIBRARY, library="libGL.so.1")
    assert judge(got, expected(Reason.MISSING_LIBRARY), MISSING) is Status.MISPREDICTED


def test_a_misprediction_names_both_sides_and_what_was_expected() -> None:
    words = explain(outcome(Reason.MISSING_LIBRARY), expected(Reason.IMPORTS), FOUND)
    assert words.startswith("mispredicted: by the loader's rules imports, but got missing-library")
    assert LIBPYTHON in words
    assert "what was expected is imports" in words
