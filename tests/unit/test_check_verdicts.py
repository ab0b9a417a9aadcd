"""What is said of a target is what the matrix saw: one made target for each kind of trouble."""

from __future__ import annotations

import pytest

from harness.check import pythons, verdicts
from harness.check.builds import Libc, Machine, Python
from harness.check.target import SITE, Target
from harness.check.verdicts import Finding, Verdict
from harness.loader.objects import AARCH64, Object
from harness.releases import LinkModel
from tests.unit.made_targets import LIBPYTHON, SUFFIX, library, target

OK, BAD, PART = Verdict.IMPORTS, Verdict.FAILS, Verdict.PARTLY


def verdicts_of(finding: Finding) -> list[Verdict]:
    """Of the only row: with each link model."""
    (row,) = finding.rows
    return [cell.verdict for cell in row.cells]


def of_module(module: Object, **libraries: Object) -> Finding:
    named = {f"libs/{name}.so": content for name, content in libraries.items()}
    return verdicts.check(target({f"_m{SUFFIX}": module}, named))


TRUTH = [
    # docs/verdicts.md's table: an extension, and what it does with each link model
    ("no libpython", library("libc.so.6"), {}, [OK, OK, OK, OK]),
    ("libpython, no path", library(LIBPYTHON), {}, [OK, BAD, BAD, OK]),
    ("libpython, RPATH", library(LIBPYTHON, rpath="$ORIGIN"), {}, [OK, BAD, BAD, OK]),
    ("libpython, RUNPATH", library(LIBPYTHON, runpath="$ORIGIN"), {}, [OK, BAD, BAD, BAD]),
    (
        "helper with RUNPATH",
        library("libh.so", runpath="$ORIGIN/libs"),
        {"libh": library(LIBPYTHON, runpath="$ORIGIN")},
        [OK, BAD, BAD, BAD],
    ),
    (
        "RUNPATH, plain helper",
        library("libh.so", runpath="$ORIGIN/libs"),
        {"libh": library(LIBPYTHON)},
        [OK, BAD, BAD, OK],
    ),
    ("libpython3.so", library("libpython3.so"), {}, [BAD, BAD, BAD, OK]),
    ("another CPython's", library("libpython3.12.so.1.0"), {}, [BAD, BAD, BAD, BAD]),
    ("free-threaded's", library("libpython3.13t.so.1.0"), {}, [BAD, BAD, BAD, BAD]),
]


@pytest.mark.parametrize(
    ("module", "libraries", "expected"), [row[1:] for row in TRUTH], ids=[row[0] for row in TRUTH]
)
def test_the_truth_table_holds(
    module: Object, libraries: dict[str, Object], expected: list[Verdict]
) -> None:
    assert verdicts_of(of_module(module, **libraries)) == expected


def test_helpers_several_levels_down_are_followed() -> None:
    finding = of_module(
        library("liba.so", rpath="$ORIGIN/libs"),
        liba=library("libb.so"),
        libb=library("libc2.so"),
        libc2=library(LIBPYTHON),
    )
    assert verdicts_of(finding) == [OK, BAD, BAD, OK]
    assert {f.search.needed_by for f in finding.failures} == {f"{SITE}/libs/libc2.so"}


def test_a_bundled_libpython_that_is_found_imports_everywhere_and_is_noted() -> None:
    finding = verdicts.check(
        target(
            {f"_m{SUFFIX}": library(LIBPYTHON, runpath="$ORIGIN/libs")},
            {f"libs/{LIBPYTHON}": library(soname=LIBPYTHON)},
        )
    )
    assert verdicts_of(finding) == [OK, OK, OK, OK]
    assert finding.uses_bundled
    assert not finding.breaks
    assert finding.bundled == (f"{SITE}/libs/{LIBPYTHON}",)


def test_a_bundled_libpython_that_nothing_leads_to_does_not_help() -> None:
    finding = verdicts.check(
        target(
            {f"_m{SUFFIX}": library(LIBPYTHON)}, {f"libs/{LIBPYTHON}": library(soname=LIBPYTHON)}
        )
    )
    assert verdicts_of(finding) == [OK, BAD, BAD, OK]
    assert not finding.uses_bundled


def test_a_program_that_embeds_python_fails_for_itself_and_no_module_with_it() -> None:
    finding = verdicts.check(
        target({f"_m{SUFFIX}": library()}, programs={"tool": library(LIBPYTHON)})
    )
    assert verdicts_of(finding) == [OK, OK, OK, OK]
    assert [failure.library for failure in finding.rows[0].programs] == [LIBPYTHON]
    assert finding.embedding == ("/venv/bin/tool",)
    assert finding.breaks


def test_a_program_that_brings_its_libpython_starts() -> None:
    finding = verdicts.check(
        target(
            {f"_m{SUFFIX}": library()},
            {f"libs/{LIBPYTHON}": library(soname=LIBPYTHON)},
            {"tool": library(LIBPYTHON, runpath="$ORIGIN/../lib/python3/site-packages/libs")},
        )
    )
    assert finding.embedding == ("/venv/bin/tool",)
    assert not finding.breaks


def test_a_program_without_libpython_is_not_about_python() -> None:
    finding = verdicts.check(
        target({f"_m{SUFFIX}": library()}, programs={"tool": library("libc.so.6", "libodd.so")})
    )
    assert finding.embedding == ()
    assert [missing.name for missing in finding.missing] == ["libodd.so"]


def test_a_library_of_the_system_is_missing_apart_and_breaks_nothing() -> None:
    finding = of_module(library("libcuda.so.1", "libz.so.1", "/opt/x/libabs.so"))
    assert verdicts_of(finding) == [OK, OK, OK, OK]
    assert [missing.name for missing in finding.missing] == ["libcuda.so.1", "/opt/x/libabs.so"]
    assert not finding.breaks


def test_a_library_of_the_system_does_not_hide_libpython_behind_it() -> None:
    finding = of_module(library("libcuda.so.1", LIBPYTHON))
    assert verdicts_of(finding) == [OK, BAD, BAD, OK]
    assert [missing.name for missing in finding.missing] == ["libcuda.so.1"]


def test_a_library_that_lies_there_with_no_path_to_it_is_named() -> None:
    finding = of_module(library("libh.so"), libh=library())
    assert finding.missing[0].inside == f"{SITE}/libs/libh.so"


def test_a_module_that_the_import_does_not_reach_fails_apart() -> None:
    made = target(
        {f"_a{SUFFIX}": library(), f"_b{SUFFIX}": library(LIBPYTHON)}, reached=frozenset({"_a"})
    )
    finding = verdicts.check(made)
    assert verdicts_of(finding) == [OK, PART, PART, OK]
    assert {f.module for f in finding.failures} == {"_b"}
    assert verdicts_of(verdicts.check(made._replace(reached=frozenset({"_b"})))) == [
        OK,
        BAD,
        BAD,
        OK,
    ]


def test_where_nothing_is_known_of_the_import_every_module_counts() -> None:
    made = target({f"_a{SUFFIX}": library(), f"_b{SUFFIX}": library(LIBPYTHON)})
    assert verdicts_of(verdicts.check(made)) == [OK, BAD, BAD, OK]


def test_a_library_that_code_opens_by_its_path_is_followed_as_well() -> None:
    """As ucxx opens its own, with ctypes."""
    made = target({f"_m{SUFFIX}": library()}, {"libs/libplugin.so": library(LIBPYTHON)})
    assert verdicts_of(verdicts.check(made)) == [OK, PART, PART, OK]
    alone = target(None, {"libs/libplugin.so": library(LIBPYTHON)})
    assert verdicts_of(verdicts.check(alone)) == [OK, BAD, BAD, OK]


def test_abi3_is_for_every_later_cpython_that_there_is() -> None:
    made = target(
        {"_m.abi3.so": library("libpython3.so")}, tags=frozenset({"cp311-abi3-linux_x86_64"})
    )
    finding = verdicts.check(made)
    assert [row.python for row in finding.rows] == [Python(minor) for minor in range(11, 16)]
    newest = finding.rows[0].cells[-1]
    assert newest.era.link_model is LinkModel.STATIC_RPATH
    assert newest.verdict is OK
    assert finding.rows[0].cells[0].verdict is BAD


@pytest.mark.parametrize(
    ("suffix", "python", "loads"),
    [
        (".cpython-313-x86_64-linux-gnu.so", Python(13), True),
        (".cpython-313-x86_64-linux-gnu.so", Python(12), False),
        (".cpython-313-x86_64-linux-gnu.so", Python(13, "t"), False),
        (".cpython-313-x86_64-linux-gnu.so", Python(13, "d"), True),
        (".cpython-313d-x86_64-linux-gnu.so", Python(13), False),
        (".cpython-313t-x86_64-linux-gnu.so", Python(13, "t"), True),
        (".cpython-313t-x86_64-linux-gnu.so", Python(13, "td"), True),
        (".abi3.so", Python(13), True),
        (".abi3.so", Python(13, "t"), False),
        (".so", Python(13, "t"), True),
        (".pypy310-pp73-x86_64-linux-gnu.so", Python(10), False),
    ],
)
def test_a_suffix_says_which_cpython_imports_a_file(
    suffix: str, python: Python, loads: bool
) -> None:
    assert pythons.loads(python, suffix) is loads


def test_a_wheel_for_debug_builds_needs_their_libpython() -> None:
    finding = verdicts.check(
        target(
            {"_m.cpython-313d-x86_64-linux-gnu.so": library("libpython3.13d.so.1.0")},
            tags=frozenset({"cp313-cp313d-linux_x86_64"}),
        )
    )
    assert finding.rows[0].python == Python(13, "d")
    assert verdicts_of(finding) == [OK, BAD, BAD, OK]


def test_files_without_a_tag_are_for_what_their_names_say_or_what_was_asked() -> None:
    plain = target({"_m.so": library()}, tags=frozenset())
    assert [row.python for row in verdicts.check(plain).rows] == [pythons.DEFAULT_PYTHON]
    assert [row.python for row in verdicts.check(plain, [Python(10)]).rows] == [Python(10)]
    named = target({f"_m{SUFFIX}": library()}, tags=frozenset())
    assert [row.python for row in verdicts.check(named).rows] == [Python(13)]


def test_what_is_asked_for_narrows_what_is_checked_and_nothing_left_is_said() -> None:
    made = target({f"_m{SUFFIX}": library()})
    for finding in (verdicts.check(made, [Python(9)]), verdicts.check(made, cpu=["aarch64"])):
        assert finding.rows == ()
        assert finding.unchecked
        assert not finding.breaks


def test_musl_inherits_every_search_path_so_libpython_is_found() -> None:
    made = target(
        {"_m.cpython-313-x86_64-linux-musl.so": library(LIBPYTHON, runpath="$ORIGIN")},
        tags=frozenset({"cp313-cp313-musllinux_1_2_x86_64"}),
        is_musl=True,
    )
    finding = verdicts.check(made)
    assert finding.rows[0].machine.libc is Libc.MUSL
    assert set(verdicts_of(finding)) == {OK}


def test_on_musl_what_glibc_systems_have_is_missing() -> None:
    made = target({"_m.so": library("libstdc++.so.6", "libc.musl-x86_64.so.1")}, is_musl=True)
    assert [missing.name for missing in verdicts.check(made).missing] == ["libstdc++.so.6"]


def test_files_for_two_machines_have_a_row_for_each() -> None:
    made = target({"_m.so": library(), "_n.so": library(LIBPYTHON, architecture=AARCH64)})
    finding = verdicts.check(made)
    by_machine = {row.machine.cpu: row for row in finding.rows}
    assert [cell.verdict for cell in by_machine["x86_64"].cells] == [OK] * 4
    assert BAD in [cell.verdict for cell in by_machine["aarch64"].cells]


@pytest.mark.parametrize(
    "made",
    [
        target(tags=frozenset({"py3-none-any"})),
        target(tags=frozenset()),
        target({"_m.so": library()}, tags=frozenset({"cp313-cp313-win_amd64"})),
        target({"_m.so": library()}, tags=frozenset({"cp36-cp36m-manylinux1_x86_64"})),
        target({"_m.so": library()}, tags=frozenset({"pp310-pypy310_pp73-manylinux1_x86_64"})),
        target(
            {"_m.so": library(architecture=Machine.of_cpu("i686").architecture)},  # type: ignore[union-attr]
            tags=frozenset({"cp313-cp313-manylinux1_i686"}),
        ),
    ],
    ids=["pure", "empty", "windows", "too-old", "pypy", "no-such-build"],
)
def test_what_has_nothing_to_check_says_so(made: Target) -> None:
    finding = verdicts.check(made)
    assert finding.rows == ()
    assert finding.unchecked


def test_a_file_that_cannot_be_read_is_said_and_the_rest_is_checked() -> None:
    made = target({f"_m{SUFFIX}": library()}, unreadable={f"{SITE}/_x.so": "cut short"})
    finding = verdicts.check(made)
    assert finding.unchecked == ("_x.so: cut short",)
    assert finding.rows
