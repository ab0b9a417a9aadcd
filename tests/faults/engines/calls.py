"""Every call of the engine failed once: each place in the source × each way to fail."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from harness.errors import ExitCode
from harness.outcome import Reason
from tests.faults import callsites
from tests.faults.engines.place import IMPATIENCE, Ended, Place, place
from tests.faults.engines.scenes import PROGRAM, SCENES, Scene
from tests.faults.proxy import Act, Call, Order

BUILD = "POST /build"

ACTS = (Act.CONFLICT, Act.ERROR, Act.EOF, Act.TIMEOUT)

SILENT = frozenset({Act.TIMEOUT, Act.LATE})

UNREACHED = {
    "harness/agent.py:Agent._kill": (
        "asked of a container whose agent is silent 30 s beyond a limit, as by the fault "
        "container-paused-for-good"
    ),
    "harness/planning/terminal.py:_follow_size": "asked only at a terminal",
}
"""Places that no scene reaches, and why."""

_SILENCE = "timed out|not answered in time"
_END = "stopped answering|without response|closed connection|Connection (?:aborted|broken)"

WORDS = {
    Act.CONFLICT: "injected: conflict|409 Client Error",
    Act.ERROR: "injected: server error|500 Server Error",
    Act.EOF: _END,
    Act.CUT: f"{_END}|IncompleteRead|Expecting|Unterminated",
    Act.TIMEOUT: _SILENCE,
    Act.LATE: _SILENCE,
    Act.MISSING: "injected: no such thing|404 Client Error",
    Act.FULL: "no space",
}
"""What a line has to say of each, if anything came of it."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call of a scene."""

    scene: Scene
    site: str
    call: str


Todo = tuple[Asked, Act]


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of one call that failed."""

    asked: Asked
    act: Act
    what: str
    """In a few words."""
    line: str
    """What was said of it; empty where nothing came of it."""
    seconds: float
    wrong: tuple[str, ...]
    said: str


def look(there: Place, scene: Scene) -> tuple[Ended, tuple[Asked, ...]]:
    """How a scene ends when nothing is wrong, and the calls that it makes.

    It has to reach what it says it does.
    """
    ended, came = _looked(there, scene)
    if not scene.makes_all_anew and any(call.call == BUILD for call in came):
        # It had things to make that it finds from now on.
        ended, came = _looked(there, scene)
    places = {name for call in came for name in call.site.split(" < ")}
    missing = {*scene.reaches} - places
    assert not missing, f"{scene.name} does not reach {', '.join(sorted(missing))}"
    asked = {(call.site, call.call): None for call in came if call.site != "elsewhere"}
    return ended, tuple(Asked(scene=scene, site=site, call=call) for site, call in asked)


def _looked(there: Place, scene: Scene) -> tuple[Ended, tuple[Call, ...]]:
    ended = perform(there, scene)
    assert ended.code in scene.codes, f"{scene.name} ended with {ended.code}:\n{ended.said}"
    return ended, there.proxy.calls()


def unknown() -> tuple[str, ...]:
    """Places in the source that no scene says it reaches, and of which no reason is given."""
    known = {*UNREACHED, *(name for scene in SCENES for name in scene.reaches)}
    return tuple(name for name in callsites.in_source() if name not in known)


def perform(there: Place, scene: Scene) -> Ended:
    """Run a scene, once all is as it is to be before it."""
    scene.before(there)
    there.proxy.calls()
    try:
        return there.run(*scene.argv, environment=scene.variables)
    finally:
        there.proxy.reset()


def fail(there: Place, asked: Asked, act: Act, usual: Ended) -> Came:
    """Run a scene with one call failed once; ``usual`` is how it ends without that."""
    order = Order(act=act, site=asked.site, call=asked.call)
    asked.scene.before(there)
    there.proxy.calls()
    there.proxy.order(order)
    try:
        variables = {**asked.scene.variables, **(IMPATIENCE if act in SILENT else {})}
        ended = there.run(*asked.scene.argv, environment=variables)
    finally:
        there.proxy.reset()
    wrong = list(judged(ended, usual, asked.scene))
    if not order.done:
        wrong.append("the call never came")
    has_effect = ended.code != usual.code
    line = said_of(ended.said, act)
    if has_effect and not line:
        wrong.append("no line says what was found")
    what = in_short(ended)
    left = there.left()
    if left:
        there.run(*PROGRAM, "clean")
        what += f", {len(left)} reaped"
        wrong += [f"left behind: {each}" for each in there.left()]
        there.wipe(images=False)
    return Came(
        asked=asked,
        act=act,
        what=what,
        line=line if has_effect else "",
        seconds=ended.seconds,
        wrong=tuple(wrong),
        said=ended.said,
    )


def judged(ended: Ended, usual: Ended, scene: Scene) -> Iterator[str]:
    """What is not as it should be after something has failed."""
    if ended.code is None:
        yield "it hung"
        return
    if "Traceback (most recent call last)" in ended.said or "INTERNALERROR" in ended.said:
        yield "it showed a traceback"
    untestable = 0
    for cell, outcome in ended.outcomes.items():
        if outcome.startswith(Reason.UNTESTABLE):
            untestable += 1
        elif outcome != usual.outcomes.get(cell):
            yield f"wrong verdict: {cell} {outcome}, not {usual.outcomes.get(cell)}"
    if ended.code in scene.codes:
        if ended.outcomes != usual.outcomes:
            yield f"it ended with {ended.code}, but not all was tested"
    elif ended.code == 1:
        if not (untestable or scene.may_end_with_1):
            yield "it ended with 1, but nothing is untestable"
    elif ended.code not in [*ExitCode] or ended.code < ExitCode.CONFIGURATION:
        yield f"it ended with {ended.code}"
    if ended.files:
        yield f"temporary files left: {', '.join(ended.files)}"


def in_short(ended: Ended) -> str:
    """How a command ended."""
    untestable = sum(each.startswith(Reason.UNTESTABLE) for each in ended.outcomes.values())
    if untestable:
        return f"{untestable} untestable, exit {ended.code}"
    return "no effect" if ended.code == 0 else f"exit {ended.code}"


def said_of(said: str, act: Act) -> str:
    """The line that says what was found."""
    for line in said.splitlines():
        if re.search(WORDS.get(act, "(?!)"), line) and 'File "' not in line:
            return line.strip().removeprefix("E ").strip()
    return ""


def run(
    acts: Sequence[Act],
    *,
    scenes: Sequence[Scene] = SCENES,
    chosen: Callable[[Asked], bool] = lambda asked: True,
    places: int = 2,
    tell: Callable[[Came], object],
) -> None:
    """Fail every chosen call in each way. ``tell`` is told of each as it comes."""
    known: set[tuple[str, str]] = set()
    lock = threading.Lock()
    with ExitStack() as stack, ThreadPoolExecutor(places) as pool:
        there = [stack.enter_context(place()) for _ in range(places)]
        for scene in scenes:
            (usual, calls), *_ = pool.map(partial(look, scene=scene), there)
            todo = [
                (asked, act)
                for asked in calls
                if (asked.site, asked.call) not in known and chosen(asked)
                for act in acts
            ]
            known |= {(asked.site, asked.call) for asked in calls}

            def work(mine: Place, usual: Ended = usual, todo: list[Todo] = todo) -> None:
                while True:
                    with lock:
                        if not todo:
                            return
                        asked, act = todo.pop(0)
                    one = fail(mine, asked, act, usual)
                    with lock:
                        tell(one)

            try:
                list(pool.map(work, there))
            except BaseException:
                todo.clear()  # nobody waits for what has not begun
                raise
