"""From what a probe said to an outcome: only a started probe tells about its extension."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cells import interpret
from harness.outcome import Reason, Stage
from harness.plan import Cell
from harness.probereport import AGAIN, events
from harness.question import Finished
from harness.results import result_of
from tests.unit.probing import (
    ASKED,
    CELL,
    CHECK,
    IMPORTED,
    LIBPYTHON,
    NONCE,
    PASSED,
    STARTED,
    ended,
    line,
    raised,
)

BOTH = pytest.mark.parametrize(
    ("asked", "stage"), [(CELL, Stage.IMPORT), (CHECK, Stage.CHECK)], ids=["extension", "check"]
)


def test_an_import_that_succeeds_imports_with_its_evidence() -> None:
    outcome = ended(STARTED, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.IMPORTS)
    assert outcome.seconds == 0.25
    evidence = {
        "python": "3.13.3",
        "prefix": "/opt/python",
        "mapped_libpythons": IMPORTED["mapped_libpythons"],
        "modules": IMPORTED["modules"],
        "bindings": IMPORTED["bindings"],
    }
    assert {key: outcome.evidence[key] for key in evidence} == evidence


@pytest.mark.parametrize("where", ["message", "modules"])
def test_text_that_is_no_unicode_does_not_lose_the_result(where: str) -> None:
    """A file name that is no UTF-8 comes as lone surrogates, which no JSON file takes."""
    odd = "/opt/\udcff.so: cannot open"
    report = raised("ImportError", odd if where == "message" else "")
    report["modules"] = {"x": odd} if where == "modules" else {}
    outcome = ended(STARTED, report)
    assert outcome.reason is Reason.IMPORT_ERROR
    line = result_of(CELL, outcome, {}).model_dump_json()
    assert r"/opt/\\udcff.so" in line


@pytest.mark.parametrize(
    ("exit_code", "errors", "said"),
    [
        (127, "timeout: failed to run command", "failed to run command"),
        (139, "", "it said nothing"),
        (0, "  \n", "it said nothing"),
        (1, "x" * 10_000 + "the end", "the end"),
    ],
)
def test_a_probe_that_never_started_says_nothing_about_the_extension(
    exit_code: int, errors: str, said: str
) -> None:
    for sent in ((), (IMPORTED,)):
        outcome = ended(*sent, exit_code=exit_code, errors=errors)
        assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.UNTESTABLE)
        assert f"exit code {exit_code}" in outcome.message
        assert outcome.message.endswith(said)
        assert len(outcome.message) < 700


@pytest.mark.parametrize("timed_out", [True, False])
def test_a_probe_that_never_started_in_its_time_is_no_timeout_of_the_import(
    timed_out: bool,
) -> None:
    assert ended(exit_code=137, timed_out=timed_out).stage is Stage.INTERPRETER


def test_a_probe_of_which_nobody_knows_how_it_ended_has_no_exit_code() -> None:
    outcome = ended(exit_code=None, errors="the agent is gone")
    assert outcome.stage is Stage.INTERPRETER
    assert outcome.message == "the interpreter did not start the probe: the agent is gone"


def test_a_container_of_another_architecture_is_untestable() -> None:
    outcome = ended({**STARTED, "machine": "x86_64"}, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMAGE, Reason.UNTESTABLE)
    assert "runs on x86_64, but the cell is for aarch64" in outcome.message


def test_a_variable_that_would_change_the_answer_is_untestable() -> None:
    outcome = ended({**STARTED, "leaked": ["LD_LIBRARY_PATH", "PYTHONPATH"]}, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMAGE, Reason.UNTESTABLE)
    assert "LD_LIBRARY_PATH, PYTHONPATH" in outcome.message


@BOTH
def test_a_question_that_was_not_answered_in_time_is_a_timeout(asked: Cell, stage: Stage) -> None:
    outcome = ended(STARTED, exit_code=137, timed_out=True, cell=asked)
    assert (outcome.stage, outcome.reason) == (stage, Reason.TIMEOUT)
    assert outcome.message == f"the {stage} did not end within 7 s"
    assert outcome.seconds is None


@pytest.mark.parametrize(
    ("exit_code", "signal", "how"),
    [
        (139, 11, "signal 11 (SIGSEGV)"),
        (134, 6, "signal 6 (SIGABRT)"),
        (135, 7, "signal 7 (SIGBUS)"),
        (132, 4, "signal 4 (SIGILL)"),
        (137, 9, "signal 9 (SIGKILL)"),
        (128 + 31, 31, "signal 31 (unknown)"),
        (0, None, "exit code 0"),
        (3, None, "exit code 3"),
        (137, None, "exit code 137"),
        (255, None, "exit code 255"),
    ],
)
@BOTH
def test_a_process_that_ends_without_a_report_crashed(
    asked: Cell, stage: Stage, exit_code: int, signal: int | None, how: str
) -> None:
    words = "y" * 5000 + "last words"
    outcome = ended(STARTED, exit_code=exit_code, signal=signal, errors=words, cell=asked)
    assert (outcome.stage, outcome.reason) == (stage, Reason.CRASH)
    assert outcome.message == f"the interpreter ended during the {stage} with {how}"
    assert outcome.evidence["exit_code"] == exit_code
    stderr = outcome.evidence["stderr"]
    assert isinstance(stderr, str)
    assert stderr.endswith("last words")
    assert len(stderr) <= 2000


@BOTH
def test_a_process_that_the_kernel_killed_for_its_memory_is_out_of_memory(
    asked: Cell, stage: Stage
) -> None:
    outcome = ended(STARTED, exit_code=137, oom_killed=True, cell=asked)
    assert (outcome.stage, outcome.reason) == (stage, Reason.OUT_OF_MEMORY)
    assert "memory" in outcome.message


@BOTH
@pytest.mark.parametrize("library", ["libGL.so.1", LIBPYTHON, "libpython3.so"])
def test_a_library_that_the_loader_did_not_find_is_named(
    asked: Cell, stage: Stage, library: str
) -> None:
    """By a check too, which may load libraries itself."""
    message = f"{library}: cannot open shared object file: No such file or directory"
    outcome = ended(STARTED, raised("ImportError", message, library), cell=asked)
    assert (outcome.stage, outcome.reason) == (stage, Reason.MISSING_LIBRARY)
    assert outcome.missing_library == library
    assert outcome.message == message
    assert outcome.evidence["exception"] == "ImportError"
    assert outcome.short == f"missing-library {library}"


@pytest.mark.parametrize(
    ("exception", "message", "reason"),
    [
        ("ImportError", "/opt/x.so: undefined symbol: _PyFoo", Reason.UNDEFINED_SYMBOL),
        ("OSError", "/lib/x.so: undefined symbol: a, version B", Reason.UNDEFINED_SYMBOL),
        ("ImportError", "cannot import name 'a' from 'b'", Reason.IMPORT_ERROR),
        ("ModuleNotFoundError", "No module named 'b'", Reason.IMPORT_ERROR),
        ("SystemExit", "3", Reason.IMPORT_ERROR),
        ("TypeError", "", Reason.IMPORT_ERROR),
        ("MemoryError", "", Reason.OUT_OF_MEMORY),
        ("ImportError", "MemoryError", Reason.IMPORT_ERROR),
    ],
)
def test_an_exception_is_told_by_its_type_and_message(
    exception: str, message: str, reason: Reason
) -> None:
    outcome = ended(STARTED, raised(exception, message))
    assert (outcome.stage, outcome.reason, outcome.message) == (Stage.IMPORT, reason, message)
    assert outcome.missing_library is None
    assert outcome.evidence["exception"] == exception


def test_an_extension_that_is_not_in_the_container_is_untestable() -> None:
    report = {"event": "finished", "outcome": "not-installed", "message": "/opt/x is not there"}
    outcome = ended(STARTED, report)
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)
    assert outcome.message == "/opt/x is not there"


# To what the C API is bound.

HOME = "/opt/python/bin/python3.13"
COPY = f"/opt/python/lib/{LIBPYTHON}"


def bound(**copies: list[str]) -> dict[str, Any]:
    """The report on an import of which some names are bound to other copies of libpython."""
    counts = {HOME: 3, **{path: len(names) for path, names in copies.items()}}
    return {**IMPORTED, "bindings": {"home": HOME, "counts": counts, "copies": copies}}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["PyLong_FromLong"], "PyLong_FromLong"),
        (["Py_A", "Py_B", "Py_C"], "Py_A, Py_B, Py_C"),
        (["Py_A", "Py_B", "Py_C", "Py_D"], "Py_A, Py_B, Py_C and 1 more"),
        ([f"Py_{n}" for n in range(50)], "Py_0, Py_1, Py_2 and 47 more"),
    ],
    ids=lambda names: str(len(names)),
)
def test_an_import_that_binds_to_a_second_libpython_is_split(names: list[str], said: str) -> None:
    """It works with a copy that the interpreter never ran, however well it imports."""
    report = bound(**{COPY: names})
    outcome = ended(STARTED, report)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.SPLIT_BINDING)
    assert outcome.message == f"{said} bound to {COPY}, but {HOME} is what runs"
    assert outcome.evidence["bindings"] == report["bindings"]
    assert outcome.evidence["modules"] == IMPORTED["modules"]
    assert outcome.seconds == 0.25


def test_every_second_libpython_is_named() -> None:
    own = "/opt/extensions/sample/site/sample.libs/libpython3-0a1b2c3d.so"
    outcome = ended(STARTED, bound(**{COPY: ["Py_A"], own: ["Py_B"]}))
    assert outcome.message == (
        f"Py_A bound to {COPY}; Py_B bound to {own}, but {HOME} is what runs"
    )


def test_names_that_are_bound_to_something_else_are_no_split_binding() -> None:
    """An extension may define a name of the C API itself, for an older CPython."""
    report = bound()
    report["bindings"]["counts"]["/opt/extensions/sample/site/sample.so"] = 1
    report["bindings"]["counts"]["elsewhere"] = 2
    assert ended(STARTED, report).reason is Reason.IMPORTS


def test_an_import_whose_bindings_could_not_be_read_has_no_result() -> None:
    """It may be split for all that is known, so it is no success."""
    outcome = ended(STARTED, {**IMPORTED, "bindings": {"problem": "KeyError: 'slots'"}})
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)
    assert outcome.message.endswith("could not be read: KeyError: 'slots'")


# Checks.


def test_a_check_that_passes_has_its_findings_as_evidence() -> None:
    outcome = ended(STARTED, PASSED, cell=CHECK)
    assert (outcome.stage, outcome.reason, outcome.message) == (Stage.CHECK, Reason.PASSES, "")
    assert outcome.seconds == 0.25
    assert outcome.evidence["findings"] == {"answer": 42}
    assert outcome.evidence["mapped_libpythons"] == PASSED["mapped_libpythons"]
    assert outcome.evidence["modules"] == PASSED["modules"]


@pytest.mark.parametrize("findings", [None, [], "text", 3, {"a": [1, None, 2.5]}, "\udcff"])
def test_whatever_a_check_finds_is_kept_in_the_results(findings: object) -> None:
    outcome = ended(STARTED, {**PASSED, "findings": findings}, cell=CHECK)
    line = json.loads(result_of(CHECK, outcome, {}).model_dump_json())
    expected = r"\udcff" if findings == "\udcff" else findings
    assert (line["outcome"], line["evidence"]["findings"]) == ("passes", expected)


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ("AssertionError", "list += str gave TypeError"),
        ("AssertionError", ""),
        ("ImportError", "/x.so: undefined symbol: PyFoo"),
        ("ModuleNotFoundError", "No module named '_tkinter'"),
        ("MemoryError", ""),
        ("SystemExit", "1"),
        ("NotApplicable", "raised where it means nothing"),
    ],
)
def test_a_check_that_raises_has_found_what_it_looks_for(exception: str, message: str) -> None:
    outcome = ended(STARTED, raised(exception, message), cell=CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.CHECK, Reason.FAILS)
    assert (outcome.message, outcome.evidence["exception"]) == (message, exception)
    assert outcome.missing_library is None
    assert outcome.seconds == 0.25


def test_a_check_that_raises_may_have_findings_too() -> None:
    report = {**raised("AssertionError", "too many"), "findings": {"names": ["my_free"]}}
    outcome = ended(STARTED, report, cell=CHECK)
    assert outcome.reason is Reason.FAILS
    assert outcome.evidence["findings"] == {"names": ["my_free"]}
    assert "findings" not in ended(STARTED, raised("AssertionError", ""), cell=CHECK).evidence


def test_a_check_whose_question_does_not_arise_has_no_result() -> None:
    report = {**ASKED, "outcome": "not-applicable", "message": "this CPython has no tkinter"}
    outcome = ended(STARTED, report, cell=CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.NOT_APPLICABLE)
    assert outcome.message == "this CPython has no tkinter"


@BOTH
def test_what_is_not_in_the_container_is_untestable(asked: Cell, stage: Stage) -> None:
    report = {"event": "finished", "outcome": "not-installed", "message": "/opt/x is not there"}
    outcome = ended(STARTED, report, cell=asked)
    assert outcome.reason is Reason.UNTESTABLE
    assert outcome.stage is not stage


# What was reported, and which of its lines are the probe's own.


def test_the_probes_lines_are_found_among_what_else_was_reported() -> None:
    said = "hello" + line(**STARTED) + "\ufffd{junk}\r\n[1, 2]\n\n3\nnull" + line(**IMPORTED)
    assert events(said, NONCE) == {"started": STARTED, "finished": IMPORTED}


@pytest.mark.parametrize(
    "forged",
    [
        {**IMPORTED, "nonce": "0" * 16},
        {**IMPORTED, "nonce": None},
        {**IMPORTED, "nonce": [NONCE]},
        {**IMPORTED, "nonce": NONCE.upper()},
        {key: value for key, value in IMPORTED.items() if key != "nonce"},
    ],
    ids=["other", "null", "list", "capitals", "none"],
)
def test_a_forged_report_is_ignored(forged: dict[str, Any]) -> None:
    """An extension that makes a report does not know the nonce; its crash stays a crash."""
    found = events(line(**STARTED) + line(**forged), NONCE)
    assert found == {"started": STARTED}
    assert ended(*found.values(), exit_code=139).reason is Reason.CRASH


def test_of_an_event_that_comes_twice_the_first_one_counts() -> None:
    forged = {**STARTED, "machine": "vax"}
    assert events(line(**STARTED) + line(**forged), NONCE) == {"started": STARTED, AGAIN: forged}


def test_two_reports_are_none() -> None:
    """The probe makes one; so something in its process has made the other."""
    found = events(line(**STARTED) + line(**IMPORTED) + line(**raised("ImportError", "x")), NONCE)
    outcome = interpret(
        Finished(exit_code=0, seconds=1.0, timed_out=False, events=found, errors=""), CELL
    )
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.CRASH)
    assert "more than one report" in outcome.message


def changed(path: str, value: object) -> dict[str, Any]:
    """The report of an import that succeeded, with one thing in it changed."""
    report: dict[str, Any] = json.loads(json.dumps(IMPORTED))
    *folders, name = path.split("/")
    place = report
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return report


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("outcome", "wonderful"),
        ("outcome", ["imported"]),
        ("outcome", None),
        ("seconds", "0.1"),
        ("seconds", -1.0),
        ("seconds", float("inf")),
        ("seconds", float("nan")),
        ("seconds", None),
        ("modules", []),
        ("modules", {"x": 1}),
        ("mapped_libpythons", "all"),
        ("bindings", 5),
        ("bindings", {}),
        ("bindings/home", 5),
        ("bindings/counts", {"x": "y"}),
        ("bindings/copies", {"x": [1]}),
        ("bindings/copies", None),
    ],
)
def test_a_report_that_no_probe_sends_is_none(path: str, value: object) -> None:
    """Its module may have made it, with all that a process can know of itself."""
    outcome = ended(STARTED, changed(path, value), exit_code=0)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.CRASH)
    assert "a report that no probe sends" in outcome.message


def nested(depth: int) -> object:
    found: object = 1
    for _ in range(depth):
        found = [found]
    return found


def test_what_a_check_finds_may_not_be_without_end() -> None:
    assert ended(STARTED, {**PASSED, "findings": nested(50)}, cell=CHECK).reason is Reason.PASSES
    outcome = ended(STARTED, {**PASSED, "findings": nested(900)}, cell=CHECK)
    assert outcome.reason is Reason.CRASH
    assert "nested too deeply" in outcome.message


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN"])
def test_a_report_with_a_number_that_json_has_not_is_no_event(number: str) -> None:
    report = line(**{**PASSED, "findings": "here"}).replace('"here"', number)
    assert events(line(**STARTED) + report, NONCE) == {"started": STARTED}


@pytest.mark.parametrize(
    ("report", "cell", "other"),
    [
        (PASSED, CHECK, CELL),
        (IMPORTED, CELL, CHECK),
        ({**ASKED, "outcome": "not-applicable", "message": "x"}, CHECK, CELL),
    ],
    ids=["passed", "imported", "not-applicable"],
)
def test_an_extension_has_no_answer_of_a_checks(
    report: dict[str, Any], cell: Cell, other: Cell
) -> None:
    """Else it could pass for one of which nothing is asked, and be skipped."""
    assert ended(STARTED, report, cell=cell).reason is not Reason.CRASH
    assert ended(STARTED, report, cell=other).reason is Reason.CRASH


@pytest.mark.parametrize("name", ["python", "machine", "base_prefix", "leaked"])
@pytest.mark.parametrize("value", [None, 5, [5], {}])
def test_a_start_that_no_probe_reports_is_none(name: str, value: object) -> None:
    outcome = ended({**STARTED, name: value}, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.UNTESTABLE)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(sorted({*IMPORTED, *STARTED, "x"})), inner, max_size=6
            )
        ),
    )
)
def test_nothing_that_is_reported_is_more_than_an_outcome(report: object) -> None:
    assert ended(STARTED, {**IMPORTED, "bindings": report}).stage is Stage.IMPORT
    found = Finished(
        exit_code=0,
        seconds=1.0,
        timed_out=False,
        events={"started": STARTED, "finished": cast(Any, report)},
        errors="",
    )
    assert interpret(found, CELL).reason is Reason.CRASH


@given(st.text(max_size=200))
def test_junk_is_no_event(junk: str) -> None:
    assert events(junk, NONCE) == {}


@given(st.text(max_size=200))
def test_junk_around_the_probes_lines_does_not_hide_them(junk: str) -> None:
    said = junk + line(**STARTED) + junk + line(**IMPORTED) + junk
    assert events(said, NONCE) == {"started": STARTED, "finished": IMPORTED}


def test_a_line_that_nests_too_deeply_is_no_event() -> None:
    assert events("[" * 100_000 + line(**STARTED), NONCE) == {"started": STARTED}
