"""Wheels that nobody should unpack are refused, with the member and what is wrong."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from harness import extensions, index, wheelfile
from harness.errors import ArchiveError
from harness.platforms import Platform
from tests.fuzz import mutations
from tests.fuzz.mutations import Member, archive

NAME = "sample-1.0-py3-none-any.whl"


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def member(
    name: bytes = b"sample/__init__.py", content: bytes = b"x = 1\n" * 50, **change: object
) -> Member:
    fields = {
        "name": name,
        "packed": deflated(content),
        "size": len(content),
        "crc": zlib.crc32(content),
        "method": 8,
        **change,
    }
    return Member(**fields)  # type: ignore[arg-type]


def kind(mode: int) -> int:
    return (mode | 0o644) << 16


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is damaged, or no wheel"),
    "text": (lambda: b"<html>", "is damaged, or no wheel"),
    "cut short": (lambda: archive([member()])[:-30], "is damaged, or no wheel"),
    "leads out": (lambda: archive([member(b"../x.py")]), "leads out of the archive"),
    "leads out inside": (lambda: archive([member(b"a/../../x.py")]), "leads out of the archive"),
    "absolute": (lambda: archive([member(b"/etc/x")]), "leads out of the archive"),
    "another system's": (lambda: archive([member(b"a\\..\\x")]), "leads out of the archive"),
    "a drive": (lambda: archive([member(b"C:x")]), "leads out of the archive"),
    "no plain name": (lambda: archive([member(b"a//x")]), "has no plain name"),
    "no name": (lambda: archive([member(b"")]), "has no plain name"),
    "a point": (lambda: archive([member(b"./x")]), "has no plain name"),
    "control character": (lambda: archive([member(b"\x1b[2J")]), "that no file should have"),
    "zero": (lambda: archive([member(b"x\0.py")]), "that no file should have"),
    "long name": (lambda: archive([member(b"x" * 1025)]), "that no file should have"),
    "deep": (lambda: archive([member(b"d/" * 64 + b"x")]), "that no file should have"),
    "device": (
        lambda: archive([member(attributes=kind(stat.S_IFCHR))]),
        "is a device or a pipe",
    ),
    "pipe": (
        lambda: archive([member(attributes=kind(stat.S_IFIFO))]),
        "is a device or a pipe",
    ),
    "twice": (lambda: archive([member(), member()]), "is there twice"),
    "folder with content": (lambda: archive([member(b"sample/")]), "a folder with content"),
    "bzip2": (lambda: archive([member(method=12)]), "no installer has to know"),
    "encrypted": (lambda: archive([member(flags=1)]), "is damaged, or no wheel"),
    "longer than it says": (lambda: archive([member(size=5)]), "another size than the 5 bytes"),
    "shorter than it says": (lambda: archive([member(size=900)]), "another size than the 900"),
    "another checksum": (lambda: archive([member(crc=1)]), "another checksum than it says"),
    "something behind it": (
        lambda: archive([member(packed=deflated(b"x = 1\n" * 50) + b"more")]),
        "is damaged, or no wheel",
    ),
    "within each other": (
        lambda: archive([member(b"m%d" % n) for n in range(4)], together=True),
        "within each other",
    ),
    "bomb": (
        lambda: archive([member(packed=mutations.zeros(80), size=80 << 20)]),
        "made to fill the disk",
    ),
    "bomb that lies": (
        lambda: archive([member(packed=mutations.zeros(80), size=10)]),
        "another size than the 10 bytes",
    ),
    "bomb in parts": (
        lambda: archive(
            [member(b"m%d" % n, packed=mutations.zeros(8), size=8 << 20) for n in range(20)]
        ),
        "made to fill the disk",
    ),
}


@pytest.mark.parametrize(("make", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_wheel_that_nobody_should_unpack_is_refused(
    make: Callable[[], bytes], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(make())
    with pytest.raises(ArchiveError) as caught:
        wheelfile.vet(path)
    assert caught.value.problem.startswith(f"{NAME} ")
    assert problem in caught.value.problem
    assert caught.value.problem.isprintable()


def test_what_wheels_are_is_taken(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as made:
        made.mkdir("sample")
        made.writestr("sample/__init__.py", "x = 1\n" * 1000, zipfile.ZIP_DEFLATED)
        made.writestr("sample/ünï.py", b"", zipfile.ZIP_DEFLATED)
        made.writestr("sample/data", b"\0" * (1 << 20), zipfile.ZIP_STORED)
        made.write(__file__, "sample-1.0.dist-info/RECORD")
    wheelfile.vet(path)


def test_one_that_is_larger_than_any_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheelfile, "MAX_PACKED", 100)
    path = tmp_path / NAME
    path.write_bytes(archive([member()]))
    with pytest.raises(ArchiveError, match="more than the limit of 100"):
        wheelfile.vet(path)


def test_more_members_than_wheels_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheelfile, "MAX_MEMBERS", 3)
    path = tmp_path / NAME
    path.write_bytes(archive([member(b"m%d" % n) for n in range(4)]))
    with pytest.raises(ArchiveError, match="4 members, more than the limit of 3"):
        wheelfile.vet(path)


def test_a_table_of_contents_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheelfile, "MAX_DIRECTORY", 1 << 17)
    path = tmp_path / NAME
    path.write_bytes(archive([member(b"m%d" % n, b"") for n in range(5000)]))
    with pytest.raises(ArchiveError, match="its table of contents has more than"):
        wheelfile.vet(path)


def test_nothing_else_is_raised_whatever_the_file(tmp_path: Path) -> None:
    path = tmp_path / NAME
    elves = [b"\x7fELF" + bytes(60)]
    outcomes = set()
    for number in range(300):
        random = Random(number)
        content = mutations.wheel(random, elves)
        if number % 3 == 0:
            changed = bytearray(content)
            mutations.roughened(random, changed, elves)
            content = bytes(changed)
        path.write_bytes(content)
        try:
            wheelfile.vet(path)
            outcomes.add("taken")
        except ArchiveError:
            outcomes.add("refused")
    assert outcomes == {"taken", "refused"}


def test_a_hostile_wheel_of_ones_own_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / NAME
    path.write_bytes(archive([member(b"../x.py")]))
    with pytest.raises(ArchiveError, match="leads out"):
        extensions.install([path], "3.13", Platform.X86_64)


def test_a_link_in_a_wheel_becomes_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why it is taken: nothing can be written through it."""
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / NAME
    info = "sample-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as made:
        link = zipfile.ZipInfo("sample/link")
        link.external_attr = kind(stat.S_IFLNK)
        made.writestr(link, "/etc/passwd")
        made.writestr("sample/__init__.py", "")
        made.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", f"sample/link,,\nsample/__init__.py,,\n{info}/RECORD,,\n")
    wheelfile.vet(path)
    site = extensions.install([path], "3.13", Platform.X86_64).tree / "site"
    assert not (site / "sample/link").is_symlink()
    assert (site / "sample/link").read_text() == "/etc/passwd"


def test_a_download_without_an_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheelfile, "MAX_PACKED", 10)
    counted = index._Counted(tmp_path / NAME)
    counted.update(10)
    with pytest.raises(Exception, match="has more than 10 bytes"):
        counted.update(1)
