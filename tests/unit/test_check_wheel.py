"""Wheels: read as installed, whatever is in them, and refused where no installer takes them."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import cache
from harness.check import targets, unpacking, wheel
from harness.check.target import SCRIPTS, SITE, VENV, Target, may_be_elf, place
from harness.errors import ExitCode, TargetError
from harness.loader.objects import AARCH64, X86_64, Object, Unloadable
from tests.unit import tiny_elf
from tests.unit.effort import effort
from tests.unit.tiny_elf import TinyElf

NAME = "sample-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
LIBRARY = TinyElf(needed=[b"libpython3.13.so.1.0"]).build()


def module(name: str, *needed: bytes) -> bytes:
    return TinyElf(defined=[f"PyInit_{name}".encode()], needed=needed).build()


def program(*needed: bytes) -> bytes:
    """A program, as far as an interpreter and the flag for it make one."""
    content = TinyElf(needed=needed, numbers=[(tiny_elf.FLAGS_1, 0x08000000)]).build()
    at = len(content)
    headers = content[64 : 64 + 112] + struct.pack("<IIQQQQQQ", 3, 4, at + 168, 0, 0, 11, 0, 1)
    changed = bytearray(content) + headers + b"/lib/ld.so\0"
    struct.pack_into("<Q", changed, 32, at)
    struct.pack_into("<H", changed, 56, 3)
    return bytes(changed)


Members = Mapping[str, bytes] | Sequence[tuple[zipfile.ZipInfo | str, bytes]]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Writes a wheel with some members."""

    def make(members: Members, name: str = NAME) -> Path:
        path = tmp_path / name
        items = members.items() if isinstance(members, Mapping) else members
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")
            for info, content in items:
                archive.writestr(info, content)
        return path

    return make


def answer(path: Path) -> Target | TargetError:
    """What becomes of a wheel, which is the same where its unpacking has begun beforehand."""

    def one() -> Target | TargetError:
        try:
            (target,) = targets.read(path)
        except TargetError as error:
            # Without what was in memory where it was raised.
            return TargetError(error.problem, advice=error.advice)
        return target

    plain = one()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "LEAST", 0)
        unpacking.begin([str(path)])
        begun = one()
    while unpacking._begun:
        unpacking._begun.popitem()[1].close()
    if isinstance(plain, TargetError):
        assert isinstance(begun, TargetError)
        assert str(begun) == str(plain)
    else:
        assert begun == plain
    return plain


def refused(path: Path) -> str:
    """What is said of a wheel that cannot be read, in one line and one piece of advice."""
    found = answer(path)
    assert isinstance(found, TargetError)
    assert found.exit_code is ExitCode.UNCHECKABLE
    assert str(path) in found.problem
    assert "\n" not in found.problem
    assert found.advice
    return found.problem


def read(path: Path) -> Target:
    found = answer(path)
    assert isinstance(found, Target)
    return found


# What is in a wheel.


def test_files_lie_where_an_installer_puts_them(made: Callable[..., Path]) -> None:
    target = read(
        made(
            {
                "sample/a.so": LIBRARY,
                "sample.libs/libz-1234.so.1.2": LIBRARY,
                "sample-1.0.data/platlib/sample/b.so": LIBRARY,
                "sample-1.0.data/purelib/sample/c.so": LIBRARY,
                "sample-1.0.data/scripts/run": program(),
                "sample-1.0.data/data/lib/libd.so": LIBRARY,
                "sample-1.0.dist-info/METADATA": b"",
            }
        )
    )
    assert set(target.files.files) == {
        *(f"{SITE}/sample/a.so", f"{SITE}/sample.libs/libz-1234.so.1.2"),
        *(f"{SITE}/sample/b.so", f"{SITE}/sample/c.so", f"{SCRIPTS}/run", f"{VENV}/lib/libd.so"),
    }
    assert target.name == NAME
    assert target.tags == {"cp313-cp313-manylinux_2_28_x86_64"}
    assert (target.unreadable, target.notes) == ({}, ())


def test_an_elf_file_is_found_whatever_its_name(made: Callable[..., Path]) -> None:
    target = read(
        made(
            {
                "s/bin/tool": program(b"libpython3.13.so.1.0"),
                "s/plug.in.1": LIBRARY,
                "s/x.py": LIBRARY,
            }
        )
    )
    assert set(target.files.files) == {f"{SITE}/s/bin/tool", f"{SITE}/s/plug.in.1"}
    assert target.programs == (f"{SITE}/s/bin/tool",)


def test_modules_are_told_from_libraries_by_what_they_define(made: Callable[..., Path]) -> None:
    target = read(
        made(
            {
                "s/_a.cpython-313-x86_64-linux-gnu.so": module("_a"),
                "s/_b.abi3.so": module("_b"),
                "s/_c.so": module("_c"),
                "s/_d.cpython-313t-x86_64-linux-gnu.so": module("_d"),
                "s/e/__init__.so": module("e"),
                "_top.so": module("_top"),
                "s/helper.so": LIBRARY,
                "s/renamed.so": module("other"),
                "s/versioned.so.1": module("versioned"),
                "s-x/_g.so": module("_g"),
                "s/_h.1.so": module("_h"),
                "s-1.0.data/data/_i.so": module("_i"),
                "s/tool.so": program(),
            }
        )
    )
    assert {(m.name, m.suffix) for m in target.modules} == {
        ("s._a", ".cpython-313-x86_64-linux-gnu.so"),
        ("s._b", ".abi3.so"),
        ("s._c", ".so"),
        ("s._d", ".cpython-313t-x86_64-linux-gnu.so"),
        ("s.e", ".so"),
        ("_top", ".so"),
        ("s._h", ".1.so"),
    }
    assert {m.path for m in target.modules} <= set(target.files.files)


def test_modules_that_the_import_reaches_come_first_in_its_order(made: Callable[..., Path]) -> None:
    target = read(
        made(
            {
                "s/__init__.py": b"from . import z, y\ntry:\n    from . import b\nexcept E: pass",
                "s/z.py": b"from ._z import f",
                "s/y.so": module("y"),
                "s/_z.so": module("_z"),
                "s/a.so": module("a"),
                "s/b.so": module("b"),
                "other/n.so": module("n"),
                "spaced/name/__init__.py": b"from . import c",
                "spaced/name/c.so": module("c"),
                "spaced/script.py": b"import s.a",
            }
        )
    )
    names = [m.name for m in target.modules]
    assert names == ["other.n", "s._z", "s.y", "spaced.name.c", "s.a", "s.b"]
    assert target.reached == {"other.n", "s._z", "s.y", "spaced.name.c"}


def test_tags_and_files_tell_what_it_is_built_for(made: Callable[..., Path]) -> None:
    arm = TinyElf(machine=183).build()
    two = read(made({"a.so": LIBRARY, "b.so": arm, "c.o": TinyElf(machine=8).build()}))
    assert two.architectures == {X86_64, AARCH64}
    name = "s-1.0-cp313-abi3.none-musllinux_1_2_x86_64.manylinux2014_x86_64.whl"
    assert len(read(made({}, name)).tags) == 4


@pytest.mark.parametrize(
    ("tag", "needed", "is_musl"),
    [
        ("musllinux_1_2_x86_64", b"libc.so.6", True),
        ("manylinux_2_28_x86_64", b"libc.musl-x86_64.so.1", False),
        ("manylinux2014_x86_64.musllinux_1_1_x86_64", b"libc.musl-x86_64.so.1", False),
        ("linux_x86_64", b"libc.musl-x86_64.so.1", True),
        ("linux_x86_64", b"libc.so.6", False),
        ("any", b"libc.musl-aarch64.so.1", True),
    ],
)
def test_musl_is_told_by_the_tag_and_else_by_what_is_needed(
    made: Callable[..., Path], tag: str, needed: bytes, is_musl: bool
) -> None:
    content = {"x.so": TinyElf(needed=[needed]).build()}
    assert read(made(content, f"s-1.0-py3-none-{tag}.whl")).is_musl is is_musl


def test_a_wheel_without_elf_files_is_read_and_has_none(made: Callable[..., Path]) -> None:
    target = read(made({"s/__init__.py": b"import os"}, "s-1.0-py3-none-any.whl"))
    assert (target.files.files, target.modules, target.reached) == ({}, (), frozenset())


@pytest.mark.parametrize(
    ("content", "problem", "words"),
    [
        (b"", "file too short", "empty"),
        (b"ab", "file too short", "text"),
        (b"libz.so.1", "invalid ELF header", "text"),
        (b"MZ\0\0", "invalid ELF header", "Windows"),
        (b"\xcf\xfa\xed\xfe\0", "invalid ELF header", "macOS"),
        (b"!<arch>\nabc\0", "invalid ELF header", "archive"),
        (b"\0" * 100, "invalid ELF header", "no ELF file"),
        (LIBRARY[:100], "cannot read file data", "beyond its end"),
        (TinyElf(machine=62).build().replace(b"\3\0", b"\1\0", 1), "only ET_DYN", "only ET_DYN"),
    ],
)
def test_a_library_that_is_none_is_told_and_is_in_the_loaders_way(
    made: Callable[..., Path], content: bytes, problem: str, words: str
) -> None:
    target = read(made({"s/x.so.1": content, "s/y": content.replace(b"\x7f", b"\x7e")}))
    (found,) = target.files.files.values()
    assert isinstance(found, Unloadable)
    assert problem in found.problem
    assert words in target.unreadable[f"{SITE}/s/x.so.1"]


def test_a_damaged_file_is_told_whatever_its_name_and_an_unlinked_one_is_no_business(
    made: Callable[..., Path],
) -> None:
    unlinked = LIBRARY.replace(b"\3\0", b"\1\0", 1)
    target = read(made({"s/tool": LIBRARY[:100], "s/crt1.o": unlinked}))
    assert set(target.unreadable) == {f"{SITE}/s/tool"}


# Names.


@pytest.mark.parametrize(
    "name",
    [
        *("../x.so", "/x.so", "a/../../x.so", "a/./x.so", "./x.so", "a//x.so", "..", "."),
        *("C:\\x.so", "C:/x.so", "a\\x.so", "\\\\host\\x.so"),
        *("s-1.0.data/x.so", "s-1.0.data/nonsense/x.so", "s-1.0.data/scripts/../x.so"),
    ],
)
def test_a_name_that_no_installer_takes_is_left_out_and_noted(
    made: Callable[..., Path], name: str
) -> None:
    assert place(name) is None
    target = read(made({name: LIBRARY, "good.so": LIBRARY}))
    assert set(target.files.files) == {f"{SITE}/good.so"}
    assert [repr(name) in note for note in target.notes] == [True]


def test_of_many_odd_names_some_are_told(made: Callable[..., Path]) -> None:
    target = read(made({f"../{n}": b"" for n in range(5000)}))
    assert len(target.notes) < 30
    assert "4980 more" in target.notes[-1]


def test_of_two_files_with_one_name_the_last_counts_as_for_installers(
    made: Callable[..., Path],
) -> None:
    members = [("x.so", b"text"), ("x.so", LIBRARY), ("s-1.0.data/platlib/x.so", module("x"))]
    target = read(made(members))
    assert [m.name for m in target.modules] == ["x"]
    assert len(target.notes) == 2
    assert target.unreadable == {}


def test_a_link_in_a_wheel_is_a_text_as_installers_write_it(made: Callable[..., Path]) -> None:
    info = zipfile.ZipInfo("s/libz.so")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    target = read(made([(info, b"/etc/passwd"), ("s/libz.so.1", LIBRARY)]))
    assert "symbolic link" in target.notes[0]
    assert "text" in target.unreadable[f"{SITE}/s/libz.so"]
    assert target.files.links == {}


def test_names_are_compared_in_any_script(made: Callable[..., Path]) -> None:
    target = read(made({"größe/ä.so": TinyElf(defined=[b"PyInitU_4ca"]).build()}))
    assert [m.name for m in target.modules] == ["größe.ä"]


@pytest.mark.parametrize("name", ["a.py", "a.PY", "d/b.json", "s-1.0.dist-info/RECORD", "x.tar.gz"])
def test_what_cannot_be_a_library_is_not_opened(name: str) -> None:
    assert not may_be_elf(name)


@pytest.mark.parametrize("name", ["a", "py", "lib", "a.so", "a.so.1", "json.so", ".so", "x.cubin"])
def test_whatever_could_be_a_library_is_opened(name: str) -> None:
    assert may_be_elf(name)


# Archives that no installer takes.


@pytest.mark.parametrize(
    "name",
    ["x.whl", "sample-1.0.whl", "a-b-c-d.whl", "s-1.0-py3-none-any (1).whl".replace(" ", "-")],
)
def test_a_name_that_is_not_a_wheels_is_refused(made: Callable[..., Path], name: str) -> None:
    assert "its name is not a wheel's" in refused(made({"x.so": LIBRARY}, name))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x1f\x8b", LIBRARY, b"\0" * 5000])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    assert "zip file" in refused(path)


def test_an_archive_that_is_cut_short_is_refused_wherever_it_is_cut(
    made: Callable[..., Path],
) -> None:
    path = made({"a.so": os.urandom(500), "b.so": LIBRARY, "c.py": b"import os"})
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 7):
        path.write_bytes(content[:length])
        refused(path)


def test_a_wheel_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(NAME)
    assert "cannot be read" in refused(tmp_path / NAME)


def test_encrypted_members_are_refused(made: Callable[..., Path]) -> None:
    path = made({"x.so": LIBRARY})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "'x.so' is encrypted" in refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_installers_do_not_know_are_refused(
    made: Callable[..., Path], method: int
) -> None:
    """A byte of theirs may become a million, all at once."""
    info = zipfile.ZipInfo("x.so")
    info.compress_type = method
    assert f"packed by method {method}" in refused(made([(info, LIBRARY)]))


def test_damaged_content_is_refused(made: Callable[..., Path]) -> None:
    path = made({"x.so": LIBRARY})
    content = bytearray(path.read_bytes())
    # A kind of block that deflate does not have, after the local header and the name.
    content[34] = 0xFF
    path.write_bytes(content)
    assert "no whole wheel" in refused(path)


def test_a_name_that_is_not_in_its_encoding_is_refused(made: Callable[..., Path]) -> None:
    path = made({"ä.so": LIBRARY})
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xfe"))
    assert "not in UTF-8" in refused(path)


# Archives that are made to do harm.


def bomb(size: int) -> bytes:
    """A library of which all has to be unpacked, and nearly all is zeros."""
    content = bytearray(TinyElf().build())
    for header in (64, 120):
        struct.pack_into("<Q", content, header + 8, size - 4096)
        struct.pack_into("<Q", content, header + 32, 4096)
    return bytes(content) + bytes(size - len(content))


def test_a_zip_bomb_is_refused_before_it_has_filled_anything(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    path = made({"x.so": bomb(200 << 20)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert "zip bomb" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert effort(lambda: refused(path)) < 100
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_many_small_bombs_are_one(made: Callable[..., Path]) -> None:
    content = bomb(1 << 20)
    assert "zip bomb" in refused(made({f"{n}.so": content for n in range(200)}))


def test_a_member_that_is_larger_than_it_says_is_read_as_far_as_it_says(
    made: Callable[..., Path],
) -> None:
    path = made({"x.so": bomb(1 << 20)})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    struct.pack_into("<I", content, at + 24, 1000)
    path.write_bytes(content)
    assert "CRC" in refused(path)


def test_a_large_library_goes_to_a_file_that_is_gone_afterwards(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its dynamic section and its texts are on both sides of what is kept in memory."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(wheel, "IN_MEMORY", 10_000)
    small = TinyElf(defined=[b"PyInit_x"], needed=[b"liba.so", b"libb.so"]).build()
    # The same file moved far away from its own program headers.
    moved = 3 << 20
    content = bytearray(small[:64]) + os.urandom(moved - 64) + bytearray(small)
    headers = bytearray(small[64 : 64 + 112])
    for header in (0, 56):
        struct.pack_into(
            "<Q", headers, header + 8, struct.unpack_from("<Q", headers, header + 8)[0] + moved
        )
    content[64 : 64 + 112] = headers
    target = read(made({"x.so": bytes(content)}))
    assert [m.name for m in target.modules] == ["x"]
    (found,) = target.files.files.values()
    assert isinstance(found, Object)
    assert found.needed == ("liba.so", "libb.so")
    assert (tmp_path / "cache").is_dir()
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_members_that_lie_within_each_other_are_refused(tmp_path: Path) -> None:
    """As in bombs that no single member shows."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.so", LIBRARY + os.urandom(2000))
    content = stream.getvalue()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry, last = content[start:end], bytearray(content[end:])
    struct.pack_into("<HHI", last, 8, 50, 50, 50 * len(entry))
    path = tmp_path / NAME
    path.write_bytes(content[:start] + entry * 50 + last)
    assert "within each other" in refused(path)


def directory_of(count: int, size: int) -> bytes:
    """An archive that is nothing but a table of contents."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *([0] * 16)) + b"x" * size
    entry = entry[:28] + struct.pack("<H", size) + entry[30:]
    total = count * len(entry)
    return entry * count + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, total, 0, 0)


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [(150_000, 1, "more than 100000 members"), (600, 60_000, "table of contents is above 32 MiB")],
)
def test_a_table_of_contents_that_would_fill_the_memory_is_refused(
    tmp_path: Path, count: int, size: int, words: str
) -> None:
    path = tmp_path / NAME
    path.write_bytes(directory_of(count, size))
    tracemalloc.start()
    try:
        assert words in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_size_that_no_library_has_is_refused(made: Callable[..., Path]) -> None:
    path = made({"x.so": LIBRARY})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    struct.pack_into("<I", content, at + 24, 0xFFFFFFFF)
    struct.pack_into("<H", content, at + 30, 12)
    content[at + 46 + 4 : at + 46 + 4] = struct.pack("<HHQ", 1, 8, 1 << 60)
    end = content.index(b"PK\5\6")
    struct.pack_into("<I", content, end + 12, end - at)
    path.write_bytes(content)
    assert "more than 8 GiB" in refused(path)


def test_nothing_is_written_for_a_wheel_that_is_read(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    path = made({"../x.so": LIBRARY, "s/x.so": LIBRARY, "/tmp/x.so": LIBRARY})
    before = sorted(tmp_path.rglob("*"))
    read(path)
    assert sorted(tmp_path.rglob("*")) == before


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(max_size=1500),
    reads=st.lists(st.tuples(st.integers(0, 1600), st.integers(0, 700)), max_size=12),
    in_memory=st.sampled_from([0, 1, 16, 17, 80, 300, 5000]),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_any_part_of_a_member_is_what_it_is_in_the_file(
    content: bytes, reads: list[tuple[int, int]], in_memory: int, method: int
) -> None:
    """Also where it goes over the ends of chunks, and from memory into the file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("x.so", content)
    with (
        pytest.MonkeyPatch.context() as patch,
        zipfile.ZipFile(stream) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        patch.setenv(cache.LOCATION_VARIABLE, folder)
        patch.setattr(unpacking, "FIRST", 16)
        patch.setattr(unpacking, "CHUNK", 64)
        patch.setattr(wheel, "IN_MEMORY", in_memory)
        budget = wheel._Budget(Path("x"), 1 << 20)
        info, file = archive.getinfo("x.so"), Path().stat()
        with (
            wheel._chunks(archive, info, file) as chunks,
            wheel._Member(chunks, info, budget) as member,
        ):
            patch.setattr(member, "_most", 1 << 20)
            for offset, size in reads:
                member.seek(offset)
                assert member.read(size) == content[offset : offset + size]
