"""What ``check`` prints and writes: every form says the same of the same findings."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from harness.check import jsonreport, problems, report, sarif, verdicts, workflow
from harness.check.builds import Python
from harness.check.problems import Level, Rule
from harness.check.report import Section
from harness.check.target import SITE, Target
from harness.loader.objects import AARCH64, Architecture
from harness.why import WIDTH
from tests.unit.made_targets import LIBPYTHON, SUFFIX, library, target

MUSLINUX = frozenset({"cp313-cp313-musllinux_1_2_x86_64"})

TARGETS = {
    "clean": target({f"_m{SUFFIX}": library("libc.so.6")}),
    "needs": target({f"_m{SUFFIX}": library("libcuda.so.1")}),
    "breaks": target({f"_m{SUFFIX}": library(LIBPYTHON, "libcuda.so.1")}),
    "helper": target(
        {f"pkg/_m{SUFFIX}": library("libh.so", runpath="$ORIGIN")},
        {"pkg/libh.so": library(LIBPYTHON, runpath="$ORIGIN")},
    ),
    "partly": target(
        {f"_a{SUFFIX}": library(), f"_b{SUFFIX}": library(LIBPYTHON)}, reached=frozenset({"_a"})
    ),
    "program": target({f"_m{SUFFIX}": library()}, programs={"tool": library(LIBPYTHON)}),
    "bundles": target(
        {f"_m{SUFFIX}": library(LIBPYTHON, runpath="$ORIGIN/libs")},
        {f"libs/{LIBPYTHON}": library(soname=LIBPYTHON)},
    ),
    "abi3": target(
        {"_m.abi3.so": library("libpython3.so")}, tags=frozenset({"cp38-abi3-linux_x86_64"})
    ),
    "musl": target({"_m.so": library(LIBPYTHON)}, tags=MUSLINUX, is_musl=True),
    "unknown": target({f"_m{SUFFIX}": library(architecture=Architecture(258, 64))}),
    "pure": target(tags=frozenset({"py3-none-any"})),
    "damaged": target({f"_m{SUFFIX}": library()}, unreadable={f"{SITE}/_x.so": "cut short"}),
    "two-machines": target({"_a.so": library(LIBPYTHON), "_b.so": library(architecture=AARCH64)}),
    "many": target({f"pkg/_m{n:02}{SUFFIX}": library(LIBPYTHON) for n in range(20)}),
}


def section(made: Target, *pythons: Python) -> Section:
    return Section(name=made.name, findings=(verdicts.check(made, pythons),))


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("made", TARGETS.values(), ids=TARGETS)
def test_a_report_fits_eighty_columns_and_has_no_loose_ends(made: Target, verbose: bool) -> None:
    text = report.render(section(made), verbose=verbose)
    for line in text.splitlines():
        # Code to paste and single words (paths, addresses) are left whole.
        if " " in line.strip() and not line.startswith("      "):
            assert len(line) <= WIDTH, line
        assert line == line.rstrip()
        assert "None" not in line
    assert "\n\n\n" not in text
    assert text.endswith("\n")


def test_the_table_has_link_models_releases_and_uv_versions_over_the_verdicts() -> None:
    text = report.render(section(TARGETS["breaks"]))
    table = text.split("\n\n")[1]
    assert [line.split() for line in table.splitlines()] == [
        ["x86_64", "shared", "static", "static+runpath", "static+rpath"],
        ["release", "…20250409", "20250517", "20250521", "20250529…"],
        ["uv", "…0.7.5,", "0.7.8", "0.7.6", "0.7.7", "0.7.9…"],
        ["3.13", "imports", "FAILS", "FAILS", "imports"],
    ]


def test_cpythons_that_fare_alike_share_a_line_and_others_do_not() -> None:
    table = report.render(section(TARGETS["abi3"]))
    assert re.search(r"^3\.9-3\.14 +FAILS +FAILS +FAILS +imports$", table, re.MULTILINE)
    assert re.search(r"^3\.15 +- +- +- +imports$", table, re.MULTILINE)
    assert re.search(r"^3\.8 +FAILS$", table, re.MULTILINE)


def test_each_machine_has_a_table_of_its_own() -> None:
    text = report.render(section(TARGETS["two-machines"]))
    assert re.search(r"^x86_64 +shared", text, re.MULTILINE)
    assert re.search(r"^aarch64 +shared", text, re.MULTILINE)
    assert "0.7.7…0.7.8" in text


def test_the_report_says_why_and_what_to_do() -> None:
    text = report.render(section(TARGETS["helper"]))
    words = " ".join(text.split())
    assert "`pkg/libh.so` needs `libpython3.13.so.1.0`" in words
    assert "So this fails: import pkg._m." in words
    assert "If you use it:" in text
    assert "If it is yours:" in text
    assert "If you make interpreters:" in text


def test_a_module_that_is_not_reached_is_told_apart() -> None:
    words = " ".join(report.render(section(TARGETS["partly"])).split())
    assert "partly" in words
    assert "import _b (its own import does not get there)" in words


def test_a_program_is_told_to_find_libpython_for_itself() -> None:
    words = " ".join(report.render(section(TARGETS["program"])).split())
    assert "bin/tool: DOES NOT START. `bin/tool` needs `libpython3.13.so.1.0`." in words
    assert "the interpreter's DT_RPATH" not in words


def test_a_bundled_libpython_is_a_note_and_no_alarm() -> None:
    text = report.render(section(TARGETS["bundles"]))
    assert text.splitlines()[1] == "imports everywhere"
    assert "brings a libpython of its own" in text
    assert "FAILS" not in text


def test_libraries_of_the_system_are_a_warning() -> None:
    text = report.render(section(TARGETS["breaks"]))
    assert "libcuda.so.1, needed by _m" in text
    assert "not\ncounted as breakage" in text


def test_what_is_not_known_of_a_machine_is_said() -> None:
    text = report.render(section(TARGETS["unknown"]))
    assert "not known" in text
    assert "uv has no interpreters for loongarch64" in text


def test_musl_is_told_with_its_own_eras() -> None:
    text = report.render(section(TARGETS["musl"]))
    assert "20250311…20250409" in text
    assert "FAILS" not in text
    assert "Before release 20250311 the musl builds loaded no extension module" in " ".join(
        text.split()
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clean", "imports everywhere"),
        ("needs", "imports everywhere, where libcuda.so.1 is there"),
        ("breaks", "FAILS with static, static+runpath"),
        ("program", "bin/tool does not start"),
        ("pure", "not checked: it is pure Python, so there is nothing to check"),
        ("damaged", "imports everywhere, as far as it could be checked"),
    ],
)
def test_one_line_tells_the_verdict(name: str, words: str) -> None:
    made = TARGETS[name]
    assert report.brief(section(made)) == f"{made.name}: {words}"


def test_many_files_in_need_are_counted_and_named_on_request() -> None:
    short = report.render(section(TARGETS["many"]))
    assert "and 15 files more" in short
    assert report.render(section(TARGETS["many"]), verbose=True).count("_m19") > 0


@pytest.mark.parametrize("made", TARGETS.values(), ids=TARGETS)
def test_json_says_what_the_table_says(made: Target) -> None:
    one = section(made)
    document = json.loads(jsonreport.dump([one], 1))
    assert document["schema_version"] == 1
    (found,) = document["checked"]
    assert found["breaks"] is one.breaks
    cells = [cell for row in found["targets"][0]["rows"] for cell in row["cells"]]
    expected = [cell.verdict.value for row in one.rows for cell in row.cells]
    assert [cell["verdict"] for cell in cells] == expected
    for cell in cells:
        assert (cell["verdict"] == "imports") is (cell["failures"] == [])
    assert found["unchecked"] == list(one.unchecked)


def test_json_has_every_place_that_was_looked_into() -> None:
    document = json.loads(jsonreport.dump([section(TARGETS["breaks"])], 1))
    cells = document["checked"][0]["targets"][0]["rows"][0]["cells"]
    (failure,) = cells[1]["failures"]
    assert failure["library"] == LIBPYTHON
    assert failure["needed_by"] == f"_m{SUFFIX}"
    steps = [look["step"] for look in failure["looks"]]
    assert steps == ["rpath", "rpath", "library-path", "runpath", "cache", "default"]


# The part of SARIF 2.1.0's schema that says what such a log must have.
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "id": {"type": "string"},
                                                "shortDescription": {
                                                    "type": "object",
                                                    "required": ["text"],
                                                },
                                            },
                                            "additionalProperties": False,
                                        },
                                    },
                                },
                                "additionalProperties": False,
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "level", "locations"],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"type": "object", "required": ["text"]},
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "required": ["uri"],
                                                        "properties": {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": r"^[^\s]+$",
                                                            }
                                                        },
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "properties": {
                                                            "startLine": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            }
                                                        },
                                                    },
                                                },
                                            },
                                            "logicalLocations": {"type": "array"},
                                        },
                                        "additionalProperties": False,
                                    },
                                },
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize("made", TARGETS.values(), ids=TARGETS)
def test_sarif_has_the_form_that_its_standard_asks_for(made: Target) -> None:
    log = json.loads(sarif.dump(problems.problems([section(made)]), "1.0"))
    jsonschema.validate(log, SARIF)
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]


def test_problems_are_errors_where_it_breaks_and_warnings_elsewhere() -> None:
    found = list(problems.problems([section(TARGETS["breaks"])]))
    assert [(one.rule, one.level) for one in found] == [
        (Rule.LIBPYTHON_NOT_FOUND, Level.ERROR),
        (Rule.LIBRARY_NOT_BUNDLED, Level.WARNING),
    ]
    assert "static (20250517), static+runpath (20250521)" in found[0].message
    assert list(problems.problems([section(TARGETS["clean"])])) == []


def test_what_was_not_checked_is_a_problem_too() -> None:
    for name in ("pure", "damaged"):
        (found,) = problems.problems([section(TARGETS[name])])
        assert found.rule is Rule.NOT_CHECKED
    (found,) = problems.problems([Section(name="gone.whl", refused="there is no gone.whl")])
    assert found.rule is Rule.NOT_CHECKED
    assert "there is no gone.whl" in found.message


def test_annotations_are_single_lines_with_what_would_end_them_escaped() -> None:
    found = problems.Problem(
        rule=Rule.NOT_CHECKED, level=Level.ERROR, target="a,b:c.whl", file=None, message="50%\nx"
    )
    assert workflow.dump([found]) == ("::error file=a%2Cb%3Ac.whl,title=not-checked::50%25%0Ax\n")
    for made in TARGETS.values():
        for line in workflow.dump(problems.problems([section(made)])).splitlines():
            assert re.match(r"::(error|warning) file=[^,:]+,title=[^,:]+::\S", line)
