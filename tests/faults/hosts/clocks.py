"""Clocks that jump: nothing that waits may wait by them, and nothing may be removed by them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.faults.fault import Fault, Happened
from tests.faults.hosts.scene import Scene, as_if_nothing, fault
from tests.faults.room import Room

JUMPING = '''
"""Another time of day for this process, which jumps; nothing else of a process is changed."""

import os
import time

_time, _time_ns, _start = time.time, time.time_ns, time.monotonic()
_jumps = [tuple(map(float, jump.split(":"))) for jump in os.environ["JUMPS"].split()]


def _ahead():
    passed = time.monotonic() - _start
    return sum(by for after, by in _jumps if passed >= after)


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + int(_ahead() * 1e9)
'''
"""A ``sitecustomize``, which every Python that is started so loads."""

DAY = 86_400


def jumping(jumps: str, what: str, room: Room) -> Happened:
    """A run whose clock jumps: ``seconds after its start:seconds by which``, several of them."""
    with tempfile.TemporaryDirectory(dir=room.folder) as name:
        (Path(name) / "sitecustomize.py").write_text(JUMPING, encoding="utf-8")
        scene = Scene(room=room, environment={"PYTHONPATH": name, "JUMPS": jumps})
        return as_if_nothing(scene, what, "-n", "2")


FAULTS: list[Fault] = [
    fault(
        name="clock-jumps-forward",
        inject=partial(jumping, f"1:{30 * DAY}", "the clock jumps 30 days forward"),
    ),
    fault(
        name="clock-jumps-back",
        inject=partial(jumping, f"1:{-30 * DAY}", "the clock jumps 30 days back"),
    ),
    fault(
        name="clock-to-and-fro",
        inject=partial(
            jumping,
            " ".join(f"{0.5 * n}:{(-1) ** n * 3600}" for n in range(1, 40)),
            "the clock jumps an hour to and fro, twice a second",
        ),
    ),
    fault(
        name="clock-of-1970",
        inject=partial(jumping, f"0:{-56 * 365.25 * DAY}", "the clock is not set"),
    ),
]
