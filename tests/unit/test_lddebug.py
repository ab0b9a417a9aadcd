"""The loader's own trace, cut down to the lines about one library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import lddebug
from tests.unit.conftest import Compile

TRACE = """\
something that the program says
       812:\tfile=libpython3.13.so.1.0 [0];  needed by /opt/x.so [0]
       812:\tfind library=libpython3.13.so.1.0 [0]; searching
       812:\t search path=/opt/glibc-hwcaps/x86-64-v3:/opt:/usr/lib\t\t(RUNPATH from file /opt/x.so)
       812:\t  trying file=/opt/glibc-hwcaps/x86-64-v3/libpython3.13.so.1.0
       812:\t  trying file=/opt/libpython3.13.so.1.0
       812:\t  trying file=/usr/lib/libpython3.13.so.1.0
       812:\t search cache=/etc/ld.so.cache
       812:\t
       812:\tfile=libm.so.6 [0];  needed by /opt/x.so [0]
       812:\tfind library=libm.so.6 [0]; searching
       812:\t search cache=/etc/ld.so.cache
       812:\t  trying file=/lib/libm.so.6
       812:\tcalling init: /lib/libm.so.6
"""
ABOUT = (
    "file=libpython3.13.so.1.0 [0];  needed by /opt/x.so [0]",
    "find library=libpython3.13.so.1.0 [0]; searching",
    "search path=/opt:/usr/lib  (RUNPATH from file /opt/x.so)",
    "trying file=/opt/libpython3.13.so.1.0",
    "trying file=/usr/lib/libpython3.13.so.1.0",
    "search cache=/etc/ld.so.cache",
)


def test_what_is_about_the_library_is_kept_in_order() -> None:
    assert lddebug.about(TRACE, "libpython3.13.so.1.0") == ABOUT


def test_another_library_has_its_own_lines() -> None:
    assert lddebug.about(TRACE, "libm.so.6")[-2:] == (
        "search cache=/etc/ld.so.cache",
        "trying file=/lib/libm.so.6",
    )


def test_a_name_that_only_begins_the_same_is_another_library() -> None:
    assert lddebug.about(TRACE, "libpython3.13.so") == ()


def test_two_processes_that_tell_at_the_same_time_are_kept_apart() -> None:
    mixed = (
        "  1:\tfind library=libx.so [0]; searching\n"
        "  2:\tfind library=liby.so [0]; searching\n"
        "  1:\t  trying file=/a/libx.so\n"
        "  2:\t  trying file=/a/liby.so\n"
    )
    assert lddebug.about(mixed, "libx.so") == (
        "find library=libx.so [0]; searching",
        "trying file=/a/libx.so",
    )


def test_what_was_tried_twice_is_told_once() -> None:
    assert lddebug.about(TRACE + TRACE, "libpython3.13.so.1.0") == ABOUT


def test_a_very_long_search_is_cut_in_the_middle_and_says_so() -> None:
    tried = "".join(f"  1:\t  trying file=/{n}/libx.so\n" for n in range(500))
    found = lddebug.about(f"  1:\tfind library=libx.so [0]; searching\n{tried}", "libx.so")
    assert len(found) == lddebug.MAX_LINES + 1
    assert found[lddebug.MAX_LINES // 2] == f"({501 - lddebug.MAX_LINES} lines left out)"
    assert found[-1] == "trying file=/499/libx.so"


@pytest.mark.parametrize("text", ["", "\0\n\ufffd", "1:\t", "find library=libx.so [0]\n"])
def test_what_is_no_trace_is_empty(text: str) -> None:
    assert lddebug.about(text, "libx.so") == ()


def test_the_hosts_own_loader_tells_what_it_looked_for(compiled: Compile, tmp_path: Path) -> None:
    """The format is the loader's, not ours."""
    helper = compiled("int answer;", name="libgone.so", flags=("-Wl,-soname,libgone.so",))
    needing = compiled(
        "extern int answer; int *held = &answer;",
        name="needing.so",
        flags=(str(helper), "-Wl,-rpath,/nowhere/at/all"),
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(needing)!r})"],
        env={**os.environ, **lddebug.VARIABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "libgone.so: cannot open shared object file" in done.stderr
    found = lddebug.about(done.stderr, "libgone.so")
    assert f"file=libgone.so [0];  needed by {needing} [0]" in found
    assert "trying file=/nowhere/at/all/libgone.so" in found
    assert any(line.startswith("search path=/nowhere/at/all") for line in found)
    # An older loader looks in so many folders more that some are left out.
    told = [line for line in found if not line.endswith("lines left out)")]
    assert all("libgone" in line or line.startswith("search") for line in told)
