"""Faults of samples: hostile modules, imported in real containers as a user's extension is.

``python -m tests.faults.samples`` prints what they tried from inside, and how it was refused.
"""

from __future__ import annotations

from functools import partial

from harness.outcome import Reason
from tests.faults.fault import Fault, Happened
from tests.faults.room import Room
from tests.faults.samples import hostile, trials
from tests.faults.samples.laboratory import laboratory

PLATFORMS = ("x86_64", "aarch64")


def _inject(room: Room, *, expected: trials.Expected) -> Happened:
    return trials.inject(expected, room.platform)


def _in_one_container(room: Room) -> Happened:
    """Thirteen hostile modules in one container, and after each a harmless one."""
    after, left = laboratory(room.platform).one_after_another(hostile.IN_ONE_CONTAINER)
    return Happened(
        what=f"{len(after)} hostile modules in one container, and after each a harmless one.",
        verdict=f"{sum(o.reason is Reason.IMPORTS for o, _ in after.values())} times imports",
        seconds=max(seconds for _, seconds in after.values()),
        left=left,
        wrong=tuple(
            f"after {name}: {outcome.short}: {outcome.message[:200]}"
            for name, (outcome, _) in after.items()
            if outcome.reason is not Reason.IMPORTS
        ),
    )


FAULTS: list[Fault] = [
    *(
        Fault(
            group="sample",
            name=expected.name,
            inject=partial(_inject, expected=expected),
            platforms=PLATFORMS,
        )
        for expected in hostile.ALL
    ),
    Fault(
        group="sample", name="all-in-one-container", inject=_in_one_container, platforms=PLATFORMS
    ),
]
