"""An emulator that crashes now and then: an import that dies so is no verdict on the sample.

What crashes is the process that the agent forks for a question, in the run's own containers: it is
killed from outside with the signal that a crash ends with. The emulator of everybody else is left
alone.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from functools import partial

from docker.errors import APIError, NotFound

from harness import engine
from harness.signature import FLAKY
from tests.faults.fault import Fault, Happened
from tests.faults.hosts.scene import Scene, fault, made_up, verdict
from tests.faults.room import Room
from tests.faults.running import Running
from tests.faults.traces import children

MORE = (
    *("python-mscl", "libpython-needed-runpath", "libpython-needed-rpath", "ucxx-shaped"),
    *("runpath-plain-helper", "abi3-libpython3"),
)
"""Extensions beside the two of the small matrix."""

RUNS = 4


class Crashes:
    """Ends one in so many of the processes that agents fork, for as long as the context lasts."""

    def __init__(self, room: Room, running: Running, one_in: int, chance: random.Random) -> None:
        self._client = room.client
        self._running = running
        self._one_in = one_in
        self._chance = chance
        self._agents: dict[str, int] = {}
        self._seen: set[int] = set()
        self.crashed = 0
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._find, daemon=True),
            threading.Thread(target=self._crash, daemon=True),
        ]

    @property
    def asked(self) -> int:
        """How many processes were seen."""
        return len(self._seen)

    def __enter__(self) -> Crashes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _find(self) -> None:
        """Look for the run's containers, and who the first process in each is."""
        owner = [str(self._running.process.pid), self._running.started]
        while not self._is_over.wait(0.05):
            with suppress(APIError, NotFound):
                for each in self._client.api.containers(filters={"label": [engine.OWNER]}):
                    name = str(each["Id"])
                    if name in self._agents or each["Labels"][engine.OWNER].split()[3:] != owner:
                        continue
                    state = self._client.api.inspect_container(name)["State"]
                    if state["Pid"]:
                        self._agents[name] = int(state["Pid"])

    def _crash(self) -> None:
        while not self._is_over.is_set():
            for agent in tuple(self._agents.values()):
                for child in children(agent):
                    if child in self._seen:
                        continue
                    self._seen.add(child)
                    if self._chance.randrange(self._one_in) == 0:
                        with suppress(ProcessLookupError):
                            # At its beginning, or while it imports.
                            time.sleep(self._chance.choice((0.0, 0.002, 0.01)))
                            os.kill(child, signal.SIGSEGV)
                            self.crashed += 1
            time.sleep(0.0005)


def crashing(one_in: int, room: Room) -> Happened:
    """Runs in which one in so many answers is a crash."""
    chance = random.Random(1)
    scene = Scene(room=room, options=tuple(f"--extension={name}" for name in MORE))
    wrong: list[str] = []
    left: tuple[str, ...] = ()
    crashed = asked = flaky = 0
    said = []
    start = time.monotonic()
    for _ in range(RUNS):
        running = scene.start("-n", "0")
        with Crashes(room, running, one_in, chance) as crashes:
            ran = running.finish()
        crashed += crashes.crashed
        asked += crashes.asked
        left += scene.gone(running, start)[0]
        flaky += sum(bool(line["evidence"].get(FLAKY)) for line in ran.results)
        said.append(verdict(ran))
        wrong += made_up(ran)
        if len(ran.results) != 2 + len(MORE):
            wrong.append(f"there are {len(ran.results)} results")
    if not crashed:
        wrong.append(f"none of {asked} was hit")
    return Happened(
        what=f"{crashed} of {asked} answers are crashes, in {RUNS} runs",
        verdict=f"{flaky} flaky; {' / '.join(dict.fromkeys(said))}",
        seconds=time.monotonic() - start,
        left=left,
        wrong=tuple(wrong),
    )


FAULTS: list[Fault] = [
    fault(
        name="emulator-crashes",
        inject=partial(crashing, 10),
        platforms=("x86_64", "aarch64"),
    ),
]
