"""Changes to text files: what disks, editors, merges and strangers make of them, and worse."""

from __future__ import annotations

import copy
import gzip
import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

PIECES: dict[str, tuple[bytes, ...]] = {
    "NUL": (b"\0", b"\0" * 512),
    "control": (b"\x01", b"\x07", b"\x08", b"\x0b", b"\x0c", b"\x1b[2J", b"\x1b]0;x\x07", b"\x7f"),
    "C1": ("\x85".encode(), "\x9b31m".encode()),
    "high": (
        b"\x80",
        b"\xc3",
        b"\xff",
        b"\xfe\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    "beyond ASCII": (
        "ä".encode(),
        "\u2028".encode(),
        "\u202e".encode(),
        "😀".encode(),
        "\ufffe".encode(),
    ),
    "mark": (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"),
    "new line": (b"\r", b"\r\n", b"\n", b"\n\n\n", b"\n\r"),
    "space": (b" ", b"\t", b"        ", b"\xc2\xa0", b"\x0c"),
    "quote": (b'"', b"'", b'""', b"`", b'\\"'),
    "bracket": (b"{", b"}", b"[", b"]", b"(", b"{}", b"[]", b"}{"),
    "punctuation": (b":", b": ", b",", b",,", b"- ", b"? ", b"#", b" #", b"\\", b";", b"="),
    "YAML": (
        b"&a ",
        b"*a ",
        b"!!python/object:os.system ",
        b"!x ",
        b"<<: ",
        b"| ",
        b"> ",
        b"%",
        b"@",
        b"---\n",
        b"...\n",
    ),
    "digit": (b"0", b"9", b"-", b"1e9", b"."),
    "letter": (b"x", b"A", b"null", b"true"),
    "escape": (b"\\ud800", b"\\u0000", b"\\u001b[2J", b"\\U00110000", b"\\x", b"\\u12", b"\\"),
}
"""What is put into a file, by class of bytes."""

NUMBERS = (
    *(b"-1", b"0", b"99999999999999999999", b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity"),
    *(b"1e-999", b"0x10", b"1_000", b"01", b"+1", b".5", b"1.", b"9" * 400, b"9" * 5000),
    *(b"1" + b"0" * 100_000, b"0." + b"1" * 5000, b"true", b'"1"'),
)

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1 << 63, 1 << 70, float("nan"), float("inf"), 10**400),
    *(
        "",
        " ",
        "x",
        "null",
        "latest",
        "latest-99999999999",
        "..",
        "20250517..20250517",
        "*",
        "[!",
        "~",
    ),
    *("/etc/passwd", "../../x", "a\nb", "\x1b[2J", "\ud800", "\0", "${{ x }}", "<script>", "@you"),
    *([], {}, [[]], [None], {"": ""}, {"x": {"x": {}}}, ["x"] * 300, "x" * 70_000),
)

BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)
)

DOCUMENTS: tuple[bytes, ...] = (
    *(b"", b" ", b"\n", b"\0", b"\0" * 5000, b"# nothing\n", b"null", b"[]", b"{}", b'""', b"0"),
    *(b"---\n---\n", b"<!DOCTYPE html><html><title>Sign in</title></html>\n", b"%PDF-1.7\n"),
    *(b"\x7fELF\2\1\1" + bytes(57), b"PK\5\6" + bytes(18), b"<<<<<<< HEAD\n{}\n=======\n", BOMB),
    *(
        b"x: &x [*x]\n",
        b"x: &x {<<: *x}\n",
        b"? [a]\n: b\n",
        b"!!python/object/apply:os.system [x]\n",
    ),
    *(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"404: Not Found"),
    *(b"- " * 5000, b"[" * 100_000, b'{"a":' * 100_000, b"a: " * 5000, b"x" * 300_000),
    *(
        b"x\n" * 100_000,
        b"[" + b"0," * 100_000 + b"0]",
        b'"' + b"\\" * 99_999,
        b"key: |\n" + b" x\n" * 50_000,
    ),
)
"""In place of the whole."""

_STRUCTURAL = re.compile(rb'["\'{}\[\],:\n\\0-9#-]')
_NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_QUOTED = re.compile(rb'"(?:[^"\\\n]|\\.)*"')
_VALUE = re.compile(rb'(?<=: )("(?:[^"\\\n]|\\.)*"|[\w.+-]+|\[[^\]\n]*\]|\{[^}\n]*\})')

Change = Callable[[Random, bytes, Sequence[bytes]], bytes]


def _place(random: Random, content: bytes) -> int:
    """Somewhere; as often as not at a byte that means something."""
    at = random.randrange(len(content) + 1)
    found = _STRUCTURAL.search(content, at) if random.randrange(2) else None
    return found.start() + random.randrange(2) if found else at


def _piece(random: Random) -> bytes:
    return random.choice(PIECES[random.choice([*PIECES])])


def _found(random: Random, pattern: re.Pattern[bytes], content: bytes) -> re.Match[bytes] | None:
    """One of the places that look like that, not too far from a random one."""
    at = random.randrange(len(content) + 1)
    return pattern.search(content, at) or pattern.search(content)


def _instead(content: bytes, found: re.Match[bytes] | None, new: bytes) -> bytes:
    return content[: found.start()] + new + content[found.end() :] if found else content + new


def cut_short(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """As by a full disk, or a program that was killed; what follows may have been appended."""
    short = content[: _place(random, content)]
    return short + content if random.randrange(6) == 0 else short


def put_in(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, content)
    return content[:at] + _piece(random) + content[at:]


def put_over(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at, piece = _place(random, content), _piece(random)
    return content[:at] + piece + content[at + len(piece) :]


def taken_out(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, content)
    return content[:at] + content[at + random.choice((1, 1, 2, 5, 80)) :]


def flipped(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 8)) if data else 0):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def encoded(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    text = content.decode("utf-8", "replace")
    names = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp500")
    if random.randrange(8) == 0:
        return gzip.compress(content, 1, mtime=0)
    return text.encode(random.choice(names), "replace")


def other_lines(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Ends of lines, tabs, lines swapped, repeated, left out."""
    lines = content.split(b"\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(7):
        case 0:
            return content.replace(b"\n", random.choice((b"\r", b"\r\n", b"\x0b", b" ", b"")))
        case 1:
            return content.replace(b"  ", b"\t", random.choice((1, 3, -1)))
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case 3:
            lines[one:one] = [lines[other]] * random.choice((1, 1, 2, 200))
        case 4:
            del lines[one]
        case 5:
            lines[one] = b" " * random.choice((1, 2, 60)) + lines[one]
        case _:
            lines[one] = lines[one].lstrip()
    return b"\n".join(lines)


def long_lines(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    piece = random.choice((b"x", b" ", b"\\", b'"', b"[", b"\n", "ä".encode(), b"9", b"\0"))
    at = _place(random, content)
    return content[:at] + piece * random.choice((1 << 12, 1 << 17, 1 << 20)) + content[at:]


def nested(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    opening, closing = random.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b"- ", b""), (b"{a: ", b"}"))
    )
    deep = random.choice((45, 52, 150, 250, 1100, 20_000))
    new = opening * deep + random.choice((b"0" + closing * deep, b""))
    return _instead(content, _found(random, _VALUE, content), new)


def numbers(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return _instead(content, _found(random, _NUMBER, content), random.choice(NUMBERS))


def other_texts(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A quoted text, or a value, becomes another one of the file, or something odd."""
    pattern = random.choice((_QUOTED, _VALUE))
    other = _found(random, pattern, content)
    new = other[0] if other and random.randrange(3) else b'"%s"' % _piece(random)
    return _instead(content, _found(random, pattern, content), new)


def anchored(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """YAML's anchors, aliases, tags, merges and documents."""
    new = random.choice(
        (
            b"*a",
            b"&a [*a]",
            b"&a {<<: *a}",
            b"!!python/object/apply:os.system ['true']",
            b"!!binary x",
            b"!!set {a, b}",
            b"!<tag:x> y",
            b"|\n  x",
            b">-\n  x",
            b"<<",
            b"&a &a x",
            b"!!int 1",
            b"{<<: [*a]}",
        )
    )
    if random.randrange(5) == 0:
        return random.choice((BOMB, b"%YAML 9.9\n---\n", b"%TAG ! a\n---\n", b"---\n")) + content
    return _instead(content, _found(random, _VALUE, content), new)


def doubled(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """A key twice: the same, or with another value."""
    found = _found(random, re.compile(rb'("(?:[^"\\\n]|\\.)*"): ?("[^"\n]*"|[\w.]+),'), content)
    if found is None:
        return content + content
    again = found[1] + b": " + random.choice((found[2], b"null", b'"x"')) + b", "
    return content[: found.start()] + again + content[found.start() :]


def spliced(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    start, at = random.randrange(len(other) + 1), _place(random, content)
    part = other[start : start + random.choice((8, 100, 4000))]
    return content[:at] + part + content[at + random.choice((0, len(part))) :]


def replaced(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    return random.choice((*DOCUMENTS, *others))


def other_values(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """What is well-formed still: values of another type, or from elsewhere; keys renamed."""
    lines = content.splitlines()
    # One document a line, or one in all.
    number = random.randrange(len(lines)) if len(lines) > 1 and content[:2] == b'{"' else None
    data = _data(content if number is None else lines[number])
    if not isinstance(data, dict | list):
        return put_over(random, content, others)
    data = copy.deepcopy(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        _change(random, data)
    if number is None:
        return json.dumps(data, indent=random.choice((1, None)), ensure_ascii=True).encode()
    lines[number] = json.dumps(data).encode()
    return b"\n".join(lines) + b"\n"


@lru_cache(maxsize=256)
def _data(content: bytes) -> Any:
    """Of what is good, which is a handful of files."""
    for read in (json.loads, lambda raw: yaml.load(raw, Loader=yaml.BaseLoader)):
        try:
            return read(content)
        except (ValueError, yaml.YAMLError, RecursionError):
            continue
    return None


def _change(random: Random, data: Any) -> None:
    """Change something somewhere in it."""
    here = data
    while True:
        keys = [*here] if isinstance(here, dict) else [*range(len(here))]
        if not keys:
            return
        key = random.choice(keys)
        if not isinstance(here[key], dict | list) or not here[key] or random.randrange(5) == 0:
            break
        here = here[key]
    value = here[key]
    match random.randrange(8):
        case 0:
            del here[key]
        case 1:
            here[key] = [copy.deepcopy(value)]
        case 2:
            here[key] = {"x": copy.deepcopy(value)}
        case 3 if isinstance(here, dict):
            new = random.choice(
                (f"{key}x", str(key)[1:], str(key).upper(), "", "\x1b[2J", "x" * 9999)
            )
            here[new] = here.pop(key)
        case 4 if isinstance(here, list):
            here += [copy.deepcopy(value)] * random.choice((1, 2, 500))
        case 5:
            other = random.choice(keys)
            here[key], here[other] = here[other], here[key]
        case 6 if isinstance(value, str) and value:
            at = random.randrange(len(value))
            odd = random.choice(
                ("\n", "\ud800", "\x1b", "\0", "x", "*", "/", "..", "$(id)", "~", "0")
            )
            here[key] = value[:at] + odd + value[at + 1 :]
        case _:
            here[key] = copy.deepcopy(random.choice(VALUES))


CHANGES: dict[Change, int] = {
    cut_short: 4,
    put_in: 4,
    put_over: 4,
    taken_out: 3,
    flipped: 3,
    encoded: 1,
    other_lines: 3,
    long_lines: 1,
    nested: 2,
    numbers: 2,
    other_texts: 3,
    anchored: 2,
    doubled: 2,
    spliced: 2,
    replaced: 2,
    other_values: 8,
}
"""And how often each is made."""


def changed(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change or several."""
    chosen = random.choices([*CHANGES], [*CHANGES.values()], k=random.choice((1, 1, 1, 2, 4)))
    # First what needs a file that is good.
    for change in sorted(chosen, key=lambda change: change is not other_values):
        content = change(random, content, others)
    return content


# What is no file, or none that can be read.


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "link to itself": lambda path: path.symlink_to(path),
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "pipe": os.mkfifo,
    "without an end": lambda path: path.symlink_to("/dev/zero"),
    "noise without an end": lambda path: path.symlink_to("/dev/urandom"),
    # Whoever is root may read all that there is to read; here reading fails for them, too.
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),
    "socket": _socket,
    "terabyte of holes": _sparse,
    "missing": lambda path: None,
}
"""What is at a path instead of a file."""


def clear(path: Path) -> None:
    """Remove whatever is at a path."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
