"""Tells the proxy from which place of the source a call comes; and lists the places that there are.

In the process under test :func:`install` adds a header to each request, so that its code stays
what it is. It is put there by :func:`environment`, for all of Python's processes of a command.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

# Processes under test load this by a link.
PROJECT = Path(__file__).resolve().parent.parent.parent
HARNESS = PROJECT / "harness"

HEADER = "X-Call-Site"

MOST = "PBS_MATRIX_TEST_MOST_SECONDS"
"""Environment variable: seconds that any answer may take, also of what waits for a build to end."""

CUSTOMIZE = "import callsites\ncallsites.install()\n"
"""The module ``sitecustomize``, which Python loads at its start."""

SENDING = "harness/engine.py:Client._send"
"""Every call goes through this function, which is no place of its own therefore."""

PASSING = frozenset(
    {
        *("harness/engine.py:_asked", "harness/engine.py:describe", "harness/engine.py:platform"),
        *("harness/engine.py:is_here", "harness/engine.py:can_mount", "harness/images.py:_remove"),
        *("harness/engine.py:info", "harness/engine.py:lacks_limits", "harness/engine.py:connect"),
        *("harness/engine.py:Client.__init__", "harness/images.py:Images._find"),
        *("harness/containers.py:put", "harness/containers.py:taken"),
        *("harness/containers.py:_remove", "harness/containers.py:_remove_all"),
        *("harness/images.py:Images._inspect", "harness/preparing.py:emulator"),
    }
)
"""Functions that ask on behalf of others; what becomes of an error is these others' business."""


def site(frame: FrameType | None) -> str:
    """The innermost place within ``harness/``, and who called it where it passes things on."""
    found: list[str] = []
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(f"{HARNESS}{os.sep}"):
            name = place(path, frame.f_code.co_qualname)
            if name != SENDING and found[-1:] != [name]:
                found.append(name)
            if name != SENDING and name not in PASSING:
                break
        frame = frame.f_back
    return " < ".join(found)


def place(path: str, qualname: str) -> str:
    """``harness/containers.py:Containers._started``; a function within one is part of that."""
    return f"{Path(path).relative_to(PROJECT).as_posix()}:{qualname.split('.<locals>')[0]}"


def environment(folder: Path) -> dict[str, str]:
    """Variables with which a command's calls have the header; ``folder`` is for two small files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(CUSTOMIZE)
    if not (folder / "callsites.py").exists():
        (folder / "callsites.py").symlink_to(Path(__file__).resolve())
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def install() -> None:
    """Have requests send the header, once it is loaded: most processes never do."""
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds requests' sessions where everybody does, and changes them."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "requests.sessions":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            _change(module.Session)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _change(session: Any) -> None:
    send = session.send

    def marked(self: Any, request: Any, **options: Any) -> Any:
        # Only an engine's: what goes to an index or to GitHub stays as it is.
        if type(self).__module__.startswith(("docker.", "harness.")):
            request.headers[HEADER] = site(sys._getframe(1)) or "elsewhere"
            if (most := os.environ.get(MOST)) and options.get("timeout"):
                options["timeout"] = min(float(most), options["timeout"])
        return send(self, request, **options)

    session.send = marked


ON_CLIENT = frozenset({"version", "info", "df", "ping", "events"})
ON_COLLECTION = {
    "containers": frozenset({"create", "run", "get", "list", "prune"}),
    "images": frozenset({"build", "get", "list", "pull", "load", "remove", "prune"}),
    "networks": frozenset({"create", "get", "list", "prune"}),
    "volumes": frozenset({"create", "get", "list", "prune"}),
}
ON_OBJECT = frozenset(
    {
        *(
            "attach_socket",
            "exec_run",
            "export",
            "get_archive",
            "kill",
            "logs",
            "pause",
            "put_archive",
        ),
        *("reload", "remove", "start", "stop", "tag", "unpause", "wait", "update", "diff", "top"),
    }
)
OBJECTS = frozenset({"container", "box", "image", "other"})
"""Names of variables that hold a container or an image."""


def in_source() -> dict[str, tuple[int, ...]]:
    """Every place in ``harness/`` that asks an engine something, with its lines."""
    found: dict[str, list[int]] = {}
    for path in sorted(HARNESS.rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for name, line in _asking(tree, ""):
            found.setdefault(place(str(path), name), []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def _asking(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        within = name
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = isinstance(node, ast.FunctionDef) or ".<locals>" in name
            within = name if inner else f"{name}.{child.name}".lstrip(".")
        elif isinstance(child, ast.Attribute) and _asks(child, called=_is_called(node, child)):
            yield name, child.lineno
        yield from _asking(child, within)


def _is_called(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.Call) and node.func is child


def _asks(attribute: ast.Attribute, *, called: bool) -> bool:
    """Whether ``X.attr`` is a call of the engine, by its name and the names before it."""
    owner, name = attribute.value, attribute.attr
    last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    before = owner.value if isinstance(owner, ast.Attribute) else None
    beyond = before.attr if isinstance(before, ast.Attribute) else getattr(before, "id", "")
    if last == "api":
        return name not in ("timeout", "base_url") and (beyond.endswith("client") or beyond == "")
    if last in ON_COLLECTION and beyond.endswith("client"):
        return name in ON_COLLECTION[last]
    if last.endswith("client"):
        return name in ON_CLIENT
    return called and last in OBJECTS and name in ON_OBJECT
