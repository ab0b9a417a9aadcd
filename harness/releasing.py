"""``pbs-matrix releases``: which releases there are, what is in each, and which uv installs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.version import Version
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import catalogue, index, releases, uvbinary
from harness.catalogue import Release, why
from harness.errors import ConfigurationError, FetchError, HarnessError, SelectionError
from harness.lock import Lock, LockedWheel
from harness.mirror import SUMS, Mirror
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.uvbinary import Answers

PYTHON = "3.13"
"""Of which CPython the defaults are shown where nothing else is asked for."""

AT_ONCE = 4
"""uv versions, or releases, that are asked for at the same time."""

_RUN = 3
"""From so many neighbours on, uv versions are named by the first and the last."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for."""

    lock: Lock
    mirror: Mirror
    python: str
    """The CPython, such as 3.13, of which each uv's default is shown."""
    only_python: bool
    """Whether other CPython versions are left out of what is in a release."""
    platforms: tuple[Platform, ...]
    uv: tuple[str, ...] = ()
    """Globs; empty: the versions in the lock."""
    last: int | None = None
    """How many of the newest are shown, beside those that a uv installs by default; None: all."""
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One release."""

    release: Release
    link_model: LinkModel
    pythons: tuple[str, ...]
    """CPython versions in it, oldest first."""
    is_complete: bool
    """Whether these are all; else only those that the uv versions asked would take from it."""
    defaults: Mapping[str, tuple[Platform, ...]]
    """uv versions that install it by default, and where."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer."""

    request: Request
    rows: tuple[Row, ...]
    """In commit order, oldest first."""
    uv: tuple[str, ...]
    """Versions whose answer is here, oldest first."""
    said: tuple[str, ...]
    """Where the list is from, and then what did not answer."""


Defaults = Mapping[str, Mapping[Platform, str]]
"""The release that a uv installs by default, by uv version and platform."""


def report(request: Request, say: Callable[[str], None]) -> Report:
    """Find out what is asked for.

    Raises :class:`SelectionError` where no uv version fits. What does not answer is in the report.
    """
    if not re.fullmatch(r"3\.\d{1,3}", request.python, re.ASCII):
        raise ConfigurationError(
            f"--python {request.python!r} is no CPython such as 3.13",
            advice="Name it without the patch version.",
        )
    missing: list[str] = []
    answers, defaults = _ask(request, missing, say)
    contents: dict[str, set[str]] = {}
    for answer in answers.values():
        for tag, versions in answer.versions(request.platforms).items():
            contents.setdefault(tag, set()).update(versions)
    by_default: dict[str, dict[str, tuple[Platform, ...]]] = {}
    for uv in sorted(defaults, key=Version):
        for platform, tag in defaults[uv].items():
            found = by_default.setdefault(tag, {})
            found[uv] = (*found.get(uv, ()), platform)
    listing = catalogue.known(
        request.mirror, offline=request.offline, beside=request.lock, uv={*contents, *by_default}
    )
    newest = {release.tag for release in listing.releases[-(request.last or 0) :]}
    shown = [one for one in listing.releases if one.tag in newest | by_default.keys()]
    complete = _contents(shown, request, missing)
    rows = tuple(
        Row(
            release=release,
            link_model=releases.link_model(release.tag),
            pythons=_wanted(
                complete.get(release.tag, contents.get(release.tag, frozenset())), request
            ),
            # Of one CPython a release has one version, so a uv that knows it knows all.
            is_complete=release.tag in complete or request.only_python,
            defaults=by_default.get(release.tag, {}),
        )
        for release in shown
    )
    return Report(
        request=request,
        rows=rows,
        uv=tuple(sorted({*answers, *defaults}, key=Version)),
        said=(*listing.said, *missing),
    )


def render(made: Report, console: Console) -> None:
    """The report as a table, and above it where it is from."""
    python = made.request.python
    console.print("; ".join(made.said), soft_wrap=True, markup=False)
    table = Table()
    table.add_column("release", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    table.add_column("CPython")
    table.add_column("link model", no_wrap=True)
    table.add_column(f"uv that installs it for {python}")
    table.add_column("known from")
    for row in made.rows:
        release = row.release
        table.add_row(
            release.tag,
            release.commit_date + ("" if release.is_dated else " ?"),
            _pythons(row),
            str(row.link_model),
            Text(", ".join(_versions(row.defaults, made.uv, made.request.platforms))),
            Text(", ".join(release.origins)),
        )
    console.print(table)
    notes = []
    if any(not row.release.is_dated for row in made.rows):
        notes.append("?: the date is that of its name")
    if any(row.pythons and not row.is_complete for row in made.rows):
        notes.append("…: what the uv versions asked would take from it; there is more")
    if len(made.uv) > 1:
        notes.append(f"{len(made.uv)} uv versions are compared, {made.uv[0]} to {made.uv[-1]}")
    for note in notes:
        console.print(note, soft_wrap=True, markup=False)


def as_json(made: Report) -> str:
    """The report for programs."""
    content = {
        "said": made.said,
        "python": made.request.python,
        "platforms": made.request.platforms,
        "uv": made.uv,
        "releases": [
            {
                "release": row.release.tag,
                "commit_date": row.release.commit_date,
                "is_dated": row.release.is_dated,
                "published": row.release.published,
                "link_model": row.link_model,
                "pythons": row.pythons,
                "is_complete": row.is_complete,
                "uv": {
                    platform: [uv for uv, where in row.defaults.items() if platform in where]
                    for platform in made.request.platforms
                },
                "known_from": row.release.origins,
            }
            for row in made.rows
        ],
    }
    return json.dumps(content, indent=1)


def _ask(
    request: Request, said: list[str], say: Callable[[str], None]
) -> tuple[dict[str, Answers], Defaults]:
    """What each uv version that is asked for says, as far as it can be had."""
    kept = uvbinary.remembered()
    versions = _uv_versions(request, kept, said)
    failed: dict[str, HarnessError] = {}
    wheels = {} if request.offline else _wheels(versions, request.lock, failed)
    new = [wheel for wheel in wheels.values() if not uvbinary.is_answered(wheel)]
    if new:
        say(f"asking uv: {len(new)} programs of some 20 MB each are downloaded; the answers stay")
    answers = {uv: kept[uv] for uv in versions if uv in kept}

    def ask(uv: str) -> None:
        # An index that does not answer will not answer for the others either.
        if uv in wheels and not any(isinstance(error, FetchError) for error in failed.values()):
            try:
                answers[uv] = uvbinary.answers(wheels[uv])
            except HarnessError as error:
                failed[uv] = error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ask, versions))
    if lacking := [uv for uv in versions if uv not in answers]:
        problem = why(next(iter(failed.values()))) if failed else "nothing is kept of its answers"
        said.append(f"no answer of uv {', '.join(_runs(lacking, versions))}: {problem}")
    defaults = {uv: _defaults(uv, answers.get(uv), request) for uv in versions}
    return answers, {uv: found for uv, found in defaults.items() if found}


def _wheels(
    versions: Sequence[str], lock: Lock, failed: dict[str, HarnessError]
) -> dict[str, LockedWheel]:
    """The wheel of each uv version for this machine, of the lock or of the package index."""
    host = Platform.host() or Platform.X86_64
    wheels = {}
    for uv in versions:
        known = lock.uv[uv].wheels.get(host) if uv in lock.uv else None
        try:
            wheels[uv] = known or index.find("uv", uv, "3.13", host)
        except HarnessError as error:
            failed[uv] = error
            if isinstance(error, FetchError):
                break
    return wheels


def _defaults(uv: str, answer: Answers | None, request: Request) -> dict[Platform, str]:
    found = {}
    for platform in request.platforms:
        if answer:
            offer = answer.default(request.python, platform)
            release = offer.release if offer else None
        else:
            known = request.lock.uv.get(uv)
            default = known.defaults.get(request.python, {}).get(platform) if known else None
            release = default.release if default else None
        if release:
            found[platform] = release
    return found


def _uv_versions(request: Request, here: Iterable[str], said: list[str]) -> tuple[str, ...]:
    """The uv versions that are asked for, oldest first."""
    locked = tuple(request.lock.uv)
    if not request.uv:
        return tuple(sorted(locked, key=Version))
    known = {*locked, *here}
    if not request.offline:
        try:
            known.update(index.candidates("uv"))
        except FetchError as error:
            said.append(f"the package index gave no list of uv versions: {why(error)}")
    every = sorted(known, key=Version)
    found = tuple(uv for uv in every if any(fnmatchcase(uv, glob) for glob in request.uv))
    if not found:
        raise SelectionError(
            f"--uv {' '.join(request.uv)!r} fits no version of uv",
            advice=f"The newest that are known: {', '.join(every[-5:]) or 'none'}.",
        )
    return found


def _contents(
    shown: Sequence[Release], request: Request, said: list[str]
) -> dict[str, tuple[str, ...]]:
    """The CPython versions in each release whose SHA256SUMS can be had."""
    oldest = releases.order(catalogue.FIRST_WITH_TAG_IN_NAMES)
    asked = [
        release.tag
        for release in shown
        if release.published is not False and releases.order(release.tag) >= oldest
    ]
    found: dict[str, tuple[str, ...]] = {}
    failed: list[HarnessError] = []

    def look(tag: str) -> None:
        try:
            sums = catalogue.sums(
                tag,
                request.mirror,
                offline=request.offline or bool(failed),
                patience=catalogue.IMPATIENT,
            )
        except FetchError as error:
            # One that was not asked for is no news, and neither is a release without such a file.
            if not (request.offline or failed or "404" in error.problem):
                failed.append(error)
        else:
            found[tag] = catalogue.pythons(sums, request.platforms)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(look, asked))
    said += [f"{request.mirror.name} gave no {SUMS}: {why(error)}" for error in failed[:1]]
    return found


def _wanted(versions: Iterable[str], request: Request) -> tuple[str, ...]:
    ordered = sorted(versions, key=Version)
    if not request.only_python:
        return tuple(ordered)
    return tuple(version for version in ordered if version.startswith(f"{request.python}."))


def _pythons(row: Row) -> str:
    if not row.pythons:
        return "-"
    return " ".join(row.pythons) + ("" if row.is_complete else " …")


def _versions(
    defaults: Mapping[str, tuple[Platform, ...]],
    every: Sequence[str],
    platforms: tuple[Platform, ...],
) -> list[str]:
    """uv versions, those on some platforms alone with these."""
    groups: dict[tuple[Platform, ...], list[str]] = {}
    for uv, where in defaults.items():
        groups.setdefault(where, []).append(uv)
    return [
        run if where == platforms else f"{run} ({', '.join(where)})"
        for where, versions in groups.items()
        for run in _runs(versions, every)
    ]


def _runs(versions: Sequence[str], every: Sequence[str]) -> list[str]:
    """Versions, of which many in a row (among all that were asked) are shortened to two."""
    places = {version: place for place, version in enumerate(every)}
    runs: list[list[str]] = []
    for version in versions:
        if runs and places[version] == places[runs[-1][-1]] + 1:
            runs[-1].append(version)
        else:
            runs.append([version])
    short = [[f"{run[0]} to {run[-1]}"] if len(run) >= _RUN else run for run in runs]
    return [name for run in short for name in run]
