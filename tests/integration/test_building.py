"""Every sample with a pyproject.toml, built by its own back end for both platforms."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from harness import builder as builder_module
from harness import containers, owner, tools
from harness.builder import Builder
from harness.errors import ToolError
from harness.images import Images
from harness.lock import Lock
from harness.outcome import Reason
from harness.plan import Cell
from harness.platforms import Platform
from harness.prepared import Prepared
from tests.integration.conftest import PROJECT, leftovers
from tests.integration.test_outcomes import observe

pytestmark = pytest.mark.engine

PYTHON = "3.13"
LIBPYTHON = f"libpython{PYTHON}.so.1.0"
SAMPLES = PROJECT / "cases" / "extensions"

RIGHT = (
    "setuptools-plain",
    "cython-plain",
    "cmake-module",
    "cmake-include-dirs",
    "meson-extension-module",
    "pybind11-module",
    "nanobind-module",
    "pyo3-extension-module",
)

WRONG = (
    "setuptools-libraries",
    "cython-libraries",
    "cmake-python",
    "meson-embed",
    "pybind11-embed",
    "pyo3-linked",
)

RUNPATHS = {"meson-embed": "/opt/sdk/{platform}/lib"}
"""Search paths that a tool adds by itself. Meson: to a library outside the system's directories."""

SETUP = """\
[build-system]
requires = ["setuptools==84.2.1"]
build-backend = "setuptools.build_meta"

[project]
name = "mine"
version = "1.0"
"""

MODULE = """\
from setuptools import Extension, setup
setup(ext_modules=[Extension("mine", ["module.c"])])
"""

SOURCE = (SAMPLES / "setuptools-plain" / "module.c").read_text().replace("setuptools_plain", "mine")


@pytest.fixture(scope="session")
def run() -> str:
    return owner.new_run()


@pytest.fixture(scope="session")
def builder(client: docker.DockerClient, project_lock: Lock, run: str) -> Iterator[Builder]:
    yield Builder(Images(client), project_lock, run=run, owner=owner.this_process())
    assert not leftovers(client, run)


def sample(folder: Path, setup: str = MODULE, source: str = SOURCE) -> Path:
    """A project of one's own, in a folder of a test."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(SETUP)
    (folder / "setup.py").write_text(setup)
    (folder / "module.c").write_text(source)
    return folder


def dynamic(wheel: Path) -> tuple[set[str], list[str]]:
    """What the one ELF file of a wheel needs, and its search paths of either kind."""
    with zipfile.ZipFile(wheel) as archive:
        (content,) = (
            data for data in map(archive.read, archive.namelist()) if data.startswith(b"\x7fELF")
        )
    section = ELFFile(io.BytesIO(content)).get_section_by_name(".dynamic")
    assert isinstance(section, DynamicSection)
    tags: list[Any] = list(section.iter_tags())
    needed = {tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"}
    paths = [tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"]
    paths += [tag.rpath for tag in tags if tag.entry.d_tag == "DT_RPATH"]
    return needed, paths


def test_every_sample_with_a_pyproject_is_asked_about_here() -> None:
    found = sorted(path.parent.name for path in SAMPLES.glob("*/pyproject.toml"))
    assert found == sorted((*RIGHT, *WRONG))


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("name", [*RIGHT, *WRONG])
def test_the_wrong_forms_need_libpython_and_the_right_ones_do_not(
    name: str, platform: Platform, builder: Builder
) -> None:
    """On both platforms, and without a stray path of the machine that built them."""
    wheel = builder.wheel(name, SAMPLES / name, PYTHON, platform)
    needed, paths = dynamic(wheel)
    assert (LIBPYTHON in needed) is (name in WRONG)
    assert not [n for n in needed if n.startswith("libpython") and n != LIBPYTHON]
    expected = RUNPATHS.get(name)
    assert paths == ([expected.format(platform=platform)] if expected else [])


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize(
    ("name", "reason"),
    [("cmake-module", Reason.IMPORTS), ("cmake-python", Reason.MISSING_LIBRARY)],
)
def test_what_a_back_end_made_goes_through_uv_and_is_imported(
    name: str,
    reason: Reason,
    platform: Platform,
    builder: Builder,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    pool: containers.Containers,
    tmp_path: Path,
) -> None:
    """In an environment whose interpreter is linked statically."""
    tools.run(
        [
            *(tools.find("uv", advice="pip install uv"), "pip", "install", "--quiet"),
            *("--no-config", "--no-cache", "--no-deps", "--no-index", "--offline"),
            *("--target", tmp_path / "tree", "--python-version", PYTHON),
            *("--python-platform", f"{platform}-manylinux_2_40"),
            builder.wheel(name, SAMPLES / name, PYTHON, platform),
        ],
        doing=f"unpacking {name}",
    )
    module = name.replace("-", "_")
    outcome = observe(module, platform, tmp_path / "tree", cells, prepared, pool)
    assert outcome.reason is reason, outcome


def test_a_wheel_that_is_there_needs_no_container(
    builder: Builder, client: docker.DockerClient, project_lock: Lock
) -> None:
    """The engine is asked what it is, since builders for another are others, and nothing else."""
    arguments = ("setuptools-plain", SAMPLES / "setuptools-plain", PYTHON, Platform.AARCH64)
    made = builder.wheel(*arguments)
    without = Images(cast(docker.DockerClient, SimpleNamespace(version=client.version)))
    assert Builder(without, project_lock, run="", owner="").wheel(*arguments) == made


def test_a_compile_error_is_told_with_its_line_and_leaves_no_container(
    builder: Builder, client: docker.DockerClient, run: str, tmp_path: Path
) -> None:
    folder = sample(tmp_path / "mine", source=f"{SOURCE}\nthis is no C;\n")
    with pytest.raises(ToolError) as caught:
        builder.wheel("mine", folder, PYTHON, Platform.AARCH64)
    assert "building mine for CPython 3.13 on aarch64" in caught.value.problem
    assert "unknown type name" in caught.value.problem
    assert "this is no C;" in caught.value.problem
    assert str(folder) in caught.value.advice
    assert not leftovers(client, run)


def test_a_back_end_that_ignores_what_it_builds_for_gives_no_wheel(
    builder: Builder, tmp_path: Path
) -> None:
    """Nothing but the file itself tells: the wheel's name, and the module's, are right."""
    setup = (
        "import os\n"
        "os.environ['CC'] = os.environ['LDSHARED'] = 'x86_64-linux-gnu-gcc'\n"
        f"os.environ['LDSHARED'] += ' -shared'\n{MODULE}"
    )
    folder = sample(tmp_path / "mine", setup=setup)
    with pytest.raises(ToolError, match="for x86_64 instead of aarch64"):
        builder.wheel("mine", folder, PYTHON, Platform.AARCH64)


def test_a_build_has_no_network_and_no_rights_and_cannot_flood(
    builder: Builder, tmp_path: Path
) -> None:
    """What is built here may be a stranger's."""
    setup = (
        "import os, sys\n"
        "for _ in range(100_000): print('x' * 100, file=sys.stderr)\n"
        "capabilities = open('/proc/self/status').read().split('CapEff:')[1].split()[0]\n"
        "raise SystemExit(f\"has {os.listdir('/sys/class/net')} {os.getuid()} {capabilities}\")\n"
    )
    with pytest.raises(ToolError) as caught:
        builder.wheel("mine", sample(tmp_path / "mine", setup=setup), PYTHON, Platform.X86_64)
    assert "has ['lo'] 65534 0000000000000000" in caught.value.problem
    assert len(caught.value.problem) < 10_000


def test_a_build_that_takes_all_memory_is_told_so(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not taken for a broken compiler."""
    monkeypatch.setattr(builder_module, "MEMORY", "200m")
    setup = "x = []\nwhile True: x.append(bytearray(16 << 20))\n"
    with pytest.raises(ToolError, match="ran out of its 200m of memory"):
        builder.wheel("mine", sample(tmp_path / "mine", setup=setup), PYTHON, Platform.X86_64)


def test_a_build_that_does_not_end_is_ended(
    builder: Builder,
    client: docker.DockerClient,
    run: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where it takes no notice of signals, and has children that hold on to its output."""
    setup = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('now I wait', flush=True)\n"
        "if os.fork() == 0: os.setsid()\n"
        "time.sleep(3600)\n"
    )
    monkeypatch.setattr(builder_module, "LIMIT", 15)
    monkeypatch.setattr(builder_module, "GRACE", 5)
    with pytest.raises(ToolError, match="did not end within 15 s"):
        builder.wheel("mine", sample(tmp_path / "mine", setup=setup), PYTHON, Platform.X86_64)
    assert not leftovers(client, run)
