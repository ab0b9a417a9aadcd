"""Advice is what docs/remedies.md found to help, for each reader and each kind of trouble."""

from __future__ import annotations

from harness.check import advice, verdicts
from harness.check.advice import Reader
from harness.check.target import SITE
from harness.loader.objects import AARCH64, Object
from tests.unit.made_targets import LIBPYTHON, SUFFIX, library, target


def said(*modules: Object, programs: dict[str, Object] | None = None) -> dict[Reader, str]:
    """All that is said to each reader of a target with these modules, code included."""
    named = {f"_{number}{SUFFIX}": module for number, module in enumerate(modules)}
    found: dict[Reader, str] = {}
    for one in advice.advise([verdicts.check(target(named, programs=programs))]):
        found[one.reader] = f"{found.get(one.reader, '')}{one.text}\n{one.code}\n"
    return found


def test_nothing_is_advised_where_nothing_breaks() -> None:
    assert said(library("libc.so.6", "libcuda.so.1")) == {}


def test_a_user_is_told_the_release_that_helps_and_to_install_it_anew() -> None:
    words = said(library(LIBPYTHON))[Reader.USER]
    assert "use release 20250529 or a later one: uv 0.7.9 and later install one" in words
    assert "uv python install --reinstall 3.X.Y" in words
    assert "ctypes.CDLL" in words


def test_a_user_is_not_sent_to_a_newer_release_where_a_runpath_makes_it_useless() -> None:
    words = said(library(LIBPYTHON, runpath="$ORIGIN"))[Reader.USER]
    assert "no release after 20250409 imports it" in words
    assert "uv …0.7.5, 0.7.8" in words
    assert "--reinstall" not in words
    assert "ctypes.CDLL" in words


def test_the_snippet_names_the_library_that_is_missing() -> None:
    assert 'name = "libpython3.so"' in said(library("libpython3.so"))[Reader.USER]
    assert "sys.abiflags" in said(library(LIBPYTHON))[Reader.USER]


def test_no_snippet_is_given_for_a_libpython_that_the_interpreter_does_not_have() -> None:
    words = said(library("libpython3.12.so.1.0"))
    assert "CDLL" not in words[Reader.USER]
    assert "no release imports" in words[Reader.USER]
    assert "libpython3.12.so.1.0 is no library of that interpreter" in words[Reader.MAINTAINER]


def test_an_author_is_told_the_line_and_the_command_for_the_file_in_need() -> None:
    words = said(library(LIBPYTHON))[Reader.AUTHOR]
    for needed in ("PEP 513", "Python3::Module", "embed: true", "extension-module"):
        assert needed in words
    assert f"patchelf --remove-needed {LIBPYTHON} _0{SUFFIX}" in words


def test_an_author_is_told_what_auditwheel_takes_out_and_what_it_leaves() -> None:
    """As its own pattern has it: no abiflags, and no libpython3.so."""
    assert "takes it out by itself" in said(library(LIBPYTHON))[Reader.AUTHOR]
    for name in ("libpython3.so", "libpython3.13t.so.1.0"):
        assert f"by itself, but not {name}" in said(library(name))[Reader.AUTHOR]


def test_an_author_of_a_runpath_is_told_what_it_switches_off() -> None:
    assert "--remove-rpath" in said(library(LIBPYTHON, runpath="/build"))[Reader.AUTHOR]
    assert "--remove-rpath" not in said(library(LIBPYTHON))[Reader.AUTHOR]


def test_a_maintainer_is_told_which_link_models_import_it() -> None:
    words = said(library(LIBPYTHON))[Reader.MAINTAINER]
    assert "shared or static+rpath" in words
    assert "DT_RPATH of bin/python3.X that makes the difference" in words
    runpath = said(library(LIBPYTHON, runpath="$ORIGIN"))[Reader.MAINTAINER]
    assert "is linked shared." in runpath
    assert "No search path of bin/python3.X can reach" in runpath


def test_a_program_gets_advice_of_its_own_and_no_line_about_modules() -> None:
    words = said(library(), programs={"tool": library(LIBPYTHON)})
    assert "LD_LIBRARY_PATH=" in words[Reader.USER]
    assert words[Reader.USER].rstrip().endswith(" tool")
    assert "issues/604" in words[Reader.AUTHOR]
    assert "Python3::Module" not in words[Reader.AUTHOR]


def test_the_same_is_said_once_for_all_machines_and_modules() -> None:
    made = target(
        {"_a.so": library(LIBPYTHON), "_b.so": library(LIBPYTHON, architecture=AARCH64)},
        tags=frozenset({"cp313-cp313-linux_x86_64"}),
    )
    found = advice.advise([verdicts.check(made)])
    assert len(found) == len({(one.reader, one.text, one.code) for one in found})
    assert sum("--reinstall" in one.code for one in found) == 1
    assert sum("use release" in one.text for one in found) == 2


def test_what_cannot_be_loaded_for_another_reason_is_not_blamed_on_libpython() -> None:
    words = said(library("$ORIGIN/libs/libgone.so"))
    assert set(words) == {Reader.AUTHOR}
    assert "cannot be loaded anywhere" in words[Reader.AUTHOR]
    assert "libpython" not in words[Reader.AUTHOR]


def test_another_library_than_libpython_has_advice_of_its_own() -> None:
    user, author = advice.about_other("libx.so.1", [])
    assert (user.reader, author.reader) == (Reader.USER, Reader.AUTHOR)
    assert "nothing to do with how Python was built" in user.text
    assert "Put `libx.so.1` into the wheel" in author.text


def test_a_library_that_lies_in_the_wheel_where_nothing_leads_is_told_where() -> None:
    inside = verdicts.Missing(
        name="libx.so.1", needed_by=("/a.so",), inside=f"{SITE}/libs/libx.so.1"
    )
    _, author = advice.about_other("libx.so.1", [inside])
    assert "lies in the wheel, as `libs/libx.so.1`, but no search path leads there" in author.text
