"""Bisections on the real engine: what they find, and what stops them."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness import cache
from harness.platforms import Platform
from tests.integration.conftest import PROJECT
from tests.servers import tiny_wheel

pytestmark = pytest.mark.engine

PROGRAM = [sys.executable, "-c", "from harness.front import main; main()"]
ON = ["--source=replica", "--base=debian13"]


@pytest.fixture(autouse=True)
def own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals and answers of the test's own; whatever else is cached is that of all."""
    usual, own = cache.root(), tmp_path / "cache"
    own.mkdir()
    for path in usual.iterdir():
        if path.is_dir() and path.name not in ("answers", "bisections"):
            (own / path.name).symlink_to(path)
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(own))
    return own


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **environment},
    )


def reported(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "Traceback" not in done.stderr, done.stderr
    return report(done.stdout)


def report(text: str) -> dict[str, Any]:
    """The part of a report that these tests are about."""
    whole = json.loads(text)
    kind, ending = whole["ending"]["kind"], whole["ending"]
    names = [c["release"] or c["uv"] for c in whole["inquiry"]["candidates"]]
    changes = [(c["last"]["name"], c["first"]["name"]) for c in whole["transitions"]]
    return {
        "ending": kind,
        "changes": changes,
        "becomes": [
            f"{c['first']['name']} {c['first']['answers'][0]}" for c in whole["transitions"]
        ],
        "candidates": len(names),
        "candidate": names[ending["index"]] if kind == "flaky" else None,
        "counts": ending.get("counts"),
        "untestable": [names[place] for place in ending.get("untestable", ())],
    }


def journal(own: Path) -> Path:
    (path,) = (own / "bisections").glob("*.jsonl")
    return path


def places_of(path: Path) -> list[int]:
    """The places that were tested, in order."""
    lines = map(json.loads, path.read_bytes().splitlines())
    return [line["trial"]["place"] for line in lines if "trial" in line]


CHANGES = {
    # uv 0.7.6 to 0.7.9: bad, bad, reverted on x86_64 alone, mended for python-mscl alone
    ("python-mscl", "x86_64"): ["0.7.6 bad", "0.7.8 good"],
    ("python-mscl", "aarch64"): ["0.7.6 bad", "0.7.9 good"],
    ("ucxx-shaped", "x86_64"): ["0.7.6 bad", "0.7.8 good", "0.7.9 bad"],
    ("ucxx-shaped", "aarch64"): ["0.7.6 bad"],
}


@pytest.mark.parametrize(("extension", "platform"), CHANGES)
def test_a_timeline_of_uv_versions_names_every_change(extension: str, platform: str) -> None:
    """The incident's own history, which no single search of halves gets right."""
    done = run(
        *("timeline", f"--extension={extension}", f"--platform={platform}", "--axis=uv"),
        *("--good=0.7.5", "--bad=0.7.9", "--json", *ON),
    )
    found = reported(done)
    assert found["becomes"] == CHANGES[extension, platform]
    assert done.returncode == (0 if len(CHANGES[extension, platform]) == 1 else 61)


def test_the_release_that_broke_it_is_found_among_all_of_them(own_answers: Path) -> None:
    """In a search of halves, with both ends verified and both sides of the change asked again."""
    done = run(
        *("bisect", "--extension=python-mscl", "--bad=20250521", "--platform=x86_64"),
        *("--timeline-up-to=0", "--json", *ON),
    )
    found = reported(done)
    assert done.returncode == 0, done.stderr
    assert (found["ending"], found["changes"]) == ("found", [("20250409", "20250517")])
    places = places_of(journal(own_answers))
    assert len(set(places)) <= math.ceil(math.log2(found["candidates"])) + 3
    assert max(Counter(places).values()) == 2


def test_the_release_that_mended_it_is_found_too() -> None:
    done = run(
        *("bisect", "--extension=python-mscl", "--find-fix", "--bad=20250517"),
        *("--good=20250612", "--platform=x86_64", "--json", *ON),
    )
    found = reported(done)
    assert done.returncode == 0, done.stderr
    assert (found["ending"], found["changes"]) == ("found", [("20250521", "20250529")])


def test_ends_that_do_not_differ_are_told(own_answers: Path) -> None:
    done = run(
        *("bisect", "--extension=no-libpython", "--good=20250409", "--bad=20250517", "--json"),
        *("--platform=x86_64", *ON),
    )
    assert reported(done)["ending"] == "wrong-ends"
    assert done.returncode == 62


FLAKY = """\
import os

# Bad where libpython is not in memory; elsewhere good, though of one release every other time.
with open("/proc/self/maps") as maps:
    is_shared = "libpython" in maps.read()
is_unlucky = os.path.isdir("/opt/pbs-matrix/mirror/20250409") and os.urandom(1)[0] % 2
if not is_shared or is_unlucky:
    raise ImportError("libpython3.13.so.1.0: cannot open shared object file")
"""


def test_an_extension_that_imports_every_other_time_blames_no_release(tmp_path: Path) -> None:
    wheel = tmp_path / "flaky-1.0-py3-none-any.whl"
    wheel.write_bytes(tiny_wheel("flaky", "1.0", "py3-none-any", {"flaky.py": FLAKY}))
    done = run(
        *("bisect", f"--extension={wheel}", "--good=20250317", "--bad=20250521", "--retests=20"),
        *("--platform=x86_64", "--json", *ON),
    )
    found = reported(done)
    assert (found["ending"], done.returncode) == ("flaky", 63), done.stderr
    assert found["candidate"] == "20250409"
    assert found["counts"]["good"] >= 1
    assert found["counts"]["bad"] >= 1


@pytest.mark.parametrize("platform", Platform)
def test_a_command_is_run_inside_by_gits_contract(platform: Platform) -> None:
    """125 of one release is stepped around, 127 of others is bad, and none is the engine's."""
    command = (
        "case $PBS_MATRIX_LINK_MODEL in static) exit 125;; static+runpath) no-such-program;; esac"
    )
    done = run(
        *("bisect", "--command", command, "--good=20250409", "--bad=20250521", "--json"),
        *(f"--platform={platform}", *ON),
    )
    found = reported(done)
    assert (found["ending"], done.returncode) == ("range", 60), done.stderr
    assert found["untestable"] == ["20250517"]


def test_a_killed_bisection_goes_on_where_it_stopped(own_answers: Path) -> None:
    """Killed at moments that chance picks; nothing is tested twice but what was under way."""
    asked = ["bisect", "--extension=python-mscl", "--bad=20250521", "--platform=x86_64"]
    asked += ["--timeline-up-to=0", "--check=0", "--retests=0", "--fresh", "--json", *ON]
    chance = Random(7)
    arguments, kills, said, errors = asked, 0, "", ""
    for patience in (*(chance.uniform(1.5, 5.0) for _ in range(6)), 300.0):
        with subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, errors = process.communicate(timeout=patience)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
        if list((own_answers / "bisections").glob("*.jsonl")):
            name = journal(own_answers).stem
            arguments = ["bisect", "--resume", name, "--fresh", "--json"]
    assert kills >= 2
    assert said, errors
    assert report(said)["changes"] == [("20250409", "20250517")]
    places = places_of(journal(own_answers))
    assert len(places) == len(set(places)), "nothing that was written down is tested again"


class Proxy:
    """The engine's socket on a port, for as long as it is open."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect("/var/run/docker.sock")
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def test_an_engine_that_goes_away_cancels_and_blames_no_release(
    own_answers: Path, proxy: Proxy
) -> None:
    """It is waited for, and then what was found out is kept for --resume."""
    with subprocess.Popen(
        [
            *(*PROGRAM, "bisect", "--extension=python-mscl", "--bad=20250521", "--json"),
            *("--platform=x86_64", "--timeline-up-to=0", *ON),
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{proxy.port}"},
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = list((own_answers / "bisections").glob("*.jsonl"))
            if found and len(places_of(found[0])) >= 3:
                break
            time.sleep(0.1)
        proxy.close()
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 64, errors
    assert report(said)["ending"] == "cancelled"
    assert "the engine does not answer; again in" in errors
    assert "bisect --resume" in errors
    assert "Traceback" not in errors
    before = places_of(journal(own_answers))
    done = run("bisect", "--resume", "--json")
    assert reported(done)["changes"] == [("20250409", "20250517")]
    assert places_of(journal(own_answers))[: len(before)] == before
