"""`pbs-matrix releases`: which rows there are, and what each says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import cache, catalogue, cli, downloads, index, releases, uvbinary
from harness import lock as locks
from harness.downloads import Patience
from harness.errors import ExitCode
from harness.lock import Lock, LockedDefault, LockedUv, LockedWheel
from harness.platforms import Platform
from tests import servers, standin
from tests.servers import Server
from tests.standin import Standin, Status
from tests.unit import fake_uv
from tests.unit.fake_uv import GITHUB, published

TABLE = tuple(releases.commit_dates())
DEAD = "http://127.0.0.1:9"
GNU = {platform: f"linux-{platform}-gnu" for platform in Platform}


def knows(*known: tuple[str, str], only: Platform | None = None) -> list[dict[str, object]]:
    """A uv's list: CPython versions and releases, for one platform or for both."""
    return [
        published(version, release, GNU[platform])
        for version, release in known
        for platform in ([only] if only else Platform)
    ]


OLD = [("3.12.9", "20250317"), ("3.13.2", "20250317"), ("3.14.0a6", "20250317")]
UV = {
    # As 0.7.6 to 0.7.9 were: one of them on one platform only.
    "0.7.6": knows(*OLD, ("3.13.3", "20250517"), ("3.12.10", "20250517")),
    "0.7.7": knows(*OLD, ("3.13.3", "20250521")),
    "0.7.8": [
        *knows(*OLD),
        *knows(("3.13.3", "20250409"), only=Platform.X86_64),
        *knows(("3.13.3", "20250521"), only=Platform.AARCH64),
    ],
    "0.8.0": knows(*OLD, ("3.13.5", "20250712")),
    "0.8.1": knows(*OLD, ("3.13.5", "20250712")),
    "0.8.2": knows(*OLD, ("3.13.5", "20250712")),
    "0.9.0": knows(("3.13.18", "20261110"), ("3.16.0a2", "20261110")),
    "0.9.1": knows(("3.14.10", "20261110"), ("3.14.9", "20261021")),
    "0.5.0": None,
}
LOCKED = ("0.7.6", "0.9.0")


@pytest.fixture(autouse=True)
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Standin]:
    """GitHub, and an empty cache."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("UV_PYTHON_INSTALL_MIRROR", raising=False)
    patience = Patience(attempts=1, first=0.01, silence=5)
    monkeypatch.setattr(catalogue, "IMPATIENT", patience)
    monkeypatch.setattr(downloads, "PATIENCE", patience)
    with standin.serving() as server:
        for tag in (*TABLE[-3:], "20261110", "20261120"):
            server.add(tag, "something-else.tar.zst", b"x")
        for version in ("3.9.30", "3.13.18", "3.14.10", "3.16.0a2"):
            for platform in Platform:
                name = published(version, "20261110", GNU[platform])["url"]
                server.add("20261110", str(name).rpartition("/")[2].replace("%2B", "+"), b"x")
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        monkeypatch.setattr(catalogue, "GIT", str(tmp_path / "no-repository"))
        # Both hosts of upstream are this one.
        for name in ("GITHUB", "ASTRAL"):
            monkeypatch.setattr(f"harness.mirror.{name}", server.downloads)
        yield server


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The package index with those uv versions."""
    with servers.serving() as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple/")
        index._project.cache_clear()
        files = {
            f"uv-{version}-py3-none-manylinux_2_17_{platform}.whl": servers.tiny_wheel(
                "uv",
                version,
                "py3-none-any",
                {
                    f"uv-{version}.data/scripts/uv": fake_uv.text(
                        tmp_path / f"{version}.jsonl", listing
                    )
                },
            )
            for version, listing in UV.items()
            for platform in Platform
        }
        servers.add_project(server, "uv", files)
        yield server
        index._project.cache_clear()


@pytest.fixture
def matrix(packages: Server, tmp_path: Path) -> Path:
    """A matrix file whose lock has two of the uv versions."""

    def default(url: object) -> LockedDefault:
        release = str(url).removeprefix(f"{GITHUB}/")[:8]
        return LockedDefault(version="3.13.1", release=release, url=str(url), sha256="0" * 64)

    def wheel(uv: str, platform: Platform) -> LockedWheel:
        name = f"uv-{uv}-py3-none-manylinux_2_17_{platform}.whl"
        sha256 = hashlib.sha256(packages.pages[f"/files/{name}"][2]).hexdigest()
        return LockedWheel(filename=name, sha256=sha256)

    own = Lock(
        uv={
            uv: LockedUv(
                wheels={platform: wheel(uv, platform) for platform in Platform},
                defaults={
                    "3.13": {
                        platform: default(f"{GITHUB}/{release}/x.tar.gz") for platform in Platform
                    }
                },
            )
            for uv, release in zip(LOCKED, ("20250517", "20261110"), strict=True)
        },
        wheels={},
    )
    (tmp_path / "matrix.lock").write_text(locks.dump(own))
    return tmp_path / "matrix.yaml"


def run(matrix: Path, *options: str) -> Any:
    done = CliRunner().invoke(cli.main, ["releases", f"--matrix={matrix}", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows(found: Any) -> dict[str, Any]:
    return {row["release"]: row for row in found["releases"]}


def defaults(found: Any) -> dict[str, dict[str, list[str]]]:
    """Releases that a uv installs by default."""
    return {tag: row["uv"] for tag, row in rows(found).items() if any(row["uv"].values())}


def both(*versions: str) -> dict[str, list[str]]:
    return {str(platform): [*versions] for platform in Platform}


def shown(matrix: Path, *options: str) -> str:
    done = CliRunner().invoke(cli.main, ["releases", f"--matrix={matrix}", *options])
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_the_newest_are_shown_and_whatever_a_locked_uv_installs(matrix: Path) -> None:
    found = run(matrix, "--last=4")
    assert [row["release"] for row in found["releases"]] == [
        *("20250517", TABLE[-2], TABLE[-1], "20261110", "20261120"),
    ]
    assert defaults(found) == {"20250517": both("0.7.6"), "20261110": both("0.9.0")}
    assert found["uv"] == [*LOCKED]
    assert found["said"] == [
        f"{len(TABLE) + 2} releases, by GitHub's API, asked just now, and the table"
    ]


def test_all_of_them_are_in_commit_order(matrix: Path) -> None:
    tags = [row["release"] for row in run(matrix, "--all")["releases"]]
    assert tags == [*TABLE, "20261110", "20261120"]


def test_a_uv_that_differs_between_platforms_is_with_both_releases(matrix: Path) -> None:
    found = run(matrix, "--uv=0.7.*")
    assert defaults(found) == {
        "20250409": {"x86_64": ["0.7.8"], "aarch64": []},
        "20250517": both("0.7.6"),
        "20250521": {"x86_64": ["0.7.7"], "aarch64": ["0.7.7", "0.7.8"]},
    }
    text = shown(matrix, "--uv=0.7.*")
    assert "│ 0.7.8 (x86_64)" in text
    assert "│ 0.7.7, 0.7.8 (aarch64)" in text
    assert "3 uv versions are compared, 0.7.6 to 0.7.8" in text


def test_one_platform_is_asked_about_alone(matrix: Path) -> None:
    found = run(matrix, "--uv=0.7.8", "--platform=aarch64")
    assert defaults(found) == {"20250521": {"aarch64": ["0.7.8"]}}


def test_neighbours_are_shortened_to_the_first_and_the_last(matrix: Path) -> None:
    text = shown(matrix, "--uv=0.7.[67]", "--uv=0.8.*")
    assert "0.8.0 to 0.8.2" in text
    assert "│ 0.7.6 " in text


def test_what_is_in_a_release_is_by_its_sums_else_by_what_uv_takes_of_it(matrix: Path) -> None:
    found = rows(run(matrix, "--last=2", "--uv=0.7.6", "--uv=0.9.*"))
    assert found["20261110"]["pythons"] == ["3.9.30", "3.13.18", "3.14.10", "3.16.0a2"]
    assert found["20261110"]["is_complete"] is True
    assert found["20250517"]["pythons"] == ["3.12.10", "3.13.3"]
    assert found["20250517"]["is_complete"] is False
    text = shown(matrix, "--last=2", "--uv=0.7.6", "--uv=0.9.*")
    assert "│ 3.12.10 3.13.3 … " in text
    assert text.count("…") == 2  # there, and where it is explained
    assert "…: what the uv versions asked would take from it; there is more" in text


def test_one_cpython_is_asked_about_alone(matrix: Path) -> None:
    """A uv that has none of it has no default; one that has a pre-release has that."""
    found = run(matrix, "--python=3.14", "--uv=0.7.*", "--uv=0.9.*", "--last=2")
    assert defaults(found) == {
        "20250317": both("0.7.6", "0.7.7", "0.7.8"),
        "20261110": both("0.9.1"),
    }
    assert rows(found)["20261110"]["pythons"] == ["3.14.10"]
    assert rows(found)["20250317"]["pythons"] == ["3.14.0a6"]
    assert "…" not in shown(matrix, "--python=3.14", "--uv=0.7.*", "--last=1")


def test_each_program_is_downloaded_once_and_that_is_said(matrix: Path, packages: Server) -> None:
    said = "3 programs of some 20 MB each are downloaded"
    assert said in shown(matrix, "--uv=0.8.*")
    fetched = [path for path in packages.asked if path.startswith("/files/")]
    assert len(fetched) == 3
    assert said not in shown(matrix, "--uv=0.8.*")
    assert [path for path in packages.asked if path.startswith("/files/")] == fetched


def test_offline_nobody_is_asked(matrix: Path, packages: Server, github: Standin) -> None:
    """The table, the lock, and what was said before, are enough for a list."""
    first = run(matrix, "--offline", "--last=1")
    assert (packages.asked, github.log()) == ([], [])
    assert defaults(first) == {"20250517": both("0.7.6"), "20261110": both("0.9.0")}
    assert first["said"] == [
        f"{len(TABLE) + 1} releases, by the table that ends with {TABLE[-1]}; "
        "1 dated by name alone",
        "no answer of uv 0.7.6, 0.9.0: nothing is kept of its answers",
    ]
    run(matrix, "--uv=0.7.*", "--last=1")
    before = (len(packages.asked), len(github.log()))
    later = run(matrix, "--offline", "--uv=0.7.*")
    assert (len(packages.asked), len(github.log())) == before
    assert later["uv"] == ["0.7.6", "0.7.7", "0.7.8"]
    assert "20250409" in defaults(later)


def test_what_does_not_answer_is_said_once_and_the_rest_is_shown(
    matrix: Path, monkeypatch: pytest.MonkeyPatch, github: Standin
) -> None:
    monkeypatch.setenv("GITHUB_API_URL", DEAD)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{DEAD}/simple/")
    github.inject("*", Status(code=503))
    found = run(matrix, "--uv=*", "--all")
    (listed, api, git, sums, *rest) = found["said"]
    assert listed.startswith(f"{len(TABLE) + 1} releases, by the table")
    assert api == "GitHub's API gave no list: Connection refused"
    assert git.startswith("git ls-remote gave no list: ")
    assert "no list of uv versions: " in sums
    assert rest[0].startswith("no answer of uv 0.7.6, 0.9.0: ")
    assert rest[1] == "GitHub gave no SHA256SUMS: 503 Service Unavailable"
    assert len(github.log("*/SHA256SUMS")) < 10  # of a hundred: those that were on their way
    assert defaults(found) == {"20250517": both("0.7.6"), "20261110": both("0.9.0")}


def test_a_release_without_sums_is_no_news(matrix: Path) -> None:
    """As the oldest are; nor are those asked at all."""
    found = run(matrix, "--all")
    assert len(found["said"]) == 1
    assert rows(found)[TABLE[0]]["pythons"] == []


def test_the_oldest_releases_are_not_asked_for_sums(matrix: Path, github: Standin) -> None:
    run(matrix, "--all")
    asked = {request.path.split("/")[-2] for request in github.log("*/SHA256SUMS")}
    assert "20220222" in asked
    assert not asked & {*TABLE[: TABLE.index("20220222")]}


def test_one_uv_that_cannot_be_asked_is_said_and_the_others_are(matrix: Path) -> None:
    found = run(matrix, "--uv=0.5.0", "--uv=0.7.6")
    assert found["uv"] == ["0.7.6"]
    (said,) = found["said"][1:]
    assert said.startswith("no answer of uv 0.5.0: ")
    assert "too old to say" in said


def test_a_mirrors_own_list_counts(matrix: Path, tmp_path: Path, github: Standin) -> None:
    """What a uv installs by default, and the mirror lacks, is listed and said to be missing."""
    folder = tmp_path / "mirror"
    for tag in ("20250517", "20260801"):
        (folder / tag).mkdir(parents=True)
    name = str(published("3.13.3", "20250517", GNU[Platform.X86_64])["url"]).rpartition("/")[2]
    (folder / "20250517" / "SHA256SUMS").write_text(f"{'a' * 64}  {name}\n")
    found = run(matrix, f"--mirror={folder}", "--last=1")
    assert github.log() == []
    listed = rows(found)
    assert listed["20250517"]["published"] is True
    assert listed["20250517"]["pythons"] == ["3.13.3"]
    assert listed["20250517"]["is_complete"] is True
    assert listed["20261110"]["published"] is False
    assert listed["20261110"]["known_from"] == ["lock", "uv"]
    assert "by the mirror's index" in found["said"][0]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--uv=9.*"], ExitCode.SELECTION, "--uv '9.*' fits no version of uv"),
        (["--uv=9.*", "--offline"], ExitCode.SELECTION, "The newest that are known: 0.7.6, 0.9.0"),
        (["--python=3.13.3"], ExitCode.CONFIGURATION, "'3.13.3' is no CPython such as 3.13"),
        (["--python=3.x"], ExitCode.CONFIGURATION, "'3.x' is no CPython"),
        (["--mirror=ftp://x/y"], ExitCode.CONFIGURATION, "no http, https or file URL"),
        (["--matrix=none.yaml"], ExitCode.LOCK, "none.lock cannot be read"),
        (["--last=0"], 2, "0 is not in the range"),
    ],
)
def test_a_mistake_is_told_in_words(matrix: Path, options: list[str], code: int, said: str) -> None:
    done = CliRunner().invoke(cli.main, ["releases", f"--matrix={matrix}", *options])
    assert done.exit_code == code, done.output
    assert said in done.output
    assert "Traceback" not in done.output


def test_the_kinds_of_entries_that_are_kept_are_explained() -> None:
    from harness import storage

    assert {uvbinary.ANSWERS, "releases", "sums"} <= storage.HOLDS.keys()
