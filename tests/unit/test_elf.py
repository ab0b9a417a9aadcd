"""ELF: what a file needs and leaves open, read right, and nothing from what is no such file."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import elf
from harness.elf import Dynamic
from harness.platforms import Platform
from tests.unit import tiny_elf
from tests.unit.conftest import Compile
from tests.unit.effort import effort
from tests.unit.tiny_elf import ABSOLUTE, GLOB_DAT, JUMP_SLOT, RELATIVE, TinyElf

# A function, a variable, a variable's address in data, a weak name, and names of others that
# begin like the C API's or hold it.
EXTENSION = """\
#include <Python.h>
#include <stdlib.h>
extern PyObject *Py_NobodyDefinesThis(void) __attribute__((weak));
extern int _Py_NotPublic, Pyx_Similar, py_small, NotPy_Either;
PyTypeObject *held[] = {&PyList_Type, &PyType_Type};
static PyObject *answer(PyObject *self, PyObject *unused) {
    if (Py_NobodyDefinesThis) return Py_NobodyDefinesThis();
    if (!getenv("X")) Py_RETURN_NONE;
    return PyLong_FromLong(_Py_NotPublic + Pyx_Similar + py_small + NotPy_Either);
}
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "sample", 0, -1, methods};
PyMODINIT_FUNC PyInit_sample(void) { return PyModule_Create(&definition); }
PyObject *PySample_OwnFunction(void) { return PyLong_FromLong(1); }
"""
SLOTS = {
    *("Py_NobodyDefinesThis", "PyList_Type", "PyType_Type", "_Py_NotPublic", "Pyx_Similar"),
    *("_Py_NoneStruct", "PyLong_FromLong", "PyModule_Create2"),
}


def slowly(path: Path) -> dict[str, int]:
    """The slots as pyelftools itself finds them: by its sections, one object for each entry."""
    found: dict[str, list[tuple[int, int]]] = {}
    with path.open("rb") as stream:
        file = ELFFile(stream)
        order = {
            "EM_X86_64": (GLOB_DAT, JUMP_SLOT, ABSOLUTE),
            "EM_AARCH64": (1025, 1026, 257),
        }[file["e_machine"]]
        first = min(segment["p_vaddr"] for segment in file.iter_segments("PT_LOAD"))
        for section in file.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            symbols = file.get_section(section["sh_link"])
            assert isinstance(symbols, SymbolTableSection)
            for relocation in section.iter_relocations():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                kind = relocation["r_info_type"]
                undefined = symbol["st_shndx"] == "SHN_UNDEF"
                if symbol.name.startswith(("Py", "_Py")) and undefined and kind in order:
                    place = relocation["r_offset"] - first
                    found.setdefault(symbol.name, []).append((order.index(kind), place))
    return {name: min(slots)[1] for name, slots in found.items()}


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-Wl,-z,now",),
        ("-fno-plt",),
        ("-Wl,--hash-style=sysv",),
        ("-Wl,-Bsymbolic", "-Wl,-z,norelro"),
    ],
    ids=" ".join,
)
def test_slots_are_those_that_pyelftools_finds_one_by_one(
    compiled: Compile, platform: Platform, flags: tuple[str, ...]
) -> None:
    built = compiled(EXTENSION, flags=flags, target=platform.triplet)
    found = elf.read(built)
    assert set(found.c_api_slots) == SLOTS
    assert found.c_api_slots == slowly(built)
    assert list(found.c_api_slots) == sorted(found.c_api_slots)
    assert not found.provides_c_api


def test_what_a_file_needs_is_in_the_order_of_the_loader(compiled: Compile) -> None:
    other = compiled("int other;", name="libother.so", flags=("-Wl,-soname=libother.so",))
    python = compiled(
        "int p;", name="libpython3.99.so", flags=("-Wl,-soname=libpython3.99.so.1.0",)
    )
    flags = tuple(
        flag
        for library in (python, other)
        for flag in ("-Wl,--no-as-needed", f"-L{library.parent}", f"-l:{library.name}")
    )
    found = elf.read(compiled("int here;", flags=flags))
    assert found.needed == ("libpython3.99.so.1.0", "libother.so")
    assert found.c_api_slots == {}


@pytest.mark.parametrize(
    ("source", "provides"),
    [
        ("void Py_InitializeEx(int x) {}", True),
        ("extern void Py_InitializeEx(int x); void f(void) { Py_InitializeEx(0); }", False),
        ("void Py_Initialize(void) {}", False),
        ("static void Py_InitializeEx(int x) {} void *f(void) { return Py_InitializeEx; }", False),
    ],
    ids=["defines it", "calls it", "defines another", "has one of its own"],
)
def test_a_copy_of_libpython_is_told_by_the_function_that_starts_an_interpreter(
    compiled: Compile, source: str, provides: bool
) -> None:
    assert elf.read(compiled(source)).provides_c_api == provides


def test_the_running_libpython_or_interpreter_provides_the_c_api() -> None:
    """The real thing, whose symbols are counted in thousands."""
    with Path("/proc/self/maps").open() as maps:
        lines = [line.split(None, 5) for line in maps]
    home = next(
        line[5].strip()
        for line in lines
        if len(line) == 6
        if int(line[0].split("-")[0], 16) <= id(int) < int(line[0].split("-")[1], 16)
    )
    assert elf.read(Path(home)).provides_c_api


# Files made by hand.


def written(directory: Path, content: bytes) -> Path:
    path = directory / "x.so"
    path.write_bytes(content)
    return path


def test_a_file_without_sections_is_read_all_the_same(tmp_path: Path) -> None:
    """Slots are virtual addresses, to which the loader adds what it has moved the file by."""
    for base in (0, 0x400000):
        content = TinyElf(
            undefined=[b"Py_A", b"free", b"_Py_B"],
            defined=[b"Py_C"],
            plt=[(base + 0x5000, JUMP_SLOT, 0), (base + 0x5008, JUMP_SLOT, 1)],
            data=[(base + 0x6000, GLOB_DAT, 2), (base + 0x6008, GLOB_DAT, 3)],
            needed=[b"libpython3.13.so.1.0", b"libc.so.6"],
            base=base,
        ).build()
        assert elf.read(written(tmp_path, content)) == Dynamic(
            needed=("libpython3.13.so.1.0", "libc.so.6"),
            code_address=base,
            c_api_slots={"Py_A": base + 0x5000, "_Py_B": base + 0x6000},
            provides_c_api=False,
        )


def test_of_several_slots_for_a_name_the_one_that_stays_is_taken(tmp_path: Path) -> None:
    """What the program has in its data it may change; the linker's own table it does not."""
    content = TinyElf(
        undefined=[b"Py_A", b"Py_B", b"Py_C", b"Py_D"],
        plt=[(0x5000, JUMP_SLOT, 0), (0x5008, JUMP_SLOT, 1), (0x5010, RELATIVE, 3)],
        data=[
            *((0x4000, ABSOLUTE, 0), (0x4008, ABSOLUTE, 1), (0x6000, GLOB_DAT, 0)),
            *((0x4020, ABSOLUTE, 2), (0x4018, ABSOLUTE, 2)),
        ],
    ).build()
    found = elf.read(written(tmp_path, content)).c_api_slots
    assert found == {"Py_A": 0x6000, "Py_B": 0x5008, "Py_C": 0x4018}


TABLES = (tiny_elf.JMPREL, tiny_elf.PLTRELSZ, tiny_elf.RELA, tiny_elf.RELASZ)


@pytest.mark.parametrize("without", [TABLES[:2], TABLES[2:], TABLES])
def test_a_file_without_relocations_has_no_slots_of_that_kind(
    tmp_path: Path, without: tuple[int, ...]
) -> None:
    content = TinyElf(
        undefined=[b"Py_A", b"Py_B"],
        plt=[(0x5000, JUMP_SLOT, 0)],
        data=[(0x6000, GLOB_DAT, 1)],
        needed=[b"libc.so.6"],
        without=without,
    ).build()
    expected = {"Py_A": 0x5000} if TABLES[0] not in without else {}
    expected |= {"Py_B": 0x6000} if TABLES[2] not in without else {}
    found = elf.read(written(tmp_path, content))
    assert (found.c_api_slots, found.needed) == (expected, ("libc.so.6",))


def test_a_machine_that_is_no_platform_has_no_slots(tmp_path: Path) -> None:
    content = TinyElf(
        undefined=[b"Py_A"], data=[(0x6000, GLOB_DAT, 0)], needed=[b"x"], machine=22
    ).build()
    assert elf.read(written(tmp_path, content)) == Dynamic(needed=("x",))


def test_a_32_bit_file_has_no_slots(compiled: Compile) -> None:
    """Nothing of ours runs it, but a wheel may carry one."""
    source = "extern void *Py_None; void *f(void) { return Py_None; }"
    found = elf.read(compiled(source, flags=("-nostdlib",), target="x86-linux-gnu"))
    assert found == Dynamic()


def test_an_object_that_is_not_linked_asks_for_nothing(compiled: Compile) -> None:
    source = "extern void *Py_None; void *f(void) { return Py_None; }"
    assert elf.read(compiled(source, name="x.o", flags=("-c",))) == Dynamic()


def test_a_library_of_a_hundred_thousand_symbols_is_read_in_a_moment(tmp_path: Path) -> None:
    """As large C++ libraries have them; one by one, the symbols alone take 80 times as long."""
    others = [f"_ZN5large7library{number}Ev".encode() for number in range(100_000)]
    content = TinyElf(
        undefined=[*others[:50_000], b"PyLong_FromLong"],
        defined=others[50_000:],
        plt=[(8 * number, JUMP_SLOT, number) for number in range(50_001)],
        data=[(8 * number, RELATIVE, -1) for number in range(50_001, 150_000)],
    ).build()
    path = written(tmp_path, content)
    found = elf.read(path)
    assert effort(lambda: elf.read(path)) < 100
    assert found.c_api_slots == {"PyLong_FromLong": 8 * 50_000}


def peak(path: Path) -> int:
    """The most memory that reading a file takes at once, in bytes."""
    tracemalloc.start()
    try:
        assert isinstance(elf.read(path), Dynamic)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Files that are none.


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7f",
        b"\x7fELF",
        b"\x7fELF" + b"\0" * 12,
        b"\x7fELF" + b"\xff" * 500,
        b"\x7fELF\x02\x01\x01" + b"\0" * 500,
        b"\x7fELF\x02\x02\x01" + b"\0" * 500,
        b"#!/bin/sh\n",
        b"MZ" + b"\0" * 500,
        b"!<arch>\n",
        b"INPUT ( libpython3.13.so )\n",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_file_that_is_no_shared_object_asks_for_nothing(tmp_path: Path, content: bytes) -> None:
    assert elf.read(written(tmp_path, content)) == Dynamic()


def test_what_cannot_be_opened_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "loop"):
        assert elf.read(path) == Dynamic()


GOOD = TinyElf(
    undefined=[b"Py_A", b"free", b"_Py_B"],
    defined=[b"Py_InitializeEx"],
    plt=[(0x5000, JUMP_SLOT, 0)],
    data=[(0x6000, GLOB_DAT, 2)],
    needed=[b"libc.so.6"],
)


def test_the_file_that_is_damaged_below_is_good(tmp_path: Path) -> None:
    assert elf.read(written(tmp_path, GOOD.build())) == Dynamic(
        needed=("libc.so.6",), c_api_slots={"Py_A": 0x5000, "_Py_B": 0x6000}, provides_c_api=True
    )


def test_a_file_that_is_cut_short_is_read_without_an_error(
    tmp_path: Path, compiled: Compile
) -> None:
    """Wherever it is cut; sections and segments are in different places in the two."""
    for content in (GOOD.build(), compiled(EXTENSION).read_bytes()):
        step = max(1, len(content) // 200)
        for length in range(0, len(content), step):
            assert isinstance(elf.read(written(tmp_path, content[:length])), Dynamic)


WORDS = [
    0,
    1,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    2**40,
    2**47,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]


@settings(max_examples=400, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from(WORDS), st.sampled_from([1, 2, 4, 8])),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_is_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, int]]
) -> None:
    """A wheel may hold anything, and one odd file must not end a run of hundreds of cells."""
    content = bytearray(GOOD.build())
    for at, value, size in edits:
        at %= len(content) - 8
        content[at : at + size] = (value & (256**size - 1)).to_bytes(size, "little")
    path = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}.so"
    path.write_bytes(content)
    assert isinstance(elf.read(path), Dynamic)


@pytest.mark.parametrize("value", [2**31, 2**47, 2**63, 2**64 - 1])
@pytest.mark.parametrize("tag", ["STRSZ", "PLTRELSZ", "RELASZ", "STRTAB", "SYMTAB", "HASH", "RELA"])
def test_a_table_that_claims_to_be_larger_than_its_file_is_not_believed(
    tmp_path: Path, tag: str, value: int
) -> None:
    """Nor is memory taken for it, however much the machine has."""
    content = TinyElf(
        undefined=GOOD.undefined,
        plt=GOOD.plt,
        data=GOOD.data,
        change={getattr(tiny_elf, tag): value},
    ).build()
    path = written(tmp_path, content)
    assert isinstance(elf.read(path), Dynamic)
    assert peak(path) < 16 << 20


def test_a_count_of_symbols_that_is_larger_than_the_file_is_not_believed(tmp_path: Path) -> None:
    content = bytearray(GOOD.build())
    # The hash table says how many there are: one bucket, then the number.
    at = content.index(b"\1\0\0\0\5\0\0\0")
    content[at + 4 : at + 8] = b"\xff" * 4
    assert peak(written(tmp_path, bytes(content))) < 16 << 20


def test_names_that_lie_within_each_other_do_not_fill_the_memory(tmp_path: Path) -> None:
    """No name of the C API is longer than a line; here each is the rest of a megabyte."""
    count = 2000
    text = b"Py" * (count // 2) + b"y" * (1 << 20) + b"\0"
    content = TinyElf(
        undefined=[b""] * count,
        plt=[(8 * number, JUMP_SLOT, number) for number in range(count)],
        strings=text,
    ).build()
    path = written(tmp_path, content)
    assert peak(path) < 64 << 20


# Which files of a tree are looked at.


def test_the_elf_files_of_a_tree_are_found_whatever_their_names_in_order(tmp_path: Path) -> None:
    content = {
        "b/libz.so.1": b"\x7fELF...",
        "b/module.so": b"\x7fELF",
        "a/tool": b"\x7fELF",
        "a/script": b"#!/bin/sh",
        "a/short": b"\x7fEL",
        "a/empty.so": b"",
        "a/text.so": b"INPUT (libz.so.1)",
        "B/x.so": b"\x7fELF",
    }
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "b" / "libz.so").symlink_to("libz.so.1")
    (tmp_path / "dangling.so").symlink_to("nowhere")
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "linked").symlink_to("b", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.so")
    found = [path.relative_to(tmp_path).as_posix() for path in elf.files(tmp_path)]
    assert found == ["B/x.so", "a/tool", "b/libz.so.1", "b/module.so"]


def test_a_tree_without_elf_files_has_none(tmp_path: Path) -> None:
    assert list(elf.files(tmp_path)) == []
    assert list(elf.files(tmp_path / "absent")) == []


def test_the_loaders_sections_of_the_compiled_file_are_really_there(compiled: Compile) -> None:
    """Else the comparison with pyelftools' own reading would compare nothing."""
    with compiled(EXTENSION).open("rb") as stream:
        file = ELFFile(stream)
        assert isinstance(file.get_section_by_name(".dynamic"), DynamicSection)
        kinds = [type(section) for section in file.iter_sections()]
    assert kinds.count(RelocationSection) == 2
