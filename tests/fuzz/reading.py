"""One damaged or hostile input, through what reads it for ``check``, or an upstream archive."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from harness import contents, elf, tools
from harness.check import targets
from harness.errors import ArchiveError, TargetError
from harness.loader.objects import Object
from tests.fuzz import mutations

DIRECTORY = "directory or environment"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of an input."""

    kind: str
    outcome: str
    seconds: float
    size: int
    """In bytes."""
    placeless: str = ""
    """What was said without a place in the file."""


def elves(folder: Path) -> list[bytes]:
    """Libraries of a real compiler, of each class and byte order."""
    source = folder / "sample.c"
    source.write_text(mutations.SOURCE)
    found = []
    for triplet in mutations.TRIPLETS:
        output = folder / f"{triplet}.so"
        words = ("cc", "-target", triplet, "-s", *mutations.FLAGS, source, "-o", output)
        tools.run_zig(words, doing=f"compiling for {triplet}", directory=folder)
        found.append(output.read_bytes())
    return found


def chosen(random: Random) -> str:
    """A kind of input; those that cost most are rare."""
    if random.randrange(80) == 0:
        return random.choice(("wheel, bomb", DIRECTORY))
    kinds = [*mutations.KINDS]
    return random.choices(kinds, [mutations.KINDS[kind][0] for kind in kinds])[0]


def trial(kind: str, random: Random, elves: Sequence[bytes], folder: Path) -> Trial:
    """Make an input and read it; whatever is raised but the error for it is a finding."""
    if kind == DIRECTORY:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            return _read(kind, mutations.directory(random, Path(made), elves), 0)
    _, name, make = mutations.KINDS[kind]
    content = make(random, elves)
    path = folder / name
    path.write_bytes(content)
    return _read(kind, path, len(content))


def _read(kind: str, path: Path, size: int) -> Trial:
    if ".tar." in path.name:
        return _look(kind, path, size)
    start = time.perf_counter()
    try:
        found = targets.read(path)
        outcome = "read"
        if any(target.unreadable for target in found):
            outcome = "read, with unreadable files"
        elif not any(target.files.files for target in found):
            outcome = "read, without ELF files"
        for target in found:
            # Whatever is in them, it can be written for people and machines.
            words = [*target.files.files, *target.files.links.values(), *target.reached]
            for file in target.files.files.values():
                if isinstance(file, Object):
                    words += [*file.needed, file.rpath or "", file.runpath or "", file.soname or ""]
            "".join((*words, *target.unreadable.values(), *target.notes)).encode()
    except TargetError as error:
        str(error).encode()
        outcome = "refused"
    if path.is_file() and path.suffix == ".so":
        elf.read(path)
    return Trial(kind=kind, outcome=outcome, seconds=time.perf_counter() - start, size=size)


def _look(kind: str, path: Path, size: int) -> Trial:
    start = time.perf_counter()
    try:
        contents.CONTENTS.dump_json(contents.look(path, path.name))
        outcome = "read"
    except ArchiveError as error:
        error.problem.encode()
        outcome = "refused"
    return Trial(kind=kind, outcome=outcome, seconds=time.perf_counter() - start, size=size)
