"""What is measured, on which two interpreters, by which clock, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from harness.errors import SelectionError


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
