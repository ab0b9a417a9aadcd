"""Faults of engines by name; each is injected into a run of the small matrix."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from docker.errors import APIError, NotFound

from harness import engine
from harness.errors import ExitCode
from tests.faults.engines import calls
from tests.faults.engines.place import IMPATIENCE, PROJECT, Ended, Place, place
from tests.faults.engines.scenes import MATRIX, PROGRAM, SCENES, Scene
from tests.faults.fault import Fault, Happened
from tests.faults.proxy import Act, Order
from tests.faults.room import Room

SMALL = Scene(name="small matrix", argv=(*MATRIX, "cases"))
COLD = next(scene for scene in SCENES if scene.name == "without images")
UNREAD = next(scene for scene in SCENES if scene.name == "base not read yet")


def _with_short_limits(there: Place) -> None:
    """A matrix whose samples may take 5 seconds, since what is silent is waited for."""
    for name in ("matrix.lock", "cases", "images"):
        if not (there.root / name).exists():
            (there.root / name).symlink_to(PROJECT / name)
    text = (PROJECT / "matrix.yaml").read_text(encoding="utf-8")
    for name in ("no_libpython", "libpython_needed"):
        line = f"    imports: {name}\n"
        assert text.count(line) == 1
        text = text.replace(line, f"{line}    timeout: 5\n")
    (there.root / "matrix.yaml").write_text(text, encoding="utf-8")


IMPATIENT = Scene(
    name="short limits",
    argv=(*MATRIX, "--matrix={root}/matrix.yaml", "cases"),
    before=_with_short_limits,
)

CREATE, START = "POST /containers/create", "POST /containers/{}/start"
ATTACH, BUILD = "POST /containers/{}/attach", "POST /build"
STARTED = "harness/containers.py:Containers._started"


_open = ExitStack()
atexit.register(_open.close)


def close() -> None:
    """End the engine that the faults were injected in, if there is one."""
    _place.cache_clear()
    _open.close()


@lru_cache(1)
def _place() -> tuple[Place, Ended]:
    """The place of all of them, and how the small matrix ends there when nothing is wrong."""
    made = _open.enter_context(place())
    for _ in range(2):
        usual = calls.perform(made, SMALL)
    assert usual.code == 0, usual.said
    return made, usual


def _injected(
    during: Callable[[Place], Iterator[None]],
    *,
    scene: Scene = SMALL,
    expected: frozenset[int],
    says: str = "",
    environment: dict[str, str] | None = None,
) -> Callable[[Room], Happened]:
    """A fault that holds while the small matrix runs.

    ``expected``: how the run may end. ``says``: what its output has to have in it unless it ended
    with 0.
    """

    def inject(_: Room) -> Happened:
        there, usual = _place()
        scene.before(there)
        start = time.monotonic()
        with contextmanager(during)(there):
            ended = there.run(*scene.argv, environment=environment)
        there.proxy.order()
        wrong = list(calls.judged(ended, usual, scene))
        if ended.code not in expected:
            wrong.append(f"it ended with {ended.code}: {ended.said[-2000:]}")
        if ended.code and says not in ended.said:
            wrong.append(f"it does not say {says!r}: {ended.said[-2000:]}")
        left = there.left()
        what = f"{len(left)} left for the next run to remove" if left else ""
        # What it left is removed by the next one, which is right.
        again = calls.perform(there, SMALL)
        if again.code or again.outcomes != usual.outcomes:
            wrong.append(f"the next run ended with {again.code}: {again.said[-2000:]}")
        return Happened(
            what="; ".join(filter(None, (calls.in_short(ended), what))),
            verdict=_told(ended),
            seconds=time.monotonic() - start,
            left=there.left(),
            wrong=tuple(wrong),
        )

    return inject


def _told(ended: Ended) -> str:
    """The line that says what was found, if there is one."""
    for line in ended.said.splitlines():
        for mark in ("error: ", "untestable: stage ", "UNTESTABLE"):
            if mark in line:
                return line[line.index(mark) :][:160]
    return "as without it" if ended.code == 0 else ""


def _ordered(*orders: Callable[[Place], Order]) -> Callable[[Place], Iterator[None]]:
    def during(there: Place) -> Iterator[None]:
        there.proxy.order(*(order(there) for order in orders))
        yield

    return during


def _act(
    act: Act,
    call: str | None = None,
    *,
    site: str | None = None,
    times: int | None = 1,
    skip: int = 0,
) -> Callable[[Place], Iterator[None]]:
    return _ordered(lambda there: Order(act=act, call=call, site=site, times=times, skip=skip))


def _then(
    act: Act, call: str, site: str | None, do: Callable[[Place], None], *, seconds: float = 0.0
) -> Callable[[Place], Iterator[None]]:
    """Something is done to the engine just before a call, or, with ``MEANWHILE``, in a question."""
    return _ordered(
        lambda there: Order(
            act=act, call=call, site=site, seconds=seconds, then=lambda call: do(there)
        )
    )


@contextmanager
def _socket(there: Place, make: Callable[[Path], None]) -> Iterator[None]:
    """Something else at the place of the engine's socket."""
    there.proxy.refuse()
    path = there.proxy.path
    try:
        make(path)
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        there.proxy.listen()


def _at_socket(make: Callable[[Path], None]) -> Callable[[Place], Iterator[None]]:
    def during(there: Place) -> Iterator[None]:
        with _socket(there, make):
            yield

    return during


def _served_by_nobody(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _each(there: Place, do: Callable[[str], object]) -> None:
    """Do something to each running container of the project."""
    label = {"label": [engine.KIND]}
    for each in there.client.api.containers(filters=label):
        with contextlib.suppress(NotFound, APIError):
            do(str(each["Id"]))


def _kill(there: Place) -> None:
    _each(there, there.client.api.kill)


def _remove(there: Place) -> None:
    _each(there, lambda each: there.client.api.remove_container(each, force=True))


def _pause(there: Place) -> None:
    _each(there, there.client.api.pause)


def _pause_for_a_while(there: Place) -> None:
    _pause(there)
    time.sleep(5)
    _each(there, there.client.api.unpause)


def _remove_images(there: Place) -> None:
    for each in there.client.api.images(filters={"label": f"{engine.KIND}=environment"}):
        with contextlib.suppress(NotFound, APIError):
            there.client.api.remove_image(each["Id"], force=True)


def _refuse(there: Place) -> None:
    there.proxy.refuse()


def _until_it_is_back(do: Callable[[Place], Iterator[None]]) -> Callable[[Place], Iterator[None]]:
    """The same, and the proxy listens again after it."""

    def during(there: Place) -> Iterator[None]:
        try:
            yield from do(there)
        finally:
            there.proxy.refuse()
            there.proxy.listen()

    return during


def _stop(there: Place) -> None:
    """Kill the engine, as if the machine's memory had run out."""
    pid = int((there.root / "pid").read_text())
    there.argv = Path(f"/proc/{pid}/cmdline").read_text().strip("\0").split("\0")
    os.kill(pid, signal.SIGKILL)
    for path in there.root.glob("run/containerd/containerd.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)
        path.unlink()
    (there.root / "pid").unlink(missing_ok=True)
    there.proxy.cut()


def _start(there: Place) -> None:
    # It ends with the place, since it names the place's folder.
    with (there.root / "log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", "unshare", "--net", *there.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    there.wait_until_it_answers()


def _restart(there: Place) -> None:
    _stop(there)
    _start(there)


def _stopped(call: str, site: str | None, act: Act) -> Callable[[Place], Iterator[None]]:
    """The engine is killed at a call, and started again after the run."""
    order = _then(act, call, site, _stop)

    def during(there: Place) -> Iterator[None]:
        try:
            yield from order(there)
        finally:
            if not (there.root / "pid").exists():
                _start(there)

    return during


RIGHT, GONE = frozenset({0}), frozenset({int(ExitCode.ENGINE_MISSING)})
UNTESTABLE, FULL = frozenset({1}), frozenset({int(ExitCode.DISK_FULL)})


NO_ENGINE = "is no container engine"


def _fault(name: str, inject: Callable[[Room], Happened]) -> Fault:
    return Fault(group="engine", name=name, inject=inject)


FAULTS = [
    _fault(
        "socket-gone",
        _injected(_at_socket(lambda path: None), expected=GONE, says="No such file"),
    ),
    _fault(
        "socket-served-by-nobody",
        _injected(_at_socket(_served_by_nobody), expected=GONE, says="Connection refused"),
    ),
    _fault(
        "socket-is-a-directory",
        _injected(_at_socket(Path.mkdir), expected=GONE, says="engine.sock"),
    ),
    _fault(
        "socket-is-a-file", _injected(_at_socket(Path.touch), expected=GONE, says="engine.sock")
    ),
    _fault(
        "gone-after-its-greeting",
        _injected(
            _until_it_is_back(
                _then(Act.SLOW, "GET /info", None, _refuse),
            ),
            expected=GONE,
            says="stopped answering",
        ),
    ),
    _fault(
        "answers-garbage",
        _injected(_act(Act.GARBAGE, times=None), expected=GONE, says="engine.sock"),
    ),
    _fault("answers-html", _injected(_act(Act.HTML, times=None), expected=GONE, says=NO_ENGINE)),
    _fault(
        "answers-in-another-protocol",
        _injected(_act(Act.PROTOCOL, times=None), expected=GONE, says="engine.sock"),
    ),
    _fault(
        "answers-nothing-but-braces",
        _injected(_act(Act.EMPTY, times=None), expected=GONE, says=NO_ENGINE),
    ),
    _fault(
        "answers-32-megabytes",
        _injected(_act(Act.HUGE, times=None), expected=GONE, says=NO_ENGINE),
    ),
    _fault(
        "answers-garbage-later",
        _injected(_act(Act.GARBAGE, times=None, skip=6), expected=GONE, says="stopped answering"),
    ),
    _fault(
        "answers-html-later",
        _injected(_act(Act.HTML, times=None, skip=6), expected=GONE, says=NO_ENGINE),
    ),
    _fault(
        "creates-without-an-id",
        _injected(_act(Act.EMPTY, CREATE), expected=UNTESTABLE, says="untestable"),
    ),
    _fault(
        "silent",
        _injected(
            _act(Act.TIMEOUT, times=None),
            expected=GONE,
            says="timed out",
            environment=IMPATIENCE,
        ),
    ),
    _fault(
        "slow",
        _injected(
            _ordered(lambda there: Order(act=Act.SLOW, times=None, seconds=0.2)), expected=RIGHT
        ),
    ),
    _fault(
        "stalls-for-5-seconds",
        _injected(
            _ordered(lambda there: Order(act=Act.SLOW, call=CREATE, seconds=5)),
            expected=RIGHT,
        ),
    ),
    _fault(
        "stream-cut-in-a-question",
        _injected(_act(Act.CUT_QUESTION, ATTACH), expected=RIGHT | UNTESTABLE),
    ),
    _fault(
        "stream-cut-in-every-question",
        _injected(_act(Act.CUT_QUESTION, ATTACH, times=None), expected=UNTESTABLE),
    ),
    _fault("half-a-frame", _injected(_act(Act.HALF_FRAME, ATTACH), expected=RIGHT | UNTESTABLE)),
    _fault(
        "answers-swallowed",
        _injected(
            _act(Act.SWALLOW, ATTACH, times=None),
            scene=IMPATIENT,
            expected=UNTESTABLE,
            says="untestable",
        ),
    ),
    _fault(
        "container-killed-in-a-question",
        _injected(_then(Act.MEANWHILE, ATTACH, None, _kill), expected=RIGHT | UNTESTABLE),
    ),
    _fault(
        "container-removed-by-somebody",
        _injected(_then(Act.MEANWHILE, ATTACH, None, _remove), expected=RIGHT | UNTESTABLE),
    ),
    _fault(
        "container-paused-for-a-while",
        _injected(_then(Act.MEANWHILE, ATTACH, None, _pause_for_a_while), expected=RIGHT),
    ),
    _fault(
        "container-paused-for-good",
        _injected(
            _then(Act.MEANWHILE, ATTACH, None, _pause),
            scene=IMPATIENT,
            expected=RIGHT | UNTESTABLE,
        ),
    ),
    _fault(
        "image-removed-before-its-container",
        _injected(
            _then(Act.SLOW, CREATE, STARTED, _remove_images),
            expected=UNTESTABLE,
            says="No such image",
        ),
    ),
    _fault(
        "no-space-in-a-build",
        _injected(_act(Act.FULL, BUILD, times=None), scene=COLD, expected=FULL, says="disk"),
    ),
    _fault(
        "no-space-for-a-container",
        _injected(_act(Act.FULL, CREATE, times=None), expected=UNTESTABLE | FULL, says="disk"),
    ),
    _fault(
        "build-cut-midway",
        _injected(_act(Act.CUT, BUILD), scene=COLD, expected=GONE, says="stopped answering"),
    ),
    _fault(
        "error-on-remove",
        _injected(
            _act(Act.ERROR, "DELETE /containers/{}", times=None),
            scene=UNREAD,
            expected=RIGHT,
        ),
    ),
    _fault(
        "container-vanished-before-its-start",
        _injected(
            _act(Act.MISSING, START, site="harness/agent.py:Agent.start"), expected=UNTESTABLE
        ),
    ),
    _fault(
        "every-container-refused",
        _injected(_act(Act.ERROR, CREATE, times=None), expected=UNTESTABLE, says="injected"),
    ),
    _fault(
        "connections-cut-before-a-start",
        _injected(
            _then(Act.SLOW, START, None, lambda there: there.proxy.cut()), expected=UNTESTABLE
        ),
    ),
    _fault(
        "stopped-before-a-container",
        _injected(_stopped(CREATE, STARTED, Act.SLOW), expected=UNTESTABLE, says="engine"),
    ),
    _fault(
        "stopped-in-a-question",
        _injected(_stopped(ATTACH, None, Act.MEANWHILE), expected=UNTESTABLE | GONE),
    ),
    _fault(
        "stopped-in-a-build",
        _injected(
            _stopped(BUILD, None, Act.SLOW), scene=COLD, expected=GONE, says="stopped answering"
        ),
    ),
    _fault(
        "restarted-before-a-container",
        _injected(
            _then(Act.SLOW, CREATE, STARTED, _restart),
            expected=RIGHT | UNTESTABLE,
        ),
    ),
    _fault(
        "restarted-in-a-question",
        _injected(
            _then(Act.MEANWHILE, ATTACH, None, _restart),
            expected=RIGHT | UNTESTABLE,
        ),
    ),
    _fault(
        "clean-without-an-engine",
        _injected(
            _at_socket(lambda path: None),
            scene=Scene(name="clean", argv=(*PROGRAM, "clean")),
            expected=GONE,
            says="No such file",
        ),
    ),
]
