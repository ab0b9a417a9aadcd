"""The checks of an interpreter: each passes what is right, and fails what is wrong.

They run inside containers; here they run on the host's own Python, on files that are made wrong on
purpose, and in fresh processes where a process could be harmed.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from harness import tools
from harness.platforms import Platform

CHECKS = Path(__file__).parent.parent.parent / "cases" / "checks"

NAMES = (
    "executable_stack",
    "extension_suffixes",
    "foreign_exports",
    "link_model",
    "list_iadd",
    "second_copy_by_name",
    "second_copy_by_path",
    "second_copy_pythonapi",
    "stdlib",
    "stray_search_paths",
    "sysconfig_compiler",
    "tcl_init",
)

CELL = {
    "uv": "0.7.9",
    "python": "3.13",
    "release": "20250529",
    "source": "upstream",
    "link_model": "static+rpath",
    "platform": "x86_64",
    "base": "debian13",
}

# As the probe runs a check: isolated, with the folder of the checks in front.
RUNNER = """\
import json, sys
sys.path.insert(0, sys.argv[1])
cell = json.loads(sys.argv[2])
{prepare}
try:
    answer = {{"findings": {ask}}}
except BaseException as error:
    answer = {{
        "exception": type(error).__name__,
        "message": str(error),
        "findings": getattr(error, "findings", None),
    }}
print(json.dumps(answer))
"""

Compile = Callable[..., Path]


def load(name: str) -> ModuleType:
    """A module of the checks, by its path. Its siblings load each other by name, as they do there,
    so that all see the same one."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, CHECKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def siblings() -> Iterator[None]:
    """The checks' folder as it is in the container, and no module of it left behind."""
    before = set(sys.modules)
    sys.path.insert(0, str(CHECKS))
    yield
    sys.path.remove(str(CHECKS))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(CHECKS)):
            del sys.modules[name]


def ask(ask: str, prepare: str = "", **environment: str) -> dict[str, Any]:
    """The value of an expression in a fresh interpreter that sees the checks, or its exception."""
    program = RUNNER.format(ask=ask, prepare=textwrap.dedent(prepare))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program, str(CHECKS), json.dumps(CELL)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return {**answer, "errors": done.stderr}


def run_check(name: str, prepare: str = "", **environment: str) -> dict[str, Any]:
    """A whole check in a fresh interpreter of the host's."""
    return ask(f"{name}.check(cell)", f"import {name}\n{textwrap.dedent(prepare)}", **environment)


@pytest.fixture(scope="session")
def compile_host(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile C for this machine; the file that was made."""

    def make(source: str, *flags: str, name: str = "lib.so") -> Path:
        folder = tmp_path_factory.mktemp("made")
        (folder / "source.c").write_text(source)
        host = Platform.host()
        assert host is not None
        link = [*flags] if name == "program" else ["-shared", "-fPIC", *flags]
        tools.compile_c(host.triplet, [folder / "source.c"], folder / name, link, directory=folder)
        return folder / name

    return make


@pytest.fixture(scope="session")
def program(compile_host: Compile) -> Path:
    """A program without anything special about it."""
    return compile_host("int main(void) { return 0; }", name="program")


@pytest.fixture(scope="session")
def library(compile_host: Compile) -> Path:
    """A libpython that exports one function of the C API."""
    source = "int Py_IsInitialized(void) { return 0; }"
    return compile_host(source, "-Wl,-soname,libpython3.13.so.1.0", name="libpython3.13.so.1.0")


def patch(path: Path, *arguments: str) -> Path:
    """Change a file with patchelf."""
    tools.run([tools.patchelf(), *arguments, path], doing=f"patching {path.name}")
    return path


# The contract with the probe.


def test_every_check_is_named_here() -> None:
    """A new check does not go without tests."""
    assert {p.stem for p in CHECKS.glob("*.py") if "\ndef check(" in p.read_text()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_check_says_what_it_asks_and_where_upstream_says_it(name: str) -> None:
    """The first line is one question; a link says where it comes from."""
    document = ast.get_docstring(ast.parse((CHECKS / f"{name}.py").read_text()))
    assert document is not None
    assert document.splitlines()[0].endswith("?")
    assert "https://github.com/astral-sh/" in document


@pytest.mark.parametrize("path", sorted(CHECKS.glob("*.py")), ids=lambda path: path.stem)
def test_checks_need_nothing_that_some_python_under_test_lacks(path: Path) -> None:
    """Python 3.8 can read them, and they import nothing but the standard library and each other."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    own = {p.stem for p in CHECKS.glob("*.py")}
    assert imported <= sys.stdlib_module_names | own
    assert not own & sys.stdlib_module_names


# list += x


def test_list_iadd_takes_every_kind_of_iterable() -> None:
    """The host's Python is not miscompiled."""
    assert "exception" not in run_check("list_iadd")


@pytest.mark.parametrize("way", ["in a module", "in a function", "to an item"])
def test_list_iadd_fails_when_a_str_subclass_answers_for_the_list(way: str) -> None:
    """What identical code folding made of every subclass of str: a number's + of its own."""

    class Folded(str):
        def __radd__(self, other: object) -> str:
            raise TypeError("must be str, not list")

    with pytest.raises(AssertionError, match=r"TypeError: must be str, not list") as caught:
        load("list_iadd").verify({"subclass of str": Folded("ab")})
    assert f"subclass of str, {way}" in str(caught.value)


def test_list_iadd_fails_when_the_result_is_another() -> None:
    """Without an exception, but wrong."""

    class Swallowed(str):
        def __radd__(self, other: object) -> list[str]:
            return []

    with pytest.raises(AssertionError, match=r"made \[\]"):
        load("list_iadd").verify({"subclass of str": Swallowed("ab")})


# The standard library.


def test_the_hosts_standard_library_is_healthy() -> None:
    """Every part answers, and says its name before it is tried."""
    answer = run_check("stdlib")
    assert "exception" not in answer, answer
    parts = load("stdlib").PARTS
    assert [line for line in answer["errors"].splitlines() if line.startswith("stdlib: ")] == [
        f"stdlib: {name}" for name in parts
    ]
    assert set(answer["findings"]) == set(parts)
    assert answer["findings"]["tls"]["protocol"].startswith("TLS")


def test_all_failures_of_the_standard_library_are_told_together() -> None:
    """The second failure is not hidden by the first, nor what works by either."""

    def fails(text: str) -> Callable[[], None]:
        def part() -> None:
            raise ValueError(text)

        return part

    parts = {"one": fails("first"), "two": lambda: "fine", "three": fails("second")}
    with pytest.raises(AssertionError) as caught:
        load("stdlib").verify(parts)
    assert str(caught.value) == "one: ValueError: first; three: ValueError: second"
    assert caught.value.findings["two"] == "fine"  # type: ignore[attr-defined]


def test_a_crash_in_the_standard_library_shows_where_it_was() -> None:
    """The last line before the process died names the part."""
    program = "import os, sys; sys.path.insert(0, sys.argv[1]); import stdlib; "
    program += "stdlib.verify({'fine': list, 'deadly': os.abort, 'after': list})"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program, str(CHECKS)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode < 0
    assert done.stderr.splitlines()[:2] == ["stdlib: fine", "stdlib: deadly"]


def test_every_guaranteed_algorithm_has_known_digests() -> None:
    """A new CPython may guarantee more: then there is something to add."""
    hashing = load("hashing")
    import hashlib

    assert hashlib.algorithms_guaranteed == set(hashing.KNOWN)
    assert set(hashing.implementations("sha512")) == {"hashlib", "new", "builtin"}


@pytest.mark.parametrize("size", [0, 64, 4097])
def test_hashing_fails_when_the_digest_of_one_size_is_wrong(size: int) -> None:
    """Whatever the size, b'abc' alone would not show it."""
    hashing = load("hashing")
    right = hashing.implementations("sha256")["builtin"]

    def wrong(data: Any) -> bytes:
        return bytes(32) if len(data) == size else bytes(right(data))

    hashing.verify("sha256", "builtin", right)
    with pytest.raises(AssertionError, match=r"sha256 \(builtin\) of the digests of all sizes"):
        hashing.verify("sha256", "builtin", wrong)


def test_hashing_fails_when_alignment_changes_a_digest() -> None:
    """As code for aligned words would, on bytes that are not."""
    hashing = load("hashing")
    import ctypes

    right = hashing.implementations("sha256")["hashlib"]

    def careless(data: Any) -> bytes:
        if isinstance(data, bytes) or len(data) < 8:
            return bytes(right(data))
        address = ctypes.addressof(ctypes.c_char.from_buffer(data))
        return bytes(right(data)) if address % 8 == 0 else bytes(32)

    with pytest.raises(AssertionError, match="depends on their address"):
        hashing.verify("sha256", "careless", careless)


BELOW_THE_STACK = """\
/* Keeps its data where only a signal's frame may be, as SHA-512 did in PBS issue 1186. */
int keeps(int turns) {
    volatile unsigned char *below = (unsigned char *)__builtin_frame_address(0) - 1500;
    int wrong = 0;
    for (int i = 0; i < 1000; i++) below[i] = (unsigned char)i;
    for (volatile int turn = 0; turn < turns; turn++) { }
    for (int i = 0; i < 1000; i++) wrong += below[i] != (unsigned char)i;
    return wrong;
}
"""


def test_hashing_under_signals_fails_for_data_beyond_the_stack(compile_host: Compile) -> None:
    """Without signals nothing is wrong with such a function; one signal spoils its data."""
    path = compile_host(BELOW_THE_STACK)
    answer = ask(
        "hashing.under_signals({'sha512 builtin': digest})",
        f"""
        import ctypes, hashing
        keeps = ctypes.CDLL({str(path)!r}).keeps
        def digest(data):
            return bytes([keeps(1_000_000) != 0])
        """,
    )
    assert answer["message"] == "sha512 builtin is wrong when a signal arrives meanwhile"


def test_hashing_under_signals_passes_what_keeps_to_its_stack() -> None:
    """Signals do arrive, and do no harm."""
    answer = ask("hashing.check_signals()", "import hashing")
    assert int(answer["findings"].split()[0]) > 100


def test_tls_fails_when_a_certificate_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake alone would pass with a library that accepts everything."""
    tls = load("tls")
    import ssl

    original = ssl.create_default_context

    def careless(cadata: str | None = None) -> ssl.SSLContext:
        context = original(cadata=cadata)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    tls.check_tls()
    monkeypatch.setattr(ssl, "create_default_context", careless)
    with pytest.raises(AssertionError, match="nobody has signed was accepted"):
        tls.check_tls()


def test_compression_fails_when_something_else_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round trips and what others have packed are both compared."""
    packing = load("packing")
    packing.check_compression()
    monkeypatch.setattr(packing.bz2, "decompress", lambda data: b"nonsense")
    with pytest.raises(AssertionError, match="bz2 unpacks b'nonsense'"):
        packing.check_compression()


# ELF files: what the checks read is what pyelftools reads.


def some_elf_files(*made: Path) -> list[Path]:
    extensions = Path(str(importlib.util.find_spec("ssl").origin)).parent / "lib-dynload"  # type: ignore[union-attr]
    return [*made, Path(sys.executable).resolve(), *sorted(extensions.glob("*.so"))[:8]]


def test_elf_files_are_read_as_pyelftools_reads_them(
    compile_host: Compile, program: Path, library: Path, tmp_path: Path
) -> None:
    """Libraries needed, search paths, loader, stack and exports, of real files and patched ones."""
    elf, dynamic_symbols = load("elf"), load("dynamic_symbols")
    patched = Path(shutil.copy2(library, tmp_path / "patched.so"))
    patch(patched, "--force-rpath", "--set-rpath", "$ORIGIN/../lib::/tools/deps/lib")
    patch(patched, "--add-needed", "libabsent.so.1")
    files = some_elf_files(program, library, patched)
    assert len(files) > 8
    for path in files:
        theirs: dict[str, list[str]] = {"needed": [], "rpath": [], "runpath": []}
        with path.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments():
                if isinstance(segment, DynamicSegment):
                    for tag in segment.iter_tags():
                        for name, found in theirs.items():
                            if hasattr(tag, name):
                                value = getattr(tag, name)
                                found += [value] if name == "needed" else value.split(":")
            loaders = [
                s.get_interp_name() for s in file.iter_segments() if isinstance(s, InterpSegment)
            ]
            stacks = [s.header.p_flags for s in file.iter_segments("PT_GNU_STACK")]
            table = file.get_section_by_name(".dynsym")
            assert isinstance(table, SymbolTableSection)
            exports = {
                symbol.name
                for symbol in table.iter_symbols()
                if symbol.entry.st_shndx != "SHN_UNDEF"
                and symbol.entry.st_info.bind in ("STB_GLOBAL", "STB_WEAK")
                and symbol.entry.st_other.visibility == "STV_DEFAULT"
            }
        ours = elf.dynamic_section(str(path))
        assert ours._asdict() == {name: tuple(found) for name, found in theirs.items()}
        assert elf.loader(str(path)) == "".join(loaders)
        assert elf.stack_flags(str(path)) == {6: "RW", 7: "RWX"}[stacks[0]]
        ours_exported = set(dynamic_symbols.exported(str(path)))
        assert ours_exported <= exports
        # Nothing is left out but a library's variables that were copied into a program.
        assert not loaders or exports - ours_exported <= {
            *("stdin", "stdout", "stderr", "environ", "__environ", "__stack_chk_guard")
        }
        assert loaders or ours_exported == exports


def test_what_is_no_elf_file_is_said_to_be_none(tmp_path: Path) -> None:
    """A script, an empty file, and one of another word size."""
    elf = load("elf")
    for content in (b"#!/bin/sh\n", b"", b"\x7fELF\x01\x01" + bytes(100)):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert not elf.is_elf(str(path))
        with pytest.raises(elf.NotElfError):
            elf.dynamic_section(str(path))


# The link model.


def laid_out(folder: Path, program: Path, library: Path) -> Path:
    """bin/python3.13 and lib/libpython3.13.so.1.0, as in an interpreter."""
    for part in ("bin", "lib"):
        (folder / part).mkdir()
    shutil.copy2(library, folder / "lib" / library.name)
    return Path(shutil.copy2(program, folder / "bin" / "python3.13"))


MODELS = {
    "shared": ["--add-needed", "$ORIGIN/../lib/libpython3.13.so.1.0"],
    "static": [],
    "static+runpath": ["--set-rpath", "$ORIGIN/../lib"],
    "static+rpath": ["--force-rpath", "--set-rpath", "$ORIGIN/../lib"],
}


@pytest.mark.parametrize("expected", MODELS)
@pytest.mark.parametrize("actual", MODELS)
def test_the_link_model_is_read_off_the_file(
    actual: str, expected: str, program: Path, library: Path, tmp_path: Path
) -> None:
    """A file of each model passes as its own, and as no other."""
    interpreter = laid_out(tmp_path, program, library)
    if MODELS[actual]:
        patch(interpreter, *MODELS[actual])
    verify = load("link_model").verify
    cell = {**CELL, "link_model": expected}
    if actual == expected:
        assert verify(str(interpreter), cell)["link_model"] == actual
    else:
        with pytest.raises(AssertionError, match="is linked") as caught:
            verify(str(interpreter), cell)
        assert f"is linked {actual!r}" in str(caught.value)
        assert f"should be {expected!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ({"rpath": ("/tools/deps/lib",)}, "static"),
        ({"runpath": ("$ORIGIN",)}, "static"),
        ({"rpath": ("/tools/deps/lib", "${ORIGIN}/../lib")}, "static+rpath"),
        ({"rpath": ("$ORIGIN/../lib",), "runpath": ("/elsewhere",)}, "static"),
        ({"rpath": ("/elsewhere",), "runpath": ("/opt/python/lib",)}, "static+runpath"),
        ({"needed": ("libc.so.6", "libpython3.13.so.1.0"), "runpath": ("/x",)}, "shared"),
    ],
)
def test_a_search_path_counts_by_where_it_leads(
    section: dict[str, tuple[str, ...]], model: str
) -> None:
    """An RPATH that leads elsewhere finds no libpython, nor does one beside a RUNPATH."""
    found = load("elf").DynamicSection(**section)
    assert load("link_model").classify(found, "/opt/python/bin") == model


# The stack.


def set_stack(path: Path, *, kind: int | None = None, flags: int | None = None) -> None:
    """Change a file's PT_GNU_STACK: its type, or its flags."""
    content = bytearray(path.read_bytes())
    at, count = struct.unpack_from("<Q", content, 32)[0], struct.unpack_from("<H", content, 56)[0]
    stack = load("elf").PT_GNU_STACK
    entries = [at + 56 * number for number in range(count)]
    entry = next(e for e in entries if struct.unpack_from("<I", content, e)[0] == stack)
    struct.pack_into("<I", content, entry, stack if kind is None else kind)
    if flags is not None:
        struct.pack_into("<I", content, entry + 4, flags)
    path.write_bytes(content)


def verify_stack(interpreter: Path) -> dict[str, Any]:
    return ask(
        f"executable_stack.verify({str(interpreter)!r}, 'libpython3.13.so.1.0')",
        "import executable_stack",
    )


def test_a_stack_that_is_not_executable_passes(
    program: Path, library: Path, tmp_path: Path
) -> None:
    """Both files are looked at, and libpython was loaded."""
    answer = verify_stack(laid_out(tmp_path, program, library))
    assert set(answer["findings"]["stack"].values()) == {"RW"}
    assert len(answer["findings"]["stack"]) == 2
    assert list(answer["findings"]["loads"].values()) == [True]


@pytest.mark.parametrize("which", ["bin/python3.13", "lib/libpython3.13.so.1.0"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flags": 7}, "asks for an executable stack (RWX)"),
        ({"kind": 0}, "has no PT_GNU_STACK"),
    ],
)
def test_an_executable_stack_fails(
    which: str, change: dict[str, int], said: str, program: Path, library: Path, tmp_path: Path
) -> None:
    """Asked for, or for want of the entry; in the interpreter or in libpython."""
    interpreter = laid_out(tmp_path, program, library)
    set_stack(tmp_path / which, **change)
    answer = verify_stack(interpreter)
    assert answer["exception"] == "AssertionError"
    assert f"{which} {said}" in answer["message"]


def test_a_libpython_that_cannot_be_loaded_fails(
    program: Path, library: Path, tmp_path: Path
) -> None:
    """With the loader's words."""
    interpreter = laid_out(tmp_path, program, library)
    patch(tmp_path / "lib" / library.name, "--add-needed", "libabsent.so.1")
    answer = verify_stack(interpreter)
    assert "cannot be loaded: OSError: libabsent.so.1: cannot open" in answer["message"]


def test_the_hosts_own_stack_is_not_executable() -> None:
    """On a whole interpreter."""
    assert "exception" not in run_check("executable_stack")


# Exports.

EXPORTS = """\
extern char **environ;
char ***PyOS_Environ(void) { return &environ; }
int _PyThing, PY_LIMIT;
static int hidden_away(void) { return 1; }
__attribute__((visibility("hidden"))) int hidden_too(void) { return hidden_away(); }
"""


def test_names_of_cpythons_own_are_not_foreign(compile_host: Compile) -> None:
    """Nor is what is not exported."""
    path = compile_host(EXPORTS)
    findings = load("foreign_exports").verify([str(path)], CELL)
    assert findings == {"exported": {str(path): 3}, "foreign": {str(path): []}}


def test_foreign_names_fail(compile_host: Compile) -> None:
    """The two of the reports, function and variable."""
    path = compile_host(EXPORTS + "void my_free(void *p) { }\nint top;\n")
    with pytest.raises(AssertionError, match="exports 5 names, 2 of them foreign: my_free, top"):
        load("foreign_exports").verify([str(path)], CELL)


def test_foreign_names_of_a_replica_are_told_but_not_judged(compile_host: Compile) -> None:
    """They are Debian's, not the release's."""
    path = compile_host(EXPORTS + "void my_free(void *p) { }\n")
    applicability = load("applicability")
    with pytest.raises(applicability.NotApplicable, match="1 of them foreign: my_free"):
        load("foreign_exports").verify([str(path)], {**CELL, "source": "replica"})


def test_a_file_without_dynamic_symbols_exports_nothing(compile_host: Compile) -> None:
    """As a static program; here an object file."""
    path = compile_host(EXPORTS + "void my_free(void *p) { }\n", "-c", name="program")
    assert load("dynamic_symbols").exported(str(path)) == []


def test_a_file_without_section_headers_is_not_taken_for_one_without_exports(
    compile_host: Compile,
) -> None:
    """What cannot be read does not pass."""
    path = compile_host(EXPORTS)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 60, 0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no section headers"):
        load("foreign_exports").verify([str(path)], CELL)


# Search paths.


def verify_paths(root: Path) -> Any:
    return load("stray_search_paths").verify(str(root))


@pytest.mark.parametrize("option", [[], ["--force-rpath"]])
@pytest.mark.parametrize("path", ["$ORIGIN", "${ORIGIN}/../lib", "$ORIGIN/..", "$ORIGIN/../bin/x"])
def test_search_paths_within_the_interpreter_pass(
    option: list[str], path: str, program: Path, library: Path, tmp_path: Path
) -> None:
    """Each is told."""
    laid_out(tmp_path, program, library)
    patch(tmp_path / "lib" / library.name, *option, "--set-rpath", path)
    findings = verify_paths(tmp_path)
    assert findings["elf_files"] == 2
    assert list(findings["search_paths"].values()) == [
        {"DT_RPATH" if option else "DT_RUNPATH": [path]}
    ]


@pytest.mark.parametrize(
    "path",
    ["/tools/deps/lib", "lib", "$ORIGIN/../../other", "$ORIGIN/../lib:", "$ORIGINAL/lib"],
)
def test_search_paths_out_of_the_interpreter_fail(
    path: str, program: Path, library: Path, tmp_path: Path
) -> None:
    """The build machine's, the working directory (an empty entry), and what climbs too high."""
    laid_out(tmp_path, program, library)
    patch(tmp_path / "bin" / "python3.13", "--force-rpath", "--set-rpath", path)
    with pytest.raises(AssertionError, match=r"bin/python3\.13 has .* in its DT_RPATH"):
        verify_paths(tmp_path)


def test_links_are_not_followed_and_other_files_not_opened(
    program: Path, library: Path, tmp_path: Path
) -> None:
    """A link out of the interpreter is somebody else's file; a script in bin/ is no ELF file."""
    stray = Path(shutil.copy2(library, tmp_path / "stray.so"))
    patch(stray, "--set-rpath", "/tools/deps/lib")
    root = tmp_path / "python"
    root.mkdir()
    laid_out(root, program, library)
    (root / "lib" / "link.so").symlink_to(stray)
    (root / "bin" / "pip").write_text("#!/bin/sh\n")
    assert verify_paths(root)["elf_files"] == 2


def test_a_tree_without_elf_files_fails(tmp_path: Path) -> None:
    """Nothing wrong in nothing at all would be no result."""
    with pytest.raises(AssertionError, match="no ELF file"):
        verify_paths(tmp_path)


# Tcl.

TCL_ERROR = "_tkinter.TclError: Can't find a usable init.tcl in the following directories:"


def test_tcl_fails_where_one_of_the_interpreters_finds_no_scripts(tmp_path: Path) -> None:
    """As with CPython 3.14 of 20251120: well outside the virtual environment, and not within."""
    scripts = {
        "base": "echo /opt/python/lib/tcl8.6",
        "virtual environment": f'echo "Traceback" >&2; echo "{TCL_ERROR}" >&2; exit 1',
    }
    interpreters = {}
    for name, script in scripts.items():
        path = tmp_path / name.replace(" ", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        interpreters[name] = str(path)
    verify = load("tcl_init").verify
    assert verify({"base": interpreters["base"]}) == {"base": "/opt/python/lib/tcl8.6"}
    with pytest.raises(AssertionError, match="fails in the virtual environment") as caught:
        verify(interpreters)
    assert TCL_ERROR in str(caught.value)
    assert "in the base" not in str(caught.value)


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [("/opt/venv", ["base", "virtual environment"]), ("/opt/python", ["base"])],
)
def test_tcl_is_asked_within_a_virtual_environment_and_outside_it(
    prefix: str, asked: list[str]
) -> None:
    """Where there is none, once."""
    answer = run_check(
        "tcl_init",
        f"""
        import types
        sys.modules["_tkinter"] = types.ModuleType("_tkinter")
        sys.prefix, sys.base_prefix = {prefix!r}, "/opt/python"
        tcl_init.verify = dict
        """,
    )
    assert sorted(answer["findings"]) == asked


def test_tcl_is_not_asked_of_an_interpreter_without_tkinter() -> None:
    """Debian has it in a package of its own."""
    answer = run_check("tcl_init", "sys.modules['_tkinter'] = None")
    assert answer["exception"] == "NotApplicable"


# sysconfig.


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CC": "clang -pthread", "CXX": "clang++"}, "CC is 'clang' instead of 'cc'"),
        ({"CC": "cc", "AR": "/tools/llvm/bin/llvm-ar"}, "AR is '/tools/llvm/bin/llvm-ar'"),
        ({"CC": "cc", "LDSHARED": "/usr/bin/aarch64-linux-gnu-gcc -shared"}, "LDSHARED is "),
        ({"CC": "cc", "CXX": "clang++ -pthread"}, "CXX is 'clang++' instead of 'c++'"),
        ({"CC": None}, "there is no CC"),
    ],
)
def test_a_compiler_of_the_build_machine_fails(variables: dict[str, str], said: str) -> None:
    """clang, a path below /tools, a cross compiler."""
    with pytest.raises(AssertionError) as caught:
        load("sysconfig_compiler").verify(variables, CELL)
    assert said in str(caught.value)


def test_compilers_that_uv_has_rewritten_pass() -> None:
    """With their options; a variable that is not there is not missed."""
    variables = {"CC": "cc -pthread", "CXX": "c++ -pthread", "LDSHARED": "cc -shared", "AR": "ar"}
    assert load("sysconfig_compiler").verify({**variables, "LDCXXSHARED": ""}, CELL)


def test_debians_compilers_are_not_asked_of_a_replica() -> None:
    """But a replica whose sysconfig says clang is asked like any other."""
    verify, applicability = load("sysconfig_compiler").verify, load("applicability")
    replica = {**CELL, "source": "replica"}
    with pytest.raises(applicability.NotApplicable, match="x86_64-linux-gnu-gcc"):
        verify({"CC": "x86_64-linux-gnu-gcc"}, replica)
    with pytest.raises(AssertionError, match="CC is 'clang'"):
        verify({"CC": "clang"}, replica)


# Suffixes.

SUFFIXES = {
    "python": "3.12",
    "loader": "/lib/ld-musl-x86_64.so.1",
    "machine": "x86_64",
    "SOABI": "cpython-312-x86_64-linux-musl",
    "EXT_SUFFIX": ".cpython-312-x86_64-linux-musl.so",
    "EXTENSION_SUFFIXES": [".cpython-312-x86_64-linux-musl.so", ".abi3.so", ".so"],
    "_multiarch": "x86_64-linux-musl",
}


def gnu(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("linux-musl", "linux-gnu"))


def test_suffixes_of_the_own_c_library_pass() -> None:
    """On musl, on glibc, and on this machine."""
    verify = load("extension_suffixes").verify
    assert verify(SUFFIXES)
    assert verify({**gnu(SUFFIXES), "loader": "/lib64/ld-linux-x86-64.so.2"})
    assert "exception" not in run_check("extension_suffixes")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (gnu(SUFFIXES), "SOABI is 'cpython-312-x86_64-linux-gnu', _multiarch is"),
        ({"SOABI": None}, "SOABI is None"),
        ({"EXT_SUFFIX": ".so"}, "EXT_SUFFIX is '.so'"),
        ({"_multiarch": "x86_64-linux-gnu"}, "_multiarch is 'x86_64-linux-gnu'"),
        ({"EXTENSION_SUFFIXES": [".abi3.so", ".so"]}, "EXTENSION_SUFFIXES is ['.abi3.so', '.so']"),
        ({"machine": "aarch64"}, "its triplet is aarch64-linux-musl, but"),
        ({"loader": ""}, "linked statically"),
    ],
)
def test_suffixes_of_another_c_library_fail(change: dict[str, Any], said: str) -> None:
    """One that took itself for glibc's is PBS issue 724; one without a loader is issue 86."""
    with pytest.raises(AssertionError) as caught:
        load("extension_suffixes").verify({**SUFFIXES, "loader": SUFFIXES["loader"], **change})
    assert said in str(caught.value)


def test_suffixes_are_not_asked_of_an_old_cpython_on_musl() -> None:
    """3.10 and older are called gnu everywhere, in wheels as well."""
    applicability = load("applicability")
    with pytest.raises(applicability.NotApplicable):
        load("extension_suffixes").verify(
            {**gnu(SUFFIXES), "loader": SUFFIXES["loader"], "python": "3.10"}
        )


# Forked children.


def ending(body: str) -> tuple[str, Any, str, str]:
    """How a child ends that runs some statements."""
    prepare = "import children, ctypes, os, signal, time\nchildren.LIMIT = 1\n"
    prepare += "def act():\n" + textwrap.indent(textwrap.dedent(body), "    ")
    answer = ask("children.run(act)", prepare)
    how, value, text, said = answer["findings"]
    return how, value, text, said


STUBBORN = """
signal.signal(signal.SIGALRM, signal.SIG_IGN)
os.close(2)
while True: time.sleep(1)
"""

ENDINGS = {
    "return [1, 'two']": ("answered", [1, "two"], "", ""),
    "return 'x' * 50_000": ("answered", "x" * 50_000, "", ""),
    "raise LookupError('no')": ("raised", None, "LookupError: no", ""),
    "raise SystemExit(0)": ("raised", None, "SystemExit: 0", ""),
    "return object()": ("exited", None, "0", ""),
    "os._exit(3)": ("exited", None, "3", ""),
    "ctypes.string_at(0)": ("crashed", None, "SIGSEGV", ""),
    "os.write(2, b'free()'); os.abort()": ("crashed", None, "SIGABRT", "free()"),
    "os.write(2, b'Fatal Python error: why\\nFile x\\n'); os.abort()": (
        *("crashed", None, "SIGABRT"),
        "Fatal Python error: why",
    ),
    "os.write(2, b'why\\nqemu: uncaught\\n'); os.abort()": ("crashed", None, "SIGABRT", "why"),
    "while True: time.sleep(1)": ("hung", None, "", ""),
    STUBBORN: ("hung", None, "", ""),
}


@pytest.mark.parametrize(
    ("body", "expected"),
    ENDINGS.items(),
    ids=[f"{expected[0]}-{number}" for number, expected in enumerate(ENDINGS.values())],
)
def test_every_end_of_a_child_is_told_apart(body: str, expected: tuple[str, Any, str, str]) -> None:
    """It may answer, raise, crash or hang; the parent goes on."""
    assert ending(body) == expected


def test_a_child_leaves_no_core_file_and_keeps_its_errors_to_itself(tmp_path: Path) -> None:
    """Crashes are the rule in there."""
    program = f"""
import os, resource, sys
os.chdir({str(tmp_path)!r})
sys.path.insert(0, sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
import children
print(children.run(lambda: (os.write(2, b"noise"), os.abort())).text)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program, str(CHECKS)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("SIGABRT\n", "")
    assert list(tmp_path.iterdir()) == []


# Memory.


def test_maps_are_read_with_all_their_oddities() -> None:
    """Spaces in a path, memory without a file, and the kernel's own names."""
    maps = load("maps")
    text = (
        "00400000-00452000 r-xp 00000000 08:02 173521      /opt/a b/python3.13\n"
        "00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
        "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
    )
    assert [tuple(mapping) for mapping in maps.parse(text)] == [
        (0x400000, 0x452000, "/opt/a b/python3.13"),
        (0xE03000, 0xE24000, ""),
        (0x7F0000000000, 0x7F0000001000, ""),
    ]


# The second copy.

SECOND_COPY = """\
#include <unistd.h>
/* A libpython that nobody has initialised, with each way in which one goes wrong. */
const char *Py_GetVersion(void) { return "3.0 (a second copy)"; }
int Py_IsInitialized(void) { return 0; }
void *PyErr_Occurred(void) { return *(void **)8; }
void *PySys_GetObject(const char *name) { return 0; }
int PyGILState_Check(void) { return 1; }
int PyGILState_Ensure(void) { for (;;) pause(); }
void PyGILState_Release(int state) { }
int Py_IsolatedFlag = 7;
void (*PyOS_InputHook)(void) = 0;
"""

PREPARE = """
import children, ctypes, libpython, second_copy_by_name, second_copy_by_path
children.LIMIT = 1
libpython.soname = lambda: "libpython-second.so.1.0"
"""


@pytest.fixture(scope="session")
def second_copy(compile_host: Compile) -> Path:
    """A stand-in for a second copy, since the host may have no libpython, or only a shared one."""
    name = "libpython-second.so.1.0"
    return compile_host(SECOND_COPY, f"-Wl,-soname,{name}", name=name)


def require_second_copy(answer: dict[str, Any], path: Path) -> None:
    """That an answer is what is said of the stand-in."""
    assert answer["exception"] == "AssertionError"
    assert f"is answered by {path}, a second copy of the C API beside" in answer["message"]
    assert "(Py_IsInitialized() = 0): of 20 uses 1 work; " in answer["message"]
    assert "hangs: PyGILState_Ensure()" in answer["message"]
    uses = answer["findings"]["uses"]
    assert uses["Py_GetVersion()"].startswith("silently wrong: '3.0 (a second copy)' instead of")
    assert uses["Py_IsInitialized()"] == "silently wrong: 0 instead of 1"
    assert uses["PyErr_Occurred()"] == "crashes (SIGSEGV)"
    assert uses['PySys_GetObject("executable")'].startswith("silently wrong: 'nothing' instead of")
    assert uses["PyGILState_Check()"] == "works"
    assert uses["PyGILState_Ensure()"] == "hangs"
    assert uses["PyList_New(0)"] == "missing: PyList_New"
    assert uses["reading Py_IsolatedFlag"] == "silently wrong: 7 instead of 1"
    assert uses["setting PyOS_InputHook"].startswith("silently wrong: 'the interpreter has none'")


def test_a_second_copy_that_answers_to_the_name_fails(second_copy: Path) -> None:
    """Found through a search path, as the interpreter's own is."""
    answer = ask(
        "second_copy_by_name.check(cell)", PREPARE, LD_LIBRARY_PATH=str(second_copy.parent)
    )
    require_second_copy(answer, second_copy)


def test_a_second_copy_below_the_prefix_fails(second_copy: Path, tmp_path: Path) -> None:
    """Loaded by its path, as the remedy does."""
    (tmp_path / "lib").mkdir()
    path = Path(shutil.copy2(second_copy, tmp_path / "lib" / second_copy.name))
    answer = ask(
        "second_copy_by_path.check(cell)", PREPARE + f"sys.base_prefix = {str(tmp_path)!r}"
    )
    require_second_copy(answer, path)


def test_a_name_that_leads_nowhere_is_the_loaders_own_error() -> None:
    """So that the harness can tell a missing library from a second one."""
    answer = ask("second_copy_by_name.check(cell)", PREPARE)
    assert answer["exception"] == "OSError"
    assert answer["message"].startswith("libpython-second.so.1.0: cannot open shared object file")


def test_an_interpreter_that_ships_no_libpython_is_not_asked_for_its_path(tmp_path: Path) -> None:
    """Nothing to load, nothing to judge."""
    answer = ask(
        "second_copy_by_path.check(cell)", PREPARE + f"sys.base_prefix = {str(tmp_path)!r}"
    )
    assert answer["exception"] == "NotApplicable"


def test_pythonapi_is_the_interpreters_own_and_everything_works(
    second_copy: Path, tmp_path: Path
) -> None:
    """On any host, a second copy loaded for everybody or not."""
    (tmp_path / "lib").mkdir()
    shutil.copy2(second_copy, tmp_path / "lib" / second_copy.name)
    answer = ask(
        "second_copy_pythonapi.check(cell)",
        PREPARE + f"sys.base_prefix = {str(tmp_path)!r}\nimport second_copy_pythonapi",
    )
    assert "exception" not in answer, answer
    assert answer["findings"]["loaded_for_everybody"] is not None
    assert answer["findings"]["own"] is True
    assert set(answer["findings"]["uses"].values()) == {"works"}


def test_pythonapi_that_is_a_second_copy_fails(second_copy: Path) -> None:
    """Should the order of look-ups ever change: the interpreter's int lies elsewhere."""
    answer = ask(
        "second_copy_pythonapi.check(cell)",
        PREPARE
        + f"""
import second_copy_pythonapi
handle = ctypes.CDLL({str(second_copy)!r})
ctypes.pythonapi = ctypes.PyDLL(None, handle=handle._handle)
real = ctypes.CDLL
ctypes.CDLL = lambda name, mode=0: handle if name is None else real(name, mode)
""",
    )
    assert answer["exception"] == "AssertionError"
    assert f"is answered by {second_copy}, but the running interpreter's int" in answer["message"]


def test_a_copy_that_takes_over_for_everybody_fails(second_copy: Path) -> None:
    """The second copy must not become what is found in the whole process."""
    answer = ask(
        "second_copy_pythonapi.check(cell)",
        PREPARE
        + f"""
import second_copy_pythonapi
handle = ctypes.CDLL({str(second_copy)!r})
real = ctypes.CDLL
ctypes.CDLL = lambda name, mode=0: handle if name is None else real(name, mode)
""",
    )
    assert answer["exception"] == "AssertionError"
    assert f"ctypes.CDLL(None) is answered by {second_copy} instead of" in answer["message"]


def test_every_use_of_the_c_api_is_one_that_this_cpython_has() -> None:
    """A mistyped name would be left out in silence, as what a CPython no longer has is."""
    answer = ask(
        "[s for use in c_api.uses() for s in use.symbols if not c_api.exports(api, s)]",
        "import c_api, ctypes\napi = ctypes.pythonapi",
    )
    assert answer["findings"] == []


def test_what_a_cpython_does_not_have_is_no_fault_of_a_copy() -> None:
    """Functions come and go; only what the interpreter itself has is asked of a handle."""
    answer = ask(
        "c_api.verdicts(ctypes.pythonapi)",
        """
        import c_api, ctypes
        gone = c_api.Use("Py_Gone()", ("Py_Gone",), lambda api: 1, 1)
        there = c_api.Use("Py_IsInitialized()", ("Py_IsInitialized",), lambda api: 1, 1)
        c_api.uses = lambda: [gone, there]
        """,
    )
    assert answer["findings"] == {"Py_IsInitialized()": "works"}


def test_the_interpreters_own_copy_fails_when_a_use_of_it_does_not_work() -> None:
    """Whose copy it is, is not all that is asked."""
    findings = {
        "own": True,
        "answered_by": "/opt/python/lib/libpython3.13.so.1.0",
        "uses": {"PyList_New(0)": "works", "PyErr_Occurred()": "crashes (SIGSEGV)"},
    }
    with pytest.raises(AssertionError) as caught:
        load("copies").require_own("ctypes.CDLL(None)", findings)
    assert str(caught.value) == (
        "ctypes.CDLL(None) is answered by /opt/python/lib/libpython3.13.so.1.0, the interpreter's "
        "own copy, but crashes: PyErr_Occurred()"
    )
    assert caught.value.findings == findings  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (("answered", 1), "works"),
        (("answered", 0), "silently wrong: 0 instead of 1"),
        (("raised", None, "ValueError: no"), "raises ValueError: no"),
        (("crashed", None, "SIGSEGV", "noise"), "crashes (SIGSEGV)"),
        (("crashed", None, "SIGABRT", "free(): invalid"), "crashes (SIGABRT, free(): invalid)"),
        (("hung",), "hangs"),
        (("exited", None, "3"), "ends the process (exit code 3)"),
    ],
)
def test_only_the_right_answer_works(ending: tuple[Any, ...], said: str) -> None:
    """Every other end has its own words."""
    children, c_api = load("children"), load("c_api")
    assert c_api.verdict(children.Ending(*ending), 1) == said
    assert said.split(" (")[0].startswith(*c_api.by_verdict({"a use": said}))
