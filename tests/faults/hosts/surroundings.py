"""What surrounds a process: its folders, its standard streams, and its limits."""

from __future__ import annotations

from functools import partial

from tests.faults.fault import Fault, Happened
from tests.faults.hosts.scene import (
    Scene,
    as_if_nothing,
    fault,
    happened,
    is_told,
    made_up,
)
from tests.faults.room import Room

CONFIGURATION = 10


def through(script: str) -> tuple[str, ...]:
    """What runs a command in a shell: ``script`` has ``"$@"`` in it."""
    return ("sh", "-c", script, "sh")


def as_usual(what: str, script: str, room: Room) -> Happened:
    """Surroundings in which all is as usual."""
    return as_if_nothing(Scene(room=room, before=through(script)), what, "-n", "0")


def with_workers(what: str, script: str, room: Room) -> Happened:
    """The same, with workers."""
    return as_if_nothing(Scene(room=room, before=through(script)), what, "-n", "2")


def not_possible(what: str, script: str, codes: tuple[int, ...], word: str, room: Room) -> Happened:
    """Surroundings in which a run cannot be, and says why."""
    return is_told(Scene(room=room, before=through(script)), what, codes, word)


def nobody_listens(arguments: tuple[str, ...], room: Room) -> Happened:
    """Standard output is a pipe that is closed after the first line."""
    scene = Scene(room=room, before=through('"$@" | head -1'))
    running = scene.start(*arguments)
    ran = running.finish()
    left, seconds = scene.gone(running, running.start)
    wrong = made_up(ran)
    statuses = [line["status"] for line in ran.results]
    if any(status != "as-expected" for status in statuses):
        wrong.append(f"its cells are {statuses}")
    return happened(
        f"| head -1 ({' '.join(arguments)})",
        ran,
        left=left,
        wrong=(*wrong, *scene.next_run()),
        seconds=seconds,
    )


FAULTS: list[Fault] = [
    fault(
        name="home-missing",
        inject=partial(as_usual, "no HOME in the environment", 'unset HOME; exec "$@"'),
    ),
    fault(
        name="home-unusable",
        inject=partial(
            not_possible,
            "a HOME in which no cache can be made",
            'export HOME=/dev/null; unset XDG_CACHE_HOME PBS_MATRIX_CACHE; exec "$@"',
            (CONFIGURATION,),
            "/dev/null/.cache/pbs-matrix",
        ),
    ),
    fault(
        name="tmp-missing",
        inject=partial(as_usual, "a TMPDIR that is not there", 'TMPDIR=/nowhere exec "$@"'),
    ),
    fault(name="stdout-closed", inject=partial(nobody_listens, ("-n", "0"))),
    fault(name="stdout-closed-workers", inject=partial(nobody_listens, ("-n", "2"))),
    fault(
        name="stdin-closed",
        inject=partial(as_usual, "standard input closed", 'exec "$@" <&-'),
    ),
    fault(
        name="stdin-closed-workers",
        inject=partial(with_workers, "standard input closed, workers", 'exec "$@" <&-'),
    ),
    fault(
        name="few-open-files",
        inject=partial(as_usual, "64 open files at most", 'ulimit -n 64; exec "$@"'),
    ),
    fault(
        name="hardly-any-open-files",
        inject=partial(
            not_possible,
            "12 open files at most",
            'ulimit -n 12; exec "$@"',
            (20, 40, CONFIGURATION),
            "open files",
        ),
    ),
    fault(
        name="no-large-files",
        inject=partial(
            not_possible, "files of 512 bytes at most", 'ulimit -f 1; exec "$@"', (41,), "too large"
        ),
    ),
]
