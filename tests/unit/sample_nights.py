"""Nights for tests of what is filed: results whose status fits what happened."""

from __future__ import annotations

from typing import Any

from harness.outcome import Reason
from harness.results import Result
from tests.unit.sample_results import LIBPYTHON, made

GL = "libGL.so.1"


def ok(sample: str = "sample", **more: Any) -> Result:
    """It imports, as expected."""
    return made(sample, **more)


def broken(sample: str = "sample", library: str = LIBPYTHON, **more: Any) -> Result:
    """It regressed: a library is missing that nobody expected to be missed."""
    return made(
        sample,
        Reason.MISSING_LIBRARY,
        f"{library}: cannot open shared object file: No such file or directory",
        missing_library=library,
        status="regressed",
        **more,
    )


def known(sample: str = "sample", **more: Any) -> Result:
    """It fails, as expected."""
    return made(
        sample,
        Reason.MISSING_LIBRARY,
        **{"expected": "missing-library", "expected_library": LIBPYTHON, **more},
    )


def fixed(sample: str = "sample", **more: Any) -> Result:
    """It imports, and was expected to fail."""
    return made(
        sample,
        expected="missing-library",
        expected_library=LIBPYTHON,
        expected_because="static builds have none",
        status="fixed",
        **more,
    )


def mispredicted(sample: str = "sample", **more: Any) -> Result:
    """It imports, and by the loader's rules it should not."""
    predicted = {
        "outcome": "missing-library",
        "missing_library": LIBPYTHON,
        "needed_by": None,
        "searched": (),
    }
    return made(sample, status="mispredicted", predicted=predicted, **more)


def untestable(sample: str = "sample", **more: Any) -> Result:
    """Something of ours stood in the way."""
    message = "no space left on device"
    return made(sample, Reason.UNTESTABLE, message, status="untestable", **more)


def not_applicable(sample: str = "sample", **more: Any) -> Result:
    """The question does not arise."""
    return made(sample, Reason.NOT_APPLICABLE, "no such build", status="not-applicable", **more)


def error(message: str, sample: str = "sample", **more: Any) -> Result:
    """It regressed with an exception that may say anything."""
    return made(sample, Reason.IMPORT_ERROR, message, status="regressed", **more)
