"""What was measured, what follows from it, and the file that holds both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import inputs, output
from harness.bench.suite import Clock, Pair, Side
from harness.errors import ConfigurationError
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.sources import Source

MOST_BYTES = 64 << 20
"""Bytes of a report; one of all benchmarks has a hundredth of it."""

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


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Timing(_Model):
    """What was measured of one benchmark."""

    name: str
    loops: int | None
    """How often a value repeats the benchmark; calibrated once, the same for both sides."""
    values: dict[Side, tuple[tuple[Seconds, ...], ...]]
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
    source: Source
    pair: Pair | None
    python: str
    platform: Platform
    base: str
    base_digest: str
    uv: str
    uv_sha256: str
    wheels: dict[str, str]
    """sha256 of the wheels that measured, and of the benchmarks'."""
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
    output.write(path, (report.model_dump_json(indent=1) + "\n").encode())


def read(path: Path) -> Report:
    """The report of a file, concluded anew; :class:`ConfigurationError` where it is none."""
    try:
        return inputs.json_of(Report, path, most=MOST_BYTES).concluded()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    except inputs.Mistake as error:
        problem = f"{error.place}: not a report of a benchmark: {error.what}"
    except (ArithmeticError, ValueError) as error:  # of what no clock shows
        problem = f"{path}: benchmarks.values: {inputs.short(str(error))}"
    raise ConfigurationError(problem, advice="Make one with `pbs-matrix bench --output FILE`.")
