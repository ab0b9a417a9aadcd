"""The project's own text files, changed, through the functions that the commands read them with."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from types import FrameType

from rich.console import Console

from harness import (
    buildsystem,
    comparison,
    durations,
    extensions,
    jobs,
    lock,
    matrix,
    merging,
    planfile,
    results,
)
from harness import cache as caches
from harness.bench import report as benches
from harness.bisection import endings, journal
from harness.bisection.model import Inquiry
from harness.bisection.search import Found
from harness.errors import HarnessError
from harness.filing import suspects, troubles
from harness.planning import rerun
from harness.prepared import Prepared
from harness.report import markdown, model, page
from harness.request import Request
from harness.resolution import Resolution
from harness.results import Result
from harness.sharding import Shard
from harness.sources import Source
from tests.fuzz import texts
from tests.fuzz.reading import Trial
from tests.unit import sample_bisection, sample_nights, sample_report, sample_results
from tests.unit.test_bench import FASTER, SAME, report

PROJECT = Path(__file__).parent.parent.parent
MATRIX, LOCK = PROJECT / "matrix.yaml", PROJECT / "matrix.lock"
REPLICAS = Resolution(source=Source.REPLICA)

PATIENCE = 20.0
"""Seconds after which something is said to hang."""


_WHOLE = "(is empty|has no table|cannot be read|was made with another)"
"""What a message says where a file as a whole is meant, after its name."""


class HangError(Exception):
    """Something does not come to its end."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file."""

    file: str
    """Name; in a folder of its own where another file may have to be beside it."""
    share: int
    good: Callable[[], Sequence[bytes]]
    """Files to begin with."""
    readers: Sequence[Callable[[Path], object]]
    """Each trial takes one of them."""


# What is good.


def _lines(made: Sequence[Result]) -> bytes:
    return b"".join(one.model_dump_json().encode() + b"\n" for one in made)


@cache
def _results() -> tuple[Result, ...]:
    return (
        *sample_report.matrix(),
        *(sample_nights.broken("a"), sample_nights.fixed("b"), sample_nights.untestable("c")),
        *(sample_nights.mispredicted("d"), sample_nights.not_applicable("e")),
        sample_results.made("f", evidence={"flaky": ["imports", "crash"]}, pins={"qemu": "9"}),
    )


@cache
def _one_line() -> tuple[bytes, ...]:
    return tuple(_lines([one]) for one in (*_results()[:3], *_results()[-6:]))


@cache
def _many_lines() -> tuple[bytes, ...]:
    return _lines(_results()[:40]), _lines(_results()[-12:])


@cache
def _matrices() -> tuple[bytes, ...]:
    small = b"""\
version: 1
uv: [0.7.5, 0.7.6]
python: ['3.13']
platforms: [x86_64]
bases:
  debian13: {suite: trixie}
extensions:
  sample: {requirement: python-mscl==67.0.1.0, imports: python_mscl}
checks:
  works: {script: cases/checks/list_iadd.py, applies: {release: 20250517..}}
limits: {memory: 512MiB, processes: 64}
profiles:
  default: {}
  quick: {uv: [0.7.6], include: [{bases: [debian13], reason: r}]}
exclude:
  - {uv: 0.7.*, extension: sample, reason: none}
expectations:
  - extension: sample
    link_model: static
    expect: missing-library
    library: libpython{python}.so.1.0
    reason: there is none
"""
    return MATRIX.read_bytes(), small, small


@cache
def _small_locks() -> tuple[bytes, ...]:
    """Fewer lines, so that more of the changes are to what is looked at."""
    whole = json.loads(LOCK.read_bytes())
    first = next(iter(whole["uv"]))
    wheels = dict([*whole["wheels"].items()][:2])
    small = {**whole, "uv": {first: whole["uv"][first]}, "wheels": wheels}
    return json.dumps(small, indent=1).encode(), json.dumps(small).encode()


@cache
def _plans() -> tuple[bytes, ...]:
    read, locked = matrix.load(MATRIX), lock.load(LOCK)
    request = Request(profile="quick")
    cells = request.cells(request.extended(read), locked, REPLICAS)
    make = partial(planfile.make, matrix_file=MATRIX, request=request, resolution=REPLICAS)
    return tuple(
        made.model_dump_json(indent=indent).encode()
        for indent in (1, None)
        for made in (
            make(jobs.plain(cells, durations.Durations(), 3)),
            make(jobs.for_github(cells, durations.Durations(), 6)),
        )
    )


@cache
def _inquiry() -> Inquiry:
    return sample_bisection.inquiry()


@cache
def _journals() -> tuple[bytes, ...]:
    asked = _inquiry()
    tested = sample_bisection.trials(asked, ".x?x-")
    begun = [{"inquiry": asked.model_dump(mode="json")}]
    begun += [{"trial": one.model_dump(mode="json")} for one in tested]
    cancelled = {"ending": endings.dump(sample_bisection.ending_of(asked, tested[:2]))}
    found = {"ending": endings.dump(Found(last=0, first=1, warnings=()))}
    return tuple(
        b"".join(json.dumps(one).encode() + b"\n" for one in lines)
        for lines in (begun, [*begun, cancelled], [*begun, found], begun[:1])
    )


@cache
def _benches() -> tuple[bytes, ...]:
    return tuple(report(FASTER, SAME).model_dump_json(indent=n).encode() for n in (1, None))


@cache
def _prepared() -> tuple[bytes, ...]:
    made = Prepared.model_validate(
        {
            "run": "r",
            "owner": "m b n 1 2",
            "engine_version": "20.10",
            "emulators": {"x86_64": None, "aarch64": "9.1"},
            "environments": {
                "e": {
                    "image": {
                        "tag": "pbs-matrix/environment:0",
                        "id": "sha256:0",
                        "origin": "built",
                        "base_digest": "0",
                    },
                    "interpreter": {
                        "version": "3.13.5",
                        "look": "/cache/contents/0.json",
                        "archive": "a.tar.gz",
                        "sha256": "0" * 64,
                        "route": "own-metadata",
                    },
                    "before": {"failed_stage": "image", "problem": "none"},
                }
            },
            "extensions": {"s-3.13-x86_64": {"tree": "/cache/installed/0", "wheels": {"w": "0"}}},
            "wanted": {"e": ["s"]},
        }
    )
    return (made.model_dump_json(indent=1).encode(), made.model_dump_json().encode())


def _files(pattern: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(PROJECT.glob(pattern)))


IDS = (
    b"# a run\na-uv0.7.6-cp313-20250517-x86_64-debian13\n\nb+x~replica\n",
    b"cases/test_import.py::test_import[a-1]\ncases/test_import.py::test_import[b]\n\n2 tests\n",
)

# How they are read.


def _load_matrix(path: Path) -> None:
    read = matrix.load(path)
    for profile in read.profiles:
        request = Request(profile=profile)
        with suppress(HarnessError):  # what is not locked
            request.cells(request.extended(read), lock.load(LOCK), REPLICAS)


def _load_lock(path: Path) -> None:
    read = lock.load(path)
    lock.dump(read).encode()
    with suppress(HarnessError):
        Request(profile="quick").cells(matrix.load(MATRIX), read, REPLICAS)


def _durations(path: Path) -> None:
    durations.read(path)


def _compared(path: Path) -> None:
    found = comparison.compare(results.read(path), iter(_results()))
    "".join(comparison.as_json(found)).encode()
    comparison.markdown(found).encode()
    comparison.render(found, Console(file=io.StringIO(), width=100))


def _merged(path: Path) -> None:
    with merging.merged([path, path], ["a"], folder=path.parent) as merged:
        b"".join(merged.lines())
        "\n".join(merging.report(merged)).encode()


def _reported(path: Path) -> None:
    with merging.merged([path], folder=path.parent) as lines:
        view = model.View(results=model.read(lines), comparison=None)
    page.render(view).encode()
    markdown.render(view).encode()


def _filed(path: Path) -> None:
    troubles.of(results.read(path), iter(_results()))
    suspects.find(results.read(path), iter(_results()), most=3)


def _again(path: Path) -> None:
    rerun.chosen([str(path)], matrix.load(MATRIX), lock.load(LOCK), only_failed=True)


def _plan(path: Path) -> None:
    read = planfile.read(path)
    read.require(MATRIX, path)
    read.job(Shard(number=1, count=len(read.jobs)), path)
    planfile.ids(path)


def _journal(path: Path) -> None:
    with journal.open(path, write=False) as read:
        assert read.inquiry
    with journal.open(path) as read:
        if not journal.is_final(read.ending):
            read.append(sample_bisection.trials(_inquiry(), ".")[0])


def _found_journal(path: Path) -> None:
    journal.newest()
    journal.unfinished_like(_inquiry())
    with journal.open(journal.find(path.stem), write=False):
        pass


KINDS: dict[str, Kind] = {
    "matrix.yaml": Kind(
        file="matrix.yaml",
        share=6,
        good=_matrices,
        readers=(_load_matrix,),
    ),
    "matrix.lock": Kind(
        file="matrix.lock",
        share=5,
        good=lambda: (LOCK.read_bytes(), *_small_locks()),
        readers=(_load_lock,),
    ),
    "results, one line": Kind(
        file="one.jsonl",
        share=6,
        good=_one_line,
        readers=(_durations, _compared, _merged, _reported, _filed, _again),
    ),
    "results, many lines": Kind(
        file="many.jsonl",
        share=4,
        good=_many_lines,
        readers=(_durations, _compared, _merged, _reported, _filed, _again),
    ),
    "plan": Kind(file="plan.json", share=3, good=_plans, readers=(_plan,)),
    "bisection journal": Kind(
        file=f"{journal.FOLDER}/20261128-2204-x-ab12.jsonl",
        share=3,
        good=_journals,
        readers=(_journal, _found_journal),
    ),
    "expected ids": Kind(file="ids", share=1, good=lambda: IDS, readers=(merging.expected_ids,)),
    "benchmark": Kind(file="bench.json", share=1, good=_benches, readers=(benches.read,)),
    "prepared.json": Kind(file="prepared.json", share=1, good=_prepared, readers=(Prepared.load,)),
    "extension.yaml": Kind(
        file="sample/extension.yaml",
        share=1,
        good=lambda: _files("cases/extensions/*/extension.yaml"),
        readers=(lambda path: extensions.recipe_of(path.parent),),
    ),
    "pyproject.toml": Kind(
        file="sample/pyproject.toml",
        share=1,
        good=lambda: _files("cases/extensions/*/pyproject.toml"),
        readers=(lambda path: buildsystem.read(path.parent),),
    ),
}
"""By what they are called."""


def chosen(random: Random) -> str:
    """A kind of file."""
    return random.choices([*KINDS], [kind.share for kind in KINDS.values()])[0]


def trial(name: str, random: Random, folder: Path) -> Trial:
    """Change a file and have it read; whatever is raised but an error for people is a finding.

    ``folder`` is the cache meanwhile.
    """
    kind = KINDS[name]
    path = folder / kind.file
    path.parent.mkdir(exist_ok=True)
    special = random.choice([*texts.SPECIAL]) if random.randrange(40) == 0 else None
    size = 0
    if special:
        texts.SPECIAL[special](path)
    else:
        everything = [one for other in KINDS.values() for one in other.good()[:1]]
        content = texts.changed(random, random.choice(kind.good()), everything)
        size = len(content)
        path.write_bytes(content)
    read = random.choice(kind.readers)
    try:
        with in_time(), _as_cache(folder):
            # Of the CPU: what waits is found by the limit on that, and others may be at work here.
            start = time.process_time()
            outcome, said = _outcome(read, path)
            seconds = time.process_time() - start
    finally:
        texts.clear(path)
    whole = special is not None or size == 0
    return Trial(
        kind=name,
        outcome=f"refused, {outcome}" if said else outcome,
        seconds=seconds,
        size=size,
        placeless=said if said and not has_place(said, path, whole=whole) else "",
    )


def _outcome(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    try:
        read(path)
    except HarnessError as error:
        said = str(error)
        said.encode()
        # Lines of the message are the harness's own, what is in them is not.
        if odd := [one for one in said.splitlines() if not one.isprintable()]:
            raise AssertionError(
                f"a message does things to a terminal: {odd[0][:200]!r}"
            ) from error
        if len(said) > 20_000:
            raise AssertionError(f"a message of {len(said)} characters: {said[:200]}") from error
        return f"exit code {int(error.exit_code)}", said
    return "read", ""


def has_place(said: str, path: Path, *, whole: bool = False) -> bool:
    """Whether a message names the file, and where in it; ``whole``: there is no place in it."""
    if whole:
        return str(path) in said or path.stem in said
    name = re.escape(str(path))
    places = (rf"{name}:\d+\b", rf"{name}: (not a plan: )?[\w-]+(\.[\w-]+)+: ", rf"{name} {_WHOLE}")
    return re.search("|".join(places), said) is not None


@contextmanager
def in_time() -> Iterator[None]:
    """Raise :class:`HangError` in what takes longer than :data:`PATIENCE`."""

    def late(number: int, frame: FrameType | None) -> None:
        raise HangError(f"did not end within {PATIENCE:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _as_cache(folder: Path) -> Iterator[None]:
    name = caches.LOCATION_VARIABLE
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})
