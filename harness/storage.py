"""What the host's cache holds, and how it is made smaller.

Sizes are what files take on the disk, as ``du`` counts them: a sparse file by its blocks, a file
with several names once.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from harness import cache, seals
from harness.errors import SelectionError

HOLDS = {
    "base-images": "base images from a registry",
    "base-roots": "Debian packages for base images",
    "benchmarks": "scripts of pyperformance",
    "contents": "what is in an interpreter's archive",
    "debian-python": "Debian's CPython in the layout of a release",
    "installed": "unpacked extensions and checks",
    "bytecode": "the same with bytecode",
    "pair-links": "linked interpreters of the benchmark",
    "pairs": "archives of the benchmark's interpreters",
    "qemu": "QEMU of Debian 13",
    "releases": "lists of the releases that there are",
    "replicas": "replica archives",
    "rust-layers": "the Rust compiler for builds",
    "samples": "wheels built from sources",
    "sdks": "what there is of CPython to build against",
    "sums": "SHA256SUMS of releases",
    "systems": "what the loader finds in a base image",
    "unpacked": "archives, unpacked for a uv that cannot be given them",
    "upstream": "published archives",
    "answers": "what cells of bisections have answered",
    "commands": "commands of bisections, as checks",
    "uv": "uv programs",
    "uv-answers": "what uv programs say of themselves",
    "uv-defaults": "what uv programs install by default",
    "wheels": "wheels from the index",
    # No entries, and kept by others.
    "bisections": "what bisections have found out; not pruned",
    "image-locks": "lock files of image builds",
    "image-uses": "when which image was used",
    "members": "parts of wheels while they are looked at",
    "partial": "downloads that were cut short, to go on with",
    "zig": "the compiler's own cache; not pruned",
}
"""What there is below the cache's root, in words."""

PARTIAL = "partial"
"""The folder of downloads that are not complete, kept so that the next attempt goes on there."""

_PART = ".part"
"""After it nothing is of the name of what is downloaded."""

_DOWNLOADED = "upstream"
"""The kind that they are for."""

RECENT = 3600.0
"""Seconds. Who asked for an entry got a path, and may use it for as long as this."""

STALE = 7 * 24 * 3600.0
"""Seconds without a byte after which nobody is expected to go on with a download."""

_ENTRY = re.compile(r"[0-9a-f]{24}.*")
"""How entries are named, by digest: nothing else is removed, whatever folder the cache is said
to be."""

Inode = tuple[int, int]
Say = Callable[[str], None]


class Usage:
    """Bytes on the disk of some files, a file with several names among them counted once."""

    def __init__(self) -> None:
        self._single = 0
        self._names: Counter[Inode] = Counter()
        self._sizes: dict[Inode, int] = {}

    @property
    def size(self) -> int:
        """The bytes."""
        return self._single + sum(self._sizes[inode] for inode in self._names)

    def add(self, other: Usage) -> None:
        """Count what another counts too."""
        self._single += other._single
        self._names += other._names
        self._sizes |= other._sizes

    def take(self, other: Usage) -> None:
        """Count that no longer; a file stays counted while it has a name among what is left."""
        self._single -= other._single
        self._names -= other._names

    def count(self, status: os.stat_result) -> None:
        """Count a file by what ``stat`` says of it."""
        size = status.st_blocks * 512
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
            self._single += size
        else:
            inode = status.st_dev, status.st_ino
            self._names[inode] += 1
            self._sizes[inode] = size


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something in the cache: an entry, what a process left, a download cut short."""

    path: Path
    usage: Usage = field(compare=False, repr=False)
    used: float
    """Its last use or change, in seconds since the epoch."""

    @property
    def kind(self) -> str:
        """The folder that it is in."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """Such as ``replicas/0133518f51ca1e661d288ad0-cpython-3.13.5.tar.gz``."""
        return f"{self.kind}/{self.path.name}"


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What was found in the cache."""

    root: Path
    folders: dict[str, Usage]
    """All that is in each folder of the root, by its name; what is in none, by ''."""
    entries: tuple[Item, ...] = ()
    """The least recently used first."""
    leftovers: tuple[Item, ...] = ()
    """What processes left that died while they made or removed an entry."""
    in_work: tuple[Item, ...] = ()
    """What others are at now, or where that cannot be told."""
    partial: tuple[Item, ...] = ()
    """Downloads that were cut short, the oldest first."""
    locks: int = 0
    """How many lock files there are."""
    problems: tuple[str, ...] = ()
    """What could not be looked at, and why."""

    @property
    def size(self) -> int:
        """Bytes of all that is there."""
        return total(self.folders.values()).size


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed, or would be."""

    entries: tuple[Item, ...] = ()
    leftovers: tuple[Item, ...] = ()
    partial: tuple[Item, ...] = ()
    before: int = 0
    """Bytes of the cache, or of the kinds that were named."""
    after: int = 0
    wanted: int | None = None
    """Bytes that it should have at most; None where no size was asked for."""
    in_use: tuple[Item, ...] = ()
    """Entries that were passed over, since somebody used them at that moment."""
    recent: tuple[Item, ...] = ()
    """Entries that would have been next, but were used recently."""
    problems: tuple[str, ...] = ()
    """What could not be removed, and why."""


def total(usages: Iterable[Usage]) -> Usage:
    """Several as one."""
    whole = Usage()
    for usage in usages:
        whole.add(usage)
    return whole


def look() -> Storage:
    """What is in the cache now, as far as it can be read; what vanishes meanwhile is left out."""
    root = cache.root()
    problems: list[str] = []
    folders: dict[str, Usage] = {}
    entries: list[Item] = []
    leftovers: list[Item] = []
    in_work: list[Item] = []
    partial: list[Item] = []
    locks = 0
    for place in _list(root, problems):
        if (status := _status(place, problems)) is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            locks += place.suffix == ".lock"
            folders.setdefault("", Usage()).count(status)
            continue
        whole = folders[place.name] = Usage()
        whole.count(status)
        sealed: dict[str, Usage] = {}
        begun = len(entries)
        for path in _list(place, problems):
            if (status := _status(path, problems)) is None:
                continue
            usage = _usage(path, status, problems)
            whole.add(usage)
            item = Item(path=path, usage=usage, used=status.st_mtime)
            if path.suffix == ".lock":
                locks += 1
            elif path.suffix == seals.SUFFIX:
                sealed[path.name.removesuffix(seals.SUFFIX)] = usage
            elif entry := _entry_of(path):
                if place.name == PARTIAL:
                    partial.append(item)
                else:
                    (in_work if _is_locked(entry) else leftovers).append(item)
            elif _ENTRY.fullmatch(path.name) and place.name != PARTIAL:
                entries.append(item)
        for item in entries[begun:]:
            # Which goes with it.
            item.usage.add(sealed.get(f".{item.path.name}", Usage()))

    def age(item: Item) -> tuple[float, str]:
        return item.used, item.name

    return Storage(
        root=root,
        folders=folders,
        entries=tuple(sorted(entries, key=age)),
        # What was in work when it was listed may have become an entry before its lock was tried.
        leftovers=tuple(item for item in leftovers if os.path.lexists(item.path)),
        in_work=tuple(in_work),
        partial=tuple(sorted(partial, key=age)),
        locks=locks,
        problems=tuple(problems),
    )


def prune(
    to: int | None = None,
    *,
    kind: str = "*",
    now: bool = False,
    dry_run: bool = False,
    say: Say = lambda line: None,
) -> Pruned:
    """Remove what dead processes left, stale downloads, and the entries least recently used.

    Entries are removed until the cache takes ``to`` bytes at most; with ``kind``, a glob, until
    the entries of such kinds do. Without ``to`` none is. What was used within :data:`RECENT` stays
    unless ``now``; what somebody is at stays in any case. Raises :class:`SelectionError` for a
    kind that there is not.
    """
    root = cache.root()
    lock = FileLock(root / ".prune.lock")
    if not dry_run and root.is_dir():
        try:
            _acquire(lock, say)
        except OSError as error:
            return Pruned(wanted=to, problems=(_problem(root, "pruned", error),))
    try:
        return _prune(look(), to, kind, now, dry_run)
    finally:
        lock.release()


def _acquire(lock: FileLock, say: Say) -> None:
    """Wait for another prune to end: both would see the same surplus, and remove it twice."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("another prune is at work on this cache; waiting for it")
        lock.acquire()


def _prune(found: Storage, to: int | None, kind: str, now: bool, dry_run: bool) -> Pruned:
    known = {*HOLDS, *found.folders} - {""}
    if not any(fnmatchcase(name, kind) for name in known):
        raise SelectionError(
            f"no kind of entry is called {kind!r}", advice=f"There are: {', '.join(sorted(known))}."
        )
    problems = list(found.problems)
    start = time.time()
    leftovers = tuple(item for item in found.leftovers if dry_run or _removed(item, problems))
    partial = tuple(
        item
        for item in found.partial
        if start - item.used > STALE and (dry_run or _removed(item, problems))
    )
    entries = [item for item in found.entries if fnmatchcase(item.kind, kind)]
    left = total(found.folders.values() if kind == "*" else (item.usage for item in entries))
    before = left.size
    if kind == "*":
        for item in (*leftovers, *partial):
            left.take(item.usage)
    removed: list[Item] = []
    in_use: list[Item] = []
    recent: list[Item] = []
    for item in entries:
        if to is None or left.size <= to:
            break
        if not now and start - item.used < RECENT:
            recent.append(item)
            continue
        try:
            if not dry_run and not cache.remove(item.path, last_used=item.used):
                in_use.append(item)
                continue
            removed.append(item)
        except FileNotFoundError:
            pass  # Somebody else has removed it.
        except OSError as error:
            problems.append(_problem(item.path, "removed", error))
            continue
        left.take(item.usage)
    return Pruned(
        entries=tuple(removed),
        leftovers=leftovers,
        partial=partial,
        before=before,
        after=left.size,
        wanted=to,
        in_use=tuple(in_use),
        recent=tuple(recent),
        problems=tuple(problems),
    )


def _removed(item: Item, problems: list[str]) -> bool:
    """Remove something that is no entry, unless somebody has begun to make its entry again."""
    entry = _entry_of(item.path)
    assert entry is not None  # else it would not have been listed
    try:
        with FileLock(cache.lock_file(entry), timeout=0):
            cache.discard(item.path)
    except Timeout:
        return False
    except OSError as error:
        problems.append(_problem(item.path, "removed", error))
        return False
    return True


def _entry_of(path: Path) -> Path | None:
    """The entry that a scratch file or directory, or a download, is for; None for all else."""
    if path.parent.name == PARTIAL:
        name, found, _ = path.name.partition(_PART)
        return path.parent.with_name(_DOWNLOADED) / name if found else None
    match = cache.SCRATCH.fullmatch(path.name)
    if match is None or not _ENTRY.fullmatch(match["entry"]):
        return None
    return path.with_name(match["entry"])


def _is_locked(entry: Path) -> bool:
    """Whether somebody makes or removes an entry, or that cannot be told."""
    lock = cache.lock_file(entry)
    try:
        # Not made for the question's sake: that is to change nothing.
        if lock.exists():
            with FileLock(lock, timeout=0):
                pass
    except OSError:  # Timeout is one, too.
        return True
    return False


def _list(folder: Path, problems: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(_problem(folder, "read", error))
        return []


def _status(path: Path, problems: list[str]) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(_problem(path, "read", error))
        return None


def _usage(path: Path, status: os.stat_result, problems: list[str]) -> Usage:
    """What a file takes, or a directory with all in it."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(_problem(Path(error.filename), "read", error))

    usage = Usage()
    usage.count(status)
    if stat.S_ISDIR(status.st_mode):
        for folder, folders, files in os.walk(path, onerror=note):
            for name in (*folders, *files):
                if (below := _status(Path(folder, name), problems)) is not None:
                    usage.count(below)
    return usage


def _problem(path: Path, what: str, error: OSError) -> str:
    return f"{path} cannot be {what}: {error.strerror or error}"


def render(storage: Storage, console: Console) -> None:
    """Print a line for each kind, and what else there is."""

    def line(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    now = time.time()
    if not any(storage.folders) and not storage.problems:
        line(f"{storage.root}: empty")
        return
    table = Table(header_style="", box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    for heading in ("entries", "size", "oldest use", "newest use"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("holds")
    for name, usage in sorted(storage.folders.items(), key=lambda each: -each[1].size):
        uses = [item.used for item in storage.entries if item.kind == name]
        if name or usage.size:
            table.add_row(
                name or "(other)",
                str(len(uses)) if uses else "",
                decimal(usage.size),
                age(now - min(uses)) if uses else "",
                age(now - max(uses)) if uses else "",
                HOLDS.get(name, ""),
            )
    entries = _counted(len(storage.entries), "entry", "entries")
    line(f"{storage.root}: {decimal(storage.size)}, {entries}\n")
    console.print(table)
    line("")
    if storage.leftovers:
        size = decimal(total(item.usage for item in storage.leftovers).size)
        line(f"left by processes that died: {len(storage.leftovers)}, {size}")
        line("  Remove them with `pbs-matrix cache prune`.")
    if storage.in_work:
        line(f"being made or removed now: {len(storage.in_work)}")
    if storage.partial:
        size = decimal(total(item.usage for item in storage.partial).size)
        oldest = age(now - storage.partial[0].used)
        count = sum(item.path.suffix == _PART for item in storage.partial)
        line(f"downloads to go on with: {count}, {size}, the oldest of {oldest} ago")
    line(f"lock files: {storage.locks}, empty; they stay")
    for problem in storage.problems:
        line(problem)


def report(pruned: Pruned, *, dry_run: bool = False) -> Iterator[str]:
    """What was removed, a line for each, what stays nevertheless, and the sizes."""
    now = time.time()
    verb = "would remove" if dry_run else "removed"
    for item in pruned.leftovers:
        yield f"{verb} {item.name}, left by a process that died"
    for item in pruned.partial:
        yield f"{verb} {item.name}, a download cut short {age(now - item.used)} ago"
    for item in pruned.entries:
        yield f"{verb} {item.name}: {decimal(item.usage.size)}, used {age(now - item.used)} ago"
    if pruned.in_use:
        yield f"{_counted(len(pruned.in_use), 'entry', 'entries')} in use at this moment: left"
    yield from pruned.problems
    count = len(pruned.entries) + len(pruned.leftovers) + len(pruned.partial)
    sizes = f"{decimal(pruned.before)} before, {decimal(pruned.after)} after"
    things = _counted(count, "thing", "things")
    yield f"{verb} {things}: {sizes}" if count else f"nothing to remove: {decimal(pruned.before)}"
    if pruned.wanted is not None and pruned.after > pruned.wanted:
        why = "what stays is no entry, or in use"
        if pruned.recent:
            size = decimal(total(item.usage for item in pruned.recent).size)
            uses = _counted(len(pruned.recent), "entry was", "entries were")
            why = f"{uses} used within the last hour ({size}); --now has them removed too"
        yield f"that is more than {decimal(pruned.wanted)}: {why}"


def as_json(storage: Storage) -> str:
    """The same as :func:`render` prints, for programs; times in UTC, sizes in bytes."""

    def moment(used: float) -> str:
        return datetime.fromtimestamp(used, UTC).isoformat(timespec="seconds")

    def listed(items: Iterable[Item]) -> list[dict[str, object]]:
        return [
            {"path": str(item.path), "size": item.usage.size, "changed": moment(item.used)}
            for item in items
        ]

    kinds = {}
    for name in filter(None, storage.folders):
        usage = storage.folders[name]
        uses = [item.used for item in storage.entries if item.kind == name]
        kinds[name] = {
            "entries": len(uses),
            "size": usage.size,
            "oldest_use": moment(min(uses)) if uses else None,
            "newest_use": moment(max(uses)) if uses else None,
            "holds": HOLDS.get(name),
        }
    content = {
        "root": str(storage.root),
        "size": storage.size,
        "kinds": kinds,
        "other_files": storage.folders.get("", Usage()).size,
        "leftovers": listed(storage.leftovers),
        "in_work": listed(storage.in_work),
        "partial": listed(storage.partial),
        "lock_files": storage.locks,
        "problems": storage.problems,
    }
    return json.dumps(content, indent=1)


def age(seconds: float) -> str:
    """A span of time for people, such as ``3 days``; its largest unit, rounded down."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return _counted(int(seconds // length), unit, f"{unit}s")
    return "a moment"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
