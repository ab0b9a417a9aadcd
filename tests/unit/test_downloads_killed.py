"""Downloads of several processes on one cache, some of which are killed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from harness.downloads import fetch
from tests import standin
from tests.standin import Drip, Request, Standin

TAG = "20250517"
SIZE = 2_000_000
KILLS = 20

FETCH = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from harness import downloads

def die(*_):
    os.kill(os.getpid(), 9)

def one(item):
    name, (url, sha256) = item
    return downloads.fetch([url], name=name, sha256=sha256)

{patch}
files = json.loads(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(one, files.items()))
print("done", flush=True)
"""


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin.serving() as found:
        yield found


Files = dict[str, tuple[str, str]]
"""By name: URL and sha256."""


def filled(server: Standin, count: int) -> Files:
    """Files with content of their own, sent slowly enough to be caught at it."""
    chance = Random(11)
    server.inject("*", Drip(count=1 << 16, every=0.002))
    names = [f"file{n}" for n in range(count)]
    return {
        name: (f"{server.downloads}/{TAG}/{name}", server.add(TAG, name, chance.randbytes(SIZE)))
        for name in names
    }


@contextmanager
def fetching(files: Files, patch: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that fetches them all, as soon as it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", FETCH.format(patch=patch), json.dumps(files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def whole(root: Path) -> dict[str, Path]:
    """What has its name in the cache."""
    found = (path for path in (root / "upstream").glob("[!.]*") if path.is_file())
    return {path.name.partition("-")[2]: path for path in found}


def parts(root: Path) -> dict[str, int]:
    """Bytes that are there of what is not whole."""
    found = (root / "partial").glob("*.part")
    return {path.stem.partition("-")[2]: path.stat().st_size for path in found}


def objects(server: Standin) -> list[Request]:
    return server.log("/objects/*")


def name_of(request: Request) -> str:
    return request.path.rpartition("/")[2]


def sent(server: Standin) -> int:
    return sum(request.sent for request in server.log_now())


def test_twenty_kills_lose_nothing_that_had_come(server: Standin, root: Path) -> None:
    """The moments are random, measured in bytes that were sent, so that each hits a download."""
    files = filled(server, 20)
    chance = Random(20)
    moments = sorted(chance.randrange(len(files) * SIZE * 9 // 10) for _ in range(KILLS))
    there: dict[str, int] = {}
    done: set[str] = set()
    seen = 0
    for moment in [*moments, None]:
        with fetching(files) as process:
            go(process)
            while moment is not None and sent(server) < moment:
                assert process.poll() is None
                time.sleep(0.001)
            if moment is None:
                assert process.wait() == 0
            else:
                process.kill()
                process.wait()
        server.settle()
        requests = objects(server)[seen:]
        seen += len(requests)
        # Asked for once each, from the byte where the one before stopped; never what was whole.
        assert len({name_of(request) for request in requests}) == len(requests)
        assert [request.first for request in requests] == [
            there.get(name_of(request), 0) for request in requests
        ]
        assert not {name_of(request) for request in requests} & done
        there, done = parts(root), set(whole(root))
    assert done == set(files)
    for name, path in whole(root).items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == files[name][1]
    assert there == {}
    assert len([r for r in objects(server) if r.first]) >= KILLS // 2  # most kills hit a download


@pytest.mark.parametrize(
    "patch",
    [
        "downloads._Partial.put = die",
        "link = Path.hardlink_to; Path.hardlink_to = lambda *a: (link(*a), die())",
        "downloads._Partial.let_go = die",
    ],
    ids=["checked", "linked", "named"],
)
def test_what_is_whole_when_a_process_dies_is_not_fetched_again(
    server: Standin, root: Path, patch: str
) -> None:
    files = filled(server, 1)
    [(name, (url, sha256))] = files.items()
    with fetching(files, patch) as process:
        go(process)
        assert process.wait() == -9
    assert len(objects(server)) == 1
    path = fetch([url], name=name, sha256=sha256)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert len(objects(server)) == 1
    assert parts(root) == {}
    assert path.stat().st_nlink <= 2  # the other may be in the scratch folder of the dead one


def test_two_processes_fetch_each_file_once(server: Standin, root: Path) -> None:
    files = filled(server, 8)
    with fetching(files) as one, fetching(files) as other:
        go(one)
        go(other)
        assert [one.wait(), other.wait()] == [0, 0]
    assert sorted(name_of(request) for request in objects(server)) == sorted(files)
    assert set(whole(root)) == set(files)
    assert parts(root) == {}


def test_who_waits_for_a_process_that_is_killed_goes_on_where_it_stopped(
    server: Standin, root: Path
) -> None:
    files = filled(server, 1)
    with fetching(files) as one, fetching(files) as other:
        go(one)
        while sent(server) < SIZE // 4:
            time.sleep(0.001)
        go(other)
        one.kill()
        one.wait()
        assert other.wait() == 0
    [first, second] = objects(server)
    assert 0 < second.first <= first.sent < SIZE
    assert second.first + second.sent == SIZE
