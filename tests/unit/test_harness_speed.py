"""The benchmark of the harness: its arithmetic, its table, its history, its account of the time."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from docker.errors import APIError
from requests import Response
from rich.console import Console

from benchmarks import harness_speed
from benchmarks.speed import account, chart, history, project, spans, table, usage
from benchmarks.speed.figures import (
    Round,
    Row,
    Scope,
    Setting,
    State,
    Taken,
    What,
    aims,
    rows,
)
from benchmarks.speed.history import Line
from benchmarks.speed.machine import Machine, cpu_model
from benchmarks.speed.reference import FAST, PROJECT, Reference
from benchmarks.speed.spans import Process, Recorder, Span
from harness.errors import BuildError, ConfigurationError, ToolError
from harness.plan import Selection, environments
from harness.platforms import Platform

X86, ARM = "x-uv0.7.5-x86_64", "x-uv0.7.5-aarch64"
SETTING = Setting(cpus=2, cells={X86: Platform.X86_64, ARM: Platform.AARCH64})


def what(state: State, scope: Scope, contestant: str = "") -> What:
    return What(contestant=contestant, state=state, scope=scope)


def measured(
    warm: float, *, naive: float = 10.0, bare: float = 2.0, memory: int | None = 7
) -> Round:
    """A round of one cell for each platform, in which all of it takes about the same."""
    return Round(
        taken={
            what(State.NAIVE, Scope.X86_64): Taken(wall=naive, took={X86: naive}),
            what(State.NAIVE, Scope.AARCH64): Taken(wall=3 * naive),
            what(State.WARM, Scope.BOTH, "abc"): Taken(
                wall=warm, took={X86: bare + 0.25, ARM: bare + 0.5}, memory=memory, engine_memory=9
            ),
        },
        bare={X86: bare, ARM: bare},
    )


def found(rounds: list[Round], state: State, scope: Scope) -> Row:
    (row,) = (r for r in rows(rounds, SETTING) if (r.state, r.scope) == (state, scope))
    return row


def test_the_floor_is_the_sum_of_bare_imports_divided_by_the_cpus() -> None:
    floor = found([measured(4)], State.FLOOR, Scope.BOTH)
    assert floor.wall == (2 + 2) / 2
    assert floor.rate == 2 / 2


def test_both_platforms_naive_loops_are_one_after_the_other() -> None:
    assert found([measured(4)], State.NAIVE, Scope.BOTH).wall == 10 + 30


def test_ratios_are_taken_within_a_round_and_their_median_over_rounds() -> None:
    """Not of the medians: when the machine is slow in one round, it is so for both sides."""
    rounds = [measured(4), measured(40, naive=100, bare=20), measured(6)]
    row = found(rounds, State.WARM, Scope.BOTH)
    assert row.wall == 6
    assert row.floor == 2  # of 2, 2, 3
    assert row.naive == 10  # of 10, 10, 6.67


def test_what_a_cell_takes_above_its_import_is_told_apart_by_platform() -> None:
    row = found([measured(4)], State.WARM, Scope.BOTH)
    assert row.above == {Platform.X86_64: 0.25, Platform.AARCH64: 0.5}


def test_a_commit_that_does_not_say_how_long_cells_took_has_no_figure_above_the_import() -> None:
    one = measured(4)
    warm = what(State.WARM, Scope.BOTH, "abc")
    silent = Round(taken={**one.taken, warm: Taken(wall=4, took={X86: 2.25})}, bare=one.bare)
    assert found([silent], State.WARM, Scope.BOTH).above == {Platform.X86_64: 0.25}
    assert found([one, silent], State.WARM, Scope.BOTH).above == {Platform.X86_64: 0.25}


def test_memory_is_the_most_of_all_rounds() -> None:
    rounds = [measured(4), measured(5, memory=8), measured(5, memory=None)]
    row = found(rounds, State.WARM, Scope.BOTH)
    assert (row.memory, row.engine_memory) == (8, 9)


def test_what_was_not_measured_in_each_round_is_left_out() -> None:
    without = Round(taken={}, bare={X86: 2, ARM: 2})
    assert rows([measured(4), without], SETTING) == []


def test_rows_come_by_scope_and_then_slowest_first() -> None:
    order = [(row.scope, row.state) for row in rows([measured(4)], SETTING)]
    assert order == [
        (Scope.X86_64, State.NAIVE),
        (Scope.X86_64, State.FLOOR),
        (Scope.AARCH64, State.NAIVE),
        (Scope.AARCH64, State.FLOOR),
        (Scope.BOTH, State.NAIVE),
        (Scope.BOTH, State.WARM),
        (Scope.BOTH, State.FLOOR),
    ]


def row(state: State, scope: Scope, **figures: object) -> Row:
    return Row.model_validate(
        {"contestant": "abc", "state": state, "scope": scope, "cells": 2, "wall": 4.0, **figures}
    )


def test_an_aim_is_met_at_its_limit_and_only_told_where_it_was_measured() -> None:
    known = [
        row(State.WARM, Scope.BOTH, floor=1.5),
        row(State.HOT, Scope.BOTH, floor=2.1),
        row(State.COLD, Scope.BOTH, wall=180),
        row(State.WARM, Scope.X86_64, naive=9.9, above={"x86_64": 0.014}),
        row(State.WARM, Scope.AARCH64, naive=10),
    ]
    said = {aim.text: aim.is_met for aim in aims(known, "abc")}
    assert said == {
        "warm, x86_64: times as fast as the naive loop": False,
        "warm, aarch64: times as fast as the naive loop": True,
        "warm: times the floor": True,
        "hot: times the floor": False,
        "cold: seconds, on two CPUs": True,
        "warm, x86_64: seconds above the import": True,
    }
    assert aims(known, "another") == []


def printed(*shown: Row) -> str:
    stream = io.StringIO()
    table.render(shown, Console(file=stream, width=140))
    return stream.getvalue()


def test_the_table_has_a_line_for_each_row_and_a_dash_for_what_is_not_known() -> None:
    text = printed(
        row(State.NAIVE, Scope.X86_64, contestant="", wall=33.6),
        row(State.WARM, Scope.X86_64, naive=12.34, floor=1.234, memory=87_400_000),
    )
    naive, warm = (
        [cell.strip() for cell in line.strip("│\n").split("│")]
        for line in text.splitlines()
        if line.startswith("│")
    )
    assert "x86_64, 2 cells" in text
    assert naive == ["naive", "33.6", "0.1", "-", "-", "-", "-", "-"]
    assert warm == ["warm", "4.0", "0.5", "-", "12.3", "1.23", "87 MB", "-"]


def test_two_commits_are_named_in_the_table_and_one_is_not() -> None:
    assert "abc" not in printed(row(State.WARM, Scope.BOTH))
    both = printed(row(State.WARM, Scope.BOTH), row(State.WARM, Scope.BOTH, contestant="def"))
    assert "warm abc" in both
    assert "warm def" in both


MACHINE = Machine(
    cpu="A CPU", cpus=2, engine="Docker 20.10", emulators={"aarch64": "10.0"}, load=0.1
)


def line(commit: str = "abc", **changes: object) -> Line:
    return Line.model_validate(
        {
            "started": "2026-11-29T02:20:00+00:00",
            "commit": commit,
            "fast": False,
            "rounds": 3,
            "machine": MACHINE,
            "load_after": 0.2,
            "disk": 1000,
            "rows": [
                row(State.WARM, Scope.BOTH, contestant=commit, floor=1.5),
                row(State.HOT, Scope.BOTH, contestant=commit, floor=1.25),
                row(State.HOT, Scope.BOTH, contestant="other", floor=9),
                row(State.HOT, Scope.X86_64, contestant=commit, floor=8, above={"x86_64": 0.1}),
            ],
            **changes,
        }
    )


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    assert history.read(file) == []
    history.append(file, line("one"))
    history.append(file, line("two", disk=None))
    assert history.read(file) == [line("one"), line("two", disk=None)]


@pytest.mark.parametrize("bad", ["{}", "not JSON", '{"schema_version": 2}'])
def test_a_line_of_a_history_that_is_none_is_named(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "history.jsonl"
    history.append(file, line())
    with file.open("a") as stream:
        stream.write(bad + "\n")
    with pytest.raises(ConfigurationError, match=r"history\.jsonl:2: not a run"):
        history.read(file)


def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        history.append(tmp_path / "nowhere" / "history.jsonl", line())


def test_earlier_runs_are_shown_with_this_one_where_they_can_be_compared() -> None:
    """Not of another machine, nor of another part of the matrix; a busy one is the same one."""
    other_cpu = MACHINE.model_copy(update={"cpu": "Another CPU"})
    earlier = [
        line("machine", machine=other_cpu),
        line("part", fast=True),
        line("busy", machine=MACHINE.model_copy(update={"load": 1.9})),
    ]
    assert history.told(earlier, line("now")) == [
        "2026-11-29T02:20 busy: warm 1.50 x the floor, hot 1.25 x the floor",
        "2026-11-29T02:20 now: warm 1.50 x the floor, hot 1.25 x the floor",
    ]
    assert history.told(earlier[:2], line("now")) == []


def test_a_machine_is_busy_with_half_of_its_cpus_taken() -> None:
    assert not MACHINE.model_copy(update={"load": 1.0}).is_busy
    assert MACHINE.model_copy(update={"load": 1.1}).is_busy


def test_a_cpu_is_named_as_the_kernel_does_where_it_does() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\n") == "AMD EPYC"
    assert cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n")


def test_the_reference_matrix_is_large_enough_and_locked() -> None:
    cells = Reference(selection=Selection()).cells
    for platform in Platform:
        of = [cell for cell in cells if cell.environment.interpreter.platform is platform]
        assert len(environments(tuple(of))) >= 6
        assert len({cell.extension for cell in of}) >= 8


def test_the_small_part_has_both_platforms_and_both_verdicts() -> None:
    part = Reference(selection=FAST)
    assert {c.environment.interpreter.platform for c in part.cells} == set(Platform)
    assert len({c.expected.reason for c in part.cells}) == 2
    options = part.options((Platform.AARCH64,))
    assert "--platform=aarch64" in options
    assert "--uv=0.7.9" in options


class Clock:
    """Advances by what it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_within_an_inner_span_is_not_the_outer_ones_own() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    with recorder.span("outer"):
        clock.now += 1
        with recorder.span("inner"):
            clock.now += 2
        with recorder.span("inner"):
            clock.now += 4
        clock.now += 8
    assert [(s.name, s.own) for s in recorder.spans] == [("inner", 2), ("inner", 4), ("outer", 9)]


def test_a_span_in_another_thread_is_no_part_of_the_one_that_waits_for_it() -> None:
    clock = Clock()
    recorder = Recorder(clock)

    def elsewhere() -> None:
        with recorder.span("elsewhere"):
            clock.now += 2

    with recorder.span("waiting"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert {s.name: (s.own, s.main) for s in recorder.spans} == {
        "elsewhere": (2, False),
        "waiting": (2, True),
    }


def test_a_wrapped_function_does_what_it_did_and_is_noted_even_if_it_raises() -> None:
    class Owner:
        def double(self, number: int) -> int:
            return 2 * number

        def fail(self) -> None:
            raise ValueError

    recorder = Recorder()
    recorder.wrap(Owner, "double", lambda owner, number: f"double {number}")
    recorder.wrap(Owner, "fail", "fail")
    assert Owner().double(4) == 8
    with pytest.raises(ValueError):  # noqa: PT011 - it is the bare one from above
        Owner().fail()
    assert [span.name for span in recorder.spans] == ["double 4", "fail"]


def test_a_class_method_that_is_wrapped_still_is_one() -> None:
    class Owner:
        @classmethod
        def made(cls, number: int) -> tuple[type[Owner], int]:
            return cls, number

    recorder = Recorder()
    recorder.wrap(Owner, "made", "made")
    assert Owner.made(4) == (Owner, 4)
    assert Owner().made(4) == (Owner, 4)
    assert [span.name for span in recorder.spans] == ["made", "made"]


PLAIN_TESTS = """\
import pytest

@pytest.mark.parametrize("number", range(4), ids=lambda number: f"cell-{number}")
def test_plain(number):
    pass
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_each_process_that_runs_tests_notes_them(tmp_path: Path, workers: int) -> None:
    """Also where there is nothing of the harness in the run."""
    (tmp_path / "test_plain.py").write_text(PLAIN_TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "seen").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.speed.spans"]
    subprocess.run(
        [*command, *(["-n", str(workers)] if workers else [])],
        check=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            spans.VARIABLE: str(tmp_path / "seen"),
        },
        capture_output=True,
    )
    seen = spans.load(tmp_path / "seen")
    assert {p.worker for p in seen} == {"", *(f"gw{number}" for number in range(workers))}
    tests = [s for p in seen for s in p.spans if s.name == spans.TEST]
    assert sorted(s.cell for s in tests) == [f"cell-{number}" for number in range(4)]
    loaded = [s for p in seen for s in p.spans if s.name == spans.LOADING]
    assert len(loaded) == workers + 1, "once in each process"
    assert not [p.lacking for p in seen if p.lacking]


def test_everything_that_is_watched_is_there() -> None:
    """A function that is renamed would otherwise fall silently under "pytest around a cell"."""
    from functools import reduce
    from importlib import import_module

    for place in spans.WRAPPED:
        module, _, path = place.partition(":")
        assert callable(reduce(getattr, path.split("."), import_module(module))), place


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        (
            "POST",
            "/v1.41/containers/create?name=pbs&platform=linux/arm64",
            "POST /containers/create",
        ),
        ("POST", "/v1.41/containers/0a1b/exec", "POST /containers/*/exec"),
        ("POST", "/v1.41/exec/0a1b/start", "POST /exec/*/start"),
        ("GET", "/v1.41/containers/pbs-matrix-1/json", "GET /containers/*/json"),
        ("GET", "/v1.41/containers/json?all=1", "GET /containers/json"),
        ("DELETE", "/v1.41/containers/0a1b?force=1", "DELETE /containers/*"),
        ("GET", "/v1.41/images/pbs-matrix/base:12/json", "GET /images/*/json"),
        ("DELETE", "/v1.41/images/sha256:12", "DELETE /images/*"),
        ("GET", "/v1.41/images/json", "GET /images/json"),
        ("GET", "/version", "GET /version"),
    ],
)
def test_calls_of_the_engine_are_named_without_what_is_different_each_time(
    method: str, path: str, name: str
) -> None:
    assert spans.api_call(method, path) == name


def span(name: str, start: float, end: float, own: float | None = None, cell: str = "") -> Span:
    own = end - start if own is None else own
    return Span(name=name, start=start, end=end, own=own, main=True, cell=cell)


NIGHT = [
    Process(
        worker="",
        spans=(
            span("GET /version", 102, 102.5),
            span("images.Images.base", 102.5, 104),
            span(account.PREPARE, 102, 106, 2),
        ),
        lacking=("harness.gone:away",),
    ),
    Process(
        worker="gw0",
        spans=(
            span("POST /exec/*/start", 106, 107, cell=ARM.replace("x-uv", "x-aarch64-uv")),
            span(account.PROBE, 106, 110, 3, cell="x-aarch64-y"),
            span("test", 106, 111, 1, cell="x-aarch64-y"),
        ),
        lacking=(),
    ),
    Process(
        worker="gw1",
        spans=(
            span("foreseen.foresee", 107, 108, cell="x-x86_64-y"),
            span("test", 107, 109, 1, cell="x-x86_64-y"),
        ),
        lacking=(),
    ),
]


def test_the_shares_of_a_run_are_its_wall_time() -> None:
    made = account.account(NIGHT, 100, 13, {"x-aarch64-y": 2.0})
    shares = {share.name: share.seconds for share in made.shares}
    assert shares == {
        account.START: 2,
        account.PREPARING: 4,
        "the import itself, aarch64": 1.0,
        "in the container beyond that, aarch64": 0.5,
        "other engine calls": 0.5,
        "the loader's rules": 0.5,
        account.AROUND: 1.0,
        account.WAITING: 5 - (5 + 2) / 2,
        account.END: 2,
    }
    assert sum(shares.values()) == 13
    assert (made.workers, made.cells) == (2, 2)


def test_engine_calls_are_counted_wherever_they_are_made() -> None:
    made = account.account(NIGHT, 100, 13, {})
    assert [(c.name, c.count, c.seconds) for c in made.calls] == [
        ("POST /exec/*/start", 1, 1.0),
        ("GET /version", 1, 0.5),
    ]
    assert made.calls_per_cell == 1.0
    assert [share.name for share in made.preparing] == ["images.Images.base", "GET /version"]


def test_a_run_of_which_nothing_was_seen_is_all_start() -> None:
    made = account.account([], 100, 5, {})
    assert [s.name for s in made.shares if s.seconds] == [account.START]


def test_bars_are_as_long_as_their_shares_and_what_cannot_be_seen_is_left_out() -> None:
    shares = [
        account.Share(name=name, seconds=s) for name, s in (("a", 8), ("bc", 4), ("d", 0.001))
    ]
    lines = chart.lines(shares, 12.0)
    assert [line.count("█") for line in lines] == [chart.WIDTH, chart.WIDTH // 2]
    assert "66.7%" in lines[0]


def test_the_account_is_printed_with_what_was_not_watched() -> None:
    stream = io.StringIO()
    made = account.account(NIGHT, 100, 13, {})
    chart.render(made, "warm", Console(file=stream, width=100))
    text = stream.getvalue()
    assert "where the 13.0 s of a warm run of 2 cells went" in text
    assert "not watched, since it is not there: harness.gone:away" in text


def test_the_account_is_drawn_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = account.account(NIGHT, 100, 13, {})
    for name in ("a.svg", "b.svg"):
        chart.draw(made, "warm", tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    assert account.PREPARING.encode() in first


def test_a_process_is_read_as_it_was_written(tmp_path: Path) -> None:
    for number, process in enumerate(NIGHT):
        (tmp_path / f"{number}.json").write_text(process.model_dump_json())
    assert spans.load(tmp_path) == NIGHT


def _process(folder: Path, name: str, peak: str) -> None:
    folder.mkdir()
    (folder / "comm").write_text(f"{name}\n")
    (folder / "status").write_text(f"Name:\t{name}\nVmHWM:\t{peak}\n")


def test_the_engines_memory_is_that_of_its_daemons_since_the_measurement_began(
    tmp_path: Path,
) -> None:
    _process(tmp_path / "1", "dockerd", "  2000 kB")
    _process(tmp_path / "2", "containerd", "1000 kB")
    _process(tmp_path / "3", "bash", "9000 kB")
    memory = usage.EngineMemory(tmp_path)
    assert (tmp_path / "1" / "clear_refs").read_text() == "5"
    assert not (tmp_path / "3" / "clear_refs").exists()
    assert memory.peak() == 3000 * 1024


def test_an_engine_that_is_not_seen_from_here_has_no_memory_rather_than_none_at_all(
    tmp_path: Path,
) -> None:
    assert usage.EngineMemory(tmp_path).peak() is None


class FakeImages:
    """An engine's images, of which some cannot be removed."""

    def __init__(self, labelled: dict[str, list[SimpleNamespace]], used: str = "") -> None:
        self._labelled = labelled
        self._used = used
        self.removed: list[str] = []

    def list(
        self, filters: dict[str, str] | None = None, name: str | None = None
    ) -> list[SimpleNamespace]:
        key = filters["label"].partition("=")[2] if filters else str(name)
        return self._labelled.get(key, [])

    def remove(self, name: str, force: bool) -> None:
        if name == self._used:
            response = Response()
            response.status_code = 409
            raise APIError("conflict", response, explanation="a container uses it")
        self.removed.append(name)


def _engine(**images: object) -> SimpleNamespace:
    labelled = {
        "environment": [SimpleNamespace(id="env", labels={}, tags=[])],
        "base": [
            SimpleNamespace(id="base", labels={"pbs-matrix.base": "debian13"}, tags=[]),
            SimpleNamespace(id="builders", labels={"pbs-matrix.base": "builder"}, tags=[]),
        ],
        "builder": [SimpleNamespace(id="builder", labels={}, tags=[])],
        "pbs-matrix/pulled": [
            SimpleNamespace(id="debian", labels={}, tags=["pbs-matrix/pulled:1", "debian:trixie"])
        ],
    }
    return SimpleNamespace(images=FakeImages(labelled, **images))  # type: ignore[arg-type]


def test_before_a_cold_run_all_images_go_but_the_builders_and_other_peoples_names() -> None:
    client = _engine()
    assert usage.forget(client) == 3
    assert client.images.removed == ["env", "base", "pbs-matrix/pulled:1"]


def test_an_image_in_use_ends_the_benchmark_before_a_cold_run() -> None:
    with pytest.raises(BuildError, match="a container uses it"):
        usage.forget(_engine(used="env"))


def test_a_layer_that_images_share_is_counted_once() -> None:
    def layer(name: str, size: int) -> dict[str, object]:
        return {"Id": name, "Created": 1, "CreatedBy": f"COPY {name}", "Size": size}

    histories = {
        "a": [layer("top of a", 10), layer("base", 100)],
        "b": [layer("top of b", 20), layer("base", 100)],
    }
    client = SimpleNamespace(api=SimpleNamespace(history=histories.__getitem__))
    assert usage.disk(client, ["a", "b", "a"]) == 130


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cache"
    for kind in ("wheels", "replicas"):
        (root / kind / "entry").mkdir(parents=True)
        (root / kind / "entry" / "file").write_text(kind)
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(root))
    return root


def test_a_cold_cache_has_what_was_downloaded_and_nothing_that_was_made(user_cache: Path) -> None:
    with project.cold_cache() as folder:
        assert (folder / "wheels" / "entry" / "file").read_text() == "wheels"
        assert not (folder / "replicas").exists()
    assert not folder.exists()
    assert (user_cache / "wheels" / "entry" / "file").exists()


def test_a_run_is_given_nothing_that_would_change_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    monkeypatch.setenv("DOCKER_HOST", "unix:///x")
    inherited = project._inherited()
    assert "DOCKER_HOST" in inherited
    assert not [name for name in inherited if name.startswith(("PYTHON", "PYTEST"))]


def test_a_commit_that_git_does_not_know_is_told() -> None:
    with (
        pytest.raises(ConfigurationError, match="--against no-such-commit"),
        project.other("no-such-commit"),
    ):
        pass


def test_a_commit_is_not_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their figures would go under one name."""
    head = project._git("describe", "--always", "HEAD").strip()
    same = project.Checkout(name=head, folder=PROJECT, python=Path(sys.executable))
    monkeypatch.setattr(project, "this", lambda: same)
    with pytest.raises(ConfigurationError, match="this very commit"), project.other("HEAD"):
        pass


def test_two_that_do_not_agree_whether_a_cell_imports_are_not_compared() -> None:
    bench = harness_speed.Bench(
        client=None,
        reference=Reference(selection=FAST),
        states=(),
        contestants=(),
        kits={},
        floor=None,
        say=lambda line: None,
    )
    bench._compare("the naive loop", {"a": True, "b": False})
    bench._compare("this", {"a": True, "c": True})
    with pytest.raises(ToolError, match="whether b imports"):
        bench._compare("that", {"b": True})


def test_the_command_says_what_it_does_without_an_engine() -> None:
    said = CliRunner().invoke(harness_speed.main, ["--help"]).output
    for option in ("--fast", "--rounds", "--against", "--profile", "--only"):
        assert option in said
