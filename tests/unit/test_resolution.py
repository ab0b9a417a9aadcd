"""What a run decides once, before it plans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import catalogue, index, lock, locking, matrix, mirror, resolution
from harness.catalogue import Release
from harness.errors import ConfigurationError, FetchError, SelectionError
from harness.lock import Lock, LockedUv
from harness.matrix import Matrix
from harness.mirror import Mirror
from harness.plan import Names
from harness.resolution import Resolution
from harness.sources import Source
from tests import servers
from tests.servers import Server

PROJECT = Path(__file__).parents[2]
SUMS = f"{'a' * 64}  cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only.tar.gz\n"


@pytest.fixture(scope="module")
def own_lock() -> Lock:
    return lock.load(PROJECT / "matrix.lock")


@pytest.fixture(scope="module")
def own() -> Matrix:
    return matrix.load(PROJECT / "matrix.yaml")


@pytest.fixture
def place() -> Iterator[Server]:
    """A mirror."""
    with servers.serving() as server:
        yield server


@pytest.fixture(autouse=True)
def no_mirror_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mirror.VARIABLE, raising=False)


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network may be asked anything."""

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError(f"asked {arguments}")

    monkeypatch.setattr(resolution, "unreachable", never)
    monkeypatch.setattr(catalogue, "known", never)
    monkeypatch.setattr(index, "candidates", never)


def decided(text: Matrix, locked: Lock, **options: Any) -> Resolution:
    return resolution.resolve(text, locked, **{"profile": "default", **options})


def with_axis(own: Matrix, **axes: tuple[str, ...]) -> Matrix:
    return own.model_copy(update=axes)


def known(*tags: str) -> Callable[..., catalogue.Listing]:
    found = tuple(Release(tag=tag, commit_date="2026-01-01") for tag in tags)
    return lambda *arguments, **options: catalogue.Listing(releases=found, said=("asked",))


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("source", Source)
def test_a_source_that_is_named_is_taken_without_asking(
    source: Source, own: Matrix, own_lock: Lock
) -> None:
    found = decided(own, own_lock, source=str(source))
    assert (found.source, found.said, found.mirror) == (source, (), Mirror())


def test_auto_takes_published_archives_where_they_can_be_had(
    place: Server, own: Matrix, own_lock: Lock
) -> None:
    place.add("/20250409/SHA256SUMS", SUMS.encode())
    found = decided(own, own_lock, source="auto", mirror=f"{place.url}/")
    assert found.source is Source.UPSTREAM
    assert found.said == (f"source auto: the published archives, since {place.url} answers",)


def test_auto_takes_replicas_where_nobody_answers(own: Matrix, own_lock: Lock) -> None:
    found = decided(own, own_lock, source="auto", mirror="http://127.0.0.1:9")
    assert found.source is Source.REPLICA
    (sentence,) = found.said
    assert sentence.startswith("source auto: replicas, stand-ins with the releases' link models")
    assert "http://127.0.0.1:9" in sentence
    assert "Connection refused" in sentence


def test_auto_is_not_taken_in_by_a_login_page(place: Server, own: Matrix, own_lock: Lock) -> None:
    """Networks of hotels answer every question, with status 200."""
    for tag in ("20250409", "20250521", "20250529", "20261110", "20250517"):
        place.add(f"/{tag}/SHA256SUMS", b"<html>Please log in</html>", "text/html")
    found = decided(own, own_lock, source="auto", mirror=place.url)
    assert found.source is Source.REPLICA
    assert "what it sends for SHA256SUMS is none" in found.said[0]


def test_auto_does_not_wait_for_who_accepts_and_says_nothing(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is asked at once, and given up at once: by a clock of its own, not by each time-out."""
    never = threading.Event()
    asked: list[list[str]] = []

    def silent(urls: list[str], **options: object) -> None:
        asked.append(urls)
        never.wait()
        raise FetchError("too late: nobody listens", advice="none")

    monkeypatch.setattr("harness.downloads.read", silent)
    monkeypatch.setattr(resolution, "PATIENCE", 0.2)
    found = decided(own, own_lock, source="auto")
    never.set()
    assert found.source is Source.REPLICA
    assert "nothing comes from GitHub (no answer within 0.2 s)" in found.said[0]
    assert len(asked) == 2 * 5  # five releases at both of upstream's hosts


def test_auto_takes_a_folder_as_a_mirror(tmp_path: Path, own: Matrix, own_lock: Lock) -> None:
    (tmp_path / "20261110").mkdir()
    (tmp_path / "20261110" / "SHA256SUMS").write_text(SUMS)
    found = decided(own, own_lock, source="auto", mirror=str(tmp_path))
    assert found.source is Source.UPSTREAM
    assert found.mirror.base == tmp_path.as_uri()


def test_the_mirror_is_the_options_else_that_of_uvs_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(mirror.VARIABLE, "https://mirror.example/pbs/")
    assert mirror.of(None) == Mirror(base="https://mirror.example/pbs")
    assert mirror.of("file:///srv/pbs") == Mirror(base="file:///srv/pbs")


@pytest.mark.parametrize("url", ["ftp://example.org/pbs", "https:///pbs", "s3://bucket"])
def test_a_mirror_that_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no http, https or file URL"):
        mirror.of(url)


def test_a_mirror_replaces_the_place_that_uv_names() -> None:
    """Whichever host that uv's own metadata has; a plus sign is escaped as it is there."""
    name, first = "a+b.tar.gz", "https://releases.astral.sh/github/x/20250517/a%2Bb.tar.gz"
    assert Mirror(base="file:///m").urls("20250517", name, first=first) == (
        "file:///m/20250517/a%2Bb.tar.gz",
    )
    assert Mirror().urls("20250517", name, first=first) == (
        first,
        f"{mirror.GITHUB}/20250517/a%2Bb.tar.gz",
        f"{mirror.ASTRAL}/20250517/a%2Bb.tar.gz",
    )


@pytest.mark.usefixtures("unasked")
def test_a_range_between_two_tags_asks_nobody(own: Matrix, own_lock: Lock) -> None:
    asked = with_axis(own, releases=("default", "20250409..20250521", "20250323"))
    found = decided(asked, own_lock, source="replica")
    assert found.names.releases == {
        "20250409..20250521": ("20250409", "20250517", "20250521"),
        "20250323": ("20250323",),
    }
    assert found.said == ()


def test_latest_is_found_out_once_and_said(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ("20260807", "20260814", "20261110", "20261120")
    monkeypatch.setattr(catalogue, "known", known(*tags))
    asked = with_axis(own, releases=("latest", "latest-3", "20260814..latest-1"))
    found = decided(asked, own_lock, source="replica")
    assert found.names.releases == {
        "latest": ("20261120",),
        "latest-3": ("20260807",),
        "20260814..latest-1": ("20260814", "20261110"),
    }
    assert found.said == (
        "asked",
        "release latest is 20261120",
        "release latest-3 is 20260807",
        "release 20260814..latest-1 is 20260814 to 20261110, 2 releases",
    )


def test_more_releases_than_there_are_is_said(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "known", known("20260807", "20260814"))
    with pytest.raises(SelectionError, match=r"'latest-2': there is no latest-2: only 2 releases"):
        decided(with_axis(own, releases=("latest-2",)), own_lock, source="replica")


def test_the_newest_uv_is_found_out_and_asked_as_a_lock_would(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the lock knows is not asked again."""
    made: list[str] = []

    def lock_uv(version: str, *rest: object) -> LockedUv:
        made.append(version)
        return own_lock.uv["0.13.9"]

    monkeypatch.setattr(index, "candidates", lambda name: ("0.7.9", "0.13.9", "0.14.0"))
    monkeypatch.setattr(locking, "lock_uv", lock_uv)
    asked = with_axis(own, uv=("0.7.6", "latest", "latest-1"))
    found = decided(asked, own_lock, source="replica")
    assert found.names.uv == {"latest": "0.14.0", "latest-1": "0.13.9"}
    assert made == ["0.14.0"]
    assert "0.14.0" in found.completed(own_lock).uv
    assert found.said == ("uv latest is 0.14.0", "uv latest-1 is 0.13.9")


def test_another_process_decides_the_same(
    own: Matrix, own_lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the controller of a run tells its workers: nothing is lost on the way."""
    monkeypatch.setattr(catalogue, "known", known("20260807", "20260814"))
    asked = with_axis(own, releases=("latest",))
    found = decided(asked, own_lock, source="upstream", mirror="/srv/x", trusts_mirror=True)
    assert Resolution.model_validate_json(found.model_dump_json()) == found


def test_only_what_the_profile_names_is_asked_for(own: Matrix, unasked: None) -> None:
    """The night's profile has the latest of all; the others need no network for that."""
    locked = lock.load(PROJECT / "matrix.lock")
    for profile in own.profiles.keys() - {"nightly"}:
        assert decided(own, locked, source="replica", profile=profile).names == Names()
    with pytest.raises(AssertionError, match="asked"):
        decided(own, locked, source="replica", profile="nightly")
