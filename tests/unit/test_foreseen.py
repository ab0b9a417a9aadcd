"""What is foreseen of a cell, from the files that were prepared for it; without an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import contents, foreseen, inventory, systems
from harness.foreseen import Foreseen
from harness.image import Image, Origin
from harness.inventory import Inventory
from harness.loader.files import Files
from harness.loader.objects import AARCH64, Object
from harness.loader.process import System
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell, tree_name
from harness.prepared import (
    Prepared,
    PreparedEnvironment,
    PreparedExtension,
    PreparedInterpreter,
    extension_key,
)
from harness.remedies import Remedy
from harness.routes import Route
from tests.unit.made_contents import INSIDE
from tests.unit.sample_cell import sample_cell, sample_check, upgraded_cell

LIBPYTHON = "libpython3.13.so.1.0"
HOME = "/opt/python/cpython-3.13.5-linux-aarch64-gnu"
IMAGE = Image(tag="t", id="sha256:1", origin=Origin.BUILT, base_digest="d")


def thing(
    *needed: str, soname: str | None = None, runpath: str | None = None, rpath: str | None = None
) -> Object:
    return Object(architecture=AARCH64, needed=needed, soname=soname, runpath=runpath, rpath=rpath)


def interpreter(
    *needed: str, runpath: str | None = None, rpath: str | None = None, ctypes: Object | None = None
) -> Inventory:
    """An interpreter's files; ``ctypes`` where it is a file of its own."""
    files = {
        "/bin/python3.13": thing("libc.so.6", *needed, runpath=runpath, rpath=rpath),
        f"/lib/{LIBPYTHON}": thing("libc.so.6", soname=LIBPYTHON),
    }
    if ctypes:
        files["/lib/python3.13/lib-dynload/_ctypes.cpython-313-aarch64-linux-gnu.so"] = ctypes
    return Inventory(files=Files(files=files))


SHARED = interpreter(f"$ORIGIN/../lib/{LIBPYTHON}")
STATIC = interpreter()
STATIC_RUNPATH = interpreter(runpath="$ORIGIN/../lib")
STATIC_RPATH = interpreter(rpath="$ORIGIN/../lib")

SAMPLE = Inventory(
    files=Files(files={"/site/sample.so": thing(LIBPYTHON)}), modules=("/site/sample.so",)
)
SYSTEM = System(
    files=Files(files={"/usr/lib/libc.so.6": thing(soname="libc.so.6")}), directories=("/usr/lib",)
)


@pytest.fixture
def foresee(tmp_path: Path) -> Callable[..., Foreseen | None]:
    """Foresees a cell from what it is given: an interpreter, one before it, an extension."""
    count = iter(range(100))

    def write(listed: Inventory) -> Path:
        path = tmp_path / f"{next(count)}.json"
        contents.save(replace(INSIDE, inventory=listed), path)
        return path

    def make(
        cell: Cell,
        python: Inventory,
        *,
        before: Inventory | None = None,
        sample: Inventory | None = SAMPLE,
        system: System | None = SYSTEM,
        sources: dict[str, str] | None = None,
    ) -> Foreseen | None:
        noted = None
        if system:
            noted = tmp_path / f"{next(count)}.json"
            noted.write_bytes(systems.SYSTEM.dump_json(system))

        def environment(python: Inventory) -> PreparedEnvironment:
            installed = PreparedInterpreter(
                version="3.13.5",
                look=write(python),
                archive="x.tar.gz",
                sha256="x",
                route=Route.DOWNLOADS_JSON,
            )
            return PreparedEnvironment(image=IMAGE, system=noted, interpreter=installed)

        made = environment(python)
        if before:
            made = made.model_copy(update={"before": environment(before)})
        tree = None
        if sample:
            tree = tmp_path / f"tree-{next(count)}"
            tree.mkdir()
            inventory.save(sample, tree / "files.json")
            for name, text in (sources or {}).items():
                (tree / "site" / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / "site" / name).write_text(text)
        key = extension_key(tree_name(cell), cell.environment)
        prepared = Prepared(
            run="run",
            owner="owner",
            engine_version="20",
            emulators={},
            environments={cell.environment.id: made},
            extensions={key: PreparedExtension(tree=tree)},
            wanted={},
        )
        return foreseen.foresee(cell, prepared)

    return make


Foresee = Callable[..., Foreseen]
MISSING, FINE = (Reason.MISSING_LIBRARY, LIBPYTHON), (Reason.IMPORTS, None)
ROWS = [
    # remedy, then what follows for shared, static, static+runpath, static+rpath
    (Remedy.NONE, FINE, MISSING, MISSING, FINE),
    (Remedy.PRELOAD, FINE, MISSING, FINE, FINE),
    (Remedy.PRELOAD_BY_PATH, FINE, FINE, FINE, FINE),
    (Remedy.LD_LIBRARY_PATH, FINE, FINE, FINE, FINE),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_each_remedy_is_foreseen_for_each_link_model(
    foresee: Foresee, row: tuple[Remedy, *tuple[tuple[Reason, str | None], ...]]
) -> None:
    """As the docs' table of remedies has it, which was observed."""
    remedy, *outcomes = row
    for python, wanted in zip(
        (SHARED, STATIC, STATIC_RUNPATH, STATIC_RPATH), outcomes, strict=True
    ):
        found = foresee(replace(sample_cell(), remedy=remedy), python).prediction
        assert (found.outcome, found.library) == wanted


def test_ctypes_in_a_file_of_its_own_searches_by_its_own_path(foresee: Foresee) -> None:
    """So a preload by name depends on that file, not on the interpreter's DT_RUNPATH."""
    cell = replace(sample_cell(), remedy=Remedy.PRELOAD)
    bare = interpreter(runpath="$ORIGIN/../lib", ctypes=thing("libc.so.6"))
    given = interpreter(ctypes=thing("libc.so.6", runpath="$ORIGIN/../.."))
    assert foresee(cell, bare).prediction.outcome is Reason.MISSING_LIBRARY
    assert foresee(cell, given).prediction.outcome is Reason.IMPORTS


def test_a_file_that_is_patched_is_foreseen_as_patched(foresee: Foresee) -> None:
    cell = replace(sample_cell(), remedy=Remedy.PATCHELF)
    patched = Inventory(files=Files(files={"/site/sample.so": thing()}), modules=SAMPLE.modules)
    assert foresee(cell, STATIC, sample=patched).prediction.outcome is Reason.IMPORTS
    assert foresee(cell, STATIC).prediction.outcome is Reason.MISSING_LIBRARY


def test_a_newer_uv_alone_leaves_the_older_ones_interpreter_in_place(foresee: Foresee) -> None:
    reinstalled = upgraded_cell()
    assert reinstalled.environment.upgrade is not None
    upgrade = replace(reinstalled.environment.upgrade, remedy=Remedy.UPGRADE_ONLY)
    upgraded = replace(
        reinstalled,
        remedy=Remedy.UPGRADE_ONLY,
        environment=replace(reinstalled.environment, upgrade=upgrade),
    )
    left = foresee(upgraded, STATIC_RPATH, before=STATIC)
    assert left.prediction.outcome is Reason.MISSING_LIBRARY
    assert left.setting.label == "20250409"
    brought = foresee(reinstalled, STATIC_RPATH, before=STATIC)
    assert brought.prediction.outcome is Reason.IMPORTS
    assert brought.setting.label == "20250517"


def test_a_library_beside_the_modules_is_loaded_only_where_one_needs_it(foresee: Foresee) -> None:
    needless = Inventory(
        files=Files(files={"/site/sample.so": thing(), "/site/libhelper.so": thing("libgone.so")}),
        modules=SAMPLE.modules,
    )
    assert foresee(sample_cell(), STATIC, sample=needless).prediction.outcome is Reason.IMPORTS


def test_where_the_extension_lies_and_who_needs_what_is_said_as_in_the_container(
    foresee: Foresee,
) -> None:
    found = foresee(sample_cell(), STATIC)
    assert found.prediction.needed_by == "/opt/extensions/sample/site/sample.so"
    assert found.setting.program == f"{HOME}/bin/python3.13"
    assert found.account.startswith("`sample.so` needs `libpython3.13.so.1.0`.")
    assert "this interpreter (20250517) has none" in found.account
    assert "not in /usr/lib" in found.account


def test_where_nothing_is_missing_there_is_nothing_to_account_for(foresee: Foresee) -> None:
    assert foresee(sample_cell(), STATIC_RPATH).account == ""


def test_what_the_loader_has_no_part_in_is_not_foreseen(foresee: Foresee) -> None:
    assert foresee(sample_check(), STATIC) is None
    assert foresee(sample_cell(), STATIC, sample=None) is None
    assert foresee(sample_cell(), STATIC, system=None) is None


PACKAGE = Inventory(
    files=Files(
        files={
            "/site/sample/_fine.so": thing(),
            "/site/sample/_needing.so": thing(LIBPYTHON),
            "/site/sample/_other.so": thing("libother.so"),
        }
    ),
    modules=("/site/sample/_fine.so", "/site/sample/_needing.so", "/site/sample/_other.so"),
)
GONE = Outcome(stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON)


def test_only_what_the_import_is_seen_to_open_is_foreseen(foresee: Foresee) -> None:
    plain = {"sample/__init__.py": "from . import _fine\n"}
    found = foresee(sample_cell(), STATIC, sample=PACKAGE, sources=plain)
    assert found.prediction.outcome is Reason.IMPORTS
    both = {"sample/__init__.py": "from . import _fine\nfrom . import _needing\n"}
    found = foresee(sample_cell(), STATIC, sample=PACKAGE, sources=both)
    assert found.prediction.library == LIBPYTHON


def test_what_an_import_may_open_is_foreseen_once_it_shows_that_it_did(foresee: Foresee) -> None:
    """But no library that none of them would miss."""
    hidden = {"sample/__init__.py": "try:\n    from . import _needing\nexcept ValueError: pass\n"}
    found = foresee(sample_cell(), STATIC, sample=PACKAGE, sources=hidden)
    assert found.prediction.outcome is Reason.IMPORTS
    assert found.given(GONE).prediction.library == LIBPYTHON
    assert "_needing.so" in found.given(GONE).account
    fine = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)
    assert found.given(fine) is found
    unheard_of = replace(GONE, missing_library="libunheard.so")
    assert not found.given(unheard_of).prediction.agrees(
        unheard_of.reason, unheard_of.missing_library
    )


def test_a_plugin_that_the_package_opens_by_itself_is_foreseen_once_it_has(
    foresee: Foresee,
) -> None:
    """A library that others need is none: it is loaded with them, or not at all."""
    files = {
        "/site/sample.so": thing("libhelper.so"),
        "/site/libhelper.so": thing(soname="libhelper.so"),
        "/site/plugin.so": thing(LIBPYTHON),
    }
    sample = Inventory(files=Files(files=files), modules=SAMPLE.modules)
    found = foresee(
        sample_cell(),
        STATIC,
        sample=sample,
        system=SYSTEM._replace(
            files=SYSTEM.files
            | Files(links={"/usr/lib/libhelper.so": "/opt/extensions/sample/site/libhelper.so"}),
        ),
    )
    assert found.prediction.outcome is Reason.IMPORTS
    assert found.others == ("/site/plugin.so",)
    assert found.given(GONE).prediction.needed_by == "/opt/extensions/sample/site/plugin.so"
