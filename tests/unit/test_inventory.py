"""Inventories: the ELF files of a folder."""

from __future__ import annotations

from pathlib import Path

from harness import inventory
from harness.inventory import Inventory
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable
from tests.unit.conftest import Compile
from tests.unit.tiny_elf import TinyElf

LIBRARY = TinyElf(needed=(b"libx.so",)).build()


def test_a_folder_is_listed_by_what_its_files_are_not_by_their_names(
    tmp_path: Path, compiled: Compile
) -> None:
    module = compiled("void *PyInit_sample(void) { return 0; }").read_bytes()
    files = {
        "pkg/sample.cpython-313-x86_64-linux-gnu.so": module,
        "pkg/other.abi3.so": module,
        "pkg/data.bin": LIBRARY,
        "pkg/script.so": b"/* GNU ld script */",
        "pkg/broken.so": b"\x7fELF but no more",
        "pkg/empty.so": b"",
    }
    (tmp_path / "pkg").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "pkg" / "link.so").symlink_to("data.bin")
    listed = inventory.of_folder(tmp_path)
    assert sorted(listed.files.files) == [
        *("/pkg/broken.so", "/pkg/data.bin", "/pkg/other.abi3.so"),
        "/pkg/sample.cpython-313-x86_64-linux-gnu.so",
    ]
    assert isinstance(listed.files.files["/pkg/broken.so"], Unloadable)
    assert listed.files.links == {"/pkg/link.so": "data.bin"}
    # A module is one by the function that Python calls, which has the module's own name.
    assert listed.modules == ("/pkg/sample.cpython-313-x86_64-linux-gnu.so",)


def test_what_is_kept_is_what_is_read(tmp_path: Path) -> None:
    library = inventory.of_folder(tmp_path)
    (tmp_path / "a.so").write_bytes(LIBRARY)
    (tmp_path / "b.so").write_bytes(b"\x7fELF")
    listed = inventory.of_folder(tmp_path)
    assert library != listed
    inventory.save(listed, tmp_path / "files.json")
    assert inventory.load(tmp_path / "files.json") == listed


def test_an_inventory_can_be_put_somewhere_else() -> None:
    library = Object(architecture=(62, 64, False))  # type: ignore[arg-type]
    moved = Inventory(
        files=Files(files={"/a.so": library}, links={"/b.so": "a.so"}), modules=("/a.so",)
    ).below("/opt/x")
    assert list(moved.files.files) == ["/opt/x/a.so"]
    assert moved.files.real("/opt/x/b.so") == "/opt/x/a.so"
    assert moved.modules == ("/opt/x/a.so",)
