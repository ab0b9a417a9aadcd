"""Hostile modules put before a container, as a user's extension is, and a look at what they leave.

Each gets a container with the harmless ones beside it, which are asked afterwards: one that
imports, one that is known not to, and one that tells what a sample sees of the place.
"""

from __future__ import annotations

import functools
import json
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from harness import cells, engine, extensions, lock, matrix, owner, plan, preparing, tools
from harness.containers import Containers
from harness.outcome import Outcome
from harness.plan import Cell
from harness.platforms import Platform
from harness.prepared import Prepared, PreparedExtension, extension_key
from harness.question import Finished, Question

PROJECT = Path(__file__).parent.parent.parent.parent
HOSTILE = PROJECT / "tests" / "faults" / "hostile"

FIRST_USER = 64_000
"""Of those that samples run as."""

GOOD, BROKEN = "no-libpython", "libpython-needed"
"""Samples of the matrix: one that imports, and one that does not find libpython."""

SEES, KEEPS = "sees", "keeps_files"
"""Harmless modules: what a sample sees; one that takes three seconds and minds its files."""

BESIDE = ("acts", "reports")
"""Modules that hostile ones import."""

CONTAINER = "container"
TRACES = (
    *("files of samples", "processes of samples", "shared memory", "semaphores", "queues"),
    "POSIX queues",
)
"""Keys of what the module that sees tells: its container; what a sample may have left there."""

ENDING_SECONDS = 20
"""How long the engine may take to remove what has ended."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a hostile module, and of what was asked after it, or meanwhile."""

    outcome: Outcome
    finished: Finished
    after: Mapping[str, Outcome]
    """Of the good one and the broken one, in the same environment, right after its end."""
    meanwhile: Mapping[str, Outcome] = field(default_factory=dict)
    """Of those that were asked while it ran."""
    seconds: float
    """From the end or the limit of its question until the good one's answer."""
    in_a_new_container: bool = False
    """Whether the next sample got another container, this one having ended."""
    changed: tuple[str, ...] = ()
    """What the next sample sees otherwise than the one before."""
    left: tuple[str, ...] = ()
    """Processes, files and the like of the sample in the container, and containers at the end."""


class Noting:
    """Has questions answered, and keeps the last answer and when its question was put."""

    def __init__(self, pool: Containers) -> None:
        self._pool = pool
        self.finished: Finished | None = None
        self.asked = 0.0

    def ask(self, question: Question) -> Finished:
        """As the pool does."""
        self.asked = time.monotonic()
        self.finished = self._pool.ask(question)
        return self.finished


class Laboratory:
    """Environments of one platform, prepared once, and trials in them."""

    def __init__(self, client: docker.DockerClient, platform: Platform) -> None:
        read = matrix.load(PROJECT / "matrix.yaml")
        locked = lock.load(PROJECT / "matrix.lock")
        selection = plan.Selection(
            uv=("0.7.6",), base=("debian13",), extension=(GOOD, BROKEN), platform=(platform,)
        )
        self._client = client
        self.platform = platform
        self._cells = plan.plan(read, locked, selection=selection)
        self._prepared = preparing.prepare(
            self._cells,
            read,
            locked,
            client,
            run=owner.new_run(),
            owner=owner.this_process(),
            beside=PROJECT,
            say=lambda line: None,
        )

    def cell(self, name: str, *, limit: int = 60) -> Cell:
        """A cell of a sample of the matrix, or of a module; ``limit`` in seconds."""
        of_matrix = {cell.extension: cell for cell in self._cells}
        if name in of_matrix:
            return of_matrix[name]
        like = of_matrix[GOOD]
        sample = like.sample.model_copy(update={"imports": name, "timeout": limit})
        return Cell(
            environment=like.environment,
            extension=name,
            sample=sample,
            remedy=like.remedy,
            expected=like.expected,
        )

    @contextmanager
    def containers(self, names: Iterable[str]) -> Iterator[tuple[Containers, Prepared]]:
        """A container that has some modules beside the matrix's two, and what it was made from."""
        names = [*dict.fromkeys(names)]
        run = owner.new_run()
        with tempfile.TemporaryDirectory() as work:
            trees = {name: self._tree(Path(work), name) for name in names}
            environment = self._cells[0].environment
            made = {
                extension_key(name, environment): PreparedExtension(tree=tree)
                for name, tree in trees.items()
            }
            prepared = self._prepared.model_copy(
                update={
                    "run": run,
                    "extensions": {**self._prepared.extensions, **made},
                    "wanted": {environment.id: (GOOD, BROKEN, *names)},
                }
            )
            with Containers(self._client, run, prepared.owner) as pool:
                pool.plan([self.cell(name) for name in (GOOD, *names)], prepared)
                yield pool, prepared

    def try_out(
        self, name: str, *, limit: int = 60, meanwhile: Iterable[str] = (), fresh: bool = False
    ) -> Trial:
        """Ask for a hostile module to be imported, and then for harmless ones.

        ``limit``: seconds that it has; ``meanwhile``: names of what is asked for at the same time,
        as the matrix does it: what comes unexpected is asked again; ``fresh``: in an interpreter
        and a container of its own.
        """
        beside: dict[str, Outcome] = {}
        with self.containers([name, SEES, KEEPS]) as (pool, prepared):

            def settle(other: str) -> None:
                cell = self.cell(other)
                if other == KEEPS:  # whose answer is told by what it finds, and by nothing else
                    beside[other] = cells.observe(cell, prepared, pool)
                else:
                    beside[other], _ = cells.settle(cell, prepared, pool)

            before = self._seen(pool, prepared)
            threads = [threading.Thread(target=settle, args=(other,)) for other in meanwhile]
            # Others come when it is at it; but it waits for the one that keeps files.
            later = threading.Timer(
                1 if threads and KEEPS not in meanwhile else 0, _begin, [threads]
            )
            later.start()
            noting = Noting(pool)
            outcome = cells.observe(self.cell(name, limit=limit), prepared, noting, fresh=fresh)
            answered = time.monotonic()
            finished = noting.finished
            assert finished is not None  # else it would not have been asked
            good = cells.observe(self.cell(GOOD), prepared, pool)
            # A container of its own takes its time to start.
            known = finished.seconds and not fresh
            ended = noting.asked + min(finished.seconds, limit) if known else answered
            seconds = time.monotonic() - min(ended, answered)
            broken = cells.observe(self.cell(BROKEN), prepared, pool)
            _join([later, *threads])
            after = self._seen(pool, prepared)
            left = self._processes(pool)
        return Trial(
            outcome=outcome,
            finished=finished,
            after={GOOD: good, BROKEN: broken},
            meanwhile=beside,
            seconds=seconds,
            in_a_new_container=before.get(CONTAINER) != after.get(CONTAINER),
            changed=tuple(
                f"{key}: {before.get(key)}, then {after.get(key)}"
                for key in sorted({*before, *after} - {CONTAINER})
                if before.get(key) != after.get(key)
            ),
            left=(
                *left,
                *(f"{key}: {after[key]}" for key in TRACES if after.get(key)),
                *self._containers(prepared.run),
            ),
        )

    def one_after_another(
        self, names: Iterable[str]
    ) -> tuple[dict[str, tuple[Outcome, float]], tuple[str, ...]]:
        """Ask for hostile modules in one container; what came of the good one after each.

        With the seconds that its answer took; and what is left at the end: containers.
        """
        names = [*names]
        after = {}
        with self.containers(names) as (pool, prepared):
            for name in names:
                cells.observe(self.cell(name, limit=5), prepared, pool)
                start = time.monotonic()
                outcome = cells.observe(self.cell(GOOD), prepared, pool)
                after[name] = outcome, time.monotonic() - start
        return after, tuple(self._containers(prepared.run))

    def _seen(self, pool: Containers, prepared: Prepared) -> dict[str, Any]:
        """What a sample sees of the place."""
        outcome = cells.observe(self.cell(SEES), prepared, pool)
        try:
            seen: dict[str, Any] = json.loads(outcome.message)
        except ValueError:
            return {"it did not tell": f"{outcome.short}: {outcome.message[:200]}"}
        return seen

    def _tree(self, work: Path, name: str) -> Path:
        """What a container gets for a module."""
        tree = work / name
        site = tree / "site"
        site.mkdir(parents=True)
        source = HOSTILE / f"{name}.c"
        if source.exists():
            self._compile(source, site / f"{name}.abi3.so")
        else:
            for path in (HOSTILE / f"{name}.py", *(HOSTILE / f"{beside}.py" for beside in BESIDE)):
                (site / path.name).write_bytes(path.read_bytes())
        extensions.note_files(tree)
        return tree

    def _compile(self, source: Path, target: Path) -> None:
        tools.compile_c(
            self.platform.triplet,
            [source],
            target,
            ["-shared", "-fPIC"],
            directory=target.parent,
        )

    def _processes(self, pool: Containers) -> list[str]:
        """Processes of samples in the container, by what the engine's machine says."""
        container = pool.container(self._cells[0].environment.id)
        running = container.top(ps_args="-eo uid,pid,stat,comm")["Processes"]
        return [
            f"process {name}"
            for user, _, state, name in running
            if int(user) >= FIRST_USER and not state.startswith("Z")
        ]

    def _containers(self, run: str) -> list[str]:
        """Containers of a run that has ended."""
        deadline = time.monotonic() + ENDING_SECONDS
        label = {"label": [f"{engine.RUN}={run}"]}
        while found := self._client.api.containers(all=True, filters=label):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return [f"container {one['Id'][:12]}" for one in found]


@functools.cache
def laboratory(platform: str) -> Laboratory:
    """That of a platform, prepared when it is first asked for."""
    return Laboratory(engine.connect(), Platform(platform))


def _begin(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


def _join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:  # the first one has started the others
        thread.join()
