"""Adding an extension to a matrix file, with every other byte of it as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node

from harness import matrix as matrices
from harness import output, yamlfile
from harness.errors import ConfigurationError
from harness.matrix import Extension
from harness.outcome import Reason
from harness.results import Result
from harness.verdict import Status

AXES = ("link_model", "base", "platform", "uv")
"""By what an expectation picks the cells that fail, as few of them as will do, in this order."""


def entry(name: str, sample: Extension, about: str) -> str:
    """An extension as it stands under ``extensions:``."""
    lines = [f"  {name}:", f"    about: {_text(about)}"]
    for key in (*matrices.ORIGINS, "imports"):
        if value := getattr(sample, key):
            lines.append(f"    {key}: {_text(value)}")
    return "\n".join(lines) + "\n"


def expectations(name: str, results: Sequence[Result]) -> str:
    """What was observed to fail, as entries of ``expectations:``; empty where nothing failed."""
    tried = [result for result in results if result.outcome.was_tried]
    failed: dict[tuple[Reason, str | None], list[Result]] = {}
    for result in tried:
        if result.outcome is not Reason.IMPORTS:
            failed.setdefault((result.outcome, result.missing_library), []).append(result)
    blocks = []
    for (reason, library), group in failed.items():
        for picked in _picks(group, tried):
            lines = [f"  - extension: {name}"]
            lines += [f"    {axis}: [{', '.join(values)}]" for axis, values in picked.items()]
            lines.append(f"    expect: {reason}")
            if library is not None:
                lines.append(f"    library: {_text(_general(library, group))}")
            lines.append("    reason: Observed in a trial; say here why it is so")
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _general(library: str, group: Sequence[Result]) -> str:
    """The library of any CPython, where its name has the version."""
    (python, *more) = {result.python for result in group}
    return library if more else library.replace(python, "{python}")


def _picks(group: Sequence[Result], tried: Sequence[Result]) -> list[dict[str, list[str]]]:
    """Selections that together pick a group of results and no other that was tried.

    By link model alone if that will do, else by each base apart, and so on.
    """
    for count in range(1, len(AXES) + 1):
        axes = AXES[:count]
        found = _split(group, axes)
        if all(_is_exact(picked, group, tried) for picked in found):
            return found
    return [
        {axis: [str(getattr(result, axis))] for axis in AXES if axis != "link_model"}
        for result in group
    ]


def _split(group: Sequence[Result], axes: Sequence[str]) -> list[dict[str, list[str]]]:
    """One selection for each value of the axes after the first, with all of the first's."""
    first, *rest = axes
    parts: dict[tuple[str, ...], list[Result]] = {}
    for result in group:
        parts.setdefault(tuple(str(getattr(result, axis)) for axis in rest), []).append(result)
    return [
        {
            first: list(dict.fromkeys(str(getattr(result, first)) for result in part)),
            **{axis: [value] for axis, value in zip(rest, values, strict=True)},
        }
        for values, part in parts.items()
    ]


def _is_exact(
    picked: dict[str, list[str]], group: Sequence[Result], tried: Sequence[Result]
) -> bool:
    mine = {result.id for result in group}
    return all(
        result.id in mine
        for result in tried
        if all(str(getattr(result, axis)) in values for axis, values in picked.items())
    )


def add(path: Path, name: str, sample: Extension, about: str, results: Sequence[Result]) -> None:
    """Write an extension, and what was observed of it, into a matrix file.

    Raises :class:`ConfigurationError`, with the lines to add by hand, where the file already has
    the name or is written in a way that leaves no place for them; the file is then as it was.
    """
    before = yamlfile.read(path)
    text = path.read_text(encoding="utf-8")
    addition, rules = entry(name, sample, about), expectations(name, results)
    by_hand = f"Add by hand:\nextensions:\n{addition}expectations:\n{rules}"
    if name in before.data["extensions"]:
        raise ConfigurationError(
            f"{before.place(('extensions', name))}: there is an extension {name!r} already",
            advice="Remove it first, or change it by hand.",
        )
    if any(result.status is Status.MISPREDICTED for result in results):
        raise ConfigurationError(
            f"{name} was not added: some of its cells contradict the loader's rules",
            advice="That is a mistake of this project or news about the loader; report it.",
        )
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    places = _places(text)
    # From the end of the file to its beginning, so that line numbers stay right.
    if rules:
        if "expectations" in places:
            at, _ = places["expectations"]
            lines.insert(at + 1, f"{rules}\n")
        else:
            lines.append(f"\nexpectations:\n{rules}")
    if "extensions" not in places:
        raise ConfigurationError(
            f"{path}: 'extensions' is not written as a block of lines", advice=by_hand
        )
    lines.insert(places["extensions"][1], addition)
    changed = "".join(lines)
    wanted = yaml.safe_load(f"extensions:\n{addition}expectations:\n{rules or '  []'}")
    if not _is_addition(before.data, changed, wanted):
        raise ConfigurationError(
            f"{path} is written in a way that leaves no place for more", advice=by_hand
        )
    output.write(path, changed.encode())


def _places(text: str) -> dict[str, tuple[int, int]]:
    """Of each block of the file: the line (from 0) of its key, and the one after its last."""
    root = yaml.compose(text, Loader=yaml.BaseLoader)
    if not isinstance(root, MappingNode):
        return {}
    lines = text.splitlines()
    found = {}
    for key, value in root.value:
        if not isinstance(value, CollectionNode) or value.flow_style:
            continue
        end = _end(value)
        # The end of a folded text is where the next key begins: comments before that are its own.
        while end > 0 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        found[str(key.value)] = (key.start_mark.line, end)
    return found


def _end(node: Node) -> int:
    """The line (from 0) after a node's last."""
    if not isinstance(node, CollectionNode) or node.flow_style:
        return int(node.end_mark.line) + (1 if node.end_mark.column else 0)
    pairs = node.value if isinstance(node, MappingNode) else [(child,) for child in node.value]
    ends = (_end(part) for pair in pairs for part in pair)
    return max(ends, default=int(node.end_mark.line))


def _is_addition(before: Any, changed: str, wanted: Any) -> bool:
    """Whether a changed file holds what it held, and beside that what is wanted."""
    try:
        after = yaml.load(changed, Loader=yaml.BaseLoader)  # noqa: S506 - it knows only texts
    except yaml.YAMLError:
        return False
    expected = {
        **before,
        "extensions": {**before["extensions"], **_texts(wanted["extensions"])},
    }
    rules = [*_texts(wanted["expectations"]), *before.get("expectations", [])]
    if rules:
        expected["expectations"] = rules
    return bool(after == expected)


def _texts(value: Any) -> Any:
    """Plain data with every scalar as text, as the file is read."""
    if isinstance(value, dict):
        return {key: _texts(part) for key, part in value.items()}
    return [_texts(part) for part in value] if isinstance(value, list) else str(value)


def _text(value: str) -> str:
    """A text as YAML, in quotes: JSON's strings are YAML's."""
    return json.dumps(value, ensure_ascii=False)
