"""What an ELF file tells the loader: read right, in little, and from whatever file there is."""

from __future__ import annotations

import io
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from harness import elf
from harness.loader.objects import AARCH64, X86_64, Architecture, Object, Unloadable
from tests.fuzz import mutations
from tests.unit import tiny_elf
from tests.unit.conftest import Compile
from tests.unit.effort import effort
from tests.unit.tiny_elf import TinyElf

ARCHITECTURES = {
    "x86_64-linux-gnu": X86_64,
    "aarch64-linux-gnu": AARCH64,
    "x86-linux-gnu": Architecture(3, 32),
    "arm-linux-gnueabihf": Architecture(40, 32),
    "s390x-linux-gnu": Architecture(22, 64, True),
    "powerpc-linux-gnueabihf": Architecture(20, 32, True),
    "mips-linux-gnueabihf": Architecture(8, 32, True),
}


def read(content: bytes) -> Object | Unloadable | None:
    return elf.read_object(io.BytesIO(content))


def read_well(content: bytes) -> Object:
    found = read(content)
    assert isinstance(found, Object), found
    return found


def by_pyelftools(path: Path) -> Object:
    """The same as another reader has it."""
    with path.open("rb") as stream:
        file = ELFFile(stream)
        segment = next((s for s in file.iter_segments() if isinstance(s, DynamicSegment)), None)
        tags = [*segment.iter_tags()] if segment else []
        segments = [s for s in file.iter_segments() if isinstance(s, InterpSegment)]
        interpreters = [s.get_interp_name() for s in segments]

        def texts(tag: str, attribute: str) -> list[str]:
            return [str(vars(t)[attribute]) for t in tags if t.entry.d_tag == tag]

        def last(tag: str, attribute: str) -> str | None:
            return next(reversed(texts(tag, attribute)), None)

        flags = next((int(t.entry.d_val) for t in tags if t.entry.d_tag == "DT_FLAGS_1"), 0)
        kinds = {t.entry.d_tag for t in tags}
        return Object(
            architecture=Architecture(
                struct.unpack("<H" if file.little_endian else ">H", path.read_bytes()[18:20])[0],
                file.elfclass,
                not file.little_endian,
            ),
            soname=last("DT_SONAME", "soname"),
            needed=tuple(texts("DT_NEEDED", "needed")),
            rpath=last("DT_RPATH", "rpath"),
            runpath=last("DT_RUNPATH", "runpath"),
            no_default_libraries=bool(flags & 0x800),
            interpreter=interpreters[0] if interpreters else None,
            is_program=bool(interpreters)
            and (file["e_type"] == "ET_EXEC" or bool(flags & 1 << 27) or "DT_DEBUG" in kinds),
        )


def of_this_machine() -> Iterator[Path]:
    """Libraries and programs of the environment and the Python that run these tests."""
    places = [Path(sysconfig.get_path("platlib")), Path(sysconfig.get_path("platstdlib"))]
    yield Path(sys.executable).resolve()
    for place in places:
        files = sorted(path for path in place.rglob("*.so*") if path.is_file())
        # Enough of both to have seen every kind, in a second or two.
        yield from files[:: max(1, len(files) // 60)]


def test_real_files_are_read_as_pyelftools_reads_them() -> None:
    compared = 0
    for path in of_this_machine():
        with path.open("rb") as stream:
            found = elf.read_object(stream)
        if found is not None:
            assert found == by_pyelftools(path), path
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("triplet", ARCHITECTURES)
def test_every_class_and_byte_order_is_read(compiled: Compile, triplet: str) -> None:
    flags = (*mutations.FLAGS, "-Wl,-rpath,/two")
    path = compiled(mutations.SOURCE, target=triplet, flags=flags)
    found = read_well(path.read_bytes())
    assert found == by_pyelftools(path)
    assert found.architecture == ARCHITECTURES[triplet]
    assert (found.soname, found.runpath) == ("libsample.so", "$ORIGIN/libs:/two")
    with path.open("rb") as stream:
        reader = elf.Reader(stream)
        assert elf.is_extension_module(reader, "sample")
        assert not elf.is_extension_module(reader, "other")


def test_of_several_search_paths_the_last_counts_as_in_the_loader() -> None:
    found = read_well(
        TinyElf(
            texts=[
                *((tiny_elf.RPATH, b"/one"), (tiny_elf.RPATH, b"/two")),
                *((tiny_elf.RUNPATH, b"/three"), (tiny_elf.RUNPATH, b"")),
                *((tiny_elf.SONAME, b"one.so"), (tiny_elf.SONAME, b"two.so")),
            ],
        ).build()
    )
    assert (found.rpath, found.runpath, found.soname) == ("/two", "", "two.so")


@pytest.mark.parametrize(("flags", "alone"), [(0x800, True), (0x801, True), (0x1, False)])
def test_the_wish_for_no_default_libraries_is_seen(flags: int, alone: bool) -> None:
    content = TinyElf(numbers=[(tiny_elf.FLAGS_1, flags)]).build()
    assert read_well(content).no_default_libraries is alone


@pytest.mark.parametrize("name", [b"\xff\xfe.so", b"a\xc3.so", "ä.so".encode()])
def test_a_name_in_no_encoding_can_be_written_all_the_same(name: bytes) -> None:
    (found,) = read_well(TinyElf(needed=[name]).build()).needed
    assert found == name.decode("utf-8", "backslashreplace")
    found.encode()


# Programs.


def started(content: bytes, interpreter: bytes = b"/lib/ld.so") -> bytes:
    """The same with the second program header moved, and PT_INTERP and its text added."""
    at = len(content)
    headers = bytearray(content[64 : 64 + 112])
    headers += struct.pack("<IIQQQQQQ", 3, 4, at + 168, 0, 0, len(interpreter), 0, 1)
    changed = bytearray(content) + headers + interpreter
    struct.pack_into("<Q", changed, 32, at)
    struct.pack_into("<H", changed, 56, 3)
    return bytes(changed)


@pytest.mark.parametrize(
    ("numbers", "is_program"),
    [
        ([(tiny_elf.FLAGS_1, 0x08000000)], True),
        ([(tiny_elf.DEBUG, 0)], True),
        ([(tiny_elf.FLAGS_1, 0x1)], False),
        ([], False),
    ],
    ids=["PIE", "PIE of an old linker", "library that can be run", "another"],
)
def test_a_program_is_told_from_a_library_that_can_be_run(
    numbers: list[tuple[int, int]], is_program: bool
) -> None:
    """libc.so.6 has a PT_INTERP, too, and is loaded by all programs."""
    found = read_well(started(TinyElf(numbers=numbers).build()))
    assert (found.interpreter, found.is_program) == ("/lib/ld.so", is_program)


def test_a_program_at_a_fixed_address_is_one() -> None:
    content = bytearray(started(TinyElf().build(), b"/lib/ld.so\0"))
    struct.pack_into("<H", content, 16, 2)
    found = read_well(bytes(content))
    assert (found.interpreter, found.is_program) == ("/lib/ld.so", True)


def test_without_an_interpreter_nothing_is_a_program() -> None:
    assert not read_well(TinyElf(numbers=[(tiny_elf.FLAGS_1, 0x08000000)]).build()).is_program


def test_the_running_python_is_a_program_and_its_modules_are_none() -> None:
    with Path(sys.executable).open("rb") as stream:
        found = elf.read_object(stream)
    assert isinstance(found, Object)
    assert found.is_program


# Files that no loader takes.


@pytest.mark.parametrize("content", [b"", b"\x7fEL", b"#!/bin/sh", b"MZ\0\0", b"INPUT(x.so)"])
def test_what_does_not_begin_like_an_elf_file_is_none(content: bytes) -> None:
    assert read(content) is None


def edited(*edits: tuple[int, bytes]) -> bytes:
    content = bytearray(TinyElf(needed=[b"libx.so"]).build())
    for at, value in edits:
        content[at : at + len(value)] = value
    return bytes(content)


DYNAMIC = 64 + 56
"""Where the second program header is, the dynamic section's."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF", "file too short"),
        (edited()[:60], "file too short"),
        (edited((4, b"\3")), "wrong ELF class: 3"),
        (edited((5, b"\0")), "data encoding"),
        (edited((6, b"\2")), "version ident"),
        (edited((20, b"\2")), "version does not match"),
        (edited((16, b"\1\0")), elf.NO_LIBRARY),
        (edited((16, b"\4\0")), elf.NO_LIBRARY),
        (edited((54, b"\x20\0")), "phentsize"),
        (edited((32, b"\xff\xff\xff")), "program headers would lie beyond its end"),
        (edited((32, b"\xff" * 8)), "beyond any file's end"),
        (edited((56, b"\xff\xff")), "65535 program headers"),
        (edited((56, b"\0\0")), "no loadable segments"),
        (edited((56, b"\1\0")), "no dynamic section"),
        (edited((DYNAMIC + 16, b"\0\0\0\x10")), "nothing of the file is at the address"),
        (edited((DYNAMIC + 40, b"\0\0\0\x10")), "a dynamic section of 268435456 bytes"),
        (edited((DYNAMIC + 40, b"\x20\0")), "the dynamic section has no end"),
        (TinyElf(needed=[b"x"], without=[tiny_elf.STRTAB]).build(), "has no DT_STRTAB"),
        (
            TinyElf(needed=[b"x"], change={tiny_elf.STRTAB: 1 << 40}).build(),
            "nothing of the file is at the address",
        ),
        (TinyElf(needed=[b"x"] * 2000).build(), "2000 entries in DT_NEEDED"),
        (TinyElf(needed=[b"x" * 9000]).build(), "longer than 4096 bytes"),
        (TinyElf(needed=[b"x"], change={tiny_elf.NEEDED: 1 << 62}).build(), "nothing of the file"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_words(content: bytes, words: str) -> None:
    found = read(content)
    assert isinstance(found, Unloadable), found
    assert words in found.problem
    assert elf.Reader(io.BytesIO(content)).defines("x") is False


@pytest.mark.parametrize("power", [41, 44, 50, 62, 63])
def test_an_offset_that_no_file_system_has_is_an_error_of_the_file(
    tmp_path: Path, power: int
) -> None:
    """Found by tests.fuzz: seeking there fails on a file, which it does not in memory."""
    path = tmp_path / "x.so"
    for at in (32, 64 + 8, DYNAMIC + 8):
        path.write_bytes(edited((at, struct.pack("<Q", 1 << power))))
        with path.open("rb") as stream:
            assert isinstance(elf.read_object(stream), Object | Unloadable)
        assert elf.read(path) is not None


# In little.


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found


def test_little_is_read_of_a_large_library(compiled: Compile) -> None:
    """A symbol is looked up as the loader does, not found by reading all of them."""
    long = "x" * 400
    names = "".join(f"int {long}_{number};\n" for number in range(3000))
    source = names + "void *PyInit_large(void) { return 0; }"
    for style in ("gnu", "sysv"):
        path = compiled(source, flags=("-nostdlib", f"-Wl,--hash-style={style}"), name="large.so")
        stream = Counted(path.read_bytes())
        assert len(stream.getvalue()) > 1 << 20
        content = path.read_bytes()

        def search(content: bytes = content) -> bool:
            return elf.Reader(io.BytesIO(content)).defines(f"{long}_3000")

        assert effort(search) < 5
        reader = elf.Reader(stream)
        assert isinstance(reader.object(), Object)
        assert elf.is_extension_module(reader, "large")
        assert reader.defines(f"{long}_2999")
        assert not reader.defines(f"{long}_3000")
        assert stream.count < 1 << 16


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_a_symbol_counts_where_it_is_defined_and_exported(compiled: Compile, style: str) -> None:
    source = """
        extern int elsewhere(void);
        static int hidden(void) { return elsewhere(); }
        int visible(void) { return hidden(); }
    """
    flags = ("-nostdlib", f"-Wl,--hash-style={style}")
    with compiled(source, flags=flags).open("rb") as stream:
        reader = elf.Reader(stream)
        found = [reader.defines(name) for name in ("visible", "hidden", "elsewhere", "visibl", "")]
    assert found == [True, False, False, False, False]


def test_a_library_without_a_hash_table_defines_nothing_that_the_loader_would_find() -> None:
    content = TinyElf(defined=[b"PyInit_x"], without=[tiny_elf.HASH]).build()
    assert not elf.is_extension_module(elf.Reader(io.BytesIO(content)), "x")


def test_a_chain_of_symbols_that_is_a_loop_ends() -> None:
    content = bytearray(TinyElf(defined=[b"a", b"b", b"c"]).build())
    # One bucket, four symbols; the bucket leads to the first of them, each to the next, back again.
    at = content.index(struct.pack("<II", 1, 4))
    struct.pack_into("<5I", content, at + 8, 1, 0, 2, 3, 1)
    reader = elf.Reader(io.BytesIO(bytes(content)))
    assert reader.defines("c")
    assert not reader.defines("d")
    assert effort(lambda: reader.defines("d")) < 5


@pytest.mark.parametrize(
    ("stem", "function"),
    [("spam", "PyInit_spam"), ("lančmít", "PyInitU_lanmt_2sa6t"), ("スパム", "PyInitU_zck5b2b")],
)
def test_the_function_of_a_module_is_called_as_in_cpython(stem: str, function: str) -> None:
    """PEP 489, which has these examples."""
    assert elf.init_name(stem) == function


@pytest.mark.parametrize(
    ("function", "is_module"),
    [
        (b"PyInit_x", True),
        (b"PyModExport_x", True),
        (b"PyInit_y", False),
        (b"initx", False),
    ],
)
def test_a_module_is_told_from_a_library_by_the_function_that_python_calls(
    compiled: Compile, function: bytes, is_module: bool
) -> None:
    source = f"void *{function.decode()}(void) {{ return 0; }}"
    with compiled(source, flags=("-nostdlib",)).open("rb") as stream:
        assert elf.is_extension_module(elf.Reader(stream), "x") is is_module


@pytest.mark.parametrize(("memory", "is_read"), [(0, True), (4096, False)])
def test_the_rest_of_the_last_page_is_there_unless_variables_are_put_over_it(
    memory: int, is_read: bool
) -> None:
    """There patchelf leaves the dynamic section of some programs, and they start."""
    content = bytearray(TinyElf(needed=(b"libx.so",)).build())
    # The segment ends before the dynamic section, whose place the other header tells.
    (dynamic,) = struct.unpack_from("<Q", content, 64 + 56 + 8)
    struct.pack_into("<QQ", content, 64 + 32, dynamic, dynamic + memory)
    found = elf.read_object(io.BytesIO(bytes(content)))
    if is_read:
        assert isinstance(found, Object)
        assert found.needed == ("libx.so",)
    else:
        assert isinstance(found, Unloadable)


def test_a_hash_table_that_is_cut_in_the_middle_of_a_word_is_no_crash(tmp_path: Path) -> None:
    """Found by the fuzzer: input 25361 of seed 12."""

    def build(at: int) -> bytes:
        tags = [(0x6FFFFEF5, at)]
        return TinyElf(undefined=(b"PyLong_FromLong",), without=(4,), numbers=tags).build()

    at = len(build(0))
    table = struct.pack("<4I", 1000, 1, 0, 0) + b"\1\2\3\4\5\6"
    content = bytearray(build(at) + table)
    struct.pack_into("<QQ", content, 64 + 32, len(content), len(content))
    path = tmp_path / "cut.so"
    path.write_bytes(content)
    assert elf.read(path).c_api_slots == {}
