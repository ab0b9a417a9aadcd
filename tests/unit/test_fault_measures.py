"""What the faults of the host are measured with: trends, stages, and what runs leave."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import lock, matrix
from tests.faults import soak, traces, trend
from tests.faults.ownmatrix import OwnMatrix
from tests.faults.stages import Stage, stage_of

NOISE = random.Random(0)


class TestTrend:
    """A series grows where it does so all the way, and by more than is allowed."""

    def test_noise_does_not_grow(self) -> None:
        values = [100 + NOISE.uniform(-5, 5) for _ in range(300)]
        assert not trend.of(values, absolute=3).grows

    def test_a_leak_in_noise_grows(self) -> None:
        values = [100 + 0.05 * n + NOISE.uniform(-5, 5) for n in range(300)]
        found = trend.of(values, absolute=3)
        assert found.grows
        assert found.slope == pytest.approx(0.05, abs=0.01)

    def test_what_each_round_leaves_grows_in_few_rounds(self) -> None:
        assert trend.of([7.0 + n for n in range(10)], absolute=2).grows

    def test_what_fills_at_the_beginning_does_not_grow(self) -> None:
        assert not trend.of([10.0, 40.0, 80.0, *[100.0] * 97], absolute=3).grows

    def test_a_peak_does_not_grow(self) -> None:
        assert not trend.of([100.0] * 50 + [900.0] * 5 + [100.0] * 50, absolute=3).grows

    def test_what_shrinks_does_not_grow(self) -> None:
        assert not trend.of([float(100 - n) for n in range(100)], absolute=3).grows

    def test_a_part_of_its_beginning_is_allowed(self) -> None:
        values = [100 + 0.1 * n for n in range(100)]
        assert trend.of(values, absolute=1, relative=0.05).grows
        assert not trend.of(values, absolute=1, relative=0.2).grows

    def test_of_too_few_nothing_is_said(self) -> None:
        assert not trend.of([1.0, 100.0, 1000.0], absolute=1).grows
        assert not trend.of([], absolute=1).grows

    def test_the_slope_of_many_is_that_of_some_of_them(self) -> None:
        assert trend.slope([float(n) for n in range(5000)]) == 1.0
        assert trend.slope([3.0]) == 0.0


PREPARING = "pbs-matrix: preparing 4 cells …\n"
IMAGES = (
    "pbs-matrix: [1/2] image uv0.7.6-x86_64: ready in 0.0 s\n",
    "pbs-matrix: [2/2] image uv0.7.6-aarch64: ready in 3.1 s\n",
)


@pytest.mark.parametrize(
    ("said", "stage"),
    [
        ("", Stage.STARTING),
        ("bringing up nodes...\n", Stage.STARTING),
        (PREPARING[:20], Stage.STARTING),
        (PREPARING, Stage.PREPARING),
        (PREPARING + IMAGES[0], Stage.PREPARING),
        (PREPARING + "".join(IMAGES), Stage.CONTAINERS),
        (PREPARING + "".join(IMAGES) + ".", Stage.CELLS),
        (PREPARING + "".join(IMAGES) + ".x.s     [100%]\n", Stage.CELLS),
        (PREPARING + "".join(IMAGES) + "..  [100%]\n==== pbs-matrix ====\n", Stage.ENDING),
    ],
)
def test_the_stage_is_told_by_what_was_said(said: str, stage: Stage) -> None:
    assert stage_of(said) is stage


def test_a_process_is_known_by_its_mark_whatever_it_does() -> None:
    marked = traces.new_mark()
    script = "import os, sys; os.setsid(); print('x', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **marked},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(traces.processes(marked[traces.MARK])) == [process.pid]
        assert process.pid in traces.children(os.getpid())
        assert traces.start_time(process.pid).isdigit()
        process.communicate()
    assert traces.processes(marked[traces.MARK]) == {}
    assert traces.start_time(process.pid) == ""


def test_the_own_matrix_differs_by_a_package_of_the_base(tmp_path: Path) -> None:
    own = OwnMatrix.make(tmp_path / "own")
    file = own.folder / "matrix.yaml"
    bases = matrix.load(file).bases
    assert bases["debian13"].packages == (own.package,)
    assert OwnMatrix.make(tmp_path / "another").package != own.package
    assert bases["debian13-libpython"].packages == ("libpython3.13",)
    assert lock.load(lock.path_for(file)).uv
    assert (own.folder / "cases" / "extensions" / "no-libpython").is_dir()


def test_a_soak_says_what_grows_and_draws_it(tmp_path: Path) -> None:
    series = soak.Series()
    for number in range(40):
        series.add({"lodger files": 10 + number, "controller": 90e6, "containers": 0})
    trends = series.trends()
    assert [name for name, its in trends.items() if its.grows] == ["lodger files"]
    assert {"controller", "containers"} <= trends.keys()
    assert "dockerd" not in trends
    soak.draw(series, "a title", tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text()
    assert "process that stays: open files" in drawn
    assert soak.table(series).row_count == len(trends)


def test_a_verdict_that_differs_from_the_first_is_noted() -> None:
    done = soak.Soak(series=soak.Series(), minutes=1)
    done.compare("round 2", {"a": "imports"}, {"a": "imports"})
    assert done.problems == []
    done.compare("round 3", {"a": "imports"}, {"a": "crash"})
    done.compare("round 4", {"a": "imports"}, {})
    assert len(done.problems) == 2
