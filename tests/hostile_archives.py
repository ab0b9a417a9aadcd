"""Archives that nobody should unpack, each made to be refused for one thing alone.

Each is a small interpreter with something wrong. A stand-in server can have them under published
names, with their right sha256, so that nothing but :mod:`harness.contents` is there to notice.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.unit import tiny_elf
from tests.unit.tiny_elf import TinyElf

NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"

LOADER = b"/lib64/ld-linux-x86-64.so.2"
PROGRAM = TinyElf(defined=[b"Py_BytesMain", b"PyModule_Create2"], interpreter=LOADER).build()
LIBRARY = TinyElf(texts=[(tiny_elf.SONAME, b"libpython3.13.so.1.0")]).build()
PATCHLEVEL = b'#define PY_MAJOR_VERSION 3\n#define PY_VERSION      "3.13.3"\n'


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A member."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    size: int | None = None
    """Instead of the content's."""
    extended: tuple[tuple[str, str], ...] = ()
    """Attributes of an extended header before it."""

    def raw(self) -> bytes:
        """The member as a tar has it: headers and content, in whole blocks."""
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname, info.mode = self.kind, self.target, 0o755
        info.size = len(self.content) if self.size is None else self.size
        header = info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
        return extended(*self.extended) + header + blocks(self.content)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """An archive, and what is said of it."""

    kind: str
    content: bytes
    says: str
    """A regular expression that the error's one line has to match."""

    @property
    def sha256(self) -> str:
        """As a SHA256SUMS would have it, which is right."""
        return hashlib.sha256(self.content).hexdigest()


def interpreter(root: str = "python", program: bytes = PROGRAM) -> list[Entry]:
    """The members of a harmless archive."""
    return [
        Entry(name=f"{root}/bin/python3.13", content=program),
        Entry(name=f"{root}/bin/python3", kind=tarfile.SYMTYPE, target="python3.13"),
        Entry(name=f"{root}/lib/libpython3.13.so.1.0", content=LIBRARY),
        Entry(
            name=f"{root}/lib/libpython3.13.so",
            kind=tarfile.SYMTYPE,
            target="libpython3.13.so.1.0",
        ),
        Entry(name=f"{root}/lib/python3.13/os.py", content=b"import abc\n"),
        Entry(name=f"{root}/include/python3.13/patchlevel.h", content=PATCHLEVEL),
    ]


END = bytes(1024)


def blocks(content: bytes) -> bytes:
    """A content, filled up to whole blocks."""
    return content + bytes(-len(content) % 512)


def extended(*attributes: tuple[str, str], kind: bytes = b"x") -> bytes:
    """An extended header with some attributes; nothing for none."""
    if not attributes:
        return b""
    content = b""
    for key, value in attributes:
        rest = f" {key}={value}\n".encode(errors="surrogateescape")
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))
        content += str(length).encode() + rest
    return Entry(name="././@PaxHeader", kind=kind, content=content).raw()


def tar(entries: Sequence[Entry], end: bytes = END) -> bytes:
    """A plain tar."""
    return b"".join(entry.raw() for entry in entries) + end


def packed(content: bytes) -> bytes:
    """The same as .tar.gz, with the same bytes at any time."""
    return gzip.compress(content, 6, mtime=0)


def zstd(content: bytes) -> bytes:
    """The same as .tar.zst."""
    import zstandard

    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(content)


def good(root: str = "python") -> bytes:
    """A harmless archive."""
    return packed(tar(interpreter(root)))


def _with(*entries: Entry) -> bytes:
    return packed(tar([*interpreter(), *entries]))


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    return _with(Entry(name=name, kind=kind, target=target))


SYMLINK, HARD_LINK = tarfile.SYMTYPE, tarfile.LNKTYPE

OUTSIDE: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute": (lambda: _member("/etc/cron.d/x"), "/etc/cron.d/x has an absolute name"),
    "absolute, inside": (lambda: _member("/python/x"), "/python/x has an absolute name"),
    "dots": (lambda: _member("python/../../x"), "leads out of the archive by its name"),
    "dots, inside": (lambda: _member("python/lib/../x"), "leads out of the archive by its name"),
    "dots, extended": (
        lambda: _with(Entry(name="python/x", extended=(("path", "python/../../x"),))),
        r"python/../../x leads out of the archive by its name",
    ),
    "dots, long name": (
        lambda: _with(Entry(name="python/" + "../" * 40 + "x" * 99)),
        "leads out of the archive by its name",
    ),
    "another folder": (lambda: _member("other/x"), "other/x lies outside the folder python"),
    "the folder's file": (
        lambda: packed(tar([Entry(name="python"), *interpreter()])),
        "python is a file, not the folder",
    ),
    "character device": (lambda: _member("python/x", tarfile.CHRTYPE), "is a character device"),
    "block device": (lambda: _member("python/x", tarfile.BLKTYPE), "is a block device"),
    "fifo": (lambda: _member("python/x", tarfile.FIFOTYPE), "is a FIFO"),
    "hard link, absolute": (
        lambda: _member("python/x", HARD_LINK, "/etc/passwd"),
        "python/x is a hard link to /etc/passwd: leads out of the archive",
    ),
    "hard link, dots": (
        lambda: _member("python/x", HARD_LINK, "python/../../etc/passwd"),
        "is a hard link to .*: leads out of the archive",
    ),
    "hard link, another folder": (
        lambda: _member("python/x", HARD_LINK, "etc/passwd"),
        "is a hard link to etc/passwd: leads out of the archive",
    ),
    "hard link, nothing there": (
        lambda: _member("python/x", HARD_LINK, "python/y"),
        "is a hard link to python/y, which is no file that came before it",
    ),
    "hard link to a symbolic one": (
        lambda: _member("python/x", HARD_LINK, "python/bin/python3"),
        "is a hard link to python/bin/python3, which is no file that came before it",
    ),
    "symbolic link, absolute": (
        lambda: _member("python/x", SYMLINK, "/etc/passwd"),
        "python/x is a symbolic link to /etc/passwd: leads out of the archive",
    ),
    "symbolic link, dots": (
        lambda: _member("python/x", SYMLINK, "lib/../../etc/passwd"),
        "python/x is a symbolic link to lib/../../etc/passwd: leads out of the archive",
    ),
    "symbolic link to where the archive is": (
        lambda: _member("python/x", SYMLINK, ".."),
        "python/x is a symbolic link to ..: leads out of the archive",
    ),
    "symbolic link through another": (
        # By its letters, python/lib/y leads to python/x.
        lambda: _with(
            Entry(name="python/lib/y", kind=SYMLINK, target="up/../x"),
            Entry(name="python/lib/up", kind=SYMLINK, target=".."),
        ),
        "python/lib/y is a symbolic link to up/../x: leads out of the archive",
    ),
    "symbolic link, extended": (
        lambda: _with(
            Entry(name="python/x", kind=SYMLINK, target="lib", extended=(("linkpath", "/etc"),))
        ),
        "python/x is a symbolic link to /etc: leads out of the archive",
    ),
    "symbolic link, long": (
        lambda: _member("python/x", SYMLINK, "../" * 40 + "etc/passwd"),
        "leads out of the archive",
    ),
    "symbolic links in a circle": (
        lambda: _with(
            Entry(name="python/x", kind=SYMLINK, target="y"),
            Entry(name="python/y", kind=SYMLINK, target="x"),
        ),
        "is a symbolic link to .: leads to itself",
    ),
    "symbolic links, many": (
        lambda: _with(
            *(Entry(name=f"python/{n}", kind=SYMLINK, target=str(n + 1)) for n in range(60))
        ),
        "too many behind each other",
    ),
    "written through a link": (
        lambda: _with(
            Entry(name="python/share", kind=SYMLINK, target="lib"),
            Entry(name="python/share/x", content=b"x"),
        ),
        "python/share/x would be written through python/share, which is a symbolic link",
    ),
    "written through a link that comes later": (
        lambda: _with(
            Entry(name="python/share/x", content=b"x"),
            Entry(name="python/share", kind=SYMLINK, target="lib"),
        ),
        "python/share is a symbolic link where there was a folder",
    ),
    "written over a link": (
        lambda: _with(Entry(name="python/bin/python3", content=b"x")),
        "python/bin/python3 is there twice: .* through the symbolic link that came first",
    ),
    "written over a hard link": (
        lambda: _with(
            Entry(name="python/x", kind=HARD_LINK, target="python/bin/python3.13"),
            Entry(name="python/x", content=b"x"),
        ),
        "python/x is there twice",
    ),
    "folder over a link": (
        lambda: _with(
            Entry(name="python/share", kind=SYMLINK, target="lib"),
            Entry(name="python/share", kind=tarfile.DIRTYPE),
        ),
        "python/share is there twice",
    ),
    "twice": (
        lambda: _with(Entry(name="python/bin/python3.13", content=b"x")),
        "python/bin/python3.13 is there twice",
    ),
    "twice, spelled otherwise": (
        lambda: _with(Entry(name="./python//bin/./python3.13", content=b"x")),
        "is there twice",
    ),
    "below a file": (
        lambda: _with(Entry(name="python/bin/python3.13/x")),
        "would be written through python/bin/python3.13, which is a file",
    ),
}
"""What leads out of the archive, or would be written where it should not."""

AMBIGUOUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero in a name": (
        lambda: _with(Entry(name="python/x", extended=(("path", "python/x\0.py"),))),
        r"has control characters in its name: 'python/x\\x00.py'",
    ),
    "escape in a name": (
        lambda: _member("python/\x1b[31mx"),
        r"has control characters in its name: 'python/\\x1b\[31mx'",
    ),
    "new line in a target": (
        lambda: _member("python/x", SYMLINK, "lib\nlib"),
        "has control characters in its target",
    ),
    "no UTF-8": (lambda: _member("python/\udcff"), "a name is not in UTF-8"),
    "no name": (lambda: _member(""), ": '' has no name"),
    "no target": (lambda: _member("python/x", SYMLINK), "has no target"),
    "deep": (lambda: _member("python/" + "d/" * 200 + "d"), "has a name longer than"),
    "long": (lambda: _member("python/" + "d" * 2000), "has a name longer than"),
    "folder's name": (
        lambda: packed(tar(interpreter()[:-1])[:-1024] + _forged("python/x/", b"0") + END),
        "is a file, but has the name of a folder",
    ),
    "two sizes": (
        # CVE-2025-62518: by the header it is empty, and what follows are members.
        lambda: _with(
            Entry(
                name="python/x",
                extended=(("size", str(len(tar([Entry(name="python/y")], b"")))),),
            ),
            Entry(name="python/y"),
        ),
        "python/x has two sizes, 0 and 512",
    ),
    "link with content": (
        lambda: _with(Entry(name="python/x", kind=SYMLINK, target="lib", content=b"x")),
        "is a symbolic link with 1 bytes of content",
    ),
    "folder with content": (
        lambda: _with(Entry(name="python/x", kind=tarfile.DIRTYPE, content=b"x" * 600)),
        "is a folder with 600 bytes of content",
    ),
    "unknown kind": (lambda: _member("python/x", b"Z"), "is of a kind that nobody knows"),
    "sparse": (lambda: _member("python/x", b"S"), "is of a kind that nobody knows"),
    "sparse, extended": (
        lambda: _with(Entry(name="python/x", extended=(("GNU.sparse.major", "1"),))),
        "a sparse file",
    ),
    "named twice": (
        lambda: _with(
            Entry(name="python/x", extended=(("path", "python/x"), ("path", "python/y")))
        ),
        "a member's name is there twice",
    ),
    "named in two ways": (
        lambda: packed(
            tar(interpreter(), b"")
            + extended(("path", "python/x"))
            + Entry(name="python/" + "y" * 120).raw()
            + END
        ),
        "a member's name is there twice",
    ),
    "named for all": (
        lambda: packed(extended(("path", "python/x"), kind=b"g") + tar(interpreter())),
        "a name or size for all members at once",
    ),
    "announced without end": (
        lambda: packed(extended(("comment", "x")) * 9 + tar(interpreter())),
        "more stands before a member's header than anybody needs",
    ),
    "announced, then nothing": (
        lambda: packed(tar(interpreter(), b"") + extended(("path", "python/x")) + END),
        "ends where a member was announced",
    ),
    "attributes that are none": (
        lambda: _with(Entry(name="x", kind=b"x", content=b"9999 path=x\n")),
        "an extended header is none",
    ),
    "end in the middle": (
        lambda: packed(tar(interpreter()) + Entry(name="python/x").raw() + END),
        "something follows the end of the archive",
    ),
    "another gzip behind it": (
        lambda: good() + packed(tar([Entry(name="python/x")])),
        "something follows the end of the archive",
    ),
}
"""What two readers would read in two ways."""

LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb": (
        lambda: _with(Entry(name="python/x", content=bytes(80 << 20))),
        "python/x comes to .*: made to fill the disk",
    ),
    "bomb behind the end": (
        lambda: packed(tar(interpreter(), bytes(80 << 20))),
        "made to fill the disk",
    ),
    "long name": (
        lambda: packed(
            tar(interpreter(), b"")
            + Entry(name="././@LongLink", kind=b"L", content=b"x" * (80 << 20)).raw()
            + Entry(name="x").raw()
            + END
        ),
        "has 83886080 bytes before a member's header",
    ),
    "large by its header": (
        lambda: packed(tar([*interpreter(), Entry(name="python/x", size=1 << 40)])),
        "python/x has 1099511627776 bytes, more than the limit",
    ),
    "negative size": (
        # CVE-2025-8194: the library's reader goes back, and back again.
        lambda: packed(tar(interpreter(), _forged("python/x", b"0", b"\xff" * 12))),
        "a number in a header is none",
    ),
    "many members": (
        lambda: packed(
            tar(interpreter(), b"") + b"".join(_numbered(number) for number in range(50_001)) + END
        ),
        "python/.* is one of more than 50000 members",
    ),
    "many streams": (
        lambda: good() + packed(b"") * 1001,
        "more than 1000 streams of gzip",
    ),
}
"""What would take the disk, the memory or for ever."""

DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is no .tar.gz or .tar.zst: it is empty"),
    "a page": (
        lambda: b"<!DOCTYPE html>\n<title>Sign in</title>",
        "is no .tar.gz or .tar.zst: it begins with b'<!DOCTYPE html>",
    ),
    "a page, packed": (
        lambda: packed(b"<!DOCTYPE html>\n" * 99),
        "is damaged or no tar archive",
    ),
    "zstd": (lambda: zstd(tar(interpreter())), "is packed by zstd, though its name ends with"),
    "cut in gzip's header": (lambda: good()[:5], "is cut short"),
    "cut in the middle": (lambda: good()[: len(good()) // 2], "is cut short"),
    "cut before its checksum": (lambda: good()[:-8], "is cut short: gzip's end is missing"),
    "cut in its checksum": (lambda: good()[:-1], "is cut short: gzip's end is missing"),
    "no end": (
        lambda: packed(tar(interpreter(), b"")),
        r"is cut short: it ends before the archive does \(after python/include",
    ),
    "half an end": (lambda: packed(tar(interpreter(), bytes(512))), "is cut short"),
    "cut in a header": (lambda: packed(tar(interpreter(), b"")[:200]), "is cut short"),
    "cut in a content": (
        lambda: packed(tar(interpreter(), b"")[:700]),
        "python/bin/python3.13 is cut short",
    ),
    "cut in the last content": (
        lambda: packed(tar([*interpreter(), Entry(name="python/x", size=9)], b"")),
        "python/x is cut short",
    ),
    "more behind it": (lambda: good() + b"x" * 99, "is damaged: .*incorrect header check"),
    "changed bytes": (
        lambda: good()[:-40] + bytes(byte ^ 0x55 for byte in good()[-40:-20]) + good()[-20:],
        "is damaged",
    ),
    "wrong checksum": (lambda: good()[:-8] + bytes(4) + good()[-4:], "is damaged: .*data check"),
    "damaged header": (
        lambda: packed(tar(interpreter()).replace(b"python/lib/python3.13/os.py", b"python/lib/p")),
        r"what should be a header is none \(after python/lib/libpython3.13.so\)",
    ),
}
"""What is cut short, or changed on its way."""

OTHER: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: packed(tar([])), "has no interpreter"),
    "no interpreter": (lambda: packed(tar(interpreter()[2:])), "has no interpreter"),
    "a script": (
        lambda: packed(tar(interpreter(program=b"#!/bin/sh\nexec rm -rf ~\n"))),
        "has no interpreter: no bin/python3 that is a program",
    ),
    "damaged program": (
        lambda: packed(tar(interpreter(program=PROGRAM[:40]))),
        "bin/python3.13 cannot be run: file too short",
    ),
    "aarch64": (
        lambda: packed(
            tar(
                interpreter(
                    program=TinyElf(machine=183, interpreter=b"/lib/ld-linux-aarch64.so.1").build()
                )
            )
        ),
        "holds an interpreter for aarch64 and gnu, but its name says x86_64 and gnu",
    ),
    "arm": (
        lambda: packed(tar(interpreter(program=TinyElf(machine=40).build()))),
        "holds an interpreter for machine 40 of 64 bits, but its name says x86_64 and gnu",
    ),
    "musl": (
        lambda: packed(
            tar(interpreter(program=TinyElf(interpreter=b"/lib/ld-musl-x86_64.so.1").build()))
        ),
        "holds an interpreter for x86_64 and musl, but its name says x86_64 and gnu",
    ),
}
"""What is an archive, and not of the interpreter that it should be of."""

KINDS = {**OUTSIDE, **AMBIGUOUS, **LARGE, **DAMAGED, **OTHER}


def hostile(kind: str) -> Hostile:
    """The archive of a kind, to be served as :data:`NAME`."""
    make, says = KINDS[kind]
    return Hostile(kind=kind, content=make(), says=says)


def _forged(name: str, kind: bytes, size: bytes = b"00000000000\0") -> bytes:
    """A header by hand, with a right checksum."""
    start = name.encode().ljust(100, b"\0") + b"0000755\0" + b"0000000\0" * 2 + size
    start += b"00000000000\0"
    rest = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    total = sum(start) + 8 * 0x20 + sum(rest)
    return start + b"%06o\0 " % total + rest


def _numbered(number: int) -> bytes:
    return _forged(f"python/{number}", b"0")


# What others change, to see what becomes of it.

PIECES = (
    *(b"\0", b"\0" * 512, b"\xff" * 12, b"../", b"/", b"python/", b"ustar\x0000", b"00000000000\0"),
    *(b"77777777777\0", b"\x80" + b"\xff" * 11, b"x", b"L", b"K", b"g", b"1", b"2", b"5", b"S"),
    *(b"20 path=python/x/y/z\n", b"17 size=00000512\n", b"27 GNU.sparse.size=1000000\n"),
)
"""What means something in a tar, at the right place."""


def varied() -> bytes:
    """A harmless tar with members of each kind and headers of each."""
    return tar(
        [
            *interpreter(),
            Entry(name="python/share", kind=tarfile.DIRTYPE),
            Entry(name="python/share/x", kind=SYMLINK, target="../lib/python3.13"),
            Entry(name="python/x", kind=HARD_LINK, target="python/lib/libpython3.13.so.1.0"),
            Entry(name="python/y", extended=(("path", "python/yy"), ("mtime", "1.5"))),
            Entry(name="python/" + "z" * 120, content=b"z"),
        ]
    )


def corrected(content: bytes) -> bytes:
    """A tar with every header's checksum made right, so that what else it says is read."""
    found = bytearray(content)
    for at in range(0, len(found) - 511, 512):
        if found[at + 257 : at + 262] == b"ustar":
            total = sum(found[at : at + 148]) + 256 + sum(found[at + 156 : at + 512])
            found[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(found)
