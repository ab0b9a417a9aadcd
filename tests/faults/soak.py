"""Runs the small matrix again and again: ``python -m tests.faults.soak [--minutes 30]``.

After each round everything is measured that could grow, and the verdicts are compared with those
of the first. Between the runs, a process that stays makes containers too. Ends with 1 where a
verdict differs, a run fails, or something grows.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from rich.console import Console
from rich.table import Table

from harness import engine, output, storage
from harness.bench import chart
from tests.faults import lodger, traces, trend
from tests.faults.room import Room
from tests.faults.running import Running
from tests.faults.trend import Trend

MB = 1_000_000

DAEMONS = ("dockerd", "containerd")
"""Names of the engine's processes that are measured, where they can be seen."""

FEWEST = 3 * trend.FEWEST
"""Rounds of which something can be said: one of three is with workers."""

WAYS = (("-n", "0"), ("-n", "0"), ("-n", "2"))
"""Of running, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Something that must not grow."""

    title: str
    unit: str = ""
    scale: float = 1.0
    """By which a value is divided to be shown."""
    absolute: float
    """How much more it may be at the end, as it is shown."""
    relative: float = 0.0
    """The same, as a part of what it was at the beginning."""


MEASURES: Mapping[str, Measure] = {
    "controller": Measure(
        title="controller: peak memory", unit="MB", scale=MB, absolute=5, relative=0.05
    ),
    "workers": Measure(
        title="controller with workers: peak memory", unit="MB", scale=MB, absolute=5, relative=0.05
    ),
    "lodger": Measure(
        title="process that stays: memory", unit="MB", scale=MB, absolute=3, relative=0.03
    ),
    "lodger files": Measure(title="process that stays: open files", absolute=2),
    "lodger threads": Measure(title="process that stays: threads", absolute=1),
    # A collector decides when it gives memory back.
    "dockerd": Measure(title="dockerd: memory", unit="MB", scale=MB, absolute=20, relative=0.15),
    "dockerd files": Measure(title="dockerd: open files", absolute=5),
    "containerd": Measure(
        title="containerd: memory", unit="MB", scale=MB, absolute=10, relative=0.15
    ),
    "containerd files": Measure(title="containerd: open files", absolute=5),
    "containers": Measure(title="containers", absolute=0.5),
    "images": Measure(title="images, with steps of builds", absolute=0.5),
    "networks": Measure(title="networks", absolute=0.5),
    "volumes": Measure(title="volumes", absolute=0.5),
    "layers": Measure(title="the engine's images on the disk", unit="MB", scale=MB, absolute=5),
    "build cache": Measure(title="build cache on the disk", unit="MB", scale=MB, absolute=5),
    "cache": Measure(title="this project's cache on the disk", unit="MB", scale=MB, absolute=1),
    "temporary": Measure(title="temporary files", absolute=0.5),
}


@dataclass(kw_only=True)
class Series:
    """What was measured, by the name of what it is of; a value may be missing in a round."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})

    def add(self, measured: Mapping[str, float]) -> None:
        """Take a round's values, as they are."""
        for name, value in measured.items():
            self.values[name].append(value / MEASURES[name].scale)

    def trends(self) -> dict[str, Trend]:
        """The trend of each thing that was measured at all."""
        return {
            name: trend.of(
                values, absolute=MEASURES[name].absolute, relative=MEASURES[name].relative
            )
            for name, values in self.values.items()
            if any(values) or name in ("containers", "temporary")
        }


def daemons() -> dict[str, int]:
    """Pids of the engine's processes by name, as far as they are of this machine."""
    found: dict[str, int] = {}
    for place in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            name = (place / "comm").read_text().strip()
        except OSError:
            continue
        if name in DAEMONS:
            found.setdefault(name, int(place.name))
    return found


def of_engine(client: docker.DockerClient) -> dict[str, float]:
    """What an engine has."""
    api = client.api
    used = api.df()
    found: dict[str, float] = {
        "containers": len(api.containers(all=True)),
        "images": len(api.images(all=True)),
        "networks": len(api.networks()),
        "volumes": len(api.volumes()["Volumes"] or []),
        "layers": float(used.get("LayersSize") or 0),
        "build cache": float(sum(each["Size"] for each in used.get("BuildCache") or [])),
    }
    for name, pid in daemons().items():
        found[name] = lodger.memory(pid)
        found[f"{name} files"] = lodger.descriptors(pid)
    return found


class Lodger:
    """The process that stays."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.lodger"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=lodger.PROJECT,
            env=dict(environment),
        )

    def round(self) -> dict[str, Any]:
        """Have it do a round; what it says. Raises :class:`RuntimeError` where it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that stays has ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it, by ending its input."""
        self._process.communicate()


class Peak:
    """The most memory that a run's first process has had, looked at until it ends."""

    def __init__(self, running: Running) -> None:
        self.bytes = 0
        self._running = running
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def wait(self) -> int:
        """The bytes, after the end of the run."""
        self._thread.join()
        return self.bytes

    def _look(self) -> None:
        while not self._running.is_over:
            self.bytes = max(self.bytes, lodger.peak(self._running.process.pid))
            time.sleep(0.02)


@dataclass(kw_only=True)
class Soak:
    """What came of all rounds."""

    series: Series
    minutes: float
    rounds: int = 0
    problems: list[str] = field(default_factory=list)
    """Runs that failed, and verdicts that differed from the first round's."""

    def compare(self, what: str, first: dict[str, str], outcomes: dict[str, str]) -> None:
        """Note verdicts that differ from the first round's."""
        if outcomes != first:
            self.problems.append(f"{what}: {outcomes} instead of {first}")


def soak(minutes: float, client: docker.DockerClient, say: Callable[[str], None]) -> Soak:
    """Run for so many minutes."""
    done = Soak(series=Series(), minutes=minutes)
    first: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        temporary = folder / "tmp"
        temporary.mkdir()
        environment = {"TMPDIR": str(temporary)}
        room = Room(folder, client)
        staying = Lodger({**os.environ, **environment})
        end = time.monotonic() + minutes * 60
        try:
            while time.monotonic() < end:
                way = WAYS[done.rounds % len(WAYS)]
                running = Running(room, *way, environment=environment)
                peak = Peak(running)
                ran = running.finish()
                done.rounds += 1
                first = first or ran.outcomes
                if ran.code:
                    done.problems.append(f"round {done.rounds}: ended with {ran.code}: {ran.said}")
                done.compare(f"round {done.rounds}", first, ran.outcomes)
                stayed = staying.round()
                done.compare(f"round {done.rounds}, in a process", first, stayed["outcomes"])
                done.series.add(
                    {
                        "workers" if "2" in way else "controller": peak.wait(),
                        "lodger": stayed["memory"],
                        "lodger files": stayed["descriptors"],
                        "lodger threads": stayed["threads"],
                        "cache": storage.look().size,
                        "temporary": len(traces.made_in(temporary)),
                        **_settled(client),
                    }
                )
                if done.rounds % 10 == 1:
                    say(f"round {done.rounds}: {len(ran.outcomes)} cells as before")
        finally:
            staying.close()
    if done.rounds < FEWEST:
        done.problems.append(f"there were {done.rounds} rounds, of which nothing can be said")
    return done


def _settled(client: docker.DockerClient) -> dict[str, float]:
    """What an engine has, when it has removed the containers that have ended."""
    end = time.monotonic() + 10
    while True:
        found = of_engine(client)
        if not found["containers"] or time.monotonic() > end:
            return found
        time.sleep(0.2)


def table(series: Series) -> Table:
    """What was measured, and whether it grows."""
    rendered = Table("", "first quarter", "last quarter", "growth by slope", "allowed", "")
    for name, its in series.trends().items():
        measure = MEASURES[name]
        unit = f" {measure.unit}" if measure.unit else ""
        rendered.add_row(
            measure.title,
            f"{its.first:.1f}{unit}",
            f"{its.last:.1f}{unit}",
            f"{its.growth:+.2f}{unit}",
            f"{its.allowed:.1f}{unit}",
            "[red]GROWS[/]" if its.grows else "flat",
        )
    return rendered


def draw(series: Series, title: str, path: Path) -> None:
    """A picture with a panel for each thing that was measured, from zero up."""
    from matplotlib.figure import Figure

    trends = series.trends()
    columns = 3
    rows = -(-len(trends) // columns)
    with chart.style():
        figure = Figure(figsize=(10, 1.9 * rows + 0.6), layout="constrained")
        for place, (name, its) in enumerate(trends.items(), 1):
            measure, values = MEASURES[name], series.values[name]
            axes = figure.add_subplot(rows, columns, place)
            rounds = range(1, len(values) + 1)
            axes.plot(rounds, values, ".", markersize=3, color=chart.BLUE)
            color = chart.VERMILION if its.grows else chart.ORANGE
            middle = (its.first + its.last) / 2
            ends = [middle - its.growth / 2, middle + its.growth / 2]
            axes.plot([len(values) - its.count + 1, len(values)], ends, color=color, linewidth=2)
            axes.set_ylim(0, max([1.0, *values]) * 1.15)
            axes.set_title(f"{measure.title}{', ' + measure.unit if measure.unit else ''}")
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=12, fontweight="bold")
        stream = io.BytesIO()
        kind = path.suffix.lower().removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    output.write(path, stream.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, metavar="N")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write a picture: .svg, .png")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args(arguments)
    if given.chart:
        chart.require(given.chart)
    done = soak(
        given.minutes, engine.connect(), lambda line: print(line, file=sys.stderr, flush=True)
    )
    for problem in done.problems:
        print(problem, file=sys.stderr)
    grows = [MEASURES[name].title for name, its in done.series.trends().items() if its.grows]
    rendered = table(done.series)
    last = (
        f"{done.rounds} rounds in {given.minutes:g} min: "
        f"{len(done.problems)} differ from the first or failed; "
        f"{'grows: ' + ', '.join(grows) if grows else 'flat'}"
    )
    Console(width=140).print(rendered)
    print(last)
    if given.output:
        with given.output.open("w", encoding="utf-8") as stream:
            Console(file=stream, width=140).print(rendered)
            stream.write(f"{last}\n")
    if given.chart:
        draw(done.series, last, given.chart)
    return int(bool(grows or done.problems))


if __name__ == "__main__":
    sys.exit(main())
