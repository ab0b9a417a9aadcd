"""The probe itself, run with the Python that runs these tests, on modules of every kind."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness import elf
from harness.outcome import Reason, Stage
from harness.plan import where
from harness.remedies import Remedy
from tests.unit.conftest import Compile
from tests.unit.probing import (
    CHECK,
    IMPORTED,
    MAX_OUTPUT,
    PROBE,
    Ran,
    install,
    line,
    tried,
)

Probe = Callable[..., Ran]


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Runs the probe on a module with a given source."""

    def run(
        source: str | None = None, *, env: dict[str, str] | None = None, **change: object
    ) -> Ran:
        return tried(tmp_path, source, env, **change)

    return run


def test_the_probe_says_where_it_runs(probe: Probe) -> None:
    ran = probe("")
    assert ran.started["python"] == sys.version.split()[0]
    assert ran.started["machine"] == os.uname().machine
    assert ran.started["base_prefix"] == sys.base_prefix
    assert ran.started["leaked"] == []


def test_the_probe_reports_variables_that_would_change_the_answer(
    probe: Probe,
) -> None:
    ran = probe("", env={"LD_X": "1", "PYTHONFOO": "1", "UV_Y": "1", "OTHER": "1"})
    assert ran.started["leaked"] == ["LD_X", "PYTHONFOO", "UV_Y"]
    assert ran.outcome().stage is Stage.IMAGE


def test_a_variable_that_is_meant_to_be_set_is_no_leak(probe: Probe) -> None:
    ran = probe("", env={"LD_X": "1", "LD_Y": "1"}, given=["LD_X"])
    assert ran.started["leaked"] == ["LD_Y"]


def test_the_probe_imports_a_module_from_its_site(probe: Probe, tmp_path: Path) -> None:
    ran = probe("import fractions")
    assert ran.exit_code == 0
    assert ran.finished["outcome"] == "imported"
    assert ran.finished["modules"]["sample"] == str(tmp_path / "site" / "sample.py")
    assert "fractions" in ran.finished["modules"]
    assert "sys" not in ran.finished["modules"]
    assert 0 <= ran.finished["seconds"] < 30
    assert ran.outcome().reason is Reason.IMPORTS


def test_the_probe_measures_the_import_alone(probe: Probe) -> None:
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


def test_the_probe_cuts_a_long_message(probe: Probe) -> None:
    assert ran_message(probe("raise ImportError('x' * 100_000)")) == "x" * 4000


def ran_message(ran: Ran) -> str:
    return str(ran.finished["message"])


def test_text_that_is_no_unicode_does_not_stop_the_report(probe: Probe) -> None:
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
    probe: Probe, source: str, exit_code: int, how: str
) -> None:
    ran = probe(source)
    assert ran.exit_code == exit_code
    assert list(ran.events) == ["started"]
    outcome = ran.outcome()
    assert outcome.reason is Reason.CRASH
    assert outcome.message.endswith(how)


PRINTING = "import os, sys\nos.write(1, b'direct\\n')\nprint('buffered', flush=True)\n"


def test_what_an_extension_prints_is_no_report(probe: Probe) -> None:
    ran = probe(PRINTING)
    assert [json.loads(text)["event"] for text in ran.reports.splitlines() if text] == [
        "started",
        "finished",
    ]
    assert "direct\n" in ran.errors
    assert "buffered\n" in ran.errors


def test_what_an_extension_prints_without_flushing_is_not_lost(probe: Probe) -> None:
    assert "hello\n" in probe("print('hello')").errors


def test_a_report_that_an_extension_makes_is_not_taken_for_the_probes(probe: Probe) -> None:
    """Also where it finds out where reports go to."""
    forged = line(**{**IMPORTED, "nonce": "0" * 16}).encode()
    writes = (
        "import os\n"
        "for descriptor in range(1, 32):\n"
        "    try:\n"
        f"        os.write(descriptor, {forged!r})\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(3)\n"
    )
    ran = probe(writes)
    assert ran.reports.count("finished") == 1
    assert list(ran.events) == ["started"]
    assert ran.outcome().reason is Reason.CRASH


def test_threads_of_an_extension_do_not_keep_the_probe_alive(probe: Probe) -> None:
    ran = probe("import threading\nthreading.Thread(target=threading.Event().wait).start()")
    assert ran.exit_code == 0
    assert ran.outcome().reason is Reason.IMPORTS


def test_an_extension_that_is_not_installed_is_reported(probe: Probe, tmp_path: Path) -> None:
    ran = probe()
    assert ran.finished["outcome"] == "not-installed"
    outcome = ran.outcome()
    assert outcome.stage is Stage.INSTALL
    assert str(tmp_path / "site") in outcome.message


def test_a_remedy_that_the_probe_does_not_know_is_reported(probe: Probe) -> None:
    ran = probe("", remedy="prayer")
    assert ran.finished["outcome"] == "not-installed"
    assert ran_message(ran) == "unknown remedy prayer"
    assert ran.outcome().stage is Stage.INSTALL


@pytest.mark.parametrize("remedy", list(Remedy))
def test_every_remedy_of_the_matrix_is_known_to_the_probe(probe: Probe, remedy: Remedy) -> None:
    """One that was added to the matrix alone would make all its cells untestable."""
    ran = probe("", remedy=str(remedy))
    if ran.finished["outcome"] != "imported":
        # By name or path, this Python may well have no libpython to load first.
        assert remedy in (Remedy.PRELOAD, Remedy.PRELOAD_BY_PATH)
        assert ran.outcome().reason is Reason.MISSING_LIBRARY


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
def test_an_extension_with_odd_objects_is_no_crash(probe: Probe, source: str) -> None:
    ran = probe(source)
    assert ran.exit_code == 0
    assert ran.outcome().reason is not Reason.CRASH


# To what the C API is bound, in extensions that are really loaded.

EXTENSION = """\
#include <Python.h>
#include <stdlib.h>
#include <sys/mman.h>
extern PyObject *Py_NobodyDefinesThis(void) __attribute__((weak));
void *py_sample_heap, *py_sample_apart;
static PyTypeObject *held[] = {&PyList_Type};
static PyObject *answer(PyObject *self, PyObject *unused) {
    if (Py_NobodyDefinesThis) return Py_NobodyDefinesThis();
    if (PyOS_InputHook) return (PyObject *)held[0];
    return PyLong_FromLong(42);
}
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "sample", 0, -1, methods};
PyMODINIT_FUNC PyInit_sample(void) {
    py_sample_heap = malloc(64);
    /* Between the interpreter and the libraries, and next to neither. */
    py_sample_apart = mmap((void *)0x600000000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANON, -1, 0);
    return PyModule_Create(&definition);
}
"""
# What a plugin takes of the C API: a function, and a variable that has no value at first.
HELPER = """\
extern int (*PyOS_InputHook)(void);
extern void *PyLong_FromLong(long value);
void *use(void) { return PyOS_InputHook ? 0 : PyLong_FromLong(1); }
"""
# Variables without a value lie behind the file in memory; so many that no page of it has them.
COPY = """\
char before[1 << 20];
int (*PyOS_InputHook)(void) __attribute__((aligned(1 << 16)));
char after[1 << 20];
void *PyLong_FromLong(long value) { return 0; }
"""
STARTS = "void Py_InitializeEx(int handlers) {}\n"
LOADS_HELPER = """\
import ctypes, os
# As a host of plugins does that keeps their symbols apart: what they need comes first.
ctypes.CDLL(os.path.dirname(__file__) + "/libhelper.so", os.RTLD_NOW | os.RTLD_DEEPBIND)
"""


def test_the_c_api_of_a_correct_extension_is_bound_to_the_interpreter(
    compiled: Compile, tmp_path: Path
) -> None:
    """Functions, types, and variables without a value; a weak name that nobody has is no name."""
    built = compiled(EXTENSION)
    slots = elf.read(built).c_api_slots
    names = {"Py_NobodyDefinesThis", "PyList_Type", "PyOS_InputHook", "PyLong_FromLong"}
    assert set(slots) == {*names, "PyModule_Create2"}
    ran = tried(install(tmp_path, sample=built), None)
    assert ran.outcome().reason is Reason.IMPORTS
    bindings = ran.finished["bindings"]
    assert bindings == {
        "home": bindings["home"],
        "counts": {bindings["home"]: len(slots) - 1},
        "copies": {},
    }
    # The interpreter itself, or the libpython that it runs.
    home = Path(bindings["home"])
    assert elf.read(home).provides_c_api
    assert home == Path(sys.executable).resolve() or home.name.startswith("libpython")


def test_an_extension_without_a_name_of_the_c_api_is_bound_to_nothing(probe: Probe) -> None:
    ran = probe("")
    assert (ran.finished["bindings"]["counts"], ran.finished["bindings"]["copies"]) == ({}, {})
    assert ran.finished["bindings"]["home"]


def with_helper(
    tree: Path,
    compiled: Compile,
    copy: str,
    *,
    name: str,
    helper: str = HELPER,
    loads: str = LOADS_HELPER,
) -> Ran:
    """Import what loads a helper that prefers the C API of a library called ``name``."""
    library = compiled(copy, name=f"{name}.so", flags=(f"-Wl,-soname={name}.so",))
    link = (f"-L{library.parent}", f"-l:{library.name}", "-Wl,-rpath,$ORIGIN")
    built = compiled(helper, name="libhelper.so", flags=link)
    install(tree, **{name: library, "libhelper": built})
    return tried(tree, loads)


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("libpython3.99", COPY),
        ("libpython3-0a1b2c3d", COPY),
        ("libembedded", COPY + STARTS),
    ],
    ids=["by its name", "renamed in a wheel", "by what it defines"],
)
def test_a_helper_that_is_bound_to_a_second_libpython_is_found(
    compiled: Compile, tmp_path: Path, name: str, copy: str
) -> None:
    ran = with_helper(tmp_path, compiled, copy, name=name)
    path = str(tmp_path.resolve() / "site" / f"{name}.so")
    bindings = ran.finished["bindings"]
    assert bindings["copies"] == {path: ["PyLong_FromLong", "PyOS_InputHook"]}
    assert bindings["counts"] == {path: 2}
    assert bindings["home"] != path
    outcome = ran.outcome()
    assert outcome.reason is Reason.SPLIT_BINDING
    assert f"PyLong_FromLong, PyOS_InputHook bound to {path}" in outcome.message


def test_a_library_that_only_has_names_of_the_c_api_is_no_second_libpython(
    compiled: Compile, tmp_path: Path
) -> None:
    """As those that carry a function of a newer CPython for an older one."""
    ran = with_helper(tmp_path, compiled, COPY, name="libcompat")
    path = str(tmp_path.resolve() / "site" / "libcompat.so")
    assert ran.finished["bindings"]["counts"] == {path: 2}
    assert ran.finished["bindings"]["copies"] == {}
    assert ran.outcome().reason is Reason.IMPORTS


def test_a_second_libpython_that_nothing_is_bound_to_is_harmless(
    compiled: Compile, tmp_path: Path
) -> None:
    """It is loaded, but the interpreter's names come first: so python-mscl with static+rpath."""
    copy = compiled(COPY + STARTS, name="libpython3.99.so", flags=("-Wl,-soname=libpython3.99.so",))
    link = (f"-L{copy.parent}", f"-l:{copy.name}", "-Wl,-rpath,$ORIGIN")
    needing = compiled(EXTENSION, flags=("-Wl,--no-as-needed", *link))
    ran = tried(install(tmp_path, sample=needing, **{"libpython3.99": copy}), None)
    assert (
        str(tmp_path.resolve() / "site" / "libpython3.99.so") in ran.finished["mapped_libpythons"]
    )
    assert ran.finished["bindings"]["copies"] == {}
    assert ran.outcome().reason is Reason.IMPORTS


def test_of_many_names_the_first_are_told_and_all_are_counted(
    compiled: Compile, tmp_path: Path
) -> None:
    names = [f"PyMany_{number:03}" for number in range(80)]
    copy = "".join(f"void {name}(void) {{}}\n" for name in names)
    declared = "".join(f"extern void {name}(void);\n" for name in names)
    calls = " ".join(f"{name}();" for name in names)
    helper = f"{declared}void use(void) {{ {calls} }}\n"
    ran = with_helper(tmp_path, compiled, copy, name="libpython3.99", helper=helper)
    path = str(tmp_path.resolve() / "site" / "libpython3.99.so")
    assert ran.finished["bindings"]["copies"] == {path: names[:50]}
    assert ran.finished["bindings"]["counts"] == {path: 80}


def test_a_tree_behind_a_link_is_the_tree(compiled: Compile, tmp_path: Path) -> None:
    """The kernel tells of mapped files by their real paths."""
    install(tmp_path / "real", sample=compiled(EXTENSION))
    (tmp_path / "linked").symlink_to("real", target_is_directory=True)
    ran = tried(tmp_path / "linked", None)
    bindings = ran.finished["bindings"]
    assert bindings["counts"] == {bindings["home"]: 4}


def test_a_tree_with_a_space_in_its_path_is_read(compiled: Compile, tmp_path: Path) -> None:
    ran = tried(install(tmp_path / "a tree  of mine", sample=compiled(EXTENSION)), None)
    bindings = ran.finished["bindings"]
    assert bindings["counts"] == {bindings["home"]: 4}


def test_a_helper_that_was_loaded_by_a_relative_path_is_looked_at(
    compiled: Compile, tmp_path: Path
) -> None:
    """The loader keeps the name that it was given, and the directory may be another by then."""
    loads = """\
import ctypes, os
before = os.getcwd()
os.chdir(os.path.dirname(__file__))
ctypes.CDLL("./libhelper.so", os.RTLD_NOW | os.RTLD_DEEPBIND)
os.chdir(before)
"""
    ran = with_helper(tmp_path, compiled, COPY, name="libpython3.99", loads=loads)
    assert ran.outcome().reason is Reason.SPLIT_BINDING


def test_only_what_the_import_loaded_is_looked_at(compiled: Compile, tmp_path: Path) -> None:
    install(tmp_path, sample=compiled(EXTENSION), libhelper=compiled(HELPER, name="libhelper.so"))
    assert len(json.loads((tmp_path / "symbols.json").read_text())) == 2
    ran = tried(tmp_path, None)
    assert sum(ran.finished["bindings"]["counts"].values()) == 4


def test_a_name_is_counted_for_every_file_that_uses_it(compiled: Compile, tmp_path: Path) -> None:
    second = compiled(HELPER, name="libhelper.so")
    install(tmp_path, module=compiled(EXTENSION.replace("PyInit_sample", "PyInit_module")))
    install(tmp_path, libhelper=second)
    ran = tried(tmp_path, "import module\n" + LOADS_HELPER)
    assert list(ran.finished["bindings"]["counts"].values()) == [4 + 2]


@pytest.mark.parametrize("name", ["py_sample_heap", "py_sample_apart"])
def test_a_name_that_is_bound_to_no_file_is_counted_as_elsewhere(
    compiled: Compile, tmp_path: Path, name: str
) -> None:
    """As code that was made in memory; here a place of the extension that holds such an address."""
    built = compiled(EXTENSION)
    with built.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        (symbol,) = table.get_symbol_by_name(name) or []
    install(tmp_path, sample=built)
    slots = {"Py_Made": symbol["st_value"]}
    (tmp_path / "symbols.json").write_bytes(
        noted(slots=slots, provides_c_api=False, code_address=elf.read(built).code_address)
    )
    ran = tried(tmp_path, None)
    assert ran.finished["bindings"]["counts"] == {"elsewhere": 1}
    assert ran.outcome().reason is Reason.IMPORTS


def test_a_file_that_is_read_and_not_loaded_is_not_looked_at(
    compiled: Compile, tmp_path: Path
) -> None:
    """Its addresses are in no place where the loader would have put them."""
    install(tmp_path, other=compiled(EXTENSION))
    reads = (
        "import mmap, os\n"
        "stream = open(os.path.dirname(__file__) + '/other.so', 'rb')\n"
        "held = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)\n"
    )
    ran = tried(tmp_path, reads)
    assert ran.exit_code == 0
    assert ran.outcome().reason is Reason.IMPORTS
    assert ran.finished["bindings"]["counts"] == {}


def test_a_file_that_is_both_read_and_loaded_is_looked_at_where_it_was_loaded(
    compiled: Compile, tmp_path: Path
) -> None:
    install(tmp_path, other=compiled(EXTENSION.replace("PyInit_sample", "PyInit_other")))
    for order in (("maps()", "import other"), ("import other", "maps()")):
        reads = (
            "import mmap, os\n"
            "def maps():\n"
            "    global held\n"
            "    held = []\n"
            "    for _ in range(20):\n"
            "        with open(os.path.dirname(__file__) + '/other.so', 'rb') as stream:\n"
            "            held.append(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))\n"
        )
        ran = tried(tmp_path, reads + "\n".join(order) + "\n")
        assert ran.exit_code == 0
        bindings = ran.finished["bindings"]
        assert bindings["counts"] == {bindings["home"]: 4}


def noted(**entry: object) -> bytes:
    """What is noted of the symbols of an extension."""
    return json.dumps({"sample.so": entry}).encode()


ODD_NOTES: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "list": b"[]",
    "number": b"3",
    "entry without slots": noted(provides_c_api=False, code_address=0),
    "entry without provides_c_api": noted(slots={}, code_address=0),
    "entry without code_address": noted(slots={}, provides_c_api=False),
    "code_address that is text": noted(slots={}, provides_c_api=False, code_address="0"),
    "code_address of another file": noted(
        slots={"Py_A": 8}, provides_c_api=False, code_address=2**40
    ),
    "entry that is nothing": b'{"sample.so": null}',
    "slot that is text": noted(slots={"Py_A": "8"}, provides_c_api=False, code_address=0),
    "slots in a list": noted(slots=[8], provides_c_api=False, code_address=0),
}


@pytest.mark.parametrize("notes", ODD_NOTES)
def test_what_cannot_be_read_of_the_bindings_is_reported_and_no_success(
    compiled: Compile, tmp_path: Path, notes: str
) -> None:
    install(tmp_path, sample=compiled(EXTENSION))
    content = ODD_NOTES[notes]
    if content is None:
        (tmp_path / "symbols.json").unlink()
    else:
        (tmp_path / "symbols.json").write_bytes(content)
    ran = tried(tmp_path, None)
    assert ran.exit_code == 0
    assert ran.finished["outcome"] == "imported"
    assert list(ran.finished["bindings"]) == ["problem"]
    outcome = ran.outcome()
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)
    assert "could not be read: " in outcome.message


@pytest.mark.parametrize("slot", [2**40, 2**62, -(2**20), 2**70])
def test_a_slot_outside_of_its_file_is_no_crash(
    compiled: Compile, tmp_path: Path, slot: int
) -> None:
    """It would be taken for one of the extension's."""
    install(tmp_path, sample=compiled(EXTENSION))
    (tmp_path / "symbols.json").write_bytes(
        noted(slots={"Py_A": slot}, provides_c_api=False, code_address=0)
    )
    ran = tried(tmp_path, None)
    assert ran.exit_code == 0
    assert ran.finished["outcome"] == "imported"
    assert ran.finished["bindings"]["problem"].endswith("keeps Py_A outside of itself")


def test_memory_that_is_not_where_the_kernel_says_is_not_read() -> None:
    """As under an emulator that lays a program elsewhere than the program believes."""
    specification = importlib.util.spec_from_file_location("probe_under_test", PROBE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with Path("/proc/self/mem").open("rb") as real, Path("/dev/zero").open("rb") as other:
        module.Memory(real.fileno()).prove()
        with pytest.raises(OSError, match="something else"):
            module.Memory(other.fileno()).prove()


def test_an_import_that_fails_has_no_bindings(probe: Probe) -> None:
    assert "bindings" not in probe("raise ImportError").finished


# Checks.


def asked(probe: Probe, body: str, **change: object) -> Ran:
    """Ask a check whose function has this body, where the sample check is."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return probe(f"def check(where):\n{lines}", check=where(CHECK), **change)


def test_a_check_is_told_where_it_is_asked(probe: Probe) -> None:
    ran = asked(probe, "return where")
    assert ran.finished["outcome"] == "passed"
    assert ran.finished["findings"] == where(CHECK)
    assert ran.finished["findings"]["check"] == "sample-check"
    outcome = ran.outcome(CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.CHECK, Reason.PASSES)
    assert outcome.evidence["findings"] == where(CHECK)


def test_a_check_that_returns_nothing_passes(probe: Probe) -> None:
    ran = asked(probe, "assert True")
    assert (ran.finished["outcome"], ran.finished["findings"]) == ("passed", None)


def test_a_check_is_measured_with_its_import(probe: Probe) -> None:
    ran = asked(probe, "import time; time.sleep(0.05)")
    assert 0.05 <= ran.finished["seconds"] < 10


def test_a_check_has_no_bindings(probe: Probe) -> None:
    """It is no extension; what it loads is its own business."""
    assert "bindings" not in asked(probe, "return 1").finished


@pytest.mark.parametrize(
    ("body", "exception", "message", "missing", "reason"),
    [
        ("assert 1 == 2, 'sums are off'", "AssertionError", "sums are off", None, Reason.FAILS),
        ("assert 1 == 2", "AssertionError", "", None, Reason.FAILS),
        ("[] + ''", "TypeError", None, None, Reason.FAILS),
        ("raise MemoryError", "MemoryError", "", None, Reason.FAILS),
        ("import sys; sys.exit(0)", "SystemExit", "0", None, Reason.FAILS),
        (
            "import ctypes; ctypes.CDLL('libnowhere-at-all.so.7')",
            "OSError",
            "libnowhere-at-all.so.7: cannot open shared object file: No such file or directory",
            "libnowhere-at-all.so.7",
            Reason.MISSING_LIBRARY,
        ),
        ("open('/nowhere')", "FileNotFoundError", None, None, Reason.FAILS),
    ],
)
def test_a_check_that_raises_did_not_pass(
    probe: Probe,
    body: str,
    exception: str,
    message: str | None,
    missing: str | None,
    reason: Reason,
) -> None:
    ran = asked(probe, body)
    assert ran.exit_code == 0
    assert (ran.finished["outcome"], ran.finished["exception"]) == ("raised", exception)
    assert message is None or ran_message(ran) == message
    outcome = ran.outcome(CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.CHECK, reason)
    assert outcome.missing_library == missing


FOUND = "class Found(AssertionError): pass\nerror = Found('too many')\n"


@pytest.mark.parametrize(
    ("findings", "found"),
    [
        ("{'names': ['my_free']}", {"names": ["my_free"]}),
        ("{3}", "{3}"),
        ("None", None),
    ],
)
def test_what_a_check_that_fails_has_found_is_reported(
    probe: Probe, findings: str, found: object
) -> None:
    ran = asked(probe, f"{FOUND}error.findings = {findings}\nraise error")
    assert (ran.finished["outcome"], ran.finished["exception"]) == ("raised", "Found")
    assert ran.finished["findings"] == found
    outcome = ran.outcome(CHECK)
    assert (outcome.reason, outcome.message) == (Reason.FAILS, "too many")
    assert outcome.evidence["findings"] == found


def test_a_check_that_fails_without_findings_reports_none(probe: Probe) -> None:
    assert "findings" not in asked(probe, "assert False").finished


def test_an_extension_that_fails_has_no_findings(probe: Probe) -> None:
    """Whatever its exception has of that name; nobody asked it for any."""
    ran = probe(f"{FOUND}error.findings = 'x'\nraise error")
    assert "findings" not in ran.finished
    assert ran.outcome().reason is Reason.IMPORT_ERROR


UNENCODABLE = {
    "key that is no text": "found = {('a', 'b'): 1}",
    "list within itself": "found = []\nfound.append(found)",
    "list too deep": "found = []\nfor _ in range(100_000): found = [found]",
}


@pytest.mark.parametrize("findings", UNENCODABLE)
def test_findings_that_no_json_can_hold_leave_a_failure_a_failure(
    probe: Probe, findings: str
) -> None:
    body = f"{UNENCODABLE[findings]}\n{FOUND}error.findings = found\nraise error"
    ran = asked(probe, body)
    assert ran.outcome(CHECK).reason is Reason.FAILS
    assert ran_message(ran) == "too many"


def test_findings_that_object_to_being_looked_at_leave_a_failure_a_failure(probe: Probe) -> None:
    odd = "class Odd(AssertionError):\n    @property\n    def findings(self): raise SystemExit\n"
    assert asked(probe, f"{odd}raise Odd('too many')").outcome(CHECK).reason is Reason.FAILS


NOT_APPLICABLE = "class NotApplicable(Exception): pass\n"


@pytest.mark.parametrize(
    "source",
    [
        NOT_APPLICABLE + "def check(where): raise NotApplicable('no tkinter in this one')",
        NOT_APPLICABLE + "raise NotApplicable('no tkinter in this one')",
    ],
    ids=["when asked", "when imported"],
)
def test_a_check_may_say_that_its_question_does_not_arise(probe: Probe, source: str) -> None:
    ran = probe(source, check=where(CHECK))
    assert ran.finished["outcome"] == "not-applicable"
    assert ran_message(ran) == "no tkinter in this one"
    outcome = ran.outcome(CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.NOT_APPLICABLE)
    assert outcome.message == "no tkinter in this one"


def test_an_extension_cannot_say_that_its_question_does_not_arise(probe: Probe) -> None:
    """Else an exception with an unlucky name would hide a breakage."""
    ran = probe(NOT_APPLICABLE + "raise NotApplicable('x')")
    assert (ran.finished["outcome"], ran.finished["exception"]) == ("raised", "NotApplicable")
    assert ran.outcome().reason is Reason.IMPORT_ERROR


@pytest.mark.parametrize(
    ("findings", "found"),
    [
        ("{'a': (1, 2.5, None, True)}", {"a": [1, 2.5, None, True]}),
        ("{1: 'one', None: 2}", {"1": "one", "null": 2}),
        ("{3}", "{3}"),
        ("[b'x', 1j, ValueError('v')]", ["b'x'", "1j", "v"]),
        ("__import__('pathlib').Path('/x')", "/x"),
        ("'\\udcff'", "\udcff"),
        (
            "type('Odd', (), {'__str__': lambda self: 1 / 0})()",
            "<Odd has no text: ZeroDivisionError>",
        ),
    ],
)
def test_findings_that_json_does_not_know_are_told_by_their_text(
    probe: Probe, findings: str, found: object
) -> None:
    ran = asked(probe, f"return {findings}")
    assert (ran.finished["outcome"], ran.finished["findings"]) == ("passed", found)
    assert ran.outcome(CHECK).reason is Reason.PASSES


@pytest.mark.parametrize("findings", UNENCODABLE)
def test_findings_that_no_json_can_hold_do_not_make_a_check_fail(
    probe: Probe, findings: str
) -> None:
    """It passed: that what it found is hard to write down is another matter."""
    outcome = asked(probe, f"{UNENCODABLE[findings]}\nreturn found").outcome(CHECK)
    assert outcome.reason is Reason.PASSES
    # That something could not be written down is said, rather than that nothing was found.
    assert outcome.evidence["findings"]


def test_a_check_that_finds_a_lot_still_reports(probe: Probe) -> None:
    """No more than a megabyte of what a probe says is kept, and a report cut short is none."""
    ran = asked(probe, "return ['x' * 1000] * 2000")
    assert len(ran.reports) < MAX_OUTPUT
    assert ran.outcome(CHECK).reason is Reason.PASSES
    ran = asked(probe, f"{FOUND}error.findings = ['x' * 1000] * 2000\nraise error")
    assert len(ran.reports) < MAX_OUTPUT
    assert ran.outcome(CHECK).reason is Reason.FAILS


def test_a_check_that_has_much_to_say_of_what_does_not_apply_still_reports(probe: Probe) -> None:
    ran = probe(NOT_APPLICABLE + "raise NotApplicable('x' * 2_000_000)", check=where(CHECK))
    assert len(ran.reports) < MAX_OUTPUT
    assert ran.outcome(CHECK).reason is Reason.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import os; os.kill(os.getpid(), 11)", "signal 11 (SIGSEGV)"),
    ],
)
def test_a_check_that_ends_the_process_crashed(probe: Probe, body: str, how: str) -> None:
    outcome = asked(probe, body).outcome(CHECK)
    assert (outcome.stage, outcome.reason) == (Stage.CHECK, Reason.CRASH)
    assert outcome.message == f"the interpreter ended during the check with {how}"


def test_what_a_check_prints_is_no_report(probe: Probe) -> None:
    ran = asked(probe, PRINTING + "print('unflushed')\nreturn 1")
    assert [json.loads(text)["event"] for text in ran.reports.splitlines() if text] == [
        "started",
        "finished",
    ]
    for word in ("direct", "buffered", "unflushed"):
        assert f"{word}\n" in ran.errors
    assert ran.outcome(CHECK).reason is Reason.PASSES


def test_threads_of_a_check_do_not_keep_the_probe_alive(probe: Probe) -> None:
    body = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    assert asked(probe, body).outcome(CHECK).reason is Reason.PASSES


def test_a_check_may_use_what_lies_beside_it(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "beside.py").write_text("answer = 42")
    ran = asked(probe, "import beside; return beside.answer")
    assert ran.finished["findings"] == 42
