"""What is sent to a container, and how the end of a program in it is told; without an engine."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from harness import containers


class FakeContainer:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []

    def put_archive(self, directory: str, packed: IO[bytes]) -> None:
        self.got.append((directory, packed.read()))


@pytest.mark.parametrize("content", [b"", b"x", bytes(511), bytes(512), bytes(20_000)])
def test_a_tar_is_sent_whole_and_without_padding(content: bytes) -> None:
    """A file of zeros at its end is none; each container gets the same."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("first", "last"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    container: Any = FakeContainer()
    for _ in range(2):
        containers.put(container, "/opt", stream)
    (directory, sent), again = container.got
    assert (directory, sent) == again
    assert len(sent) == 2 * (512 + -(-len(content) // 512) * 512) + 1024
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        assert tar.getnames() == ["first", "last"]
        assert tar.extractfile("last").read() == content  # type: ignore[union-attr]


def test_an_empty_tar_is_sent_too(tmp_path: Path) -> None:
    container: Any = FakeContainer()
    with containers._packed({}) as packed:
        containers.put(container, "/opt", packed)
    assert container.got == [("/opt", bytes(1024))]


class FakeApi:
    """Answers as an engine does, once for each answer that it was given."""

    def __init__(self, *answers: tuple[bool, int | None]) -> None:
        self._answers = iter(answers)

    def exec_inspect(self, execution: str) -> dict[str, object]:
        running, code = next(self._answers)
        return {"Running": running, "ExitCode": code}


@pytest.mark.parametrize(
    "answers",
    [
        [(False, 3)],
        # Docker's and Podman's words for "not yet".
        [(True, None), (False, 3)],
        [(True, 0), (True, 0), (False, 3)],
        [(False, None), (False, 3)],
    ],
)
def test_an_exit_code_is_waited_for(answers: list[tuple[bool, int | None]]) -> None:
    api: Any = FakeApi(*answers)
    assert containers._exit_code(api, "id", threading.Event()) == 3


def test_a_program_that_was_killed_has_the_code_of_that() -> None:
    killed = threading.Event()
    killed.set()
    api: Any = FakeApi()
    assert containers._exit_code(api, "id", killed) == 137
