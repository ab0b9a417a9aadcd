"""Which extension modules the import of a package reaches, without running it.

By the text of its import statements, found by regular expressions: generated modules are too large
for a parser in the time that a whole check may take. What stands in a function, a class, a ``try``
or under ``if TYPE_CHECKING`` is left out, since whether it is run cannot be seen; of any other
``if`` both branches count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import pairwise

Source = Callable[[], bytes]
"""Reads a module's source."""

INIT = ".__init__"
"""What a package's own module is called here, after the package's name."""

MAX_MODULES = 10_000
"""Sources read; the largest packages have some thousand that their import reaches."""

MAX_BYTES = 64 << 20
"""Of all sources together."""

MAX_DEPTH = 20
"""Blocks within each other; CPython itself refuses more than a hundred indentations."""

MAX_STATEMENTS = 100_000
"""Looked at in all sources together; what stands after their last imports is none of them."""

MAX_NAME = 500
"""Characters of a module's name, or of a line before the word ``import``."""

MAX_NAMES = 1000
"""In one statement."""

WORD = re.compile(rb"import\b")
BEFORE = re.compile(rb"(?:.*[;:])?[ ]*(?:from\b[^#'\"]*)?")
"""What a line has before the word, where it may be an import rather than prose."""

# Atomic groups, since Python 3.11.2, which is Debian 12's, gets a possessive repetition of a group
# wrong: https://github.com/python/cpython/issues/101955.
STRING_OR_COMMENT = re.compile(
    rb'"""(?>(?:[^"\\]++|\\.|"(?!""))*)(?:"""|\Z)|\'\'\'(?>(?:[^\'\\]++|\\.|\'(?!\'\'))*)(?:\'\'\'|\Z)'
    rb'|"(?>(?:[^"\\\n]++|\\.)*)"?|\'(?>(?:[^\'\\\n]++|\\.)*)\'?|#[^\n]*+',
    re.DOTALL,
)
BRACKETS = re.compile(rb"^[ ]*(?:from\b[^\n(]*\bimport|import)[ ]*\([^)]*", re.MULTILINE)

SKIPPED = re.compile(
    rb"(?:async +)?def\b|class\b|@|(?P<try>(?:try|except|finally)\b)"
    rb"|(?:el)?if\b[^\n]*?(?:\bTYPE_CHECKING\b|\b__name__ *==)"
)
"""How a block begins that is left out."""

BLOCK = re.compile(rb"(?:if|elif|else|with|for|while|async|match|case)\b")
"""How one begins that is looked into."""

COLON = re.compile(rb": *\n")

IMPORT = re.compile(rb"import +(?P<names>[^;]+)")
FROM = re.compile(
    rb"from(?P<dots> *\.[. ]*| +)(?P<module>[\w.\x80-\xff]*) *\bimport\b *(?P<names>\([^()]*|[^;]+)"
)


def reached(
    starts: Iterable[str], sources: Mapping[str, Source], extensions: Container[str]
) -> tuple[str, ...]:
    """Names of the extension modules that importing some modules loads, in that order.

    ``sources`` and ``extensions`` are by name; a package's own are under ``NAME.__init__``, as they
    lie there. As in Python, a package goes before a module, and an extension before a source.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    left = [iter([*starts])]
    bytes_left, modules_left, statements = MAX_BYTES, MAX_MODULES, iter(range(MAX_STATEMENTS))
    # A stack of iterators rather than recursion: chains of imports may be longer than Python's.
    while left:
        name = next(left[-1], None)
        if name is None:
            left.pop()
            continue
        if name in seen:
            continue
        parent = name.rpartition(".")[0]
        if parent and parent not in seen:
            # A package is imported before what is in it.
            left.append(iter((parent, name)))
            continue
        seen.add(name)
        own = next(
            (n for n in (name + INIT, name) if n in extensions or n in sources),
            None,
        )
        if own is None:
            continue
        if own in extensions:
            found[own] = None
        elif modules_left > 0 and bytes_left > 0:
            source = sources[own]()
            modules_left -= 1
            bytes_left -= len(source)
            package = name if own.endswith(INIT) else parent
            left.append(iter([*_imported(source, package, statements)]))
    return tuple(found)


def _imported(source: bytes, package: str, left: Iterator[int]) -> Iterator[str]:
    """Names that a module's import statements may lead to, in order; not all are modules."""
    for statement in _statements(_prepared(source), 0, left):
        if found := IMPORT.match(statement):
            start: str | None = ""
        elif found := FROM.match(statement):
            start = _resolved(found["dots"], _text(found["module"]), package)
        else:
            continue
        if start is None or len(start) > MAX_NAME:
            continue
        if start:
            yield start
        for name in found["names"].lstrip(b"(").split(b",", MAX_NAMES)[:MAX_NAMES]:
            if (plain := _text(name.split(b" as ")[0])) and len(plain) <= MAX_NAME:
                yield f"{start}.{plain}" if start else plain


def _resolved(dots: bytes, module: str, package: str) -> str | None:
    """The package or module that ``from`` names; None where it is beyond the top."""
    level = dots.count(b".")
    if not level:
        return module
    parts = package.split(".") if package else []
    if level > len(parts):
        return None
    start = parts[: len(parts) - level + 1]
    return ".".join([*start, module] if module else start)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace").strip(" \t\r\f\n\\()")


def _prepared(source: bytes) -> bytes:
    """A source up to its last import, without strings and comments, each import on one line."""
    source = source.replace(b"\r\n", b"\n").replace(b"\t", b" " * 8)
    for word in reversed([*WORD.finditer(source)]):
        nearest = max(0, word.start() - MAX_NAME)
        start = source.rfind(b"\n", nearest, word.start()) + 1
        if (start or not nearest) and BEFORE.fullmatch(source, start, word.start()):
            break
    else:
        return b""
    end = source.find(b"\n", word.end())
    # Names in brackets go on for as long as the bracket does.
    bracket = source.find(b"(", word.end(), end if end >= 0 else len(source))
    if bracket >= 0:
        close = source.find(b")", bracket)
        end = source.find(b"\n", close) if close >= 0 else -1
    while end > 0 and source[end - 1 : end] == b"\\":
        end = source.find(b"\n", end + 1)
    text = source[: end if end >= 0 else len(source)]
    text = _without_strings(text).replace(b"\\\n", b" ")
    return BRACKETS.sub(lambda found: found[0].replace(b"\n", b" "), text)


def _without_strings(text: bytes) -> bytes:
    """Without what could look like statements and is none."""
    return STRING_OR_COMMENT.sub(lambda found: b"" if found[0][:1] == b"#" else b"0", text)


def _statements(text: bytes, depth: int, left: Iterator[int]) -> Iterator[bytes]:
    """Import statements of a block, and of the blocks in it."""
    first = re.search(rb"^( *)[^\s]", text, re.MULTILINE)
    if first is None or depth > MAX_DEPTH:
        return
    heads = re.finditer(rb"^ {0,%d}[^\s)\]}]" % len(first[1]), text, re.MULTILINE)
    starts = [head.start() for head in heads]
    tried = False
    for start, end in pairwise([*starts, len(text)]):
        if next(left, None) is None:
            return
        newline = text.find(b"\n", start, end)
        line = text[start : newline if newline >= 0 else end].strip(b" ")
        if found := SKIPPED.match(line):
            tried = found["try"] is not None
            continue
        if BLOCK.match(line):
            if tried and line.startswith(b"else"):
                continue
            # The condition may go over several lines.
            head = COLON.search(text, start, end)
            if head and (b":" not in line or line.endswith(b":")):
                yield from _statements(text[head.end() : end], depth + 1, left)
            line = line.partition(b":")[2]
        tried = False
        for statement in line.split(b";"):
            yield statement.strip()
