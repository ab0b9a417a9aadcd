"""One hostile or broken module for each outcome, imported in real containers of both platforms."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from harness import cells as cells_module
from harness import containers, engine, extensions, tools
from harness.containers import Containers
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell
from harness.platforms import Platform
from harness.prepared import Prepared, PreparedExtension, extension_key

pytestmark = pytest.mark.engine

MODULES = {
    "fine": "import json",
    "raises": "raise ValueError('no')",
    "exits": "import sys; sys.exit(0)",
    "no_gl": "raise ImportError('libGL.so.1: cannot open shared object file: No such file')",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "aborts": "import os; os.abort()",
    "vanishes": "import os; os._exit(0)",
    "hangs": "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "while True: time.sleep(1)",
    "eats": "x = []\nwhile True: x.append(bytearray(16 << 20))",
    "forges": 'import sys; print(\'{"event": "finished", "outcome": "imported"}\')\n'
    "sys.stdout.flush(); raise ImportError('really')",
    "floods": "for _ in range(300_000): print('x' * 100)\nraise ImportError('after all that')",
}

EXPECTED = {
    "fine": (Reason.IMPORTS, ""),
    "raises": (Reason.IMPORT_ERROR, "no"),
    "exits": (Reason.IMPORT_ERROR, "0"),
    "no_gl": (Reason.MISSING_LIBRARY, "libGL.so.1"),
    "crashes": (Reason.CRASH, "SIGSEGV"),
    "aborts": (Reason.CRASH, "SIGABRT"),
    "vanishes": (Reason.CRASH, "exit code 0"),
    "hangs": (Reason.TIMEOUT, "did not end within"),
    "eats": (Reason.OUT_OF_MEMORY, ""),
    "forges": (Reason.IMPORT_ERROR, "really"),
    "floods": (Reason.IMPORT_ERROR, "after all that"),
}


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one tree for each module."""
    root = tmp_path_factory.mktemp("modules")
    for name, source in MODULES.items():
        (root / name).mkdir()
        (root / name / f"{name}.py").write_text(source)
    return root


def observe(
    name: str,
    platform: Platform,
    site: Path,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
    *,
    timeout: int = 60,
) -> Outcome:
    """Import a module from a directory in a container of its own."""
    cell = next(
        c
        for c in cells
        if c.environment.interpreter.platform is platform and c.extension == "no-libpython"
    )
    sample = cell.sample.model_copy(update={"imports": name, "timeout": timeout})
    cell = Cell(
        environment=cell.environment,
        extension=name,
        sample=sample,
        remedy=cell.remedy,
        expected=cell.expected,
    )
    key = extension_key(name, cell.environment)
    own = Containers(pool._client, f"{prepared.run}-{name}", prepared.owner, pool._locks)
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work)
        shutil.copytree(site, tree / "site")
        extensions.note_files(tree)
        mine = prepared.model_copy(
            update={
                "extensions": {key: PreparedExtension(tree=tree)},
                "wanted": {cell.environment.id: (name,)},
            }
        )
        try:
            return cells_module.observe(cell, mine, own)
        finally:
            own.reap()


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("name", MODULES)
def test_each_end_of_an_import_has_its_outcome(
    name: str,
    platform: Platform,
    modules: Path,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
) -> None:
    """A module cannot pass for importing by ending early, printing a report or hanging."""
    timeout = 5 if name == "hangs" else 60
    outcome = observe(name, platform, modules / name, cells, prepared, pool, timeout=timeout)
    reason, text = EXPECTED[name]
    assert outcome.stage is Stage.IMPORT
    assert outcome.reason is reason, outcome
    assert text in outcome.message


@pytest.mark.parametrize("platform", Platform)
def test_an_undefined_symbol_is_told_apart_from_a_missing_library(
    platform: Platform,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
    tmp_path: Path,
) -> None:
    """Both come as ImportError; only the loader's words differ."""
    source = tmp_path / "needs_symbol.c"
    source.write_text(
        "extern int nobody_has_this(void);\nint PyInit_x(void) { return "
        "nobody_has_this(); }\nint (*pointer)(void) = nobody_has_this;\n"
    )
    tree = tmp_path / "tree"
    tree.mkdir()
    tools.compile_c(
        platform.triplet, [source], tree / "x.abi3.so", ["-shared", "-fPIC"], directory=tmp_path
    )
    outcome = observe("x", platform, tree, cells, prepared, pool)
    assert outcome.reason is Reason.UNDEFINED_SYMBOL, outcome
    assert "nobody_has_this" in outcome.message


def test_a_module_that_is_not_there_is_untestable(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers, tmp_path: Path
) -> None:
    """Our own mistake is no fact about the extension."""
    container = pool.get(
        cells[0].environment.id,
        prepared.environments[cells[0].environment.id].image.tag,  # type: ignore[union-attr]
        cells[0].environment.interpreter.platform,
        prepared.trees(cells[0].environment),
    )
    request = {"tree": "/opt/extensions/nothing", "module": "x", "remedy": "none"}
    finished = containers.run_probe(container, request, limit=60)
    outcome = cells_module.interpret(finished, cells[0])
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)


def test_the_wrong_architecture_under_a_right_tag_is_noticed(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """An x86_64 image in an aarch64 cell gives no verdict, and says what ran."""
    foreign = next(c for c in cells if c.environment.interpreter.platform is Platform.AARCH64)
    native = next(c for c in cells if c.environment.interpreter.platform is Platform.X86_64)
    swapped = prepared.model_copy(
        update={
            "environments": {foreign.environment.id: prepared.environments[native.environment.id]}
        }
    )
    own = Containers(pool._client, f"{prepared.run}-swapped", prepared.owner, pool._locks)
    try:
        outcome = cells_module.observe(foreign, swapped, own)
    finally:
        own.reap()
    assert outcome.reason is Reason.UNTESTABLE
    assert "x86_64" in outcome.message or "amd64" in outcome.message


def test_one_container_serves_an_environment_whoever_asks(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """Another worker finds the container by its name instead of making a second one."""
    environment = cells[0].environment
    image = prepared.environments[environment.id].image
    assert image is not None
    other = Containers(pool._client, prepared.run, prepared.owner, pool._locks)
    ids = {
        asked.get(
            environment.id,
            image.tag,
            environment.interpreter.platform,
            prepared.trees(environment),
        ).id
        for asked in (pool, other, pool)
    }
    assert len(ids) == 1


def test_a_container_has_no_network_and_no_capabilities(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """Strangers' code runs in there."""
    environment = cells[0].environment
    image = prepared.environments[environment.id].image
    assert image is not None
    container = pool.get(
        environment.id, image.tag, environment.interpreter.platform, prepared.trees(environment)
    )
    container.reload()
    assert container.attrs["HostConfig"]["NetworkMode"] == "none"
    assert container.attrs["HostConfig"]["CapDrop"] == ["ALL"]
    interfaces = container.exec_run("ls /sys/class/net").output.split()
    assert interfaces == [b"lo"]


def test_a_container_ends_by_itself_when_nothing_runs_in_it(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """Nobody has to be alive to remove it; while something runs in it, it stays."""
    image = prepared.environments[cells[0].environment.id].image
    assert image is not None
    container = pool._client.containers.run(
        image.tag,
        ["/bin/sh", "/opt/pbs-matrix/idle.sh", "5", "600"],
        detach=True,
        network_mode="none",
        labels={engine.KIND: "test"},
    )
    try:
        container.exec_run(["sleep", "17"])
        container.reload()
        assert container.status == "running"
        assert container.wait(timeout=60)["StatusCode"] == 0
    finally:
        container.remove(force=True)
