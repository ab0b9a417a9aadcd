"""What the harness reads from binfmt_misc: files in a temporary directory, no kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import binfmt
from harness.errors import ToolError
from harness.platforms import Platform

FOREIGN = next(platform for platform in Platform if not platform.is_native)

# Debian's entry, byte for byte as the kernel prints it.
DEBIAN_AARCH64 = """\
enabled
interpreter {interpreter}
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A mounted binfmt_misc without entries."""
    (tmp_path / "register").touch()
    (tmp_path / "status").write_text("enabled\n")
    return tmp_path


def entry(
    root: Path,
    name: str,
    platform: Platform,
    *,
    state: str = "enabled",
    flags: str = "OCF",
    age: int = 0,
) -> Path:
    """Write an entry that was registered ``age`` seconds before a fixed moment."""
    path = root / name
    path.write_text(
        f"{state}\ninterpreter /usr/bin/qemu-{platform}\nflags: {flags}\noffset 0\n"
        f"magic {binfmt.elf_header(platform).hex()}\nmask {'ff' * 16}feffffff\n"
    )
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_an_entry_is_read_as_the_kernel_prints_it(root: Path) -> None:
    (root / "qemu-aarch64").write_text(
        DEBIAN_AARCH64.format(interpreter="/usr/libexec/qemu binfmt/aarch64", flags="POCF")
    )
    handler = binfmt.find_handler(Platform.AARCH64, root)
    assert handler is not None
    assert handler.name == "qemu-aarch64"
    assert handler.interpreter == Path("/usr/libexec/qemu binfmt/aarch64")
    assert handler.flags == "POCF"
    assert handler.works_in_containers


@pytest.mark.parametrize("platform", Platform)
def test_an_entry_for_one_machine_is_none_for_the_other(root: Path, platform: Platform) -> None:
    entry(root, "qemu", platform)
    for asked in Platform:
        assert (binfmt.find_handler(asked, root) is not None) is (asked is platform)


def test_an_entry_that_matches_the_machine_field_alone_counts(root: Path) -> None:
    text = "enabled\ninterpreter /opt/run\nflags: F\noffset 18\nmagic b700\n"
    (root / "short").write_text(text)
    assert binfmt.find_handler(Platform.AARCH64, root) is not None
    assert binfmt.find_handler(Platform.X86_64, root) is None


def test_an_entry_that_takes_only_position_dependent_programs_does_not_count(root: Path) -> None:
    path = entry(root, "half", FOREIGN)
    path.write_text(path.read_text().replace("feffffff", "ffffffff"))
    assert binfmt.find_handler(FOREIGN, root) is None


@pytest.mark.parametrize(
    "text",
    [
        "enabled\ninterpreter /usr/bin/jar\nflags: \nextension .jar\n",
        "enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7f4\n",
        "enabled\ninterpreter /x\nflags: \noffset 250\nmagic 7f454c460201010000000000\n",
        "",
    ],
    ids=["extension", "odd magic", "beyond the head", "empty"],
)
def test_entries_of_other_kinds_are_passed_over(root: Path, text: str) -> None:
    (root / "other").write_text(text)
    assert all(binfmt.find_handler(platform, root) is None for platform in Platform)


def test_the_newest_registration_wins_as_in_the_kernel(root: Path) -> None:
    entry(root, "a-old", FOREIGN, age=20)
    entry(root, "z-new", FOREIGN, age=10)
    entry(root, binfmt.entry_name(FOREIGN), FOREIGN, age=15)
    handler = binfmt.find_handler(FOREIGN, root)
    assert handler is not None
    assert handler.name == "z-new"


def test_our_own_entry_wins_where_times_cannot_tell(root: Path) -> None:
    entry(root, "a-somebody", FOREIGN)
    entry(root, binfmt.entry_name(FOREIGN), FOREIGN)
    handler = binfmt.find_handler(FOREIGN, root)
    assert handler is not None
    assert handler.name == binfmt.entry_name(FOREIGN)


def test_the_kernel_passes_over_disabled_entries(root: Path) -> None:
    entry(root, "older", FOREIGN, age=9)
    entry(root, "newer", FOREIGN, state="disabled")
    handler = binfmt.find_handler(FOREIGN, root)
    assert handler is not None
    assert handler.name == "older"


def test_nothing_is_handled_while_binfmt_misc_is_switched_off(root: Path) -> None:
    entry(root, "qemu", FOREIGN)
    (root / "status").write_text("disabled\n")
    assert binfmt.is_switched_off(root)
    assert not binfmt.can_run(FOREIGN, root)
    assert binfmt.handlers(root)[0].enabled is False


def test_the_native_platform_needs_no_handler(tmp_path: Path) -> None:
    native = Platform.host()
    if native is None:
        pytest.skip("neither platform is native here")
    assert binfmt.can_run(native, tmp_path / "not there")


def test_a_foreign_platform_needs_a_handler(root: Path) -> None:
    assert not binfmt.can_run(FOREIGN, root)
    entry(root, "qemu", FOREIGN)
    assert binfmt.can_run(FOREIGN, root)


def test_a_handler_without_the_f_flag_cannot_run_containers(root: Path) -> None:
    entry(root, "qemu", FOREIGN, flags="OC")
    assert binfmt.find_handler(FOREIGN, root) is not None
    assert not binfmt.can_run(FOREIGN, root)


def test_a_newer_handler_without_the_f_flag_hides_an_older_one_with_it(root: Path) -> None:
    entry(root, "good", FOREIGN, age=9)
    entry(root, "bad", FOREIGN, flags="OC")
    assert not binfmt.can_run(FOREIGN, root)


def test_nothing_mounted_means_no_handlers(tmp_path: Path) -> None:
    assert not binfmt.is_mounted(tmp_path)
    assert binfmt.handlers(tmp_path / "absent") == []
    assert not binfmt.is_switched_off(tmp_path)


def test_the_registration_of_aarch64_is_qemus_own() -> None:
    line = binfmt.registration_line(Platform.AARCH64, Path("/c/qemu-aarch64"), "n")
    assert line == (
        r":n:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        ":/c/qemu-aarch64:OCF"
    )


@pytest.mark.parametrize("platform", Platform)
def test_what_is_registered_would_be_found(root: Path, platform: Platform) -> None:
    line = binfmt.registration_line(platform, Path("/c/qemu"))
    _, name, kind, offset, magic, mask, interpreter, flags = line.split(":")
    assert (kind, offset) == ("M", "")
    (root / name).write_text(
        f"enabled\ninterpreter {interpreter}\nflags: {flags}\noffset 0\n"
        f"magic {magic.replace(chr(92) + 'x', '')}\nmask {mask.replace(chr(92) + 'x', '')}\n"
    )
    handler = binfmt.find_handler(platform, root)
    assert handler is not None
    assert handler.name == f"pbs-matrix-{platform}"
    assert all(len(part) == 80 for part in (magic, mask))


@pytest.mark.parametrize("path", ["relative/qemu", "/with:colon/qemu", "/" + "x" * 2000])
def test_a_path_that_the_kernel_cannot_take_is_refused(path: str) -> None:
    with pytest.raises(ToolError) as caught:
        binfmt.registration_line(Platform.AARCH64, Path(path))
    assert "cache directory" in caught.value.advice


def fake_qemu(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


def test_qemu_says_its_version(tmp_path: Path) -> None:
    says = "echo 'qemu-aarch64 version 10.0.2 (Debian 1:10.0.2+ds-2)'"
    assert binfmt.qemu_version(fake_qemu(tmp_path / "qemu-aarch64", says)) == (10, 0)
    (tmp_path / "qemu").mkdir()  # as the cache names it
    assert binfmt.qemu_version(fake_qemu(tmp_path / "qemu" / "1f2e3d", says)) == (10, 0)


def test_no_version_of_what_is_gone_or_is_no_qemu(tmp_path: Path) -> None:
    assert binfmt.qemu_version(tmp_path / "qemu-gone") is None
    assert binfmt.qemu_version(fake_qemu(tmp_path / "qemu-odd", "echo version 3.1")) is None
    started = tmp_path / "started"
    assert binfmt.qemu_version(fake_qemu(tmp_path / "rosetta", f"touch {started}")) is None
    assert not started.exists()
