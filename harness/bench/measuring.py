"""Measuring a shared and a static interpreter against each other, in containers, on one CPU.

pyperf runs every benchmark in a process of its own, calibrates it and warms it up. This module
says which, where, when and how often: both sides do the same number of loops, they take turns, and
whatever else the machine does hits both alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pyperf
from docker.models.containers import Container
from packaging.requirements import Requirement
from packaging.version import Version

from harness import agent, archives, cache, containers, engine, extensions, index, output
from harness import owner as owners
from harness.agent import Agent
from harness.bench import contestants, suite
from harness.bench.contestants import PYTHON, Entrant, Request, Say
from harness.bench.report import Contestant, Failure, Host, Report, Timing
from harness.bench.suite import WARMUPS, Benchmark, Clock, Effort, Side
from harness.confinement import attended
from harness.errors import ConfigurationError, HarnessError, ToolError
from harness.limits import Limits
from harness.matrix import Matrix
from harness.sources import Source

LIMITS = Limits()

LIMIT = 120
"""Seconds that a benchmark's process may take; the longest takes some three."""

SCRIPTS = "/opt/bench"

# The two clocks have the same interface. pyperf and its benchmarks ask for perf_counter by name.
SITECUSTOMIZE = b"""\
# Time is CPU time here: what other processes do on this CPU is none of the benchmark's business.
import time

_info = time.get_clock_info
time.perf_counter = time.process_time
time.get_clock_info = lambda name: _info("process_time" if name == "perf_counter" else name)
"""

# Runs in the interpreter under test, so that it can say itself how it is linked.
FACTS = """\
import json, os, sys, sysconfig

def read(path):
    try:
        with open(path) as stream:
            return stream.read().strip()
    except OSError:
        return ""

lines = read("/proc/cpuinfo").splitlines()
models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
mapped = [line.split()[-1] for line in read("/proc/self/maps").splitlines() if "libpython" in line]
print(json.dumps({
    "version": sys.version,
    "flags": sysconfig.get_config_var("PY_CORE_CFLAGS") or "",
    "builtins": sorted(sys.builtin_module_names),
    "libpython": mapped[0] if mapped else None,
    "cpu": models[0] if models else os.uname().machine,
    "cpus": os.cpu_count(),
    "governor": read("/sys/devices/system/cpu/cpu%s/cpufreq/scaling_governor" % sys.argv[1]),
    "kernel": os.uname().release,
    "load": float(read("/proc/loadavg").split()[0]),
}))
"""


@dataclass(frozen=True, kw_only=True)
class Race:
    """What came of it."""

    report: Report
    outputs: dict[Side, dict[str, list[str]]]
    """What pyperf's processes said, by side and benchmark, by round: pyperf's JSON."""


@dataclass(kw_only=True)
class _Record:
    """What is known of a benchmark so far."""

    benchmark: Benchmark
    loops: int | None = None
    outputs: dict[Side, list[str]] = field(default_factory=lambda: {side: [] for side in Side})
    values: dict[Side, list[tuple[float, ...]]] = field(
        default_factory=lambda: {side: [] for side in Side}
    )
    failure: Failure | None = None

    def timing(self) -> Timing:
        return Timing(
            name=self.benchmark.name,
            loops=self.loops,
            values={side: tuple(values) for side, values in self.values.items()},
            failure=self.failure,
        )


class _Failed(Exception):
    """A benchmark's process gave no result."""


def run(request: Request, client: docker.DockerClient, say: Say) -> Race:
    """Make both interpreters, run the benchmarks, and remove the containers.

    An interrupt (Ctrl-C) while benchmarks run ends them; what was measured until then is the
    report. Raises :class:`harness.errors.HarnessError` where nothing can be measured.
    """
    platform = contestants.require_native(request.platform, client)
    begun = datetime.now(UTC)
    local = engine.is_here(client)
    load = os.getloadavg()[0] if local else None
    if dead := containers.reap_dead(client):
        say(f"removed {dead} containers that a dead run had left")
    uv = max(request.matrix.uv, key=Version)
    uv_wheel = request.lock.uv_wheel(uv, platform)
    pyperf_pin, suite_pin = (_pin(request.matrix, name) for name in ("pyperf", "pyperformance"))
    measuring = request.lock.extension_wheels(pyperf_pin, PYTHON, platform)
    tools = extensions.install([index.fetch(wheel) for wheel in measuring], PYTHON, platform)
    benchmarks = request.lock.extension_wheels(suite_pin, PYTHON, platform)[0]
    scripts = _scripts(index.fetch(benchmarks), benchmarks.sha256)
    entrants, base = contestants.prepare(request, platform, uv, client, say)
    # The last one: interrupts are served by the first, as a rule.
    cpu = str(max(os.sched_getaffinity(0)) if local else int(str(engine.info(client)["NCPU"])) - 1)
    run_name = owners.new_run()
    records = [_Record(benchmark=benchmark) for benchmark in request.benchmarks]
    interrupted = False
    start = time.monotonic()
    try:
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                site = f"opt/venv/lib/python{PYTHON}/site-packages"
                archives.add_tree(tar, tools.tree / "site", site)
                archives.add_tree(tar, scripts, SCRIPTS.removeprefix("/"))
                if request.clock is Clock.CPU:
                    archives.add_bytes(tar, f"{site}/sitecustomize.py", SITECUSTOMIZE)
            agents = {
                side: _start(client, entrant, side, stream, run_name, cpu)
                for side, entrant in entrants.items()
            }
        boxes = {side: its.container for side, its in agents.items()}
        facts = {side: _facts(box, side, cpu) for side, box in boxes.items()}
        try:
            _measure(records, boxes, request.effort, say)
        except KeyboardInterrupt:
            interrupted = True
        report = Report(
            started=begun.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - start, 1),
            source=request.source,
            pair=request.pair if request.source is Source.REPLICA else None,
            python=entrants[Side.STATIC].archive.version,
            platform=platform,
            base=request.base,
            base_digest=base.base_digest,
            uv=uv,
            uv_sha256=uv_wheel.sha256,
            wheels={**tools.wheels, benchmarks.filename: benchmarks.sha256},
            contestants={
                side: _contestant(entrant, facts[side], request.source)
                for side, entrant in entrants.items()
            },
            host=Host(
                cpu=facts[Side.SHARED]["cpu"],
                cpus=facts[Side.SHARED]["cpus"],
                pinned_to=cpu,
                governor=facts[Side.SHARED]["governor"] or None,
                kernel=facts[Side.SHARED]["kernel"],
                engine=engine.describe(client),
                load_before=facts[Side.SHARED]["load"] if load is None else load,
                load_after=os.getloadavg()[0] if local else None,
            ),
            clock=request.clock,
            rounds=request.effort.rounds,
            values=request.effort.values,
            interrupted=interrupted,
            benchmarks=tuple(record.timing() for record in records),
        )
    finally:
        # What cannot be removed now, whoever runs next removes; what was measured stays.
        with contextlib.suppress(HarnessError):
            containers.reap(client, run_name)
    return Race(
        report=report.concluded(),
        outputs={side: {r.benchmark.name: r.outputs[side] for r in records} for side in Side},
    )


def write_pyperf(race: Race, directory: Path) -> None:
    """Write ``shared.json`` and ``static.json``, which ``python -m pyperf compare_to`` reads."""
    for side, outputs in race.outputs.items():
        benchmarks = []
        for texts in outputs.values():
            runs = [run for text in texts for run in pyperf.Benchmark.loads(text).get_runs()]
            if runs:
                benchmarks.append(pyperf.Benchmark(runs))
        if not benchmarks:
            continue
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "suite.json"
            pyperf.BenchmarkSuite(benchmarks).dump(str(path))
            output.write(directory / f"{side}.json", path.read_bytes())


def _pin(matrix: Matrix, name: str) -> str:
    """The requirement of a matrix file that pins one of the two projects that measuring takes."""
    for requirement in matrix.benchmarks:
        if Requirement(requirement).name == name:
            return requirement
    raise ConfigurationError(
        f"the matrix pins no {name} under 'benchmarks'",
        advice="Add it, as in the project's own matrix.yaml, and run `pbs-matrix lock`.",
    )


def _scripts(wheel: Path, sha256: str) -> Path:
    """The benchmarks' folders, out of pyperformance's wheel."""
    folder = "pyperformance/data-files/benchmarks/"
    wanted = tuple(f"{folder}{script}/" for script in sorted({b.script for b in suite.SUITE}))

    def make(path: Path) -> None:
        path.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                # A wheel with names that lead elsewhere does not come to be here.
                if name.startswith(wanted) and not name.endswith("/"):
                    target = path / name.removeprefix(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))

    return cache.entry("benchmarks", cache.digest(sha256, wanted), make)


def _start(
    client: docker.DockerClient,
    entrant: Entrant,
    side: Side,
    packed: Any,
    run_name: str,
    cpu: str,
) -> Agent:
    with engine.asking(f"starting the container of {side}"):
        container = client.containers.create(
            entrant.image.tag,
            # It waits for the other side's processes.
            agent.command(idle=2 * LIMIT),
            name=f"pbs-matrix-{run_name}-{side}",
            cpuset_cpus=cpu,
            auto_remove=True,
            **{
                **attended(run_name, owners.this_process(), LIMITS, cpus=None),
                # The benchmarks are put in once it is there; they are pinned, and no strangers'.
                "read_only": False,
            },
        )
        containers.put(container, "/", packed)
        its = Agent(container)
        its.start()
    return its


def _facts(box: Container, side: Side, cpu: str) -> dict[str, Any]:
    """What the interpreter says of itself and of the machine; it has to be linked as named."""
    code, said, errors = _execute(box, ["/opt/venv/bin/python", "-I", "-c", FACTS, cpu])
    if code:
        raise ToolError(
            f"the {side} interpreter does not run: {_last_line(errors, code)}",
            advice="Remove what was made of it with `pbs-matrix clean --images --cache`.",
        )
    facts: dict[str, Any] = json.loads(said)
    if (facts["libpython"] is not None) != (side is Side.SHARED):
        raise ToolError(
            f"the {side} interpreter has mapped {facts['libpython'] or 'no libpython'}",
            advice="It is not linked as its name says; look at its archive.",
        )
    return facts


def _contestant(entrant: Entrant, facts: Mapping[str, Any], source: Source) -> Contestant:
    return Contestant(
        link_model=entrant.interpreter.link_model,
        release=entrant.interpreter.release if source is Source.UPSTREAM else None,
        archive=entrant.archive.name,
        archive_sha256=entrant.archive.sha256,
        image=entrant.image.id,
        version=facts["version"],
        compiler_flags=facts["flags"],
        libpython=facts["libpython"],
        builtin_modules=tuple(facts["builtins"]),
    )


def _measure(
    records: Sequence[_Record], boxes: Mapping[Side, Container], effort: Effort, say: Say
) -> None:
    """Calibrate every benchmark, then run the rounds; what is measured goes into the records."""
    start = time.monotonic()
    for record in records:
        _calibrate(record, boxes, effort)
        if record.failure:
            say(f"{record.benchmark.name} failed ({record.failure.side}): {record.failure.problem}")
    say(f"calibrated {len(records)} benchmarks in {time.monotonic() - start:.0f} s")
    for number in range(effort.rounds):
        start = time.monotonic()
        for position, record in enumerate(records):
            for side in suite.order(number, position):
                if record.failure is None:
                    _time(record, side, boxes[side], effort, number)
        say(f"round {number + 1} of {effort.rounds}: {time.monotonic() - start:.0f} s")


def _calibrate(record: _Record, boxes: Mapping[Side, Container], effort: Effort) -> None:
    """Find the number of loops with the shared side, and see that the static one runs too.

    As root, so that the bytecode of what the benchmark imports is written, once, in both.
    """
    options = ["--min-time", str(effort.min_time), "--values", "1", "--warmups", "0"]
    for side in Side:
        loops = ["--loops", str(record.loops)] if record.loops else ["--calibrate-loops"]
        try:
            said = _pyperf(record.benchmark, boxes[side], [*options, *loops], seed=0, user="0")
        except _Failed as failure:
            record.failure = Failure(side=side, problem=str(failure))
            return
        record.loops = record.loops or said.get_runs()[0].get_loops()


def _time(record: _Record, side: Side, box: Container, effort: Effort, number: int) -> None:
    """One process of a benchmark."""
    options = ["--loops", str(record.loops), "--values", str(effort.values)]
    options += ["--warmups", str(WARMUPS)]
    try:
        # The same seed for both sides of a round, so that both do the same work.
        said = _pyperf(record.benchmark, box, options, seed=number + 1, user="65534:65534")
    except _Failed as failure:
        record.failure = Failure(side=side, problem=str(failure))
        return
    record.values[side].append(tuple(said.get_values()))
    with tempfile.TemporaryFile("w+") as stream:
        said.dump(stream)
        stream.seek(0)
        record.outputs[side].append(stream.read())


def _pyperf(
    benchmark: Benchmark, box: Container, options: Sequence[str], *, seed: int, user: str
) -> Any:
    """Run a worker process of pyperf, and return its ``pyperf.Benchmark``."""
    command = ["timeout", "--signal=KILL", str(LIMIT), "/opt/venv/bin/python"]
    command += [f"{SCRIPTS}/{benchmark.script}/run_benchmark.py", *benchmark.arguments]
    # Some scripts hold several benchmarks; this project takes the first.
    command += ["--worker", "--worker-task", "0", "--pipe", "1", *options]
    code, said, errors = _execute(box, command, user=user, PYTHONHASHSEED=str(seed))
    if code:
        raise _Failed(_last_line(errors or said, code))
    try:
        result = pyperf.Benchmark.loads(said.strip().splitlines()[-1])
        name = result.get_name()
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise _Failed(f"pyperf's result cannot be read: {error}") from error
    if name != benchmark.name:
        raise _Failed(f"pyperf measured {name} instead")
    return result


def _execute(
    box: Container, command: Sequence[str], *, user: str = "65534:65534", **environment: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a program in a container."""
    with engine.asking("running a benchmark"):
        code, (said, errors) = box.exec_run(
            list(command),
            user=user,
            environment={"HOME": "/tmp", "LANG": "C.UTF-8", **environment},  # noqa: S108 - as below
            workdir="/tmp",  # noqa: S108 - inside the container
            demux=True,
        )
    return code, (said or b"").decode(errors="replace"), (errors or b"").decode(errors="replace")


def _last_line(said: str, code: int) -> str:
    if code == 137:
        return f"killed: it did not end within {LIMIT} s, or took more than {LIMITS.memory}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"ended with {code} and said nothing"
