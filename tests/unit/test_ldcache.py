"""ld.so.cache: read as ldconfig itself lists it, and empty where it is damaged."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import ldcache
from harness.loader.objects import AARCH64, X86_64, Architecture

LDCONFIG = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin")
HOST = Path("/etc/ld.so.cache")
NAMES = {X86_64: "x86-64", AARCH64: "AArch64"}

Entry = tuple[int, str, str, int]
"""Flags, name, path, hwcap."""


def cache(*entries: Entry, hwcaps: tuple[str, ...] = ()) -> bytes:
    """A cache as ldconfig would write it."""
    start = ldcache.HEADER.size + len(entries) * ldcache.ENTRY.size
    strings, table = b"", b""

    def place(text: str) -> int:
        nonlocal strings
        at = start + len(strings)
        strings += text.encode() + b"\0"
        return at

    for flags, name, path, hwcap in entries:
        table += ldcache.ENTRY.pack(flags, place(name), place(path), 0, hwcap)
    numbers = b"".join(struct.pack("<I", place(name)) for name in hwcaps)
    strings += bytes(-len(strings) % 4)
    extension = start + len(strings) if hwcaps else 0
    tail = b""
    if hwcaps:
        tail = struct.pack("<II", ldcache.EXTENSION_MAGIC, 1)
        tail += ldcache.SECTION.pack(1, 0, extension + 8 + ldcache.SECTION.size, len(numbers))
        tail += numbers
    header = ldcache.HEADER.pack(ldcache.MAGIC, len(entries), len(strings), 0, extension)
    return header + table + strings + tail


@pytest.mark.skipif(
    LDCONFIG is None or not HOST.exists(), reason="this machine has no ldconfig or no cache"
)
@pytest.mark.parametrize("architecture", NAMES, ids=NAMES.values())
def test_the_hosts_cache_is_read_as_ldconfig_lists_it(architecture: Architecture) -> None:
    assert LDCONFIG is not None
    said = subprocess.run([LDCONFIG, "-p"], check=True, capture_output=True, text=True).stdout
    listed: dict[str, list[str]] = defaultdict(list)
    for name, kind, path in re.findall(r"^\t(\S+) \(([^)]*)\) => (.+)$", said, re.MULTILINE):
        if kind.split(", ")[:1] == [f"libc6,{NAMES[architecture]}"] and "hwcap" not in kind:
            listed[name].append(path)
    found = ldcache.parse(HOST.read_bytes(), architecture)
    assert found == {name: tuple(paths) for name, paths in listed.items()}
    assert found or architecture is not X86_64


def test_libraries_of_other_architectures_are_not_among_them() -> None:
    content = cache(
        (0x0303, "libx.so", "/a/libx.so", 0),
        (0x0A03, "libx.so", "/b/libx.so", 0),
        (0x0003, "libx.so", "/c/libx.so", 0),
    )
    assert ldcache.parse(content, X86_64) == {"libx.so": ("/a/libx.so",)}
    assert ldcache.parse(content, AARCH64) == {"libx.so": ("/b/libx.so",)}
    assert ldcache.parse(content, Architecture(20, 32, True)) == {}


def test_a_subdirectory_that_counts_on_this_cpu_goes_before_the_library_itself() -> None:
    content = cache(
        (0x0303, "libx.so", "/l/libx.so", 0),
        (0x0303, "libx.so", "/l/glibc-hwcaps/x86-64-v2/libx.so", ldcache.IN_SUBDIRECTORY | 0),
        (0x0303, "libx.so", "/l/glibc-hwcaps/x86-64-v3/libx.so", ldcache.IN_SUBDIRECTORY | 1),
        (0x0303, "libx.so", "/l/tls/libx.so", 1 << 20),
        hwcaps=("x86-64-v2", "x86-64-v3"),
    )
    both = ("glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2")
    v2, v3 = (f"/l/{name}/libx.so" for name in reversed(both))
    assert ldcache.parse(content, X86_64)["libx.so"] == ("/l/libx.so",)
    assert ldcache.parse(content, X86_64, both[1:])["libx.so"] == (v2, "/l/libx.so")
    assert ldcache.parse(content, X86_64, both)["libx.so"] == (v3, v2, "/l/libx.so")


def test_the_new_format_is_found_behind_the_old_one() -> None:
    content = cache(
        (0x0303, "libx.so", "/v2/libx.so", ldcache.IN_SUBDIRECTORY), hwcaps=("x86-64-v2",)
    )
    # Offsets of the new part are from its own start.
    both = b"ld.so-1.7.0" + bytes(100) + content
    assert ldcache.parse(both, X86_64, ("glibc-hwcaps/x86-64-v2",)) == {"libx.so": ("/v2/libx.so",)}


@given(st.binary(max_size=400))
def test_bytes_that_are_no_cache_are_an_empty_one(content: bytes) -> None:
    assert ldcache.parse(content, X86_64) == {}


WHOLE = cache((0x0303, "libx.so", "/a/libx.so", 0), (0x0303, "y", "/y", 0), hwcaps=("v2",))


@example(149, [])
@given(st.integers(0, len(WHOLE)), st.lists(st.tuples(st.integers(20, 200), st.integers(0, 255))))
def test_a_damaged_cache_is_no_crash(length: int, changes: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE[:length])
    for place, value in changes:
        if place < len(content):
            content[place] = value
    found = ldcache.parse(bytes(content), X86_64, ("glibc-hwcaps/v2",))
    assert all(isinstance(path, str) for paths in found.values() for path in paths)
