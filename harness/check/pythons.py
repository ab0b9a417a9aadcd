"""Which CPythons a target is for, by its tags and by the names of its modules."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.check import builds
from harness.check.builds import Machine, Python
from harness.check.target import Target

DEFAULT_PYTHON = Python(13)
"""Of files that do not say what CPython they are for."""

SUFFIX = re.compile(r"\.cpython-3(\d+)([td]*)(?:-[\w-]+)?\.so")
TAG = re.compile(r"(?P<python>[\w.]+)-(?P<abi>[\w.]+)-(?P<platform>[\w.]+)")


def of(target: Target, machine: Machine, asked: Sequence[Python] = ()) -> tuple[Python, ...]:
    """The CPythons that a target is for, oldest first.

    By its tags; of files without any, by the names of its modules. What says nothing is for those
    that were asked for, else for :data:`DEFAULT_PYTHON`. With abi3 it is for every later one that
    there are builds of.
    """
    found: set[Python] = set()
    every = [Python(minor) for minor in range(builds.OLDEST, builds.NEWEST + 1)]
    there = [one for one in every if is_built(one, machine)]
    anything = False
    for tag in target.tags:
        if match := TAG.fullmatch(tag):
            first, abi = Python.parse(match["python"]), Python.parse(match["abi"])
            if abi:
                found.add(abi)
            elif match["abi"] == "abi3" and first:
                found.update(one for one in there if one >= first)
            elif match["abi"] == "none" and first:
                found.add(first)
            elif match["abi"] == "none" and match["python"].startswith(("py3", "py2.py3")):
                anything = True
    suffixes = [match for module in target.modules if (match := SUFFIX.fullmatch(module.suffix))]
    if anything or not target.tags:
        named = {Python(int(match[1]), match[2]) for match in suffixes}
        if named and not target.tags:
            found |= named
        elif not target.tags:
            found.update(asked or [DEFAULT_PYTHON])
        else:
            found.update(named or there)
    return tuple(sorted(one for one in found if one.minor >= builds.OLDEST))


def loads(python: Python, suffix: str) -> bool:
    """Whether a CPython imports a file with such a suffix; a debug build takes release ones."""
    if match := SUFFIX.fullmatch(suffix):
        return int(match[1]) == python.minor and match[2] in (
            python.flags,
            python.flags.replace("d", ""),
        )
    if suffix == ".abi3.so":
        # The free-threaded builds have no such ABI (PEP 703).
        return "t" not in python.flags
    return suffix == ".so"


def is_built(python: Python, machine: Machine) -> bool:
    """Whether there are builds of a CPython for a machine, as far as that is known."""
    if "d" in python.flags or not builds.is_known(machine):
        return True
    return builds.offered(python, machine)
