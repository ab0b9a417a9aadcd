"""When a trial of a hostile module is not as it should be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.outcome import Outcome, Reason, Stage, untestable
from harness.question import Finished
from tests.faults.samples import FAULTS, hostile, trials
from tests.faults.samples.laboratory import BESIDE, BROKEN, GOOD, HOSTILE, KEEPS, SEES, Trial
from tests.faults.samples.trials import Expected, wrong

IMPORTS = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)
NO_LIBPYTHON = Outcome(
    stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library="libpython3.13.so.1.0"
)
CRASHES = Outcome(stage=Stage.IMPORT, reason=Reason.CRASH, message="signal 11 (SIGSEGV)")
ENDED = Finished(exit_code=139, seconds=0.1, timed_out=False, events={}, errors="")

EXPECTED = Expected(module="segfaults", reasons=(Reason.CRASH,), text="SIGSEGV")
GONE_WELL = Trial(
    outcome=CRASHES, finished=ENDED, after={GOOD: IMPORTS, BROKEN: NO_LIBPYTHON}, seconds=0.1
)


def test_a_trial_that_went_well_has_nothing_wrong() -> None:
    assert wrong(EXPECTED, GONE_WELL) == ()


@pytest.mark.parametrize(
    "trial",
    [
        replace(GONE_WELL, outcome=IMPORTS),
        replace(GONE_WELL, outcome=replace(CRASHES, message="signal 6 (SIGABRT)")),
        replace(GONE_WELL, outcome=replace(CRASHES, message="SIGSEGV" * 1000)),
        replace(GONE_WELL, outcome=replace(CRASHES, evidence={"findings": [float("inf")]})),
        replace(GONE_WELL, finished=replace(ENDED, errors="x" * (2 << 20))),
        replace(GONE_WELL, after={GOOD: CRASHES, BROKEN: NO_LIBPYTHON}),
        replace(GONE_WELL, after={GOOD: IMPORTS, BROKEN: IMPORTS}),
        replace(
            GONE_WELL,
            after={GOOD: IMPORTS, BROKEN: replace(NO_LIBPYTHON, missing_library="libGL.so.1")},
        ),
        replace(GONE_WELL, meanwhile={GOOD: untestable(Stage.ENGINE, "gone")}),
        replace(GONE_WELL, changed=("limits: a, then b",)),
        replace(GONE_WELL, seconds=600.0),
    ],
    ids=[
        *(
            "reason",
            "text",
            "long-message",
            "no-json",
            "much-output",
            "next-crashes",
            "next-imports",
        ),
        *("another-library", "neighbour", "changed", "hangs"),
    ],
)
def test_each_thing_that_goes_wrong_is_told(trial: Trial) -> None:
    assert len(wrong(EXPECTED, trial)) == 1


def test_a_neighbour_without_an_answer_is_told() -> None:
    expected = replace(EXPECTED, meanwhile=(GOOD,))
    assert wrong(expected, GONE_WELL) == (f"no answer meanwhile: {GOOD}",)


def test_an_act_that_came_to_something_is_told_unless_it_is_allowed() -> None:
    """So is one that failed for another reason than a refusal, which says nothing."""
    said = {
        "a": "EPERM",
        "b": "got 5",
        "c": "got 6",
        "d": "TypeError: x",
        "e": "nothing",
        "f": "ENOSPC after 64 MB",
    }
    outcome = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORT_ERROR, message=json.dumps(said))
    expected = Expected(
        module="segfaults", reasons=(Reason.IMPORT_ERROR,), acts=True, allowed=("c",)
    )
    assert wrong(expected, replace(GONE_WELL, outcome=outcome)) == ("b: got 5", "d: TypeError: x")


def test_a_module_that_does_not_tell_of_its_acts_has_not_been_refused_anything() -> None:
    outcome = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORT_ERROR, message='{"a": "EPE')
    expected = Expected(module="segfaults", reasons=(Reason.IMPORT_ERROR,), acts=True)
    assert len(wrong(expected, replace(GONE_WELL, outcome=outcome))) == 1


def test_every_hostile_module_is_tried_out_and_says_what_it_does() -> None:
    there = {path.stem for path in HOSTILE.iterdir() if path.suffix in (".py", ".c")}
    harmless = {"__init__", *BESIDE, SEES, KEEPS}
    assert {expected.module for expected in hostile.ALL} == there - harmless
    assert all(trials.does(module) for module in there - harmless)


def test_names_of_faults_are_unique_and_each_is_injected_on_both_platforms() -> None:
    names = [fault.id for fault in FAULTS]
    assert len({*names}) == len(names) >= 35
    assert all(fault.platforms == ("x86_64", "aarch64") for fault in FAULTS)


def test_hostile_modules_cannot_be_imported_here() -> None:
    with pytest.raises(ImportError, match="in containers only"):
        __import__("tests.faults.hostile.segfaults")
