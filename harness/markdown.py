"""Markdown as GitHub shows it, around text that anybody may have written.

Names of files in wheels, messages of exceptions and what a command prints go into code, where
nothing is markup, a mention or a link, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.why import printable

SHORT = 200
"""Characters of what stands in a sentence or a table."""

LONG = 4000
"""Characters of what has a block of its own."""

_PASSWORD = re.compile(r"(?<=://)[^/\s]+(?=@)")
_RUN = re.compile("`+")
_PLAIN = re.compile(r"[0-9][0-9A-Za-z.:+-]*")
"""Dates and the like. What begins with a letter may be a link by itself, such as www.example."""


def clipped(text: str, limit: int, *, lines: bool = False) -> str:
    """A text that does nothing to a terminal, in one line, and how much more of it there is.

    With ``lines``, in as many as it has.
    """
    size, cut = 0, 0
    for cut, character in enumerate(text):  # noqa: B007 - it is used behind
        size += 1 if lines and character == "\n" else len(printable(character))
        if size > limit:
            break
    else:
        cut = len(text)
    shown = text[:cut]
    shown = "\n".join(map(printable, shown.split("\n"))) if lines else printable(shown)
    more = len(text) - cut
    return f"{shown}… {more} more character{'s' * (more > 1)}" if more else shown


def without_passwords(text: str) -> str:
    """A text in whose URLs nobody's password for a mirror is left."""
    return _PASSWORD.sub("***", text)


def code(text: str, limit: int = SHORT) -> str:
    r"""Some words in a line, as code; ``|``, which ends a table's cell even there, as ``\x7c``."""
    shown = clipped(without_passwords(text), limit).replace("|", r"\x7c")
    if not shown.strip():
        return "(nothing)"
    fence = "`" * (_longest_run(shown) + 1)
    # One blank on both sides is no part of it.
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def word(text: str) -> str:
    """A date or a number as it is, and as code whatever it is instead."""
    return text if len(text) <= SHORT and _PLAIN.fullmatch(text) else code(text)


def block(text: str, limit: int = LONG) -> str:
    """Lines of a text, as a block of code."""
    shown = clipped(without_passwords(text).rstrip("\n"), limit, lines=True)
    fence = "`" * max(3, _longest_run(shown) + 1)
    return f"{fence}text\n{shown}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, content: str) -> str:
    """What is folded away until somebody asks for it; ``summary`` is plain text of our own."""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def _longest_run(text: str) -> int:
    return max(map(len, _RUN.findall(text)), default=0)
