"""Which releases there are: who is asked, what is kept, and in which order they stand."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cache, catalogue, downloads, lock, releases
from harness.catalogue import Origin, Release, known, resolve, sums
from harness.downloads import Patience
from harness.errors import FetchError, SelectionError
from harness.mirror import Mirror
from harness.platforms import Platform
from tests import standin
from tests.standin import API, Page, Standin, Status

PROJECT = Path(__file__).parents[2]
TABLE = tuple(releases.commit_dates())
DEAD = "http://127.0.0.1:9"
NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
NEWER = tuple(f"2026{month:02}{day:02}" for month in (9, 10, 11) for day in range(1, 13))
"""Releases that the table does not know."""


@pytest.fixture(autouse=True)
def nothing_kept_and_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("GITHUB_API_URL", DEAD)
    monkeypatch.setattr(catalogue, "GIT", str(tmp_path / "no-repository"))
    monkeypatch.setattr(catalogue, "IMPATIENT", Patience(attempts=1, first=0.01, silence=5))
    monkeypatch.setattr(downloads, "PATIENCE", Patience(attempts=1, first=0.01, silence=5))


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """GitHub's API with the newest releases of the table and many newer ones."""
    with standin.serving() as server:
        for tag in (*TABLE[-15:], *NEWER):
            server.publish(tag)
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        yield server


def tags_of(listed: tuple[Release, ...]) -> list[str]:
    return [release.tag for release in listed]


def asked(server: Standin) -> list[tuple[str, int]]:
    """The pages of the API that were asked for, and the status of each answer."""
    return [
        (re.findall(r"&page=(\d+)", request.query)[0], request.status)
        for request in server.log(API)
    ]


# -- The order ------------------------------------------------------------------------------------


def test_offline_the_table_is_the_list_in_commit_order() -> None:
    listing = known(Mirror(), offline=True)
    assert tags_of(listing.releases) == [*TABLE]
    assert {release.origins for release in listing.releases} == {(Origin.TABLE,)}
    assert listing.said == (f"{len(TABLE)} releases, by the table that ends with {TABLE[-1]}",)


def test_a_tag_stands_where_its_commit_is_and_not_where_its_name_would_be(
    github: Standin,
) -> None:
    """Of the table, 20250323; of what GitHub says, the same with a tag that is not in the table."""
    github.publish("20250101", date=datetime(2026, 10, 5, 23, tzinfo=UTC))
    tags = tags_of(known(Mirror()).releases)
    assert tags[tags.index("20250323") - 1 :][:3] == ["20260320", "20250323", "20260324"]
    assert tags[tags.index("20250101") - 1 :][:3] == ["20261004", "20250101", "20261005"]


def test_the_date_is_the_commits_and_not_that_of_the_publication(github: Standin) -> None:
    late = datetime(2026, 12, 24, tzinfo=UTC)
    github.publish("20261001", date=datetime(2026, 9, 30, tzinfo=UTC), published=late)
    listed = {release.tag: release for release in known(Mirror()).releases}
    assert (listed["20261001"].commit_date, listed["20261001"].is_dated) == ("2026-09-30", True)


def test_the_table_is_believed_against_whoever_else_dates_a_release(github: Standin) -> None:
    """All ranges are in the table's order; a list may not be in another."""
    github.publish(TABLE[-2], date=datetime(2026, 12, 24, tzinfo=UTC))
    tags = tags_of(known(Mirror()).releases)
    assert tags[: len(TABLE)] == [*TABLE]


@given(st.permutations(range(12)), st.data())
def test_the_order_does_not_depend_on_who_knows_what(order: list[int], data: st.DataObject) -> None:
    dates = {f"202701{n:02}": f"2027-02-{data.draw(st.integers(1, 3)):02}" for n in range(1, 13)}
    tags = [*dates]
    listed: dict[str, Release] = {}
    for place in order:
        catalogue._add(listed, {tags[place]: dates[tags[place]]}, Origin.API)
    made = tags_of(catalogue._ordered(listed))
    assert made == sorted(tags, key=lambda tag: (dates[tag], tag))


# -- GitHub's API ----------------------------------------------------------------------------------


def test_every_page_with_something_new_is_read(github: Standin) -> None:
    listing = known(Mirror())
    assert tags_of(listing.releases) == [*TABLE, *NEWER]
    assert {release.published for release in listing.releases[-len(NEWER) :]} == {True}
    # 36 new ones, and 4 of the table on the page with the last of them; the fifth is all old.
    assert asked(github) == [(str(page), 200) for page in range(1, 6)]
    assert listing.said == (
        f"{len(TABLE) + len(NEWER)} releases, by GitHub's API, asked just now, and the table",
    )


def test_drafts_and_tags_that_are_no_date_are_left_out(github: Standin) -> None:
    github.publish("20261201", draft=True)
    github.publish("nightly", date=datetime(2026, 12, 1, tzinfo=UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_TOKEN", "to-see-drafts")
        tags = tags_of(known(Mirror()).releases)
    assert tags[-1] == NEWER[-1]


def test_within_the_hour_nobody_is_asked_again(github: Standin) -> None:
    first = known(Mirror())
    before = asked(github)
    assert known(Mirror()).releases == first.releases
    assert asked(github) == before


def test_later_only_what_has_changed_is_sent(github: Standin) -> None:
    known(Mirror())
    before = len(asked(github))
    known(Mirror(), max_age=0)
    # Nothing is new on the first page, so the others are as they were.
    assert asked(github)[before:] == [("1", 304)]
    github.publish("20261201")
    assert tags_of(known(Mirror(), max_age=0).releases)[-2:] == [NEWER[-1], "20261201"]
    assert asked(github)[before + 1 :] == [("1", 200), ("2", 200)]


@pytest.mark.parametrize("fault", [Status(code=403), Status(code=500), Page()], ids=repr)
def test_a_question_that_fails_leaves_the_older_list_in_use_and_says_so(
    github: Standin, fault: standin.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = known(Mirror())
    github.inject("*", fault)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * 3600)
    later = known(Mirror())
    assert later.releases == first.releases
    assert "by GitHub's API, asked 3 hours ago" in later.said[0]
    assert later.said[1].startswith("GitHub's API gave no list: ")
    assert later.said[2].startswith("git ls-remote gave no list: ")


def test_a_login_page_is_no_list(github: Standin) -> None:
    github.inject(API, Page())
    listing = known(Mirror())
    assert tags_of(listing.releases) == [*TABLE]
    assert "is no list of releases" in listing.said[1]


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"[1]", b'[{"tag_name": "20261201", "draft": false}]', b"\xff"]
)
def test_another_answer_than_a_list_is_none(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(urls: list[str], **options: object) -> downloads.Document:
        return downloads.Document(url=urls[0], body=content)

    monkeypatch.setattr(catalogue, "_read", read)
    listing = known(Mirror())
    assert tags_of(listing.releases) == [*TABLE]
    assert re.search("is no list of releases|lists no release", listing.said[1])


def test_offline_asks_nobody_and_takes_what_is_kept(github: Standin) -> None:
    first = known(Mirror())
    before = asked(github)
    later = known(Mirror(), offline=True, max_age=0)
    assert later.releases == first.releases
    assert asked(github) == before


def test_a_damaged_list_in_the_cache_is_asked_for_again(github: Standin) -> None:
    first = known(Mirror())
    (path,) = (cache.root() / "releases").glob("*.json")
    for damage in ("", "[]", "{}", '{"origin": "GitHub", "tags": 1, "asked": 1, "pages": {}}'):
        path.write_text(damage)
        assert known(Mirror()).releases == first.releases


def test_a_list_of_tomorrow_is_not_taken_for_new(github: Standin) -> None:
    """As where the clock was wrong then."""
    known(Mirror())
    (path,) = (cache.root() / "releases").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "asked": time.time() + 1e6}))
    before = len(asked(github))
    known(Mirror())
    assert len(asked(github)) > before


# -- git -------------------------------------------------------------------------------------------


def repository(folder: Path, *tags: str) -> Path:
    """A bare repository with a commit, light tags, and one with a message of its own."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    work = folder / "work"
    subprocess.run([*git, "init", "--quiet", work], check=True)
    subprocess.run([*git, "-C", work, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    for tag in tags:
        subprocess.run([*git, "-C", work, "tag", tag], check=True)
    subprocess.run([*git, "-C", work, "tag", "-a", "-m", "x", "20261224"], check=True)
    subprocess.run([*git, "clone", "--quiet", "--bare", work, folder / "bare.git"], check=True)
    return folder / "bare.git"


def test_the_tags_of_the_repository_are_asked_where_the_api_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no dates, so what the table does not date is put where its name says."""
    bare = repository(tmp_path, "20250323", "20261201", "20261202", "v1", "latest")
    monkeypatch.setattr(catalogue, "GIT", str(bare))
    listing = known(Mirror())
    assert tags_of(listing.releases) == [*TABLE, "20261201", "20261202", "20261224"]
    newest = listing.releases[-1]
    assert (newest.commit_date, newest.is_dated, newest.published) == ("2026-12-24", False, None)
    assert newest.origins == (Origin.TAGS,)
    assert "by GitHub's tags, asked just now" in listing.said[0]
    assert "3 dated by name alone" in listing.said[0]
    assert listing.said[1].startswith("GitHub's API gave no list: ")


def test_dates_that_the_api_said_before_are_those_of_the_tags(
    tmp_path: Path, github: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.publish("20261201", date=datetime(2026, 8, 30, tzinfo=UTC))
    known(Mirror())
    github.inject(API, Status(code=404))
    monkeypatch.setattr(catalogue, "GIT", str(repository(tmp_path, "20261201", "20261202")))
    listed = {release.tag: release for release in known(Mirror(), max_age=0).releases}
    assert (listed["20261201"].commit_date, listed["20261201"].is_dated) == ("2026-08-30", True)
    assert (listed["20261202"].commit_date, listed["20261202"].is_dated) == ("2026-12-02", False)
    assert NEWER[0] not in listed


# -- A mirror --------------------------------------------------------------------------------------


def test_a_mirror_that_lists_its_folders_says_what_there_is(github: Standin) -> None:
    """It has a part; what is missing there stays in the list, and is said to be."""
    with standin.serving() as server:
        for tag in ("20250409", "20250323", "20261224"):
            server.publish(tag)
        listing = known(Mirror(base=server.mirror))
        again = known(Mirror(base=server.mirror))
    there = [release.tag for release in listing.releases if release.published]
    assert there == ["20250409", "20250323", "20261224"]
    assert {release.published for release in listing.releases} == {True, False}
    assert "by the mirror's index, asked just now" in listing.said[0]
    assert again.releases == listing.releases
    assert asked(github) == []


@pytest.mark.parametrize(
    "page",
    [
        b'<a href="/pbs/20250409/">x</a><a href="20261224/?C=M;O=A">x</a><a href="../">..</a>',
        b'<table><td><A HREF="http://other/a/20250409">20250409</A></td><a href=20261224></a>'
        b'<a name="20250517"></a><a href="20251399/"></a><a href="20250521.txt"></a>',
    ],
)
def test_links_to_folders_are_releases_however_they_are_written(
    page: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(urls: list[str], **options: object) -> downloads.Document:
        assert urls == ["https://mirror.example/pbs/"]
        return downloads.Document(url=urls[0], body=page)

    monkeypatch.setattr(catalogue, "_read", read)
    listing = known(Mirror(base="https://mirror.example/pbs"))
    there = [release.tag for release in listing.releases if release.published]
    assert there == ["20250409", "20261224"]


def test_a_folder_is_a_mirror(tmp_path: Path) -> None:
    for name in ("20250409", "20261224", "20251399", "new", "20250517.tmp"):
        (tmp_path / "m m" / name).mkdir(parents=True)
    (tmp_path / "m m" / "20250521").write_text("")
    listing = known(Mirror(base=(tmp_path / "m m").as_uri()))
    there = [release.tag for release in listing.releases if release.published]
    assert there == ["20250409", "20261224"]


@pytest.mark.parametrize("fault", [Status(code=404), Page()], ids=repr)
def test_github_is_asked_for_a_mirror_that_lists_nothing(
    github: Standin, fault: standin.Fault
) -> None:
    """Whether the mirror has the files is then not known."""
    github.inject("/mirror/*", fault)
    listing = known(Mirror(base=github.mirror))
    assert tags_of(listing.releases) == [*TABLE, *NEWER]
    assert listing.said[1].startswith("the mirror's index gave no list: ")


def test_lists_of_two_mirrors_are_kept_apart(tmp_path: Path) -> None:
    for name, tag in (("a", "20261201"), ("b", "20261202")):
        (tmp_path / name / tag).mkdir(parents=True)
    for name, tag in (("a", "20261201"), ("b", "20261202")):
        listed = known(Mirror(base=(tmp_path / name).as_uri())).releases
        assert [release.tag for release in listed if release.published] == [tag]


# -- What others know ------------------------------------------------------------------------------


def test_what_locked_and_other_uv_versions_install_is_listed_too() -> None:
    own = lock.load(PROJECT / "matrix.lock")
    listing = known(Mirror(), offline=True, beside=own, uv=["20261110", "20261115"])
    assert tags_of(listing.releases) == [*TABLE, "20261110", "20261115"]
    newest = {release.tag: release for release in listing.releases[-2:]}
    assert newest["20261110"].origins == (Origin.LOCK, Origin.UV)
    assert newest["20261115"].origins == (Origin.UV,)
    assert listing.said[0].endswith("; 2 dated by name alone")


# -- Choices ---------------------------------------------------------------------------------------


def listed_as(*origins: Origin, missing: tuple[str, ...] = ()) -> list[Release]:
    return [
        Release(tag=tag, commit_date=date, origins=origins, published=tag not in missing)
        for tag, date in releases.commit_dates().items()
    ]


@given(st.integers(0, len(TABLE) - 1), st.integers(0, len(TABLE) - 1))
def test_a_choice_is_a_slice_of_the_list(one: int, other: int) -> None:
    listed = listed_as(Origin.API)
    first, last = sorted((one, other))
    back = len(TABLE) - 1
    ends = (
        [TABLE[first], f"latest-{back - first}", *([""] if first == 0 else [])],
        [TABLE[last], f"latest-{back - last}", *(["latest", ""] if last == back else [])],
    )
    for begin in ends[0]:
        assert begin == "" or resolve(begin, listed) == (TABLE[first],)
        for end in ends[1]:
            if begin or end:
                assert resolve(f"{begin}..{end}", listed) == TABLE[first : last + 1]


def test_what_a_mirror_lacks_is_never_the_latest_nor_within_a_range() -> None:
    """But it may be named: replicas stand in for any release."""
    missing = (TABLE[-1], TABLE[-3], TABLE[-6])
    listed = listed_as(Origin.MIRROR, missing=missing)
    assert resolve("latest", listed) == (TABLE[-2],)
    assert resolve("latest-1", listed) == (TABLE[-4],)
    assert resolve(f"{TABLE[-6]}..", listed) == (TABLE[-5], TABLE[-4], TABLE[-2])
    assert resolve(f"{TABLE[-6]}..latest-1", listed) == (TABLE[-5], TABLE[-4])
    assert resolve(TABLE[-1], listed) == (TABLE[-1],)
    with pytest.raises(SelectionError, match="nothing that is there lies in it"):
        resolve(f"{TABLE[-1]}..{TABLE[-1]}", listed)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("20250516", "there is no release 20250516"),
        ("20250516..", "there is no release 20250516"),
        ("20991231", "there is no release 20991231"),
        ("latest-9999", f"only {len(TABLE)} releases"),
        ("20250521..20250517", "20250521 comes after 20250517"),
        ("latest..20250517", "comes after 20250517"),
    ],
)
def test_a_choice_of_nothing_says_what_there_is(choice: str, said: str) -> None:
    with pytest.raises(SelectionError) as caught:
        resolve(choice, listed_as(Origin.TABLE, Origin.API))
    assert said in caught.value.problem
    assert f"{TABLE[-2]}, {TABLE[-1]}" in caught.value.advice


def test_a_release_after_the_table_is_believed_where_nobody_else_was_asked() -> None:
    """The table ends somewhere; the release that a newer uv installs is none the less there."""
    listed = listed_as(Origin.TABLE)
    assert resolve("20261110", listed) == ("20261110",)
    assert resolve(f"{TABLE[-1]}..20261110", listed) == (TABLE[-1], "20261110")
    for mistyped in ("20250516", "20261399"):
        with pytest.raises(SelectionError):
            resolve(mistyped, listed)


# -- SHA256SUMS ------------------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Standin]:
    """A mirror with one file in one release."""
    with standin.serving() as server:
        server.add("20250517", NAME, b"content")
        yield server


def times(server: Standin) -> int:
    return len(server.log("*/SHA256SUMS"))


def test_the_sums_of_a_release_are_asked_for_once(place: Standin) -> None:
    mirror = Mirror(base=place.mirror)
    expected = {NAME: place.releases["20250517"].files[NAME].sha256}
    for needing in (None, NAME, None):
        assert sums("20250517", mirror, needing=needing) == expected
    assert times(place) == 1


def test_kept_sums_that_lack_a_file_are_asked_for_again(place: Standin) -> None:
    """They may have been kept while the release was being published."""
    mirror = Mirror(base=place.mirror)
    place.inject("*/SHA256SUMS", standin.Stale(lacking="*aarch64*"), times=1)
    other = NAME.replace("x86_64", "aarch64")
    place.add("20250517", other, b"other")
    assert set(sums("20250517", mirror)) == {NAME}
    assert set(sums("20250517", mirror, needing=NAME)) == {NAME}
    assert times(place) == 1
    assert set(sums("20250517", mirror, needing=other)) == {NAME, other}
    assert set(sums("20250517", mirror)) == {NAME, other}
    assert times(place) == 2


def test_a_file_that_is_in_no_sums_leaves_them_as_they_are(place: Standin) -> None:
    mirror = Mirror(base=place.mirror)
    assert set(sums("20250517", mirror, needing="another.tar.gz")) == {NAME}
    assert set(sums("20250517", mirror, needing="another.tar.gz")) == {NAME}
    assert times(place) == 2


def test_damaged_sums_in_the_cache_are_asked_for_again(place: Standin) -> None:
    mirror = Mirror(base=place.mirror)
    first = sums("20250517", mirror)
    (path,) = [p for p in (cache.root() / "sums").iterdir() if p.name[0] != "."]
    path.write_bytes(b"\0" * 100)
    assert sums("20250517", mirror) == first
    assert times(place) == 2


def test_sums_of_two_mirrors_are_kept_apart(place: Standin) -> None:
    sums("20250517", Mirror(base=place.mirror))
    with pytest.raises(FetchError):
        sums("20250517", Mirror(base=DEAD))


def test_offline_no_sums_are_asked_for(place: Standin) -> None:
    mirror = Mirror(base=place.mirror)
    with pytest.raises(FetchError, match="the cache has no SHA256SUMS of release 20250517"):
        sums("20250517", mirror, offline=True)
    first = sums("20250517", mirror)
    assert sums("20250517", mirror, offline=True) == first
    assert times(place) == 1


LINE = f"{'a' * 64}  {NAME}"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n\n",
        "<html>Please log in</html>",
        f"{LINE}\n<html>",
        f"{'a' * 63}  {NAME}",
        f"{'A' * 64}  {NAME}",
        f"{'a' * 64} {NAME}",
        f"{'a' * 64}  ../{NAME}",
        f"{'a' * 64}  a b",
        "a" * 64,
        f"{LINE}\n{LINE[:40]}",
    ],
)
def test_what_is_no_list_of_sums_is_refused_and_not_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / "20250517").mkdir()
    (tmp_path / "20250517" / "SHA256SUMS").write_text(content)
    for _ in range(2):
        with pytest.raises(FetchError, match="is no SHA256SUMS") as caught:
            sums("20250517", Mirror(base=tmp_path.as_uri()))
        assert "20250517/SHA256SUMS" in caught.value.problem


@pytest.mark.parametrize("content", [LINE, f"{'a' * 64} *{NAME}\r\n\r\n{'b' * 64}  other\r\n"])
def test_sums_are_read_as_sha256sum_writes_them(content: str, tmp_path: Path) -> None:
    (tmp_path / "20250517").mkdir()
    (tmp_path / "20250517" / "SHA256SUMS").write_bytes(content.encode())
    assert sums("20250517", Mirror(base=tmp_path.as_uri()))[NAME] == "a" * 64


def test_the_cpythons_of_a_release_are_told_by_its_files() -> None:
    names = [
        NAME,
        NAME.replace("3.13.3", "3.9.22"),
        NAME.replace("3.13.3", "3.14.0rc1"),
        NAME.replace("3.13.3", "3.14.0a7"),
        NAME.replace("3.13.3", "3.10.17").replace("_stripped", ""),
        NAME.replace("3.13.3", "3.11.12").replace("x86_64", "aarch64"),
        NAME.replace("3.13.3", "3.12.10").replace("gnu", "musl"),
        NAME.replace("3.13.3", "3.12.10").replace("unknown-linux-gnu", "apple-darwin"),
    ]
    assert catalogue.pythons(names, [Platform.X86_64]) == (
        *("3.9.22", "3.10.17", "3.13.3", "3.14.0a7", "3.14.0rc1"),
    )
    assert catalogue.pythons(names, [Platform.AARCH64]) == ("3.11.12",)


def test_a_list_is_not_changed_by_who_reads_it() -> None:
    release = known(Mirror(), offline=True).releases[0]
    with pytest.raises(AttributeError):
        release.tag = "20250517"  # type: ignore[misc]
    assert replace(release, tag="20250517").commit_date == release.commit_date
