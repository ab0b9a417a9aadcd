"""Files that somebody names, whatever they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from harness import inputs


class Model(BaseModel, extra="forbid"):
    number: int
    parts: dict[str, list[int]] = {}


def whole(path: Path) -> object:
    return inputs.content(path, most=1 << 20)


def by_line(path: Path) -> object:
    return list(inputs.lines(path))


READERS = pytest.mark.parametrize("read", [whole, by_line])


@READERS
def test_a_pipe_that_somebody_writes_to_is_read_to_its_end(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    # Open for reading and writing, so that it has a writer from the start and none to wait for.
    both = os.open(path, os.O_RDWR)
    ready = threading.Event()

    def write() -> None:
        ready.wait()
        os.write(both, b"one\ntwo")
        os.close(both)

    writer = threading.Thread(target=write)
    writer.start()
    threading.Timer(0.05, ready.set).start()
    assert read(path) in (b"one\ntwo", [b"one\n", b"two"])
    writer.join()


@READERS
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nobody has written to this pipe"):
        read(tmp_path / "pipe")


@READERS
def test_a_file_without_an_end_is_refused(read: Callable[[Path], object]) -> None:
    with pytest.raises(OSError, match="more than"):
        read(Path("/dev/zero"))


@READERS
def test_a_folder_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


@READERS
def test_an_empty_file_is_an_empty_file(read: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert read(tmp_path / "x") in (b"", [])


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 1073741824 bytes"):
        inputs.content(tmp_path / "x", most=1 << 30)


def test_exactly_as_much_as_may_be_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert inputs.content(tmp_path / "x", most=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        inputs.content(tmp_path / "x", most=4)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "not valid JSON: EOF while parsing a value (column 0)"),
        ('{\n "number": 1', 2, "not valid JSON: EOF while parsing an object"),
        ('{\n "number": 1\n\n\n', 2, "not valid JSON: EOF while parsing an object"),
        ('{\n "number": 1,\n}', 3, "not valid JSON: trailing comma"),
        ('{\n "number":\n "x"\n}', 2, "number: Input should be a valid integer"),
        ('{\n "number": 1,\n "more": 1}', 3, "more: Extra inputs are not permitted"),
        ('{\n "parts": {}}', 1, "number: Field required"),
        ('{"parts": {\n"a": [1],\n"b": [1, 2,\n"x"]},\n"number": 1}', 4, "parts.b.2: "),
        ('{"parts": {"a,:{": [],\n"}]": [\n[]]}, "number": 1}', 3, "parts.}].0: "),
        ('{"number": 1,\n"number": 2}', 2, "the key 'number' is there twice"),
        ('{"number": 1, "parts": {"a": [],\n"b": [],\n"\\u0061": []}}', 3, "the key 'a' is there"),
        ("[]", 1, "Input should be an object"),
    ],
)
def test_a_mistake_is_told_by_line_and_key(text: str, line: int, what: str, tmp_path: Path) -> None:
    (path := tmp_path / "x.json").write_text(text)
    with pytest.raises(inputs.Mistake) as caught:
        inputs.json_of(Model, path, most=1 << 20)
    assert caught.value.place == f"{path}:{line}"
    assert caught.value.what.startswith(what)
    assert str(caught.value) == f"{caught.value.place}: {caught.value.what}"


def test_in_a_large_document_a_mistake_is_told_by_its_key_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for its line would take longer than all else."""
    monkeypatch.setattr(inputs, "SEARCHED", 20)
    (path := tmp_path / "x.json").write_text('{\n "parts": {\n"a": ["x"]},\n"number": 1}')
    with pytest.raises(inputs.Mistake, match=r"x\.json:1: parts\.a\.0: "):
        inputs.json_of(Model, path, most=1 << 20)


def test_what_is_right_is_read(tmp_path: Path) -> None:
    text = '{"number": 1, "parts": {"number": [1], "parts": [2]}}'
    (tmp_path / "x.json").write_text(text)
    found = inputs.json_of(Model, tmp_path / "x.json", most=1 << 20)
    assert found == Model(number=1, parts={"number": [1], "parts": [2]})


def test_what_a_message_quotes_is_short_and_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    raw = b'{"number": 1, "\\u001b[2J' + b"x" * 100_000 + b'": 1}'
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json(raw)
    said = str(inputs.mistake(caught.value, raw, Path("x.json"), line=7))
    assert said.startswith("x.json:7: \\x1b[2Jxxx")
    assert said.isprintable()
    assert len(said) < 500
