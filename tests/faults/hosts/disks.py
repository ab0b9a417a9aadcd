"""Disks that are full, or may not be written to. As root, mounts are in a name space of their own.

What is mounted there is seen by a run and by nobody else, and is gone with it.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from harness import cache
from tests.faults.fault import Fault, Happened
from tests.faults.hosts.scene import Scene, fault, happened, is_told, made_up
from tests.faults.room import Room

DISK_FULL, CONFIGURATION = 41, 10


def mounting(*commands: str) -> tuple[str, ...]:
    """What runs a command in a name space of its own, after some others."""
    script = " && ".join([*commands, 'exec "$@"'])
    return ("unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh")


def full(place: Path, kilobytes: int) -> str:
    """Mount a small file system over a folder."""
    return f"mount -t tmpfs -o size={kilobytes}k none {shlex.quote(str(place))}"


def cold_cache(kilobytes: int, room: Room) -> Happened:
    """A cache that has to be made on a disk that is too small for it."""
    place = room.folder / "cache"
    place.mkdir()
    scene = Scene(
        room=room,
        environment={cache.LOCATION_VARIABLE: str(place)},
        before=mounting(full(place, kilobytes)),
    )
    running = scene.start("-n", "0")
    ran = running.finish()
    left, _ = scene.gone(running, running.start)
    wrong = made_up(ran)
    if ran.code != DISK_FULL or "no space is left" not in ran.said:
        wrong.append(f"it ended with {ran.code}: {ran.said[-500:]}")
    # Not of that cache, which is gone.
    wrong += Scene(room=room).next_run()
    return happened(f"a cold cache on a disk of {kilobytes >> 10} MB", ran, left=left, wrong=wrong)


def read_only_cache(room: Room) -> Happened:
    """A warm cache that may not be written to: lock files cannot be made, nor uses be noted."""
    place = shlex.quote(str(cache.root()))
    scene = Scene(
        room=room,
        before=mounting(f"mount --bind {place} {place}", f"mount -o remount,ro,bind {place}"),
    )
    return is_told(scene, "a cache that is read-only", (CONFIGURATION,), str(cache.root()))


def results(file: str, what: str, room: Room) -> Happened:
    """A results file that cannot be: said before anything is done."""
    place = file.format(folder=room.folder)
    scene = Scene(room=room)
    return is_told(scene, what, (CONFIGURATION,), place, arguments=(f"--results={place}",))


def full_results(room: Room) -> Happened:
    """A results file that can be begun, and no line of it written: the disk is full."""
    scene = Scene(room=room)
    return is_told(
        scene,
        "a results file on a full disk",
        (DISK_FULL,),
        "/dev/full",
        arguments=("--results=/dev/full",),
    )


def full_temporary(kilobytes: int, room: Room) -> Happened:
    """Hardly any room for temporary files: what a run makes there has none."""
    scene = Scene(room=room)
    scene = Scene(
        room=room,
        before=mounting(full(scene.temporary, kilobytes)),
    )
    return is_told(scene, f"{kilobytes} kB for temporary files", (DISK_FULL,), "no space is left")


FAULTS: list[Fault] = [
    fault(name="cache-on-tiny-disk", inject=partial(cold_cache, 4 << 10)),
    fault(name="cache-on-small-disk", inject=partial(cold_cache, 120 << 10)),
    fault(name="cache-read-only", inject=read_only_cache),
    fault(
        name="results-is-a-directory",
        inject=partial(results, "{folder}", "a results file that is a directory"),
    ),
    fault(
        name="results-unwritable",
        inject=partial(results, "/proc/results.jsonl", "a results file where none can be made"),
    ),
    fault(name="results-on-full-disk", inject=full_results),
    fault(name="tmp-full", inject=partial(full_temporary, 8)),
]
