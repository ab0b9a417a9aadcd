"""The package index: choosing, fetching, and telling what is not there, against a stand-in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import index
from harness.errors import ArchiveError, FetchError, HashMismatchError, NoSuchWheelError
from harness.lock import LockedWheel
from harness.platforms import Platform
from tests import servers
from tests.fuzz.mutations import Member, archive

FILES = {
    f"thing-1.0-{tag}.whl": servers.tiny_wheel("thing", "1.0", tag)
    for tag in (
        "py3-none-any",
        "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_17_aarch64",
        "cp313-cp313-musllinux_1_2_aarch64",
    )
} | {
    "narrow-2.0-cp313-cp313-manylinux2014_x86_64.whl": servers.tiny_wheel("narrow", "2.0", "x"),
    "future-1.0-cp313-cp313-manylinux_2_99_x86_64.whl": servers.tiny_wheel("future", "1.0", "x"),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[servers.Server]:
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    with servers.serving() as stand_in:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{stand_in.url}/simple")
        index._project.cache_clear()
        for name in ("thing", "narrow", "future"):
            mine = {file: data for file, data in FILES.items() if file.startswith(f"{name}-")}
            servers.add_project(stand_in, name, mine)
        yield stand_in
        index._project.cache_clear()


def test_the_most_specific_wheel_that_the_platform_accepts_is_chosen(
    server: servers.Server,
) -> None:
    found = index.find("thing", "1.0", "3.13", Platform.X86_64)
    assert found.filename == "thing-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    assert found.sha256 == hashlib.sha256(FILES[found.filename]).hexdigest()


def test_a_pure_wheel_serves_where_nothing_more_specific_fits(server: servers.Server) -> None:
    """musllinux and another CPython's wheels do not fit."""
    found = index.find("thing", "1.0", "3.13", Platform.AARCH64)
    assert found.filename == "thing-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("name", "version", "platform", "problem", "advice"),
    [
        ("nothing", "1.0", Platform.X86_64, "no project called 'nothing'", "spelling"),
        ("thing", "9.9", Platform.X86_64, "no thing 9.9", "newest versions there are: 1.0"),
        (
            "narrow",
            "2.0",
            Platform.AARCH64,
            "narrow 2.0 has no wheel for CPython 3.13 on aarch64",
            "narrow-2.0-cp313-cp313-manylinux2014_x86_64.whl",
        ),
        ("future", "1.0", Platform.X86_64, "no wheel for CPython 3.13 on x86_64", "2_99"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    server: servers.Server,
    name: str,
    version: str,
    platform: Platform,
    problem: str,
    advice: str,
) -> None:
    with pytest.raises(NoSuchWheelError) as caught:
        index.find(name, version, "3.13", platform)
    assert problem in caught.value.problem
    assert advice in caught.value.advice
    assert caught.value.exit_code == 31


def test_a_fetched_wheel_is_kept_and_not_fetched_again(server: servers.Server) -> None:
    locked = index.find("thing", "1.0", "3.13", Platform.X86_64)
    paths = {index.fetch(locked) for _ in range(3)}
    assert {path.read_bytes() for path in paths} == {FILES[locked.filename]}
    assert server.asked.count(f"/files/{locked.filename}") == 1


def test_a_wheel_with_another_hash_is_refused_and_not_kept(
    server: servers.Server, tmp_path: Path
) -> None:
    """Also when it is asked for again."""
    found = index.find("thing", "1.0", "3.13", Platform.X86_64)
    changed = LockedWheel(filename=found.filename, sha256="0" * 64)
    for _ in range(2):
        with pytest.raises(HashMismatchError, match=r"but matrix\.lock says 0000"):
            index.fetch(changed)
    assert not list((tmp_path / "cache").rglob("*.whl"))


@pytest.mark.parametrize("damage", ["changed", "emptied", "removed"])
def test_a_kept_wheel_that_is_not_the_locked_one_any_more_is_fetched_again(
    server: servers.Server, damage: str
) -> None:
    locked = index.find("thing", "1.0", "3.13", Platform.X86_64)
    kept = index.fetch(locked)
    match damage:
        case "changed":
            kept.write_bytes(FILES["narrow-2.0-cp313-cp313-manylinux2014_x86_64.whl"])
        case "emptied":
            kept.write_bytes(b"")
        case _:
            kept.unlink()
    assert index.fetch(locked).read_bytes() == FILES[locked.filename]
    assert server.asked.count(f"/files/{locked.filename}") == 2


def test_a_locked_wheel_that_would_write_elsewhere_is_refused_and_not_kept(
    server: servers.Server, tmp_path: Path
) -> None:
    """Its sha256 says only that it is the one that was locked."""
    hostile = archive([Member(name=b"../x", packed=b"", size=0, crc=0, method=0)])
    name = "evil-1.0-py3-none-any.whl"
    servers.add_project(server, "evil", {name: hostile})
    locked = LockedWheel(filename=name, sha256=hashlib.sha256(hostile).hexdigest())
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        index.fetch(locked)
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_file_that_the_index_lost_is_told(server: servers.Server) -> None:
    locked = index.find("thing", "1.0", "3.13", Platform.X86_64)
    del server.pages[f"/files/{locked.filename}"]
    with pytest.raises(FetchError, match="cannot be fetched"):
        index.fetch(locked)


def test_a_dead_index_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing listens on port 9 here."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    index._project.cache_clear()
    with pytest.raises(FetchError) as caught:
        index.find("thing", "1.0", "3.13", Platform.X86_64)
    assert "127.0.0.1:9" in caught.value.problem
    assert "Connection refused" in caught.value.problem
    assert "UV_DEFAULT_INDEX" in caught.value.advice
    assert caught.value.exit_code == 30


def test_an_index_that_answers_nonsense_is_one_clear_message(server: servers.Server) -> None:
    server.add("/simple/odd/", b"\x00\x01", "application/x-nonsense")
    with pytest.raises(FetchError, match="cannot be fetched"):
        index.find("odd", "1.0", "3.13", Platform.X86_64)
