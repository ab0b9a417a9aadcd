"""What a run decides once, before it plans: where interpreters come from, and what "latest" is.

Planning is pure; what depends on the network or the day is found out here, by one process, and
told to the others, so that all of them plan the same cells.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from harness import mirror as mirrors
from harness import releasechoice, releases
from harness.errors import FetchError, HarnessError, SelectionError
from harness.lock import Lock, LockedUv
from harness.matrix import DEFAULT, Axes, Matrix
from harness.mirror import SUMS, Mirror
from harness.plan import Names
from harness.releasechoice import LATEST
from harness.sources import AUTO, Source

Entries = Sequence[Axes | Matrix]
"""The parts of the matrix file that a run is planned from."""

PATIENCE = 2.5
"""Seconds within which upstream has to answer, for all that is asked of it together."""

ASKED = 6
"""Releases that a place is asked for: a mirror may lack some, and still have others."""

LINE = re.compile(rb"^[0-9a-f]{64}  ?\S", re.MULTILINE)
"""What a SHA256SUMS has, and the login page of a network has not."""


class Resolution(BaseModel):
    """The decisions of one run."""

    model_config = ConfigDict(frozen=True)

    source: Source
    mirror: Mirror = Mirror()
    trusts_mirror: bool = False
    """Whether the mirror's SHA256SUMS are believed against uv's own metadata."""
    names: Names = Names()
    uv: dict[str, LockedUv] = {}
    """uv versions that the lock does not know, since they were found out just now."""
    said: tuple[str, ...] = ()
    """Sentences for the start of a run."""

    def completed(self, lock: Lock) -> Lock:
        """A lock with the uv versions that this run has found."""
        return lock.model_copy(update={"uv": {**lock.uv, **self.uv}}) if self.uv else lock


def resolve(
    matrix: Matrix,
    lock: Lock,
    *,
    source: str,
    profile: str,
    mirror: str | None = None,
    trusts_mirror: bool = False,
) -> Resolution:
    """Decide for a run. ``source`` is a :class:`Source` or ``auto``; ``mirror`` as the option.

    Without ``auto``, and without names such as ``latest`` in the profile, no network is asked.
    """
    entries = matrix.entries_of(profile)
    place = mirrors.of(mirror)
    said: list[str] = []
    if source == AUTO:
        problem = unreachable(place, _some_releases(entries, lock))
        chosen = Source.REPLICA if problem else Source.UPSTREAM
        said.append(
            f"source auto: replicas, stand-ins with the releases' link models, since {problem}"
            if problem
            else f"source auto: the published archives, since {place.name} answers"
        )
    else:
        chosen, problem = Source(source), None
    uv, locked = _uv_versions(matrix, entries, lock, said.append)
    made = Resolution(source=chosen, mirror=place, trusts_mirror=trusts_mirror, uv=locked)
    # What a uv found just now installs is a release that is known, too.
    everything = made.completed(lock)
    tags = _releases(entries, everything, place, said.append, offline=problem is not None)
    names = Names(releases=tags, uv=uv)
    return made.model_copy(update={"names": names, "said": tuple(said)})


def require_reachable(resolution: Resolution, matrix: Matrix, lock: Lock, profile: str) -> None:
    """Raise :class:`FetchError` where no published archive can be had."""
    wanted = _some_releases(matrix.entries_of(profile), lock)
    if problem := unreachable(resolution.mirror, wanted):
        raise FetchError(
            f"the published archives are needed, but {problem}",
            advice="Check the network and proxy, or name a mirror with --mirror.",
        )


def unreachable(place: Mirror, tags: Sequence[str]) -> str | None:
    """Why no published archive can be had, in words; None where they can.

    All is asked at the same time, and nobody is waited for longer than :data:`PATIENCE`.
    """
    from harness import downloads  # late: without auto nothing of it is needed

    questions = [url for tag in tags for url in place.urls(tag, SUMS)]
    answers: dict[str, str | None] = {}
    changed = threading.Condition()

    def ask(url: str) -> None:
        patience = downloads.Patience(attempts=1, most=1, silence=PATIENCE)
        try:
            body = downloads.read([url], patience=patience).body or b""
            problem = None if LINE.search(body) else f"what it sends for {SUMS} is none"
        except HarnessError as error:
            # Without the addresses, which are long, and not what matters here.
            problem = error.problem.rpartition(": ")[2]
        with changed:
            answers[url] = problem
            changed.notify()

    # Daemons: a silent name server must not hold up the end of the program.
    for url in questions:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    with changed:
        changed.wait_for(
            lambda: None in answers.values() or len(answers) == len(questions), PATIENCE
        )
        if None in answers.values():
            return None
        told = next((problem for problem in answers.values() if problem), None)
    return f"nothing comes from {place.name} ({told or f'no answer within {PATIENCE:g} s'})"


def _some_releases(entries: Entries, lock: Lock) -> tuple[str, ...]:
    """Some of the releases that the uv versions asked for install, the newest and the oldest."""
    tags = {
        default.release
        for uv in _asked(entries, "uv")
        if uv in lock.uv
        for by_platform in lock.uv[uv].defaults.values()
        for default in by_platform.values()
    }
    ordered = sorted(tags, key=releases.order, reverse=True)
    last = len(ordered) - 1
    return tuple(dict.fromkeys(ordered[last * n // (ASKED - 1)] for n in range(ASKED) if ordered))


def _uv_versions(
    matrix: Matrix, entries: Entries, lock: Lock, say: Callable[[str], None]
) -> tuple[dict[str, str], dict[str, LockedUv]]:
    """What each ``latest`` among the uv versions is, and what a lock would say of those."""
    asked = [uv for uv in _asked(entries, "uv") if LATEST.fullmatch(uv)]
    if not asked:
        return {}, {}
    from harness import index, locking  # late: they ask the package index

    there = index.candidates("uv")
    found = {}
    for name in asked:
        try:
            (found[name],) = releasechoice.choose(name, there)
        except LookupError as error:
            raise SelectionError(
                f"uv {name}: {error}", advice=f"The newest is {there[-1] if there else 'none'}."
            ) from None
        say(f"uv {name} is {found[name]}")
    before = lock.uv.get(matrix.upgrade_from or "")
    new = [version for version in dict.fromkeys(found.values()) if version not in lock.uv]
    return found, {version: locking.lock_uv(version, matrix, before) for version in new}


def _releases(
    entries: Entries, lock: Lock, place: Mirror, say: Callable[[str], None], *, offline: bool
) -> dict[str, tuple[str, ...]]:
    """The releases that each choice of these entries names, in commit order."""
    choices = [choice for choice in _asked(entries, "releases") if choice != DEFAULT]
    if not choices:
        return {}
    table = tuple(releases.commit_dates())
    if all(_is_closed(choice, table) for choice in choices):
        return {choice: releasechoice.choose(choice, table) for choice in choices}
    from harness import catalogue  # late: it may ask the network

    listing = catalogue.known(place, offline=offline, beside=lock)
    for sentence in listing.said:
        say(sentence)
    found = {choice: catalogue.resolve(choice, listing.releases) for choice in choices}
    for choice, tags in found.items():
        if "latest" in choice:
            say(f"release {choice} is {_span(tags)}")
    return found


def _is_closed(choice: str, table: tuple[str, ...]) -> bool:
    """Whether a choice means the same on every day: both its ends are tags of the table."""
    first, dots, last = choice.partition("..")
    return all(end in table for end in ((first, last) if dots else (choice,)))


def _span(tags: tuple[str, ...]) -> str:
    return tags[0] if len(tags) == 1 else f"{tags[0]} to {tags[-1]}, {len(tags)} releases"


def _asked(entries: Entries, axis: str) -> tuple[str, ...]:
    """Every value of an axis that these name."""
    return tuple(dict.fromkeys(v for entry in entries for v in getattr(entry, axis) or ()))
