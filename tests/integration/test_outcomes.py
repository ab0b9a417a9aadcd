"""One hostile or broken module for each outcome, imported in real containers of both platforms."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from docker.errors import NotFound

from harness import agent, bytecode, engine, extensions, tools
from harness import cells as cells_module
from harness.containers import Containers
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell
from harness.platforms import Platform
from harness.prepared import Prepared, PreparedExtension, extension_key
from harness.question import Question
from tests.integration.conftest import installed, leftovers

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
    fresh: bool = False,
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
        with Containers(pool._client, f"{prepared.run}-{name}", prepared.owner) as own:
            own.plan([cell], mine)
            return cells_module.observe(cell, mine, own, fresh=fresh)


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])
@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("name", MODULES)
def test_each_end_of_an_import_has_its_outcome(
    name: str,
    platform: Platform,
    fresh: bool,
    modules: Path,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
) -> None:
    """A module cannot pass for importing by ending early, printing a report or hanging."""
    timeout = 5 if name == "hangs" else 60
    outcome = observe(
        name, platform, modules / name, cells, prepared, pool, timeout=timeout, fresh=fresh
    )
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
    ask = {"tree": "/opt/extensions/nothing", "module": "x", "remedy": "none"}
    question = Question(environment=cells[0].environment.id, ask=ask, limit=60)
    outcome = cells_module.interpret(pool.ask(question), cells[0])
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
    with Containers(pool._client, f"{prepared.run}-swapped", prepared.owner) as own:
        own.plan([foreign], swapped)
        outcome = cells_module.observe(foreign, swapped, own)
    assert outcome.reason is Reason.UNTESTABLE
    assert "x86_64" in outcome.message or "amd64" in outcome.message


def test_a_container_has_no_network_and_samples_have_no_capabilities(
    cells: tuple[Cell, ...], pool: Containers
) -> None:
    """Strangers' code runs in there."""
    container = pool.container(cells[0].environment.id)
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert sorted(name.removeprefix("CAP_") for name in host["CapAdd"]) == [
        *("KILL", "SETGID", "SETUID")
    ]
    interfaces = container.exec_run("ls /sys/class/net").output.split()
    assert interfaces == [b"lo"]


@pytest.mark.parametrize("platform", Platform)
def test_a_container_ends_when_whoever_made_it_is_gone(
    platform: Platform, cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """Its agent's input ends then; nobody has to be alive to remove it."""
    cell = next(c for c in cells if c.environment.interpreter.platform is platform)
    with Containers(pool._client, f"{prepared.run}-{platform}-gone", prepared.owner) as own:
        own.plan([cell], prepared)
        container = own.container(cell.environment.id)
        container.reload()
        assert container.status == "running"
        (its,) = own._made
        its._stream.close()
        its._given.close()
        with contextlib.suppress(NotFound):  # it removes itself
            container.wait(timeout=30)
    assert leftovers(pool._client, f"{prepared.run}-{platform}-gone") == []


def test_a_container_ends_by_itself_when_nothing_runs_in_it(
    cells: tuple[Cell, ...], prepared: Prepared, pool: Containers
) -> None:
    """While something runs in it, it stays."""
    image = prepared.environments[cells[0].environment.id].image
    assert image is not None
    container = pool._client.containers.run(
        image.tag,
        agent.command(idle=5, lasting=600),
        detach=True,
        stdin_open=True,
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


@pytest.mark.parametrize("platform", Platform)
def test_an_interpreter_takes_the_bytecode_that_another_has_made(
    platform: Platform,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: Containers,
    project_matrix: Matrix,
    project_lock: Lock,
) -> None:
    """One that runs natively compiles for all; nobody looks whether sources have changed."""
    environments = {c.environment.interpreter.platform: c.environment for c in cells}
    image = prepared.environments[environments[Platform.X86_64].id].image
    assert image is not None
    tree = bytecode.added(
        installed("python-mscl", platform, project_matrix, project_lock),
        "3.13",
        image.tag,
        Platform.X86_64,
        pool._client,
        run=prepared.run,
        owner=prepared.owner,
    )
    compiled = (tree / "site/python_mscl/__pycache__/mscl.cpython-313.pyc").read_bytes()
    code = "import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())"
    container = pool.container(environments[platform].id)
    said = container.exec_run(["/opt/venv/bin/python", "-I", "-c", code]).output.decode().strip()
    assert compiled[:4].hex() == said
    assert int.from_bytes(compiled[4:8], "little") == 0b01, "not by hash, or looked at each time"
