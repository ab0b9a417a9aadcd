"""What happened against what should happen."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from harness.outcome import Outcome, Reason
from harness.plan import Expected
from harness.prediction import Prediction


class Status(StrEnum):
    """How an outcome stands to its expectation."""

    AS_EXPECTED = "as-expected"
    REGRESSED = "regressed"
    FIXED = "fixed"
    MISPREDICTED = "mispredicted"
    UNTESTABLE = "untestable"
    NOT_APPLICABLE = "not-applicable"

    @property
    def is_surprise(self) -> bool:
        """Whether something was found out that is to be explained, or expected from now on."""
        return self in (Status.REGRESSED, Status.FIXED, Status.MISPREDICTED)


def judge(outcome: Outcome, expected: Expected, prediction: Prediction | None = None) -> Status:
    """Compare; known breakage is as expected only when it is *that* breakage.

    ``mispredicted`` goes before all else, since the one or the other is not understood: the
    loader, or what this project believes of it.

    ``fixed`` means that the import (or the check) succeeded although it was expected to fail.
    Another failure than the expected one is ``regressed``: a missing libGL is no known missing
    libpython, and an import that binds to a second copy of libpython is no plain success.
    """
    match outcome.reason:
        case Reason.UNTESTABLE:
            return Status.UNTESTABLE
        case Reason.NOT_APPLICABLE:
            return Status.NOT_APPLICABLE
        case _ if prediction and not prediction.agrees(outcome.reason, outcome.missing_library):
            return Status.MISPREDICTED
        case Reason.IMPORTS | Reason.PASSES:
            return Status.AS_EXPECTED if expected.reason is outcome.reason else Status.FIXED
        case (
            Reason.SPLIT_BINDING
            | Reason.FAILS
            | Reason.MISSING_LIBRARY
            | Reason.UNDEFINED_SYMBOL
            | Reason.IMPORT_ERROR
            | Reason.CRASH
            | Reason.TIMEOUT
            | Reason.OUT_OF_MEMORY
        ):
            same = (
                outcome.reason is expected.reason
                and outcome.missing_library == expected.library
                and (expected.message is None or expected.message in outcome.message)
            )
            return Status.AS_EXPECTED if same else Status.REGRESSED
        case _:
            assert_never(outcome.reason)


def explain(outcome: Outcome, expected: Expected, prediction: Prediction | None = None) -> str:
    """Words for a cell that did not do what it should."""
    match judge(outcome, expected, prediction):
        case Status.MISPREDICTED:
            assert prediction is not None  # else there is nothing to contradict
            return (
                f"mispredicted: by the loader's rules {prediction.short}, but got {outcome.short}. "
                "Either harness/loader has a mistake, or this is news about the loader; "
                f"what was expected is {expected.short}.\n{outcome.message}"
            ).rstrip()
        case Status.AS_EXPECTED:
            return f"as expected: {outcome.short}"
        case Status.REGRESSED:
            wanted = f"expected {expected.short}"
            if expected.message is not None and outcome.reason is expected.reason:
                wanted += f" with {expected.message!r}"
            return f"regressed: {wanted}, but got {outcome.short}\n{outcome.message}".rstrip()
        case Status.FIXED:
            return (
                f"fixed: expected {expected.short}, but it {outcome.short}. "
                f"If that is for good, update the expectation in matrix.yaml.\n"
                f"It was expected because: {expected.why}"
            )
        case Status.UNTESTABLE:
            return f"untestable: stage {outcome.stage} failed: {outcome.message}"
        case Status.NOT_APPLICABLE:
            return f"not applicable: {outcome.message}"
