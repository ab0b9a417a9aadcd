"""How an archive gets into an environment: by whose word its uv takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import images, routes, uvbinary
from harness.errors import HashMismatchError
from harness.flavours import Flavour
from harness.interpreters import Archive
from harness.lock import LockedDefault
from harness.plan import Interpreter
from harness.platforms import Platform
from harness.routes import Installation, Route
from harness.sources import Source
from harness.uvbinary import Offer

NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
URL = f"https://example.org/20250517/{NAME.replace('+', '%2B')}"
OURS, THEIRS = "a" * 64, "b" * 64
ARCHIVE = Archive(path=Path("/cache/x"), sha256=OURS, version="3.13.3", name=NAME)
RELEASE = Interpreter(
    python="3.13", release="20250517", platform=Platform.X86_64, source=Source.UPSTREAM
)


def its_default(sha256: str) -> Interpreter:
    default = LockedDefault(version="3.13.3", release="20250517", url=URL, sha256=sha256)
    return replace(RELEASE, default=default)


def chosen(
    uv: str, interpreter: Interpreter, *, trusts_mirror: bool = False, archive: Archive = ARCHIVE
) -> Installation:
    return routes.choose(uv, interpreter, archive, Path("/uv"), trusts_mirror=trusts_mirror)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Archives that the uv program knows, by their URL, with the hash that it has of each."""
    there: dict[str, str | None] = {}

    def offers(program: Path, *wanted: object) -> tuple[Offer, ...]:
        return tuple(Offer(version="3.13.3", release="20250517", url=url) for url in there)

    def expected(program: Path, offer: Offer, *wanted: object) -> str | None:
        return there[offer.url]

    monkeypatch.setattr(uvbinary, "offers", offers)
    monkeypatch.setattr(uvbinary, "expected_sha256", expected)
    return there


def test_a_uv_installs_its_own_default_by_its_own_metadata() -> None:
    """Asked as a user asks, with nothing but the mirror to help it."""
    installation = chosen("0.7.6", its_default(OURS))
    assert installation == Installation(
        route=Route.OWN_METADATA,
        request="3.13",
        settings={"UV_PYTHON_INSTALL_MIRROR": "file:///opt/pbs-matrix/mirror"},
    )
    assert installation.command == "uv python install 3.13"


def test_another_hash_than_uv_has_built_in_is_refused() -> None:
    """Told on the host, with both, and what a mirror of other builds may do about it."""
    with pytest.raises(HashMismatchError) as caught:
        chosen("0.7.6", its_default(THEIRS))
    assert caught.value.problem == (
        f"SHA256SUMS of release 20250517 says sha256 {OURS} for {NAME}, "
        f"but uv 0.7.6's own metadata says {THEIRS}"
    )
    assert "--trust-mirror" in caught.value.advice


def test_a_mirror_that_is_trusted_is_believed_and_uv_is_told_so() -> None:
    installation = chosen("0.7.6", its_default(THEIRS), trusts_mirror=True)
    assert installation.route is Route.DOWNLOADS_JSON
    assert installation.request == "3.13"
    assert installation.settings == {
        "UV_PYTHON_DOWNLOADS_JSON_URL": "/opt/pbs-matrix/mirror/downloads.json"
    }


@pytest.mark.parametrize(("uv", "pins"), [("0.8.13", False), ("0.8.14", True)])
def test_a_release_that_uv_knows_is_asked_for_by_its_version(
    uv: str, pins: bool, known: dict[str, str | None]
) -> None:
    """And by its build, where that uv listens."""
    known[URL] = OURS
    installation = chosen(uv, RELEASE)
    assert installation.route is Route.OWN_METADATA
    assert installation.request == "cpython-3.13.3-linux-x86_64-gnu"
    assert (installation.settings.get("UV_PYTHON_CPYTHON_BUILD") == "20250517") is pins


def test_an_archive_that_uv_has_no_hash_of_is_installed_by_its_own_metadata(
    known: dict[str, str | None],
) -> None:
    known[URL] = None
    assert chosen("0.7.6", RELEASE).route is Route.OWN_METADATA


@pytest.mark.parametrize(
    ("uv", "route"),
    [
        ("0.6.12", Route.UNPACKED),
        ("0.6.13", Route.DOWNLOADS_JSON),
        ("0.13.9", Route.DOWNLOADS_JSON),
    ],
)
@pytest.mark.parametrize("source", Source)
def test_of_a_release_that_uv_does_not_know_it_is_told_if_it_listens(
    uv: str, route: Route, source: Source, known: dict[str, str | None]
) -> None:
    known["https://example.org/20250529/another.tar.gz"] = OURS
    installation = chosen(uv, replace(RELEASE, source=source))
    assert installation.route is route
    if route is Route.UNPACKED:
        home = "/opt/python/cpython-3.13.3-linux-x86_64-gnu"
        assert installation.request == f"{home}/bin/python3.13"
        assert installation.command == "tar -C /opt/python -xf /opt/pbs-matrix/mirror/python.tar"


@pytest.mark.parametrize(
    ("flavour", "uv", "request_", "variant", "libc"),
    [
        (Flavour.INSTALL_ONLY, "0.7.6", "3.13", None, "gnu"),
        (Flavour.FREETHREADED, "0.7.6", "cpython-3.13.3+freethreaded-linux-x86_64-gnu",
         "freethreaded", "gnu"),
        (Flavour.DEBUG, "0.8.18", "cpython-3.13.3+debug-linux-x86_64-gnu", "debug", "gnu"),
        (Flavour.MUSL, "0.7.6", "cpython-3.13.3-linux-x86_64-musl", None, "musl"),
    ],
)  # fmt: skip
def test_other_flavours_are_asked_for_by_their_keys(
    flavour: Flavour,
    uv: str,
    request_: str,
    variant: str | None,
    libc: str,
    known: dict[str, str | None],
) -> None:
    interpreter = replace(RELEASE, flavour=flavour)
    installation = chosen(uv, interpreter)
    assert (installation.route, installation.request) == (Route.DOWNLOADS_JSON, request_)
    ((key, entry),) = json.loads(images.downloads_json(interpreter, ARCHIVE)).items()
    assert key == flavour.uv_key("3.13.3", Platform.X86_64)
    assert (entry["variant"], entry["libc"]) == (variant, libc)


def test_a_debug_build_is_unpacked_for_a_uv_that_cannot_be_asked_for_one(
    known: dict[str, str | None],
) -> None:
    """Such a request is no request to it."""
    installation = chosen("0.8.17", replace(RELEASE, flavour=Flavour.DEBUG))
    assert installation.route is Route.UNPACKED
    assert "/cpython-3.13.3+debug-linux-x86_64-gnu/" in installation.request


def test_a_pre_release_is_told_to_uv_in_its_parts() -> None:
    archive = replace(ARCHIVE, version="3.14.0rc1")
    interpreter = replace(RELEASE, python="3.14")
    ((key, entry),) = json.loads(images.downloads_json(interpreter, archive)).items()
    assert key == "cpython-3.14.0rc1-linux-x86_64-gnu"
    assert [entry[part] for part in ("major", "minor", "patch", "prerelease")] == [3, 14, 0, "rc1"]


def test_the_place_in_a_downloads_json_is_an_url() -> None:
    """uv takes %2B for the plus sign that the file has in its name, as in its own metadata."""
    ((_, entry),) = json.loads(images.downloads_json(RELEASE, ARCHIVE)).items()
    assert entry["url"] == f"file:///opt/pbs-matrix/mirror/20250517/{NAME.replace('+', '%2B')}"
    assert (entry["sha256"], entry["build"]) == (OURS, "20250517")
