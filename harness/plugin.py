"""The pytest plugin: options, collection, preparation before the first cell, and the summary.

The process that prints (the only one, or xdist's controller) loads the matrix, prepares and
reaps; workers collect the same cells by themselves and read what was prepared from a file.

pytest loads this in every project of an environment that has it installed. So whatever only cells
need is imported where they need it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import signal
import sys
from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.terminal import TerminalReporter

from harness import owner, project
from harness.errors import ConfigurationError, HarnessError
from harness.interruption import RUNS, Interrupted
from harness.sources import AUTO, Source

if TYPE_CHECKING:
    from harness.ahead import Ahead
    from harness.broker import Broker
    from harness.containers import Containers
    from harness.decision import Asked, Decision
    from harness.lock import Lock
    from harness.matrix import Matrix
    from harness.outcome import Outcome
    from harness.plan import Cell
    from harness.prediction import Prediction
    from harness.prepared import Prepared
    from harness.question import Answers
    from harness.resolution import Resolution
    from harness.results import Result, Writer

AXES = ("uv", "release", "platform", "extension", "check", "remedy", "base", "flavour")

RESULT = "pbs_matrix_result"
"""Attribute of a report with a cell's result as JSON; xdist carries it to the controller."""

MARK = "pbs_matrix"
"""Of the tests that are for cells: nobody else's fixtures of these names are meant."""

IMPORTS_CELLS = re.compile(rb"^(from|import) " + re.escape(project.TESTS.encode()), re.MULTILINE)
"""In a test module of another project."""

FIXTURES = {"cell": "extension", "check": "check"}
"""Names of the parameters that ask for cells, and the kind of each."""

DECISION = "decision.json"
"""Name of the file in a run's directory that has what was decided before anything was planned."""

FILES = ("cells", "plan", "shard-by")
"""Options that name a file of those that say which cells there are."""

WORTH_WORKERS = 2000
"""Cells for which starting processes takes less time than they save, beyond threads."""

RUN = pytest.StashKey["Run"]()
CONTROLLER = pytest.StashKey["Controller"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the matrix; every selecting one takes globs and may be repeated."""
    group = parser.getgroup("pbs-matrix", "the python-build-standalone matrix")
    group.addoption(
        "--matrix",
        type=Path,
        metavar="FILE",
        help="matrix file (default: matrix.yaml of this folder, of pytest's root or beside the "
        "tests asked for, else the project's own)",
    )
    group.addoption(
        "--profile", default="default", metavar="NAME", help="profile of the matrix file"
    )
    group.addoption(
        "--source",
        choices=[AUTO, *(source.value for source in Source)],
        default=AUTO,
        help="where interpreters come from: the published archives (upstream), stand-ins with the "
        "same link model (replica), or upstream where it can be reached, else replicas (auto, the "
        "default)",
    )
    group.addoption(
        "--mirror",
        metavar="URL",
        help="where published archives are: http, https or file (default: "
        "$UV_PYTHON_INSTALL_MIRROR, "
        "else GitHub)",
    )
    group.addoption(
        "--trust-mirror",
        action="store_true",
        help="believe the mirror's SHA256SUMS where uv's own metadata says another hash: for a "
        "mirror of builds of your own",
    )
    for axis in AXES:
        group.addoption(
            f"--{axis}",
            action="append",
            default=[],
            metavar="GLOB",
            help=f"only cells whose {axis} matches; may be repeated",
        )
    group.addoption(
        "--also-release",
        action="append",
        default=[],
        metavar="RELEASE",
        help="also cells of this release (or latest, or a range) for each uv of the profile; may "
        "be repeated",
    )
    group.addoption(
        "--cells",
        metavar="FILE",
        help="only the cells whose ids are in FILE (-: standard input), one a line, whichever "
        "profile and source they are of",
    )
    group.addoption(
        "--shard",
        metavar="I/N",
        help="only the I-th of N parts of the cells, which take about as long each",
    )
    group.addoption(
        "--shard-by",
        type=Path,
        metavar="FILE",
        help="with --shard: an earlier results file, to predict by how long cells take",
    )
    group.addoption(
        "--plan",
        type=Path,
        metavar="FILE",
        help="the cells that `pbs-matrix plan -o FILE` has planned; with --shard those of that job",
    )
    group.addoption(
        "--results", type=Path, metavar="FILE", help="write one JSON object a line for each cell"
    )
    group.addoption(
        "--explain",
        action="store_true",
        help="say of each import that fails why it does, with the loader's own trace as evidence",
    )
    group.addoption(
        "--fresh",
        action="store_true",
        help="ask each cell in a container and an interpreter of its own; much slower, and nothing "
        "that one cell does can matter to another",
    )
    group.addoption(
        "--runtime",
        metavar="NAME",
        help="the engine's runtime for containers that import samples, such as runsc (gVisor); "
        "by default what PBS_MATRIX_RUNTIME names, else the engine's own default",
    )
    group.addoption(
        "--allow-untestable",
        action="store_true",
        help="skip cells that could not be tested, instead of failing the run",
    )


class Seen(NamedTuple):
    """What came of a cell."""

    outcome: Outcome
    prediction: Prediction | None
    result: Result


class Run:
    """What the cells of a run share: the plan, and access to their containers."""

    def __init__(self, config: pytest.Config, *, joined: dict[str, str] | None = None) -> None:
        """``joined``: what :meth:`invitation` gave, in a worker; None in the run's own process."""
        self._config = config
        self._joined = joined
        self.name = joined["name"] if joined else owner.new_run()
        self.owner = joined["owner"] if joined else owner.this_process()
        self.allow_untestable: bool = config.getoption("--allow-untestable")
        self.explains: bool = config.getoption("--explain")
        self.last: Result | None = None
        self.ahead: Ahead[Seen] | None = None
        """Where this process has all the tests."""

    @cached_property
    def directory(self) -> Path:
        """Where the processes of this run find each other's files."""
        if self._joined:
            return Path(self._joined["directory"])
        from harness import scratch

        scratch.reap_dead()
        return scratch.make()

    def invitation(self) -> dict[str, str]:
        """What a worker needs to join."""
        return {"directory": str(self.directory), "name": self.name, "owner": self.owner}

    @property
    def was_asked_for(self) -> bool:
        """Whether any process of the run has come upon tests for cells."""
        return "directory" in self.__dict__ and (self.directory / DECISION).exists()

    def close(self) -> None:
        """Remove the directory, where this process made it."""
        if self._joined is None and "directory" in self.__dict__:
            from harness import scratch

            scratch.remove(self.directory)

    @cached_property
    def matrix_file(self) -> Path:
        """The matrix file of this run."""
        chosen: Path | None = self._config.getoption("--matrix")
        here = self._config.invocation_params.dir
        if chosen:
            return here / chosen
        # Beside the tests only after that: what `pytest pbs` is given may be above several.
        asked = (here / argument.partition("::")[0] for argument in self._config.args)
        beside = (path if path.is_dir() else path.parent for path in asked)
        return project.matrix_beside(here, self._config.rootpath, *beside)

    @cached_property
    def matrix(self) -> Matrix:
        """The parsed matrix file, with all that the options add to it."""
        from harness import matrix

        return self._asked.extended(matrix.load(self.matrix_file))

    @cached_property
    def _asked(self) -> Asked:
        """What the options say."""
        from harness import decision
        from harness.plan import Selection
        from harness.request import Request

        option, here = self._config.getoption, self._config.invocation_params.dir
        selection = Selection(**{axis: tuple(option(f"--{axis}")) for axis in AXES})
        cells, plan_file, durations = (option(f"--{name}") for name in FILES)
        return decision.Asked.of(
            Request(
                profile=option("--profile"),
                also_releases=tuple(option("--also-release")),
                selection=selection,
            ),
            matrix_file=self.matrix_file,
            plan_file=plan_file and here / plan_file,
            shard=option("--shard"),
            # Only whoever decides reads it: it may be a pipe.
            ids=() if cells else None,
            source=option("--source"),
            mirror=option("--mirror"),
            trusts_mirror=option("--trust-mirror"),
            durations=durations and here / durations,
        )

    @cached_property
    def _locked(self) -> Lock:
        """The parsed lock file beside it."""
        from harness import lock

        return lock.load(lock.path_for(self.matrix_file))

    @cached_property
    def decision(self) -> Decision:
        """What was decided once, before anything was planned.

        By the controller, unless it cannot know that there are cells: then by the first worker to
        come upon them, for all.
        """
        from filelock import FileLock

        from harness.cache import disk_full_explained
        from harness.decision import Decision

        kept = self.directory / DECISION
        with FileLock(kept.with_suffix(".lock")):
            if kept.exists():
                return Decision.model_validate_json(kept.read_bytes())
            asked = self._asked
            if (file := self._config.getoption("--cells")) is not None:
                asked = replace(asked, ids=self._ids(file))
            decided = asked.decide(self.matrix, self._locked)
            with disk_full_explained(self.directory):
                kept.write_text(decided.model_dump_json())
            return decided

    def _ids(self, file: str) -> tuple[str, ...]:
        """What ``--cells`` names."""
        from harness import merging

        if file != "-":
            return merging.expected_ids(self._config.invocation_params.dir / file)
        capture = self._config.pluginmanager.getplugin("capturemanager")
        # Standard input is pytest's own by now; this gives it back.
        capture.suspend_global_capture(in_=True)
        try:
            return merging.ids_in(sys.stdin.read(), "standard input")
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"--cells -: standard input cannot be read: {error}", advice="Write one id a line."
            ) from None
        finally:
            capture.resume_global_capture()

    @property
    def resolution(self) -> Resolution:
        """Where interpreters come from, and what "latest" is."""
        return self.decision.resolution

    @property
    def is_shard(self) -> bool:
        """Whether this is one of several parts of a run, which may have nothing to do."""
        return self._config.getoption("--shard") is not None

    @cached_property
    def lock(self) -> Lock:
        """The lock, with what this run has found out beyond it."""
        return self.resolution.completed(self._locked)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that the options select."""
        return self._asked.cells(self.decision, self.matrix, self._locked)

    @cached_property
    def prepared(self) -> Prepared:
        """What the controller prepared."""
        from harness.prepared import Prepared

        return Prepared.load(self.directory / "prepared.json")

    @cached_property
    def answers(self) -> Answers:
        """Where this process has questions answered; the controller's own, if it is that."""
        from harness.broker import Remote

        return Remote(self.directory)

    def verify(self, cell: Cell) -> None:
        """Run a cell, keep its result for the report, and fail or skip as that asks for."""
        from harness.verdict import Status, explain, judge

        seen = self.ahead.take(cell) if self.ahead else self.look(cell)
        self.last = seen.result
        said = explain(seen.outcome, cell.expected, seen.prediction)
        match judge(seen.outcome, cell.expected, seen.prediction):
            case Status.AS_EXPECTED:
                pass
            case Status.NOT_APPLICABLE:
                pytest.skip(said)
            case Status.UNTESTABLE if self.allow_untestable:
                pytest.skip(said)
            case _:
                pytest.fail("\n".join([said, *_why(seen.outcome)]), pytrace=False)

    def look(self, cell: Cell) -> Seen:
        """Run a cell. Safe to use from several threads."""
        from harness.outcome import Stage, not_applicable
        from harness.results import result_of

        if cell.not_applicable is not None:
            outcome = not_applicable(Stage.INTERPRETER, cell.not_applicable)
            return Seen(outcome, None, result_of(cell, outcome, {}, None))
        from harness import cells
        from harness.timing import Stopwatch

        stopwatch = Stopwatch()
        outcome, foresight = cells.settle(
            cell, self.prepared, self.answers, fresh=self._config.getoption("--fresh")
        )
        prediction = foresight.prediction if foresight else None
        if foresight and self._is_to_be_explained(cell, outcome, foresight.prediction):
            outcome = cells.explained(cell, outcome, foresight, self.prepared, self.answers)
        result = result_of(
            cell,
            outcome,
            self.prepared.pins(cell),
            prediction,
            linked=self.prepared.linked(cell),
            timing=stopwatch.read(self.prepared.seconds(cell)),
        )
        return Seen(outcome, prediction, result)

    def _is_to_be_explained(self, cell: Cell, outcome: Outcome, prediction: Prediction) -> bool:
        """Known breakage on request; what nobody expected always."""
        from harness.outcome import Reason
        from harness.verdict import Status, judge

        status = judge(outcome, cell.expected, prediction)
        if status is Status.MISPREDICTED:
            return True
        is_the_loaders = outcome.reason in (Reason.MISSING_LIBRARY, Reason.IMPORT_ERROR)
        return is_the_loaders and (self.explains or status is Status.REGRESSED)


class Controller:
    """Prepares once, before the first cell; collects results; reaps at the end."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._config = config
        self._run = run
        self._prepared = False
        self.results: list[Result] = []
        self._surprises: list[str] = []
        self._writer: Writer | None = None
        self._containers: Containers | None = None
        self._broker: Broker | None = None
        self._nodes: list[Any] = []
        """xdist's workers."""
        self._cells: dict[str, Cell] = {}

    @property
    def _terminal(self) -> TerminalReporter:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(terminal, TerminalReporter)
        return terminal

    def prepare(self, ids: Iterable[str]) -> None:
        """Make what the collected tests need; ends the session where nothing can be tested."""
        chosen = {test.partition("[")[2].removesuffix("]") for test in ids if "[" in test}
        if self._prepared or self._config.option.collectonly:
            return
        if not self._run.was_asked_for:
            return  # other tests, with or without parameters, maybe of another project
        if not chosen and not self._run.is_shard:
            return
        self._prepared = True
        try:
            for sentence in self._run.decision.said:
                self._say(sentence)
            cells = tuple(cell for cell in self._run.cells if cell.id in chosen)
            applicable = tuple(cell for cell in cells if cell.not_applicable is None)
            if applicable:
                self._prepare(applicable)
            if (cells or self._run.is_shard) and (path := self._config.getoption("--results")):
                from harness.results import Writer

                self._writer = Writer(self._config.invocation_params.dir / path)
        except HarnessError as error:
            self._say(f"error: {error}", red=True)
            pytest.exit("nothing was tested", returncode=int(error.exit_code))

    def _prepare(self, cells: tuple[Cell, ...]) -> None:
        from harness import cache, confinement, engine, interruption, preparing, progress, turns
        from harness.containers import Containers
        from harness.why import printable

        self._progress = progress.for_terminal(self._terminal._tw._file, self._say)
        turns.TELLER.say = self._say
        cells_of = "cell" if len(cells) == 1 else "cells"
        if (file := self._run.matrix_file.resolve()) != project.MATRIX.resolve():
            cells_of += f" of {printable(str(file))}"
        self._say(f"preparing {len(cells)} {cells_of} …")
        client = engine.connect()
        runtime = confinement.chosen_runtime(client, self._config.getoption("--runtime"))
        # Else a build that has begun would be waited for.
        with interruption.RUNS.stopping(partial(interruption.hang_up, client)):
            prepared = preparing.prepare(
                cells,
                self._run.matrix,
                self._run.lock,
                client,
                run=self._run.name,
                owner=self._run.owner,
                beside=self._run.matrix_file.parent,
                say=self._say,
                resolution=self._run.resolution,
                progress=self._progress,
            )
        with cache.disk_full_explained(self._run.directory):
            prepared.save(self._run.directory / "prepared.json")
        self._surprises = preparing.surprises(cells, prepared)
        self._cells = {cell.id: cell for cell in cells}
        self._containers = Containers(
            client, self._run.name, self._run.owner, limits=self._run.matrix.limits, runtime=runtime
        )
        self._containers.plan(cells, prepared, ahead=not self._config.getoption("--fresh"))
        self._run.answers = self._containers

    def _say(self, line: str, **markup: bool) -> None:
        self._terminal.ensure_newline()
        self._terminal.write_line(f"pbs-matrix: {line}", **markup)
        self._terminal.flush()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist, this process has the tests."""
        self.prepare(item.nodeid for item in session.items)
        if self._prepared:
            from harness.ahead import Ahead

            cells = filter(None, map(_cell_of, session.items))
            # Without containers, no cell is applicable.
            room = self._containers.room if self._containers else contextlib.nullcontext
            self._run.ahead = Ahead(cells, self._run.look, room=room)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """With xdist, the first worker to have collected tells which tests there are."""
        self.prepare(ids)
        if not all(node.gateway.hasreceiver() for node in self._nodes):
            # xdist would find that out by an error of its own, with a traceback.
            self._say("error: a worker process ended before the first cell\n  Run again.", red=True)
            pytest.exit("nothing was tested", returncode=int(pytest.ExitCode.INTERNAL_ERROR))
        if self._containers and self._broker is None:
            from harness.broker import Broker

            self._broker = Broker(self._containers, self._run.directory).__enter__()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        node.workerinput["pbs_matrix"] = self._run.invitation()
        self._nodes.append(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """A worker has ended, and xdist knows."""
        if node in self._nodes:
            self._nodes.remove(node)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the result that a cell's report carries."""
        data = getattr(report, RESULT, None)
        if data is not None and report.when == "call":
            from harness.results import Result

            result = Result.model_validate_json(data)
            self.results.append(result)
            if self._containers and (cell := self._cells.get(result.id)):
                self._containers.done(cell)
            if self._writer:
                try:
                    self._writer.write(result)
                except HarnessError as error:
                    self._say(f"error: {error}", red=True)
                    pytest.exit("results cannot be kept", returncode=int(error.exit_code))

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """The table."""
        if not self.results:
            return
        from rich.console import Console

        from harness import explanation, table
        from harness.verdict import Status

        order = {cell.id: index for index, cell in enumerate(self._run.cells)}
        terminalreporter.section("pbs-matrix")
        console = Console(
            file=terminalreporter._tw._file,
            no_color=not terminalreporter.hasmarkup,
            force_terminal=terminalreporter.hasmarkup or None,
            width=max(terminalreporter._tw.fullwidth, 100),
            highlight=False,
        )
        results = sorted(self.results, key=lambda result: order[result.id])
        # Of the others their own test has said it.
        known = (result for result in results if result.status is Status.AS_EXPECTED)
        for line in explanation.report(known):
            terminalreporter.write_line(line)
        table.render(results, console)
        for line in table.flaky(results):
            terminalreporter.write_line(line, yellow=True)
        for sentence in self._surprises:
            terminalreporter.write_line(f"not what it should be: {sentence}", red=True)

    def pytest_keyboard_interrupt(self) -> None:
        """What a signal left unfinished, an open file say, is no news then."""
        ignored = "ignore::pytest.PytestUnraisableExceptionWarning"
        self._config.addinivalue_line("filterwarnings", ignored)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave nothing running; fail where an interpreter is not what the table says."""
        RUNS.ending()
        if self._surprises and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._has_empty_shard:
            # Of few cells there may be none for this machine, and that is as it should be.
            session.exitstatus = pytest.ExitCode.OK
        if self._writer:
            self._writer.__exit__(None, None, None)
        if self._run.ahead:
            self._run.ahead.close()
        if self._broker:
            self._broker.__exit__()
        if self._containers:
            self._containers.__exit__()
        if RUNS.asked not in (None, signal.SIGINT):  # for which pytest has an exit code of its own
            session.exitstatus = int(RUNS.exit_code or 0)

    @property
    def _has_empty_shard(self) -> bool:
        return self._run.was_asked_for and self._run.is_shard

    def pytest_unconfigure(self) -> None:
        """Leave no file behind either."""
        self._run.close()
        if RUNS.asked is not None:
            self._say(f"ended by {RUNS.asked.name}; its containers and files are removed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Of ``-n auto``: no workers for as many cells as one process can ask about.

    Cells wait for containers, which threads do as well; a worker takes a second to start, and both
    of two take it from each other. ``-n 2`` means two.
    """
    if not _asks_for_nothing_else(config):
        return None
    try:
        run = config.stash.setdefault(RUN, Run(config))
        return 0 if len(run.cells) < WORTH_WORKERS else None
    except HarnessError:
        return None  # which is said in a moment


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Say at once, and without a traceback, what is wrong with the matrix or the options."""
    # A worker is told by its controller what to plan with, which has looked at all this.
    if config.option.help or config.option.version or hasattr(config, "workerinput"):
        return None
    run: Run | None = None
    try:
        _check_root(config)
        if not _asks_for_cells(config):
            return None
        RUNS.handle()
        run = config.stash.setdefault(RUN, Run(config))
        run.cells  # noqa: B018 - reading it is what finds the mistakes
    except HarnessError as error:
        print(f"pbs-matrix: error: {error}", file=sys.stderr)
        if run:
            run.close()
        return int(error.exit_code)
    except Interrupted:
        if run:
            run.close()
        print(f"pbs-matrix: ended by {RUNS.asked.name if RUNS.asked else ''}", file=sys.stderr)
        return RUNS.exit_code
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Join the controller's run in a worker; lead one elsewhere."""
    for line in (
        "x86_64: cells for x86_64",
        "aarch64: cells for aarch64",
        "known_breakage: cells that are expected to fail",
        f"{MARK}: tests that the plugin makes cells for",
    ):
        config.addinivalue_line("markers", line)
    joined = getattr(config, "workerinput", {}).get("pbs_matrix")
    if joined:
        config.stash[RUN] = Run(config, joined=joined)
    elif not hasattr(config, "workerinput"):
        run = config.stash.get(RUN, None) or Run(config)
        config.stash[RUN] = run
        controller = Controller(config, run)
        config.stash[CONTROLLER] = controller
        config.pluginmanager.register(controller, "pbs-matrix-controller")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each cell of its kind, marked by platform and by what is expected."""
    kind = next((k for name, k in FIXTURES.items() if name in metafunc.fixturenames), None)
    if kind is None or not metafunc.definition.get_closest_marker(MARK):
        return
    run = metafunc.config.stash[RUN]
    try:
        cells = run.cells
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    parameters = [
        pytest.param(cell, id=cell.id, marks=[_mark(name) for name in _marks(cell)])
        for cell in cells
        if cell.sample.kind == kind
    ]
    (name,) = (name for name, k in FIXTURES.items() if k == kind)
    metafunc.parametrize(name, parameters)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[Any] | None:
    """No test where no cell of its kind is selected: pytest would make one up, to skip it."""
    if not inspect.isfunction(obj) or not any(m.name == MARK for m in _own_marks(obj)):
        return None
    asked = inspect.signature(obj).parameters
    kinds = [kind for name, kind in FIXTURES.items() if name in asked]
    try:
        cells = collector.config.stash[RUN].cells
    except HarnessError:
        return None  # which parametrizing it reports
    return None if any(cell.sample.kind in kinds for cell in cells) else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cells by environment, so that each container has its time; foreign platforms first.

    Those take longest, and what is left at the end should be short. Everybody else's tests stay
    where they are.
    """
    machine = os.uname().machine
    places = {i: cell for i, item in enumerate(items) if (cell := _cell_of(item)) is not None}
    environments: dict[str, int] = {}
    for cell in places.values():
        environments.setdefault(cell.environment.id, len(environments))

    def rank(place: int) -> tuple[bool, int]:
        environment = places[place].environment
        is_native = environment.interpreter.platform == machine
        return is_native, environments[environment.id]

    ordered = [items[place] for place in sorted(places, key=rank)]
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _cell_of(item: pytest.Item) -> Cell | None:
    """The cell that a test is for, if it is for one."""
    if item.get_closest_marker(MARK) is None:
        return None
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    found: Cell | None = next((parameters[name] for name in FIXTURES if name in parameters), None)
    return found


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    """The run that this test belongs to."""
    return pytestconfig.stash[RUN]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach a cell's result to its report, which xdist carries to the controller."""
    report = yield
    run = item.config.stash.get(RUN, None)
    if call.when == "call" and run is not None and run.last is not None:
        from harness.results import properties

        setattr(report, RESULT, run.last.model_dump_json())
        # For pytest's own --junit-xml, which takes them from the report of the teardown to come.
        item.user_properties += properties(run.last)
        run.last = None
    return report


def _why(outcome: Outcome) -> list[str]:
    """What the outcome's evidence has to say of the loader, as lines."""
    from harness import explanation

    found = explanation.of(outcome.evidence)
    return found.lines if found else []


def _own_marks(function: object) -> list[pytest.Mark]:
    marks: pytest.Mark | list[pytest.Mark] = getattr(function, "pytestmark", [])
    return marks if isinstance(marks, list) else [marks]


@cache
def _mark(name: str) -> pytest.MarkDecorator:
    decorator: pytest.MarkDecorator = getattr(pytest.mark, name)
    return decorator


def _marks(cell: Cell) -> list[str]:
    from harness.plan import SUCCESS

    marks = [str(cell.environment.interpreter.platform)]
    is_broken = cell.expected.reason is not SUCCESS[cell.sample.kind].reason
    return [*marks, "known_breakage"] if is_broken else marks


def _check_root(config: pytest.Config) -> None:
    """Refuse a root directory that pytest took from the value of one of our options.

    pytest looks for its root before it knows the options of plugins, and takes the path in
    ``--matrix FILE`` for one of the tests' then; ``--matrix=FILE`` is safe.
    """
    for option in ("--matrix", "--results", "--plan", "--shard-by"):
        value: Path | None = config.getoption(option)
        if value is None or config.inipath is not None:
            continue
        here = config.invocation_params.dir
        # Another project may have no ini-file, and then its root is right. This one has.
        is_own = project.IS_CHECKOUT and here.is_relative_to(project.ROOT)
        is_right = not is_own and config.rootpath in (here, *here.parents)
        if config.rootpath in (here / value).parents and not is_right:
            raise ConfigurationError(
                f"pytest took {config.rootpath}, where {option} {value} lies, for its root",
                advice=f"Write it with an equals sign: {option}={value}",
            )


def _asks_for_cells(config: pytest.Config) -> bool:
    """Whether any of the paths given to pytest has to do with ``cases/``, or with the like.

    Only a look, for messages before everything else: what it misses is found in collecting.
    """
    if any(config.getoption(f"--{name}") is not None for name in ("cells", "plan", "shard")):
        return True  # standard input may be one of their files, and is not a worker's to read
    for argument in config.args:
        path = _path_of(argument, config)
        # A virtual environment below other tests has cases too, and they are not collected.
        if project.IS_CHECKOUT and path in project.CASES.parents:
            return True
        if _is_of_cells(argument, path) or _has_cells(path / project.TEST_MODULE):
            return True
    return False


def _asks_for_nothing_else(config: pytest.Config) -> bool:
    """Whether all the paths given to pytest have cells, and no other tests."""
    return all(_is_of_cells(argument, _path_of(argument, config)) for argument in config.args)


def _path_of(argument: str, config: pytest.Config) -> Path:
    return (config.invocation_params.dir / argument.partition("::")[0]).resolve()


def _is_of_cells(argument: str, path: Path) -> bool:
    """Whether a path given to pytest has cells and nothing else, as far as can be seen at once."""
    if path == project.CASES or project.CASES in path.parents:
        return True
    if argument.partition("::")[0] == project.TESTS:
        return True
    modules = [*path.glob("test_*.py"), *path.glob("*_test.py")] if path.is_dir() else [path]
    return bool(modules) and all(map(_has_cells, modules))


def _has_cells(path: Path) -> bool:
    """Whether a test module imports what becomes cells."""
    try:
        return path.suffix == ".py" and IMPORTS_CELLS.search(path.read_bytes()) is not None
    except OSError:
        return False
