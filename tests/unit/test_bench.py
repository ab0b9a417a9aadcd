"""The benchmark without an engine: statistics, order, file, table, picture, failures."""

from __future__ import annotations

import io
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from harness import cli, matrix, output
from harness.bench import chart, contestants, measuring, suite, table
from harness.bench import report as reports
from harness.bench.report import Contestant, Estimate, Failure, Host, Report, Timing
from harness.bench.suite import Benchmark, Clock, Effort, Pair, Side
from harness.errors import ConfigurationError, ExitCode, SelectionError, ToolError
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.sources import Source


def timing(
    name: str, shared: Sequence[float], static: Sequence[float], failure: Failure | None = None
) -> Timing:
    """A benchmark whose processes gave these values, each with a slower second one."""
    return Timing(
        name=name,
        loops=4,
        values={
            Side.SHARED: tuple((value, value * 1.5) for value in shared),
            Side.STATIC: tuple((value * 2, value) for value in static),
        },
        failure=failure,
    )


def contestant(model: LinkModel, *builtins: str) -> Contestant:
    return Contestant(
        link_model=model,
        release=None,
        archive=f"cpython-3.13.5+{model}.tar.gz",
        archive_sha256="ab" * 32,
        image="sha256:0",
        version="3.13.5 (main)",
        compiler_flags="-O2",
        libpython="/opt/libpython3.13.so.1.0" if model is LinkModel.SHARED else None,
        builtin_modules=("_io", *builtins),
    )


def report(
    *timings: Timing,
    load: float = 0.1,
    load_after: float | None = None,
    governor: str | None = None,
    pair: Pair | None = Pair.OBJECTS,
    interrupted: bool = False,
) -> Report:
    return Report(
        started="2026-01-01T00:00:00+00:00",
        seconds=12.5,
        source=Source.REPLICA if pair else Source.UPSTREAM,
        pair=pair,
        python="3.13.5",
        platform=Platform.X86_64,
        base="debian13",
        base_digest="cd" * 32,
        uv="0.7.6",
        uv_sha256="ef" * 32,
        wheels={"pyperf-2.10.0-py3-none-any.whl": "01" * 32},
        contestants={
            Side.SHARED: contestant(LinkModel.SHARED),
            Side.STATIC: contestant(LinkModel.STATIC),
        },
        host=Host(
            cpu="A fine CPU",
            cpus=2,
            pinned_to="1",
            governor=governor,
            kernel="6.1",
            engine="20.10",
            load_before=load,
            load_after=load_after,
        ),
        clock=Clock.CPU,
        rounds=3,
        values=2,
        interrupted=interrupted,
        benchmarks=timings,
    ).concluded()


FASTER = timing("richards", [0.060, 0.066, 0.072], [0.050, 0.055, 0.060])
SAME = timing("nbody", [0.1, 0.11, 0.1], [0.1, 0.11, 0.1])
BROKEN = timing(
    "go", [0.2], [], Failure(side=Side.STATIC, problem="ImportError: no module named array")
)


# --- statistics ---------------------------------------------------------------------------------


def test_the_ratio_is_shared_over_static_of_the_fastest_values() -> None:
    """1.2 means that static is 1.2 times as fast; the slower values of a process do not count."""
    assert FASTER.rounds == ((0.060, 0.050), (0.066, 0.055), (0.072, 0.060))
    estimate = FASTER.estimate
    assert estimate is not None
    assert estimate.ratio == pytest.approx(1.2)
    # The same in every round, so nothing is uncertain.
    assert (estimate.low, estimate.high) == pytest.approx((1.2, 1.2))
    shared, static = FASTER.seconds(Side.SHARED), FASTER.seconds(Side.STATIC)
    assert shared is not None
    assert static is not None
    assert shared / static == pytest.approx(1.2)
    assert FASTER.spread == pytest.approx(0.2)


def test_the_interval_is_the_t_interval_of_the_logarithms() -> None:
    """Two rounds: mean 0.1, half width 12.706 · 0.1414 / √2 = 1.2706."""
    estimate = Estimate.of([0.0, 0.2])
    assert estimate.ratio == pytest.approx(math.exp(0.1))
    assert estimate.low == pytest.approx(math.exp(0.1 - 1.2706), rel=1e-4)
    assert estimate.high == pytest.approx(math.exp(0.1 + 1.2706), rel=1e-4)


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 30])
def test_the_quantiles_are_those_of_students_t(freedom: int) -> None:
    """The density, integrated from 0 to the quantile, is 0.475."""
    quantile = reports.T_QUANTILES[freedom - 1]
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)

    def density(x: float) -> float:
        return scale * math.pow(1 + x * x / freedom, -(freedom + 1) / 2)

    steps = 20_000
    width = quantile / steps
    area = sum(density((step + 0.5) * width) for step in range(steps)) * width
    assert area == pytest.approx(0.475, abs=1e-4)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Made-up rounds around a ratio that is known: it is inside in 95 of 100 cases, about."""
    chance = random.Random(1)
    truth = math.log(1.08)
    inside = 0
    for _ in range(2000):
        estimate = Estimate.of([chance.gauss(truth, 0.05) for _ in range(6)])
        assert estimate.low is not None
        assert estimate.high is not None
        inside += estimate.low <= 1.08 <= estimate.high
    assert 0.935 < inside / 2000 < 0.965


def test_one_round_has_no_interval() -> None:
    estimate = timing("x", [2.0], [1.0]).estimate
    assert estimate == Estimate(ratio=math.exp(math.log(2.0)), low=None, high=None, rounds=1)
    assert table.interval(estimate) == "none: one round"
    assert "one round says nothing" in reports.verdict(estimate)


def test_the_geometric_mean_is_over_benchmarks_and_its_interval_over_rounds() -> None:
    """1.21 and 1 give 1.1, in each round; benchmarks that differ do not widen the interval."""
    quick = timing("a", [1.21, 1.21], [1.0, 1.0])
    mean = reports.geometric_mean([quick, timing("b", [3.0, 5.0], [3.0, 5.0])])
    assert mean is not None
    assert (mean.ratio, mean.low, mean.high) == pytest.approx((1.1, 1.1, 1.1))
    assert mean.rounds == 2


def test_the_geometric_mean_takes_the_rounds_that_all_benchmarks_ended() -> None:
    """As after an interrupt: another set of benchmarks would be another mean."""
    longer = timing("a", [1.21, 1.21, 9.0], [1.0, 1.0, 1.0])
    mean = reports.geometric_mean([longer, timing("b", [1.0, 1.0], [1.0, 1.0])])
    assert mean is not None
    assert mean.ratio == pytest.approx(1.1)
    assert mean.rounds == 2


def test_a_round_that_one_side_did_not_end_does_not_count() -> None:
    cut = timing("a", [2.0, 8.0], [1.0])
    assert cut.rounds == ((2.0, 1.0),)


def test_without_any_result_there_is_no_mean() -> None:
    assert reports.geometric_mean([]) is None
    assert reports.geometric_mean([timing("a", [1.0], [])]) is None
    assert timing("a", [1.0], []).estimate is None
    assert timing("a", [1.0], []).seconds(Side.SHARED) is None


@pytest.mark.parametrize(
    ("low", "ratio", "high", "said"),
    [
        (1.05, 1.08, 1.10, "8.0 % faster than shared here, which is less than the claimed 15-25 %"),
        (1.16, 1.20, 1.24, "20.0 % faster than shared here, which is within the claimed 15-25 %"),
        (1.30, 1.40, 1.50, "40.0 % faster than shared here, which is more than the claimed"),
        (1.05, 1.14, 1.24, "the interval is too wide to tell"),
        (0.90, 0.95, 0.99, "5.0 % slower than shared here, which is less than the claimed"),
    ],
)
def test_the_verdict_compares_the_interval_with_the_claim(
    low: float, ratio: float, high: float, said: str
) -> None:
    assert said in reports.verdict(Estimate(ratio=ratio, low=low, high=high, rounds=6))


# --- what is run, and in which order ------------------------------------------------------------


def test_each_side_goes_first_equally_often_and_never_twice_running() -> None:
    """From round to round for each benchmark, and from one benchmark to the next."""
    rounds = Effort().rounds
    for position in range(5):
        first = [suite.order(number, position)[0] for number in range(rounds)]
        assert first.count(Side.SHARED) == first.count(Side.STATIC)
        assert all(a is not b for a, b in pairwise(first))
    first = [suite.order(0, position)[0] for position in range(6)]
    assert all(a is not b for a, b in pairwise(first))
    assert set(suite.order(3, 2)) == set(Side)


def test_the_suite_has_at_least_a_dozen_benchmarks_each_once() -> None:
    names = [benchmark.name for benchmark in suite.SUITE]
    assert len(names) == len(set(names)) >= 12


def test_globs_select_benchmarks_and_a_glob_without_any_is_refused() -> None:
    assert suite.select(()) == suite.SUITE
    chosen = [benchmark.name for benchmark in suite.select(("json_*", "go"))]
    assert chosen == ["go", "json_dumps", "json_loads"]
    with pytest.raises(SelectionError, match="--benchmarks 'nope' selects nothing") as caught:
        suite.select(("go", "nope"))
    assert "richards" in caught.value.advice


def test_a_matrix_without_benchmarks_is_told_what_to_add() -> None:
    own = matrix.load(Path(__file__).parents[2] / "matrix.yaml")
    assert measuring._pin(own, "pyperf").startswith("pyperf==")
    without = own.model_copy(update={"benchmarks": ()})
    with pytest.raises(ConfigurationError, match="pins no pyperf under 'benchmarks'"):
        measuring._pin(without, "pyperf")


# --- the file -----------------------------------------------------------------------------------


def test_a_report_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    written = report(FASTER, SAME, BROKEN)
    path = tmp_path / "deep" / "bench.json"
    reports.write(written, path)
    assert reports.read(path) == written
    assert [file.name for file in path.parent.iterdir()] == ["bench.json"]
    data = json.loads(path.read_text())
    assert data["schema_version"] == 1
    assert data["benchmarks"][0]["values"]["shared"][0] == pytest.approx([0.060, 0.090])
    assert data["estimates"]["richards"]["ratio"] == pytest.approx(1.2)
    assert data["geometric_mean"]["ratio"] == pytest.approx(math.sqrt(1.2))
    assert data["benchmarks"][2]["failure"]["side"] == "static"
    assert "go" not in data["estimates"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not a report of a benchmark"),
        ('{"schema_version": 2}', "schema_version: Input should be 1"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_report_is_refused(
    text: str | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        reports.read(path)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    output.require_writable(None, tmp_path / "new" / "folder" / "bench.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    # /proc says to root that it may be written to.
    for path in (Path("/proc/bench.json"), tmp_path, tmp_path / "file" / "bench.json"):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            output.require_writable(path)


# --- the table ----------------------------------------------------------------------------------


def shown(what: Report) -> str:
    console = Console(file=io.StringIO(), width=80)
    table.render(what, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_both_times_the_ratio_and_what_it_is_of() -> None:
    text = shown(report(FASTER, SAME))
    assert "CPython 3.13.5 on x86_64: replicas linked from the same object files" in text
    assert "ab" * 32 in text
    assert "A fine CPU, 2 CPUs, on CPU 1, governor not known, load 0.10 before" in text
    row = next(line for line in text.splitlines() if "richards" in line)
    for part in ("65.8 ms", "54.8 ms", "1.200", "1.200 to 1.200", "20%"):
        assert part in row
    assert "geometric mean of 2 benchmarks: 1.095 (95 % interval 1.095 to 1.095)" in text
    assert "t-interval over rounds" in text


def test_a_benchmark_that_failed_is_listed_with_its_last_line_and_not_in_the_mean() -> None:
    result = report(FASTER, BROKEN)
    text = shown(result)
    assert "failed: go (static): ImportError: no module named array" in text
    assert "geometric mean of 1 benchmarks: 1.200" in text
    assert any("go" in line and "failed" in line and "│" in line for line in text.splitlines())


def test_where_all_failed_there_is_no_mean() -> None:
    assert "no geometric mean" in shown(report(BROKEN))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.50 s"), (0.0509, "50.9 ms"), (0.4827, "483 ms"), (1.13e-7, "113 ns")],
)
def test_times_have_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert table.duration(seconds) == text


@pytest.mark.parametrize(
    ("result", "warning"),
    [
        (report(FASTER), "1 of 1 benchmarks are unstable, .*; the worst: richards 20%"),
        (report(SAME, load=1.5), r"the machine was busy before the run \(load 1.5 on 2 CPUs\)"),
        (report(SAME, load_after=2.5), r"busy during the run \(load 2.5 on 2 CPUs at its end\)"),
        (report(SAME, governor="powersave"), "governor is powersave"),
        (report(SAME, pair=Pair.DEBIAN), "this ratio is not of linking alone"),
        (report(SAME, interrupted=True), "interrupted"),
    ],
)
def test_what_makes_the_figures_doubtful_is_said(result: Report, warning: str) -> None:
    """A spread of just 10 % is not more than 10 %, so each of these has one warning."""
    (said,) = result.warnings
    assert re.search(warning, said)


def test_a_quiet_machine_gives_no_warning() -> None:
    assert report(SAME, load_after=1.1, governor="performance").warnings == ()


def test_modules_that_only_one_side_has_built_in_are_named() -> None:
    made = report(SAME)
    other = {**made.contestants, Side.STATIC: contestant(LinkModel.STATIC, "_ctypes")}
    warnings = made.model_copy(update={"contestants": other}).concluded().warnings
    assert warnings == ("built into one of the two only: _ctypes",)


# --- the picture --------------------------------------------------------------------------------


def test_the_picture_shows_benchmarks_mean_and_claim(tmp_path: Path) -> None:
    path = tmp_path / "bench.svg"
    chart.draw(report(FASTER, SAME, BROKEN), path)
    text = path.read_text()
    for part in (
        "richards",
        "nbody",
        "geometric mean 1.095",
        "claimed: 15-25 % faster",
        "CPython 3.13.5, x86_64: static libpython against shared",
        "replicas linked from the same object files (source: replica)",
        "2 benchmarks of pyperformance, 1 failed, 3 rounds, CPU time; A fine CPU; 2026-01-01",
    ):
        assert part in text
    assert ">go<" not in text


def test_the_same_report_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        chart.draw(report(FASTER, SAME), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_the_suffix_chooses_the_format(suffix: str, magic: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"bench{suffix}"
    chart.require(path)
    chart.draw(report(timing("x", [2.0], [1.0])), path)
    assert path.read_bytes().startswith(magic)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"does not end with \.svg, \.png, \.pdf"):
        chart.require(tmp_path / "bench.jpg")


def test_without_matplotlib_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolError, match="needs matplotlib") as caught:
        chart.require(tmp_path / "bench.svg")
    assert "pip install 'pbs-matrix[bench]'" in caught.value.advice


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing to draw"):
        chart.draw(report(BROKEN), tmp_path / "bench.svg")


# --- measuring, with containers that are made up ------------------------------------------------


class Box:
    """Stands for a container: answers as pyperf would, and keeps what it was asked."""

    def __init__(self, log: list[tuple[Side, list[str], dict[str, str]]], side: Side) -> None:
        self.log = log
        self.side = side
        self.answers: dict[str, tuple[int, str, str] | BaseException] = {}

    def exec_run(
        self, command: list[str], *, environment: dict[str, str], **options: object
    ) -> tuple[int, tuple[bytes, bytes]]:
        self.log.append((self.side, command, {**environment, "user": str(options["user"])}))
        script = Path(command[4]).parent.name.removeprefix("bm_")
        if "--calibrate-loops" not in command and script in self.answers:
            answer = self.answers[script]
            if isinstance(answer, BaseException):
                raise answer
            code, said, errors = answer
            return code, (said.encode(), errors.encode())
        run: dict[str, Any] = {"warmups": [[8, 0.5]], "metadata": {"loops": 8}}
        if "--calibrate-loops" not in command:
            count = int(command[command.index("--values") + 1])
            run["values"] = [0.2 if self.side is Side.SHARED else 0.1] * count
        data = {
            "benchmarks": [{"runs": [run]}],
            "metadata": {"name": script, "unit": "second"},
            "version": "1.0",
        }
        return 0, (f"noise\n{json.dumps(data)}\n".encode(), b"")


class Course:
    """Two such containers and the records of some benchmarks."""

    def __init__(self, *names: str) -> None:
        self.log: list[tuple[Side, list[str], dict[str, str]]] = []
        self.boxes = {side: Box(self.log, side) for side in Side}
        self.records = [
            measuring._Record(benchmark=Benchmark(name=name, script=f"bm_{name}")) for name in names
        ]
        self.said: list[str] = []

    def run(self, effort: Effort) -> list[Timing]:
        measuring._measure(self.records, self.boxes, effort, self.said.append)
        return [record.timing() for record in self.records]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_both_sides_do_the_same_loops_with_the_same_seed_in_turn() -> None:
    course = Course("go", "chaos")
    timings = course.run(Effort(rounds=2, values=3))
    calibrating = course.log[:4]
    assert [side for side, _, _ in calibrating] == [*Side, *Side]
    # Only the first is asked to find the number of loops; the second does as many.
    assert ["--calibrate-loops" in command for _, command, _ in calibrating] == [True, False] * 2
    runs = course.log[4:]
    assert len(runs) == 2 * 2 * 2
    assert {option(command, "--loops") for _, command, _ in runs} == {"8"}
    assert {option(command, "--values") for _, command, _ in runs} == {"3"}
    assert {environment["user"] for *_, environment in runs} == {"65534:65534"}
    sides = [side for side, _, _ in runs]
    shared, static = Side.SHARED, Side.STATIC
    assert sides == [shared, static, static, shared, static, shared, shared, static]
    seeds = [environment["PYTHONHASHSEED"] for *_, environment in runs]
    assert seeds == ["1"] * 4 + ["2"] * 4
    assert [t.estimate.ratio for t in timings if t.estimate] == pytest.approx([2.0, 2.0])
    assert timings[0].values[Side.SHARED] == ((0.2,) * 3,) * 2


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((1, "", "Traceback\n  line\nValueError: bad\n"), "ValueError: bad"),
        ((3, "", ""), "ended with 3 and said nothing"),
        ((137, "", ""), r"killed: it did not end within 120 s, or took more than 1GiB"),
        ((0, "no json", ""), "pyperf's result cannot be read"),
        ((0, "", ""), "pyperf's result cannot be read"),
    ],
)
def test_a_benchmark_that_fails_is_recorded_and_not_run_again(
    answer: tuple[int, str, str], problem: str
) -> None:
    """The others go on."""
    course = Course("go", "chaos")
    course.boxes[Side.STATIC].answers["go"] = answer
    broken, whole = course.run(Effort(rounds=2))
    assert broken.failure is not None
    assert broken.failure.side is Side.STATIC
    assert broken.failure.problem.startswith(problem)
    assert broken.estimate is None
    assert whole.failure is None
    assert len(whole.rounds) == 2
    assert sum("bm_go" in command[4] for _, command, _ in course.log) == 2
    assert course.said[0].startswith(f"go failed (static): {problem}")


def test_another_benchmark_than_the_one_asked_for_is_a_failure() -> None:
    course = Course("go")
    course.records[0].benchmark = Benchmark(name="chess", script="bm_go")
    (broken,) = course.run(Effort(rounds=2))
    assert broken.failure == Failure(side=Side.SHARED, problem="pyperf measured go instead")


def test_an_interrupt_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course("go", "chaos")
    original = course.boxes[Side.STATIC].exec_run
    asked = []

    def exec_run(command: list[str], **options: Any) -> tuple[int, tuple[bytes, bytes]]:
        asked.append(command)
        # Two calibrations, one round of two benchmarks, and half of the second round.
        if len(asked) == 6:
            raise KeyboardInterrupt
        return original(command, **options)

    monkeypatch.setattr(course.boxes[Side.STATIC], "exec_run", exec_run)
    with pytest.raises(KeyboardInterrupt):
        course.run(Effort(rounds=3))
    timings = [record.timing() for record in course.records]
    assert [len(t.rounds) for t in timings] == [2, 1]
    mean = reports.geometric_mean(timings)
    assert mean is not None
    assert mean.rounds == 1


def test_pyperf_reads_what_is_written_for_it(tmp_path: Path) -> None:
    """Its own mean of what both sides said is that of the values."""
    import pyperf

    course = Course("go", "chaos")
    timings = course.run(Effort(rounds=2, values=3))
    done = measuring.Race(
        report=report(*timings),
        outputs={
            side: {record.benchmark.name: record.outputs[side] for record in course.records}
            for side in Side
        },
    )
    measuring.write_pyperf(done, tmp_path / "new")
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "new" / "shared.json"))
    assert suite.get_benchmark_names() == ["go", "chaos"]
    assert suite.get_benchmark("go").get_nrun() == 2
    assert suite.get_benchmark("go").mean() == pytest.approx(0.2)


class Engine:
    def __init__(self, machine: str) -> None:
        self.machine = machine

    def version(self) -> dict[str, str]:
        return {"Arch": self.machine}


def test_only_the_engines_own_platform_is_measured() -> None:
    arm: Any = Engine("arm64")
    assert contestants.require_native(None, arm) is Platform.AARCH64
    assert contestants.require_native(Platform.AARCH64, arm) is Platform.AARCH64
    with pytest.raises(SelectionError, match="under emulation this would measure the emulator"):
        contestants.require_native(Platform.X86_64, arm)
    odd: Any = Engine("riscv64")
    with pytest.raises(SelectionError, match="runs on riscv64"):
        contestants.require_native(None, odd)


# --- the command --------------------------------------------------------------------------------


def pbs_matrix(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["bench", *arguments])


def test_an_earlier_result_is_shown_and_drawn_again(tmp_path: Path) -> None:
    reports.write(report(FASTER, SAME), tmp_path / "bench.json")
    done = pbs_matrix(f"--from={tmp_path}/bench.json", f"--chart={tmp_path}/bench.svg")
    assert done.exit_code == 0, done.output
    assert "geometric mean of 2 benchmarks: 1.095" in done.output
    assert "richards" in (tmp_path / "bench.svg").read_text()


def test_a_failed_benchmark_makes_the_command_fail(tmp_path: Path) -> None:
    reports.write(report(FASTER, BROKEN), tmp_path / "bench.json")
    done = pbs_matrix(f"--from={tmp_path}/bench.json")
    assert done.exit_code == 1
    assert "failed: go" in done.output


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--static-release=20250529"], "name published releases", ExitCode.CONFIGURATION),
        (["--source=upstream", "--pair=debian"], "between replicas", ExitCode.CONFIGURATION),
        (["--chart=reports.jpg"], "does not end with .svg", ExitCode.CONFIGURATION),
        (["--output=/proc/bench.json"], "cannot be written", ExitCode.CONFIGURATION),
        (["--benchmarks=nope"], "selects nothing", ExitCode.SELECTION),
        (["--rounds=1"], "1 is not in the range 2<=x<=31", 2),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], said: str, code: int) -> None:
    done = pbs_matrix(*arguments)
    assert done.exit_code == code
    assert said in done.output
    assert "Traceback" not in done.output


def test_rounds_stay_where_there_are_quantiles_for_them() -> None:
    assert reports.MOST_ROUNDS == 31
    Estimate.of([0.01 * number for number in range(reports.MOST_ROUNDS)])


@pytest.mark.parametrize("module", ["bench.suite", "bench.report", "bench.chart", "bench.table"])
def test_words_figures_and_pictures_need_no_engine(module: str) -> None:
    """harness/locking.py takes the requirements from there; nor is matplotlib loaded unasked."""
    forbidden = ("docker", "requests", "pytest", "click", "pyperf", "matplotlib")
    program = f"import sys, harness.{module}; print([n for n in {forbidden!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("seconds", [0, -0.1])
def test_a_report_in_which_something_took_no_time_is_refused(
    seconds: float, tmp_path: Path
) -> None:
    """Its logarithm would end the program."""
    path = tmp_path / "bench.json"
    reports.write(report(FASTER), path)
    data = json.loads(path.read_text())
    data["benchmarks"][0]["values"]["shared"][0][0] = seconds
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match="greater than 0"):
        reports.read(path)
