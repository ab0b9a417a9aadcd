"""An engine that refuses, or is gone, is told in words by whoever asks it; without an engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from docker.errors import APIError, NotFound

from harness import images, systems
from harness.bench import contestants
from harness.errors import HarnessError
from harness.matrix import Base
from harness.planning import shell, terminal
from harness.platforms import Platform
from harness.remedies import Remedy
from tests.unit.sample_cell import sample_cell


class Refusing:
    """Whatever is asked of it, and of what it has, ends with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Refusing:
        return self

    def __call__(self, *_: object, **__: object) -> None:
        raise self._error


BASE = Base(suite="trixie", image=f"docker.io/library/debian@sha256:{'a' * 64}")
PRELOADED = replace(sample_cell(), remedy=Remedy.LD_LIBRARY_PATH)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        requests.ReadTimeout("said nothing"),
        requests.ConnectionError("said nothing"),
        APIError("said nothing"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    ("ask", "doing"),
    [
        (images.remove_all, "removing images"),
        (
            lambda client: images.Images(client).base("debian13", BASE, Platform.X86_64, ()),
            "making the base image debian13 for x86_64",
        ),
        (
            lambda client: contestants.require_native(None, client),
            "asking the engine what it runs on",
        ),
        (lambda box: shell._variables(PRELOADED, box), "asking where"),
        (lambda api: terminal._exit_code(api, "1"), "asking how the command"),
    ],
    ids=("remove_all", "base", "require_native", "shell", "terminal"),
)
def test_what_was_being_done_and_what_was_found_are_said(
    ask: Callable[[Any], object], doing: str, error: Exception
) -> None:
    with pytest.raises(HarnessError, match=f"{doing}.*said nothing"):
        ask(Refusing(error))


def test_an_image_that_a_container_uses_stays_and_is_no_error() -> None:
    answer = requests.Response()
    answer.status_code = 409
    assert not images._remove(cast(Any, Refusing(APIError("in use", response=answer))), "x")


def test_a_command_of_which_the_engine_knows_nothing_more_was_killed_with_its_container() -> None:
    assert terminal._exit_code(Refusing(NotFound("no such exec")), "1") == terminal.GONE


def test_a_base_is_read_although_the_container_for_that_cannot_be_removed() -> None:
    packed = io.BytesIO()
    tarfile.open(fileobj=packed, mode="w").close()

    class Box:
        def __getattr__(self, name: str) -> Callable[..., object]:
            return lambda *_, **__: b""

        def export(self) -> list[bytes]:
            return [packed.getvalue()]

        def remove(self, **_: object) -> None:
            raise APIError("busy")

    class Client:
        containers = property(lambda self: self)

        def create(self, *_: object, **__: object) -> Box:
            return Box()

    found = systems._look(cast(Any, Client()), "sha256:1", Platform.X86_64)
    assert found.directories == ()
