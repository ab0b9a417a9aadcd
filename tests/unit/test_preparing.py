"""Making what a run needs: in which order, and what a failure means; without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness import contents, extensions, interpreters, preparing, systems, uvbinary
from harness.builder import Builder
from harness.errors import BuildError, DiskFullError, FetchError, HarnessError, LockError
from harness.extensions import Installed, NothingToDo
from harness.image import Image, Origin
from harness.images import Images
from harness.interpreters import Archive
from harness.lock import Lock, LockedUv, LockedWheel
from harness.outcome import Stage
from harness.plan import Environment, Interpreter
from harness.platforms import Platform
from harness.prepared import PreparedEnvironment, PreparedExtension
from harness.routes import Installation, Route
from tests.unit.made_contents import INSIDE
from tests.unit.sample_cell import sample_cell, upgraded_cell


def image(tag: str) -> Image:
    return Image(tag=tag, id=f"sha256:{tag}", origin=Origin.BUILT, base_digest="d")


def wheel(version: str) -> LockedWheel:
    return LockedWheel(filename=f"uv-{version}-py3-none-any.whl", sha256=version[-1] * 64)


LOCK = Lock(
    uv={
        version: LockedUv(wheels={Platform.AARCH64: wheel(version)}, defaults={})
        for version in ("0.7.5", "0.7.6")
    },
    wheels={},
)


class FakeImages:
    """Names the image of an environment by what it was built on."""

    def __init__(self) -> None:
        self.built: list[tuple[Environment, str, str, str]] = []
        self.problem: HarnessError | None = None
        self.client = None

    def environment(
        self,
        environment: Environment,
        base: Image,
        archive: Archive,
        installation: Installation,
        uv: Path,
        sha256: str,
    ) -> Image:
        if self.problem:
            raise self.problem
        self.built.append((environment, base.tag, archive.path.name, uv.name))
        return image(f"{base.tag} with uv {environment.uv}")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the uv programs were asked about themselves."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(uvbinary, "verify", lambda lock, *rest: asked.append(rest))
    monkeypatch.setattr(uvbinary, "fetch", lambda wheel: Path("/cache") / wheel.filename)

    def of_image(client: object, image: str, platform: Platform) -> Path:
        return Path(f"/cache/{image}-{platform}")

    monkeypatch.setattr(systems, "of_image", of_image)
    monkeypatch.setattr(Platform, "host", lambda: Platform.AARCH64)
    monkeypatch.setattr(
        interpreters, "look_into", lambda archive: archive.path.with_suffix(".json")
    )
    monkeypatch.setattr(contents, "load", lambda path: INSIDE)
    return asked


def made(
    environment: Environment,
    images: FakeImages,
    archive: Any = lambda interpreter: Archive(
        path=Path(f"/cache/{interpreter.release}"),
        sha256=f"of {interpreter.release}",
        version="3.13.5",
        name=f"{interpreter.release}.tar.gz",
    ),
) -> tuple[PreparedEnvironment, list[HarnessError]]:
    failures: list[HarnessError] = []
    prepared = preparing._environment(
        environment, cast(Images, images), LOCK, lambda: image("base"), archive, failures
    )
    return prepared, failures


def test_an_environment_is_its_uv_and_interpreter_on_its_base(
    verified: list[tuple[object, ...]],
) -> None:
    images, environment = FakeImages(), sample_cell().environment
    prepared, failures = made(environment, images)
    assert images.built == [(environment, "base", "20250517", wheel("0.7.6").filename)]
    assert prepared.image == image("base with uv 0.7.6")
    assert prepared.interpreter is not None
    assert (prepared.interpreter.sha256, prepared.uv_sha256) == ("of 20250517", "6" * 64)
    assert verified == [("0.7.6", "3.13", Platform.AARCH64)]
    assert failures == []
    assert prepared.system == Path("/cache/sha256:base-aarch64")
    assert prepared.interpreter.model_dump() == {
        "version": "3.13.5",
        "look": Path("/cache/20250517.json"),
        "archive": "20250517.tar.gz",
        "sha256": "of 20250517",
        "route": Route.DOWNLOADS_JSON,
    }


def test_an_upgraded_environment_is_built_on_what_the_older_uv_left(
    verified: list[tuple[object, ...]],
) -> None:
    """Each of the two brings the interpreter of its own time, and says itself which that is."""
    images, environment = FakeImages(), upgraded_cell().environment
    prepared, failures = made(environment, images)
    assert environment.upgrade is not None
    before = environment.upgrade.before(environment)
    assert images.built == [
        (before, "base", "20250409", wheel("0.7.5").filename),
        (environment, "base with uv 0.7.5", "20250517", wheel("0.7.6").filename),
    ]
    assert prepared.image == image("base with uv 0.7.5 with uv 0.7.6")
    assert prepared.interpreter is not None
    assert (prepared.interpreter.sha256, prepared.uv_sha256) == ("of 20250517", "6" * 64)
    assert [uv for uv, *_ in verified] == ["0.7.5", "0.7.6"]
    assert failures == []
    # The system is the base's, whatever uv did on it; each interpreter's files are kept.
    assert prepared.system == Path("/cache/sha256:base-aarch64")
    assert prepared.before is not None
    found = [p.interpreter.look.name for p in (prepared, prepared.before) if p.interpreter]
    assert found == ["20250517.json", "20250409.json"]


@pytest.mark.parametrize("release", ["20250409", "20250517"])
def test_an_upgrade_of_which_one_archive_is_missing_has_no_image(
    verified: list[tuple[object, ...]], release: str
) -> None:
    def archive(interpreter: Interpreter) -> Archive:
        if interpreter.release == release:
            raise FetchError(f"no {release}", advice="wait")
        return Archive(path=Path("/cache/x"), sha256="x", version="3.13.5", name="x")

    prepared, failures = made(upgraded_cell().environment, FakeImages(), archive)
    assert prepared.image is None
    assert (prepared.failed_stage, prepared.problem) == (Stage.INTERPRETER, f"no {release}")
    assert [type(failure) for failure in failures] == [FetchError]


def test_an_image_that_cannot_be_built_failed_at_the_image(
    verified: list[tuple[object, ...]],
) -> None:
    images = FakeImages()
    images.problem = BuildError("uv said no", advice="look")
    prepared, _ = made(upgraded_cell().environment, images)
    assert (prepared.failed_stage, prepared.problem) == (Stage.IMAGE, "uv said no")


@pytest.mark.parametrize("kind", [DiskFullError, LockError])
def test_what_nothing_could_follow_ends_the_run(
    verified: list[tuple[object, ...]], kind: type[HarnessError]
) -> None:
    images = FakeImages()
    images.problem = kind("it is over", advice="stop")
    with pytest.raises(kind):
        made(upgraded_cell().environment, images)


class FakeBuilder:
    def wheel(self, *arguments: object) -> Path:
        raise AssertionError("nothing is built here")


def extension(
    monkeypatch: pytest.MonkeyPatch, outcome: Installed | Exception
) -> tuple[PreparedExtension, list[HarnessError]]:
    """What is prepared for a sample when providing it ends so."""

    def provide(*arguments: object) -> Installed:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(extensions, "provide", provide)
    failures: list[HarnessError] = []
    builder = cast(Builder, FakeBuilder())
    return preparing._extension(sample_cell(), LOCK, Path("/"), builder, failures), failures


def test_a_sample_is_prepared_with_its_files_and_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, failures = extension(monkeypatch, Installed(tree=Path("/t"), wheels={"a.whl": "0"}))
    assert prepared == PreparedExtension(tree=Path("/t"), wheels={"a.whl": "0"})
    assert failures == []


def test_nothing_to_do_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run of nothing but such cells would end with an error."""
    prepared, failures = extension(monkeypatch, NothingToDo("there is nothing to patch"))
    assert prepared == PreparedExtension(problem="there is nothing to patch", not_applicable=True)
    assert failures == []


def test_a_sample_that_cannot_be_had_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = FetchError("the index is down", advice="wait")
    prepared, failures = extension(monkeypatch, problem)
    assert prepared == PreparedExtension(problem="the index is down")
    assert failures == [problem]


def test_a_full_disk_ends_the_run_for_a_sample_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFullError):
        extension(monkeypatch, DiskFullError("full", advice="free some"))
