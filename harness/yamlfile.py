"""Reading a YAML file strictly, with a line number for everything in it.

Every scalar is read as text and typed by the model that receives it: a version such as ``3.10``
or an answer such as ``no`` then means what it says, instead of 3.1 and False. Duplicate keys are
an error, and a small file cannot grow into a huge one through aliases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness import inputs
from harness.errors import ConfigurationError

# Far above any matrix that a person writes; an alias bomb passes it at once.
MAX_NODES = 20_000
MAX_DEPTH = 50
MAX_BYTES = 256 << 10

Location = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A parsed file: plain lists, dicts and strings, and the line of each part."""

    path: Path
    data: Any
    lines: dict[Location, int] = field(repr=False)

    def place(self, location: Location) -> str:
        """``file:line`` of the innermost known part of a location."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return f"{self.path}:{self.lines[location[:end]]}"
        return str(self.path)


def read(path: Path) -> Document:
    """Parse a file, or raise :class:`ConfigurationError` naming file and line."""
    loader: _Loader | None = None
    try:
        raw = inputs.content(path, most=MAX_BYTES)
        text = raw.decode("utf-8")
        loader = _Loader(text, path)
        node = loader.get_single_node()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or error}",
            advice="Name an existing file, or leave the option out to use the project's own.",
        ) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}:{line}: not UTF-8 text (byte {error.start})", advice="Save it as UTF-8."
        ) from error
    # PyYAML lets the last three through for absurd numbers and nesting.
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        position = getattr(error, "position", None)
        where = str(path)
        if mark is not None:
            where += f":{mark.line + 1}"
        elif isinstance(position, int):
            where += f":{text.count(chr(10), 0, position) + 1}"
        elif loader is not None:
            where += f":{loader.line + 1}"
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigurationError(
            f"{where}: not valid YAML: {inputs.short(what)}", advice="Correct that line."
        ) from error
    if node is None:
        raise ConfigurationError(f"{path} is empty", advice="Start from the project's own file.")
    lines: dict[Location, int] = {}
    return Document(path=path, data=_plain(node, (), lines, path), lines=lines)


class _Loader(yaml.BaseLoader):
    """Ends where a file has more parts, or more levels, than any that a person writes."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self._path = path
        self._parts = self._level = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._parts += 1
        if self._parts > MAX_NODES or self._level > MAX_DEPTH:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise _too_much(self._path, event.start_mark.line + 1)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


def _too_much(path: Path, line: int) -> ConfigurationError:
    return ConfigurationError(
        f"{path}:{line}: the file unfolds into more than {MAX_NODES} parts or {MAX_DEPTH} levels",
        advice="Look for an alias (*name) that contains itself.",
    )


def _plain(node: Node, location: Location, lines: dict[Location, int], path: Path) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(location, line)
    if len(lines) > MAX_NODES or len(location) > MAX_DEPTH:
        raise _too_much(path, line)
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [
                _plain(child, (*location, index), lines, path)
                for index, child in enumerate(node.value)
            ]
        case MappingNode():
            result: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key_line = key_node.start_mark.line + 1
                if not isinstance(key_node, ScalarNode):
                    raise ConfigurationError(
                        f"{path}:{key_line}: a key must be plain text",
                        advice="Write the key without brackets or braces.",
                    )
                key = str(key_node.value)
                if key in result:
                    raise ConfigurationError(
                        f"{path}:{key_line}: the key {inputs.short(key)!r} is there twice "
                        f"(first at line {lines[(*location, key)]})",
                        advice="Merge the two, or rename one.",
                    )
                lines[(*location, key)] = key_line
                result[key] = _plain(value_node, (*location, key), lines, path)
            return result
    raise AssertionError(f"unknown YAML node {node!r}")
