"""Bases from a registry, on engines that have one image under a digest; without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from docker.errors import APIError, ImageNotFound

from harness import cache
from harness.errors import BuildError
from harness.images import PULLED, Images
from harness.matrix import Base
from harness.platforms import Platform

DIGEST = "sha256:" + "ab" * 32
REFERENCE = f"registry.example/debian@{DIGEST}"
BASE = Base(suite="trixie", image=REFERENCE)
KEPT = f"{PULLED}:{'ab' * 12}"


class FakeImage:
    def __init__(self, engine: FakeEngine, architecture: str) -> None:
        self.id = f"sha256:{architecture}"
        self.attrs = {"Architecture": architecture}
        self._engine = engine

    def tag(self, repository: str, tag: str) -> None:
        self._engine.names[f"{repository}:{tag}"] = self


class FakeEngine:
    """As Docker does: a second platform's image does not get the digest of the first's."""

    def __init__(self, *, problem: str = "", gives: str = "") -> None:
        self.names: dict[str, FakeImage] = {}
        self.asked: list[str] = []
        self.problem, self.gives = problem, gives
        self.images = self.api = self

    def get(self, name: str) -> FakeImage:
        try:
            return self.names[name]
        except KeyError:
            raise ImageNotFound(name) from None

    def get_image(self, name: str) -> Iterator[bytes]:
        yield f"{name} {self.names[name].attrs['Architecture']}".encode()

    def load(self, stream: IO[bytes]) -> None:
        name, architecture = stream.read().decode().split()
        self.names[name] = FakeImage(self, architecture)

    def remove(self, name: str, *, noprune: bool) -> None:
        assert noprune
        image = self.names.pop(name)
        # Else the engine would delete it.
        assert image in self.names.values()

    def pull(
        self, repository: str, *, tag: str, platform: str, **_: Any
    ) -> Iterator[dict[str, Any]]:
        self.asked.append(platform)
        if self.problem == "refused":
            raise APIError("x", explanation="no such host")
        yield {"status": "Pulling"}
        architecture = self.gives or platform.partition("/")[2]
        name = f"{repository}@{tag}"
        if self.problem:
            yield {"error": self.problem}
        elif name in self.names and self.names[name].attrs["Architecture"] != architecture:
            yield {"error": f"Cannot overwrite digest {tag}"}
        else:
            self.names[name] = FakeImage(self, architecture)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))


def pulled(engine: FakeEngine, *platforms: Platform) -> tuple[Images, list[str | None]]:
    client: Any = engine
    images = Images(client)
    return images, [images._pull(BASE, platform) for platform in platforms]


def test_each_platform_gets_its_own_image_of_one_digest() -> None:
    engine = FakeEngine()
    both = (Platform.X86_64, Platform.AARCH64)
    images, found = pulled(engine, *both, *both)
    assert found == ["sha256:amd64", "sha256:arm64"] * 2
    assert images.registry_problem is None
    assert engine.asked == ["linux/amd64", "linux/arm64"]
    assert {f"{KEPT}-x86_64", f"{KEPT}-aarch64"} <= set(engine.names)


def test_a_base_is_pulled_once_for_all_engines() -> None:
    """Also where no registry answers any more: it is what the digest says."""
    pulled(FakeEngine(), Platform.X86_64)
    other = FakeEngine(problem="refused")
    _, found = pulled(other, Platform.X86_64)
    assert found == ["sha256:amd64"]
    assert other.asked == []
    assert pulled(other, Platform.AARCH64)[1] == [None]


def test_an_image_that_a_user_has_pulled_is_not_lost() -> None:
    engine = FakeEngine()
    engine.names[REFERENCE] = theirs = FakeImage(engine, "amd64")
    _, found = pulled(engine, Platform.AARCH64)
    assert found == ["sha256:arm64"]
    assert engine.names[f"{KEPT}-x86_64"] is theirs


@pytest.mark.parametrize(
    ("problem", "told"), [("refused", "no such host"), ("manifest unknown", "manifest unknown")]
)
def test_a_registry_that_gives_nothing_is_asked_once(problem: str, told: str) -> None:
    """An engine may say so after it has begun to answer."""
    engine = FakeEngine(problem=problem)
    images, found = pulled(engine, *Platform)
    assert found == [None, None]
    assert images.registry_problem == f"{REFERENCE}: {told}"
    assert len(engine.asked) == 1


def test_an_image_of_another_platform_is_refused() -> None:
    """Its digest names an image for one platform, and not an index."""
    with pytest.raises(BuildError, match="pulled for aarch64, is for amd64"):
        pulled(FakeEngine(gives="amd64"), Platform.AARCH64)
