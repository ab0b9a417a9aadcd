"""The pytest plugin: options, collection, preparation before the first cell, and the summary.

The process that prints (the only one, or xdist's controller) loads the matrix, prepares and
reaps; workers collect the same cells by themselves and read what was prepared from a file.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.terminal import TerminalReporter

from harness import lock, matrix, owner
from harness.errors import ConfigurationError, HarnessError
from harness.matrix import Kind
from harness.outcome import Outcome, Reason, Stage, not_applicable
from harness.plan import SUCCESS, Cell, Selection, plan
from harness.releases import LinkModel
from harness.results import Result, Writer, properties, result_of
from harness.sources import AUTO, Source
from harness.timing import Stopwatch, Timing
from harness.verdict import Status, explain, judge

if TYPE_CHECKING:
    from harness.containers import Containers
    from harness.prediction import Prediction
    from harness.prepared import Prepared
    from harness.resolution import Resolution

PROJECT = Path(__file__).parent.parent
AXES = ("uv", "release", "platform", "extension", "check", "remedy", "base", "flavour")

RESULT = "pbs_matrix_result"
"""Attribute of a report with a cell's result as JSON; xdist carries it to the controller."""

FIXTURES = {"cell": Kind.EXTENSION, "check": Kind.CHECK}
"""Names of the parameters that ask for cells of a kind."""

RUN = pytest.StashKey["Run"]()
CONTROLLER = pytest.StashKey["Controller"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the matrix; every selecting one takes globs and may be repeated."""
    group = parser.getgroup("pbs-matrix", "the python-build-standalone matrix")
    group.addoption(
        "--matrix", type=Path, metavar="FILE", help="matrix file (default: the project's own)"
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
        "--results", type=Path, metavar="FILE", help="write one JSON object a line for each cell"
    )
    group.addoption(
        "--explain",
        action="store_true",
        help="say of each import that fails why it does, with the loader's own trace as evidence",
    )
    group.addoption(
        "--allow-untestable",
        action="store_true",
        help="skip cells that could not be tested, instead of failing the run",
    )


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

    @cached_property
    def directory(self) -> Path:
        """Where the processes of this run find each other's files."""
        return Path(self._joined["directory"] if self._joined else tempfile.mkdtemp("-pbs-matrix"))

    def invitation(self) -> dict[str, str]:
        """What a worker needs to join."""
        told = {"directory": str(self.directory), "name": self.name, "owner": self.owner}
        # Only where there are cells was anything decided.
        if "resolution" in self.__dict__:
            told["resolution"] = self.resolution.model_dump_json()
        return told

    def close(self) -> None:
        """Remove the directory, where this process made it."""
        if self._joined is None and "directory" in self.__dict__:
            shutil.rmtree(self.directory, ignore_errors=True)

    @cached_property
    def matrix_file(self) -> Path:
        """The matrix file of this run."""
        chosen: Path | None = self._config.getoption("--matrix")
        return (self._config.invocation_params.dir / chosen) if chosen else PROJECT / "matrix.yaml"

    @cached_property
    def matrix(self) -> matrix.Matrix:
        """The parsed matrix file."""
        return matrix.load(self.matrix_file)

    @cached_property
    def _locked(self) -> lock.Lock:
        """The parsed lock file beside it."""
        return lock.load(lock.path_for(self.matrix_file))

    @cached_property
    def resolution(self) -> Resolution:
        """What was decided once, before anything was planned: by the controller, for all."""
        from harness import resolution

        if self._joined and "resolution" in self._joined:
            return resolution.Resolution.model_validate_json(self._joined["resolution"])
        return resolution.resolve(
            self.matrix,
            self._locked,
            source=self._config.getoption("--source"),
            mirror=self._config.getoption("--mirror"),
            trusts_mirror=self._config.getoption("--trust-mirror"),
        )

    @cached_property
    def lock(self) -> lock.Lock:
        """The lock, with what this run has found out beyond it."""
        return self.resolution.completed(self._locked)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that the options select."""
        selection = Selection(**{axis: tuple(self._config.getoption(f"--{axis}")) for axis in AXES})
        return plan(
            self.matrix,
            self.lock,
            profile=self._config.getoption("--profile"),
            source=self.resolution.source,
            names=self.resolution.names,
            selection=selection,
        )

    @cached_property
    def prepared(self) -> Prepared:
        """What the controller prepared."""
        from harness.prepared import Prepared

        return Prepared.load(self.directory / "prepared.json")

    @cached_property
    def _containers(self) -> Containers:
        from harness import engine
        from harness.containers import Containers

        return Containers(engine.connect(), self.name, self.owner, self.directory)

    def verify(self, cell: Cell) -> None:
        """Run a cell, keep its result for the report, and fail or skip as that asks for."""
        prediction: Prediction | None = None
        linked: LinkModel | None = None
        timing: Timing | None = None
        if cell.not_applicable is not None:
            outcome = not_applicable(Stage.INTERPRETER, cell.not_applicable)
            pins: dict[str, object] = {}
        else:
            from harness import cells, foreseen

            stopwatch = Stopwatch()
            foresight = foreseen.foresee(cell, self.prepared)
            outcome = cells.observe(cell, self.prepared, self._containers)
            pins = self.prepared.pins(cell)
            linked = self.prepared.linked(cell)
            if foresight:
                foresight = foresight.given(outcome)
                prediction = foresight.prediction
                if self._is_to_be_explained(cell, outcome, prediction):
                    outcome = cells.explained(
                        cell, outcome, foresight, self.prepared, self._containers
                    )
            timing = stopwatch.read(self.prepared.seconds(cell))
        self.last = result_of(cell, outcome, pins, prediction, linked=linked, timing=timing)
        said = explain(outcome, cell.expected, prediction)
        match judge(outcome, cell.expected, prediction):
            case Status.AS_EXPECTED:
                pass
            case Status.NOT_APPLICABLE:
                pytest.skip(said)
            case Status.UNTESTABLE if self.allow_untestable:
                pytest.skip(said)
            case _:
                pytest.fail("\n".join([said, *_why(outcome)]), pytrace=False)

    def _is_to_be_explained(self, cell: Cell, outcome: Outcome, prediction: Prediction) -> bool:
        """Known breakage on request; what nobody expected always."""
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

    @property
    def _terminal(self) -> TerminalReporter:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(terminal, TerminalReporter)
        return terminal

    def prepare(self, ids: Iterable[str]) -> None:
        """Make what the collected tests need; ends the session where nothing can be tested."""
        chosen = {test.partition("[")[2].removesuffix("]") for test in ids if "[" in test}
        if self._prepared or self._config.option.collectonly or not chosen:
            return
        self._prepared = True
        try:
            cells = tuple(cell for cell in self._run.cells if cell.id in chosen)
            applicable = tuple(cell for cell in cells if cell.not_applicable is None)
            if applicable:
                self._prepare(applicable)
            if cells and (path := self._config.getoption("--results")):
                self._writer = Writer(self._config.invocation_params.dir / path)
        except HarnessError as error:
            self._say(f"error: {error}", red=True)
            pytest.exit("nothing was tested", returncode=int(error.exit_code))

    def _prepare(self, cells: tuple[Cell, ...]) -> None:
        from harness import engine, preparing, progress

        for sentence in self._run.resolution.said:
            self._say(sentence)
        self._progress = progress.for_terminal(self._terminal._tw._file, self._say)
        self._say(f"preparing {len(cells)} {'cell' if len(cells) == 1 else 'cells'} …")
        prepared = preparing.prepare(
            cells,
            self._run.matrix,
            self._run.lock,
            engine.connect(),
            run=self._run.name,
            owner=self._run.owner,
            beside=self._run.matrix_file.parent,
            say=self._say,
            resolution=self._run.resolution,
            progress=self._progress,
        )
        prepared.save(self._run.directory / "prepared.json")
        self._surprises = preparing.surprises(cells, prepared)

    def _say(self, line: str, **markup: bool) -> None:
        self._terminal.ensure_newline()
        self._terminal.write_line(f"pbs-matrix: {line}", **markup)
        self._terminal.flush()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist, this process has the tests."""
        self.prepare(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """With xdist, the first worker to have collected tells which tests there are."""
        self.prepare(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        node.workerinput["pbs_matrix"] = self._run.invitation()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the result that a cell's report carries."""
        data = getattr(report, RESULT, None)
        if data is not None and report.when == "call":
            result = Result.model_validate_json(data)
            self.results.append(result)
            if self._writer:
                self._writer.write(result)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """The table."""
        if not self.results:
            return
        from rich.console import Console

        from harness import explanation, table

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
        for sentence in self._surprises:
            terminalreporter.write_line(f"not what it should be: {sentence}", red=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave nothing running; fail where an interpreter is not what the table says."""
        if self._surprises and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._writer:
            self._writer.__exit__(None, None, None)
        if self._prepared:
            from harness import containers, engine

            with contextlib.suppress(HarnessError):
                containers.reap(engine.connect(), self._run.name)

    def pytest_unconfigure(self) -> None:
        """Leave no file behind either."""
        self._run.close()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Say at once, and without a traceback, what is wrong with the matrix or the options."""
    # A worker is told by its controller what to plan with, which has looked at all this.
    if config.option.help or config.option.version or hasattr(config, "workerinput"):
        return None
    try:
        _check_root(config)
        if not _asks_for_cells(config):
            return None
        run = Run(config)
        run.cells  # noqa: B018 - reading it is what finds the mistakes
        config.stash[RUN] = run
    except HarnessError as error:
        print(f"pbs-matrix: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Join the controller's run in a worker; lead one elsewhere."""
    for line in (
        "x86_64: cells for x86_64",
        "aarch64: cells for aarch64",
        "known_breakage: cells that are expected to fail",
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
    if kind is None:
        return
    run = metafunc.config.stash[RUN]
    try:
        cells = run.cells
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    parameters = [
        pytest.param(cell, id=cell.id, marks=[getattr(pytest.mark, name) for name in _marks(cell)])
        for cell in cells
        if cell.sample.kind is kind
    ]
    (name,) = (name for name, k in FIXTURES.items() if k is kind)
    metafunc.parametrize(name, parameters)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drop the test that pytest makes up, to skip it, where no cell of a kind is selected."""
    items[:] = [item for item in items if not item.name.endswith("[NOTSET]")]


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


def _marks(cell: Cell) -> list[str]:
    marks = [str(cell.environment.interpreter.platform)]
    is_broken = cell.expected.reason is not SUCCESS[cell.sample.kind].reason
    return [*marks, "known_breakage"] if is_broken else marks


def _check_root(config: pytest.Config) -> None:
    """Refuse a root directory that pytest took from the value of one of our options.

    pytest looks for its root before it knows the options of plugins, and takes the path in
    ``--matrix FILE`` for one of the tests' then; ``--matrix=FILE`` is safe.
    """
    for option in ("--matrix", "--results"):
        value: Path | None = config.getoption(option)
        if value is None or config.inipath is not None:
            continue
        if config.rootpath in (config.invocation_params.dir / value).parents:
            raise ConfigurationError(
                f"pytest took {config.rootpath}, where {option} {value} lies, for its root",
                advice=f"Write it with an equals sign: {option}={value}",
            )


def _asks_for_cells(config: pytest.Config) -> bool:
    """Whether any of the paths given to pytest has to do with ``cases/``."""
    cases = PROJECT / "cases"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path == cases or cases in path.parents or path in cases.parents:
            return True
    return False
