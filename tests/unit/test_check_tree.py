"""Directories, environments and single libraries: what they hold, and what they are not."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from harness.check import targets, tree
from harness.check.target import SCRIPTS, SITE, Target
from harness.errors import TargetError
from harness.loader.objects import Object, Unloadable
from tests.unit import tiny_elf
from tests.unit.test_check_wheel import LIBRARY, module, program
from tests.unit.tiny_elf import TinyElf

PACKAGES = Path("lib/python3.13/site-packages")


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def one(path: Path) -> Target:
    (target,) = targets.read(path)
    return target


# Directories.


def test_a_directory_is_read_as_if_it_were_on_the_path(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "s/__init__.py": b"from . import _a",
            "s/_a.so": module("_a"),
            "s/deep/_b.abi3.so": module("_b"),
            "s/tool": program(),
            "s/x.so": b"text",
            "s-1.0.data/scripts/run": program(),
            "s-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: cp313-cp313-linux_x86_64\n",
            "s/__pycache__/_a.so": LIBRARY,
        },
    )
    target = one(tmp_path)
    assert target.name == str(tmp_path)
    assert [(m.name, m.path) for m in target.modules] == [
        ("s._a", f"{SITE}/s/_a.so"),
        ("s.deep._b", f"{SITE}/s/deep/_b.abi3.so"),
    ]
    assert target.reached == {"s._a"}
    assert target.programs == (f"{SCRIPTS}/run", f"{SITE}/s/tool")
    assert target.tags == {"cp313-cp313-linux_x86_64"}
    assert set(target.unreadable) == {f"{SITE}/s/x.so"}


def test_links_within_a_directory_stay_links(tmp_path: Path) -> None:
    write(tmp_path, {"s/libz.so.1": LIBRARY, "t/x": b""})
    (tmp_path / "s/libz.so").symlink_to("libz.so.1")
    (tmp_path / "s/absolute.so").symlink_to(tmp_path / "s" / "libz.so.1")
    (tmp_path / "u").symlink_to("s", target_is_directory=True)
    files = one(tmp_path).files
    for name in ("s/libz.so", "s/absolute.so", "u/libz.so.1", "u/libz.so"):
        assert files.real(f"{SITE}/{name}") == f"{SITE}/s/libz.so.1"
    assert set(files.files) == {f"{SITE}/s/libz.so.1"}


def test_links_that_lead_out_or_in_circles_are_not_followed(tmp_path: Path) -> None:
    root = write(tmp_path / "root", {"s/a.so": LIBRARY})
    write(tmp_path / "outside", {"b.so": LIBRARY})
    for name, where in {
        "out.so": tmp_path / "outside" / "b.so",
        "folder": tmp_path / "outside",
        "up.so": Path("../../outside/b.so"),
        "loop.so": Path("loop.so"),
        "round": Path("../s"),
        "self": Path(),
        "zero.so": Path("/dev/zero"),
        "nowhere.so": Path("absent.so"),
    }.items():
        (root / "s" / name).symlink_to(where)
    os.mkfifo(root / "s" / "pipe.so")
    target = one(root)
    assert set(target.files.files) == {f"{SITE}/s/a.so"}
    assert target.files.real(f"{SITE}/s/loop.so") is None
    assert target.files.real(f"{SITE}/s/self/round/a.so") == f"{SITE}/s/a.so"
    for name in ("out.so", "up.so", "zero.so", "folder"):
        assert any(f"s/{name}" in note for note in target.notes), name
        assert target.files.real(f"{SITE}/s/{name}") is None


def test_names_in_no_encoding_can_be_written(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.so")).write_bytes(b"text")
    (path,) = one(tmp_path).unreadable
    assert path == f"{SITE}/\\xff.so"


def test_a_deep_directory_is_read(tmp_path: Path) -> None:
    deep = "d/" * 400
    write(tmp_path, {f"{deep}x.so": LIBRARY})
    assert set(one(tmp_path).files.files) == {f"{SITE}/{deep}x.so"}


def test_too_many_files_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    write(tmp_path, {f"{n}.so": LIBRARY for n in range(4)})
    with pytest.raises(TargetError, match="more than 3 files"):
        targets.read(tmp_path)


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"x.so": LIBRARY, "y.so": LIBRARY})
    real = os.open

    def denied(path: Path, flags: int) -> int:
        if Path(path).name == "x.so":
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr(os, "open", denied)
    target = one(tmp_path)
    assert "Permission denied" in target.unreadable[f"{SITE}/x.so"]
    assert isinstance(target.files.files[f"{SITE}/x.so"], Unloadable)
    assert isinstance(target.files.files[f"{SITE}/y.so"], Object)


@pytest.mark.parametrize("name", ["absent", "absent.so", "absent.whl", "absent/x.so"])
def test_what_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError) as caught:
        targets.read(tmp_path / name)
    assert str(tmp_path / name) in caught.value.problem


# Environments.


def environment(tmp_path: Path) -> Path:
    record = b"a/__init__.py,,\na/_a.so,sha256=x,1\n../../../bin/tool,,\n../../../../out,,\n"
    root = write(
        tmp_path,
        {
            "pyvenv.cfg": b"",
            f"{PACKAGES}/a/__init__.py": b"from . import _a",
            f"{PACKAGES}/a/_a.so": module("_a", b"libb.so"),
            f"{PACKAGES}/a_b-1.0.dist-info/RECORD": record,
            f"{PACKAGES}/a_b-1.0.dist-info/WHEEL": b"Tag: cp313-cp313-manylinux_2_28_x86_64\n",
            f"{PACKAGES}/b/libb.so": LIBRARY,
            f"{PACKAGES}/b-2.dist-info/RECORD": b'"b/libb.so",,\n',
            f"{PACKAGES}/c/c.so": module("c"),
            f"{PACKAGES}/pure-3.dist-info/RECORD": b"\xff\0,,",
            "bin/tool": program(),
            "bin/python3.13": program(),
        },
    )
    (root / "bin/python").symlink_to(sys.executable)
    (root / "lib64").symlink_to("lib")
    return root


def test_an_environment_is_read_by_distribution(tmp_path: Path) -> None:
    found = {target.name: target for target in targets.read(environment(tmp_path))}
    rest = f"{tmp_path} (files of no distribution)"
    assert list(found) == [rest, "a_b 1.0", "b 2", "pure 3"]
    first = found["a_b 1.0"]
    assert set(first.files.files) == {f"{SITE}/a/_a.so", f"{SCRIPTS}/tool"}
    assert first.programs == (f"{SCRIPTS}/tool",)
    assert first.reached == {"a._a"}
    assert first.tags == {"cp313-cp313-manylinux_2_28_x86_64"}
    assert set(found["b 2"].files.files) == {f"{SITE}/b/libb.so"}
    assert [m.name for m in found[rest].modules] == ["c.c"]
    assert found["pure 3"].files.files == {}


def test_what_another_distribution_has_is_there_to_be_found(tmp_path: Path) -> None:
    for target in targets.read(environment(tmp_path)):
        assert f"{SITE}/b/libb.so" in target.others.files


def test_an_environment_made_of_links_is_followed(tmp_path: Path) -> None:
    """``uv pip install --link-mode symlink`` makes such."""
    cache = write(tmp_path / "cache", {"x/_a.so": module("_a")})
    root = write(tmp_path / "env", {"pyvenv.cfg": b"", f"{PACKAGES}/x/__init__.py": b""})
    (root / PACKAGES / "x/_a.so").symlink_to(cache / "x/_a.so")
    (root / PACKAGES / "x/zero.so").symlink_to("/dev/zero")
    assert [m.name for m in one(root).modules] == ["x._a"]


def test_an_environment_without_packages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="site-packages"):
        targets.read(write(tmp_path, {"pyvenv.cfg": b""}))


def test_the_environment_of_these_tests_is_read(tmp_path: Path) -> None:
    prefix = Path(sys.prefix)
    if not tree.is_environment(prefix):
        pytest.skip("no environment")
    found = {target.name.partition(" ")[0]: target for target in targets.read(prefix)}
    assert "yaml._yaml" in {m.name for m in found["pyyaml"].modules}
    assert not any(target.unreadable for target in found.values())


# Single libraries.


def test_a_single_library_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, {"_x.abi3.so": module("_x"), "_y.so": module("_y")}) / "_x.abi3.so"
    target = one(path)
    assert [(m.name, m.suffix) for m in target.modules] == [("_x", ".abi3.so")]
    assert set(target.files.files) == {f"{SITE}/_x.abi3.so"}
    assert target.others.files == {}


def test_a_single_program_is_read(tmp_path: Path) -> None:
    assert one(write(tmp_path, {"run": program()}) / "run").programs == (f"{SITE}/run",)


def test_a_single_library_is_read_with_what_its_own_search_path_finds(tmp_path: Path) -> None:
    def library(*needed: bytes, path: bytes = b"") -> bytes:
        texts = [(tiny_elf.RPATH, path)] if path else []
        return TinyElf(needed=needed, texts=texts, defined=[b"PyInit_m"]).build()

    write(
        tmp_path,
        {
            "a/p/m.so": library(b"one.so", b"absent.so", path=b"/usr/lib:${ORIGIN}/../../b"),
            "b/one.so": library(b"two.so", path=b"$ORIGIN/c"),
            "b/c/two.so": library(b"one.so", b"three.so", b"text.so"),
            "b/three.so": library(),
            "b/text.so": b"text",
            "b/unrelated.so": library(),
        },
    )
    target = one(tmp_path / "a/p/m.so")
    base = SITE.rpartition("/")[0].rpartition("/")[0]
    assert set(target.files.files) == {f"{SITE}/m.so"}
    assert set(target.others.files) == {
        f"{base}/b/{name}" for name in ("one.so", "c/two.so", "three.so", "text.so")
    }


def test_libraries_that_need_each_other_are_read_once(tmp_path: Path) -> None:
    library = TinyElf(
        needed=[b"x.so", b"y.so"] * 400, texts=[(tiny_elf.RUNPATH, b"$ORIGIN:$ORIGIN/.")]
    ).build()
    target = one(write(tmp_path, {"x.so": library, "y.so": library}) / "x.so")
    assert set(target.others.files) == {f"{SITE}/y.so"}


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4"])
def test_a_file_that_is_neither_wheel_nor_library_is_an_error(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(TargetError, match="neither a wheel nor an ELF file"):
        targets.read(write(tmp_path, {"x.so": content}) / "x.so")


def test_a_damaged_library_is_told(tmp_path: Path) -> None:
    target = one(write(tmp_path, {"x.so": LIBRARY[:100]}) / "x.so")
    assert set(target.unreadable) == {f"{SITE}/x.so"}


def test_a_device_is_no_library() -> None:
    with pytest.raises(TargetError):
        targets.read(Path("/dev/zero"))


def test_a_module_of_this_python_is_read() -> None:
    path = next(Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("_json*.so"), None)
    if path is None:
        pytest.skip("this Python has its modules built in")
    assert [m.name for m in one(path).modules] == ["_json"]
