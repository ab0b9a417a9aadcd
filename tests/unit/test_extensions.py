"""Samples on the host: what installing them lays into a container, without an engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cache, elf, extensions, index, inventory, project, tools
from harness.errors import ConfigurationError
from harness.extensions import Installed, NothingToDo
from harness.lock import Lock, LockedWheel
from harness.matrix import Check, Extension
from harness.outcome import Reason
from harness.plan import Cell, module_name, tree_name, where
from harness.platforms import Platform
from harness.remedies import Remedy
from tests.unit import tiny_elf
from tests.unit.conftest import Compile
from tests.unit.probing import tried
from tests.unit.sample_cell import sample_cell, sample_check

HOST = Platform.host() or Platform.X86_64
MODULE = """\
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "NAME", 0, -1, 0};
PyMODINIT_FUNC PyInit_NAME(void) {
    PyObject *made = PyModule_Create(&definition);
    PyModule_AddObject(made, "answer", PyLong_FromLong(42));
    return made;
}
"""


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: Compile) -> Path:
    """A cache of the test's own. What the test compiles comes before it, from the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(folder))
    return folder


class Wheels:
    """Wheels that the index would have, and the lock that names them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._known: dict[str, Path] = {}
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(index, "fetch", lambda wheel: self._known[wheel.sha256])

    def add(self, files: dict[str, bytes], name: str = "sample") -> Path:
        """A wheel of some files."""
        tree = self._folder / f"{name}-tree"
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        wheel = self._folder / f"{name}-1.0-py3-none-any.whl"
        extensions._write_wheel(wheel, tree)
        self._known[cache.file_digest(wheel)] = wheel
        return wheel

    def provide(self, cell: Cell) -> Installed:
        """What all of them together are for a cell."""
        locked = tuple(LockedWheel(filename=w.name, sha256=s) for s, w in self._known.items())
        platform = cell.environment.interpreter.platform
        lock = Lock(uv={}, wheels={"sample==1.0": {"3.13": {platform: locked}}})
        return extensions.provide(cell, lock, self._folder, no_project)


def no_project(name: str, folder: Path, python: str, platform: Platform) -> Path:
    raise AssertionError(f"{name} is no project")


@pytest.fixture
def wheels(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Wheels:
    return Wheels(tmp_path, monkeypatch)


def cell_for(remedy: Remedy = Remedy.NONE, sample: Extension | Check | None = None) -> Cell:
    """The sample cell on this machine's platform."""
    cell = sample_cell() if not isinstance(sample, Check) else sample_check()
    environment = replace(
        cell.environment, interpreter=replace(cell.environment.interpreter, platform=HOST)
    )
    return replace(cell, environment=environment, remedy=remedy, sample=sample or cell.sample)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".dist-info" not in path.as_posix()
    }


@pytest.fixture(scope="session")
def needing(compiled: Compile) -> dict[str, bytes]:
    """An extension whose helper needs libpython, twice, and the C library."""
    link: list[str] = []
    for name in ("libpython3.99.so.1.0", "libpython3.so"):
        library = compiled("", name=name, flags=(f"-Wl,-soname={name}",))
        link += [f"-L{library.parent}", f"-l:{name}"]
    plain = compiled(MODULE.replace("NAME", "sample"))
    source = "#include <stdlib.h>\nextern void *PyLong_FromLong(long);\n"
    source += 'void *use(void) { return getenv("X") ? PyLong_FromLong(1) : 0; }\n'
    helper = compiled(
        source, name="libhelper.so", flags=("-Wl,--no-as-needed", "-Wl,-soname=libhelper.so", *link)
    )
    loads = "import ctypes, os\nfrom . import sample\n"
    loads += 'ctypes.CDLL(os.path.dirname(__file__) + "/lib/libhelper.so.1")\n'
    return {
        "sample/__init__.py": loads.encode(),
        "sample/sample.so": plain.read_bytes(),
        "sample/lib/libhelper.so.1": helper.read_bytes(),
    }


def test_what_is_installed_has_its_files_and_what_is_to_be_known_of_them(
    wheels: Wheels, needing: dict[str, bytes]
) -> None:
    wheel = wheels.add(needing)
    installed = wheels.provide(cell_for())
    assert installed.wheels == {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert sorted(path.name for path in installed.tree.iterdir()) == [
        *("files.json", "site", "symbols.json")
    ]
    assert contents(installed.tree / "site") == needing
    noted = json.loads((installed.tree / "symbols.json").read_text())
    assert set(noted) == {"sample/sample.so", "sample/lib/libhelper.so.1"}
    for name, entry in noted.items():
        found = elf.read(installed.tree / "site" / name)
        assert entry == {
            "code_address": found.code_address,
            "slots": dict(found.c_api_slots),
            "provides_c_api": False,
        }
    assert set(noted["sample/lib/libhelper.so.1"]["slots"]) == {"PyLong_FromLong"}
    listed = inventory.load(installed.tree / "files.json")
    assert set(listed.files.files) == {"/site/sample/sample.so", "/site/sample/lib/libhelper.so.1"}
    assert listed.modules == ("/site/sample/sample.so",)


def test_what_was_installed_once_is_found_again(
    wheels: Wheels, needing: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.add(needing)
    first = [wheels.provide(cell_for(remedy)) for remedy in (Remedy.NONE, Remedy.PATCHELF)]

    def refuse(*arguments: object, **options: object) -> str:
        raise AssertionError("something was run")

    monkeypatch.setattr(tools, "run", refuse)
    again = [wheels.provide(cell_for(remedy)) for remedy in (Remedy.NONE, Remedy.PATCHELF)]
    assert again == first


@pytest.mark.parametrize("remedy", [r for r in Remedy if r is not Remedy.PATCHELF])
def test_no_remedy_but_patchelf_changes_what_is_installed(
    wheels: Wheels, needing: dict[str, bytes], remedy: Remedy
) -> None:
    wheels.add(needing)
    assert wheels.provide(cell_for(remedy)) == wheels.provide(cell_for())


def test_patchelf_removes_libpython_and_nothing_else_wherever_it_is_needed(
    wheels: Wheels, needing: dict[str, bytes]
) -> None:
    """In helper libraries too, under every name that CPython's own libraries have."""
    wheels.add(needing)
    plain = wheels.provide(cell_for())
    patched = wheels.provide(cell_for(Remedy.PATCHELF))
    helper = "site/sample/lib/libhelper.so.1"
    before, after = (elf.read(i.tree / helper).needed for i in (plain, patched))
    assert before[:2] == ("libpython3.99.so.1.0", "libpython3.so")
    assert after == tuple(name for name in before if not name.startswith("libpython"))
    assert len(after) == len(before) - 2 > 0
    changed = contents(patched.tree / "site")
    assert {n for n in changed if changed[n] != needing[n]} == {helper.removeprefix("site/")}
    assert patched.wheels == plain.wheels
    # The entry that others use stays as it was.
    assert patched.tree != plain.tree
    assert contents(plain.tree / "site") == needing


def test_patchelf_notes_the_symbols_of_what_it_made(
    wheels: Wheels, needing: dict[str, bytes]
) -> None:
    """Where patchelf moved something, the notes about the old file would be wrong."""
    wheels.add(needing)
    tree = wheels.provide(cell_for(Remedy.PATCHELF)).tree
    noted = json.loads((tree / "symbols.json").read_text())
    for name in ("sample/sample.so", "sample/lib/libhelper.so.1"):
        assert noted[name]["slots"] == dict(elf.read(tree / "site" / name).c_api_slots)
        assert noted[name]["slots"]


def test_an_extension_imports_after_patchelf_that_did_not_before(
    wheels: Wheels, needing: dict[str, bytes]
) -> None:
    """On this very machine, with this Python, which has no libpython3.99."""
    wheels.add(needing)
    before = tried(wheels.provide(cell_for()).tree, None)
    assert before.outcome().reason is Reason.MISSING_LIBRARY
    assert before.finished["missing_library"] == "libpython3.99.so.1.0"
    after = tried(wheels.provide(cell_for(Remedy.PATCHELF)).tree, None, remedy="patchelf")
    assert after.outcome().reason is Reason.IMPORTS
    bindings = after.finished["bindings"]
    # PyModule_Create2, PyModule_AddObject and PyLong_FromLong here, and the last in the helper.
    assert bindings["counts"] == {bindings["home"]: 3 + 1}


@pytest.mark.parametrize("content", [b"", b"not ELF at all"], ids=["an extension", "no ELF"])
def test_patchelf_has_nothing_to_do_where_nothing_needs_libpython(
    wheels: Wheels, needing: dict[str, bytes], empty_cache: Path, content: bytes
) -> None:
    wheels.add({"sample.so": content or needing["sample/sample.so"]})
    wheels.provide(cell_for())
    made = sorted(path.name for path in (empty_cache / "installed").glob("[!.]*"))
    with pytest.raises(NothingToDo, match="no file of sample needs libpython"):
        wheels.provide(cell_for(Remedy.PATCHELF))
    assert sorted(path.name for path in (empty_cache / "installed").glob("[!.]*")) == made


def test_every_wheel_of_a_sample_is_unpacked_and_patched(
    wheels: Wheels, needing: dict[str, bytes]
) -> None:
    """What it depends on may be what needs libpython."""
    wheels.add({"first.py": b"import sample"})
    wheels.add(needing, name="second")
    patched = wheels.provide(cell_for(Remedy.PATCHELF))
    assert set(patched.wheels) == {"sample-1.0-py3-none-any.whl", "second-1.0-py3-none-any.whl"}
    assert (patched.tree / "site" / "first.py").is_file()
    assert not [
        name
        for file in elf.files(patched.tree / "site")
        for name in elf.read(file).needed
        if name.startswith("libpython")
    ]


def test_an_odd_file_in_a_wheel_does_not_stop_it_from_being_installed(wheels: Wheels) -> None:
    """Whether the sample imports is asked later; a file that nothing loads harms nobody."""
    odd = tiny_elf.TinyElf(undefined=[b"Py_A"], change={tiny_elf.STRSZ: 2**62}).build()
    wheels.add({"sample.py": b"", "data/odd.so": odd, "data/short.so": odd[:100]})
    installed = wheels.provide(cell_for())
    noted = json.loads((installed.tree / "symbols.json").read_text())
    assert set(noted) == {"data/odd.so", "data/short.so"}
    assert tried(installed.tree, None).outcome().reason is Reason.IMPORTS


# Projects with a build back end.


def test_a_folder_with_a_project_is_built_by_who_builds_projects(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text("")
    wheel = Wheels(tmp_path, monkeypatch).add({"sample.py": b"answer = 42"})
    asked: list[tuple[object, ...]] = []

    def build_project(*arguments: object) -> Path:
        asked.append(arguments)
        return wheel

    cell = cell_for(sample=Extension(source="project", imports="sample"))
    installed = extensions.provide(cell, Lock(uv={}, wheels={}), tmp_path, build_project)
    assert asked == [("sample", tmp_path / "project", "3.13", HOST)]
    assert (installed.tree / "site" / "sample.py").read_text() == "answer = 42"
    assert list(installed.wheels) == [wheel.name]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "there is no nowhere, neither beside the matrix file"),
        ("bare", "has neither an extension.yaml nor a pyproject.toml"),
        ("file", "has neither an extension.yaml nor a pyproject.toml"),
    ],
)
def test_a_source_that_is_no_sample_is_refused(
    tmp_path: Path, empty_cache: Path, source: str, said: str
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").write_text("")
    cell = cell_for(sample=Extension(source=source, imports="sample"))
    with pytest.raises(ConfigurationError, match=said) as caught:
        extensions.provide(cell, Lock(uv={}, wheels={}), tmp_path, no_project)
    assert "cases/extensions has examples" in caught.value.advice


# Checks.


def check_for(script: str) -> Cell:
    return cell_for(sample=Check(script=script))


def provided(script: str, beside: Path) -> Installed:
    return extensions.provide(check_for(script), Lock(uv={}, wheels={}), beside, no_project)


@pytest.fixture
def checks(tmp_path: Path, empty_cache: Path) -> Path:
    """A folder with two checks, something that they share, and something that is no Python."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "one.py").write_text("import shared\ndef check(where): return shared.answer\n")
    (folder / "two.py").write_text("def check(where): return where['base']\n")
    (folder / "shared.py").write_text("answer = 42\n")
    (folder / "notes.txt").write_text("")
    return tmp_path


def test_a_check_comes_with_the_modules_of_its_folder(checks: Path) -> None:
    installed = provided("mine/one.py", checks)
    assert installed.wheels == {}
    assert set(contents(installed.tree)) == {
        *("site/one.py", "site/two.py", "site/shared.py"),
        *("files.json", "symbols.json"),
    }
    assert (installed.tree / "symbols.json").read_text() == "{}"


@pytest.mark.parametrize(("module", "found"), [("one", 42), ("two", "debian13")])
def test_a_check_runs_as_it_was_laid_out(checks: Path, module: str, found: object) -> None:
    script = f"mine/{module}.py"
    place = where(check_for(script))
    ran = tried(provided(script, checks).tree, None, module=module, check=place)
    assert (ran.finished["outcome"], ran.finished["findings"]) == ("passed", found)


def test_the_checks_of_a_folder_share_what_is_laid_out(checks: Path) -> None:
    assert provided("mine/one.py", checks) == provided("mine/two.py", checks)


def test_a_check_that_was_changed_is_laid_out_anew(checks: Path) -> None:
    """And what it imports from beside it counts as well."""
    first = provided("mine/one.py", checks).tree
    (checks / "mine" / "shared.py").write_text("answer = 43\n")
    second = provided("mine/one.py", checks).tree
    assert first != second
    assert (second / "site" / "shared.py").read_text() == "answer = 43\n"
    (checks / "mine" / "notes.txt").write_text("no Python")
    assert provided("mine/one.py", checks).tree == second


def test_a_check_beside_the_matrix_goes_before_the_projects_own(
    checks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = checks / "project"
    (own / "mine").mkdir(parents=True)
    (own / "mine" / "one.py").write_text("def check(where): return 'own'\n")
    (own / "mine" / "three.py").write_text("def check(where): return 'own'\n")
    monkeypatch.setattr(project, "ROOT", own)
    assert (provided("mine/one.py", checks).tree / "site" / "shared.py").is_file()
    assert (provided("mine/three.py", checks).tree / "site" / "three.py").is_file()


def test_a_check_that_is_not_there_is_refused(checks: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        provided("mine/none.py", checks)
    assert f"there is no mine/none.py, neither beside the matrix file in {checks}" in (
        caught.value.problem
    )
    assert "script" in caught.value.advice


# Names.


@pytest.mark.parametrize("remedy", Remedy)
def test_only_what_patchelf_changed_has_a_directory_of_its_own(remedy: Remedy) -> None:
    patched = "+patchelf" if remedy is Remedy.PATCHELF else ""
    assert tree_name(cell_for(remedy)) == f"sample{patched}"


def test_checks_of_two_names_have_two_directories() -> None:
    """Their scripts may have one name, in folders that are not the same."""
    cells = (
        dataclasses.replace(check_for("mine/one.py"), extension=name)
        for name in ("first", "second")
    )
    assert len({tree_name(cell) for cell in cells}) == 2


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        (Extension(source="x", imports="package.module"), "package.module"),
        (Check(script="checks/list_iadd.py"), "list_iadd"),
        (Check(script="top.py"), "top"),
    ],
)
def test_what_is_imported_is_the_module_or_the_script(sample: Extension | Check, name: str) -> None:
    assert module_name(replace(sample_cell(), sample=sample)) == name


def test_a_directory_of_a_check_is_a_safe_name() -> None:
    """It becomes part of a path in the container, whatever the script's path is."""
    for script in ("/a very/deep/../path/x.py", "../x.py", "x.py"):
        assert re.fullmatch(r"[a-z0-9-]+", tree_name(check_for(script)))
