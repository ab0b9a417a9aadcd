"""What uv says of itself, asked of programs that answer as uv does."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness import cache, index, lock, uvbinary
from harness.errors import LockError, ToolError
from harness.flavours import Flavour
from harness.lock import Lock, LockedUv, LockedWheel
from harness.platforms import Platform
from harness.uvbinary import Offer
from tests import servers
from tests.servers import Server
from tests.unit import fake_uv
from tests.unit.fake_uv import GITHUB, entry, published

X86, ARM = Platform.X86_64, Platform.AARCH64
TAIL = "linux-x86_64-gnu"
KEY = f"cpython-3.13.3-{TAIL}"
SHA = "5e" * 32

LISTING = [
    published("3.13.2", "20250317", TAIL),
    published("3.13.10", "20251202", TAIL),
    published("3.13.3", "20250517", TAIL),
    published("3.13.3", "20250521", "linux-aarch64-gnu"),
    published("3.13.3", "20250529", "linux-x86_64-musl"),
    published("3.13.3", "20250530", TAIL, variant="+freethreaded"),
    published("3.13.4", "20250604", "linux-x86_64_v3-gnu"),
    published("3.14.0b4", "20250712", TAIL),
    published("3.14.0rc1", "20250723", TAIL),
    published("3.14.0a7", "20250409", TAIL),
    published("3.15.0", "20261013", TAIL),
    published("3.15.1a1", "20261021", TAIL),
    published("3.1.0", "20250409", TAIL),
    entry(f"pypy-3.13.9-{TAIL}", "https://downloads.python.org/pypy/pypy3.13-linux64.tar.bz2"),
    entry(f"cpython-3.13.12-{TAIL}", "https://example.org/20250517/cpython.tar.gz"),
    entry(f"cpython-3.13.13-{TAIL}", None),
]


def mismatch(version: str, sha256: str, indent: str = "") -> str:
    """As uv says it; since 0.13 with an indent."""
    parts = ("Expected:", sha256, "", "Computed:", "ab" * 32)
    body = "\n".join(f"{indent}{part}" if part else "" for part in parts)
    return f"error: Failed to install {KEY}\n  Caused by: Hash mismatch for `{version}`\n\n{body}"


def versions(offered: tuple[Offer, ...]) -> list[tuple[str, str]]:
    return [(offer.version, offer.release) for offer in offered]


@pytest.mark.parametrize(
    ("python", "flavour", "platform", "expected"),
    [
        (
            *("3.13", Flavour.STRIPPED, X86),
            [("3.13.10", "20251202"), ("3.13.3", "20250517"), ("3.13.2", "20250317")],
        ),
        (
            *("3.14", Flavour.STRIPPED, X86),
            [("3.14.0rc1", "20250723"), ("3.14.0b4", "20250712"), ("3.14.0a7", "20250409")],
        ),
        ("3.13", Flavour.STRIPPED, ARM, [("3.13.3", "20250521")]),
        ("3.13", Flavour.MUSL, X86, [("3.13.3", "20250529")]),
        ("3.13", Flavour.FREETHREADED, X86, [("3.13.3", "20250530")]),
        ("3.13", Flavour.FREETHREADED, ARM, []),
        ("3.12", Flavour.STRIPPED, X86, []),
        ("3.1", Flavour.STRIPPED, X86, [("3.1.0", "20250409")]),
    ],
)
def test_offers_are_what_uv_knows_of_one_cpython_newest_first(
    tmp_path: Path,
    python: str,
    flavour: Flavour,
    platform: Platform,
    expected: list[tuple[str, str]],
) -> None:
    """Neither another build or libc, nor a faster processor's, nor what is of another project."""
    program = fake_uv.make(tmp_path, LISTING)
    assert versions(uvbinary.offers(program, python, flavour, platform)) == expected


def test_of_install_only_uv_offers_what_it_takes_instead(tmp_path: Path) -> None:
    program = fake_uv.make(tmp_path, LISTING)
    assert uvbinary.offers(program, "3.13", Flavour.INSTALL_ONLY, X86) == uvbinary.offers(
        program, "3.13", Flavour.STRIPPED, X86
    )


@pytest.mark.parametrize(
    ("python", "expected"), [("3.13", "3.13.10"), ("3.14", "3.14.0rc1"), ("3.15", "3.15.0")]
)
def test_the_default_is_a_prerelease_only_where_there_is_nothing_else(
    tmp_path: Path, python: str, expected: str
) -> None:
    program = fake_uv.make(tmp_path, LISTING)
    default = uvbinary.default_of(uvbinary.offers(program, python, Flavour.STRIPPED, X86))
    assert default is not None
    assert default.version == expected


def test_of_nothing_there_is_no_default() -> None:
    assert uvbinary.default_of(()) is None


def test_a_uv_that_is_too_old_to_be_asked_is_said_to_be(tmp_path: Path) -> None:
    program = fake_uv.make(tmp_path, None)
    with pytest.raises(ToolError, match="too old to say which interpreters it knows"):
        uvbinary.offers(program, "3.13", Flavour.STRIPPED, X86)


def test_uv_is_asked_offline_and_without_what_the_user_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "https://mirror.example")
    program = fake_uv.make(tmp_path, LISTING)
    uvbinary.offers(program, "3.13", Flavour.STRIPPED, X86)
    ((arguments, environment),) = fake_uv.asked(tmp_path)
    assert {"--offline", "--no-config"} <= {*arguments}
    assert not [name for name in environment if name.startswith("UV_")]


# -- The hash that uv has --------------------------------------------------------------------------

OFFER = Offer(
    version="3.13.3",
    release="20250517",
    url=f"{GITHUB}/20250517/cpython-3.13.3%2B20250517-{TAIL}-install_only_stripped.tar.gz",
)


@pytest.mark.parametrize("indent", ["", "         "])
def test_the_hash_is_the_one_that_uv_misses_in_another_archive(tmp_path: Path, indent: str) -> None:
    program = fake_uv.make(tmp_path, LISTING, {KEY: mismatch(KEY, SHA, indent)})
    assert uvbinary.expected_sha256(program, OFFER, Flavour.STRIPPED, X86) == SHA
    # That archive was where uv looks for it, and one that can be read.
    assert (tmp_path / "asked.name").read_text() == unquote("/".join(OFFER.url.split("/")[-2:]))
    content = gzip.decompress((tmp_path / "asked.archive").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert all(name.startswith("python/") for name in tar.getnames())


def test_where_uv_has_no_hash_there_is_none(tmp_path: Path) -> None:
    """Then it takes whatever is there, and stumbles later, or does not."""
    for answer in ("unpack", None):
        program = fake_uv.make(tmp_path, LISTING, {KEY: answer})
        assert uvbinary.expected_sha256(program, OFFER, Flavour.STRIPPED, X86) is None


@pytest.mark.parametrize("said", ["error: no space", "Expected:\nabc\nComputed:\nabd"])
def test_another_failure_is_none_of_that(tmp_path: Path, said: str) -> None:
    program = fake_uv.make(tmp_path, LISTING, {KEY: said})
    with pytest.raises(ToolError, match="asking uv for the sha256 of cpython-3"):
        uvbinary.expected_sha256(program, OFFER, Flavour.STRIPPED, X86)


def test_what_uv_does_for_the_question_is_done_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It installs nothing for the user, not even where it has no hash, and leaves nothing."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data of the user"))
    program = fake_uv.make(tmp_path, LISTING, {KEY: "unpack"})
    uvbinary.expected_sha256(program, OFFER, Flavour.STRIPPED, X86)
    ((_, environment),) = fake_uv.asked(tmp_path)
    home = Path(environment["HOME"])
    assert home != Path.home()
    names = ("XDG_DATA_HOME", "XDG_BIN_HOME", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_BIN_DIR")
    assert all(Path(environment[name]).is_relative_to(home) for name in names)
    assert environment["UV_NO_CACHE"] == "1"
    assert not home.exists()


def test_a_zstandard_frame_holds_the_tar_as_it_is(tmp_path: Path) -> None:
    """That every uv can read it, tests/integration/test_releases.py shows."""
    offer = replace(OFFER, url=f"{GITHUB}/20250517/x-{TAIL}-debug-full.tar.zst")
    key = KEY.replace("3.13.3", "3.13.3+debug")
    program = fake_uv.make(tmp_path, LISTING, {key: mismatch(key, SHA)})
    assert uvbinary.expected_sha256(program, offer, Flavour.DEBUG, X86) == SHA
    frame = (tmp_path / "asked.archive").read_bytes()
    assert frame[:5] == bytes.fromhex("28b52ffd a0")
    size = int.from_bytes(frame[5:9], "little")
    block = int.from_bytes(frame[9:12], "little")
    assert (block & 1, block >> 1 & 3, block >> 3) == (1, 0, size)  # the last; raw; its size
    assert len(frame) == 12 + size
    with tarfile.open(fileobj=io.BytesIO(frame[12:])) as tar:
        assert tar.getnames()


def test_what_is_locked_of_a_default_is_all_that_uv_says(tmp_path: Path) -> None:
    key = KEY.replace("3.13.3", "3.13.10")
    program = fake_uv.make(tmp_path, LISTING, {key: mismatch(key, SHA)})
    found = uvbinary.default_interpreter(program, "3.13", X86)
    assert (found.version, found.release, found.sha256) == ("3.13.10", "20251202", SHA)
    assert found.url == LISTING[1]["url"]


def test_what_has_no_hash_is_not_locked(tmp_path: Path) -> None:
    program = fake_uv.make(tmp_path, LISTING, {KEY.replace("3.13.3", "3.13.10"): "unpack"})
    with pytest.raises(ToolError, match=r"has no sha256 for https://github.com/.*20251202"):
        uvbinary.default_interpreter(program, "3.13", X86)


def test_a_cpython_that_uv_does_not_know_is_not_locked(tmp_path: Path) -> None:
    program = fake_uv.make(tmp_path, LISTING)
    with pytest.raises(ToolError, match=f"knows no download for cpython-3.12-{TAIL}"):
        uvbinary.default_interpreter(program, "3.12", X86)


# -- Debug builds ----------------------------------------------------------------------------------


def offline(version: str, release: str, quote: str) -> str:
    """What uv says of what it would download; before 0.13 without quotes."""
    name = f"cpython-{version}%2B{release}-x86_64-unknown-linux-gnu-debug-full.tar.zst"
    url = f"{GITHUB}/{release}/{name}"
    return (
        f"error: Failed to install cpython\n  Caused by: Failed to download {quote}{url}{quote}\n"
        f"  Caused by: Network connectivity is disabled, and it was not in the cache for: `{url}`"
    )


@pytest.mark.parametrize("quote", ["", "`"])
def test_debug_builds_are_asked_for_one_by_one(tmp_path: Path, quote: str) -> None:
    """uv lists none. One of them it may not have."""
    program = fake_uv.make(
        tmp_path,
        LISTING,
        {
            f"cpython-3.13.10+debug-{TAIL}": offline("3.13.10", "20251202", quote),
            f"cpython-3.13.2+debug-{TAIL}": offline("3.13.2", "20250317", quote),
        },
    )
    offered = uvbinary.offers(program, "3.13", Flavour.DEBUG, X86)
    assert versions(offered) == [("3.13.10", "20251202"), ("3.13.2", "20250317")]
    assert offered[0].url.endswith(
        "/20251202/cpython-3.13.10%2B20251202-x86_64-unknown-linux-gnu-debug-full.tar.zst"
    )


def test_a_uv_that_takes_no_request_for_a_debug_build_is_said_to_take_none(
    tmp_path: Path,
) -> None:
    said = "error: `cpython-3.13.10+debug` is not a valid Python download request; see `uv help`"
    program = fake_uv.make(tmp_path, LISTING, {f"cpython-3.13.10+debug-{TAIL}": said})
    with pytest.raises(ToolError) as caught:
        uvbinary.offers(program, "3.13", Flavour.DEBUG, X86)
    assert "takes no request for a debug build" in caught.value.problem
    assert "0.8.18" in caught.value.advice


def test_another_failure_of_a_debug_build_is_told(tmp_path: Path) -> None:
    program = fake_uv.make(tmp_path, LISTING, {f"cpython-3.13.10+debug-{TAIL}": "error: disk"})
    with pytest.raises(ToolError, match="error: disk"):
        uvbinary.offers(program, "3.13", Flavour.DEBUG, X86)


# -- Answers ---------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index, and an empty cache."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    with servers.serving() as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple/")
        index._project.cache_clear()
        yield server
        index._project.cache_clear()


def add_uv(
    server: Server, folder: Path, *found: str, listing: list[dict[str, object]] | None = None
) -> list[LockedWheel]:
    """uv versions in the index, all of which say the same."""
    files = {
        f"uv-{version}-py3-none-manylinux_2_17_{platform}.whl": servers.tiny_wheel(
            "uv",
            version,
            "py3-none-any",
            {f"uv-{version}.data/scripts/uv": fake_uv.text(folder / "asked.jsonl", listing)},
        )
        for version in found
        for platform in Platform
    }
    servers.add_project(server, "uv", files)
    host = Platform.host() or X86
    return [
        LockedWheel(filename=name, sha256=hashlib.sha256(content).hexdigest())
        for name, content in files.items()
        if f"_{host}." in name
    ]


def kinds() -> set[str]:
    root = cache.root()
    return {kind.name for kind in root.iterdir() for p in kind.iterdir() if p.name[0] != "."}


def test_many_versions_are_asked_once_each_and_their_programs_not_kept(
    packages: Server, tmp_path: Path
) -> None:
    wheels = add_uv(packages, tmp_path, "0.7.5", "0.7.6", "0.7.7", listing=LISTING)
    assert [uvbinary.is_answered(wheel) for wheel in wheels] == [False] * 3
    first = [uvbinary.answers(wheel) for wheel in wheels]
    assert [answers.uv for answers in first] == ["0.7.5", "0.7.6", "0.7.7"]
    assert kinds() == {uvbinary.ANSWERS}
    assert [uvbinary.is_answered(wheel) for wheel in wheels] == [True] * 3
    assert [uvbinary.answers(wheel) for wheel in wheels] == first
    assert len(fake_uv.asked(tmp_path)) == 3
    assert len([path for path in packages.asked if path.startswith("/files/")]) == 3


def test_answers_are_the_same_as_those_of_the_program(packages: Server, tmp_path: Path) -> None:
    (wheel,) = add_uv(packages, tmp_path, "0.7.5", listing=LISTING)
    program = uvbinary.fetch(wheel)
    answers = uvbinary.answers(wheel)
    for python in ("3.13", "3.14", "3.1", "3.12"):
        for flavour in set(Flavour) - {Flavour.DEBUG}:
            for platform in Platform:
                offered = uvbinary.offers(program, python, flavour, platform)
                assert answers.offers(python, platform, flavour) == offered
                if flavour is Flavour.STRIPPED:
                    assert answers.default(python, platform) == uvbinary.default_of(offered)
    assert answers.versions([X86])["20250517"] == {"3.13.3"}
    assert "20250521" not in answers.versions([X86])
    assert answers.versions(Platform)["20250521"] == {"3.13.3"}
    assert "20250530" not in answers.versions(Platform)


def test_a_program_that_is_here_is_not_downloaded_to_be_asked(
    packages: Server, tmp_path: Path
) -> None:
    (wheel,) = add_uv(packages, tmp_path, "0.7.5", listing=LISTING)
    uvbinary.fetch(wheel)
    shutil.rmtree(cache.root() / "wheels")  # as whoever prunes the cache may do
    assert uvbinary.is_answered(wheel)
    packages.asked.clear()
    uvbinary.answers(wheel)
    assert packages.asked == []


def test_what_is_remembered_needs_no_index(packages: Server, tmp_path: Path) -> None:
    """What another version of this module has written is not understood, and left out."""
    assert uvbinary.remembered() == {}
    wheels = add_uv(packages, tmp_path, "0.7.5", "0.7.6", "0.7.7", listing=LISTING)
    said = {answers.uv: answers for answers in map(uvbinary.answers, wheels)}
    assert uvbinary.remembered() == said
    paths = sorted((cache.root() / uvbinary.ANSWERS).glob("*.json"))
    lost = [path.read_text().partition('"uv": "')[2][:5] for path in paths[:2]]
    paths[0].write_text(paths[0].read_text().replace('"recipe": 1', '"recipe": 0'))
    paths[1].write_text('{"uv": "0.7')
    assert uvbinary.remembered().keys() == said.keys() - {*lost}


def test_a_uv_that_cannot_be_asked_leaves_no_answer(packages: Server, tmp_path: Path) -> None:
    (wheel,) = add_uv(packages, tmp_path, "0.5.0")
    with pytest.raises(ToolError, match="too old"):
        uvbinary.answers(wheel)
    assert not uvbinary.is_answered(wheel)
    assert uvbinary.remembered() == {}


def test_a_wheel_without_uv_is_said_to_have_none(packages: Server) -> None:
    content = servers.tiny_wheel("uv", "0.7.5", "py3-none-any")
    name = "uv-0.7.5-py3-none-any.whl"
    servers.add_project(packages, "uv", {name: content})
    wheel = LockedWheel(filename=name, sha256=hashlib.sha256(content).hexdigest())
    for question in (uvbinary.fetch, uvbinary.answers):
        with pytest.raises(ToolError, match=f"{name} holds no uv program"):
            question(wheel)


# -- The lock --------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    key = KEY.replace("3.13.3", "3.13.10")
    program = fake_uv.make(tmp_path, LISTING, {key: mismatch(key, SHA)})
    monkeypatch.setattr(uvbinary, "fetch", lambda wheel: program)
    host = Platform.host() or X86
    wheel = LockedWheel(filename="uv-0.7.6-py3-none-any.whl", sha256="a" * 64)
    default = uvbinary.default_interpreter(program, "3.13", X86)
    uv = LockedUv(wheels={host: wheel}, defaults={"3.13": {X86: default}})
    return Lock(uv={"0.7.6": uv}, wheels={})


def test_a_lock_that_says_what_uv_says_is_accepted(locked: Lock) -> None:
    uvbinary.verify(locked, "0.7.6", "3.13", X86)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"release": "20250517"}, "of release 20250517 on x86_64, but that uv says 3.13.10 of"),
        ({"version": "3.13.9"}, "CPython 3.13.9 of release 20251202 on x86_64, but"),
        ({"sha256": "0" * 64}, f"sha256 {'0' * 64}, but that uv says .* and {SHA}"),
        ({"url": "https://example.org/x"}, "what is at https://example.org/x and"),
    ],
)
def test_a_lock_that_says_something_else_is_refused(
    locked: Lock, change: dict[str, str], said: str
) -> None:
    default = locked.default("0.7.6", "3.13", X86).model_copy(update=change)
    uv = locked.uv["0.7.6"].model_copy(update={"defaults": {"3.13": {X86: default}}})
    lying = locked.model_copy(update={"uv": {"0.7.6": uv}})
    with pytest.raises(LockError, match=said) as caught:
        uvbinary.verify(lying, "0.7.6", "3.13", X86)
    assert "pbs-matrix lock" in caught.value.advice


def test_the_projects_own_lock_has_a_hash_for_each_default() -> None:
    own = lock.load(Path(__file__).parents[2] / "matrix.lock")
    hashes = [
        default.sha256
        for uv in own.uv.values()
        for by_platform in uv.defaults.values()
        for default in by_platform.values()
    ]
    assert len(hashes) == 2 * len(own.uv)
    # uv 0.7.8 installs, on each platform, what another version does there.
    assert len({*hashes}) == len(hashes) - 2
