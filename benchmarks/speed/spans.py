"""A pytest plugin that notes where the time of a run goes: ``pytest -p benchmarks.speed.spans``.

It wraps functions of the harness, and every call of the engine's API, and writes what it saw to a
file for each process, below the folder that ``PBS_MATRIX_SPANS`` names. Nothing in ``harness/``
knows of it. Measuring costs a little time itself, so no figure but these comes from such a run.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

VARIABLE = "PBS_MATRIX_SPANS"

LOADING = "loading docker and the harness"
TEST = "test"

WRAPPED = (
    "harness.preparing:prepare",
    "harness.preparing:check_emulation",
    "harness.broker:Remote.ask",
    "harness.containers:Containers.plan",
    "harness.containers:Containers.close",
    "harness.containers:put",
    "harness.containers:reap_dead",
    "harness.bytecode:added",
    "harness.foreseen:foresee",
    "harness.cells:explained",
    "harness.cells:interpret",
    "harness.prepared:Prepared.load",
    "harness.prepared:Prepared.trees",
    "harness.uvbinary:verify",
    "harness.uvbinary:fetch",
    "harness.routes:choose",
    "harness.interpreters:provide",
    "harness.interpreters:look_into",
    "harness.extensions:provide",
    "harness.extensions:build",
    "harness.extensions:install",
    "harness.images:Images.base",
    "harness.images:Images.environment",
    "harness.systems:of_image",
    "harness.cache:file_digest",
)
"""What is wrapped, as module:name. A name that is there no more is noted, and no error."""


class Span(BaseModel):
    """Something that was done, from when to when by the monotonic clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    start: float
    end: float
    own: float
    """Seconds of it that are in no other span within."""
    main: bool
    """Whether the main thread did it."""
    cell: str = ""
    """Id of the cell that the test was of; empty outside of tests."""


class Process(BaseModel):
    """What one process of a run has done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker: str
    """Such as gw0; empty for the controller, and where there are no workers."""
    spans: tuple[Span, ...]
    lacking: tuple[str, ...]
    """Of what should be wrapped, what is not there."""


class Recorder:
    """Notes spans, nested within each thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads = threading.local()
        self.spans: list[Span] = []
        self.cell = ""
        self.lacking: list[str] = []
        self._has_wrapped = False

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Note what is done within."""
        inner: list[float] = getattr(self._threads, "inner", [])
        self._threads.inner = [*inner, 0.0]
        start = self._clock()
        try:
            yield
        finally:
            end = self._clock()
            *outer, within = self._threads.inner
            if outer:
                outer[-1] += end - start
            self._threads.inner = outer
            self.spans.append(
                Span(
                    name=name,
                    start=start,
                    end=end,
                    own=end - start - within,
                    main=threading.current_thread() is threading.main_thread(),
                    cell=self.cell,
                )
            )

    def wrap(self, owner: object, attribute: str, name: Callable[..., str] | str) -> None:
        """Have a function noted by a name, or by what ``name`` makes of its arguments."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def noted(*arguments: Any, **named: Any) -> Any:
            said = name if isinstance(name, str) else name(*arguments, **named)
            with self.span(said):
                return function(*arguments, **named)

        bound = isinstance(inspect.getattr_static(owner, attribute), classmethod)
        setattr(owner, attribute, staticmethod(noted) if bound else noted)

    def wrap_all(self) -> None:
        """Wrap the harness and the engine's client, once; loads them if nobody has yet."""
        if self._has_wrapped:
            return
        self._has_wrapped = True
        with self.span(LOADING):
            self._wrap_all()

    def _wrap_all(self) -> None:
        import requests

        for place in WRAPPED:
            module, _, path = place.partition(":")
            *owners, attribute = path.split(".")
            try:
                owner = functools.reduce(getattr, owners, import_module(module))
                getattr(owner, attribute)
            except (ImportError, AttributeError):
                self.lacking.append(place)
                continue
            self.wrap(owner, attribute, f"{module.removeprefix('harness.')}.{path}")
        self.wrap(requests.Session, "send", _call)


def _call(session: object, request: Any, **_: object) -> str:
    return api_call(str(request.method), str(request.path_url))


def api_call(method: str, path: str) -> str:
    """A call of the engine's API without what is different each time: ``POST /exec/*/start``."""
    path = path.partition("?")[0]
    path = re.sub(r"^/v\d+\.\d+", "", path)
    path = re.sub(r"/(containers|exec)/(?!create$|json$|prune$)[^/]+", r"/\1/*", path)
    path = re.sub(r"^/images/.+/(json|history|tag|get)$", r"/images/*/\1", path)
    path = re.sub(r"^/images/(?!(json|create|load|get|\*/\w+)$).+", "/images/*", path)
    return f"{method} {path}"


RECORDER = pytest.StashKey[Recorder]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin."""
    if VARIABLE in os.environ:
        config.stash[RECORDER] = Recorder()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Without workers, this process prepares now."""
    recorder = session.config.stash.get(RECORDER, None)
    if recorder is not None and not hasattr(session.config, "workerinput"):
        recorder.wrap_all()


class _Controller:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """With workers, the controller prepares now."""
        self._recorder.wrap_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test, with all that pytest does around it."""
    recorder = item.config.stash.get(RECORDER, None)
    if recorder is None:
        return (yield)
    recorder.cell = item.name.partition("[")[2].removesuffix("]")
    try:
        with recorder.span(TEST):
            recorder.wrap_all()  # not earlier in a worker, which loads all this for its first cell
            return (yield)
    finally:
        recorder.cell = ""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the workers."""
    recorder = session.config.stash.get(RECORDER, None)
    if recorder is not None:
        session.config.pluginmanager.register(_Controller(recorder))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Write what was seen."""
    recorder = config.stash.get(RECORDER, None)
    if recorder is None:
        return
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    seen = Process(worker=worker, spans=tuple(recorder.spans), lacking=tuple(recorder.lacking))
    file = Path(os.environ[VARIABLE]) / f"{worker or 'controller'}.json"
    file.write_text(seen.model_dump_json())


def load(folder: Path) -> list[Process]:
    """What the processes of a run have written."""
    return [Process.model_validate_json(f.read_bytes()) for f in sorted(folder.glob("*.json"))]
