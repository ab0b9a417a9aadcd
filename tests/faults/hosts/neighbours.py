"""Other processes at the same time: other runs, who removes images, who holds a lock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial

from docker.errors import APIError, ImageNotFound
from filelock import FileLock

from harness import cache
from tests.faults import ownmatrix
from tests.faults.fault import Fault, Happened
from tests.faults.hosts.ground import own
from tests.faults.hosts.scene import Scene, fault, happened, made_up, not_right, verdict
from tests.faults.room import Room

REMADE = ("replicas", "contents", "installed", "bytecode", "systems", "uv-defaults", "uv-answers")
"""Kinds of entries that are removed before, so that both runs want to make them."""

HELD = 9.0
"""Seconds for which a lock is held: longer than is waited without a word."""


def two_runs(arguments: tuple[str, ...], is_cold: bool, room: Room) -> Happened:
    """Two runs that start at the same moment."""
    scene = Scene(room=room)
    if is_cold:
        ground = own()
        ground.settle(room)
        ground.without(*REMADE)
        ground.without_images(room)
        scene = ground.scene(room)
    both = [scene.start(*arguments) for _ in range(2)]
    ended = [running.finish() for running in both]
    if is_cold:
        ground.images |= ownmatrix.environments(ended[0].results)
    left = {name for running in both for name in scene.gone(running, running.start)[0]}
    wrong = [problem for ran in ended for problem in not_right(ran)]
    return Happened(
        what=f"two runs at once, {'cold' if is_cold else 'warm'} ({' '.join(arguments)})",
        verdict=" and ".join(verdict(ran) for ran in ended),
        seconds=max(ran.seconds for ran in ended),
        left=tuple(sorted(left)),
        wrong=tuple(wrong),
    )


def images_removed(room: Room) -> Happened:
    """The images of a run are removed all the time, as ``pbs-matrix clean --images`` does."""
    ground = own()
    ground.settle(room)
    scene = ground.scene(room)
    is_over = threading.Event()
    removed = 0

    def remove() -> None:
        nonlocal removed
        while not is_over.wait(0.05):
            for image in tuple(ground.images):
                with suppress(ImageNotFound, APIError):
                    room.client.images.remove(image, force=True)
                    removed += 1

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        running = scene.start("-n", "0")
        ran = running.finish()
    finally:
        is_over.set()
        thread.join()
    left, _ = scene.gone(running, running.start)
    ground.images |= ownmatrix.environments(ran.results)
    wrong = made_up(ran)
    if ran.code not in (0, 1, 40):
        wrong.append(f"it ended with {ran.code}: {ran.said[-500:]}")
    wrong += scene.next_run()
    ground.settle(room)
    return happened(
        f"its images are removed {removed} times meanwhile", ran, left=left, wrong=wrong
    )


def lock_held(room: Room) -> Happened:
    """Somebody has the lock of an entry that is to be made: it is waited for, and that is said."""
    ground = own()
    ground.settle(room)
    (tree, *_) = [p for p in (ground.cache / "installed").iterdir() if not p.name.startswith(".")]
    cache.discard(tree)
    scene = ground.scene(room)
    with FileLock(cache.lock_file(tree)):
        running = scene.start("-n", "0")
        running.wait_for(lambda _: time.monotonic() > running.start + HELD)
        was_waiting = not running.is_over
        since = time.monotonic()
    ran = running.finish()
    left, _ = scene.gone(running, running.start)
    wrong = not_right(ran)
    if not was_waiting:
        wrong.append("it did not wait")
    if f"waiting for another process that makes installed/{tree.name}" not in ran.said:
        wrong.append(f"it does not say what it waits for: {ran.said[:800]}")
    if f"(process {os.getpid()};" not in ran.said:
        wrong.append("it does not say who that is")
    return happened(
        f"another process has a lock for {HELD:.0f} s",
        ran,
        left=left,
        wrong=wrong,
        seconds=time.monotonic() - since,
    )


def lock_of_the_dead(room: Room) -> Happened:
    """Who had the locks of entries was killed: nobody waits for a dead process."""
    ground = own()
    ground.settle(room)
    trees = [p for p in (ground.cache / "installed").iterdir() if not p.name.startswith(".")]
    for tree in trees:
        cache.discard(tree)
    locks = [str(cache.lock_file(tree)) for tree in trees]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *locks], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    scene = ground.scene(room)
    running = scene.start("-n", "0")
    ran = running.finish()
    left, _ = scene.gone(running, running.start)
    wrong = not_right(ran)
    if "waiting for another process" in ran.said:
        wrong.append("it waited")
    return happened(f"who had {len(locks)} locks was killed", ran, left=left, wrong=wrong)


HOLDER = """
import sys, time
from filelock import FileLock
locks = [FileLock(name) for name in sys.argv[1:]]
for lock in locks:
    lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


FAULTS: list[Fault] = [
    fault(name="two-runs-warm", inject=partial(two_runs, ("-n", "0"), False)),
    fault(name="two-runs-workers", inject=partial(two_runs, ("-n", "2"), False)),
    fault(name="two-runs-cold", inject=partial(two_runs, ("-n", "0"), True)),
    fault(name="images-removed-meanwhile", inject=images_removed),
    fault(name="lock-held", inject=lock_held),
    fault(name="lock-of-the-dead", inject=lock_of_the_dead),
]
