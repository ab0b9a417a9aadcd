"""What is in an interpreter's archive, and which archives are refused before anything uses them."""

from __future__ import annotations

import gzip
import importlib.util
import io
import posixpath
import re
import sys
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import archives, contents, replica, tarball
from harness.contents import Contents, look
from harness.errors import ArchiveError
from harness.loader.objects import Object, Unloadable
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.tarball import Tarball
from tests import hostile_archives
from tests.hostile_archives import (
    LIBRARY,
    LOADER,
    NAME,
    PIECES,
    PROGRAM,
    Entry,
    corrected,
    extended,
    interpreter,
    packed,
    tar,
    varied,
    zstd,
)
from tests.unit import tiny_elf
from tests.unit.conftest import Compile
from tests.unit.tiny_elf import TinyElf

CHECKS = Path(__file__).parents[2] / "cases" / "checks"

FULL_NAME = "cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-freethreaded+pgo+lto-full.tar.zst"

MEGABYTE = 1 << 20

Read = Callable[..., Contents]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads an archive's bytes."""

    def read(content: bytes, name: str = NAME) -> Contents:
        path = tmp_path / "archive"
        path.write_bytes(content)
        return look(path, name)

    return read


# What is in it.


def test_an_archive_is_read_in_one_go(read: Read) -> None:
    found = read(hostile_archives.good())
    assert found.linked is LinkModel.STATIC
    assert found.linked_because == "bin/python3.13 exports the C API, and has no search path"
    assert found.platform is Platform.X86_64
    assert found.libc == "gnu"
    assert found.version == "3.13.3"
    assert found.misnamed is None
    assert not found.is_replica
    assert found.members == 6
    assert found.unpacked == len(tar(interpreter()))


def test_an_archive_is_listed_by_the_places_where_an_interpreter_has_its_files(
    read: Read, compiled: Compile
) -> None:
    module = compiled("void *PyInit_sample(void) { return 0; }").read_bytes()
    dynload = "python/lib/python3.13/lib-dynload"
    entries = [
        *interpreter(),
        Entry(name="python/bin/idle3", content=b"#!/bin/sh\n"),
        Entry(name="python/lib/libx.so", content=LIBRARY),
        Entry(name="python/lib/liby.so", kind=tarfile.LNKTYPE, target="python/lib/libx.so"),
        Entry(name="python/lib/libz.so", kind=tarfile.LNKTYPE, target="python/lib/liby.so"),
        Entry(name="python/lib/script.so", content=b"/* GNU ld script */"),
        Entry(name="python/lib/broken.so", content=b"\x7fELF but no more"),
        Entry(name="python/lib/python3.13/config/python.o", content=LIBRARY),
        Entry(name=f"{dynload}/sample.cpython-313-x86_64-linux-gnu.so", content=module),
        Entry(name=f"{dynload}/other.so", content=module),
        Entry(name="python/share/plain", content=module),
        Entry(
            name=f"{dynload}/sample.so",
            kind=tarfile.LNKTYPE,
            target=f"{dynload}/sample.cpython-313-x86_64-linux-gnu.so",
        ),
        Entry(name="python/lib/linked.so", kind=tarfile.LNKTYPE, target="python/share/plain"),
        Entry(name="python/include/python3.13/Python.h", content=LIBRARY),
        Entry(name="python/empty", kind=tarfile.DIRTYPE),
    ]
    listed = read(packed(tar(entries))).inventory
    here = dynload.removeprefix("python")
    assert sorted(listed.files.files) == [
        *("/bin/python3.13", "/lib/broken.so", "/lib/libpython3.13.so.1.0"),
        *("/lib/libx.so", "/lib/liby.so", "/lib/libz.so", "/lib/linked.so"),
        *(f"{here}/other.so", f"{here}/sample.cpython-313-x86_64-linux-gnu.so"),
        f"{here}/sample.so",
    ]
    assert isinstance(listed.files.files["/lib/broken.so"], Unloadable)
    assert isinstance(listed.files.files["/lib/liby.so"], Object)
    assert listed.files.links == {
        "/bin/python3": "python3.13",
        "/lib/libpython3.13.so": "libpython3.13.so.1.0",
    }
    assert listed.files.identity("/lib/libz.so") == "/lib/libx.so"
    # A module is one by the function that Python calls, which has the module's own name.
    assert listed.modules == (
        f"{here}/sample.cpython-313-x86_64-linux-gnu.so",
        f"{here}/sample.so",
    )


OBJECT = Random(0).randbytes(9 * MEGABYTE)


def full(*more: Entry, program: str = "python3.13t") -> list[Entry]:
    """The members of a full archive."""
    return [
        Entry(name="python/PYTHON.json", content=b"{}"),
        Entry(name="python/build/core/python.o", content=OBJECT),
        Entry(name="python/build/lib/libpython3.13.so", content=LIBRARY),
        Entry(name="python/install/bin", kind=tarfile.DIRTYPE),
        Entry(name=f"python/install/bin/{program}", content=PROGRAM),
        Entry(name="python/install/bin/python3", kind=tarfile.SYMTYPE, target=program),
        Entry(name="python/install/lib/libpython3.13t.so.1.0", content=LIBRARY),
        Entry(name="python/install/lib/python3.13t/os.py", content=b"import abc\n"),
        *more,
    ]


@pytest.mark.parametrize("program", ["python3.13t", "python3.13d", "python3.13"])
def test_of_a_full_archive_only_what_is_installed_is_the_interpreter(
    read: Read, program: str
) -> None:
    """Not the objects that it was built from, which are not even held in memory."""
    content = zstd(tar(full(program=program)))
    tracemalloc.start()
    found = read(content, FULL_NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(found.inventory.files.files) == [
        f"/bin/{program}",
        "/lib/libpython3.13t.so.1.0",
    ]
    assert found.inventory.files.links == {"/bin/python3": program}
    assert found.linked is LinkModel.STATIC
    assert peak < 6 * MEGABYTE


def test_a_version_is_read_from_the_header_or_as_far_as_the_library_says(read: Read) -> None:
    without = read(zstd(tar(full())), FULL_NAME)
    assert (without.version, without.misnamed) == ("3.13", None)
    header = Entry(
        name="python/install/include/python3.13t/patchlevel.h",
        content=b'#define PY_VERSION_HEX 1\n#define PY_VERSION  "3.13.5+"\n',
    )
    with_it = read(zstd(tar(full(header))), FULL_NAME)
    assert (with_it.version, with_it.misnamed) == ("3.13.5", "3.13.3")
    assert read(zstd(tar(full(header))), FULL_NAME.replace("13.3", "13.5")).misnamed is None


def test_what_lies_beside_a_full_archives_interpreter_says_nothing_of_it(read: Read) -> None:
    beside = [
        Entry(
            name="python/include/python3.12/patchlevel.h", content=b'#define PY_VERSION "3.12.9"\n'
        ),
        Entry(name=f"python/{replica.MARK}"),
        Entry(name="python/bin/python", content=b"\x7fELF"),
    ]
    found = read(zstd(tar(full(*beside))), FULL_NAME)
    assert found.version == "3.13"
    assert not found.is_replica
    assert "/bin/python" not in found.inventory.files.files


def test_a_name_that_is_none_of_a_release_promises_no_platform(read: Read) -> None:
    """Such as a replica's own."""
    found = read(hostile_archives.good(), "cpython-3.13.3+static~replica-aarch64.tar.gz")
    assert found.platform is Platform.X86_64
    assert found.misnamed is None
    other = packed(tar(interpreter(program=TinyElf(machine=40).build())))
    assert read(other, "python.tar.gz").platform is None


def test_a_replica_is_known_whatever_it_is_called(read: Read, tmp_path: Path) -> None:
    layout = tmp_path / "python"
    for entry in interpreter():
        path = tmp_path / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.target:
            path.symlink_to(entry.target)
        else:
            path.write_bytes(entry.content)
    path = tmp_path / "made.tar.gz"
    archives.write_gzip(path, layout, "python")
    assert not read(path.read_bytes()).is_replica
    (layout / replica.MARK).write_text(replica.MARK_TEXT)
    archives.write_gzip(path, layout, "python")
    assert read(path.read_bytes()).is_replica
    assert "no release" in replica.MARK_TEXT


def test_what_is_kept_is_what_is_read(read: Read, tmp_path: Path) -> None:
    found = read(hostile_archives.good())
    contents.save(found, tmp_path / "contents.json")
    assert contents.load(tmp_path / "contents.json") == found


# How it carries libpython.


@pytest.fixture
def inside() -> Iterator[ModuleType]:
    """The check that asks the same in a container."""
    before = set(sys.modules)
    sys.path.insert(0, str(CHECKS))
    spec = importlib.util.spec_from_file_location("link_model", CHECKS / "link_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(CHECKS))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(CHECKS)):
            del sys.modules[name]


NEEDS = "$ORIGIN/../lib/libpython3.13.so.1.0"
HOME = "$ORIGIN/../lib"

LINKED: list[tuple[dict[str, str], LinkModel, str]] = [
    ({"needed": "libpython3.13.so.1.0"}, LinkModel.SHARED, "needs libpython3.13.so.1.0"),
    ({"needed": NEEDS}, LinkModel.SHARED, f"needs {NEEDS}"),
    ({"needed": "libpython3.13t.so.1.0", "rpath": HOME}, LinkModel.SHARED, "needs libpython3.13t"),
    ({"needed": "libc.so.6"}, LinkModel.STATIC, "exports the C API, and has no search path"),
    ({"runpath": HOME}, LinkModel.STATIC_RUNPATH, f"DT_RUNPATH {HOME} leads to lib/libpython3.13"),
    ({"rpath": HOME}, LinkModel.STATIC_RPATH, f"DT_RPATH {HOME} leads to lib/libpython3.13"),
    ({"rpath": "/x:${ORIGIN}/../lib/."}, LinkModel.STATIC_RPATH, "leads to"),
    ({"rpath": "$ORIGIN/../bin/../lib/"}, LinkModel.STATIC_RPATH, "leads to"),
    ({"rpath": "/tools/deps/lib"}, LinkModel.STATIC, "/tools/deps/lib does not lead to"),
    ({"runpath": "$ORIGIN"}, LinkModel.STATIC, "does not lead to"),
    ({"runpath": "lib:../lib:"}, LinkModel.STATIC, "does not lead to"),
    # glibc does not look at the one beside the other.
    ({"rpath": HOME, "runpath": "/x"}, LinkModel.STATIC, "DT_RUNPATH /x does not lead to"),
    ({"rpath": "/x", "runpath": HOME}, LinkModel.STATIC_RUNPATH, "DT_RUNPATH"),
]


def program(needed: str = "", rpath: str = "", runpath: str = "") -> bytes:
    texts = [(tiny_elf.RPATH, rpath), (tiny_elf.RUNPATH, runpath)]
    return TinyElf(
        needed=[needed.encode()] if needed else [],
        texts=[(tag, text.encode()) for tag, text in texts if text],
        defined=[b"Py_BytesMain"],
        interpreter=LOADER,
    ).build()


@pytest.mark.parametrize(("tags", "model", "because"), LINKED)
def test_the_link_model_is_read_from_the_program(
    read: Read, inside: ModuleType, tags: dict[str, str], model: LinkModel, because: str
) -> None:
    """With the answer that the check ``link-model`` has of the same program in a container."""
    found = read(packed(tar(interpreter(program=program(**tags)))))
    assert found.linked is model
    assert because in found.linked_because
    entries = {name: tuple(text.split(":")) for name, text in tags.items()}
    assert inside.classify(inside.elf.DynamicSection(**entries), "/opt/python/bin") == model


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (TinyElf(defined=[b"Py_BytesMain"]).build(), "asks for no loader"),
        (TinyElf(interpreter=LOADER).build(), "neither needs libpython nor exports the C API"),
        (
            TinyElf(interpreter=LOADER, undefined=[b"Py_BytesMain"]).build(),
            "neither needs libpython nor exports the C API",
        ),
    ],
)
def test_what_is_linked_in_no_known_way_says_why(read: Read, content: bytes, because: str) -> None:
    found = read(packed(tar(interpreter(program=content))))
    assert found.linked is None
    assert because in found.linked_because


def test_without_a_libpython_there_is_nothing_to_be_found_or_not(read: Read) -> None:
    entries = [e for e in interpreter() if "libpython" not in e.name]
    stub = Entry(name="python/lib/libpython3.so", content=LIBRARY)
    found = read(packed(tar([*entries, stub])))
    assert found.linked is None
    assert "there is no libpython in lib/" in found.linked_because


def test_the_interpreter_is_found_through_links(read: Read) -> None:
    """A hard link among them; and a script of its name is no interpreter."""
    entries = [
        Entry(name="python/libexec/real", content=PROGRAM),
        Entry(name="python/bin/python3.13", kind=tarfile.LNKTYPE, target="python/libexec/real"),
        Entry(name="python/bin/python3", kind=tarfile.SYMTYPE, target="../bin/python3.13"),
        Entry(name="python/bin/python3.13-config", content=b"#!/bin/sh\n"),
        *interpreter()[2:],
    ]
    found = read(packed(tar(entries)))
    assert found.linked is LinkModel.STATIC
    assert found.linked_because.startswith("bin/python3.13 exports")


# What is refused.


@pytest.mark.parametrize("kind", hostile_archives.KINDS)
def test_what_nobody_should_unpack_is_refused(read: Read, kind: str) -> None:
    """In one line, with the archive, the member and what is wrong."""
    archive = hostile_archives.hostile(kind)
    with pytest.raises(ArchiveError) as caught:
        read(archive.content)
    problem = caught.value.problem
    assert problem.startswith(f"{NAME}: ")
    assert re.search(archive.says, problem)
    assert problem.isprintable()
    assert len(problem) < 700
    assert caught.value.exit_code == 34


@pytest.mark.parametrize("kind", ["bomb", "bomb behind the end", "long name", "many streams"])
def test_what_is_refused_does_not_take_much_memory_first(read: Read, kind: str) -> None:
    content = hostile_archives.hostile(kind).content
    tracemalloc.start()
    with pytest.raises(ArchiveError):
        read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of the bomb, so much is kept as any other file before it is put on the disk.
    assert peak < 3 * contents.MAX_IN_MEMORY


@pytest.mark.parametrize("kind", hostile_archives.OUTSIDE)
def test_the_same_is_refused_in_a_full_archive(read: Read, kind: str) -> None:
    archive = hostile_archives.hostile(kind)
    with pytest.raises(ArchiveError, match=archive.says):
        read(zstd(gzip.decompress(archive.content)), FULL_NAME)


@pytest.mark.parametrize("pack", [packed, zstd])
def test_an_archive_that_is_cut_anywhere_is_refused(
    read: Read, pack: Callable[[bytes], bytes]
) -> None:
    name = NAME if pack is packed else FULL_NAME
    whole = pack(tar(interpreter()))
    assert read(whole, name).linked is LinkModel.STATIC
    for length in range(len(whole)):
        with pytest.raises(ArchiveError, match=r"is (cut short|no \.tar\.gz or \.tar\.zst)"):
            read(whole[:length], name)


def test_a_tar_that_is_cut_anywhere_is_refused(read: Read) -> None:
    """At the ends of its blocks, too: by tar's own end, which has to be there."""
    whole = tar(interpreter())
    for length in range(0, len(whole), 128):
        with pytest.raises(ArchiveError, match="is cut short"):
            read(packed(whole[:length]))


def test_a_bomb_of_zstd_is_refused_before_it_is_large(read: Read) -> None:
    """Its blocks say how often one byte is to be repeated; each is unpacked whole."""
    bomb = zstd(tar([Entry(name="python/x", content=bytes(300 * MEGABYTE))]))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="made to fill the disk"):
        read(bomb, FULL_NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * MEGABYTE


def test_more_than_any_interpreter_has_is_refused(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = hostile_archives.good()
    monkeypatch.setattr(tarball, "MAX_UNPACKED", 3000)
    with pytest.raises(ArchiveError, match="comes to more than 3000 bytes unpacked"):
        read(content)


@pytest.mark.parametrize(
    ("behind", "says"),
    [
        (b"x" * 99, "is damaged: "),
        (zstd(b"x" * 99), "something follows the end"),
        (zstd(b"")[:-1], "is cut short"),
        (zstd(b"") * 1001, "is more than 1000 streams"),
    ],
)
def test_what_is_behind_an_archives_end_is_refused(read: Read, behind: bytes, says: str) -> None:
    with pytest.raises(ArchiveError, match=says):
        read(zstd(tar(full())) + behind, FULL_NAME)


def test_several_streams_are_one_archive(read: Read) -> None:
    """As compressors leave them that work in parallel."""
    whole = tar(interpreter())
    half = len(whole) // 2
    for pack, name in ((packed, NAME), (zstd, FULL_NAME)):
        assert read(pack(whole[:half]) + pack(whole[half:]), name).members == 6
    assert read(packed(whole + bytes(9999)) + packed(b"")).members == 6


def test_a_large_program_is_read_from_the_disk(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MAX_IN_MEMORY", 1000)
    big = PROGRAM + zlib.compress(bytes(range(256)) * 9) * 3000
    assert read(packed(tar(interpreter(program=big)))).linked is LinkModel.STATIC


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_the_library_writes_is_read(read: Read, form: int) -> None:
    """In each of its formats, with names too long for a header."""
    folder = "/".join(["lib", *["d" * 40] * 3])
    entries = [
        *interpreter(),
        Entry(name=f"python/{folder}/{'x' * 90}.so", content=LIBRARY),
        Entry(name=f"python/{folder}/y.so", kind=tarfile.SYMTYPE, target=f"{'x' * 90}.so"),
        Entry(name="python/grüße", kind=tarfile.DIRTYPE),
    ]
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", format=form) as out:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size = entry.kind, entry.target, len(entry.content)
            # Not a whole second, which an extended header says.
            info.mtime = 1.5
            out.addfile(info, io.BytesIO(entry.content))
    listed = read(written.getvalue()).inventory.files
    assert f"/{folder}/{'x' * 90}.so" in listed.files
    assert listed.real(f"/{folder}/y.so") == f"/{folder}/{'x' * 90}.so"


def test_attributes_for_all_members_may_say_what_is_no_name(read: Read) -> None:
    """As ``git archive`` does."""
    whole = extended(("comment", "of a commit"), kind=b"g") + tar(interpreter())
    assert read(packed(whole)).members == 6


# Written anew.


@pytest.mark.parametrize("name", [NAME, FULL_NAME])
def test_an_interpreter_is_repacked_as_uv_would_have_unpacked_it(tmp_path: Path, name: str) -> None:
    root = "python" if name == NAME else "python/install"
    twin = Entry(name=f"{root}/bin/python", kind=tarfile.LNKTYPE, target=f"{root}/bin/python3.13")
    entries = [*(full()[:4] if name != NAME else []), *interpreter(root), twin]
    (tmp_path / name).write_bytes((packed if name == NAME else zstd)(tar(entries)))
    contents.repack(tmp_path / name, tmp_path / "out.tar", "cpython-3.13.3-linux-x86_64-gnu")
    archives.extract(tmp_path / "out.tar", tmp_path / "out")
    there = tmp_path / "out" / "cpython-3.13.3-linux-x86_64-gnu"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [there.name]
    assert sorted(p.relative_to(there).as_posix() for p in there.rglob("*") if not p.is_dir()) == [
        *("bin/python", "bin/python3", "bin/python3.13", "include/python3.13/patchlevel.h"),
        *("lib/libpython3.13.so", "lib/libpython3.13.so.1.0", "lib/python3.13/os.py"),
    ]
    assert (there / "bin" / "python3").readlink() == Path("python3.13")
    assert (there / "bin" / "python").read_bytes() == PROGRAM
    assert (there / "bin" / "python").stat().st_ino == (there / "bin" / "python3.13").stat().st_ino
    assert (there / "bin" / "python").stat().st_mode & 0o777 == 0o755


def test_a_hostile_archive_is_not_repacked(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(hostile_archives.hostile("symbolic link, dots").content)
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        contents.repack(tmp_path / NAME, tmp_path / "out.tar", "x")
    linked = full(
        Entry(
            name="python/install/x",
            kind=tarfile.LNKTYPE,
            target="python/build/lib/libpython3.13.so",
        )
    )
    (tmp_path / FULL_NAME).write_bytes(zstd(tar(linked)))
    with pytest.raises(ArchiveError, match="which is not in python/install"):
        contents.repack(tmp_path / FULL_NAME, tmp_path / "out.tar", "x")


# Whatever it is.


@st.composite
def changed(draw: st.DrawFn, whole: bytes, pieces: Sequence[bytes]) -> bytes:
    """Bytes with some put in, taken out, or overwritten."""
    found = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.sampled_from([0, 0, 1, 8, 512, 600]))
        new = draw(st.sampled_from(pieces) | st.binary(max_size=8))
        found[at : at + (length or len(new))] = new
    return bytes(found)


KINDS = {b"0": "file", b"\0": "file", b"1": "hard link", b"2": "symbolic link", b"5": "folder"}


def outcome(read: Read, content: bytes, name: str) -> str:
    """What is said of an archive: anything else that is raised fails the test."""
    try:
        found = read(content, name)
    except ArchiveError as error:
        return error.problem
    contents.CONTENTS.dump_json(found)
    return "read"


ANY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY
@given(content=changed(varied(), PIECES), right=st.booleans())
@example(content=varied(), right=True)
def test_any_tar_is_read_as_others_read_it_or_refused(
    read: Read, tmp_path: Path, content: bytes, right: bool
) -> None:
    """What the library's reader, as one of them, sees in it has been vetted, and nothing else."""
    content = packed(corrected(content) if right else content)
    said = outcome(read, content, NAME)
    if said != "read":
        assert said.isprintable()
        return
    with Tarball(tmp_path / "archive", NAME) as vetted:
        mine = [(member.name, str(member.kind), member.size, member.target) for member in vetted]
    with tarfile.open(tmp_path / "archive") as other:
        theirs = [
            (posixpath.normpath(info.name), KINDS[info.type], info.size, info.linkname)
            for info in other
        ]
    assert mine == theirs


@ANY
@given(content=changed(packed(varied()), [b"\x1f\x8b\x08\0", b"\0\0\xff\xff"]))
def test_any_gzip_is_read_or_refused(read: Read, content: bytes) -> None:
    assert outcome(read, content, NAME).isprintable()


@ANY
@given(content=changed(zstd(varied()), [b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\4\0\0\0abcd"]))
def test_any_zstd_is_read_or_refused(read: Read, content: bytes) -> None:
    assert outcome(read, content, FULL_NAME).isprintable()


def test_a_skippable_frame_of_zstd_holds_nothing(read: Read) -> None:
    skipped = b"\x50\x2a\x4d\x18\4\0\0\0abcd"
    assert read(zstd(tar(full())) + skipped, FULL_NAME).linked is LinkModel.STATIC


def test_zstd_that_wants_more_memory_than_any_is_refused(read: Read) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = packer.compress(tar(full())) + packer.flush()
    with pytest.raises(ArchiveError, match="is damaged: "):
        read(content, FULL_NAME)
