"""What ``pbs-matrix bench`` measures, and what follows from the measurements.

Release 20250517 of python-build-standalone links libpython into the interpreter because that is
said to make it 15-25 % faster. Here are the benchmarks that ask whether it does, the order in which
they run, the statistics, and the file of results. Nothing here knows of an engine:
:mod:`harness.race` measures, :mod:`harness.scoreboard` and :mod:`harness.chart` show.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from harness.errors import ConfigurationError, SelectionError
from harness.platforms import Platform
from harness.releases import LinkModel

REQUIREMENTS = ("pyperf==2.10.0", "pyperformance==1.14.0")
"""What measures, and whose benchmarks are measured; matrix.lock has their hashes."""

SCHEMA: Literal[1] = 1
"""Version of the file's format."""

CLAIM = (1.15, 1.25)
"""How many times as fast upstream says that the static interpreter is."""

CONFIDENCE = "95 %"

UNSTABLE = 0.10
"""A benchmark whose slowest round took this much longer than its fastest is called unstable."""

NAMED = 5
"""How many unstable benchmarks a warning names."""

BUSY = 0.5
"""Load for each CPU from which on a machine is called busy."""

METHOD = (
    "Of each process the fastest value; of each round the logarithm of shared/static; of these the "
    f"mean, with a {CONFIDENCE} t-interval over rounds. Geometric mean: the same, of each round's "
    "mean over benchmarks."
)
"""How the figures are made, in the output and in the file."""

# Quantile 0.975 of Student's t for 1 to 30 degrees of freedom; the standard library has none.
T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

MOST_ROUNDS = len(T_QUANTILES) + 1


class Side(StrEnum):
    """One of the two that are compared."""

    SHARED = "shared"
    STATIC = "static"


class Pair(StrEnum):
    """Which replicas are compared."""

    OBJECTS = "objects"
    """Both linked here from the same object files: :mod:`harness.pair`."""
    DEBIAN = "debian"
    """Debian's own executable and Debian's own libpython, compiled differently."""


class Clock(StrEnum):
    """What time is."""

    CPU = "cpu"
    """CPU time of the process, which another process on that CPU does not add to."""
    WALL = "wall"
    """Elapsed time, as pyperf has it by default."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark of pyperformance that needs nothing but the standard library and pyperf."""

    name: str
    """As pyperf reports it, and pyperformance calls it."""
    script: str
    """Folder in pyperformance that holds run_benchmark.py."""
    arguments: tuple[str, ...] = ()
    """What chooses it, where a script has several."""


def _named(*names: str) -> tuple[Benchmark, ...]:
    return tuple(Benchmark(name=name, script=f"bm_{name}") for name in names)


SUITE = (
    *_named("async_generators", "chaos", "comprehensions", "coroutines", "deepcopy", "deltablue"),
    *_named("fannkuch", "float", "generators", "go", "hexiom", "json_dumps", "json_loads"),
    Benchmark(name="logging_silent", script="bm_logging", arguments=("silent",)),
    Benchmark(name="logging_simple", script="bm_logging", arguments=("simple",)),
    *_named("nbody", "nqueens"),
    Benchmark(name="pickle", script="bm_pickle", arguments=("pickle",)),
    Benchmark(name="pickle_pure_python", script="bm_pickle", arguments=("--pure-python", "pickle")),
    *_named("pidigits", "raytrace", "regex_compile", "richards"),
    Benchmark(name="scimark_fft", script="bm_scimark", arguments=("fft",)),
    *_named("spectral_norm", "unpack_sequence"),
)
"""In the order in which a round runs them."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured of each benchmark."""

    rounds: int = 6
    """Even, so that each interpreter goes first equally often."""
    values: int = 4
    """Values of a process, beside one to warm up."""
    min_time: float = 0.1
    """Seconds that a value should take at least; pyperf repeats a benchmark to get there."""


FAST = Effort(rounds=3, values=2, min_time=0.05)
"""For a first look, and for the tests."""

WARMUPS = 1


def select(patterns: Sequence[str]) -> tuple[Benchmark, ...]:
    """The benchmarks whose names match one of some globs, or all; :class:`SelectionError`."""
    for pattern in patterns:
        if not any(fnmatchcase(benchmark.name, pattern) for benchmark in SUITE):
            raise SelectionError(
                f"--benchmarks {pattern!r} selects nothing",
                advice=f"There are: {', '.join(benchmark.name for benchmark in SUITE)}.",
            )
    return tuple(
        benchmark
        for benchmark in SUITE
        if not patterns or any(fnmatchcase(benchmark.name, pattern) for pattern in patterns)
    )


def order(round_number: int, position: int) -> tuple[Side, Side]:
    """Who goes first: flipped from round to round, and from one benchmark to the next.

    A machine that gets slower or faster during a run then does so to both alike.
    """
    sides = (Side.SHARED, Side.STATIC)
    return sides if (round_number + position) % 2 == 0 else (sides[1], sides[0])


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Model):
    """How many times as fast the static interpreter is, and the interval; None with one round."""

    ratio: float
    low: float | None
    high: float | None
    rounds: int

    @classmethod
    def of(cls, logarithms: Sequence[float]) -> Self:
        """From the logarithms of one ratio for each round; at least one."""
        count = len(logarithms)
        mean = statistics.fmean(logarithms)
        if count == 1:
            return cls(ratio=math.exp(mean), low=None, high=None, rounds=1)
        half = T_QUANTILES[count - 2] * statistics.stdev(logarithms) / math.sqrt(count)
        return cls(
            ratio=math.exp(mean),
            low=math.exp(mean - half),
            high=math.exp(mean + half),
            rounds=count,
        )


class Failure(_Model):
    """Why there is no figure for a benchmark."""

    side: Side
    problem: str
    """The last line of what it said, or what was wrong with what it said."""


class Timing(_Model):
    """What was measured of one benchmark."""

    name: str
    loops: int | None
    """How often a value repeats the benchmark; calibrated once, the same for both sides."""
    values: dict[Side, tuple[tuple[float, ...], ...]]
    """Seconds for one pass through the benchmark, by side, by round, as pyperf gave them."""
    failure: Failure | None = None

    @property
    def rounds(self) -> tuple[tuple[float, float], ...]:
        """Seconds of the shared and of the static interpreter in each round that both ended.

        Of the values of a process the fastest: within one process nothing varies by design, and
        whatever interferes only ever adds time.
        """
        return tuple(
            (min(shared), min(static))
            for shared, static in zip(
                self.values[Side.SHARED], self.values[Side.STATIC], strict=False
            )
        )

    @property
    def logarithms(self) -> tuple[float, ...]:
        """Logarithm of shared/static, by round."""
        return tuple(math.log(shared / static) for shared, static in self.rounds)

    @property
    def estimate(self) -> Estimate | None:
        """None where it failed, or where no round was ended."""
        return None if self.failure or not self.rounds else Estimate.of(self.logarithms)

    def seconds(self, side: Side) -> float | None:
        """Geometric mean over the rounds, so that the quotient of both sides is the ratio."""
        if self.estimate is None:
            return None
        index = list(Side).index(side)
        return statistics.geometric_mean(times[index] for times in self.rounds)

    @property
    def spread(self) -> float | None:
        """How much longer a side's slowest round took than its fastest; the larger of both."""
        if self.estimate is None:
            return None
        shared, static = ([times[index] for times in self.rounds] for index in range(len(Side)))
        return max(max(shared) / min(shared), max(static) / min(static)) - 1


class Contestant(_Model):
    """One of the two interpreters, as its archive is named and as it says of itself."""

    link_model: LinkModel
    release: str | None
    """Of python-build-standalone; None for a replica, which is not one."""
    archive: str
    archive_sha256: str
    image: str
    version: str
    """sys.version"""
    compiler_flags: str
    libpython: str | None
    """The libpython that is mapped into the process, if any."""
    builtin_modules: tuple[str, ...]


class Host(_Model):
    """The machine, as seen from inside a container."""

    cpu: str
    cpus: int
    pinned_to: str
    """The CPU that both sides run on."""
    governor: str | None
    kernel: str
    engine: str
    load_before: float
    load_after: float | None = None
    """Load average of one minute; afterwards it counts the benchmarks themselves."""


class Report(_Model):
    """A run of ``pbs-matrix bench``: everything that was measured, and what it was measured on."""

    # As in results.jsonl.
    schema_version: Literal[1] = SCHEMA
    started: str
    """UTC, ISO 8601."""
    seconds: float
    source: Literal["replica", "upstream"]
    pair: Pair | None
    python: str
    platform: Platform
    base: str
    base_digest: str
    uv: str
    uv_sha256: str
    wheels: dict[str, str]
    """sha256 of the wheels of :data:`REQUIREMENTS`."""
    contestants: dict[Side, Contestant]
    host: Host
    clock: Clock
    rounds: int
    """As asked for."""
    values: int
    interrupted: bool
    method: str = METHOD
    benchmarks: tuple[Timing, ...]
    geometric_mean: Estimate | None = None
    estimates: dict[str, Estimate] = {}
    """By benchmark; of each that did not fail."""
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        if set(self.contestants) != set(Side):
            raise ValueError("a report has a shared and a static contestant")
        return self

    @property
    def measured(self) -> tuple[Timing, ...]:
        """The benchmarks that the geometric mean is of."""
        return tuple(timing for timing in self.benchmarks if timing.estimate)

    @property
    def failed(self) -> tuple[Timing, ...]:
        """The benchmarks that it leaves out, for they failed."""
        return tuple(timing for timing in self.benchmarks if timing.failure)

    @property
    def subject(self) -> str:
        """What was compared, in one phrase."""
        match self.pair:
            case Pair.OBJECTS:
                return "replicas linked from the same object files"
            case Pair.DEBIAN:
                return "replicas, Debian's executable and Debian's libpython"
            case None:
                releases = [self.contestants[side].release for side in Side]
                return f"releases {' and '.join(map(str, releases))}"

    def concluded(self) -> Self:
        """The same with what follows from the measurements."""
        estimates = {t.name: t.estimate for t in self.measured if t.estimate is not None}
        report = self.model_copy(
            update={"estimates": estimates, "geometric_mean": geometric_mean(self.measured)}
        )
        return report.model_copy(update={"warnings": tuple(_warnings(report))})


def geometric_mean(timings: Sequence[Timing]) -> Estimate | None:
    """Over benchmarks, from the rounds that all of them ended; None where there is none."""
    if not timings:
        return None
    rounds = list(zip(*(timing.logarithms for timing in timings), strict=False))
    return Estimate.of([statistics.fmean(logarithms) for logarithms in rounds]) if rounds else None


def verdict(mean: Estimate) -> str:
    """What a geometric mean says of the claim, in one sentence."""
    low, high = CLAIM
    claim = f"the claimed {(low - 1) * 100:.0f}-{(high - 1) * 100:.0f} %"
    faster = (mean.ratio - 1) * 100
    said = f"static is {abs(faster):.1f} % {'faster' if faster >= 0 else 'slower'} than shared here"
    if mean.low is None or mean.high is None:
        return f"{said}; one round says nothing about {claim}"
    if mean.high < low:
        return f"{said}, which is less than {claim}"
    if mean.low > high:
        return f"{said}, which is more than {claim}"
    if low <= mean.low and mean.high <= high:
        return f"{said}, which is within {claim}"
    return f"{said}; the interval is too wide to tell whether that is {claim}"


def _warnings(report: Report) -> list[str]:
    found = []
    host = report.host
    if host.load_before >= BUSY * host.cpus:
        found.append(
            f"the machine was busy before the run (load {host.load_before:.1f} on {host.cpus} "
            "CPUs): other processes share its caches; run again on a quiet machine"
        )
    elif host.load_after is not None and host.load_after >= 1 + BUSY * host.cpus:
        # One of it are the benchmarks themselves.
        found.append(
            f"the machine got busy during the run (load {host.load_after:.1f} on {host.cpus} CPUs "
            "at its end): run again on a quiet machine"
        )
    if host.governor not in (None, "performance"):
        found.append(f"the CPU's frequency governor is {host.governor}, not performance")
    if report.pair is Pair.DEBIAN:
        found.append(
            "Debian compiles its executable with profile feedback and its libpython without: "
            "this ratio is not of linking alone; --pair objects is"
        )
    builtins = [set(contestant.builtin_modules) for contestant in report.contestants.values()]
    if differing := sorted(builtins[0] ^ builtins[1]):
        found.append(f"built into one of the two only: {', '.join(differing)}")
    spreads = {t.name: t.spread for t in report.measured if t.spread is not None}
    unstable = sorted(
        (name for name in spreads if spreads[name] > UNSTABLE), key=lambda name: -spreads[name]
    )
    if unstable:
        worst = ", ".join(f"{name} {spreads[name]:.0%}" for name in unstable[:NAMED])
        found.append(
            f"{len(unstable)} of {len(spreads)} benchmarks are unstable, with a spread of more "
            f"than {UNSTABLE:.0%} between rounds; the worst: {worst}"
        )
    if report.interrupted:
        found.append("the run was interrupted; fewer rounds than asked for")
    return found


def write(report: Report, path: Path) -> None:
    """Write a report's file; :class:`ConfigurationError` where that is not possible."""
    replace(path, (report.model_dump_json(indent=1) + "\n").encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            advice="Name a file in a directory that you may write to.",
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def require_writable(*paths: Path | None) -> None:
    """Refuse, before minutes of measuring, a file that could not be written after them."""
    for path in filter(None, paths):
        folder = next(p for p in (path.parent, *path.absolute().parents) if p.exists())
        problem = "it is a directory" if path.is_dir() else None
        try:
            # Not os.access, which tells root that /proc may be written to.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            raise ConfigurationError(
                f"{path} cannot be written: {problem}",
                advice="Name a file in a directory that you may write to.",
            )


def read(path: Path) -> Report:
    """The report of a file, concluded anew; :class:`ConfigurationError` where it is none."""
    try:
        return Report.model_validate_json(path.read_bytes()).concluded()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = (
            f"{path} is no report of a benchmark: {where + ': ' if where else ''}{first['msg']}"
        )
    raise ConfigurationError(problem, advice="Make one with `pbs-matrix bench --output FILE`.")
