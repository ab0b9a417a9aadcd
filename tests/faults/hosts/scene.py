"""Runs to which something is done, with a folder of their own for temporary files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import cache
from harness.signature import FLAKY
from tests.faults.fault import Fault, Happened
from tests.faults.room import Ran, Room
from tests.faults.running import Running
from tests.faults.traces import Trace, made_in

SURPRISES = {"regressed", "fixed", "mispredicted"}
"""Statuses that say of a sample what is not so here: each would be a verdict that was made up."""

CELLS = 2
"""Cells that the small matrix has on a platform."""

SOON = 15.0
"""Seconds within which the engine has removed what has ended."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A room, and what its runs are told."""

    room: Room
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    options: Sequence[str] = ()

    @property
    def temporary(self) -> Path:
        """The runs' folder for temporary files."""
        folder = self.room.folder / "t"
        folder.mkdir(exist_ok=True)
        return folder

    def start(self, *arguments: str) -> Running:
        """Start a run."""
        return Running(
            self.room,
            *self.options,
            *arguments,
            environment={"TMPDIR": str(self.temporary), **self.environment},
            before=self.before,
        )

    def run(self, *arguments: str) -> Ran:
        """A whole run."""
        return self.start(*arguments).finish()

    def undisturbed(self) -> Scene:
        """The same room, with nothing done to it, the same cache, and the same matrix."""
        kept = {k: v for k, v in self.environment.items() if k == cache.LOCATION_VARIABLE}
        return Scene(room=self.room, environment=kept, options=self.options)

    def next_run(self) -> list[str]:
        """What is wrong with a run after all is over."""
        found = not_right(self.undisturbed().run("-n", "0"))
        return [f"the next run: {problem}" for problem in found]

    def gone(self, running: Running, since: float) -> tuple[tuple[str, ...], float]:
        """What a run has left, once there was time to end; and the seconds that it took."""
        end = time.monotonic() + SOON
        while True:
            trace = Trace(
                mark=running.mark,
                pid=running.process.pid,
                started=running.started,
                files=made_in(self.temporary),
            )
            left = trace.left(self.room.client)
            if not left or time.monotonic() > end:
                return left, time.monotonic() - since
            time.sleep(0.1)


def not_right(ran: Ran, cells: int = CELLS) -> list[str]:
    """What is wrong with a run that should have been as if nothing had happened."""
    found = made_up(ran)
    if ran.code != 0:
        found.append(f"it ended with {ran.code}: {ran.said[-500:]}")
    statuses = [line["status"] for line in ran.results]
    if statuses != ["as-expected"] * cells:
        found.append(f"its cells are {statuses}")
    return found


def made_up(ran: Ran) -> list[str]:
    """Verdicts that are none of the sample's, and tracebacks, which are never right.

    Of what says that it is flaky nobody takes its answer for a verdict.
    """
    found = [
        f"{line['id']}: {line['status']}: {line['outcome']}"
        for line in ran.results
        if line["status"] in SURPRISES and not line["evidence"].get(FLAKY)
    ]
    if ran.tracebacks:
        found.append(f"it showed a traceback: {ran.said[-1500:]}")
    return found


def verdict(ran: Ran) -> str:
    """What a run said, in a few words."""
    statuses = [line["status"] for line in ran.results]
    counted = ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses))
    told = [
        line.removeprefix("pbs-matrix: ")
        for line in ran.said.splitlines()
        if re.match(r"pbs-matrix: (error|ended|waiting|the disk)", line)
    ]
    parts = [
        f"exit {ran.code}",
        *([counted] if counted else []),
        *(line[:110] for line in told[:1]),
    ]
    return "; ".join(parts)


def refused(ran: Ran, codes: Sequence[int], *words: str) -> list[str]:
    """What is wrong with a run that should have said why it cannot be, in an error."""
    found = made_up(ran)
    if ran.code not in codes:
        wanted = " or ".join(map(str, codes))
        found.append(f"it ended with {ran.code} instead of {wanted}: {ran.said[-500:]}")
    errors = [line for line in ran.said.splitlines() if re.search(r"\berror: ", line)]
    if len(errors) != 1:
        found.append(f"it told {len(errors)} errors instead of one: {ran.said[-500:]}")
    missing = [word for word in words if word not in ran.said]
    if missing:
        found.append(f"it does not say {missing}: {ran.said[-500:]}")
    return found


fault = partial(Fault, group="host")
"""A fault of this group."""


def happened(
    what: str,
    ran: Ran,
    *,
    left: Iterable[str],
    wrong: Iterable[str],
    seconds: float | None = None,
) -> Happened:
    """What came of a fault to a run, which took all of its ``seconds`` unless they are said."""
    return Happened(
        what=what,
        verdict=verdict(ran),
        seconds=ran.seconds if seconds is None else seconds,
        left=tuple(left),
        wrong=tuple(wrong),
    )


def as_if_nothing(scene: Scene, what: str, *arguments: str) -> Happened:
    """A run that should be as if nothing had happened."""
    running = scene.start(*arguments)
    ran = running.finish()
    left, _ = scene.gone(running, running.start)
    return happened(what, ran, left=left, wrong=not_right(ran))


def is_told(
    scene: Scene, what: str, codes: Sequence[int], *words: str, arguments: Sequence[str] = ()
) -> Happened:
    """A run that cannot be, says so in a line, and leaves nothing; the next one is right."""
    running = scene.start("-n", "0", *arguments)
    ran = running.finish()
    left, _ = scene.gone(running, running.start)
    return happened(what, ran, left=left, wrong=(*refused(ran, codes, *words), *scene.next_run()))
