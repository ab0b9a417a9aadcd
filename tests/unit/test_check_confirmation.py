"""A check against a run: where they agree, where they do not, and where a run cannot say."""

from __future__ import annotations

import pytest

from harness.check import confirmation, verdicts
from harness.check.verdicts import Finding
from harness.releases import LinkModel
from harness.results import Result
from tests.unit.made_targets import LIBPYTHON, SUFFIX, library, target
from tests.unit.test_results import result

BREAKS = verdicts.check(target({f"_m{SUFFIX}": library(LIBPYTHON)}))
CLEAN = verdicts.check(target({f"_m{SUFFIX}": library("libcuda.so.1", "libatomic.so.1")}))


def seen(
    outcome: str, library: str | None = None, *, model: LinkModel = LinkModel.STATIC, **change: str
) -> Result:
    return result(
        id=f"{model}",
        platform=change.get("platform", "x86_64"),
        link_model=model,
        outcome=outcome,
        missing_library=library,
        message=f"{library}: gone" if library else "No module named 'numpy'",
    )


AGREE: dict[str, tuple[Finding, Result]] = {
    "fails as said": (BREAKS, seen("missing-library", LIBPYTHON)),
    "imports as said": (BREAKS, seen("imports", model=LinkModel.STATIC_RPATH)),
    "loads, whatever it binds to": (BREAKS, seen("split-binding", model=LinkModel.SHARED)),
    "what the system has to have": (CLEAN, seen("missing-library", "libcuda.so.1")),
}


@pytest.mark.parametrize(("finding", "observed"), AGREE.values(), ids=AGREE)
def test_what_was_said_and_observed_agrees(finding: Finding, observed: Result) -> None:
    found = confirmation.compare([finding], [observed])
    assert (len(found.agreeing), found.differing, found.silent) == (1, (), ())
    assert found.summary.startswith("check and the containers say the same of 1 of 1 environments")


DIFFER: dict[str, tuple[Finding, Result]] = {
    "imports where it was to fail": (BREAKS, seen("imports")),
    "fails where it was to import": (
        BREAKS,
        seen("missing-library", LIBPYTHON, model=LinkModel.STATIC_RPATH),
    ),
    "another library": (BREAKS, seen("missing-library", "libother.so")),
}


@pytest.mark.parametrize(("finding", "observed"), DIFFER.values(), ids=DIFFER)
def test_what_contradicts_is_told_with_both_sides(finding: Finding, observed: Result) -> None:
    found = confirmation.compare([finding], [observed])
    assert (found.agreeing, found.silent) == ((), ())
    (sentence,) = found.differing
    assert "check says" in sentence
    assert f"but the container {observed.outcome}" in sentence


SILENT: dict[str, tuple[Finding, Result, str]] = {
    "an exception of Python's": (BREAKS, seen("import-error"), "No module named 'numpy'"),
    "a base that lacks what is promised": (
        CLEAN,
        seen("missing-library", "libatomic.so.1"),
        "the base image has no libatomic.so.1, which the manylinux rules promise",
    ),
    "another platform": (
        BREAKS,
        seen("imports", platform="aarch64"),
        "nothing was checked for CPython 3.13 there",
    ),
}


@pytest.mark.parametrize(("finding", "observed", "words"), SILENT.values(), ids=SILENT)
def test_what_says_nothing_about_the_check_is_no_agreement(
    finding: Finding, observed: Result, words: str
) -> None:
    found = confirmation.compare([finding], [observed])
    assert (found.agreeing, found.differing) == ((), ())
    assert words in found.silent[0]
    assert found.summary.endswith("say the same of 0 of 0 environments; 1 could not be compared")
