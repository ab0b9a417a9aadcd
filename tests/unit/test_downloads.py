"""Downloads: what goes wrong on the way is recovered from and said, or ends in one clear line."""

from __future__ import annotations

import email.utils
import errno
import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from harness import downloads
from harness.downloads import Patience, fetch, read
from harness.errors import DiskFullError, FetchError, HarnessError, HashMismatchError
from tests import standin
from tests.standin import Cut, Drip, Fault, Standin

TAG = "20250517"
NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
CONTENT = Random(5).randbytes(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

QUICK = Patience(attempts=3, first=0.002, longest=0.004, step=5000)
IMPATIENT = replace(QUICK, silence=0.25, floor=40_000, window=0.2)
"""For servers that are slow on purpose; a busy machine may be so without."""


@dataclass
class Told:
    """What a download tells about itself."""

    retries: list[str] = field(default_factory=list)
    starts: list[tuple[int | None, int]] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    came: int = 0
    running: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def started(self, name: str, *, total: int | None, done: int) -> None:
        self.starts.append((total, done))
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)

    def advanced(self, name: str, count: int) -> None:
        self.came += count

    def retried(self, name: str, what: str) -> None:
        self.retries.append(what)

    def finished(self, name: str, *, whole: bool) -> None:
        self.ends.append(whole)
        with self.lock:
            self.running -= 1


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own, and no long waits."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "PATIENCE", QUICK)
    monkeypatch.setattr(downloads, "_UNANSWERED", set())
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Standin]:
    with standin.serving() as found:
        found.add(TAG, NAME, CONTENT)
        yield found


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited."""
    found: list[float] = []
    monkeypatch.setattr(downloads, "_pause", found.append)
    return found


def upstream(server: Standin) -> str:
    return f"{server.downloads}/{TAG}/{NAME.replace('+', '%2B')}"


def mirrored(server: Standin) -> str:
    return f"{server.mirror}/{TAG}/{NAME}"


def get(*urls: str, told: Told | None = None, patience: Patience | None = None) -> Path:
    return fetch(urls, name=NAME, sha256=SHA256, progress=told or Told(), patience=patience)


def left(root: Path) -> list[str]:
    """Files in the cache, but for seals, and for lock files, which stay."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".seal")
    )


def part(root: Path) -> Path:
    return root / "partial" / f"{SHA256[:24]}-{NAME}.part"


def test_a_file_is_fetched_once_and_then_found(server: Standin, root: Path) -> None:
    told = Told()
    path = get(upstream(server), told=told)
    assert path == root / "upstream" / f"{SHA256[:24]}-{NAME}"
    assert path.read_bytes() == CONTENT
    assert get(upstream(server), told=told) == path
    assert [request.status for request in server.log()] == [302, 200]
    assert (told.starts, told.came, told.ends) == ([(400_000, 0)], 400_000, [True])
    assert told.retries == []
    assert left(root) == [f"upstream/{path.name}"]


# -- Faults that pass --------------------------------------------------------------------------

RECOVERED: list[tuple[str, Sequence[Fault], str]] = [
    ("cut", [Cut(after=123_456)], "the connection was cut after 123 kB"),
    ("cut-at-once", [Cut(after=0)], "the connection was cut after 0 bytes"),
    ("reset", [Cut(after=60_000, reset=True)], "the connection was cut after"),
    ("random-cuts", standin.cuts(3, 7, 50_000), "the connection was cut after"),
    ("timeout", [standin.Status(code=408)], "408 Request Timeout"),
    ("too-early", [standin.Status(code=425)], "425 Too Early"),
    ("too-many", [standin.Status(code=429)], "429 Too Many Requests"),
    ("500", [standin.Status(code=500)] * 2, "500 Internal Server Error"),
    ("502", [standin.Status(code=502)] * 2, "502 Bad Gateway"),
    ("503", [standin.Status(code=503, retry_after="0")], "503 Service Unavailable"),
    ("504", [standin.Status(code=504)], "504 Gateway Timeout"),
    ("rate-limit", [standin.RateLimited(retry_after=0)], "403 Forbidden (too many requests)"),
    ("rate-reset", [standin.RateLimited(reset=0)], "403 Forbidden (too many requests)"),
    ("silent", [standin.Silent()], "no answer within 0.25 s"),
    ("stalled", [Drip(count=100_000, every=3600)], "nothing came for 0.25 s, after"),
    ("drip", [Drip(count=10, every=0.01)], "per second only"),
    ("wrong", [standin.Wrong()], "its sha256 is"),
    ("truncated", [standin.Truncated(keep=1000)], "(1.0 kB)"),
    ("login-page", [standin.Page()], "it looks like an HTML page"),
]


@pytest.mark.parametrize("place", [upstream, mirrored])
@pytest.mark.parametrize(
    ("faults", "why"),
    [pytest.param(faults, why, id=name) for name, faults, why in RECOVERED],
)
def test_a_fault_that_passes_is_recovered_from_and_said(
    server: Standin,
    root: Path,
    place: Callable[[Standin], str],
    faults: Sequence[Fault],
    why: str,
) -> None:
    server.inject("*.tar.gz", *faults, times=1)
    told = Told()
    slow = isinstance(faults[0], standin.Silent | Drip)
    path = get(place(server), told=told, patience=IMPATIENT if slow else QUICK)
    assert path.read_bytes() == CONTENT
    assert why in told.retries[0]
    assert told.retries[0].startswith(f"127.0.0.1:{server.url.rpartition(':')[2]}: ")
    assert slow or len(told.retries) == len(faults)
    assert told.ends == [True]
    assert left(root) == [f"upstream/{path.name}"]


def test_a_download_goes_on_at_the_byte_where_it_stopped(server: Standin) -> None:
    places = [100_000, 1, 65_536, 99_999]
    server.inject("*", *(Cut(after=place) for place in places), times=1)
    told = Told()
    assert get(upstream(server), told=told).read_bytes() == CONTENT
    first, *rest = bodies = server.bodies(NAME)
    assert first.range is None
    assert [request.range for request in rest] == [
        f"bytes={place}-" for place in (100_000, 100_001, 165_537, 265_536)
    ]
    assert all(request.status == 206 and "if-range" in request.headers for request in rest)
    assert sum(request.sent for request in bodies) == told.came == len(CONTENT)
    assert [done for _, done in told.starts] == [0, 100_000, 100_001, 165_537, 265_536]


def test_what_came_is_in_the_file_at_once(server: Standin, root: Path) -> None:
    """Not in a buffer of a process that may be killed."""

    class Watching(Told):
        def advanced(self, name: str, count: int) -> None:
            super().advanced(name, count)
            assert part(root).stat().st_size == self.came

    server.inject("*", Drip(count=1000, every=0))
    assert get(upstream(server), told=Watching()).read_bytes() == CONTENT


def test_the_bytes_are_asked_for_as_they_are(server: Standin) -> None:
    """Packed once more on the way they would have another sha256."""
    get(upstream(server))
    assert {r.headers["accept-encoding"] for r in server.log()} == {"identity"}


def test_a_weak_tag_is_nothing_to_go_on_by(server: Standin, root: Path) -> None:
    stop_at(server, 100_000)
    notes = part(root).with_name(f"{part(root).name}.json")
    told = json.loads(notes.read_text())
    told["validators"]["ETag"] = 'W/"x"'
    notes.write_text(json.dumps(told))
    assert get(upstream(server)).read_bytes() == CONTENT
    last = server.bodies(NAME)[-1]
    assert (last.status, last.first) == (206, 100_000)
    assert last.headers["if-range"] == told["validators"]["Last-Modified"]


def test_each_attempt_asks_for_the_redirect_anew(server: Standin) -> None:
    """The object store's URL is good for a while only."""
    server.inject("*", Cut(after=1000), times=1)
    get(upstream(server))
    assert [request.status for request in server.log()] == [302, 200, 302, 206]


def test_where_a_range_is_ignored_it_begins_anew(server: Standin) -> None:
    server.inject("*", standin.RangeIgnored())
    server.inject("*", Cut(after=1000), times=1)
    told = Told()
    assert get(upstream(server), told=told).read_bytes() == CONTENT
    assert [request.status for request in server.bodies(NAME)] == [200, 200]
    assert "it sends all of it, not only what is missing" in told.retries[1]


def test_a_file_that_has_changed_meanwhile_is_begun_anew(server: Standin) -> None:
    """The server says so by sending all of it."""
    server.add(TAG, NAME, bytes(len(CONTENT)))
    server.inject("*", Cut(after=100_000), times=1)
    with pytest.raises(FetchError):
        get(upstream(server), patience=replace(QUICK, attempts=1))
    server.add(TAG, NAME, CONTENT)
    assert get(upstream(server)).read_bytes() == CONTENT
    assert [request.status for request in server.bodies(NAME)] == [200, 200]


def test_a_part_of_another_version_is_not_taken(server: Standin, root: Path) -> None:
    """From a server that knows ranges and not ``If-Range``: its ETag says it."""
    server.inject("*", standin.TagChanged())
    server.inject("*", standin.TagIgnored())
    server.inject("*", Cut(after=1000), times=1)
    told = Told()
    assert get(upstream(server), told=told).read_bytes() == CONTENT
    assert "another file than before" in told.retries[1]
    assert [request.status for request in server.bodies(NAME)] == [200, 206, 200]
    assert left(root) == [f"upstream/{SHA256[:24]}-{NAME}"]


# -- Faults that stay --------------------------------------------------------------------------

FAILED: list[tuple[str, Fault, str, int]] = [
    # requests: how many are made, redirects and all (0: whatever number)
    ("404", standin.Status(code=404), "404 Not Found", 1),
    ("410", standin.Status(code=410), "410 Gone", 1),
    ("401", standin.Status(code=401), "401 Unauthorized", 1),
    ("403", standin.Status(code=403), "403 Forbidden", 1),
    ("500", standin.Status(code=500), "500 Internal Server Error (3 attempts)", 3),
    ("rate-limit", standin.RateLimited(retry_after=3600), "(too many requests); not before 2", 1),
    ("rate-reset", standin.RateLimited(reset=3600), "(too many requests); not before 2", 1),
    ("later", standin.Status(code=503, retry_after="86400"), "Unavailable; not before 2", 1),
    ("loop", standin.Loop(), "it redirects more than 10 times, in a circle", 11),
    ("silent", standin.Silent(), "no answer within 0.25 s (3 attempts)", 3),
    ("cut", Cut(after=0), "the connection was cut after 0 bytes (3 attempts)", 6),
    ("byte-by-byte", Cut(after=1), "the connection was cut after 1 bytes (3 attempts)", 6),
    ("drip", Drip(count=10, every=0.01), "per second only (3 attempts)", 6),
    ("wrong", standin.Wrong(), f"instead of {SHA256} (400 kB) (2 attempts)", 4),
    ("truncated", standin.Truncated(keep=1000), f"instead of {SHA256} (1.0 kB) (2 attempts)", 4),
    ("login-page", standin.Page(), "it looks like an HTML page (2 attempts)", 2),
]


@pytest.mark.parametrize(
    ("fault", "why", "requests"),
    [pytest.param(*rest, id=name) for name, *rest in FAILED],
)
def test_a_fault_that_stays_is_one_clear_line_and_nothing_in_the_cache(
    server: Standin, root: Path, fault: Fault, why: str, requests: int
) -> None:
    server.inject("*.tar.gz", fault)
    told = Told()
    slow = isinstance(fault, standin.Silent | Drip)
    with pytest.raises(HarnessError) as caught:
        get(upstream(server), told=told, patience=IMPATIENT if slow else QUICK)
    wrong = "sha256" in caught.value.problem
    assert type(caught.value) is (HashMismatchError if wrong else FetchError)
    assert why in caught.value.problem
    assert caught.value.problem.startswith(f"{NAME} cannot be fetched: {upstream(server)}: ")
    assert "\n" not in caught.value.problem
    assert caught.value.advice
    assert len(server.log()) == requests
    assert told.ends == [False]
    assert [name for name in left(root) if name.startswith("upstream")] == []
    server.heal()
    assert get(upstream(server)).read_bytes() == CONTENT


def test_wrong_content_is_told_with_both_hashes_and_not_kept(server: Standin, root: Path) -> None:
    server.add(TAG, NAME, b"something else")
    actual = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(HashMismatchError) as caught:
        get(upstream(server))
    assert f"its sha256 is {actual} instead of {SHA256} (14 bytes)" in caught.value.problem
    assert "Do not use it" in caught.value.advice
    assert left(root) == []


def test_a_limit_of_the_api_is_told_with_what_helps(server: Standin) -> None:
    server.inject("*", standin.RateLimited(reset=1000))
    with pytest.raises(FetchError) as caught:
        read([f"{server.url}{standin.API}"])
    assert "GITHUB_TOKEN" in caught.value.advice
    assert "UTC" in caught.value.problem


def test_who_gives_a_little_each_time_is_not_asked_for_ever(server: Standin) -> None:
    """Each attempt gets on, so that none is the third in vain; still there is an end."""
    server.inject("*", Cut(after=6000))
    with pytest.raises(FetchError, match=r"\(7 attempts\)"):
        get(upstream(server), patience=replace(QUICK, most=7))
    assert server.bodies(NAME)[-1].first == 36_000


def test_an_attempt_that_gets_on_gives_the_next_ones_their_turn(server: Standin) -> None:
    """Sixty cuts, and no more than three attempts in a row without anything."""
    server.inject("*", Cut(after=7000))
    assert get(mirrored(server)).read_bytes() == CONTENT
    assert len(server.bodies(NAME)) == 58


def test_a_second_beginning_has_its_own_attempts(server: Standin) -> None:
    """After a wrong file the bytes that had come say nothing of how this attempt gets on."""
    server.inject("*", Cut(after=200_000), standin.Wrong(), *[Cut(after=7000)] * 57, times=1)
    assert get(mirrored(server)).read_bytes() == CONTENT


def test_a_host_that_does_not_answer_is_not_waited_for_again_and_again(
    pauses: list[float],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/file"
    with pytest.raises(FetchError, match=r"Connection refused \(3 attempts\)"):
        get(url)
    assert len(pauses) == 2
    with pytest.raises(FetchError, match=r"Connection refused\n"):
        get(url)
    with pytest.raises(FetchError, match=r"Connection refused\n"):
        read([f"http://127.0.0.1:{port}/other"])
    assert len(pauses) == 2
    with standin.serving(port=port) as late:
        late.add(TAG, NAME, CONTENT)
        late.inject("*", Cut(after=10), times=1)
        assert get(mirrored(late)).read_bytes() == CONTENT  # it answers: retried as any


# -- Pauses ------------------------------------------------------------------------------------


def test_pauses_grow_up_to_a_limit_and_are_not_all_the_same(
    server: Standin, pauses: list[float]
) -> None:
    server.inject("*", standin.Status(code=500))
    patience = Patience(attempts=7, first=0.5, longest=4.0)
    with pytest.raises(FetchError):
        get(upstream(server), patience=patience)
    limits = [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert all(limit / 2 <= p <= limit for p, limit in zip(pauses, limits, strict=True))
    assert len(set(pauses)) == 6


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (standin.Status(code=503, retry_after="7"), 7, 7),
        (standin.Status(code=429, retry_after="59"), 59, 59),
        (standin.RateLimited(retry_after=31), 31, 31),
        (standin.RateLimited(reset=40), 30, 40),
    ],
)
def test_a_server_says_when_it_wants_to_be_asked_again(
    server: Standin, pauses: list[float], fault: Fault, least: float, most: float
) -> None:
    server.inject("*", fault, times=1)
    told = Told()
    get(upstream(server), told=told)
    assert least <= pauses[0] <= most
    assert f"again in {pauses[0]:.1f} s" in told.retries[0]


@pytest.mark.parametrize("when", [50, -500])
def test_it_may_say_so_as_a_date(server: Standin, pauses: list[float], when: int) -> None:
    date = email.utils.formatdate(time.time() + when, usegmt=True)
    server.inject("*", standin.Status(code=503, retry_after=date), times=1)
    get(upstream(server))
    assert (40 < pauses[0] <= 50) if when > 0 else pauses[0] < 1


@pytest.mark.parametrize("said", ["soon", "-5", "9" * 400, "Mon, 99 Foo 2026 00:00:00 GMT", ""])
def test_a_pause_that_is_none_breaks_nothing(
    server: Standin, pauses: list[float], said: str
) -> None:
    server.inject("*", standin.Status(code=503, retry_after=said), times=1)
    if said.isdecimal():
        with pytest.raises(FetchError, match="not before"):
            get(upstream(server))
    else:
        get(upstream(server))
        assert pauses[0] < 1


# -- What is left of another process -----------------------------------------------------------


def stop_at(server: Standin, place: int, url: str | None = None) -> None:
    """A download that ends after so many bytes, for good."""
    server.inject("*", Cut(after=place), times=1)
    with pytest.raises(FetchError):
        get(url or upstream(server), patience=replace(QUICK, attempts=1))


def test_the_part_that_came_is_gone_on_with_another_time(server: Standin, root: Path) -> None:
    stop_at(server, 250_000)
    assert part(root).read_bytes() == CONTENT[:250_000]
    told = Told()
    assert get(upstream(server), told=told).read_bytes() == CONTENT
    assert server.bodies(NAME)[-1].range == "bytes=250000-"
    assert told.starts == [(400_000, 250_000)]
    assert left(root) == [f"upstream/{SHA256[:24]}-{NAME}"]


def test_a_login_page_in_between_costs_nothing_that_is_here(server: Standin) -> None:
    stop_at(server, 250_000)
    server.inject("*", standin.Page(), times=1)
    told = Told()
    assert get(upstream(server), told=told).read_bytes() == CONTENT
    assert "it sends an HTML page" in told.retries[0]
    assert server.bodies(NAME)[-1].first == 250_000


def test_an_interrupted_download_may_be_gone_on_with(server: Standin, root: Path) -> None:
    class Impatient(Told):
        def advanced(self, name: str, count: int) -> None:
            raise KeyboardInterrupt

    told = Impatient()
    with pytest.raises(KeyboardInterrupt):
        get(upstream(server), told=told)
    assert told.ends == [False]
    came = part(root).stat().st_size
    assert 0 < came < len(CONTENT)
    assert get(upstream(server)).read_bytes() == CONTENT
    assert server.bodies(NAME)[-1].first == came


def test_another_place_goes_on_where_the_first_stopped(server: Standin) -> None:
    """It is the same file, by its sha256; the other's ETag means nothing there."""
    stop_at(server, 150_000)
    server.inject(f"{standin.DOWNLOADS}/*", standin.Status(code=404))
    told = Told()
    assert get(upstream(server), mirrored(server), told=told).read_bytes() == CONTENT
    last = server.bodies(NAME)[-1]
    assert last.path.startswith("/mirror/")
    assert last.range == "bytes=150000-"
    assert "if-range" not in last.headers
    assert "404 Not Found; from 127.0.0.1" in told.retries[-1]


def test_a_file_put_together_from_two_is_fetched_once_more(server: Standin, root: Path) -> None:
    part(root).parent.mkdir(parents=True)
    part(root).write_bytes(bytes(100_000))
    told = Told()
    assert get(mirrored(server), told=told).read_bytes() == CONTENT
    assert [(r.status, r.first) for r in server.bodies(NAME)] == [(206, 100_000), (200, 0)]
    assert "its sha256 is" in told.retries[0]


@pytest.mark.parametrize("size", [400_000, 400_001, 900_000])
def test_a_part_as_long_as_the_file_that_is_not_the_file_is_dropped(
    server: Standin, root: Path, size: int
) -> None:
    part(root).parent.mkdir(parents=True)
    part(root).write_bytes(bytes(size))
    assert get(mirrored(server)).read_bytes() == CONTENT
    assert [request.status for request in server.log()] == [416, 200]


def test_a_whole_file_that_only_lacks_its_name_is_not_asked_for(root: Path) -> None:
    part(root).parent.mkdir(parents=True)
    part(root).write_bytes(CONTENT)
    assert get("http://127.0.0.1:1/never").read_bytes() == CONTENT
    assert left(root) == [f"upstream/{SHA256[:24]}-{NAME}"]


@pytest.mark.parametrize(
    "notes", ["", "{", "[]", '{"url": 5}', '{"url": "x", "validators": {}}', '"x"', "\udcff"]
)
def test_damaged_notes_are_no_notes(server: Standin, root: Path, notes: str) -> None:
    stop_at(server, 100_000)
    notes_path = part(root).with_name(f"{part(root).name}.json")
    assert notes_path.exists()
    notes_path.write_bytes(notes.encode(errors="surrogateescape"))
    assert get(upstream(server)).read_bytes() == CONTENT
    assert "if-range" not in server.bodies(NAME)[-1].headers
    assert server.bodies(NAME)[-1].first == 100_000


def test_a_part_that_somebody_else_has_begun_is_left_to_them(server: Standin, root: Path) -> None:
    """Somebody emptied the cache, and a second process is at it, as the first one ends."""
    path = get(upstream(server))
    part(root).write_bytes(b"theirs")
    downloads._Partial(NAME, SHA256).let_go(path)
    assert part(root).read_bytes() == b"theirs"


def test_without_hard_links_it_is_moved(
    server: Standin, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert get(upstream(server)).read_bytes() == CONTENT
    assert left(root) == [f"upstream/{SHA256[:24]}-{NAME}"]


# -- Candidates --------------------------------------------------------------------------------


def test_candidates_are_asked_in_order(server: Standin) -> None:
    told = Told()
    gone = f"{server.mirror}/20990101/{NAME}"
    assert get(gone, upstream(server), mirrored(server), told=told).read_bytes() == CONTENT
    assert [request.status for request in server.log()] == [404, 302, 200]
    assert len(told.retries) == 1


def test_where_all_fail_one_line_names_each(server: Standin) -> None:
    urls = [f"{server.mirror}/1/{NAME}", "http://127.0.0.1:1/x", "file:///nowhere/x", "ftp://a/b"]
    with pytest.raises(FetchError) as caught:
        get(*urls)
    assert "\n" not in caught.value.problem
    for url, why in zip(
        urls,
        [
            "404 Not Found",
            "Connection refused (3 attempts)",
            "No such file or directory",
            "No conn",
        ],
        strict=True,
    ):
        assert f"{url}: {why}" in caught.value.problem


def test_who_failed_behind_a_redirect_is_named(server: Standin) -> None:
    """GitHub's object store is another host, which a firewall may not let through."""
    with standin.serving() as store:
        for place, why in (
            (f"{store.url}/x", "404 Not Found"),
            ("http://127.0.0.1:1/x", "Connection refused (3 attempts)"),
        ):
            server.inject("*", standin.Moved(to=place))
            with pytest.raises(FetchError) as caught:
                get(upstream(server))
            host = place.split("/")[2]
            assert f"{upstream(server)}: {host}, to which it redirects: {why}" in str(caught.value)
            server.heal()


def test_a_place_with_the_right_file_follows_one_with_a_wrong_one(server: Standin) -> None:
    server.inject("/objects/*", standin.Wrong())
    assert get(upstream(server), mirrored(server)).read_bytes() == CONTENT


def test_a_wrong_file_is_the_worst_that_may_be_said(server: Standin) -> None:
    server.inject("/objects/*", standin.Wrong())
    with pytest.raises(HashMismatchError, match="404 Not Found") as caught:
        get(upstream(server), f"{server.mirror}/1/{NAME}")
    assert "Do not use it" in caught.value.advice


def test_without_a_place_it_is_said() -> None:
    with pytest.raises(FetchError, match="there is no place"):
        get()


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("../evil", SHA256),
        ("a/b", SHA256),
        (".hidden", SHA256),
        ("", SHA256),
        ("x\n", SHA256),
        ("file", "../../../evil"),
        ("file", SHA256[:-1]),
        ("file", SHA256.upper()),
    ],
)
def test_a_name_or_hash_that_is_none_is_refused(root: Path, name: str, sha256: str) -> None:
    with pytest.raises(FetchError, match="is no file to fetch"):
        fetch(["http://127.0.0.1:1/x"], name=name, sha256=sha256)
    assert not root.exists()


@pytest.mark.parametrize(
    "url", ["http://[", "http://", "nothing", "file://host/x", "file:///a%00b"]
)
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(FetchError, match="cannot be fetched"):
        get(url)


def test_a_password_in_a_url_is_not_told(server: Standin, root: Path) -> None:
    url = server.url.replace("//", "//me:secret@")
    told = Told()
    server.inject("*", standin.Status(code=500), Cut(after=1000), times=1)
    with pytest.raises(FetchError) as caught:
        get(f"{url}/mirror/{TAG}/{NAME}", told=told, patience=replace(QUICK, attempts=2, step=9**9))
    assert "***@127.0.0.1" in caught.value.problem
    kept = "".join(path.read_text() for path in root.rglob("*.json"))
    assert "secret" not in f"{caught.value}{told.retries}{kept}"
    assert kept


# -- Files -------------------------------------------------------------------------------------


def test_a_file_url_is_copied_and_checked(tmp_path: Path, root: Path) -> None:
    source = tmp_path / "mirror" / NAME
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    told = Told()
    path = get(source.as_uri(), told=told)
    assert "%2B" in source.as_uri()
    assert path.read_bytes() == CONTENT
    source.write_bytes(b"changed in place")
    assert path.read_bytes() == CONTENT
    assert (told.starts, told.came, told.ends) == ([(400_000, 0)], 400_000, [True])
    assert left(root) == [f"upstream/{path.name}"]


def test_a_wrong_file_of_a_folder_is_told(tmp_path: Path, root: Path) -> None:
    (tmp_path / NAME).write_bytes(b"wrong")
    with pytest.raises(HashMismatchError, match=f"instead of {SHA256}"):
        get((tmp_path / NAME).as_uri())
    assert left(root) == []


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="Is a directory"):
        get(tmp_path.as_uri())


# -- The disk ----------------------------------------------------------------------------------


def test_a_large_file_is_not_begun_where_the_disk_has_no_room(
    server: Standin, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    content = bytes(3 << 20)
    sha256 = server.add(TAG, "large", content)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 << 20))
    told = Told()
    with pytest.raises(DiskFullError, match="2 MB are free, and 4 MB are needed"):
        fetch([f"{server.mirror}/{TAG}/large"], name="large", sha256=sha256, progress=told)
    assert told.came == 0
    assert told.ends == [False]
    assert get(upstream(server)).read_bytes() == CONTENT  # a small one has room


def test_a_disk_that_becomes_full_is_told(server: Standin, root: Path) -> None:
    part(root).parent.mkdir(parents=True)
    part(root).symlink_to("/dev/full")
    told = Told()
    with pytest.raises(DiskFullError, match=str(root)):
        get(upstream(server), told=told)
    assert (told.retries, told.ends) == ([], [False])


def test_a_disk_that_becomes_full_by_a_copy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: object, pieces: object, done: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(downloads._Download, "_write", write)
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(DiskFullError):
        get((tmp_path / "file").as_uri())


def test_an_answer_without_an_end_has_one(
    server: Standin, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 399_999)
    with pytest.raises(FetchError, match="it is larger than 400 kB"):
        get(upstream(server))
    assert left(root) == []


# -- Several at once ---------------------------------------------------------------------------


def test_a_few_downloads_run_at_once(server: Standin) -> None:
    server.inject("*", Drip(count=20_000, every=0.005))
    files = {f"file{n}": server.add(TAG, f"file{n}", bytes([n]) * 200_000) for n in range(10)}
    told = Told()

    def one(name: str) -> Path:
        url = f"{server.mirror}/{TAG}/{name}"
        return fetch([url], name=name, sha256=files[name], progress=told)

    with ThreadPoolExecutor(10) as pool:
        assert [path.read_bytes()[0] for path in pool.map(one, files)] == list(range(10))
    assert 2 <= told.most <= downloads.AT_ONCE


def test_threads_that_want_the_same_file_fetch_it_once(server: Standin) -> None:
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: get(upstream(server)), range(6)))
    assert len(set(paths)) == 1
    assert len(server.bodies(NAME)) == 1


# -- Documents ---------------------------------------------------------------------------------


def test_a_document_comes_with_its_tag_and_is_not_sent_again(server: Standin) -> None:
    url = f"{server.downloads}/{TAG}/SHA256SUMS"
    found = read([url])
    assert found.body == server.sums(TAG)
    assert (found.url, found.next) == (url, None)
    again = read([url], etag=found.etag)
    assert (again.body, again.etag) == (None, found.etag)
    server.add(TAG, "new", b"new")
    other = read([url], etag=found.etag)
    assert other.body == server.sums(TAG)
    assert other.etag != found.etag


def test_pages_lead_to_the_next(server: Standin) -> None:
    server.publish("20250529")
    first = read([f"{server.url}{standin.API}?per_page=1"])
    assert first.next is not None
    second = read([first.next])
    assert b'"20250529"' in (first.body or b"")
    assert b'"20250517"' in (second.body or b"")
    assert second.next is None
    same = read([f"{server.url}{standin.API}?per_page=1"], etag=first.etag)
    assert (same.body, same.next) == (None, first.next)


@pytest.mark.parametrize("fault", [Cut(after=10), standin.Status(code=502), standin.Silent()])
def test_a_document_is_asked_for_again(server: Standin, fault: Fault) -> None:
    server.inject("*/SHA256SUMS", fault, times=2)
    told = Told()
    patience = IMPATIENT if isinstance(fault, standin.Silent) else QUICK
    found = read([f"{server.mirror}/{TAG}/SHA256SUMS"], progress=told, patience=patience)
    assert found.body == server.sums(TAG)
    assert (len(told.retries), told.ends) == (2, [True])


def test_a_document_that_fails_is_one_line(server: Standin) -> None:
    urls = [f"{server.mirror}/1/SHA256SUMS", f"{server.downloads}/1/SHA256SUMS"]
    with pytest.raises(FetchError) as caught:
        read(urls)
    assert caught.value.problem == (
        f"{urls[0]} cannot be fetched: {urls[0]}: 404 Not Found; {urls[1]}: 404 Not Found"
    )


def test_a_document_that_is_too_large_is_refused(server: Standin, tmp_path: Path) -> None:
    """Also one that is small until it is unpacked."""
    (tmp_path / "file").write_bytes(bytes(1001))
    server.add(TAG, "file", bytes(1001))
    for n in range(40):
        server.publish(f"202501{n % 28 + 1:02}")
    urls = [
        (tmp_path / "file").as_uri(),
        f"{server.mirror}/{TAG}/file",
        f"{server.url}{standin.API}",
    ]
    for url in urls:
        with pytest.raises(FetchError, match=r"it is larger than 1.0 kB\n"):
            read([url], limit=1000)
    assert len(read([urls[0]], limit=1001).body or b"") == 1001
    assert server.log()[-1].sent < 1000


def test_a_document_in_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("sums")
    found = read([f"{tmp_path.as_uri()}/SHA256SUMS"], etag="anything")
    assert (found.body, found.etag, found.next) == (b"sums", None, None)
    with pytest.raises(FetchError, match="No such file"):
        read([f"{tmp_path.as_uri()}/none"])
