"""Faults of files: entries of the cache that are not what they were, locks and results altered."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Any

from harness import cache, seals
from harness.errors import ExitCode
from tests.faults.fault import Fault, Happened
from tests.faults.hosts import ground
from tests.faults.hosts.scene import Scene, made_up, not_right, verdict
from tests.faults.room import PROJECT, Room
from tests.unit import sample_results

KINDS = (
    *("answers", "base-roots", "bytecode", "contents", "debian-python", "installed", "replicas"),
    *("samples", "sdks", "systems", "uv", "uv-answers", "uv-defaults", "wheels"),
)
"""Kinds of entries that a copy of the cache has."""

Damage = Callable[[Sequence[Path]], None]
"""Does something to entries of one kind."""


# A cache to be damaged.


@dataclass(kw_only=True)
class Copy:
    """A copy of the user's cache, which has links to the same files until one is to be damaged."""

    folder: Path
    since: float = 0.0
    """When the first run on it began: what it has used is what may be damaged."""

    def scene(self, room: Room) -> Scene:
        """Runs on it."""
        return Scene(room=room, environment={cache.LOCATION_VARIABLE: str(self.folder)})

    def settle(self, room: Room) -> None:
        """Make what is missing. Raises :class:`RuntimeError` where a run on it is not right."""
        self.since = self.since or time.time()
        if problems := not_right(self.scene(room).run("-n", "0")):
            raise RuntimeError(f"an undisturbed run is not right: {problems}")

    def used(self, kind: str) -> list[Path]:
        """Entries that a run has used."""
        there = sorted((self.folder / kind).glob("[0-9a-f]*"))
        return [path for path in there if cache.last_use(path) >= self.since - 1]


@once
def copy() -> Copy:
    """This process's."""
    # Links are possible within one file system only.
    cache.root().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".faults-", dir=cache.root().parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for kind in KINDS:
        with suppress(FileNotFoundError):
            shutil.copytree(
                *(cache.root() / kind, folder / kind),
                symlinks=True,
                copy_function=os.link,
                ignore=shutil.ignore_patterns(".*.lock", ".*.????????"),
            )
    return Copy(folder=folder)


def own(path: Path) -> Path:
    """Make an entry's files its own, so that nobody else's is damaged with it."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    moved = scratch / path.name
    if path.is_dir():
        shutil.copytree(path, moved, symlinks=True)
    else:
        shutil.copy2(path, moved)
    cache.discard(path)
    moved.rename(path)
    scratch.rmdir()
    return path


# Damage.


def largest(entry: Path) -> Path:
    """The file of an entry that damage is most likely to hit."""
    if not entry.is_dir():
        return entry
    files = [path for path in entry.rglob("*") if path.is_file() and not path.is_symlink()]
    return max(files, key=lambda path: (path.suffix == ".so", path.stat().st_size))


def cut_short(entries: Sequence[Path]) -> None:
    """Half of it is there."""
    for path in map(largest, map(own, entries)):
        os.truncate(path, path.stat().st_size // 2)


def emptied(entries: Sequence[Path]) -> None:
    """As after a power cut, where the name was kept and the bytes were not."""
    for path in map(largest, map(own, entries)):
        os.truncate(path, 0)


def flipped(entries: Sequence[Path]) -> None:
    """One bit is another, and no time says so."""
    for path in map(largest, map(own, entries)):
        about = path.stat()
        with path.open("r+b") as stream:
            stream.seek(about.st_size // 2)
            byte = stream.read(1)[0]
            stream.seek(about.st_size // 2)
            stream.write(bytes([byte ^ 4]))
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def exchanged(entries: Sequence[Path]) -> None:
    """Each has what is another's."""
    held = [own(path) for path in entries]
    names = [path.with_name(f".{path.name}.exchange") for path in held]
    for path, name in zip(held, names, strict=True):
        path.rename(name)
    for path, name in zip(held, (*names[1:], names[0]), strict=True):
        name.rename(path)


def folders(entries: Sequence[Path]) -> None:
    """A folder is in its place."""
    for path in entries:
        cache.discard(path)
        (path / "x").mkdir(parents=True)


def links_to_nothing(entries: Sequence[Path]) -> None:
    """A link that leads nowhere is in its place."""
    for path in entries:
        cache.discard(path)
        path.symlink_to(path.with_name("nothing"))


def unreadable(entries: Sequence[Path]) -> None:
    """It is there, and reading it fails, as on a dying disk."""
    for path in entries:
        cache.discard(path)
        path.symlink_to("/proc/self/mem")


def without_a_file(entries: Sequence[Path]) -> None:
    """A file of it is gone."""
    for path in map(largest, map(own, entries)):
        path.unlink()


# Entries.


def damaged(kind: str, damage: Damage, room: Room) -> Happened:
    """Entries that a run uses are damaged: it is right all the same, or refuses them by name."""
    place = copy()
    place.settle(room)
    entries = place.used(kind)
    if not entries:
        return Happened(what=f"no entry of {kind}", verdict="", wrong=("nothing was damaged",))
    return _after(place.scene(room), kind, entries, damage)


def damaged_and_read(kind: str, damage: Damage, *gone: str, room: Room) -> Happened:
    """The same of what is read only where an image is built; ``gone``: entries made of it."""
    place = ground.own()
    place.settle(room)
    place.without_images(room)
    place.without(*gone)
    entries = sorted((place.cache / kind).glob("[0-9a-f]*"))
    if kind in ("uv", "wheels"):
        # Of all that were ever fetched, those of the lock.
        locked = (PROJECT / "matrix.lock").read_text(encoding="utf-8")
        entries = [path for path in entries if path.name[:24] in locked]
    with place.located():
        return _after(place.scene(room), kind, entries, damage)


def _after(scene: Scene, kind: str, entries: Sequence[Path], damage: Damage) -> Happened:
    # The user's own are never to be changed: these have the same names.
    theirs = [cache.root() / kind / path.name for path in entries]
    if scene.environment[cache.LOCATION_VARIABLE] == str(cache.root()):
        theirs = []
    before = {path: _seal(path) for path in theirs if path.exists()}
    for path in entries:
        seals.is_intact(path)  # which is then known of it
    damage(entries)
    running = scene.start("-n", "0")
    ran = running.finish()
    left, seconds = scene.gone(running, running.start)
    said = ran.said + "".join(line.get("message", "") for line in ran.results)
    told = [path for path in entries if f"{path} is not what it was" in said]
    wrong = made_up(ran)
    if not told:
        wrong += not_right(ran)
    elif any(line["status"] not in ("as-expected", "untestable") for line in ran.results):
        wrong.append(f"verdicts of what is damaged: {verdict(ran)}")
    wrong += scene.next_run()
    wrong += [
        f"{path} of the user's cache was changed" for path, s in before.items() if _seal(path) != s
    ]
    still = [path for path in entries if os.path.lexists(path) and not seals.is_intact(path)]
    what = "refused, and removed" if told else "as if nothing had happened"
    if still:
        what += f"; {len(still)} not looked at"
        for path in still:
            cache.discard(path)
            seals.remove(path)
    return Happened(
        what=f"{len(entries)} of {kind}: {(damage.__doc__ or '').rstrip('.').lower()}; {what}",
        verdict=verdict(ran),
        seconds=seconds,
        left=left,
        wrong=tuple(wrong),
    )


def _seal(path: Path) -> object:
    if path.is_dir():
        return sorted((str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in path.rglob("*"))
    return path.lstat().st_size, cache.file_digest(path)


# Locks and matrices.


def _matrix(room: Room) -> Path:
    """A folder with a matrix and its lock, whose cells are those of the project's own."""
    folder = room.folder / "matrix"
    folder.mkdir()
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy2(PROJECT / name, folder)
    (folder / "cases").symlink_to(PROJECT / "cases", target_is_directory=True)
    return folder


def relocked(
    change: Callable[[dict[str, Any]], None], codes: Sequence[int], *words: str, room: Room
) -> Happened:
    """A lock that names something else than there is: refused before anything of it is used."""
    folder = _matrix(room)
    path = folder / "matrix.lock"
    lock = json.loads(path.read_text(encoding="utf-8"))
    change(lock)
    path.write_text(json.dumps(lock, indent=1), encoding="utf-8")
    place = copy()
    place.settle(room)
    plain = place.scene(room)
    scene = Scene(
        room=room, environment=plain.environment, options=(f"--matrix={folder / 'matrix.yaml'}",)
    )
    running = scene.start("-n", "0")
    ran = running.finish()
    left, seconds = scene.gone(running, running.start)
    said = ran.said + "".join(line.get("message", "") for line in ran.results)
    wrong = made_up(ran)
    if ran.code not in codes:
        wrong.append(f"it ended with {ran.code}: {ran.said[-500:]}")
    if any(line["status"] != "untestable" for line in ran.results):
        wrong.append(f"a verdict by what the lock does not have: {verdict(ran)}")
    wrong += [f"it does not say {word!r}" for word in words if word not in said]
    wrong += plain.next_run()
    return Happened(
        what=(change.__doc__ or "").rstrip(".").lower(),
        verdict=verdict(ran),
        seconds=seconds,
        left=left,
        wrong=tuple(wrong),
    )


UV, PYTHON = "0.7.6", "3.13"


def uv_wheel(lock: dict[str, Any]) -> None:
    """The lock has another sha256 for uv's wheel than the index."""
    for wheel in lock["uv"][UV]["wheels"].values():
        wheel["sha256"] = "0" * 64


def other_release(lock: dict[str, Any]) -> None:
    """The lock has another release than that uv installs."""
    for default in lock["uv"][UV]["defaults"][PYTHON].values():
        default["release"] = "20250409"


def other_archive(lock: dict[str, Any]) -> None:
    """The lock has another sha256 for the archive than that uv."""
    for default in lock["uv"][UV]["defaults"][PYTHON].values():
        default["sha256"] = "0" * 64


def rewritten(
    name: str, change: Callable[[bytes], bytes], code: int, what: str, room: Room
) -> Happened:
    """A matrix or its lock that is damaged as a file: refused with the line, and nothing is run."""
    folder = _matrix(room)
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    scene = Scene(room=room, options=(f"--matrix={folder / 'matrix.yaml'}",))
    running = scene.start("-n", "0")
    ran = running.finish()
    left, seconds = scene.gone(running, running.start)
    wrong = made_up(ran)
    if ran.code != code or ran.results:
        wrong.append(f"it ended with {ran.code}: {ran.said[-500:]}")
    if f"{path}:" not in ran.said:
        wrong.append(f"no line is named: {ran.said[-500:]}")
    return Happened(what=what, verdict=verdict(ran), seconds=seconds, left=left, wrong=tuple(wrong))


def half(content: bytes) -> bytes:
    """The first half."""
    return content[: len(content) // 2]


def conflict(content: bytes) -> bytes:
    """What git leaves where two have changed the same."""
    first, second = content.split(b"\n", 1)
    return b"<<<<<<< ours\n%s\n=======\n%s\n>>>>>>> theirs\n%s" % (first, first, second)


def bomb(content: bytes) -> bytes:
    """Aliases of aliases of aliases."""
    from tests.fuzz.texts import BOMB

    return content + BOMB


# Results.


def cut_and_appended(room: Room) -> Happened:
    """A results file whose last line was cut short, and to which another run has appended."""
    one, other = (sample_results.made(name).model_dump_json() for name in "ab")
    path, good = room.folder / "cut.jsonl", room.folder / "good.jsonl"
    path.write_text(f"{one}\n{other[:200]}{one}\n{other}\n", encoding="utf-8")
    good.write_text(f"{one}\n", encoding="utf-8")
    calls = (
        ("compare", good, path),
        ("merge", good, path, "-o", room.folder / "out.jsonl"),
        ("report", path, "-o", room.folder / "out.html"),
        ("plan", "--source=replica", "--profile=quick", "--durations", path),
    )
    wrong, codes = [], []
    start = time.monotonic()
    for words in calls:
        done = subprocess.run(
            [Path(sys.executable).parent / "pbs-matrix", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
        codes.append(done.returncode)
        if done.returncode != ExitCode.CONFIGURATION or f"{path}:2: " not in done.stderr:
            wrong.append(f"{words[0]} ended with {done.returncode}: {done.stderr[-300:]}")
        if "Traceback" in done.stderr:
            wrong.append(f"{words[0]} showed a traceback")
    made = sorted(room.folder.glob("out.*"))
    return Happened(
        what="a line cut short, then a run appended; read by compare, merge, report, plan",
        verdict=f"exit {', '.join(map(str, codes))}: line 2 is named",
        seconds=time.monotonic() - start,
        left=tuple(map(str, made)),
        wrong=tuple(wrong),
    )


def _fault(name: str, inject: Callable[..., Happened], *arguments: Any, **more: Any) -> Fault:
    return Fault(
        group="file",
        name=name,
        inject=lambda room: inject(*arguments, **more, room=room),
    )


DAMAGES: dict[str, tuple[str, Damage]] = {
    "contents-emptied": ("contents", emptied),
    "contents-flipped": ("contents", flipped),
    "contents-exchanged": ("contents", exchanged),
    "contents-link-to-nothing": ("contents", links_to_nothing),
    "systems-cut-short": ("systems", cut_short),
    "systems-unreadable": ("systems", unreadable),
    "uv-defaults-cut-short": ("uv-defaults", cut_short),
    "uv-defaults-exchanged": ("uv-defaults", exchanged),
    "replicas-flipped": ("replicas", flipped),
    "replicas-folder": ("replicas", folders),
    "replicas-unreadable": ("replicas", unreadable),
    "samples-cut-short": ("samples", cut_short),
    "samples-without-a-file": ("samples", without_a_file),
    "installed-flipped": ("installed", flipped),
    "installed-emptied": ("installed", emptied),
    "installed-exchanged": ("installed", exchanged),
    "installed-without-a-file": ("installed", without_a_file),
    "installed-link-to-nothing": ("installed", links_to_nothing),
    "uv-emptied-and-not-read": ("uv", emptied),
}

FAULTS: list[Fault] = [
    *(_fault(name, damaged, kind, damage) for name, (kind, damage) in DAMAGES.items()),
    _fault("uv-flipped", damaged_and_read, "uv", flipped),
    _fault("uv-folder", damaged_and_read, "uv", folders),
    _fault("wheels-of-uv-flipped", damaged_and_read, "wheels", flipped, "uv"),
    _fault("wheels-of-uv-cut-short", damaged_and_read, "wheels", cut_short, "uv"),
    _fault("debian-python-flipped", damaged_and_read, "debian-python", flipped, "replicas"),
    _fault(
        "lock-other-uv-wheel",
        relocked,
        uv_wheel,
        (1, ExitCode.HASH_MISMATCH),
        "but matrix.lock says",
    ),
    _fault(
        "lock-other-release", relocked, other_release, (ExitCode.LOCK,), "matrix.lock says that"
    ),
    _fault(
        "lock-other-archive", relocked, other_archive, (ExitCode.LOCK,), "matrix.lock says that"
    ),
    _fault("lock-cut-short", rewritten, "matrix.lock", half, ExitCode.LOCK, "half of matrix.lock"),
    _fault("lock-conflict", rewritten, "matrix.lock", conflict, ExitCode.LOCK, "a merge conflict"),
    _fault(
        "matrix-cut-short",
        rewritten,
        "matrix.yaml",
        lambda c: half(c) + b"\n  x: [",
        10,
        "half of it",
    ),
    _fault("matrix-bomb", rewritten, "matrix.yaml", bomb, 10, "aliases of aliases of aliases"),
    _fault("results-cut-and-appended", cut_and_appended),
]
