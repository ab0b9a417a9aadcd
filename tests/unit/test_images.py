"""What the images of environments are built from; without an engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from harness import interpreters, project
from harness.errors import ToolError
from harness.image import Image, Origin
from harness.images import Images
from harness.interpreters import Archive
from harness.plan import Environment
from harness.remedies import Remedy
from harness.routes import Installation, Route
from tests.unit.sample_cell import sample_cell, upgraded_cell

BASE = Image(tag="pbs-matrix/base:1", id="sha256:1", origin=Origin.BUILT, base_digest="d")
# A replica's patch version may be another than that of the release that it stands for.
ARCHIVE = Archive(
    path=Path("/cache/digest-cpython-3.13.5.tar.gz"),
    sha256="a" * 64,
    version="3.13.5",
    name="cpython-3.13.5.tar.gz",
)
TOLD = Installation(
    route=Route.DOWNLOADS_JSON, request="3.13", settings={"UV_PYTHON_DOWNLOADS_JSON_URL": "/x.json"}
)
OWN = Installation(
    route=Route.OWN_METADATA, request="3.13", settings={"UV_PYTHON_INSTALL_MIRROR": "file:///x"}
)
UNPACKED = Installation(route=Route.UNPACKED, request="/opt/python/bin/python3.13", settings={})


def built(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, installation: Installation = TOLD
) -> tuple[str, dict[str, Any]]:
    """The recipe that an environment's image is built by, and what is passed to it."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def build(self: Images, recipe: str, **rest: Any) -> str:
        calls.append((recipe, rest))
        return "tag"

    monkeypatch.setattr(Images, "build", build)
    monkeypatch.setattr(Images, "_inspect", lambda self, tag, origin, digest: BASE)
    images = Images(cast(docker.DockerClient, None))
    images.environment(environment, BASE, ARCHIVE, installation, Path("/cache/uv"), "u" * 64)
    (call,) = calls
    return call


def test_an_environment_is_built_on_its_base_by_its_own_uv(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, rest = built(monkeypatch, sample_cell().environment)
    assert recipe == "environment"
    assert rest["arguments"] == {
        "BASE": BASE.tag,
        "SETTINGS": "UV_PYTHON_DOWNLOADS_JSON_URL=/x.json",
        "INSTALL": "uv python install 3.13",
        "PYTHON": "3.13",
    }
    assert rest["files"] == {
        "uv": Path("/cache/uv"),
        "mirror/20250517/cpython-3.13.5.tar.gz": ARCHIVE.path,
    }
    ((name, offered),) = json.loads(rest["texts"]["mirror/downloads.json"]).items()
    assert name == "cpython-3.13.5-linux-aarch64-gnu"
    assert (offered["sha256"], offered["build"]) == ("a" * 64, "20250517")


def test_a_uv_that_chooses_by_itself_is_told_nothing_but_the_mirror(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, rest = built(monkeypatch, sample_cell().environment, OWN)
    assert rest["texts"] == {}
    assert "mirror/20250517/cpython-3.13.5.tar.gz" in rest["files"]
    assert rest["arguments"]["SETTINGS"] == "UV_PYTHON_INSTALL_MIRROR=file:///x"


def test_a_uv_that_cannot_be_told_finds_the_interpreter_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interpreters, "unpacked", lambda *archive: Path("/cache/python.tar"))
    _, rest = built(monkeypatch, sample_cell().environment, UNPACKED)
    assert rest["files"]["mirror/python.tar"] == Path("/cache/python.tar")
    assert rest["arguments"]["PYTHON"] == UNPACKED.request
    with pytest.raises(ToolError, match=r"uv 0\.7\.6 cannot be told"):
        built(monkeypatch, upgraded_cell().environment, UNPACKED)


def test_an_upgrade_runs_its_command_on_the_image_that_was_there_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the version that the archive has, since that is what is installed already."""
    environment = upgraded_cell().environment
    recipe, rest = built(monkeypatch, environment)
    assert recipe == "upgrade"
    command = "python install --reinstall 3.13.5"
    assert rest["arguments"] == {
        "BASE": BASE.tag,
        "SETTINGS": "UV_PYTHON_DOWNLOADS_JSON_URL=/x.json",
        "COMMAND": command,
    }
    assert rest["labels"]["environment"] == environment.id
    assert (rest["labels"]["uv"], rest["labels"]["release"]) == ("0.7.6", "20250517")


def test_two_remedies_on_one_image_are_two_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tags are digests of what differs between them."""
    environment = upgraded_cell().environment
    assert environment.upgrade is not None
    upgrade = replace(environment.upgrade, remedy=Remedy.UPGRADE_ONLY)
    _, one = built(monkeypatch, environment)
    _, other = built(monkeypatch, replace(environment, upgrade=upgrade))
    assert one["arguments"] != other["arguments"]


def test_a_recipe_takes_every_argument_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine only warns of an argument that a Dockerfile does not know."""
    for made in (sample_cell(), upgraded_cell()):
        recipe, rest = built(monkeypatch, made.environment)
        text = project.recipe(recipe)["Dockerfile"]
        known = {line.split()[1].partition("=")[0] for line in text.splitlines() if "ARG " in line}
        assert known == set(rest["arguments"])
