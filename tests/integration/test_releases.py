"""`pbs-matrix releases`, and what real uv programs say of themselves, against known history."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import tools, uvbinary
from harness.errors import ToolError
from harness.flavours import Flavour
from harness.lock import Lock
from harness.platforms import Platform
from tests.integration.conftest import PROJECT

DATA = Path(__file__).parent / "data"
DEFAULTS = DATA / "uv-default-release.tsv"
"""Read from each uv tag's own download metadata, apart from this project."""
TAGS = DATA / "pbs-releases.tsv"
"""Read from the repository's tags and their commits, apart from this project."""

# Each side of every change about which this project is, the oracle's ends, and some in between.
VERSIONS = [
    *("0.6.10", "0.6.13", "0.6.14", "0.7.5", "0.7.6", "0.7.7", "0.7.8", "0.7.9", "0.7.10"),
    *("0.7.11", "0.7.13", "0.7.18", "0.7.22", "0.8.0", "0.8.6", "0.8.14", "0.9.0", "0.9.16"),
    *("0.9.27", "0.10.0", "0.10.8", "0.11.0", "0.11.6", "0.12.0", "0.12.5"),
]


def rows(table: Path) -> list[list[str]]:
    lines = table.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line[:1].isdigit()]


def run(*options: str) -> str:
    """Run the command as a user does, where nobody but the package index answers."""
    environment = {
        **{k: v for k, v in os.environ.items() if k != "UV_PYTHON_INSTALL_MIRROR"},
        "GITHUB_API_URL": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [tools.find("pbs-matrix", advice="pip install -e ."), "releases", *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found() -> Any:
    """What the command says of those uv versions, offline but for the package index."""
    run("--last=1", "--json", *(f"--uv={version}" for version in VERSIONS))
    # Again with what is kept of it, so that no list of a network's can be in it.
    return json.loads(run("--all", "--offline", "--json", *(f"--uv={v}" for v in VERSIONS)))


def test_each_uv_says_itself_which_release_it_installs(found: Any) -> None:
    """The split of 0.7.8 included: each platform is asked of the host's own uv program."""
    oracle = {row[0]: (row[2], row[4]) for row in rows(DEFAULTS)}
    said = {
        platform: {
            uv: row["release"] for row in found["releases"] for uv in row["uv"][str(platform)]
        }
        for platform in Platform
    }
    assert len(VERSIONS) >= 20
    assert found["uv"] == VERSIONS
    assert {
        version: (said[Platform.X86_64].get(version), said[Platform.AARCH64].get(version))
        for version in VERSIONS
    } == {version: oracle[version] for version in VERSIONS}
    assert said[Platform.X86_64]["0.7.8"] != said[Platform.AARCH64]["0.7.8"]


@pytest.mark.usefixtures("found")
def test_each_uv_says_itself_which_cpython_that_is() -> None:
    """Of its answers as they are kept, which is what the list is made of."""
    oracle = {row[0]: (row[1], row[3]) for row in rows(DEFAULTS)}
    kept = uvbinary.remembered()
    said = {uv: [kept[uv].default("3.13", platform) for platform in Platform] for uv in VERSIONS}
    assert {
        uv: tuple(offer.version if offer else None for offer in offers)
        for uv, offers in said.items()
    } == {version: oracle[version] for version in VERSIONS}


def test_releases_are_in_the_order_of_their_commits(found: Any) -> None:
    """By the repository's own tags; 20250323 is one of March 2026."""
    expected = [(tag, date) for tag, date, *_ in rows(TAGS)]
    tags = {tag for tag, _ in expected}
    listed = [(row["release"], row["commit_date"]) for row in found["releases"]]
    assert [row for row in listed if row[0] in tags] == expected
    assert sorted(tags) != [tag for tag, _ in expected]


@pytest.mark.usefixtures("found")
def test_the_table_shows_the_split_of_0_7_8() -> None:
    text = run("--offline", "--last=1", "--uv=0.7.[5-9]", "--python=3.13")
    lines = {line[2:10]: line for line in text.splitlines() if line[2:10].isdigit()}
    assert "0.7.5, 0.7.8 (x86_64)" in lines["20250409"]
    assert "0.7.6 " in lines["20250517"]
    assert "0.7.7, 0.7.8 (aarch64)" in lines["20250521"]
    assert "0.7.9 " in lines["20250529"]


@pytest.fixture(scope="module")
def programs(project_lock: Lock) -> dict[str, Path]:
    """The locked uv versions for this machine."""
    host = Platform.host()
    assert host is not None
    return {uv: uvbinary.fetch(project_lock.uv_wheel(uv, host)) for uv in project_lock.uv}


def test_what_is_taken_for_the_default_is_what_uv_would_install(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    """Asked in the words of a user; without a network, uv says what it would have fetched.

    Of 3.14 (as of 3.16) some have pre-releases alone.
    """
    host = Platform.host()
    assert host is not None
    for uv, program in programs.items():
        for python in ("3.9", "3.13", "3.14", "3.16"):
            offered = uvbinary.offers(program, python, Flavour.STRIPPED, host)
            default = uvbinary.default_of(offered)
            if default is None:
                continue
            with pytest.raises(ToolError) as caught:
                tools.run(
                    [program, "python", "install", "--offline", "--no-config", python],
                    doing="installing",
                    environment={
                        "COLUMNS": "1000",
                        "HOME": str(tmp_path),
                        "UV_NO_CACHE": "1",
                        "NO_COLOR": "1",
                    },
                )
            # Which host it names depends on the uv; the file does not.
            tail = "/".join(default.url.split("/")[-2:])
            assert re.search(rf"Failed to download .*/{re.escape(tail)}", str(caught.value)), uv


@pytest.mark.parametrize(
    ("uv", "python", "flavour", "suffix"),
    [
        ("0.7.5", "3.13", Flavour.STRIPPED, ".tar.gz"),
        ("0.7.5", "3.13", Flavour.FREETHREADED, ".tar.zst"),
        ("0.7.9", "3.13", Flavour.MUSL, ".tar.gz"),
        ("0.13.9", "3.13", Flavour.STRIPPED, ".tar.gz"),
        ("0.13.9", "3.13", Flavour.FREETHREADED, ".tar.gz"),
        ("0.13.9", "3.13", Flavour.DEBUG, ".tar.zst"),
        ("0.13.9", "3.13", Flavour.MUSL, ".tar.gz"),
    ],
)
def test_every_kind_of_archive_has_a_hash_in_uvs_own_metadata(
    uv: str, python: str, flavour: Flavour, suffix: str, programs: dict[str, Path]
) -> None:
    offered = uvbinary.offers(programs[uv], python, flavour, Platform.X86_64)
    assert offered
    for offer in (offered[0], offered[-1]):
        found = uvbinary.expected_sha256(programs[uv], offer, flavour, Platform.X86_64)
        assert found is not None
        assert re.fullmatch(r"[0-9a-f]{64}", found)
    assert offered[0].url.endswith(suffix)


def test_two_uv_versions_have_the_same_hash_for_the_same_file(programs: dict[str, Path]) -> None:
    """Versions apart in time, foreign platform included: so it is no accident of one of them."""
    for platform in Platform:
        hashes: dict[str, list[str | None]] = {}
        for uv in ("0.7.6", "0.13.9"):
            for offer in uvbinary.offers(programs[uv], "3.12", Flavour.STRIPPED, platform):
                name = offer.url.rpartition("/")[2]
                sha256 = uvbinary.expected_sha256(programs[uv], offer, Flavour.STRIPPED, platform)
                hashes.setdefault(name, []).append(sha256)
        common = [found for found in hashes.values() if len(found) > 1]
        assert len(common) > 5
        assert [found for found in common if len({*found}) > 1 or None in found] == []


def test_of_the_oldest_archives_an_old_uv_has_no_hash(programs: dict[str, Path]) -> None:
    """Which is found out without their being installed anywhere."""
    offers = uvbinary.offers(programs["0.7.5"], "3.8", Flavour.STRIPPED, Platform.X86_64)
    by_release = {offer.release: offer for offer in offers}
    known = {
        release: uvbinary.expected_sha256(
            programs["0.7.5"], by_release[release], Flavour.STRIPPED, Platform.X86_64
        )
        for release in ("20210724", offers[0].release)
    }
    assert known["20210724"] is None
    assert known[offers[0].release] is not None


def test_debug_builds_can_be_asked_of_later_uv_versions_alone(programs: dict[str, Path]) -> None:
    offered = uvbinary.offers(programs["0.13.9"], "3.13", Flavour.DEBUG, Platform.AARCH64)
    plain = uvbinary.offers(programs["0.13.9"], "3.13", Flavour.STRIPPED, Platform.AARCH64)
    assert [offer.version for offer in offered] == [offer.version for offer in plain]
    assert all(offer.url.endswith("-debug-full.tar.zst") for offer in offered)
    with pytest.raises(ToolError, match="takes no request for a debug build"):
        uvbinary.offers(programs["0.7.9"], "3.13", Flavour.DEBUG, Platform.AARCH64)
