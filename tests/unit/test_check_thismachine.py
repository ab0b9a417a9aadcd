"""What an environment's own interpreter would import on this machine, found without running it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.check import thismachine, verdicts
from harness.check.builds import Libc, Python
from harness.check.target import Target
from harness.check.verdicts import Role
from harness.loader.objects import Object
from tests.unit.made_targets import library, target

SUFFIX = f".cpython-3{sys.version_info[1]}-x86_64-linux-gnu.so"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment of the interpreter that runs the tests."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    version = ".".join(map(str, sys.version_info[:3]))
    (tmp_path / "pyvenv.cfg").write_text(f"home = /nowhere\nversion_info = {version}\n")
    return tmp_path


@pytest.fixture
def here(environment: Path) -> thismachine.Here:
    found = thismachine.of_environment(environment)
    assert found is not None
    return found


def made(here: thismachine.Here, *needed: str) -> Target:
    """A module for this very interpreter."""
    module: Object = library(*needed, architecture=here.machine.architecture)
    return target({f"_m.cpython-3{here.python.minor}.so": module}, tags=frozenset())


def test_the_interpreter_is_the_one_that_the_link_leads_to(here: thismachine.Here) -> None:
    assert here.program == os.path.realpath(sys.executable)
    assert here.python == Python(sys.version_info[1])
    assert here.machine.cpu == os.uname().machine
    assert here.machine.libc is Libc.GLIBC


def test_what_this_machine_has_is_found(here: thismachine.Here) -> None:
    assert verdicts.check_here(made(here, "libc.so.6", "libm.so.6"), here) == ()


def test_what_this_machine_lacks_is_told_with_its_real_directories(here: thismachine.Here) -> None:
    found = verdicts.check_here(made(here, "libc.so.6", "libno-such-thing.so.9"), here)
    assert found is not None
    (failure,) = found
    assert failure.role is Role.MODULE
    assert failure.library == "libno-such-thing.so.9"
    assert "It is not in ld.so.cache" in failure.words
    assert "/lib" in failure.words


def test_library_path_counts_as_the_process_has_it(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = next(iter(Path("/lib").glob("*-linux-gnu/libm.so.6")))
    (tmp_path / "libmine.so.9").symlink_to(libc)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    here = thismachine.of_environment(environment)
    assert here is not None
    assert verdicts.check_here(made(here, "libmine.so.9"), here) == ()


def test_modules_of_another_cpython_are_not_asked(here: thismachine.Here) -> None:
    other = target({"_m.cpython-39.so": library("libgone.so")}, tags=frozenset())
    assert verdicts.check_here(other, here) is None


@pytest.mark.parametrize(
    "config",
    ["", "home = /x\n", "version = 2.7.18\n", "version = three\n", "implementation = PyPy\n"],
)
def test_an_environment_that_says_nothing_of_its_version_is_left_alone(
    environment: Path, config: str
) -> None:
    (environment / "pyvenv.cfg").write_text(config)
    assert thismachine.of_environment(environment) is None


def test_an_environment_whose_interpreter_is_gone_is_left_alone(environment: Path) -> None:
    (environment / "bin" / "python").unlink()
    assert thismachine.of_environment(environment) is None
    (environment / "bin" / "python").write_text("#!/bin/sh\n")
    assert thismachine.of_environment(environment) is None
