"""The loader's own account of what it did: its LD_DEBUG output, cut down to one library."""

from __future__ import annotations

import re

VARIABLES = {"LD_DEBUG": "libs,files"}
"""What makes glibc's loader tell; musl's has nothing like it."""

HWCAPS = "/glibc-hwcaps/"

MAX_LINES = 60
"""A search that looks into more places than that is cut in the middle."""

LINE = re.compile(r"^ *(?P<process>\d+):\t(?P<text>.*)$")
"""Each begins with the number of the process, of which there may be several."""


def about(output: str, library: str) -> tuple[str, ...]:
    """The lines about a library: who needs it, and each place where it was looked for.

    ``output`` is what a process and its children wrote to standard error; what it wrote beside is
    left out, and so are the subdirectories of ``glibc-hwcaps``, three for each directory.
    Empty where the loader told nothing, or was never asked for that library.
    """
    kept: dict[str, None] = {}
    searching: set[str] = set()
    for line in output.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        process, text = match["process"], match["text"].strip()
        if text.startswith(f"file={library} ["):
            # "needed by", "dynamically loaded by", "generating link map": the last says nothing.
            if "generating link map" not in text:
                kept[text] = None
        elif text.startswith("find library="):
            searching.discard(process)
            if text.startswith(f"find library={library} ["):
                searching.add(process)
                kept[text] = None
        elif process in searching:
            if place := _place(text):
                kept[place] = None
            elif text and HWCAPS not in text:
                searching.discard(process)
    lines = tuple(kept)
    if len(lines) <= MAX_LINES:
        return lines
    half = MAX_LINES // 2
    left_out = len(lines) - 2 * half
    return (*lines[:half], f"({left_out} lines left out)", *lines[-half:])


def _place(text: str) -> str | None:
    """A line that says where the loader looks, or None."""
    if text.startswith(("search cache=", "trying file=")):
        return None if HWCAPS in text else text
    if not text.startswith("search path="):
        return None
    directories, tab, source = text.removeprefix("search path=").partition("\t")
    plain = (part for part in directories.split(":") if HWCAPS not in part)
    return f"search path={':'.join(plain)}  {source.strip()}".rstrip() if tab else text
