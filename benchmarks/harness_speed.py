"""How fast the harness is, beside the obvious way and beside the least that it could take.

    python benchmarks/harness_speed.py [--fast] [--rounds 3] [--against REV] [--profile]

In one run, taking turns: the naive loop, this project cold, warm and hot, and the floor of bare
imports, on the reference matrix (``reference.yaml``). Only the ratios mean something on another
machine. docs/performance.md says what each is, and how to read the table.

It needs the engine for itself, and removes this project's images from it before each cold run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import docker
from rich.console import Console
from rich.text import Text

from benchmarks.speed import chart, floor, history, machine, naive, project, spans, table, usage
from benchmarks.speed.account import account
from benchmarks.speed.figures import Round, Scope, Setting, State, Taken, What, aims, rows
from benchmarks.speed.project import Checkout, Run
from benchmarks.speed.reference import FAST, PROJECT, Reference
from harness import engine
from harness.errors import HarnessError, ToolError
from harness.plan import Selection

CHART = PROJECT / "benchmarks" / "profile.svg"

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Bench:
    """Everything that a round needs."""

    client: docker.DockerClient
    reference: Reference
    states: tuple[State, ...]
    contestants: Sequence[Checkout]
    kits: naive.Kits
    floor: floor.Floor | None
    say: Say
    settled: set[str] = field(default_factory=set)
    """Names of the commits that have made all that they need."""
    images: dict[str, frozenset[str]] = field(default_factory=dict)
    """Ids of the images that each commit has run cells in."""
    answers: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Whether each cell imports, by who says so."""

    def round(self) -> Round:
        """Measure everything once."""
        taken: dict[What, Taken] = {}
        bare = {}
        if self.floor is not None:
            answers = self.floor.measure()
            bare = {name: answer.took for name, answer in answers.items()}
            self.say(f"floor: {sum(bare.values()):.1f} s of bare imports, one after the other")
            self._compare("the floor", {name: a.imports for name, a in answers.items()})
        if State.NAIVE in self.states:
            for scope in (Scope.X86_64, Scope.AARCH64):
                taken[What(contestant="", state=State.NAIVE, scope=scope)] = self._naive(scope)
        if State.COLD in self.states:
            for contestant in self.contestants:
                what = What(contestant=contestant.name, state=State.COLD, scope=Scope.BOTH)
                taken[what] = self._cold(contestant)
        for contestant in self.contestants:
            self._settle(contestant)
        for scope in Scope:
            for contestant in self.contestants:
                for state in (State.WARM, State.HOT):
                    if state in self.states:
                        what = What(contestant=contestant.name, state=state, scope=scope)
                        taken[what] = self._project(contestant, state, scope)
        return Round(taken=taken, bare=bare)

    def profile(self) -> Run:
        """A warm run of this checkout with the plugin that notes where its time goes."""
        this = self.contestants[0]
        self._settle(this)
        this.clean()
        options = ["-p", "benchmarks.speed.spans", *self.reference.options(Scope.BOTH.platforms)]
        return this.run(options)

    def _naive(self, scope: Scope) -> Taken:
        cells = self.reference.of(scope.platforms)
        memory = usage.EngineMemory()
        with _timed() as clock:
            # At least two: on one CPU a user would still have one wait while the other works.
            together = max(2, len(os.sched_getaffinity(0)))
            answers = naive.run(self.client, cells, self.kits, together)
        self.say(f"naive, {scope}: {clock.seconds:.1f} s for {len(cells)} cells")
        self._compare("the naive loop", {name: a.imports for name, a in answers.items()})
        took = {name: answer.took for name, answer in answers.items()}
        return Taken(wall=clock.seconds, took=took, engine_memory=memory.peak())

    def _cold(self, contestant: Checkout) -> Taken:
        contestant.clean()
        usage.forget(self.client)
        # The images that this makes may be others than those of the user's own cache.
        self.settled.clear()
        with project.cold_cache() as folder:
            return self._run(contestant, State.COLD, Scope.BOTH, folder)

    def _settle(self, contestant: Checkout) -> None:
        """Have a commit make what it keeps; not measured."""
        if contestant.name not in self.settled:
            contestant.run(self.reference.options(Scope.BOTH.platforms))
            self.settled.add(contestant.name)

    def _project(self, contestant: Checkout, state: State, scope: Scope) -> Taken:
        if state is State.WARM:
            contestant.clean()
        return self._run(contestant, state, scope)

    def _run(
        self, contestant: Checkout, state: State, scope: Scope, folder: Path | None = None
    ) -> Taken:
        memory = usage.EngineMemory()
        run = contestant.run(self.reference.options(scope.platforms), cache_folder=folder)
        engine_memory = memory.peak()
        name = f" {contestant.name}" if len(self.contestants) > 1 else ""
        self.say(f"{state}{name}, {scope}: {run.wall:.1f} s for {len(run.imports)} cells")
        wanted = {cell.id for cell in self.reference.of(scope.platforms)}
        if run.imports.keys() != wanted:
            raise ToolError(
                f"{contestant.name} ran {len(run.imports)} cells instead of {len(wanted)}",
                advice="Its ids, or its reading of benchmarks/reference.yaml, are others.",
            )
        self._compare(contestant.name, run.imports)
        if scope is Scope.BOTH and state is not State.COLD:
            self.images[contestant.name] = run.images
        return Taken(
            wall=run.wall,
            took=run.took,
            itself=run.itself,
            memory=run.memory,
            engine_memory=engine_memory,
        )

    def _compare(self, who: str, answers: dict[str, bool]) -> None:
        """Refuse figures of two that do not say the same."""
        for other, said in self.answers.items():
            differ = [name for name in answers if said.get(name, answers[name]) != answers[name]]
            if differ:
                raise ToolError(
                    f"{who} and {other} do not agree whether {differ[0]} imports",
                    advice="Find out which is wrong before you look at how fast they are.",
                )
        self.answers[who] = {**self.answers.get(who, {}), **answers}


class _Clock:
    seconds = 0.0


@contextmanager
def _timed() -> Iterator[_Clock]:
    clock, start = _Clock(), time.monotonic()
    yield clock
    clock.seconds = time.monotonic() - start


MEASURED = (State.NAIVE, State.COLD, State.WARM, State.HOT)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fast", is_flag=True, help="Only a small part of the matrix, for trying it out.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--against", metavar="REV", help="Measure another commit too, taking turns with it.")
@click.option("--profile", is_flag=True, help="Say where the time of a warm run goes, and only it.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([str(state) for state in MEASURED]),
    help="Measure only this; may be repeated. The floor is always measured.",
)
@click.option(
    "--history",
    "history_file",
    type=click.Path(path_type=Path),
    default=history.FILE,
    show_default="benchmarks/history.jsonl",
    help="Where a line is added for each run.",
)
def main(
    fast: bool,
    rounds: int,
    against: str | None,
    profile: bool,
    only: tuple[str, ...],
    history_file: Path,
) -> None:
    """Measure how fast the harness is: beside a naive loop, and beside bare imports.

    Removes this project's images (not those that samples are built in) before each cold run.
    """
    # Whoever ends it wants its containers and images gone, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            bench = _bench(stack, fast, against, only, profile)
            if profile:
                _profile(bench)
            else:
                _measure(bench, rounds, history_file, fast=fast)
    except HarnessError as error:
        click.echo(f"harness_speed: error: {error}", err=True)
        sys.exit(int(error.exit_code))


def _bench(
    stack: ExitStack, fast: bool, against: str | None, only: tuple[str, ...], profile: bool
) -> Bench:
    """Everything made ready; what is slow about that is not measured."""

    def say(line: str) -> None:
        click.echo(f"harness_speed: {line}", err=True)

    client = engine.connect()
    contestants = [project.this()]
    if against is not None:
        contestants.append(stack.enter_context(project.other(against)))
    reference = Reference(selection=FAST if fast else Selection())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pbs-matrix-")))
    say(f"putting together what {len(reference.cells)} cells need …")
    kits = stack.enter_context(naive.kits(client, reference, folder))
    return Bench(
        client=client,
        reference=reference,
        states=(State.WARM,) if profile else tuple(State(name) for name in only) or MEASURED,
        contestants=contestants,
        kits=kits,
        floor=stack.enter_context(floor.running(client, reference.cells, kits)),
        say=say,
    )


def _measure(bench: Bench, rounds: int, history_file: Path, *, fast: bool) -> None:
    earlier = history.read(history_file)
    begun, here = datetime.now(UTC), machine.this(bench.client)
    cells = {c.id: c.environment.interpreter.platform for c in bench.reference.cells}
    setting = Setting(cpus=here.cpus, cells=cells)
    found = []
    for number in range(rounds):
        bench.say(f"round {number + 1} of {rounds}")
        found.append(bench.round())
    this = bench.contestants[0].name
    line = history.Line(
        started=begun.isoformat(timespec="seconds"),
        commit=this,
        fast=fast,
        rounds=rounds,
        machine=here,
        load_after=round(os.getloadavg()[0], 2),
        disk=usage.disk(bench.client, bench.images.get(this, ())) if bench.images else None,
        rows=tuple(rows(found, setting)),
    )
    _report(line, history.told(earlier, line), len(cells))
    history.append(history_file, line)
    bench.say(f"added a line to {history_file}")


def _report(line: history.Line, earlier: Sequence[str], cells: int) -> None:
    console = _console()

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    here = line.machine
    emulated = "".join(f", {name} by QEMU {v}" for name, v in here.emulators.items())
    say(f"{line.commit}: {cells} cells, medians of {line.rounds} rounds")
    say(f"{here.cpu}, {here.cpus} CPUs, {here.engine}{emulated}")
    say(f"load {here.load:.2f} before, {line.load_after:.2f} after")
    table.render(line.rows, console)
    if line.disk is not None:
        say(f"images of the {cells} cells: {table.megabytes(line.disk)} on the engine's disk")
    table.render_aims(aims(line.rows, line.commit), console)
    for text in earlier:
        say(text)
    if here.is_busy:
        say(
            f"warning: others were busy before the run (load {here.load:.2f} on {here.cpus} CPUs): "
            "run again on a quiet machine",
            "yellow",
        )


def _profile(bench: Bench) -> None:
    assert bench.floor is not None
    bare = {name: answer.took for name, answer in bench.floor.measure().items()}
    with tempfile.TemporaryDirectory(prefix="pbs-matrix-") as name:
        this = bench.contestants[0]
        variables = {spans.VARIABLE: name, "PYTHONPATH": str(PROJECT)}
        bench.contestants = [
            Checkout(name=this.name, folder=this.folder, python=this.python, variables=variables)
        ]
        bench.settled.clear()
        run = bench.profile()
        found = account(spans.load(Path(name)), run.began, run.wall, {**bare, **run.itself})
    chart.render(found, str(State.WARM), _console())
    with contextlib.suppress(ToolError):  # without matplotlib there is the text
        chart.draw(found, str(State.WARM), CHART)
        bench.say(f"wrote {CHART}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 110, highlight=False)


if __name__ == "__main__":
    main()
