"""Kills runs at random moments: ``python -m tests.faults.kills [COUNT] [--seed N]``.

After each kill the next run must be right, and two minutes later nothing of the killed one may be
left. Now and then the image of an environment, or a kind of cache entry, is removed before, so that
builds and writes are hit. Runs use a cache, a folder for temporary files and images of their own.
Ends with 1 where anything was not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

import docker
from rich.console import Console
from rich.table import Table

from harness import cache, engine, storage
from tests.faults import ownmatrix, traces
from tests.faults.ownmatrix import OwnMatrix
from tests.faults.room import Ran, Room
from tests.faults.running import Running
from tests.faults.stages import Stage
from tests.faults.traces import Trace

LATER = 120
"""Seconds after a kill at which nothing may be left."""

WHOLE = 25
"""Kills after which every byte of the cache is read again, not only what is new."""

NOT_ENTRIES = {"image-locks", "image-uses", "partial", "zig", "bisections", "members"}
"""Folders of the cache whose files are changed in place."""

SLOW = {"base-roots", "debian-python", "wheels"}
"""Kinds that take long to be made again, and are removed less often."""


BOOTSTRAP = "exec(eval(sys.stdin.readline()))"


class Victim(StrEnum):
    """Whom the kill is for."""

    CONTROLLER = "controller"
    WORKER = "a worker"
    GROUP = "the process group"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way to run, and what is removed before."""

    arguments: tuple[str, ...]
    removed: str = ""
    """``image``, or a kind of cache entry."""
    platforms: tuple[str, ...] = ("x86_64",)

    @property
    def options(self) -> tuple[str, ...]:
        """For pytest, beyond what the room says; that has the first platform."""
        return (*self.arguments, *(f"--platform={p}" for p in self.platforms[1:]))

    @property
    def before(self) -> str:
        """In words, for the table."""
        match self.removed:
            case "":
                return "warm"
            case "image":
                return "image removed"
            case _:
                return "cache entries removed"


@dataclass(kw_only=True)
class Killed:
    """A kill, and what came of it."""

    number: int
    case: Case
    victim: Victim
    stage: Stage
    trace: Trace
    at: float
    """``time.monotonic`` of the kill."""
    wrong: list[str] = field(default_factory=list)
    """What results had been written that are not right."""
    next_run: list[str] = field(default_factory=list)
    """What is not right with the run after it."""
    corrupt: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    looked: bool = False
    """Whether anybody has looked, two minutes later."""

    @property
    def is_right(self) -> bool:
        """Whether all is as it should be."""
        return self.looked and not (self.wrong or self.next_run or self.corrupt or self.left)


class Watch:
    """Looks, in a thread, at what each kill has left two minutes after it."""

    def __init__(self, client: docker.DockerClient, later: float = LATER) -> None:
        self._client = client
        self._later = later
        self._waiting: list[Killed] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, killed: Killed) -> None:
        """Look at this one when it is time."""
        with self._changed:
            self._waiting.append(killed)
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until all have been looked at."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                killed = self._waiting.pop(0)
            time.sleep(max(0.0, killed.at + self._later - time.monotonic()))
            try:
                killed.left += killed.trace.left(self._client)
                killed.looked = True
            except Exception as error:
                killed.left.append(f"could not be looked at: {error!r}")


class Entries:
    """The entries of the cache, as they were when they were made."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, str]] = {}
        """Of each the files that it was, and the digest of what was in them."""

    def learn(self) -> None:
        """Take what is there for what is right."""
        for path in _entries():
            self._known[_name(path)] = _state(path), _digest(path)

    def corrupt(self, *, all_bytes: bool) -> Iterator[str]:
        """Entries that are not what they were when they were made.

        What was removed and made again are other files, with a seal of their own; whether what is
        in them is right, the next run tells. Of what was there before, only ``all_bytes`` reads
        all again.
        """
        for path in _entries():
            name, state = _name(path), _state(path)
            known, digest = self._known.get(name, (None, ""))
            if known != state:
                if not cache.is_intact(path):
                    yield name
                self._known[name] = state, _digest(path)
            elif all_bytes and _digest(path) != digest:
                yield name


def _entries() -> list[Path]:
    return [item.path for item in storage.look().entries if item.kind not in NOT_ENTRIES]


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _files(path: Path) -> list[Path]:
    if path.is_dir() and not path.is_symlink():
        return sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return [path]


def _state(path: Path) -> tuple[object, ...]:
    """What changes when other files are put in the place of these."""
    about = [file.lstat() for file in _files(path)]
    return tuple((each.st_ino, each.st_size) for each in about)


def _digest(path: Path) -> str:
    """Of names and contents."""
    found = hashlib.sha256()
    for file in _files(path):
        found.update(str(file.relative_to(path)).encode() + b"\0")
        data = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
        found.update(hashlib.sha256(data).digest())
    return found.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where the runs are: what they share, and what is right for them."""

    folder: Path
    client: docker.DockerClient
    options: tuple[str, ...] = ()
    """For pytest, in each run."""
    right: Mapping[str, str] = field(default_factory=dict)
    """Outcome by cell, of runs that nobody disturbed."""
    images: frozenset[str] = frozenset()
    """Of environments; removed and built again, they have other ids."""

    @property
    def room(self) -> Room:
        """Where runs are started."""
        return Room(self.folder, self.client)

    @property
    def environment(self) -> dict[str, str]:
        """What runs are told."""
        return {"TMPDIR": str(self.temporary)}

    @property
    def temporary(self) -> Path:
        """The runs' folder for temporary files."""
        return self.folder / "tmp"

    def start(self, case: Case) -> Running:
        """A run."""
        return Running(self.room, *self.options, *case.options, environment=dict(self.environment))

    def wrong(self, results: Sequence[Mapping[str, Any]]) -> list[str]:
        """Results that are a verdict, and another one than is right."""
        return [
            f"{line['id']}: {line['outcome']} instead of {self.right.get(line['id'], 'nothing')}"
            for line in results
            if line["status"] != "untestable" and line["outcome"] != self.right.get(line["id"])
        ]

    def not_right(self, ran: Ran, case: Case) -> list[str]:
        """What is wrong with a whole run."""
        wanted = {k: v for k, v in self.right.items() if any(f"-{p}-" in k for p in case.platforms)}
        found = self.wrong(ran.results)
        if ran.code != 0:
            found.append(f"it ended with {ran.code}: {ran.said[-600:]}")
        if ran.outcomes != wanted:
            found.append(f"it said {ran.outcomes} instead of {wanted}")
        if ran.tracebacks:
            found.append("it showed a traceback")
        return found


def workers(running: Running) -> list[int]:
    """Pids of a run's xdist workers, by how execnet starts a Python."""
    lines = traces.processes(running.mark)
    return [pid for pid in traces.children(running.process.pid) if BOOTSTRAP in lines.get(pid, "")]


def kill(running: Running, victim: Victim, chance: random.Random) -> bool:
    """Kill, unless the victim is gone or not there yet."""
    with contextlib.suppress(ProcessLookupError):
        match victim:
            case Victim.CONTROLLER:
                os.kill(running.process.pid, signal.SIGKILL)
            case Victim.GROUP:
                os.killpg(running.process.pid, signal.SIGKILL)
            case Victim.WORKER:
                there = workers(running)
                if not there:
                    return False
                os.kill(chance.choice(there), signal.SIGKILL)
        return True
    return False


def choose(chance: random.Random, kinds: Sequence[str]) -> Case:
    """A case, most of them warm; all, where there are no kinds of entries to be removed."""
    arguments = chance.choice((("-n", "0"), ("-n", "auto"), ("-n", "2")))
    platforms = ("x86_64", "aarch64") if chance.random() < 0.15 else ("x86_64",)
    number = chance.random()
    if number < 0.6 or not kinds:
        removed = ""
    elif number < 0.8:
        removed = "image"
    else:
        removed = chance.choices(kinds, [1 if kind in SLOW else 5 for kind in kinds])[0]
    return Case(arguments=arguments, removed=removed, platforms=platforms)


class Kills:
    """Kills one run after the other, and keeps how long undisturbed ones take."""

    def __init__(self, ground: Ground, entries: Entries | None, seed: int) -> None:
        """``entries``: those of a cache that may be removed; None where it is somebody else's."""
        self.ground = ground
        self.entries = entries
        self.chance = random.Random(seed)
        self.kinds = sorted({path.parent.name for path in _entries()}) if entries else []
        self.usual: dict[Case, float] = {}
        self.images = set(ground.images)

    def usually(self, case: Case) -> float:
        """Seconds that such a run takes when nobody disturbs it."""
        known = self.usual.get(case) or self.usual.get(replace(case, removed=""))
        # Of one that has not run yet, what others take on this machine, at this hour.
        return known or (median(self.usual.values()) if self.usual else 3.0)

    def once(self, number: int) -> Killed | None:
        """Kill a run; None where it had ended before its time."""
        case = choose(self.chance, self.kinds)
        victims = [Victim.CONTROLLER, Victim.GROUP, *([Victim.WORKER] * ("2" in case.arguments))]
        victim = self.chance.choice(victims)
        self._remove(case.removed)
        before = traces.Engine.look(self.ground.client)
        running = self.ground.start(case)
        moment = self.chance.uniform(0, self.usually(case))
        while time.monotonic() < running.start + moment and not running.is_over:
            time.sleep(0.002)
        stage = running.stage
        if running.is_over or not kill(running, victim, self.chance):
            running.finish()
            return None
        at = time.monotonic()
        trace = Trace(
            mark=running.mark,
            pid=running.process.pid,
            started=running.started,
            files=traces.temporary([self.ground.temporary]),
            engine=traces.Engine.look(self.ground.client).beyond(before),
        )
        ran = running.finish()
        killed = Killed(number=number, case=case, victim=victim, stage=stage, trace=trace, at=at)
        killed.wrong = self.ground.wrong(ran.results)
        after = self.ground.start(case).finish()
        killed.next_run = self.ground.not_right(after, case)
        self.images |= ownmatrix.environments(after.results)
        # What was removed is made again by the next run, so far as the killed one had not.
        self.usual[case] = max(after.seconds, self.usual.get(case, 0.0) * 0.9)
        if self.entries:
            killed.corrupt = list(self.entries.corrupt(all_bytes=number % WHOLE == 0))
        return killed

    def _remove(self, what: str) -> None:
        if what == "image":
            ownmatrix.remove_environments(self.ground.client, self.images)
            self.images.clear()
        elif what:
            for path in _entries():
                if path.parent.name == what:
                    cache.discard(path)


def prepare(folder: Path, client: docker.DockerClient, say: Callable[[str], None]) -> Ground:
    """Runs on a cache, and with images, that are nobody else's."""
    options = (OwnMatrix.make(folder / "matrix").option,)
    return undisturbed(Ground(folder=folder, client=client, options=options), say)


def undisturbed(ground: Ground, say: Callable[[str], None]) -> Ground:
    """The same with what is right, after two runs; the second has nothing to make any more."""
    ground.temporary.mkdir()
    case = Case(arguments=("-n", "auto"), platforms=("x86_64", "aarch64"))
    for _ in range(2):
        ran = ground.start(case).finish()
        if ran.code or not ran.outcomes:
            raise SystemExit(f"an undisturbed run ended with {ran.code}:\n{ran.said}")
        say(f"undisturbed: {len(ran.outcomes)} cells in {ran.seconds:.1f} s")
    images = ownmatrix.environments(ran.results)
    return replace(ground, right=ran.outcomes, images=images)


def table(killed: Sequence[Killed]) -> Table:
    """What came of kills, by victim and stage."""
    columns = ("victim", "while", "before", "kills", "next run right", "left after 2 min")
    rendered = Table(*columns, "wrong verdicts", "corrupt entries")
    groups: dict[tuple[str, ...], list[Killed]] = defaultdict(list)
    for each in killed:
        groups[each.victim, each.stage, each.case.before].append(each)
    order = {str(stage): place for place, stage in enumerate(Stage)}
    for key in sorted(groups, key=lambda k: (k[0], order[k[1]], k[2])):
        rendered.add_row(*key, *_counted(groups[key]))
    rendered.add_section()
    rendered.add_row("all", "", "", *_counted(killed))
    return rendered


def _counted(killed: Sequence[Killed]) -> tuple[str, ...]:
    return (
        str(len(killed)),
        str(sum(not each.next_run for each in killed)),
        str(sum(len(each.left) for each in killed)),
        str(sum(len(each.wrong) for each in killed)),
        str(sum(len(each.corrupt) for each in killed)),
    )


def run(count: int, seed: int, output: Path | None, say: Callable[[str], None]) -> int:
    """Kill so many runs; the exit code."""
    client = engine.connect()
    start = time.monotonic()
    done: list[Killed] = []
    # A short name: a socket's path has room for a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ownmatrix.link_cache(folder / "cache")
        os.environ[cache.LOCATION_VARIABLE] = str(folder / "cache")
        kills: Kills | None = None
        watch = Watch(client)
        try:
            ground = prepare(folder, client, say)
            entries = Entries()
            entries.learn()
            kills = Kills(ground, entries, seed)
            while len(done) < count:
                killed = kills.once(len(done) + 1)
                if killed is None:
                    continue
                done.append(killed)
                watch.add(killed)
                _tell(killed, count, say)
        finally:
            watch.close()
            images = kills.images if kills else frozenset[str]()
            ownmatrix.remove(client, images)
    rendered = table(done)
    for each in done:
        for problem in (*each.wrong, *each.next_run, *each.corrupt, *each.left):
            say(f"kill {each.number} ({each.victim}, {each.stage}, {each.case.before}): {problem}")
    right = sum(each.is_right for each in done)
    minutes = (time.monotonic() - start) / 60
    last = f"{right} of {len(done)} as they should be, in {minutes:.1f} min (seed {seed})"
    Console(width=160).print(rendered)
    print(last)
    if output:
        with output.open("w", encoding="utf-8") as stream:
            Console(file=stream, width=160).print(rendered)
            stream.write(f"{last}\n")
    return int(right != len(done) or not done)


def _tell(killed: Killed, count: int, say: Callable[[str], None]) -> None:
    problems = len(killed.wrong) + len(killed.next_run) + len(killed.corrupt)
    word = f"{problems} PROBLEMS" if problems else "the next run is right"
    options = " ".join(killed.case.options)
    removed = f", {killed.case.removed} removed" if killed.case.removed else ""
    say(
        f"[{killed.number}/{count}] {killed.victim} killed while {killed.stage} "
        f"({options}{removed}): {word}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=200, metavar="COUNT")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args(arguments)
    return run(
        given.count, given.seed, given.output, lambda line: print(line, file=sys.stderr, flush=True)
    )


if __name__ == "__main__":
    sys.exit(main())
