"""Signals: to the controller, to a worker, to both, at every stage of a run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM

from harness import engine
from tests.faults.fault import Fault, Happened
from tests.faults.hosts.ground import own
from tests.faults.hosts.scene import Scene, fault, happened, made_up, not_right
from tests.faults.kills import workers
from tests.faults.room import Ran, Room
from tests.faults.running import Running
from tests.faults.stages import Stage

CODES = {SIGINT: 2, SIGTERM: 143, SIGHUP: 129}
"""Exit codes of a run that a signal has ended; for SIGINT pytest has one of its own."""

SLEEP, LONG_SLEEP = 5.0, 50.0
"""Seconds. The longer is more than a container waits for a question before it ends."""


TOLD = ("crashed", "Interrupt", "a worker process ended")
"""How a run tells of a worker that has ended: xdist, pytest, and this project."""


class Whom(StrEnum):
    """Who gets a signal."""

    CONTROLLER = "controller"
    WORKER = "a worker"
    ALL = "all of them"


@dataclass(frozen=True, kw_only=True)
class When:
    """A moment of a run."""

    name: str
    has_come: Callable[[Running], bool]


STARTING = When(name="starting", has_come=lambda run: time.monotonic() > run.start + 0.9)
PREPARING = When(name="preparing", has_come=lambda run: run.stage is not Stage.STARTING)
FIRST_CELL = When(
    name="first-cell", has_come=lambda run: run.stage in (Stage.CONTAINERS, Stage.CELLS)
)
LAST_CELL = When(name="last-cell", has_come=lambda run: run.stage in (Stage.CELLS, Stage.ENDING))


def send(running: Running, number: signal.Signals, whom: Whom) -> bool:
    """Send a signal; False where nobody was there to get it."""
    try:
        match whom:
            case Whom.CONTROLLER:
                os.kill(running.process.pid, number)
            case Whom.ALL:
                os.killpg(running.process.pid, number)
            case Whom.WORKER:
                if not (there := workers(running)):
                    return False
                os.kill(there[0], number)
    except ProcessLookupError:
        return False
    return True


def ended_by(ran: Ran, number: signal.Signals) -> list[str]:
    """What is wrong with a run that a signal should have ended."""
    found = made_up(ran)
    # Before pytest has a session, it has one code for all.
    if ran.code not in (CODES[number], 128 + number, 2):
        found.append(f"it ended with {ran.code} instead of {CODES[number]}: {ran.said[-500:]}")
    if ran.said.count(f"ended by {number.name}") != 1:
        found.append(f"it does not say once that {number.name} has ended it: {ran.said[-500:]}")
    return found


def asked_to_end(
    number: signal.Signals, whom: Whom, when: When, arguments: tuple[str, ...], room: Room
) -> Happened:
    """A signal that asks a run to end, which has nothing left when it has ended."""
    scene = Scene(room=room)
    running = scene.start(*arguments)
    running.wait_for(when.has_come)
    since = time.monotonic()
    got_it = send(running, number, whom)
    ran = running.finish()
    left, seconds = scene.gone(running, since)
    if not got_it or (ran.code == 0 and not not_right(ran)):
        # It came when all was done, as it may.
        wrong = not_right(ran)
    else:
        wrong = ended_by(ran, number)
    return happened(
        f"{number.name} to {whom} ({' '.join(arguments)}), {when.name}",
        ran,
        left=left,
        wrong=(*wrong, *scene.next_run()),
        seconds=seconds,
    )


def while_building(number: signal.Signals, room: Room) -> Happened:
    """A signal while the engine builds an image, which nobody waits for then."""
    ground = own()
    ground.settle(room)
    ground.without_images(room)
    scene = ground.scene(room)
    before = _build_steps(room)
    running = scene.start("-n", "0")
    was_built = running.wait_for(lambda _: bool(_build_steps(room) - before), 120)
    since = time.monotonic()
    send(running, number, Whom.CONTROLLER)
    ran = running.finish()
    seconds = time.monotonic() - since
    left, _ = scene.gone(running, since)
    steps = _gone(room, before)
    problems = [] if number is SIGKILL else ended_by(ran, number)
    if not was_built:
        problems.append("no build was seen")
    problems += scene.next_run()
    ground.settle(room)
    if number is SIGKILL:  # what it left, the next run has removed
        left, _ = scene.gone(running, since)
    return happened(
        f"{number.name} while an image is built",
        ran,
        left=(*left, *steps),
        wrong=problems,
        seconds=seconds,
    )


def _build_steps(room: Room) -> set[str]:
    """Containers that are steps of builds: nobody owns them."""
    return {
        str(each["Id"])
        for each in room.client.api.containers(all=True, filters={"label": [engine.KIND]})
        if engine.OWNER not in each["Labels"]
    }


def _gone(room: Room, before: set[str]) -> tuple[str, ...]:
    """Steps of builds that are there although they were not before, and do not go."""
    end = time.monotonic() + 30
    while (left := _build_steps(room) - before) and time.monotonic() < end:
        time.sleep(0.1)
    return tuple(f"build step {name[:12]}" for name in sorted(left))


def twice(room: Room) -> Happened:
    """Two SIGINTs at once, as from a terminal and whoever runs the command in it."""
    scene = Scene(room=room)
    running = scene.start("-n", "0")
    running.wait_for(FIRST_CELL.has_come)
    since = time.monotonic()
    for _ in range(2):
        send(running, SIGINT, Whom.CONTROLLER)
        time.sleep(0.02)
    ran = running.finish()
    left, seconds = scene.gone(running, since)
    wrong = not_right(ran) if ran.code == 0 else ended_by(ran, SIGINT)
    return happened(
        "two SIGINTs at once", ran, left=left, wrong=(*wrong, *scene.next_run()), seconds=seconds
    )


def at_once(number: signal.Signals, room: Room) -> Happened:
    """A signal that nothing can be done at; the next run clears up after it."""
    scene = Scene(room=room)
    running = scene.start("-n", "0")
    running.wait_for(FIRST_CELL.has_come)
    since = time.monotonic()
    send(running, number, Whom.CONTROLLER)
    ran = running.finish()
    wrong = made_up(ran)
    if ran.code not in (-number, 0):
        wrong.append(f"it ended with {ran.code}")
    wrong += scene.next_run()
    left, seconds = scene.gone(running, since)
    return happened(
        f"{number.name} to the controller", ran, left=left, wrong=wrong, seconds=seconds
    )


def to_a_worker(number: signal.Signals, room: Room) -> Happened:
    """A worker that ends: what it was at is told of as failed, and is no verdict."""
    scene = Scene(room=room)
    running = scene.start("-n", "2")
    running.wait_for(lambda run: PREPARING.has_come(run) and len(workers(run)) == 2)
    since = time.monotonic()
    got_it = send(running, number, Whom.WORKER)
    ran = running.finish()
    left, seconds = scene.gone(running, since)
    wrong = made_up(ran)
    if not got_it:
        wrong.append("there was no worker")
    if ran.code == 0:
        wrong += not_right(ran)
    elif ran.code not in (1, 2, 3) or not any(word in ran.said for word in TOLD):
        wrong.append(f"it ended with {ran.code} and does not say why: {ran.said[-500:]}")
    return happened(
        f"{number.name} to a worker of two",
        ran,
        left=left,
        wrong=(*wrong, *scene.next_run()),
        seconds=seconds,
    )


def asleep(seconds: float, room: Room) -> Happened:
    """All processes stand still for a while, as on a laptop that sleeps."""
    scene = Scene(room=room)
    running = scene.start("-n", "2")
    running.wait_for(FIRST_CELL.has_come)
    send(running, SIGSTOP, Whom.ALL)
    time.sleep(seconds)
    since = time.monotonic()
    send(running, SIGCONT, Whom.ALL)
    ran = running.finish()
    left, took = scene.gone(running, since)
    return happened(
        f"stopped for {seconds:.0f} s, and continued",
        ran,
        left=left,
        wrong=not_right(ran),
        seconds=took,
    )


def _asking() -> list[Fault]:
    found = []
    cases = [
        *((number, Whom.CONTROLLER, STARTING, ("-n", "0")) for number in CODES),
        *((number, Whom.CONTROLLER, PREPARING, ("-n", "0")) for number in CODES),
        *((number, Whom.CONTROLLER, FIRST_CELL, ("-n", "0")) for number in CODES),
        *((number, Whom.CONTROLLER, LAST_CELL, ("-n", "0")) for number in CODES),
        *((number, Whom.CONTROLLER, FIRST_CELL, ("-n", "2")) for number in CODES),
        *((number, Whom.ALL, FIRST_CELL, ("-n", "2")) for number in CODES),
    ]
    for number, whom, when, arguments in cases:
        to = {Whom.ALL: "-to-all"}.get(whom, "")
        name = f"{number.name.lower()}{to}-{when.name}-n{arguments[-1]}"
        found.append(
            fault(
                name=name,
                inject=partial(asked_to_end, number, whom, when, arguments),
            )
        )
    return found


FAULTS: list[Fault] = [
    *_asking(),
    *(
        fault(
            name=f"{number.name.lower()}-while-building",
            inject=partial(while_building, number),
        )
        for number in (*CODES, SIGKILL)
    ),
    fault(name="sigint-twice", inject=twice),
    *(
        fault(
            name=f"{number.name.lower()}-to-controller",
            inject=partial(at_once, number),
        )
        for number in (SIGKILL, SIGQUIT)
    ),
    *(
        fault(
            name=f"{number.name.lower()}-to-worker",
            inject=partial(to_a_worker, number),
        )
        for number in (*CODES, SIGKILL)
    ),
    fault(name="asleep", inject=partial(asleep, SLEEP)),
    fault(name="asleep-for-longer", inject=partial(asleep, LONG_SLEEP)),
]
