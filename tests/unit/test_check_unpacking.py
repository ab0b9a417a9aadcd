"""A wheel's largest library, unpacked beforehand: the same bytes, and nothing is waited for."""

from __future__ import annotations

import io
import itertools
import os
import random
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check import command, unpacking, wheel
from tests.unit.test_check_wheel import NAME, module

PROGRAM = Path(sys.executable).parent / "pbs-matrix"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    while unpacking._begun:
        unpacking._begun.popitem()[1].close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A wheel with a library that is worth a thread, and smaller ones."""
    path = tmp_path / NAME
    content = module("_large", b"libpython3.13.so.1.0") + random.Random(1).randbytes(3 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s/_small.so", module("_small"))
        archive.writestr("s/_large.so", content)
        archive.writestr("s/_small_too.so", module("_small_too"))
        archive.writestr("s/data", bytes(9 << 20))
    return path


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def in_turns(content: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """Reads as few bytes at once as it says, whatever it is asked for."""
    stream, turns = io.BytesIO(content), itertools.cycle(sizes)
    return lambda _: stream.read(next(turns))


def begun(path: Path) -> unpacking.Ahead | None:
    """What was begun of a wheel's largest library, as who reads the wheel would ask for it."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("s/_large.so")
    return unpacking.begun(path.stat(), info.header_offset, info.compress_size)


@given(
    content=st.binary(max_size=2000), sizes=st.lists(st.integers(1, 50), min_size=1), data=st.data()
)
def test_what_is_unpacked_is_what_was_packed_in_whole_pieces(
    content: bytes, sizes: list[int], data: st.DataObject
) -> None:
    """However little is read at once, and also of what ends before its time."""
    packed = deflated(content)
    cut = data.draw(st.integers(0, len(packed)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "FIRST", 16)
        patch.setattr(unpacking, "CHUNK", 64)
        for end in (len(packed), cut):
            found = [*unpacking.unpacked(in_turns(packed[:end], sizes))]
            whole = b"".join(found)
            assert content.startswith(whole)
            assert whole == content or end < len(packed)
            lengths = [len(chunk) for chunk in found]
            assert lengths[:-1] == [16, *[64] * (len(lengths) - 2)][: len(lengths) - 1]


def test_the_largest_library_is_begun_and_who_reads_the_wheel_takes_it(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = wheel.read(large)
    unpacking.begin(["-q", str(large)])
    (made,) = unpacking._begun.values()
    taken = []
    take = unpacking.Ahead.__next__

    def noted(self: unpacking.Ahead) -> bytes:
        taken.append(self)
        return take(self)

    monkeypatch.setattr(unpacking.Ahead, "__next__", noted)
    assert wheel.read(large) == plain
    assert {*taken} == {made}
    assert not unpacking._begun
    # It is not unpacked any further.
    assert not made._is_wanted


def test_it_is_taken_once_and_of_that_file_alone(large: Path) -> None:
    """One that was changed meanwhile is read anew."""
    unpacking.begin([str(large)])
    os.utime(large, ns=(1, 1))
    assert begun(large) is None
    unpacking.begin([str(large)])
    assert begun(large) is not None
    assert begun(large) is None


def test_the_thread_stops_at_its_limit_and_the_reader_goes_on_from_there(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST", 1 << 20)
    unpacking.begin([str(large)])
    found = begun(large)
    assert found is not None
    assert found._thread is not None
    found._thread.join()
    assert 4 <= found._made.qsize() <= 7
    with zipfile.ZipFile(large) as archive:
        assert b"".join(found) == archive.read("s/_large.so")


def test_damage_shows_where_it_is_and_not_before(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(read: object) -> Iterator[bytes]:
        yield b"good"
        raise zlib.error("bad")

    monkeypatch.setattr(unpacking, "unpacked", damaged)
    unpacking.begin([str(large)])
    found = begun(large)
    assert found is not None
    assert next(found) == b"good"
    with pytest.raises(zlib.error, match="bad"):
        next(found)


def test_nothing_is_begun_of_what_is_no_wheel_or_an_odd_one(large: Path, tmp_path: Path) -> None:
    """Nor is anything waited for or said: who reads it will say what is wrong."""
    content = large.read_bytes()
    pipe = tmp_path / "pipe.whl"
    os.mkfifo(pipe)
    (tmp_path / "folder.whl").mkdir()
    names = ["no-such.whl", "folder.whl", "pipe.whl", "nul\0.whl"]
    ends = content.rindex(b"PK\5\6")
    for number, odd in enumerate(
        (
            *(b"", b"PK\5\6", content[:1000], content[: ends + 4], content[ends:]),
            # A table of contents that is nowhere, and one that is too large to look through.
            content[: ends + 16] + b"\xff" * 4 + content[ends + 20 :],
            content[: ends + 12] + b"\xff" * 4 + content[ends + 16 :],
        )
    ):
        names.append(f"{number}.whl")
        (tmp_path / names[-1]).write_bytes(odd)
    for name in names:
        unpacking.begin([str(tmp_path / name)])
        assert not unpacking._begun
    unpacking.begin(["markupsafe", "-q"])
    assert not unpacking._begun


# What makes a check fast: counted in modules, since seconds are the machine's business.

NOT_YET = {"zipfile", "re", "enum", "pathlib", "typing", "dataclasses", "argparse"}
NEVER = {
    *("click", "docker", "elftools", "jinja2", "packaging", "pydantic", "requests", "rich"),
    *("urllib3", "yaml"),
    *("asyncio", "concurrent", "email", "http", "json", "logging", "socket", "ssl", "subprocess"),
    *("tempfile", "importlib.metadata", "harness.check.tree", "harness.check.thismachine"),
    *("harness.check.distribution", "harness.check.confirmation", "harness.check.jsonreport"),
    *("harness.check.sarif", "harness.loader.musl", "harness.cli", "harness.cache"),
}


def loaded_by(*arguments: object) -> list[str]:
    """The modules that the program loads, in order, as far as its own process tells."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    )
    assert done.returncode in (0, 1)
    return [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line]


def test_a_check_loads_what_it_needs_and_no_more(large: Path) -> None:
    """To load modules is most of what it does. Whoever adds one here makes every check slower."""
    loaded = loaded_by("check", large)
    assert not NEVER & {*loaded, *(name.partition(".")[0] for name in loaded)}
    assert len([name for name in loaded if name.startswith("harness")]) <= 30


def test_the_thread_begins_before_most_is_loaded(large: Path) -> None:
    program = (
        "import sys; from harness.check import unpacking; begin = unpacking.begin; "
        "unpacking.begin = lambda names: (print(*sys.modules, file=sys.stderr), begin(names)); "
        f"sys.argv = ['', 'check', {str(large)!r}]; from harness.front import main; main()"
    )
    done = subprocess.run(
        # Without what an environment loads by itself, such as for editable installations.
        [sys.executable, "-S", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert "FAILS" in done.stdout
    loaded = {*done.stderr.split()}
    assert "harness.check.unpacking" in loaded
    assert not NOT_YET & loaded


def test_all_that_is_said_is_printed_before_the_process_ends(
    large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends without the clearing up that would have emptied the buffers."""
    command.main(["-v", str(large)])
    said = capsys.readouterr().out
    done = subprocess.run(
        [PROGRAM, "check", "-v", large], check=False, capture_output=True, text=True
    )
    assert done.stdout == said
    assert (done.returncode, done.stderr) == (1, "")
    file = tmp_path / "said"
    done = subprocess.run(
        [PROGRAM, "check", "-v", "--output", file, large],
        check=False,
        capture_output=True,
        text=True,
    )
    assert file.read_text() == said
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"wrote {file}\n")
