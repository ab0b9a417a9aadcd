"""From what a probe said to an outcome: only a started probe tells about its extension."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import containers
from harness.cells import interpret
from harness.containers import MAX_OUTPUT, Finished, _events, _read
from harness.outcome import Outcome, Reason, Stage
from harness.platforms import Platform
from harness.results import result_of
from tests.unit.sample_cell import sample_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROBE = Path(__file__).parents[2] / "images" / "environment" / "probe.py"
LIBPYTHON = "libpython3.13.so.1.0"
NONCE = "5ca1ab1e5ca1ab1e"

STARTED: dict[str, Any] = {
    "event": "started",
    "nonce": NONCE,
    "python": "3.13.3",
    "machine": "aarch64",
    "base_prefix": "/opt/python",
    "leaked": [],
    "oom_kills": 0,
}
IMPORTED: dict[str, Any] = {
    "event": "finished",
    "nonce": NONCE,
    "outcome": "imported",
    "seconds": 0.25,
    "mapped_libpythons": ["/opt/python/lib/libpython3.13.so.1.0"],
    "modules": {"sample": "/opt/extensions/sample/sample.so"},
}

CELL = sample_cell()


def raised(exception: str, message: str, missing: str | None = None) -> dict[str, Any]:
    return {
        **IMPORTED,
        "outcome": "raised",
        "exception": exception,
        "message": message,
        "missing_library": missing,
    }


def ended(
    *events: dict[str, Any],
    exit_code: int = 0,
    timed_out: bool = False,
    errors: str = "",
    oom_killed: bool = False,
) -> Outcome:
    """What is made of a probe that sent these events and ended so."""
    finished = Finished(
        exit_code=exit_code,
        seconds=1.0,
        timed_out=timed_out,
        events={event["event"]: event for event in events},
        errors=errors,
        oom_killed=oom_killed,
    )
    return interpret(finished, CELL)


def test_an_import_that_succeeds_imports_with_its_evidence() -> None:
    outcome = ended(STARTED, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.IMPORTS)
    assert outcome.seconds == 0.25
    evidence = {
        "python": "3.13.3",
        "prefix": "/opt/python",
        "mapped_libpythons": IMPORTED["mapped_libpythons"],
        "modules": IMPORTED["modules"],
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
    for events in ((), (IMPORTED,)):
        outcome = ended(*events, exit_code=exit_code, errors=errors)
        assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.UNTESTABLE)
        assert f"exit code {exit_code}" in outcome.message
        assert outcome.message.endswith(said)
        assert len(outcome.message) < 700


@pytest.mark.parametrize("timed_out", [True, False])
def test_a_probe_that_never_started_in_its_time_is_no_timeout_of_the_import(
    timed_out: bool,
) -> None:
    assert ended(exit_code=137, timed_out=timed_out).stage is Stage.INTERPRETER


def test_a_container_of_another_architecture_is_untestable() -> None:
    outcome = ended({**STARTED, "machine": "x86_64"}, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMAGE, Reason.UNTESTABLE)
    assert "runs on x86_64, but the cell is for aarch64" in outcome.message


def test_a_variable_that_would_change_the_answer_is_untestable() -> None:
    outcome = ended({**STARTED, "leaked": ["LD_LIBRARY_PATH", "PYTHONPATH"]}, IMPORTED)
    assert (outcome.stage, outcome.reason) == (Stage.IMAGE, Reason.UNTESTABLE)
    assert "LD_LIBRARY_PATH, PYTHONPATH" in outcome.message


def test_an_import_that_did_not_end_in_time_is_a_timeout() -> None:
    outcome = ended(STARTED, exit_code=137, timed_out=True)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.TIMEOUT)
    assert "within 7 s" in outcome.message
    assert outcome.seconds is None


@pytest.mark.parametrize(
    ("exit_code", "how"),
    [
        (139, "signal 11 (SIGSEGV)"),
        (134, "signal 6 (SIGABRT)"),
        (135, "signal 7 (SIGBUS)"),
        (132, "signal 4 (SIGILL)"),
        (137, "signal 9 (SIGKILL)"),
        (128 + 31, "signal 31 (unknown)"),
        (0, "exit code 0"),
        (3, "exit code 3"),
        (128, "exit code 128"),
        (255, "exit code 255"),
    ],
)
def test_a_process_that_ends_without_a_report_crashed(exit_code: int, how: str) -> None:
    outcome = ended(STARTED, exit_code=exit_code, errors="y" * 5000 + "last words")
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.CRASH)
    assert outcome.message.endswith(f"with {how}")
    assert outcome.evidence["exit_code"] == exit_code
    stderr = outcome.evidence["stderr"]
    assert isinstance(stderr, str)
    assert stderr.endswith("last words")
    assert len(stderr) <= 2000


def test_a_process_that_the_kernel_killed_for_its_memory_is_out_of_memory() -> None:
    outcome = ended(STARTED, exit_code=137, oom_killed=True)
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.OUT_OF_MEMORY)
    assert containers.MEMORY in outcome.message


@pytest.mark.parametrize("library", ["libGL.so.1", LIBPYTHON, "libpython3.so"])
def test_a_library_that_the_loader_did_not_find_is_named(library: str) -> None:
    message = f"{library}: cannot open shared object file: No such file or directory"
    outcome = ended(STARTED, raised("ImportError", message, library))
    assert (outcome.stage, outcome.reason) == (Stage.IMPORT, Reason.MISSING_LIBRARY)
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


# What was printed, and which of its lines are the probe's own.


def line(**event: object) -> bytes:
    return b"\n" + json.dumps(event).encode() + b"\n"


def test_the_probes_lines_are_found_among_what_else_was_printed() -> None:
    said = b"hello" + line(**STARTED) + b"\xff\xfe{junk}\r\n[1, 2]\n\n3\nnull" + line(**IMPORTED)
    assert _events(said, NONCE) == {"started": STARTED, "finished": IMPORTED}


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
    """An extension that prints a report does not know the nonce; its crash stays a crash."""
    events = _events(line(**STARTED) + line(**forged), NONCE)
    assert events == {"started": STARTED}
    assert ended(*events.values(), exit_code=139).reason is Reason.CRASH


@given(st.binary(max_size=200))
def test_junk_is_no_event(junk: bytes) -> None:
    assert _events(junk, NONCE) == {}


@given(st.binary(max_size=200))
def test_junk_around_the_probes_lines_does_not_hide_them(junk: bytes) -> None:
    said = junk + line(**STARTED) + junk + line(**IMPORTED) + junk
    assert _events(said, NONCE) == {"started": STARTED, "finished": IMPORTED}


def test_a_line_that_nests_too_deeply_is_no_event() -> None:
    assert _events(b"[" * 100_000 + line(**STARTED), NONCE) == {"started": STARTED}


def test_both_streams_are_read_to_their_end() -> None:
    chunks: list[tuple[bytes | None, bytes | None]] = [
        (b"a", None),
        (None, b"x"),
        (b"b", b"y"),
        (None, None),
        (b"", b"\xff"),
    ]
    assert _read(iter(chunks)) == (b"ab", "xy\ufffd")


def test_a_stream_of_nothing_is_empty() -> None:
    assert _read(iter([])) == (b"", "")


def test_what_is_beyond_the_limit_is_dropped_but_still_read() -> None:
    """Each stream has a limit of its own; a process that is not read from would hang."""
    left = 40

    def endless() -> Iterator[tuple[bytes | None, bytes | None]]:
        nonlocal left
        yield b"first", None
        while left:
            left -= 1
            yield None, b"e" * (MAX_OUTPUT // 16)
        yield b"last", None

    said, errors = _read(endless())
    assert left == 0
    assert said == b"firstlast"
    assert len(errors) == MAX_OUTPUT


def test_a_chunk_that_passes_the_limit_is_cut_there() -> None:
    said, errors = _read(iter([(b"a" * (MAX_OUTPUT - 1), None), (b"bcd", None)]))
    assert (len(said), said[-2:], errors) == (MAX_OUTPUT, b"ab", "")


# The probe itself, run with the Python that runs these tests.


class Ran:
    """A probe's process after its end."""

    def __init__(self, process: subprocess.CompletedProcess[bytes]) -> None:
        self.exit_code = process.returncode
        self.output = process.stdout
        self.errors = process.stderr.decode()
        self.events = _events(process.stdout, NONCE)
        self.started = self.events.get("started", {})
        self.finished = self.events.get("finished", {})

    def outcome(self) -> Outcome:
        """What the harness makes of it, as if it had run on the cell's platform."""
        # A signal reaches the harness as the shell's exit code, as from `timeout`.
        code = self.exit_code if self.exit_code >= 0 else 128 - self.exit_code
        events = [dict(event) for event in self.events.values()]
        events[0]["machine"] = str(Platform.AARCH64)
        return ended(*events, exit_code=code, errors=self.errors)


@pytest.fixture
def probe(tmp_path: Path) -> Callable[..., Ran]:
    """Runs the probe on a module with a given source."""

    def run(source: str | None = None, *, env: dict[str, str] | None = None, **change: str) -> Ran:
        return tried(tmp_path / "site", source, env, **change)

    return run


def tried(site: Path, source: str | None, env: dict[str, str] | None = None, **change: str) -> Ran:
    """Let the probe import a module with this source, or without one from nowhere."""
    if source is not None:
        site.mkdir()
        (site / "sample.py").write_text(source, encoding="utf-8")
    request = {"nonce": NONCE, "site": str(site), "module": "sample", "remedy": "none", **change}
    return start(request, env)


def start(request: dict[str, str], env: dict[str, str] | None = None) -> Ran:
    process = subprocess.run(
        [sys.executable, "-I", "-B", str(PROBE), json.dumps(request)],
        env={"HOME": "/", "LANG": "C.UTF-8", **(env or {})},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return Ran(process)


def test_the_probe_without_a_module_starts_and_ends() -> None:
    ran = start({})
    assert ran.exit_code == 0
    (event,) = [json.loads(text) for text in ran.output.splitlines() if text]
    assert event["event"] == "started"
    assert event["nonce"] is None


def test_the_probe_says_where_it_runs(probe: Callable[..., Ran]) -> None:
    ran = probe("")
    assert ran.started["python"] == sys.version.split()[0]
    assert ran.started["machine"] == os.uname().machine
    assert ran.started["base_prefix"] == sys.base_prefix
    assert ran.started["leaked"] == []


def test_the_probe_reports_variables_that_would_change_the_answer(
    probe: Callable[..., Ran],
) -> None:
    ran = probe("", env={"LD_X": "1", "PYTHONFOO": "1", "UV_Y": "1", "OTHER": "1"})
    assert ran.started["leaked"] == ["LD_X", "PYTHONFOO", "UV_Y"]
    assert ran.outcome().stage is Stage.IMAGE


def test_the_probe_imports_a_module_from_its_site(
    probe: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = probe("import fractions")
    assert ran.exit_code == 0
    assert ran.finished["outcome"] == "imported"
    assert ran.finished["modules"]["sample"] == str(tmp_path / "site" / "sample.py")
    assert "fractions" in ran.finished["modules"]
    assert "sys" not in ran.finished["modules"]
    assert 0 <= ran.finished["seconds"] < 30
    assert ran.outcome().reason is Reason.IMPORTS


def test_the_probe_measures_the_import_alone(probe: Callable[..., Ran]) -> None:
    ran = probe("import time; time.sleep(0.05)")
    assert 0.05 <= ran.finished["seconds"] < 10


MISSING = "libfoo.so.1: cannot open shared object file: No such file or directory"
RAISING: dict[str, tuple[str, str, str, str | None, Reason]] = {
    "missing library": (
        f"raise ImportError({MISSING!r})",
        "ImportError",
        MISSING,
        "libfoo.so.1",
        Reason.MISSING_LIBRARY,
    ),
    "missing library by ctypes": (
        f"raise OSError({MISSING!r})",
        "OSError",
        MISSING,
        "libfoo.so.1",
        Reason.MISSING_LIBRARY,
    ),
    "really missing library": (
        "import ctypes; ctypes.CDLL('libnowhere-at-all.so.7')",
        "OSError",
        "libnowhere-at-all.so.7: cannot open shared object file: No such file or directory",
        "libnowhere-at-all.so.7",
        Reason.MISSING_LIBRARY,
    ),
    "cause of another exception": (
        "try:\n"
        f"    raise ImportError({MISSING!r})\n"
        "except ImportError as error:\n"
        "    raise RuntimeError('please reinstall') from error",
        "ImportError",
        MISSING,
        "libfoo.so.1",
        Reason.MISSING_LIBRARY,
    ),
    "context of another exception": (
        "try:\n"
        f"    raise ImportError({MISSING!r})\n"
        "except ImportError:\n"
        "    raise ImportError('please reinstall')",
        "ImportError",
        MISSING,
        "libfoo.so.1",
        Reason.MISSING_LIBRARY,
    ),
    "words of the loader in another type": (
        f"raise ValueError({MISSING!r})",
        "ValueError",
        MISSING,
        None,
        Reason.IMPORT_ERROR,
    ),
    "chain without a missing library": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ImportError('outer') from e",
        "ImportError",
        "outer",
        None,
        Reason.IMPORT_ERROR,
    ),
    "exception that is its own cause": (
        "a, b = ImportError('a'), ImportError('b')\na.__cause__, b.__cause__ = b, a\nraise a",
        "ImportError",
        "a",
        None,
        Reason.IMPORT_ERROR,
    ),
    "undefined symbol": (
        "raise ImportError('/x.so: undefined symbol: PyFoo')",
        "ImportError",
        "/x.so: undefined symbol: PyFoo",
        None,
        Reason.UNDEFINED_SYMBOL,
    ),
    "module that is not there": (
        "import nowhere_at_all",
        "ModuleNotFoundError",
        "No module named 'nowhere_at_all'",
        None,
        Reason.IMPORT_ERROR,
    ),
    "exit": ("raise SystemExit(0)", "SystemExit", "0", None, Reason.IMPORT_ERROR),
    "interrupt": (
        "raise KeyboardInterrupt",
        "KeyboardInterrupt",
        "",
        None,
        Reason.IMPORT_ERROR,
    ),
    "memory": ("raise MemoryError", "MemoryError", "", None, Reason.OUT_OF_MEMORY),
    "syntax error": (
        "def",
        "SyntaxError",
        "invalid syntax (sample.py, line 1)",
        None,
        Reason.IMPORT_ERROR,
    ),
}


@pytest.fixture(scope="module")
def raising(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """A probe of each of these modules; together, since most of the time is Python's start."""
    root = tmp_path_factory.mktemp("raising")
    with ThreadPoolExecutor() as pool:
        running = {
            name: pool.submit(tried, root / name, source) for name, (source, *_) in RAISING.items()
        }
        return {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("case", RAISING)
def test_the_probe_reports_whatever_an_import_raises(raising: dict[str, Ran], case: str) -> None:
    ran = raising[case]
    _, exception, message, missing, reason = RAISING[case]
    assert ran.exit_code == 0
    assert ran.finished["outcome"] == "raised"
    found = (ran.finished[key] for key in ("exception", "message", "missing_library"))
    assert tuple(found) == (exception, message, missing)
    assert ran.outcome().reason is reason


def test_the_probe_cuts_a_long_message(probe: Callable[..., Ran]) -> None:
    assert ran_message(probe("raise ImportError('x' * 100_000)")) == "x" * 4000


def ran_message(ran: Ran) -> str:
    return str(ran.finished["message"])


def test_text_that_is_no_unicode_does_not_stop_the_report(probe: Callable[..., Ran]) -> None:
    assert ran_message(probe(r"raise ImportError('\udcff')")) == "\udcff"


@pytest.mark.parametrize(
    ("source", "exit_code", "how"),
    [
        ("import os; os._exit(3)", 3, "exit code 3"),
        ("import os; os._exit(0)", 0, "exit code 0"),
        ("import os; os.kill(os.getpid(), 11)", -11, "signal 11 (SIGSEGV)"),
        ("import os; os.abort()", -6, "signal 6 (SIGABRT)"),
    ],
)
def test_a_process_that_ends_during_the_import_leaves_no_report(
    probe: Callable[..., Ran], source: str, exit_code: int, how: str
) -> None:
    ran = probe(source)
    assert ran.exit_code == exit_code
    assert list(ran.events) == ["started"]
    outcome = ran.outcome()
    assert outcome.reason is Reason.CRASH
    assert outcome.message.endswith(how)


PRINTING = "import os, sys\nos.write(1, b'direct\\n')\nprint('buffered', flush=True)\n"


def test_what_an_extension_prints_goes_to_standard_error(probe: Callable[..., Ran]) -> None:
    ran = probe(PRINTING)
    assert [json.loads(text)["event"] for text in ran.output.splitlines() if text] == [
        "started",
        "finished",
    ]
    assert "direct\n" in ran.errors
    assert "buffered\n" in ran.errors


def test_what_an_extension_prints_without_flushing_goes_to_standard_error_too(
    probe: Callable[..., Ran],
) -> None:
    assert "hello\n" in probe("print('hello')").errors


def test_a_report_that_an_extension_prints_is_not_taken_for_the_probes(
    probe: Callable[..., Ran],
) -> None:
    forged = {**IMPORTED, "nonce": "0" * 16}
    ran = probe(f"import os\nos.write(1, {line(**forged)!r})\nos._exit(3)")
    assert list(ran.events) == ["started"]
    assert ran.outcome().reason is Reason.CRASH


def test_threads_of_an_extension_do_not_keep_the_probe_alive(probe: Callable[..., Ran]) -> None:
    ran = probe("import threading\nthreading.Thread(target=threading.Event().wait).start()")
    assert ran.exit_code == 0
    assert ran.outcome().reason is Reason.IMPORTS


def test_an_extension_that_is_not_installed_is_reported(
    probe: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = probe()
    assert ran.finished["outcome"] == "not-installed"
    outcome = ran.outcome()
    assert outcome.stage is Stage.INSTALL
    assert str(tmp_path / "site") in outcome.message


def test_a_remedy_that_the_probe_does_not_know_is_reported(probe: Callable[..., Ran]) -> None:
    ran = probe("", remedy="patchelf")
    assert ran.finished["outcome"] == "not-installed"
    assert "patchelf" in ran_message(ran)


@pytest.mark.parametrize(
    "source",
    [
        "import sys, types\n"
        "class Lazy(types.ModuleType):\n"
        "    def __getattr__(self, name):\n"
        "        raise ImportError('an optional dependency is missing')\n"
        "sys.modules['sample.lazy'] = Lazy('sample.lazy')\n",
        "class Odd(Exception):\n"
        "    def __str__(self):\n"
        "        raise RuntimeError('no text')\n"
        "raise Odd\n",
    ],
    ids=["lazy module that raises when it is looked at", "exception without text"],
)
def test_an_extension_with_odd_objects_is_no_crash(probe: Callable[..., Ran], source: str) -> None:
    ran = probe(source)
    assert ran.exit_code == 0
    assert ran.outcome().reason is not Reason.CRASH
