"""Reading YAML strictly: everything is text, has a line, and cannot blow up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import yamlfile
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def refused(file: Path) -> ConfigurationError:
    """The error for a file, which must name it, say what to do, and have the exit code."""
    with pytest.raises(ConfigurationError) as caught:
        yamlfile.read(file)
    error = caught.value
    assert int(error.exit_code) == 10
    assert str(file) in error.problem
    assert error.advice
    assert error.advice in str(error)
    return error


@pytest.mark.parametrize("text", ["3.10", "no", "1e3", "0x10", "~", "2025-05-17", "true", "0.7.5"])
def test_a_scalar_stays_the_text_that_was_written(file: Path, text: str) -> None:
    file.write_text(f"key: {text}\n")
    assert yamlfile.read(file).data == {"key": text}


def test_a_python_tag_builds_no_object(file: Path) -> None:
    file.write_text("key: !!python/object/apply:os.getpid []\n")
    assert yamlfile.read(file).data == {"key": []}


def test_a_byte_order_mark_is_no_part_of_the_first_key(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfkey: value\n")
    assert yamlfile.read(file).data == {"key": "value"}


def test_an_alias_repeats_what_its_anchor_names(file: Path) -> None:
    file.write_text("a: &list [x, y]\nb: *list\n")
    assert yamlfile.read(file).data == {"a": ["x", "y"], "b": ["x", "y"]}


def test_every_part_of_a_document_has_the_line_where_it_is_written(file: Path) -> None:
    file.write_text("# a comment\na:\n  - x\n  - k: v\n\nb: z\n")
    document = yamlfile.read(file)
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("a", 0): 3,
        ("a", 1): 4,
        ("a", 1, "k"): 4,
        ("b",): 6,
    }


@pytest.mark.parametrize(
    ("location", "line"),
    [((), 1), (("a",), 1), (("a", 1), 3), (("a", 1, "absent", 4), 3), (("absent",), 1)],
)
def test_the_place_of_something_absent_is_that_of_what_should_hold_it(
    file: Path, location: yamlfile.Location, line: int
) -> None:
    file.write_text("a:\n  - x\n  - y\n")
    assert yamlfile.read(file).place(location) == f"{file}:{line}"


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: 1\nb: [1\n", 3, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "'\\t'"),
        ("a: 1\nb: 2: 3\n", 2, "mapping values are not allowed here"),
        ("a: 1\nb: *nowhere\n", 2, "undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
        ("a: 1\nb: 'open\n", 3, "unexpected end of stream"),
        ("a: 1\nb: @x\n", 2, "'@'"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is there twice (first at line 1)"),
        ("a:\n  k: 1\n  k: 2\n", 3, "'k' is there twice (first at line 2)"),
        ("a: {k: 1,\n k: 2}\n", 2, "'k' is there twice (first at line 1)"),
        ("a: 1\n[b]: 2\n", 2, "a key must be plain text"),
        ("a: 1\n? {b: 1}\n: 2\n", 2, "a key must be plain text"),
        ("a: 1\nb: &self [*self]\n", 2, "50 levels"),
        ("a: 1\nb: &self {c: *self}\n", 2, "50 levels"),
        ("a: 1\nb: " + "[" * 60 + "]" * 60 + "\n", 2, "50 levels"),
        (BOMB, 1, f"{yamlfile.MAX_NODES} parts"),
    ],
    ids=[
        "open bracket",
        "tab",
        "two colons",
        "undefined alias",
        "two documents",
        "open quote",
        "reserved character",
        "duplicate key",
        "duplicate nested key",
        "duplicate key in braces",
        "list as key",
        "mapping as key",
        "list that contains itself",
        "mapping that contains itself",
        "60 levels",
        "alias bomb",
    ],
)
def test_a_file_that_is_no_strict_yaml_is_refused_with_its_line(
    file: Path, text: str, line: int, found: str
) -> None:
    file.write_text(text)
    error = refused(file)
    assert error.problem.startswith(f"{file}:{line}: ")
    assert found in error.problem


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_too_deep_for_the_parser_is_refused(file: Path, opening: str) -> None:
    file.write_text(opening * 600)
    assert f"{file}:1: the file unfolds into more than" in refused(file).problem


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"key: \xff\n", "not UTF-8 text (byte 5)"),
        (b"a: b\nkey: \xff\n", ":2: not UTF-8 text"),
        ("key: Ä\n".encode("utf-16"), "not UTF-8"),
        (b"a: " + b"x" * yamlfile.MAX_BYTES, f"more than {yamlfile.MAX_BYTES} bytes"),
        (b"key: a\x00b\n", "#x0000"),
    ],
    ids=["empty", "comment", "latin", "second line", "utf-16", "too large", "control character"],
)
def test_a_file_that_is_no_text_of_a_sensible_size_is_refused(
    file: Path, content: bytes, found: str
) -> None:
    file.write_bytes(content)
    assert found in refused(file).problem


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: " + "[" * 51 + "]" * 51, "- x\n" * (yamlfile.MAX_NODES + 1)]
)
def test_what_no_person_has_written_is_refused_with_its_line(file: Path, text: str) -> None:
    """Before all of it has been read, which takes longer than anybody waits."""
    file.write_text(f"# a comment\n{text}")
    problem = refused(file).problem
    assert "unfolds into more than" in problem
    assert problem.startswith((f"{file}:2: ", f"{file}:{yamlfile.MAX_NODES + 1}: "))


def test_a_missing_file_is_refused(file: Path) -> None:
    assert "No such file or directory" in refused(file).problem


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "Is a directory" in refused(tmp_path).problem


def test_a_control_character_is_refused_with_its_line(file: Path) -> None:
    file.write_bytes(b"a: 1\nb: a\x01b\n")
    assert refused(file).problem.startswith(f"{file}:2: ")


@pytest.mark.parametrize(
    "text",
    [
        'a: 1\nb: "\\UFFFFFFFF"\n',
        'a: 1\nb: "\\U00110000"\n',
        "%YAML 1." + "9" * 5000 + "\n---\na: 1\n",
    ],
    ids=["escape beyond C's int", "escape beyond Unicode", "absurd version directive"],
)
def test_a_number_that_the_parser_cannot_hold_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert "not valid YAML" in refused(file).problem
