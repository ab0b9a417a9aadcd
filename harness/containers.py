"""Containers: one per environment and run, without a network, shared by every worker.

Each has an agent (:mod:`harness.agent`), which asks the questions. A container ends when the
process that made it does, since the agent's input ends then; so a harness that was killed leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tarfile
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import Mount

from harness import agent, archives, engine, owner
from harness import confinement as confinements
from harness.agent import Agent, AgentBusy, AgentGone
from harness.errors import EngineMissingError, HarnessError, ToolError
from harness.limits import Limits
from harness.plan import Cell, Environment
from harness.prepared import Prepared
from harness.question import EXTENSIONS, Finished, Question

MOST = 8
"""How many containers of a run there are at a time, unless more are in use at once."""

DEFAULTS = Limits()

ENDING_SECONDS = 10
"""How long containers may take to end, before the engine is told to remove them."""


class _Ways(NamedTuple):
    """What the engine can do."""

    can_mount: bool
    cpus: float | None


class _Place:
    """An environment of a run, and its container while there is one."""

    def __init__(self, environment: Environment, prepared: Prepared) -> None:
        self.environment = environment
        self.prepared = prepared
        self.agent: Future[Agent] | None = None
        self.cells = 0
        """Cells that are still to come."""
        self.asking = 0
        self.used = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether its container has ended by itself, having been idle, say."""
        its = self.agent
        if its is None or not its.done() or its.cancelled() or its.exception() is not None:
            return False
        return its.result().is_over


class Containers:
    """The containers of one run.

    Those of planned cells are started ahead, in the order of the plan, and end as soon as the last
    of their cells is :meth:`done`; there are never many at a time. As a context manager: at its
    end all are gone, whatever has happened.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        run: str,
        owner: str,
        *,
        limits: Limits = DEFAULTS,
        runtime: str | None = None,
        lasting: int = agent.LASTING,
        most: int = MOST,
    ) -> None:
        """``limits`` of each; ``runtime``: one that the engine has, by name.

        ``lasting``: seconds after which one ends although it is in use.
        """
        self._client = client
        self._run = run
        self._owner = owner
        self._limits = limits
        self._runtime = runtime
        self._lasting = lasting
        self._most = most
        self._places: dict[str, _Place] = {}
        self._ahead: deque[_Place] = deque()
        self._changed = threading.Condition()
        self._cpus = os.cpu_count() or 1
        # The engine is busy with a start for as long as an import takes: half of the CPUs for that.
        self._starting = ThreadPoolExecutor(max(1, self._cpus // 2), "starting")
        self._starts = self._guests = 0
        self._is_closed = False
        self._ways: _Ways | None = None
        self._made: list[Agent] = []

    def __enter__(self) -> Containers:
        return self

    def __exit__(self, *_: object) -> None:
        # An engine that is gone has no containers of ours that would not end by themselves.
        with contextlib.suppress(HarnessError):
            self.close()

    def plan(self, cells: Iterable[Cell], prepared: Prepared, *, ahead: bool = True) -> None:
        """Say which cells are to come, and in which order their environments are.

        ``ahead``: whether their containers are started before anybody asks.
        """
        with self._changed:
            for cell in cells:
                name = cell.environment.id
                there = prepared.environments.get(name)
                if there is None or there.image is None:
                    continue
                if name not in self._places:
                    self._places[name] = _Place(cell.environment, prepared)
                    if ahead:
                        self._ahead.append(self._places[name])
                self._places[name].cells += 1
            self._advance()

    def done(self, cell: Cell) -> None:
        """Say that a planned cell needs its container no more."""
        with self._changed:
            place = self._places.get(cell.environment.id)
            if place is None:
                return
            place.cells -= 1
            if place.cells <= 0:
                self._end(place)
            self._advance()

    def ask(self, question: Question) -> Finished:
        """Have a question answered in the container of its environment.

        Raises :class:`harness.errors.HarnessError` where the engine refuses.
        """
        place = self._places[question.environment]
        if question.fresh:
            return self._ask_alone(question, place)
        # A container may end by itself just now; a second one will not.
        for last in (False, True):
            with self._using(place) as its:
                try:
                    return its.ask(question)
                except AgentGone as gone:
                    self._lost(place, its)
                    if last:
                        return _unanswered(gone)
                except AgentBusy:
                    break
        return self._ask_alone(question, place)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Room to ask in, for whoever asks ahead of time.

        While containers are being started, a CPU is left to that: what is asked meanwhile would
        only take longer.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: not self._starts or self._guests < max(1, self._cpus - 1)
            )
            self._guests += 1
        try:
            yield
        finally:
            with self._changed:
                self._guests -= 1
                self._changed.notify_all()

    def container(self, environment: str) -> Container:
        """The running container of a planned environment, by id, for whoever wants to look in."""
        with self._using(self._places[environment]) as its:
            return its.container

    def close(self) -> None:
        """Remove every container of this run.

        Raises :class:`harness.errors.HarnessError` where the engine does not answer.
        """
        with self._changed:
            self._is_closed = True
            self._ahead.clear()
            for place in self._places.values():
                self._end(place)
        self._starting.shutdown(wait=True, cancel_futures=True)
        # What has ended, the engine removes by itself; nobody has to wait for that.
        deadline = time.monotonic() + ENDING_SECONDS
        if not all(its.has_ended(deadline - time.monotonic()) for its in self._made):
            reap(self._client, self._run)

    def _require_open(self) -> None:
        """Raise where nothing is to be started any more. With the lock held."""
        if self._is_closed:
            raise _closed()

    def _advance(self) -> None:
        """Start what is next, as far as there is room. With the lock held."""
        while self._ahead and self._alive() < self._most:
            place = self._ahead.popleft()
            if place.agent is None and place.cells > 0:
                self._begin(place)

    def _alive(self) -> int:
        return sum(place.agent is not None for place in self._places.values())

    def _begin(self, place: _Place) -> Future[Agent]:
        """Have a container started. With the lock held."""
        place.agent = self._starting.submit(self._make, place)
        self._starts += 1
        place.agent.add_done_callback(self._start_is_over)
        place.used = time.monotonic()
        return place.agent

    def _start_is_over(self, _: Future[Agent]) -> None:
        with self._changed:
            self._starts -= 1
            self._changed.notify_all()

    def _end(self, place: _Place) -> None:
        """Have a container end, as soon as it has started. With the lock held."""
        ending, place.agent = place.agent, None
        if ending is not None and not ending.cancel():
            ending.add_done_callback(_close)
        self._changed.notify_all()

    @contextmanager
    def _using(self, place: _Place) -> Iterator[Agent]:
        """The agent of an environment, started if need be, and left alone meanwhile."""
        with self._changed:
            self._require_open()
            if place.has_ended:
                place.agent = None
            if place.agent is None:
                self._make_room()
            coming = place.agent or self._begin(place)
            place.asking += 1
        try:
            try:
                its = coming.result()
            except CancelledError:
                raise _closed() from None
            except BaseException:
                with self._changed:
                    if place.agent is coming:
                        place.agent = None
                raise
            yield its
        finally:
            with self._changed:
                place.asking -= 1
                place.used = time.monotonic()

    def _make_room(self) -> None:
        """End what has not been in use for longest, where there are enough. With the lock held."""
        if self._alive() < self._most:
            return
        idle = [p for p in self._places.values() if p.agent is not None and not p.asking]
        if idle:
            self._end(min(idle, key=lambda place: place.used))

    def _lost(self, place: _Place, its: Agent) -> None:
        """An agent has ended by itself."""
        its.close()
        with self._changed:
            if place.agent is not None and place.agent.done() and place.agent.result() is its:
                place.agent = None

    def _ask_alone(self, question: Question, place: _Place) -> Finished:
        """In a container that nothing else was, or will be, asked in."""
        its = self._make(place)
        try:
            return its.ask(question)
        except (AgentGone, AgentBusy) as gone:
            return _unanswered(gone)
        finally:
            its.close()

    def _make(self, place: _Place) -> Agent:
        doing = f"starting the container of {place.environment.id}"
        try:
            return self._started(place)
        except (*engine.ERRORS, OSError, KeyError) as error:  # the last of an answer that is none
            raise engine.translated(error, doing) from error

    def _started(self, place: _Place) -> Agent:
        image = place.prepared.environments[place.environment.id].image
        assert image is not None  # else it would not be among the places
        trees = place.prepared.trees(place.environment)
        with self._changed:
            self._require_open()
            if self._ways is None:
                self._ways = _Ways(
                    can_mount=engine.can_mount(self._client),
                    cpus=confinements.cpus(self._client, self._limits),
                )
            ways = self._ways
        confinement = confinements.attended(
            self._run, self._owner, self._limits, cpus=ways.cpus, runtime=self._runtime
        )
        mounts = [
            Mount(f"{EXTENSIONS}/{name}", str(tree), type="bind", read_only=True)
            for name, tree in sorted(trees.items())
        ]
        if not ways.can_mount:
            # The only place beside /tmp that can be written: by root, whom no sample is.
            mounts = [Mount(EXTENSIONS, None, type="volume", labels=confinement["labels"])]
        container = self._client.containers.create(
            image.tag,
            command=agent.command(lasting=self._lasting),
            name=f"pbs-matrix-{self._run}-{secrets.token_hex(4)}",
            platform=place.environment.interpreter.platform.docker,
            auto_remove=True,
            mounts=mounts,
            **confinement,
        )
        try:
            if not ways.can_mount:
                with _packed(trees) as packed:
                    put(container, EXTENSIONS, packed)
            its = Agent(container)
            its.start()
        except BaseException:
            _remove(container)
            raise
        with self._changed:
            self._made = [*(made for made in self._made if not made.is_over), its]
        return its


def _closed() -> EngineMissingError:
    return EngineMissingError("the run is ending, and with it its containers", advice="Run again.")


def _close(made: Future[Agent]) -> None:
    if made.exception() is None:
        made.result().close()


def _unanswered(gone: Exception) -> Finished:
    """Nothing is known of the probe: not even whether it has started."""
    return Finished(exit_code=None, seconds=0.0, timed_out=False, events={}, errors=str(gone))


def put(container: Container, directory: str, packed: IO[bytes]) -> None:
    """Unpack a tar, from its beginning, into a directory of a container.

    The tar loses the padding beyond the two blocks of zeros that end it: Podman reads no further,
    and may fail since nobody reads the rest (https://github.com/containers/buildah/issues/6573).
    """
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        while tar.next() is not None:
            pass
        end = tar.offset
    packed.truncate(end + 2 * tarfile.BLOCKSIZE)
    packed.seek(0)
    container.put_archive(directory, packed)


@contextmanager
def taken(
    container: Container, path: str, *, most: int, doing: str
) -> Iterator[tarfile.TarFile | None]:
    """What a container has at a path, as a tar; None where nothing is there.

    :class:`ToolError` for more than ``most`` bytes: a container may hold what it likes.
    """
    with tempfile.TemporaryFile() as packed:
        try:
            chunks, _ = container.get_archive(path)
        except NotFound:
            yield None
            return
        for chunk in chunks:
            packed.write(chunk)
            if packed.tell() > most:
                raise ToolError(
                    f"{doing}: it made more than {most >> 20} MB",
                    advice="Make the sample smaller; one module is enough.",
                )
        packed.seek(0)
        with tarfile.open(fileobj=packed) as tar:
            yield tar


def reap(client: docker.DockerClient, run: str) -> int:
    """Remove every container of a run; their number."""
    return _remove_all(client, lambda labels: labels.get(engine.RUN) == run)


def reap_dead(client: docker.DockerClient) -> int:
    """Remove containers of runs whose process is gone; their number. Live runs are left alone."""
    return _remove_all(client, lambda labels: not owner.is_alive(labels[engine.OWNER]))


@contextmanager
def _packed(trees: Mapping[str, Path]) -> Iterator[IO[bytes]]:
    """A tar of some trees, by name, as a stream."""
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, tree in sorted(trees.items()):
                archives.add_tree(tar, tree, name)
        stream.seek(0)
        yield stream


def _remove_all(client: docker.DockerClient, which: Any) -> int:
    """Raises :class:`harness.errors.HarnessError` where the engine does not answer."""
    removed = 0
    with engine.asking("looking for containers of other runs"):
        found = client.containers.list(
            all=True, filters={"label": [f"{engine.KIND}=cell"]}, ignore_removed=True
        )
        for container in found:
            if engine.OWNER in container.labels and which(container.labels):
                removed += _remove(container)
    return removed


def _remove(container: Container) -> bool:
    """Whether it is gone, or going: an engine that refuses is asked by the next run again."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return True
    except APIError as error:
        # It is set to remove itself, and about to.
        return bool(error.status_code == 409)
    return True
