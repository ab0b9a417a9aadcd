"""Owners: a label names one process, which no later process can be taken for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness import owner

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_BOOT = "00000000-0000-0000-0000-000000000000"
NAMING_ITSELF = (
    "import sys; from harness import owner; print(owner.this_process(), flush=True);"
    "sys.stdin.read()"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that ends when its standard input does."""
    command = [sys.executable, "-I", "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        yield process


def label_of(process: subprocess.Popen[str]) -> str:
    *here, _, _ = owner.this_process().split()
    return " ".join([*here, str(process.pid), owner._start_time(process.pid)])


def test_this_process_is_alive() -> None:
    assert owner.is_alive(owner.this_process())


def test_the_label_of_a_process_stays_the_same() -> None:
    assert owner.this_process() == owner.this_process()


def test_another_process_knows_itself_by_the_label_that_others_see() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAMING_ITSELF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        label = process.stdout.readline().strip()
        assert label == label_of(process)
        assert owner.is_alive(label)
        assert label != owner.this_process()


def test_a_process_is_alive_until_it_ends(child: subprocess.Popen[str]) -> None:
    label = label_of(child)
    assert owner.is_alive(label)
    child.communicate()
    assert not owner.is_alive(label)


def test_a_process_that_ended_and_was_not_waited_for_is_not_alive(
    child: subprocess.Popen[str],
) -> None:
    label = label_of(child)
    assert child.stdin
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.is_alive(label), "a zombie"


def test_a_pid_that_another_process_has_now_is_not_alive() -> None:
    *here, pid, start = owner.this_process().split()
    assert not owner.is_alive(" ".join([*here, pid, str(int(start) - 1)]))


def test_a_process_of_another_boot_is_not_alive() -> None:
    machine, _, namespace, pid, start = owner.this_process().split()
    assert not owner.is_alive(f"{machine} {OTHER_BOOT} {namespace} {pid} {start}")


@pytest.mark.parametrize("part", [0, 2], ids=["machine", "pid namespace"])
def test_a_process_that_cannot_be_seen_from_here_is_left_alone(part: int) -> None:
    """It may share the engine from another machine or container, and run."""
    parts = owner.this_process().split()
    parts[part] = "another"
    parts[4] = "1"
    assert owner.is_alive(" ".join(parts))


@pytest.mark.parametrize("tail", ["0 {start}", "99999999999999999999 {start}", "{pid} later"])
def test_a_label_that_names_no_process_is_not_alive(tail: str) -> None:
    *here, pid, start = owner.this_process().split()
    assert not owner.is_alive(" ".join([*here, tail.format(pid=pid, start=start)]))


@pytest.mark.parametrize("label", ["", "nonsense", "{here}", "{here} 1", "{here} self 1 more"])
def test_a_label_that_cannot_be_read_is_left_alone(label: str) -> None:
    """Whatever wrote it; such a container ends by itself."""
    here = " ".join(owner.this_process().split()[:3])
    assert owner.is_alive(label.format(here=here))


@pytest.mark.parametrize("name", ["a b", "a) R 1", "((", ") 1 2 3"])
def test_a_process_keeps_its_label_whatever_it_is_called(name: str) -> None:
    """The name is in brackets in /proc/PID/stat, and may hold brackets and blanks."""
    renamed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from harness import owner;"
            "before = owner.this_process();"
            "Path('/proc/self/comm').write_text(sys.argv[1]);"
            "assert sys.argv[1] in Path('/proc/self/stat').read_text();"
            "print(owner.this_process() == before, owner.is_alive(before))",
            name,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert renamed.stdout == "True True\n"


def test_two_runs_have_two_names_that_fit_a_containers() -> None:
    names = {owner.new_run() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch("[0-9a-f]{8}", name) for name in names)
