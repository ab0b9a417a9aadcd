"""What a bisection walks along, and the cell that each step of it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from packaging.version import Version

from harness import cache, catalogue, index, locking, releasechoice, releases, trial
from harness.bisection.model import Axis, Candidate, Inquiry
from harness.bisection.search import Direction
from harness.errors import ConfigurationError, SelectionError
from harness.lock import Lock
from harness.matrix import DEFAULT, Check, Extension, Matrix, Profile, Sample
from harness.plan import SUCCESS, Cell, Environment, Interpreter, plan
from harness.platforms import Platform
from harness.remedies import Remedy
from harness.resolution import Resolution
from harness.sources import Source

OLDEST_UV = Version("0.6.10")
"""Older ones cannot be asked which release they install."""

SHELL = "shell-command"
"""Name of the check that a command becomes."""

# What a command becomes: a check of the interpreter, which runs in the container like any other.
# Its exit code is told by the probe, so that the engine's own 125 to 127 are never taken for it.
SCRIPT = '''\
"""Runs a command as git bisect does: 0 is good, 125 cannot be tested, 1 to 127 is bad."""

import os
import subprocess

COMMAND = {command!r}
PATHS = {paths!r}
TAIL = 4000


class NotApplicable(Exception):
    """The command says that it cannot tell."""


def check(cell):
    variables = dict(os.environ)
    variables["PATH"] = "/opt/venv/bin:" + variables.get("PATH", "/usr/bin:/bin")
    if PATHS:
        variables["PYTHONPATH"] = ":".join(PATHS)
    for axis in cell:
        variables["PBS_MATRIX_" + axis.upper()] = str(cell[axis])
    done = subprocess.run(
        ["/bin/sh", "-c", COMMAND],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/tmp",
    )
    said = done.stdout[-TAIL:].decode("utf-8", "replace")
    last = said.strip().rpartition("\\n")[2]
    if done.returncode == 0:
        return {{"exit_code": 0, "said": said}}
    if done.returncode == 125 or not 0 < done.returncode < 128:
        raise NotApplicable("the command ended with %d: %s" % (done.returncode, last))
    error = AssertionError("exit code %d: %s" % (done.returncode, last))
    error.findings = {{"exit_code": done.returncode, "said": said}}
    raise error
'''


class Subject:
    """What is tested at each step, with what has to be locked for it."""

    def __init__(self, *, name: str, words: str, sample: Sample, lock: Lock) -> None:
        """``words`` are for people; ``lock`` has the subject's wheels."""
        self.name = name
        self.words = words
        self.sample = sample
        self.lock = lock
        self.beside: Sample | None = None
        """Of a command: what is to be there when it runs."""
        self.beside_name = ""


def subject(
    text: str | None, command: str | None, matrix: Matrix, lock: Lock, *, imports: str | None
) -> Subject:
    """A name in the matrix, a requirement, a wheel file, or a command beside one of these.

    Raises :class:`ConfigurationError` where it is none of them, and what finding a requirement
    raises.
    """
    found = _sample(text, matrix, lock, imports) if text else None
    if command is None:
        if found is None:
            raise ConfigurationError(
                "nothing says what is to be tested",
                advice="Name it: --extension python-mscl, or --command 'python -c \"import x\"'.",
            )
        return found
    paths = [f"/opt/extensions/{found.name}/site"] if found else []
    script = SCRIPT.format(command=command, paths=paths)

    def make(path: Path) -> None:
        path.mkdir()
        (path / "shell_command.py").write_text(script)

    folder = cache.entry("commands", cache.digest("command", script), make)
    words = f"`{command}`" + (f" beside {found.words}" if found else "")
    made = Subject(
        name=SHELL,
        words=words,
        sample=Check(script=str(folder / "shell_command.py"), timeout=600),
        lock=found.lock if found else lock,
    )
    if found:
        made.beside, made.beside_name = found.sample, found.name
    return made


def _sample(text: str, matrix: Matrix, lock: Lock, imports: str | None) -> Subject:
    known: dict[str, Sample] = {**matrix.extensions, **matrix.checks}
    if text in known:
        return Subject(name=text, words=text, sample=known[text], lock=lock)
    if text.endswith(".whl"):
        tried = trial.of_wheel(Path(text), imports=imports)
        return Subject(name=tried.name, words=Path(text).name, sample=tried.sample, lock=lock)
    tried = trial.of_requirement(text, matrix, imports=imports)
    requirement = tried.sample.requirement
    assert requirement is not None  # it is of one
    extended = lock.model_copy(update={"wheels": {**lock.wheels, requirement: tried.wheels}})
    return Subject(name=tried.name, words=requirement, sample=tried.sample, lock=extended)


def releases_between(
    first: str | None, last: str | None, uv: str, resolution: Resolution, lock: Lock
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """The releases from one to another in commit order, and sentences on where the list is from.

    An end that is None is the oldest, or the newest, that there is.
    """
    table = releases.commit_dates()
    said: tuple[str, ...] = ()
    if first in table and last in table:
        tags: tuple[str, ...] = tuple(table)
        dates: dict[str, str | None] = dict(table)
    else:
        offline = resolution.source is Source.REPLICA
        listing = catalogue.known(resolution.mirror, offline=offline, beside=lock)
        there = [r for r in listing.releases if offline or r.published is not False]
        tags, said = tuple(release.tag for release in there), listing.said
        dates = {r.tag: r.commit_date if r.is_dated else None for r in there}
    try:
        chosen = releasechoice.choose(f"{first or ''}..{last or ''}", tags)
    except LookupError as error:
        raise SelectionError(
            str(error), advice="`pbs-matrix releases --all` lists what there is."
        ) from None
    return tuple(Candidate(uv=uv, release=t, commit_date=dates[t]) for t in chosen), said


def uvs_between(first: str | None, last: str | None) -> tuple[Candidate, ...]:
    """The uv versions of the package index from one to another."""
    there = [v for v in index.candidates("uv") if Version(v) >= OLDEST_UV]
    try:
        chosen = releasechoice.choose(f"{first or ''}..{last or ''}", there)
    except LookupError as error:
        raise SelectionError(
            str(error).replace("release", "uv"),
            advice=f"uv versions that can be asked go from {there[0]} to {there[-1]}.",
        ) from None
    return tuple(Candidate(uv=version) for version in chosen)


def ends(direction: Direction, count: int) -> tuple[int, int]:
    """Places of the good and of the bad end."""
    return (0, count - 1) if direction is Direction.BREAK else (count - 1, 0)


class Walk:
    """Makes the cells of an inquiry's candidates; uv versions are locked as they are needed."""

    def __init__(
        self, inquiry: Inquiry, subject: Subject, matrix: Matrix, say: Callable[[str], None]
    ) -> None:
        if inquiry.base not in matrix.bases:
            raise SelectionError(
                f"the matrix has no base {inquiry.base!r}",
                advice=f"Its bases are: {', '.join(matrix.bases)}.",
            )
        self._inquiry = inquiry
        self._subject = subject
        self._say = say
        samples = {subject.name: subject.sample}
        if subject.beside:
            samples[subject.beside_name] = subject.beside
        profile = Profile(
            bases=(inquiry.base,),
            extensions=tuple(n for n, s in samples.items() if isinstance(s, Extension)) or None,
            checks=tuple(n for n, s in samples.items() if isinstance(s, Check)) or None,
        )
        self.matrix = matrix.model_copy(
            update={
                "python": (inquiry.python,),
                "platforms": (inquiry.platform,),
                "flavours": (inquiry.flavour,),
                "extensions": {n: s for n, s in samples.items() if isinstance(s, Extension)},
                "checks": {n: s for n, s in samples.items() if isinstance(s, Check)},
                "remedies": (Remedy.NONE,),
                "include": (),
                "exclude": (),
                "expectations": (),
                "profiles": {"default": profile},
                "upgrade_from": None,
            }
        )
        self._lock = subject.lock
        self._asking = threading.Lock()

    def lock(self, candidate: Candidate) -> Lock:
        """The lock, with the candidate's uv in it."""
        with self._asking:
            if candidate.uv not in self._lock.uv:
                self._say(f"asking uv {candidate.uv} what it installs")
                found = locking.lock_uv(candidate.uv, self.matrix)
                self._lock = self._lock.model_copy(
                    update={"uv": {**self._lock.uv, candidate.uv: found}}
                )
            return self._lock

    def cells(self, candidate: Candidate) -> tuple[Cell, ...]:
        """The cell that is asked, and then what is only to be there beside it."""
        release = candidate.release if self._inquiry.axis is Axis.RELEASE else None
        asked = self.matrix.model_copy(
            update={"uv": (candidate.uv,), "releases": (release or DEFAULT,)}
        )
        planned = plan(asked, self.lock(candidate), source=self._inquiry.source)
        own = [cell for cell in planned if cell.extension == self._subject.name]
        return (*own, *(cell for cell in planned if cell not in own))

    def unprepared(self, candidate: Candidate) -> Cell:
        """What stands in the journal for a candidate of which not even the cell can be planned."""
        return Cell(
            environment=Environment(
                uv=candidate.uv,
                interpreter=Interpreter(
                    python=self._inquiry.python,
                    release=candidate.release or "unknown",
                    platform=self._inquiry.platform,
                    source=self._inquiry.source,
                    flavour=self._inquiry.flavour,
                ),
                base=self._inquiry.base,
            ),
            extension=self._subject.name,
            sample=self._subject.sample,
            remedy=Remedy.NONE,
            expected=SUCCESS[self._subject.sample.kind],
        )


def platform_of(text: str | None) -> Platform:
    """The platform that was asked for, else the machine's own."""
    return Platform(text) if text else Platform.host() or Platform.X86_64
