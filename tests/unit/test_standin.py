"""The stand-in behaves as GitHub's downloads do, and its faults are the ones that it names."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests

from tests import standin
from tests.standin import Standin

TAG = "20250517"
NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
CONTENT = bytes(range(256)) * 1000
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    monkeypatch.setenv("NO_PROXY", "*")
    with standin.serving() as found:
        found.add(TAG, NAME, CONTENT)
        yield found


def get(url: str, method: str = "GET", **headers: str) -> requests.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, url, headers=names, timeout=10, allow_redirects=False)


def stored(server: Standin, **headers: str) -> requests.Response:
    """A request to the object store, with a token as the redirect gives it."""
    place = get(f"{server.downloads}/{TAG}/{NAME}").headers["Location"]
    return get(place, **headers)


@pytest.mark.parametrize("written", [NAME, NAME.replace("+", "%2B")])
def test_a_download_is_a_redirect_to_the_object_store(server: Standin, written: str) -> None:
    """With ``+`` in either spelling, as uv and GitHub's own pages have it."""
    first = get(f"{server.downloads}/{TAG}/{written}")
    assert (first.status_code, first.content) == (302, b"")
    assert first.headers["Location"].startswith(f"{server.url}/objects/{TAG}/cpython-3.13.3%2B")
    answer = get(first.headers["Location"])
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["ETag"].startswith('"0x')


def test_the_object_store_wants_the_token(server: Standin) -> None:
    assert get(f"{server.url}/objects/{TAG}/{NAME}").status_code == 403


def test_a_mirror_has_the_same_files_without_a_redirect(server: Standin) -> None:
    assert get(f"{server.mirror}/{TAG}/{NAME}").content == CONTENT


def test_a_mirror_lists_its_folders(server: Standin) -> None:
    assert '<a href="20250517/">20250517/</a>' in get(f"{server.mirror}/").text
    page = get(f"{server.mirror}/{TAG}/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert f'<a href="{NAME.replace("+", "%2B")}">{NAME}</a>' in page.text
    assert '<a href="SHA256SUMS">' in page.text


@pytest.mark.parametrize(
    "path", ["/", "/mirror/20990101/", f"/mirror/{TAG}/none.tar.gz", f"{standin.DOWNLOADS}/1/x"]
)
def test_what_is_not_there_is_404(server: Standin, path: str) -> None:
    assert get(f"{server.url}{path}").status_code == 404


def test_the_sums_are_made_from_the_content(server: Standin) -> None:
    server.add(TAG, "another.tar.gz", b"another")
    answer = requests.get(f"{server.downloads}/{TAG}/SHA256SUMS", timeout=10)
    assert answer.text.splitlines() == [
        f"{hashlib.sha256(b'another').hexdigest()}  another.tar.gz",
        f"{hashlib.sha256(CONTENT).hexdigest()}  {NAME}",
    ]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=100-", 100, 256_000),
        ("bytes=0-9", 0, 10),
        ("bytes=255999-", 255_999, 256_000),
        ("bytes=100-999999999", 100, 256_000),
        ("bytes=-5", 255_995, 256_000),
    ],
)
def test_a_range_brings_that_part(server: Standin, asked: str, start: int, stop: int) -> None:
    answer = stored(server, Range=asked)
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/256000"


def test_a_range_behind_the_end_is_416(server: Standin) -> None:
    answer = stored(server, Range="bytes=256000-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */256000"


@pytest.mark.parametrize("asked", ["bytes=-", "lines=1-", "bytes=1-2,5-6", "bytes=a-b"])
def test_a_range_that_is_none_is_ignored(server: Standin, asked: str) -> None:
    assert stored(server, Range=asked).status_code == 200


def test_if_range_decides_between_the_part_and_the_whole(server: Standin) -> None:
    first = stored(server)
    for name, status in (("ETag", 206), ("Last-Modified", 206)):
        answer = stored(server, Range="bytes=5-", If_Range=first.headers[name])
        assert answer.status_code == status
    answer = stored(server, Range="bytes=5-", If_Range='"another"')
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_an_unchanged_file_is_not_sent_again(server: Standin) -> None:
    first = stored(server)
    assert stored(server, If_None_Match=first.headers["ETag"]).status_code == 304


def test_head_has_the_size_and_no_body(server: Standin) -> None:
    answer = get(f"{server.mirror}/{TAG}/{NAME}", "HEAD")
    assert answer.headers["Content-Length"] == "256000"
    assert server.log()[-1].sent == 0


def test_a_file_on_disk_is_served_as_one_in_memory(server: Standin, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    sha256 = server.add("20250529", "file", tmp_path / "file")
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()
    url = f"{server.mirror}/20250529/file"
    assert get(url).content == CONTENT
    assert get(url, Range="bytes=70000-150000").content == CONTENT[70_000:150_001]


def test_every_request_is_noted_with_its_range_and_what_was_sent(server: Standin) -> None:
    stored(server, Range="bytes=255990-")
    first, second = server.log()
    assert (first.path, first.status, first.sent) == (f"{standin.DOWNLOADS}/{TAG}/{NAME}", 302, 0)
    assert (second.status, second.range, second.first) == (206, "bytes=255990-", 255_990)
    assert second.sent == 10
    assert server.bodies(NAME) == [second]


# -- The API -----------------------------------------------------------------------------------


def pages(server: Standin, query: str) -> list[list[str]]:
    found = []
    url: str | None = f"{server.url}{standin.API}?{query}"
    while url:
        answer = get(url)
        found.append([release["tag_name"] for release in answer.json()])
        url = answer.links.get("next", {}).get("url")
    return found


def test_the_api_has_pages_with_the_newest_publication_first(server: Standin) -> None:
    """By publication, so a tag of another order stands where it was published."""
    server.publish("20250323", date=datetime(2026, 3, 23, tzinfo=UTC))
    server.publish("20250409")
    server.publish("20250529", published=datetime(2025, 5, 30, tzinfo=UTC))
    order = ["20250323", "20250529", TAG, "20250409"]
    assert pages(server, "per_page=2") == [order[:2], order[2:]]
    assert pages(server, "per_page=3&page=2") == [order[3:]]
    assert pages(server, "") == [order]
    assert pages(server, "page=7") == [[]]


def test_links_lead_forwards_and_back(server: Standin) -> None:
    for tag in ("20250409", "20250529"):
        server.publish(tag)
    url = f"{server.url}{standin.API}?per_page=1"
    assert set(get(url).links) == {"next", "last"}
    assert set(get(f"{url}&page=2").links) == {"prev", "next", "last", "first"}
    assert set(get(f"{url}&page=3").links) == {"prev", "first"}
    assert get(url).links["last"]["url"] == f"{url}&page=3"


def test_a_release_is_described_as_github_does(server: Standin) -> None:
    server.publish(TAG, date=datetime(2025, 5, 17, 1, 2, 3, tzinfo=UTC), prerelease=True)
    [release] = get(f"{server.url}{standin.API}").json()
    [archive, sums] = release.pop("assets")
    assert release == {
        "tag_name": TAG,
        "created_at": "2025-05-17T01:02:03Z",
        "published_at": "2025-05-17T01:02:03Z",
        "draft": False,
        "prerelease": True,
    }
    assert (archive["name"], archive["size"]) == (NAME, 256_000)
    assert requests.get(archive["browser_download_url"], timeout=10).content == CONTENT
    assert sums["name"] == "SHA256SUMS"
    assert len(requests.get(sums["browser_download_url"], timeout=10).content) == sums["size"]


def test_drafts_are_for_those_with_a_token(server: Standin) -> None:
    server.publish("20250529", draft=True)
    url = f"{server.url}{standin.API}"
    assert [release["tag_name"] for release in get(url).json()] == [TAG]
    drafts = [r["draft"] for r in get(url, Authorization="Bearer x").json()]
    assert drafts == [True, False]


def test_the_api_counts_and_an_unchanged_page_is_free(server: Standin) -> None:
    url = f"{server.url}{standin.API}"
    first = get(url)
    again = get(url, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    left = [int(a.headers["X-RateLimit-Remaining"]) for a in (first, get(url), get(url))]
    assert left == [59, 58, 57]
    server.publish("20250529")
    assert get(url, If_None_Match=first.headers["ETag"]).status_code == 200


def test_a_page_is_packed_for_who_unpacks_it(server: Standin) -> None:
    url = f"{server.url}{standin.API}"
    assert get(url, Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"
    plain = get(url, Accept_Encoding="identity")
    assert "Content-Encoding" not in plain.headers
    assert json.loads(plain.content) == get(url).json()


# -- Faults ------------------------------------------------------------------------------------


def broken_off(server: Standin) -> tuple[bytes, BaseException]:
    """What came of the file before it ended too early, and how."""
    came: list[bytes] = []
    with requests.get(f"{server.mirror}/{TAG}/{NAME}", timeout=10, stream=True) as answer:
        pieces = answer.iter_content(1000)
        with pytest.raises(requests.RequestException) as caught:
            came.extend(pieces)
    return b"".join(came), caught.value


def test_a_cut_comes_after_exactly_that_many_bytes(server: Standin) -> None:
    server.inject("*", standin.Cut(after=123_000), times=1)
    came, _ = broken_off(server)
    assert came == CONTENT[:123_000]
    assert server.log()[-1].sent == 123_000
    assert get(f"{server.mirror}/{TAG}/{NAME}").content == CONTENT


def test_a_reset_is_no_orderly_end(server: Standin) -> None:
    server.inject("*", standin.Cut(after=1000, reset=True), times=1)
    _, error = broken_off(server)
    assert "reset" in str(error)


def test_random_cuts_are_the_same_for_the_same_seed() -> None:
    found = standin.cuts(7, 20, 1000)
    assert found == standin.cuts(7, 20, 1000) != standin.cuts(8, 20, 1000)
    assert all(0 <= cut.after < 1000 for cut in found)


def test_a_drip_comes_piece_by_piece(server: Standin) -> None:
    server.add(TAG, "small", b"abcdef")
    server.inject("*small", standin.Drip(count=2, every=0.001), times=1)
    assert get(f"{server.mirror}/{TAG}/small").content == b"abcdef"
    server.inject("*small", standin.Drip(count=2, every=3600))
    with requests.get(f"{server.mirror}/{TAG}/small", timeout=10, stream=True) as answer:
        assert answer.raw.read1(100) == b"ab"


def test_wrong_bytes_are_as_many(server: Standin) -> None:
    server.inject("*", standin.Wrong(), times=1)
    answer = stored(server)
    assert len(answer.content) == len(CONTENT)
    assert answer.content != CONTENT
    assert stored(server).content == CONTENT


def test_a_truncated_file_agrees_with_its_length(server: Standin) -> None:
    server.inject("*", standin.Truncated(keep=1000))
    answer = stored(server)
    assert (answer.headers["Content-Length"], answer.content) == ("1000", CONTENT[:1000])
    assert stored(server, Range="bytes=1000-").status_code == 416


def test_a_range_may_be_ignored(server: Standin) -> None:
    server.inject("*", standin.RangeIgnored())
    assert stored(server, Range="bytes=5-").status_code == 200


def test_a_changed_tag_makes_if_range_bring_the_whole(server: Standin) -> None:
    server.inject("*", standin.TagChanged())
    first, second = stored(server), stored(server)
    assert first.headers["ETag"] != second.headers["ETag"]
    headers = {"Range": "bytes=5-", "If_Range": first.headers["ETag"]}
    assert stored(server, **headers).status_code == 200
    server.inject("*", standin.TagIgnored())
    assert stored(server, **headers).status_code == 206


def test_stale_sums_lack_a_file_or_have_another_hash(server: Standin) -> None:
    server.add(TAG, "new.tar.gz", b"new")
    server.inject("*/SHA256SUMS", standin.Stale(lacking="new*"), times=1)
    server.inject("*/SHA256SUMS", standin.Stale(other="new*"), times=1)
    url = f"{server.mirror}/{TAG}/SHA256SUMS"
    lacking, other, right = (get(url).text for _ in range(3))
    good = f"{hashlib.sha256(b'new').hexdigest()}  new.tar.gz\n"
    assert good in right
    assert lacking == right.replace(good, "")
    assert good not in other
    assert len(other) == len(right)


@pytest.mark.parametrize("code", [404, 410, 500, 502, 503])
def test_a_status_takes_the_place_of_the_answer_so_often(server: Standin, code: int) -> None:
    server.inject("*.tar.gz", standin.Status(code=code, retry_after="7"), times=2)
    answers = [get(f"{server.downloads}/{TAG}/{NAME}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [code, code, 302]
    assert answers[0].headers["Retry-After"] == "7"


def test_a_rate_limit_is_told_as_github_tells_it(server: Standin) -> None:
    server.inject("/repos/*", standin.RateLimited(retry_after=9, reset=30), times=1)
    answer = get(f"{server.url}{standin.API}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (403, "9")
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert 20 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 30


def test_a_loop_leads_to_itself(server: Standin) -> None:
    server.inject("*", standin.Loop())
    with pytest.raises(requests.TooManyRedirects):
        requests.get(f"{server.downloads}/{TAG}/{NAME}", timeout=10)


def test_a_login_page_looks_like_success(server: Standin) -> None:
    server.inject("*", standin.Page(), times=1)
    answer = get(f"{server.downloads}/{TAG}/{NAME}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_silent_server_says_nothing_and_holds_nobody_up(server: Standin) -> None:
    server.inject("*", standin.Silent(), times=1)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.mirror}/{TAG}/{NAME}", timeout=0.1)
    assert [request.status for request in server.log()] == [0]
    assert get(f"{server.mirror}/{TAG}/{NAME}").status_code == 200


def test_faults_are_for_the_paths_that_fit_and_end_when_healed(server: Standin) -> None:
    server.inject("*/SHA256SUMS", standin.Status(code=500))
    server.inject("*", standin.Wrong())
    assert stored(server).content != CONTENT
    assert get(f"{server.mirror}/{TAG}/SHA256SUMS").status_code == 500
    server.heal()
    assert stored(server).content == CONTENT
    assert get(f"{server.mirror}/{TAG}/SHA256SUMS").status_code == 200


def test_by_hand_it_serves_a_folder_and_says_where(tmp_path: Path) -> None:
    (tmp_path / TAG).mkdir()
    (tmp_path / TAG / NAME).write_bytes(CONTENT)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.standin", "--root", str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            urls = dict(process.stdout.readline().split() for _ in range(3))
            answer = requests.get(f"{urls['downloads']}/{TAG}/{NAME}", timeout=10)
            assert answer.content == CONTENT
            assert [release["tag_name"] for release in get(urls["API"]).json()] == [TAG]
            assert get(f"{urls['mirror']}/{TAG}/SHA256SUMS").text.endswith(f"  {NAME}\n")
        finally:
            process.terminate()


def test_an_archive_is_published_when_its_tag_says(server: Standin) -> None:
    when = format_datetime(datetime(2025, 5, 17, tzinfo=UTC), usegmt=True)
    assert stored(server).headers["Last-Modified"] == when
