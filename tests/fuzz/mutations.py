"""Files to be read that nobody should have made: ELF files, wheels, archives and directories.

Changes know the fields of the formats, since random bytes alone are turned away at the door.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from tests import hostile_archives
from tests.unit.tiny_elf import JUMP_SLOT, TinyElf

TRIPLETS = (
    *("x86_64-linux-gnu", "aarch64-linux-gnu", "x86-linux-gnu", "arm-linux-gnueabihf"),
    *("s390x-linux-gnu", "powerpc-linux-gnueabihf", "mips-linux-gnueabihf"),
)
"""Both classes and both byte orders."""

SOURCE = """\
extern void *PyModule_Create2(void *, int);
extern int _Py_NoneStruct;
void *PyInit_sample(void) { return PyModule_Create2(&_Py_NoneStruct, 0); }
"""
FLAGS = (
    *("-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libsample.so", "-Wl,-rpath,$ORIGIN/libs"),
    "-Wl,--hash-style=both",
)

NUMBERS = (
    *(0, 1, 2, 3, 7, 8, 16, 24, 56, 64, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0xFFFF, 1 << 16, 1 << 20),
    *(1 << 24, 0x7FFFFFFF, 1 << 31, 0xFFFFFFFF, 1 << 32, 1 << 40, 1 << 47, 1 << 62),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
TAGS = (0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 14, 15, 21, 23, 29, 30, 0x6FFFFEF5, 0x6FFFFFFB)

NAMES: tuple[bytes, ...] = (
    *(
        b"sample/x.so",
        b"sample/__init__.so",
        b"x.abi3.so",
        b"sample.cpython-313-x86_64-linux-gnu.so",
    ),
    *(b"../x.so", b"../../../../etc/x.so", b"/etc/x.so", b"a/../../x.so", b"./x.so", b"a//x.so"),
    *(b"C:\\x.so", b"C:/x.so", b"\\\\host\\x.so", b"a\\x.so", b"x.so/", b"", b".", b"..", b"/"),
    *(b"x\0.so", b"\xff\xfe.so", b"\xc3\x28.so", b"\x1b[31m.so", b"a\nb.so", b"\xe2\x80\xae.so"),
    *(b"sample-1.0.data/platlib/x.so", b"sample-1.0.data/scripts/run", b"sample-1.0.data/x.so"),
    *(
        b"sample-1.0.data/data/lib/x.so",
        b"sample-1.0.data/odd/x.so",
        b"sample-1.0.data/scripts/../x",
    ),
    *(b"d/" * 2000 + b"x.so", b"n" * 60_000 + b".so", "ä/ö.so".encode(), b"program", b"libz.so.1"),
)

EXTRAS = (
    *(b"\1\0\x08\0" + b"\xff" * 8, b"\1\0\x18\0", b"up\5\0\1abcd", b"\1\0\0\0", b"\1", b"\0" * 9),
    b"\1\0\x10\0" + b"\0" * 16,
)

STATEMENTS = (
    *("import os", "from . import sample", "from .sub import (a,", "  b)", "import a.b.c as d, e"),
    *(
        "try:",
        "except ImportError:",
        "else:",
        "if x:",
        "if (a and",
        "    b):",
        "def f(",
        "class A:",
    ),
    *(
        '"""',
        "'''",
        "'",
        '"',
        "#",
        "\\",
        "(",
        ")",
        "    import sample",
        "\timport sample",
        ";",
        ":",
    ),
    *("from", "import", "from . import", "from ... import x", "with a as b:", "if TYPE_CHECKING:"),
    *("import sample.sub", "from sample import *", "\0", "\xff", "\r", "\f", "async", "@", "  "),
)


def number(random: Random, near: Sequence[int] = ()) -> int:
    """A number that a field could hold by accident or on purpose."""
    choice = random.randrange(4)
    if choice == 0 and near:
        return max(0, random.choice(near) + random.randrange(-9, 10))
    if choice == 1:
        return random.randrange(1 << random.choice((4, 8, 16, 32, 64)))
    return random.choice(NUMBERS)


def put(content: bytearray, at: int, size: int, value: int, order: str = "little") -> None:
    """Write a field, as far as it lies within the content."""
    size = max(0, min(size, len(content) - at))
    raw = (value % (1 << 8 * size) if size else 0).to_bytes(size, "little")
    content[at : at + size] = raw if order == "little" else raw[::-1]


def roughened(random: Random, content: bytearray, others: Sequence[bytes]) -> None:
    """Changes that know nothing of what they change."""
    if not content:
        return
    at = random.randrange(len(content))
    match random.randrange(7):
        case 0:
            del content[at:]
        case 1:
            del content[at : at + random.randrange(1, 64)]
        case 2:
            content[at:at] = random.randbytes(random.randrange(1, 64))
        case 3:
            content[at : at + 8] = random.randbytes(8)
        case 4:
            content[at] ^= 1 << random.randrange(8)
        case 5:
            other = random.choice(others)
            start = random.randrange(len(other)) if other else 0
            content[at : at + 128] = other[start : start + 128]
        case _:
            content += b"\0" * random.choice((1, 100, 5000, 100_000))


# ELF.


def tiny(random: Random) -> bytes:
    """A file made by hand."""
    names = [b"Py_A", b"free", b"_Py_B", b"PyInit_x", b"Py_InitializeEx"]
    return TinyElf(
        undefined=names[: random.randrange(4)],
        defined=names[random.randrange(5) :],
        plt=[(0x5000, JUMP_SLOT, 0)] * random.randrange(3),
        needed=random.choices(
            (
                b"libpython3.13.so.1.0",
                b"../x.so",
                b"/etc/passwd",
                b"$ORIGIN/x.so",
                b"",
                b"x" * 5000,
            ),
            k=random.choice((0, 1, 2, 5, 1500)),
        ),
        base=random.choice((0, 0x400000)),
        machine=random.choice((62, 183, 8, 0)),
    ).build()


def changed_elf(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The same with fields of its headers, its dynamic section and its tables changed."""
    data = bytearray(content)
    wide, order = content[4:5] != b"\1", "big" if content[5:6] == b"\2" else "little"
    word = 8 if wide else 4
    table = int.from_bytes(content[32:40] if wide else content[28:32], order)  # type: ignore[arg-type]
    entry = 56 if wide else 32
    count = min(20, (len(content) - table) // entry)
    header = (
        [(4, 1), (5, 1), (6, 1), (7, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8)]
        + [(52, 2), (54, 2), (56, 2), (58, 2), (60, 2), (62, 2)]
        if wide
        else [(4, 1), (5, 1), (16, 2), (18, 2), (20, 4), (28, 4), (40, 2), (42, 2), (44, 2)]
    )
    sizes = (4, 4, 8, 8, 8, 8, 8, 8) if wide else (4,) * 8
    near = (0, table, len(content), len(content) - table, 64)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        match random.randrange(6):
            case 0:
                put(data, *random.choice(header), number(random, near), order)
            case 1 if count > 0:
                field = random.randrange(8)
                at = table + entry * random.randrange(count) + sum(sizes[:field])
                put(data, at, sizes[field], number(random, near), order)
            case 2 | 3:
                at = _dynamic(content, table, entry, count, wide, order)
                at += random.randrange(14) * 2 * word
                if random.randrange(2):
                    put(data, at, word, random.choice(TAGS), order)
                else:
                    put(data, at + word, word, number(random, near), order)
            case 4:
                # Hash tables, symbols and texts lie between the headers and the code.
                put(data, random.randrange(64, 1024), 4, number(random, near), order)
            case _:
                roughened(random, data, others)
    return bytes(data)


def _dynamic(content: bytes, table: int, entry: int, count: int, wide: bool, order: str) -> int:
    for index in range(count):
        at = table + entry * index
        if int.from_bytes(content[at : at + 4], order) == 2:  # type: ignore[arg-type]
            start, size = (at + 8, 8) if wide else (at + 4, 4)
            return int.from_bytes(content[start : start + size], order)  # type: ignore[arg-type]
    return 64


# Wheels.


def python(random: Random) -> bytes:
    """Something like a Python source."""
    lines = random.choices(STATEMENTS, k=random.choice((1, 5, 30, 300)))
    joint = random.choice(("\n", "\n", " ", "\n    ", ""))
    return joint.join(lines).encode("latin-1")


def wheel(random: Random, elves: Sequence[bytes]) -> bytes:
    """An archive whose members are odd, and which is whole as such."""
    members = []
    for _ in range(random.choice((0, 1, 2, 3, 8))):
        content = _content(random, elves)
        names: Sequence[bytes] = (b"sample/sample.so", b"sample/_x.abi3.so", b"tool", b"x.so")
        if content.startswith(b"#py"):
            names = (b"sample/__init__.py", b"sample/sub.py", b"x.py")
        elif random.randrange(4) == 0:
            names = NAMES
        members.append(
            Member(
                name=random.choice(names),
                packed=_packed(content) if (method := random.choice((0, 8, 8))) else content,
                size=len(content),
                crc=zlib.crc32(content),
                method=method if random.randrange(50) else random.choice((9, 12, 14, 99)),
                flags=random.choice((0, 0, 0x800, 0x800, 0x808)) | (not random.randrange(90)),
                attributes=number(random) & 0xFFFFFFFF if random.randrange(3) == 0 else 0,
                extra=random.choice(EXTRAS) if random.randrange(9) == 0 else b"",
            )
        )
    start = random.choice((b"", b"", b"", b"#!/bin/sh\n", random.randbytes(40)))
    comment = random.randbytes(random.choice((0, 0, 0, 30, 2000)))
    return start + archive(members, comment=comment)


def _packed(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _content(random: Random, elves: Sequence[bytes]) -> bytes:
    elf = random.choice(elves)
    match random.randrange(8):
        case 0:
            return b"#py\n" + python(random)
        case 1:
            return random.choice((b"", b"INPUT(libz.so)", b"libz.so.1", b"\x7fELF", b"MZ"))
        case 2:
            return elf + b"\0" * random.choice((0, 1 << 12, 1 << 16, 1 << 20))
        case _:
            return changed_elf(random, elf, elves)


@cache
def zeros(count: int) -> bytes:
    """So many MiB of zeros, packed by deflate."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(count)]) + packer.flush()


def bomb(random: Random, elves: Sequence[bytes]) -> bytes:
    """A small archive that unpacks to a great deal, and must be unpacked to be understood."""
    size = random.choice((1 << 22, 1 << 25, 200 << 20))
    header = bytearray(random.choice(elves))
    # Far away from its start, so that all before it has to be unpacked.
    for index in range(12):
        put(header, 64 + 56 * index + 8, 8, size - 4096)
        put(header, 64 + 56 * index + 32, 8, size)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(header)) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(size >> 20)
    size = random.choice((size + len(header), size + len(header), 10, 1 << 31, 0xFFFFFFFF))
    members = [
        Member(name=b"m%d.so" % n, packed=packed, size=size, crc=0, method=8)
        for n in range(random.choice((1, 1, 2, 40)))
    ]
    return archive(members, together=bool(random.randrange(2)))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of an archive, as its table of contents has it."""

    name: bytes
    packed: bytes
    size: int
    crc: int
    method: int
    flags: int = 0
    attributes: int = 0
    extra: bytes = b""


def archive(members: Sequence[Member], *, comment: bytes = b"", together: bool = False) -> bytes:
    """A zip file by hand; ``together``: all members are the same bytes of it."""
    body, directory = b"", b""
    start = 0
    for one in members:
        sizes = (one.crc, len(one.packed), one.size, len(one.name), len(one.extra))
        if not together or not body:
            start = len(body)
            body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, one.flags, one.method, 0, 0, *sizes)
            body += one.name + one.extra + one.packed
        fields = (20, 20, one.flags, one.method, 0, 0, *sizes, 0, 0, 0, one.attributes, start)
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", *fields) + one.name + one.extra
    end = (0, 0, len(members), len(members), len(directory), len(body), len(comment))
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", *end) + comment


CENTRAL = (
    *((4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2)),
    *((32, 2), (34, 2), (36, 2), (38, 4), (42, 4)),
)
LOCAL = ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
PARTS = ((b"PK\1\2", CENTRAL), (b"PK\3\4", LOCAL), (b"PK\5\6", END))


def changed_wheel(random: Random, content: bytes, elves: Sequence[bytes]) -> bytes:
    """The same with fields of the archive's own structures changed."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        word, fields = random.choice(PARTS)
        places = (
            [n for n in range(len(data)) if data.startswith(word, n)]
            if len(data) < 9999
            else [data.rfind(word)]
        )
        at = random.choice(places) if places else 0
        match random.randrange(5):
            case 0 | 1:
                offset, size = random.choice(fields)
                put(data, at + offset, size, number(random, (len(data), at, 20, 8)))
            case 2:
                name = random.choice(NAMES)
                if word == b"PK\1\2" and random.randrange(2):
                    length = struct.unpack_from("<H", data.ljust(at + 30, b"\0"), at + 28)[0]
                    data[at + 46 : at + 46 + length] = name
                    put(data, at + 28, 2, len(name))
                    if random.randrange(2):
                        put(data, at + 8, 2, 0x800)
                else:
                    data[at + 46 : at + 46 + len(name)] = name
            case 3:
                extra = random.choice(EXTRAS)
                data[at + 46 : at + 46] = extra
                put(data, at + 30, 2, len(extra))
            case _:
                roughened(random, data, elves)
    return bytes(data)


# Directories.


def directory(random: Random, root: Path, elves: Sequence[bytes]) -> Path:
    """A tree with files, links and names that lead astray."""
    for _ in range(random.randrange(1, 8)):
        name = random.choice(
            ("a.so", "b/c.so", "b/d/__init__.py", "b/__init__.py", "e-1.0.dist-info/RECORD", "run")
        )
        path = root / "lib/python3.13/site-packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            continue
        if random.randrange(3) == 0:
            path.symlink_to(
                random.choice(
                    (
                        path.name,
                        ".",
                        "..",
                        "../..",
                        "/",
                        "/etc/passwd",
                        "/dev/zero",
                        "a.so",
                        "b",
                        "x" * 99,
                    )
                )
            )
        elif name.endswith("RECORD"):
            path.write_bytes(
                random.choice((b'"', b"a.so,,\n../../../../../etc/passwd,,\n", b"\0\xff"))
            )
        else:
            path.write_bytes(_content(random, elves))
    if random.randrange(2):
        (root / "pyvenv.cfg").write_text("")
    return root


# Interpreters' archives.


def archived(random: Random, elves: Sequence[bytes]) -> bytes:
    """A tar with changes where headers have their fields, mostly with right checksums."""
    data = bytearray(hostile_archives.varied())
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(data))
        if random.randrange(3):
            at = at // 512 * 512 + random.choice((0, 100, 124, 148, 156, 157, 257, 345))
        new = random.choice((*hostile_archives.PIECES, random.randbytes(random.randrange(8))))
        data[at : at + random.choice((len(new), len(new), 0, 1, 8, 512))] = new
    if random.randrange(4) == 0:
        roughened(random, data, elves)
    return hostile_archives.corrected(bytes(data)) if random.randrange(5) else bytes(data)


def gzipped(random: Random, elves: Sequence[bytes]) -> bytes:
    """The same as .tar.gz, some of them with that damaged too."""
    return _damaged(random, hostile_archives.packed(archived(random, elves)), elves)


def zstandard(random: Random, elves: Sequence[bytes]) -> bytes:
    """The same as .tar.zst."""
    return _damaged(random, hostile_archives.zstd(archived(random, elves)), elves)


def _damaged(random: Random, content: bytes, elves: Sequence[bytes]) -> bytes:
    data = bytearray(content)
    if random.randrange(5) == 0:
        roughened(random, data, elves)
    return bytes(data)


Maker = Callable[[Random, Sequence[bytes]], bytes]

KINDS: dict[str, tuple[int, str, Maker]] = {
    "ELF made by hand": (
        25,
        "x.so",
        lambda random, elves: changed_elf(random, tiny(random), elves),
    ),
    "ELF of a compiler": (
        25,
        "sample.so",
        lambda random, elves: changed_elf(random, random.choice(elves), elves),
    ),
    "wheel, odd members": (25, "sample-1.0-py3-none-any.whl", wheel),
    "wheel, odd archive": (
        25,
        "sample-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        lambda random, elves: changed_wheel(random, wheel(random, elves), elves),
    ),
    "interpreter, .tar.gz": (10, "cpython-3.13.3+static.tar.gz", gzipped),
    "interpreter, .tar.zst": (10, "cpython-3.13.3+static.tar.zst", zstandard),
    "wheel, bomb": (0, "sample-1.0-py3-none-linux_x86_64.whl", bomb),
}
"""Name → share of all, file name, and what makes one. Bombs and directories are rarer."""
