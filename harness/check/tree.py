"""Directories, environments and single libraries, as what is to be checked.

Links are kept as links. One that leads out of a directory is left out, since what it leads to would
not be in a wheel of it; an environment may be made of such links, as uv can make it.
"""

from __future__ import annotations

import csv
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness import elf
from harness.check.target import (
    MAX_SOURCE,
    SCRIPTS,
    SITE,
    VENV,
    Draft,
    Target,
    described,
    may_be_elf,
    place,
)
from harness.errors import TargetError
from harness.loader.files import Files
from harness.loader.objects import Object

MAX_ENTRIES = 1_000_000
"""Files of a directory. Large environments have some hundred thousand."""

MAX_RECORD = 32 << 20
"""Bytes of a RECORD."""

MAX_FOUND = 1000
"""Libraries that a single one is followed to."""

INTERPRETER = re.compile(r"(?:python|pypy|graalpy)[\d.]*t?")
"""How an environment's own interpreter is called, which is nobody's distribution."""


def is_environment(path: Path) -> bool:
    """Whether a directory is a virtual environment."""
    return (path / "pyvenv.cfg").is_file()


def environment(path: Path) -> tuple[Target, ...]:
    """One target for each distribution, by its RECORD, and one for what belongs to none."""
    sites = sorted(
        {*path.glob("lib/python3*/site-packages"), *path.glob("lib/pypy*/site-packages")}
    )
    if not sites:
        raise TargetError(
            f"{path} is an environment without a lib/python3.*/site-packages",
            advice="Name the directory that the packages are in.",
        )
    site = sites[0]
    roots = [(site, SITE), (path / "bin", SCRIPTS), (path, VENV)]
    drafts = {"": Draft(f"{path} (files of no distribution)")}
    owners: dict[str, str] = {}
    for info in sorted(site.glob("*.dist-info")):
        drafts[info.name] = draft = Draft(info.name.removesuffix(".dist-info").replace("-", " ", 1))
        draft.tags = _tags(info / "WHEEL")
        for name in _record(info / "RECORD"):
            owners[posixpath.normpath(posixpath.join(SITE, name))] = info.name
    seen: set[str] = set()
    for root, start in roots:
        for entry in _walk(root, skip=() if root is not path else ("lib", "lib64", "bin")):
            target = _text(f"{start}/{entry.name}")
            if start == SCRIPTS and INTERPRETER.fullmatch(entry.name):
                continue
            if target not in seen:
                seen.add(target)
                # RECORD counts the directories of the real environment, which are as many.
                _add(drafts[owners.get(target, "")], target, entry, root, follow=True)
    everything = Files()
    for draft in drafts.values():
        everything |= draft.files
    targets = [draft.target(others=everything) for draft in drafts.values()]
    rest = targets[0]
    return tuple(targets if rest.files.files or rest.unreadable else targets[1:])


def directory(path: Path) -> Target:
    """An unpacked wheel, or any directory that would be put on ``sys.path``."""
    draft = Draft(str(path))
    for info in sorted(path.glob("*.dist-info")):
        draft.tags |= _tags(info / "WHEEL")
    for entry in _walk(path):
        target = place(entry.name)
        if target is None:
            draft.note(f"{_text(entry.name)!r} is no name that an installer would take; left out")
        else:
            _add(draft, _text(target), entry, path, follow=False)
    return draft.target()


def library(path: Path) -> Target:
    """A single file, and what it finds by search paths that start at its own directory."""
    draft, beside = Draft(str(path)), Draft("")
    with _opened(path) as stream:
        if elf.read_object(stream) is None:
            raise TargetError(
                f"{path} is neither a wheel nor an ELF file: {_kind(stream)}",
                advice="Name a wheel (.whl), a directory, an environment or a library (.so).",
            )
        draft.add_file(_beside(path.name), stream)
    left = [(_beside(path.name), found) for found in draft.files.files.values()]
    # In breadth: what it needs, and what that needs, where they lie relative to it.
    directories: list[str] = []
    for target, found in left:
        if not isinstance(found, Object) or len(left) > MAX_FOUND:
            continue
        directories += _own_directories(found, posixpath.dirname(target))
        for name in found.needed:
            for folder in dict.fromkeys(directories):
                place_of = posixpath.normpath(f"{folder}/{name}")
                if "/" in name or place_of in beside.files.files or place_of == left[0][0]:
                    continue
                # Two directories above the model's are as many above the file's own.
                real = path.absolute().parent / posixpath.relpath(place_of, SITE)
                if real.is_file():
                    with _opened(real) as stream:
                        beside.add_file(place_of, stream)
                    left += [(place_of, o) for p, o in beside.files.files.items() if p == place_of]
    return draft.target(others=beside.files)


def _beside(name: str) -> str:
    return f"{SITE}/{_text(name)}"


def _own_directories(found: Object, origin: str) -> Iterator[str]:
    """The directories of its search path that are relative to it, in the model."""
    for text in (found.rpath, found.runpath):
        for part in (text or "").split(":")[:100]:
            for token in ("$ORIGIN", "${ORIGIN}"):
                if part == token or part.startswith(f"{token}/"):
                    yield posixpath.normpath(origin + part[len(token) :])


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A file or link of a directory."""

    name: str
    """Relative to the directory, as the system has it."""
    path: str
    link: str | None


def _walk(root: Path, skip: tuple[str, ...] = ()) -> Iterator[_Entry]:
    """What a directory holds, in order; links to directories are not followed."""
    count = 0
    # A stack, since directories may be nested deeper than Python's own.
    left = [(os.fspath(root), "")]
    while left:
        folder, prefix = left.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        below = []
        for entry in entries:
            count += 1
            if count > MAX_ENTRIES:
                raise TargetError(
                    f"{root} has more than {MAX_ENTRIES} files",
                    advice="Name the directory of one package.",
                )
            if not prefix and entry.name in skip:
                continue
            name = prefix + entry.name
            if entry.is_symlink():
                yield _Entry(name=name, path=entry.path, link=str(Path(entry.path).readlink()))
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in ("__pycache__", ".git"):
                    below.append((entry.path, f"{name}/"))
            elif entry.is_file(follow_symlinks=False):
                yield _Entry(name=name, path=entry.path, link=None)
        left += reversed(below)


def _add(draft: Draft, target: str, entry: _Entry, root: Path, *, follow: bool) -> None:
    path = Path(entry.path)
    if entry.link is not None:
        real = os.path.realpath(path)
        top = os.path.realpath(root)
        if real == top or real.startswith(top + os.sep):
            start = os.path.realpath(path.parent)
            link = os.path.relpath(real, start) if entry.link.startswith("/") else entry.link
            draft.add_link(target, _text(link))
            return
        if not follow or not path.is_file():
            if may_be_elf(entry.name) and not follow:
                draft.note(
                    f"{_text(entry.name)!r} is a link that leads out of it or nowhere; left out"
                )
            return
    if target.endswith(".py"):
        draft.add_source(target, lambda: _content(path, MAX_SOURCE))
    elif may_be_elf(entry.name):
        try:
            with _opened(path) as stream:
                draft.add_file(target, stream)
        except TargetError as error:
            draft.add_unreadable(target, error.problem)


def _opened(path: Path) -> IO[bytes]:
    """A regular file, opened; anything else could hold a reader for ever."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TargetError(
            f"{path} cannot be opened: {error.strerror}", advice="Check its permissions."
        ) from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise TargetError(f"{path} is no regular file", advice="Name a file or a directory.")
    return open(number, "rb")  # noqa: PTH123 - it is open already


def _content(path: Path, limit: int) -> bytes:
    """A file's bytes; none where there are more than a limit, or none to be had."""
    try:
        with _opened(path) as stream:
            found = stream.read(limit + 1)
    except (TargetError, OSError):
        return b""
    return found if len(found) <= limit else b""


def _record(path: Path) -> Iterator[str]:
    """Names of a distribution's files, relative to site-packages."""
    text = _content(path, MAX_RECORD).decode("utf-8", "backslashreplace")
    try:
        for row in csv.reader(text.splitlines()):
            if row:
                yield row[0]
    except csv.Error:
        return


def _tags(path: Path) -> frozenset[str]:
    """A wheel's tags, as its WHEEL file has them."""
    text = _content(path, 1 << 16).decode("utf-8", "replace")
    return frozenset(re.findall(r"^Tag:[ ]*([\w.-]+)[ ]*$", text, re.MULTILINE))


def _kind(stream: IO[bytes]) -> str:
    stream.seek(0)
    return described(stream.read(64))


def _text(name: str) -> str:
    return elf.decoded(os.fsencode(name))
