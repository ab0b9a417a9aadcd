"""Which releases of python-build-standalone exist, and which files each has.

Nobody has to answer: what the project's own table knows is known anyway, and what GitHub or a
mirror has said before is kept. A list is of the day; who plans by one asks once, in one process.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from harness import cache, downloads, network, published, releasechoice, releases, tools
from harness.downloads import Document, Patience
from harness.errors import FetchError, HarnessError, SelectionError
from harness.flavours import Flavour
from harness.lock import Lock
from harness.mirror import SUMS, Mirror
from harness.platforms import Platform

REPOSITORY = "astral-sh/python-build-standalone"
GIT = f"https://github.com/{REPOSITORY}"

MAX_AGE = 3600.0
"""Seconds for which an answer is taken without asking again."""

FIRST_WITH_TAG_IN_NAMES = "20220222"
"""Files of older releases are named otherwise, and none of them is under test."""

_PAGE = 10
"""Releases in one answer of the API. Each comes with its thousand files: a hundred would be more
than the API has time for. uv's own script asks for as many."""

_KIND = "releases"
_SUMS = "sums"
_PAGE_LIMIT = 64 << 20
_MOST_PAGES = 100
_GIT_PATIENCE = 30.0
IMPATIENT = Patience(attempts=2, first=0.2, retry_after=5, silence=30)
"""For what can be done without."""

_TAG = re.compile(r"\d{8}", re.ASCII)
_PEELED = re.compile(r"^[0-9a-f]{40,64}\s+refs/tags/(\d{8})$", re.ASCII | re.MULTILINE)
_SUM = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>[\w.+%~-]+)", re.ASCII)


class Origin(StrEnum):
    """Who says that a release exists."""

    TABLE = "table"
    """This project's own, as it was committed."""
    API = "GitHub"
    TAGS = "git"
    """GitHub's repository, by its tags: without dates, and a tag may have no release."""
    MIRROR = "mirror"
    LOCK = "lock"
    UV = "uv"
    """A uv that has files of it in its own metadata."""


_AUTHORITIES = frozenset({Origin.API, Origin.TAGS, Origin.MIRROR})
"""Whoever of them was asked knows of every release there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A tag of python-build-standalone."""

    tag: str
    commit_date: str
    """Of the tagged commit, ISO 8601."""
    is_dated: bool = True
    """Whether somebody has said so; else the date is only that which the tag is named for."""
    published: bool | None = None
    """Whether its files can be had from where they are asked for; None where nobody has said."""
    origins: tuple[Origin, ...] = ()
    """Who knows of it."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What there is, and how that was found out."""

    releases: tuple[Release, ...]
    """In commit order, oldest first."""
    said: tuple[str, ...] = ()
    """Sentences: where the list is from; then what did not answer, and what was done instead."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A list as one place has it: tags, and their dates where it says so."""

    origin: Origin
    tags: Mapping[str, str | None]
    asked: float
    """When, in seconds since the epoch."""
    pages: Mapping[str, _Page] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Page:
    """An answer as it was, so that it need not be sent again."""

    etag: str | None
    following: str | None
    tags: Mapping[str, str | None]


def known(
    mirror: Mirror,
    *,
    offline: bool = False,
    beside: Lock | None = None,
    uv: Iterable[str] = (),
    max_age: float = MAX_AGE,
) -> Listing:
    """Every release that is known, from the mirror, else from GitHub, else from what is here.

    ``offline`` asks nobody. The defaults of the uv versions in the lock ``beside`` are among them,
    and the tags that some ``uv`` knows. ``max_age`` is in seconds. Does not fail: what did not
    answer is said.
    """
    said: list[str] = []
    found = None
    for askers in _askers(mirror):
        found = found or _ask(askers, said, offline=offline, max_age=max_age)
    listed: dict[str, Release] = {}
    _add(listed, releases.commit_dates(), Origin.TABLE)
    if found:
        _add(listed, found.tags, found.origin)
    # Whoever answers now may have no dates, and GitHub may have said some before.
    dated = _kept(_API, network.api())
    if dated:
        _add(listed, {tag: date for tag, date in dated.tags.items() if tag in listed}, None)
    if beside:
        _add(listed, dict.fromkeys(_defaults(beside)), Origin.LOCK)
    _add(listed, dict.fromkeys(uv), Origin.UV)
    made = _ordered(listed)
    return Listing(releases=made, said=(_account(found, made), *said))


def resolve(choice: str, listed: Sequence[Release]) -> tuple[str, ...]:
    """The tags that a choice names, in commit order: a tag, ``latest``, ``latest-3`` or a range.

    What a mirror does not have is in no range and never the latest; by its own name it is found.
    Raises :class:`SelectionError` with what there is.
    """
    tags = [release.tag for release in listed]
    there = [release.tag for release in listed if release.published is not False]
    ends = [end for end in choice.split("..") if end]
    if not any(_AUTHORITIES.intersection(release.origins) for release in listed):
        # The table ends on some day. It cannot say that there was nothing later.
        later = {end for end in ends if end not in tags and _is_later(end, tags)}
        tags, there = [*tags, *sorted(later)], [*there, *sorted(later)]
    try:
        named = {
            end: releasechoice.choose(end, there if _is_latest(end) else tags)[0] for end in ends
        }
        if ".." not in choice:
            return (named[choice],)
        first, _, last = choice.partition("..")
        asked = f"{named.get(first, '')}..{named.get(last, '')}"
        if found := tuple(tag for tag in releasechoice.choose(asked, tags) if tag in there):
            return found
        raise LookupError("nothing that is there lies in it")
    except LookupError as error:
        newest = ", ".join(there[-5:]) or "none"
        raise SelectionError(
            f"release {choice!r}: {error}",
            advice=f"The newest that are there: {newest}; `pbs-matrix releases` lists them.",
        ) from error


def sums(
    release: str,
    mirror: Mirror,
    *,
    needing: str | None = None,
    offline: bool = False,
    patience: Patience | None = None,
) -> Mapping[str, str]:
    """The sha256 of each file of a release, by its name, from the release's SHA256SUMS.

    It is kept, and asked for again only where it lacks the file that is needed: one that was kept
    while the release was being published. Raises :class:`FetchError` where it cannot be had;
    ``offline`` asks nobody.
    """
    key = cache.digest(mirror.base, release)
    if (path := cache.existing(_SUMS, key)) and cache.is_intact(path):
        with suppress(OSError, FetchError):  # removed or damaged just now
            found = _parsed(path.read_bytes(), str(path))
            if needing is None or needing in found:
                return found
    if offline:
        raise FetchError(
            f"the cache has no {SUMS} of release {release} from {mirror.name}",
            advice="Ask for it without --offline.",
        )
    document = _read(mirror.urls(release, SUMS), patience=patience or downloads.PATIENCE)
    body = document.body or b""
    found = _parsed(body, network.shown(document.url))
    cache.replace(_SUMS, key, body)
    return found


def why(error: HarnessError) -> str:
    """What an error says in the end, without what was being done."""
    line = error.problem.splitlines()[-1].removeprefix("fatal: ")
    return line.rpartition(": ")[2] if " cannot be fetched: " in line else line


def pythons(filenames: Iterable[str], platforms: Iterable[Platform]) -> tuple[str, ...]:
    """The CPython versions among some files, oldest first, as uv would take them by default."""
    wanted = frozenset(platforms)
    ordinary = (Flavour.STRIPPED, Flavour.INSTALL_ONLY)
    names = (name for name in map(published.parse, filenames) if name is not None)
    fit = {name.version for name in names if name.platform in wanted and name.flavour in ordinary}
    return tuple(sorted(fit, key=published.version_order))


def _read(
    urls: Sequence[str],
    *,
    etag: str | None = None,
    limit: int = 8 << 20,
    patience: Patience | None = None,
) -> Document:
    """Everything that this module downloads."""
    return downloads.read(urls, etag=etag, limit=limit, patience=patience or IMPATIENT)


_Asker = tuple[str, str, Callable[["_Found | None"], "_Found"]]
"""What a kept answer is called, whom it is of, and how to ask for another."""

_API, _GIT, _INDEX = "GitHub's API", "git ls-remote", "the mirror's index"


def _askers(mirror: Mirror) -> list[list[_Asker]]:
    """Whom to ask for a list: the best first, and together who knows the same."""
    github: list[_Asker] = [(_API, network.api(), _ask_api), (_GIT, GIT, _ask_git)]
    if mirror.base is None:
        return [github]
    base = mirror.base
    return [[(_INDEX, base, lambda before: _ask_mirror(base, before))], github]


def _ask(
    askers: Sequence[_Asker], said: list[str], *, offline: bool, max_age: float
) -> _Found | None:
    """The list of the first that has one: new enough, asked for now, or else kept from earlier."""
    before = [_kept(what, whose) for what, whose, _ in askers]
    newest = max(filter(None, before), key=lambda found: found.asked, default=None)
    if offline or (newest and 0 <= time.time() - newest.asked < max_age):
        return newest
    for (what, whose, ask), kept in zip(askers, before, strict=True):
        try:
            found = ask(kept)
        except HarnessError as error:
            said.append(f"{what} gave no list: {why(error)}")
        else:
            _keep(what, whose, found)
            return found
    return newest


def _ask_api(before: _Found | None) -> _Found:
    """GitHub's API, page by page, the newest first, until one brings nothing that is new.

    ``created_at`` is the date of the tagged commit; ``published_at`` is not.
    """
    old = before.pages if before else {}
    pages: dict[str, _Page] = {}
    tags: dict[str, str | None] = dict(before.tags) if before else {}
    following: str | None = f"{network.api()}/repos/{REPOSITORY}/releases?per_page={_PAGE}&page=1"
    while following and following not in pages and len(pages) < _MOST_PAGES:
        url, kept = following, old.get(following)
        document = _read([url], etag=kept.etag if kept else None, limit=_PAGE_LIMIT)
        if document.body is None and kept:
            page = kept
        else:
            page = _Page(
                etag=document.etag,
                following=document.next,
                tags=_listed(document.body or b"", network.shown(url)),
            )
        known_already = tags.keys() | releases.commit_dates().keys()
        pages[url] = page
        tags |= page.tags
        is_old = page.tags and page.tags.keys() <= known_already
        following = None if is_old else page.following
    if not tags:
        raise FetchError(f"{network.api()} lists no release", advice="Look at what answers there.")
    # Pages that were not asked for again are as they were, if a little further down by now.
    return _Found(origin=Origin.API, tags=tags, asked=time.time(), pages={**old, **pages})


def _listed(body: bytes, url: str) -> dict[str, str | None]:
    """Tags and commit dates in a page of the API; drafts are not there yet."""
    try:
        found = {
            str(one["tag_name"]): str(one["created_at"])[:10]
            for one in json.loads(body)
            if not one["draft"]
        }
        for date in found.values():
            datetime.strptime(date, "%Y-%m-%d")
    except (ValueError, LookupError, TypeError) as error:
        raise FetchError(
            f"{url} is no list of releases", advice="Look at what answers there."
        ) from error
    return {tag: date for tag, date in found.items() if _TAG.fullmatch(tag)}


def _ask_git(before: _Found | None) -> _Found:
    said = tools.run(
        ["git", "ls-remote", "--tags", GIT],
        doing=f"asking {GIT} for its tags",
        environment={"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        timeout=_GIT_PATIENCE,
    )
    tags = _PEELED.findall(said)
    if not tags:
        raise FetchError(f"{GIT} has no tag", advice="Look at what answers there.")
    return _Found(origin=Origin.TAGS, tags=dict.fromkeys(tags), asked=time.time())


def _ask_mirror(base: str, before: _Found | None) -> _Found:
    """The mirror's own list of folders: a page of links, as web servers make it, or a folder."""
    parts, index = urlsplit(base), f"{base}/"
    if parts.scheme == "file":
        folder = Path(url2pathname(parts.path))
        try:
            tags = [path.name for path in folder.iterdir() if path.is_dir()]
        except OSError as error:
            raise FetchError(
                f"{folder} cannot be read: {error.strerror or error}", advice="Name another."
            ) from error
        etag = None
    else:
        kept = before.pages.get(index) if before else None
        document = _read([index], etag=kept.etag if kept else None)
        etag = document.etag
        if document.body is None and kept:
            tags = list(kept.tags)
        else:
            links = _Links()
            links.feed((document.body or b"").decode("utf-8", "replace"))
            tags = links.names
    listed = {tag: None for tag in tags if _is_date(tag)}
    if not listed:
        raise FetchError(
            f"{network.shown(index)} lists no release", advice="Have it list its folders."
        )
    page = _Page(etag=etag, following=None, tags=listed)
    return _Found(origin=Origin.MIRROR, tags=listed, asked=time.time(), pages={index: page})


class _Links(HTMLParser):
    """The last parts of what a page has links to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads."""
        target = dict(attrs).get("href") if tag == "a" else None
        if target:
            self.names.append(unquote(target.split("?")[0].rstrip("/").rpartition("/")[2]))


def _add(listed: dict[str, Release], tags: Mapping[str, str | None], origin: Origin | None) -> None:
    """Say of some tags who knows of them. A date that is there already stays."""
    for tag, date in tags.items():
        old = listed.get(tag) or Release(tag=tag, commit_date=_named_for(tag), is_dated=False)
        known = (origin,) if origin and origin not in old.origins else ()
        listed[tag] = replace(
            old,
            commit_date=date if date and not old.is_dated else old.commit_date,
            is_dated=old.is_dated or bool(date),
            origins=(*old.origins, *known),
        )


def _ordered(listed: Mapping[str, Release]) -> tuple[Release, ...]:
    """In commit order, releases of one day by name; with what is said of who has their files."""
    origins = {origin for release in listed.values() for origin in release.origins}

    def is_published(release: Release) -> bool | None:
        if Origin.MIRROR in origins:
            return Origin.MIRROR in release.origins
        return True if {Origin.API, Origin.UV, Origin.LOCK} & {*release.origins} else None

    made = [replace(release, published=is_published(release)) for release in listed.values()]
    return tuple(sorted(made, key=lambda release: (release.commit_date, release.tag)))


def _named_for(tag: str) -> str:
    return f"{tag[:4]}-{tag[4:6]}-{tag[6:]}"


def _is_date(tag: str) -> bool:
    if not _TAG.fullmatch(tag):
        return False
    try:
        datetime.strptime(tag, "%Y%m%d")
    except ValueError:
        return False
    return True


def _is_later(tag: str, tags: Sequence[str]) -> bool:
    return _is_date(tag) and tag > max(tags, default="")


def _is_latest(end: str) -> bool:
    return releasechoice.LATEST.fullmatch(end) is not None


def _defaults(lock: Lock) -> Iterator[str]:
    for uv in lock.uv.values():
        for by_platform in uv.defaults.values():
            yield from (default.release for default in by_platform.values())


def _account(found: _Found | None, listed: Sequence[Release]) -> str:
    """Where a list is from, in one sentence."""
    undated = [release.tag for release in listed if not release.is_dated]
    by_name = f"; {len(undated)} dated by name alone" if undated else ""
    if found is None:
        last = max(releases.commit_dates(), key=releases.order)
        return f"{len(listed)} releases, by the table that ends with {last}{by_name}"
    minutes = max(int((time.time() - found.asked) / 60), 0)
    when = "just now" if minutes < 1 else f"{_duration(minutes)} ago"
    who = {Origin.API: _API, Origin.TAGS: "GitHub's tags", Origin.MIRROR: _INDEX}[found.origin]
    return f"{len(listed)} releases, by {who}, asked {when}, and the table{by_name}"


def _duration(minutes: int) -> str:
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"


def _keep(what: str, whose: str, found: _Found) -> None:
    content = json.dumps(asdict(found), indent=1).encode()
    cache.replace(_KIND, cache.digest(what, whose), content, suffix=".json")


def _kept(what: str, whose: str) -> _Found | None:
    """What was kept; None where that is nothing, or nothing that this version can read."""
    path = cache.existing(_KIND, cache.digest(what, whose), suffix=".json")
    try:
        content = json.loads(path.read_bytes()) if path else {}
        return _Found(
            origin=Origin(content["origin"]),
            tags=dict(content["tags"]),
            asked=float(content["asked"]),
            pages={url: _Page(**page) for url, page in content["pages"].items()},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _parsed(content: bytes, where: str) -> dict[str, str]:
    """Every line must be one, since a login page would else be a release without files."""
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    found = [match for match in map(_SUM.fullmatch, lines) if match]
    if not lines or len(found) < len(lines):
        raise FetchError(
            f"{where} is no {SUMS}",
            advice="Something else answers there: a login page, or a mirror that is not one.",
        )
    return {unquote(match["name"]): match["sha256"] for match in found}
