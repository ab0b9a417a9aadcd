"""This process's memory: which file an address was mapped from.

Read from /proc/self/maps rather than asked of ``dladdr``, whose name of the main program is
whatever ``argv[0]`` says.
"""

from __future__ import annotations

from typing import NamedTuple


class Mapping(NamedTuple):
    """A stretch of addresses, its end excluded, and the file behind it ('' where there is none)."""

    start: int
    end: int
    path: str


def parse(text: str) -> list[Mapping]:
    """The mappings in the text of a ``maps`` file, in its order."""
    found = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        start, end = (int(number, 16) for number in fields[0].split("-"))
        path = fields[5] if len(fields) > 5 and fields[5].startswith("/") else ""
        found.append(Mapping(start, end, path))
    return found


def file_at(address: int) -> str:
    """Path of the file that an address of this process was mapped from, '' for none."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as stream:
        for mapping in parse(stream.read()):
            if mapping.start <= address < mapping.end:
                return mapping.path
    return ""
