"""Archives of interpreters: which file of a release, from where, and what it is checked against."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cache, interpreters
from harness.errors import FetchError, HashMismatchError, NotOfferedError, ToolError
from harness.flavours import Flavour
from harness.interpreters import Archive
from harness.lock import LockedDefault
from harness.mirror import Mirror
from harness.plan import Interpreter
from harness.platforms import Platform
from harness.sources import Source
from tests import hostile_archives, standin
from tests.standin import Standin

RELEASE = "20250517"
NAME = hostile_archives.NAME
CONTENT = hostile_archives.good()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ASKED = Interpreter(
    python="3.13", release=RELEASE, platform=Platform.X86_64, source=Source.UPSTREAM
)


def default(sha256: str) -> LockedDefault:
    url = f"https://example.org/{RELEASE}/{NAME.replace('+', '%2B')}"
    return LockedDefault(version="3.13.3", release=RELEASE, url=url, sha256=sha256)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A mirror with one archive, for an empty cache."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))
    with standin.serving() as server:
        server.add(RELEASE, NAME, CONTENT)
        yield server


def sent(server: Standin, name: str = NAME) -> int:
    return len([r for r in server.log(f"*/{name}") if r.method == "GET"])


@pytest.mark.parametrize("known", [None, default(SHA256)], ids=["named", "default"])
def test_a_published_archive_is_fetched_once_and_checked_against_the_sums(
    served: Standin, known: LockedDefault | None
) -> None:
    """The one that uv installs by default by its own name, another by what the release lists."""
    asked = replace(ASKED, default=known)
    for _ in range(2):
        archive = interpreters.provide(asked, Mirror(base=served.mirror))
        assert archive.path.read_bytes() == CONTENT
        assert (archive.sha256, archive.version, archive.name) == (SHA256, "3.13.3", NAME)
    assert sent(served) == 1


def test_what_is_kept_of_a_uvs_own_default_needs_no_network(served: Standin) -> None:
    """It was checked when it came, and uv's own hash is the same, since that is its name."""
    asked = replace(ASKED, default=default(SHA256))
    first = interpreters.provide(asked, Mirror(base=served.mirror))
    assert interpreters.provide(asked, Mirror(base="http://127.0.0.1:9")) == first


def test_a_file_that_the_sums_contradict_is_refused(served: Standin) -> None:
    served.inject("*/SHA256SUMS", standin.Stale(other="*"))
    with pytest.raises(HashMismatchError, match=SHA256):
        interpreters.provide(ASKED, Mirror(base=served.mirror))


def test_an_archive_that_its_release_does_not_list_cannot_be_had(served: Standin) -> None:
    """Of uv's own default that is a mirror that lacks it: something is wrong."""
    served.add(RELEASE, "another.tar.gz", b"x")
    served.inject("*/SHA256SUMS", standin.Stale(lacking=NAME))
    with pytest.raises(FetchError, match=r"/20250517/SHA256SUMS does not list cpython-3\.13\.3"):
        interpreters.provide(replace(ASKED, default=default(SHA256)), Mirror(base=served.mirror))


@pytest.mark.parametrize(
    "asked",
    [
        replace(ASKED, python="3.14"),
        replace(ASKED, platform=Platform.AARCH64),
        replace(ASKED, flavour=Flavour.MUSL),
    ],
    ids=["CPython", "platform", "flavour"],
)
def test_what_a_release_never_had_is_not_offered(served: Standin, asked: Interpreter) -> None:
    """Which is no failure: there is nothing to test."""
    with pytest.raises(NotOfferedError, match=f"release {RELEASE} has no "):
        interpreters.provide(asked, Mirror(base=served.mirror))


def test_a_release_that_a_mirror_lacks_cannot_be_had(served: Standin) -> None:
    with pytest.raises(FetchError, match="404"):
        interpreters.provide(replace(ASKED, release="20250521"), Mirror(base=served.mirror))


@pytest.mark.parametrize("flavour", [f for f in Flavour if f is not Flavour.STRIPPED])
def test_a_replica_of_another_flavour_cannot_be_made(flavour: Flavour) -> None:
    """And is not passed off as what it is not."""
    asked = replace(ASKED, source=Source.REPLICA, flavour=flavour)
    with pytest.raises(ToolError, match=f"no replica of the flavour {flavour}"):
        interpreters.provide(asked)


@pytest.mark.parametrize(
    "use", [interpreters.look_into, lambda archive: interpreters.unpacked(ASKED, archive)]
)
def test_an_archive_that_was_changed_since_it_was_checked_is_not_used(
    served: Standin, use: Callable[[Archive], Path]
) -> None:
    archive = interpreters.provide(ASKED, Mirror(base=served.mirror))
    archive.path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(HashMismatchError, match=re.escape(str(archive.path))):
        use(archive)
    assert not archive.path.exists()
    assert interpreters.provide(ASKED, Mirror(base=served.mirror)).path.read_bytes() == CONTENT


def test_what_is_in_an_archive_is_looked_at_once(
    served: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = interpreters.provide(ASKED, Mirror(base=served.mirror))
    found = interpreters.look_into(archive)
    monkeypatch.setattr("harness.contents.look", None)
    assert interpreters.look_into(archive) == found
