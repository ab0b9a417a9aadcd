"""Samples with a pyproject.toml: how they are read, named in the cache, and refused."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from harness import builder, buildsystem, cache, engine, extensions, locking, matrix, sdk
from harness.builder import Builder, Ended
from harness.errors import ConfigurationError, DiskFullError, HarnessError, LockError, ToolError
from harness.images import Images
from harness.lock import Lock, LockedUv, LockedWheel
from harness.platforms import Platform
from tests.unit.tiny_elf import TinyElf

SAMPLES = Path(__file__).parents[2] / "cases" / "extensions"
OWN = sorted(path.parent for path in SAMPLES.glob("*/pyproject.toml"))

GOOD = """\
[build-system]
requires = ["setuptools==84.2.1"]
build-backend = "setuptools.build_meta"
"""


def written(folder: Path, content: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    (folder / "pyproject.toml").write_bytes(data)
    return folder


# Reading pyproject.toml


def test_build_requirements_and_back_end_are_read(tmp_path: Path) -> None:
    system = buildsystem.read(written(tmp_path, GOOD))
    assert system.requires == ("setuptools==84.2.1",)
    assert system.build_backend == "setuptools.build_meta"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", ":1: not UTF-8 text"),
        ("[build-system", ":1: not valid TOML: "),
        (f"x = {'[' * 5000}", ":1: not valid TOML: nested too deeply"),
        ("", "has no table [build-system]"),
        ("build-system = 3", "build-system: "),
        ("[build-system]\nbuild-backend = 'x'", "build-system.requires: is missing"),
        ("[build-system]\nrequires = ['x==1']", "build-system.build-backend: is missing"),
        (GOOD.replace('["setuptools==84.2.1"]', "[]"), "build-system.requires: "),
        (GOOD.replace('["setuptools==84.2.1"]', '"setuptools==84.2.1"'), "build-system.requires: "),
        (GOOD.replace('"setuptools==84.2.1"', "84"), "build-system.requires.0: "),
        (GOOD.replace("==84.2.1", ""), "'setuptools' must pin one version"),
        (GOOD.replace("==84.2.1", ">=77"), "must pin one version"),
        (GOOD.replace("==84.2.1", "==84.*"), "must pin one version"),
        (GOOD.replace("==84.2.1", " @ https://example.org/x.whl"), "must pin one version"),
        (GOOD.replace("==84.2.1", "==84.2.1; python_version < '3.9'"), "depend on a marker"),
        (GOOD.replace("setuptools==84.2.1", "--index-url x"), "is not a requirement"),
        (GOOD.replace("setuptools.build_meta", "x; rm -rf /"), "build-system.build-backend: "),
        (GOOD.replace('"setuptools.build_meta"', "1"), "build-system.build-backend: "),
    ],
)
def test_a_broken_pyproject_is_an_error_that_names_file_and_mistake(
    content: str | bytes, problem: str, tmp_path: Path
) -> None:
    """Whatever is in there: never a traceback."""
    folder = written(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        buildsystem.read(folder)
    assert str(folder / "pyproject.toml") in caught.value.problem
    assert problem in caught.value.problem
    assert "cases/extensions" in caught.value.advice


def test_a_folder_without_one_or_with_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        buildsystem.read(tmp_path)
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        buildsystem.read(tmp_path)


@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_every_sample_of_the_project_pins_what_builds_it_and_says_what_it_stands_for(
    folder: Path,
) -> None:
    assert buildsystem.read(folder).requires
    first = (folder / "pyproject.toml").read_text().splitlines()[0]
    assert first.startswith(("# The right way. Stands for", "# Right", "# Wrong. Stands for"))


def test_a_sample_is_found_beside_the_matrix_file_and_then_in_the_project(tmp_path: Path) -> None:
    own = "cases/extensions/setuptools-plain"
    assert extensions.find_source(own, tmp_path) == SAMPLES / "setuptools-plain"
    mine = written(tmp_path / "mine", GOOD)
    assert extensions.find_source("mine", tmp_path) == mine
    assert extensions.is_project(mine)
    with pytest.raises(ConfigurationError, match="there is no nowhere, neither beside"):
        extensions.find_source("nowhere", tmp_path)


def test_a_folder_with_an_extension_yaml_is_built_by_that(tmp_path: Path) -> None:
    """Its pyproject.toml is for something else, such as a linter."""
    mine = written(tmp_path / "mine", GOOD)
    (mine / "extension.yaml").write_text("build: []\n")
    assert not extensions.is_project(extensions.find_source("mine", tmp_path))


def test_a_folder_with_neither_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"neither an extension.yaml nor a pyproject.toml"):
        extensions.find_source("empty", tmp_path)


# Locking


def small_matrix(**extensions: dict[str, str]) -> matrix.Matrix:
    return matrix.Matrix.model_validate(
        {
            "version": "1",
            "uv": ["0.7.6"],
            "python": ["3.13"],
            "platforms": ["x86_64"],
            "bases": {"debian13": {"suite": "trixie"}},
            "extensions": extensions,
            "profiles": {"default": {}},
        }
    )


def test_build_requirements_are_locked_for_machines_of_every_kind(tmp_path: Path) -> None:
    """Samples are built by programs of the machine's platform, whatever they are built for."""
    written(tmp_path / "mine", GOOD)
    made = small_matrix(
        fromindex={"requirement": "x==1", "imports": "x"},
        mine={"source": "mine", "imports": "mine"},
        again={"source": "mine", "imports": "mine"},
        compiled={"source": "cases/extensions/no-libpython", "imports": "no_libpython"},
    )
    assert locking.requirements(made, made.platforms, tmp_path) == (
        ("x==1", Platform.X86_64),
        ("setuptools==84.2.1", Platform.X86_64),
        ("setuptools==84.2.1", Platform.AARCH64),
    )


# What a wheel in the cache is named by

SETUPTOOLS = LockedWheel(filename="setuptools-84.2.1-py3-none-any.whl", sha256="a" * 64)
UV = LockedWheel(filename="uv-0.7.6-py3-none-any.whl", sha256="b" * 64)
OTHER = LockedWheel(filename="uv-0.7.9-py3-none-any.whl", sha256="c" * 64)


def lock(*, wheel: LockedWheel = SETUPTOOLS, uv: dict[str, LockedWheel] | None = None) -> Lock:
    return Lock(
        uv={
            version: LockedUv(wheels=dict.fromkeys(Platform, locked), defaults={})
            for version, locked in (uv or {"0.7.6": UV}).items()
        },
        wheels={"setuptools==84.2.1": {"3.13": dict.fromkeys(Platform, (wheel,))}},
    )


def elf(platform: Platform) -> bytes:
    """A shared object for a platform, with nothing in it."""
    return TinyElf(machine=platform.architecture.machine).build()


def packed(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wheel_for(platform: Platform, machine: Platform | None = None) -> tuple[str, bytes]:
    file = f"mine.cpython-313-{platform.triplet}.so"
    name = f"mine-1.0-cp313-cp313-linux_{platform}.whl"
    return name, packed(**{file: elf(machine or platform)})


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Platform]:
    """The platforms that were built for, in a cache of its own, with a back end of its own."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    made: list[Platform] = []

    def build(self: Builder, folder: Path, *arguments: Any) -> Ended:
        platform = arguments[3]
        made.append(platform)
        name, data = wheel_for(platform)
        return Ended(exit_code=0, timed_out=False, oom_killed=False, said="", wheels={name: data})

    monkeypatch.setattr(Builder, "_build", build)
    monkeypatch.setattr(engine, "platform", lambda client: Platform.host())
    return made


def made_by(locked: Lock) -> Callable[..., Path]:
    nothing = cast(docker.DockerClient, object())
    return Builder(Images(nothing), locked, run="run", owner="owner").wheel


def test_the_same_inputs_are_built_once(builds: list[Platform], tmp_path: Path) -> None:
    """Another process, or another uv in the matrix, finds the wheel that is there."""
    folder = written(tmp_path / "mine", GOOD)
    first = made_by(lock())("mine", folder, "3.13", Platform.AARCH64)
    with_another_uv = lock(uv={"0.7.6": UV, "0.7.9": OTHER})
    assert made_by(with_another_uv)("mine", folder, "3.13", Platform.AARCH64) == first
    assert first.name == "mine-1.0-cp313-cp313-linux_aarch64.whl"
    assert builds == [Platform.AARCH64]


def changed_source(folder: Path) -> None:
    (folder / "module.c").write_text("int y;")


def new_name(folder: Path) -> None:
    (folder / "module.c").rename(folder / "other.c")


def made_a_program(folder: Path) -> None:
    (folder / "module.c").chmod(0o755)


def linked_instead(folder: Path) -> None:
    (folder / "module.c").unlink()
    (folder / "module.c").symlink_to("int x;")


def new_pyproject(folder: Path) -> None:
    written(folder, GOOD + "# another thought\n")


@pytest.mark.parametrize(
    "change", [changed_source, new_name, made_a_program, linked_instead, new_pyproject]
)
def test_a_changed_folder_is_built_again(
    change: Callable[[Path], None], builds: list[Platform], tmp_path: Path
) -> None:
    folder = written(tmp_path / "mine", GOOD)
    (folder / "module.c").write_text("int x;")
    first = made_by(lock())("mine", folder, "3.13", Platform.X86_64)
    change(folder)
    assert made_by(lock())("mine", folder, "3.13", Platform.X86_64) != first
    assert len(builds) == 2


def test_other_build_wheels_another_uv_and_another_platform_are_built_again(
    builds: list[Platform], tmp_path: Path
) -> None:
    folder = written(tmp_path / "mine", GOOD)
    newer = SETUPTOOLS.model_copy(update={"sha256": "d" * 64})
    found = {
        made_by(locked)(name, folder, "3.13", platform)
        for locked, name, platform in (
            (lock(), "mine", Platform.X86_64),
            (lock(), "mine", Platform.AARCH64),
            (lock(), "other", Platform.X86_64),
            (lock(wheel=newer), "mine", Platform.X86_64),
            (lock(uv={"0.7.9": OTHER}), "mine", Platform.X86_64),
        )
    }
    assert len(found) == len(builds) == 5


def test_a_changed_recipe_of_the_image_builds_all_again(
    builds: list[Platform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "mine", GOOD)
    first = made_by(lock())("mine", folder, "3.13", Platform.X86_64)
    texts = builder.recipe_texts()
    assert {"builder/Dockerfile", "builder/build.sh", "builder-rust/Dockerfile"} <= set(texts)
    monkeypatch.setattr(builder, "recipe_texts", lambda: {**texts, "builder/build.sh": ""})
    assert made_by(lock())("mine", folder, "3.13", Platform.X86_64) != first


def test_what_an_earlier_build_left_in_the_folder_does_not_count(tmp_path: Path) -> None:
    """A stale build would be packed as if it were the new one."""
    folder = written(tmp_path / "mine", GOOD)
    (folder / "src" / "build").mkdir(parents=True)
    (folder / "src" / "build" / "kept.c").touch()
    before = builder.folder_content(folder)
    for left in ("build/lib/mine.so", "mine.egg-info/PKG-INFO", "src/__pycache__/x.pyc", "dist/x"):
        (folder / left).parent.mkdir(parents=True)
        (folder / left).touch()
    assert builder.folder_content(folder) == before
    assert sorted(before) == ["pyproject.toml", "src/build/kept.c"]


def test_what_is_no_file_in_a_folder_is_refused(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever."""
    folder = written(tmp_path / "mine", GOOD)
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigurationError, match="pipe is neither a file nor"):
        builder.folder_content(folder)


def test_a_build_requirement_that_is_not_locked_says_how_to_lock_it(
    builds: list[Platform], tmp_path: Path
) -> None:
    folder = written(tmp_path / "mine", GOOD.replace("84.2.1", "84.2.0"))
    with pytest.raises(LockError) as caught:
        made_by(lock())("mine", folder, "3.13", Platform.X86_64)
    assert "setuptools==84.2.0" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice
    assert not builds


def test_an_engine_of_another_kind_is_told_so(
    builds: list[Platform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "platform", lambda client: None)
    folder = written(tmp_path / "mine", GOOD)
    with pytest.raises(ToolError, match="cannot be built on the engine's architecture"):
        made_by(lock())("mine", folder, "3.13", Platform.X86_64)


@pytest.mark.parametrize("host", Platform)
def test_a_host_of_either_kind_gets_the_compilers_for_the_other(host: Platform) -> None:
    cross = {Platform.X86_64: "aarch64-linux-gnu", Platform.AARCH64: "x86-64-linux-gnu"}[host]
    packages = builder.packages(host)
    assert {"gcc", "g++", f"gcc-{cross}", f"g++-{cross}"} <= set(packages)


def test_only_a_sample_in_rust_gets_the_rust_tool_chain(tmp_path: Path) -> None:
    system = buildsystem.read(written(tmp_path, GOOD))
    assert not builder.uses_rust(system)
    for requirement in ("maturin==1.16.0", "Setuptools_Rust==1.12.0"):
        rust = system.model_copy(update={"requires": (*system.requires, requirement)})
        assert builder.uses_rust(rust)


# How a build ended


def ended(**changes: Any) -> Ended:
    values = {"exit_code": 0, "timed_out": False, "oom_killed": False, "said": "", "wheels": {}}
    return Ended(**{**values, **changes})


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"exit_code": 2, "said": "module.c:1: error"}, "ended with 2:\nmodule.c:1: error"),
        ({"exit_code": 137, "timed_out": True}, "did not end within 600 s"),
        ({"exit_code": 1, "oom_killed": True}, "ran out of its 2GiB of memory"),
        ({"said": "all is well"}, "made not one wheel, but none; at last it said:\nall is well"),
        ({"wheels": {"b.whl": b"", "a.whl": b""}}, "made not one wheel, but a.whl, b.whl"),
    ],
)
def test_a_build_without_a_wheel_says_what_happened_and_where(
    how: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolError) as caught:
        builder.only_wheel(ended(**how), "building mine for aarch64", tmp_path)
    assert caught.value.problem.startswith("building mine for aarch64: ")
    assert problem in caught.value.problem


def test_only_the_end_of_a_long_output_is_told(tmp_path: Path) -> None:
    said = "\n".join(f"line {number}" for number in range(1000))
    with pytest.raises(ToolError) as caught:
        builder.only_wheel(ended(exit_code=1, said=said), "building", tmp_path)
    assert "line 999" in caught.value.problem
    assert "line 984" not in caught.value.problem


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    said = "as: module.o: No space left on device"
    with pytest.raises(DiskFullError):
        builder.only_wheel(ended(exit_code=1, said=said), "building", tmp_path)


def test_the_one_wheel_is_handed_on(tmp_path: Path) -> None:
    assert builder.only_wheel(ended(wheels={"a.whl": b"x"}), "", tmp_path) == ("a.whl", b"x")


# Whether a wheel is what was asked for


@pytest.mark.parametrize("platform", Platform)
def test_a_wheel_of_the_right_platform_is_taken(platform: Platform) -> None:
    builder.check_wheel(*wheel_for(platform), "3.13", platform, "building")


def refusal(name: str, data: bytes) -> HarnessError:
    with pytest.raises(ToolError) as caught:
        builder.check_wheel(name, data, "3.13", Platform.AARCH64, "building mine for aarch64")
    assert name in caught.value.problem
    return caught.value


def test_a_wheel_with_another_architecture_inside_is_refused() -> None:
    """However right its name is: a back end that missed that it was to cross."""
    error = refusal(*wheel_for(Platform.AARCH64, machine=Platform.X86_64))
    assert "is for x86_64 instead of aarch64" in error.problem
    assert "CC" in error.advice


def test_a_helper_library_of_another_architecture_is_refused_too() -> None:
    name, _ = wheel_for(Platform.AARCH64)
    module = f"mine.cpython-313-{Platform.AARCH64.triplet}.so"
    files = {module: elf(Platform.AARCH64), "libs/helper.so.1": elf(Platform.X86_64)}
    assert "holds libs/helper.so.1, which is for x86_64" in refusal(name, packed(**files)).problem


def test_a_wheel_named_for_another_platform_is_refused() -> None:
    assert "is for linux_x86_64 instead of aarch64" in refusal(*wheel_for(Platform.X86_64)).problem


def test_a_module_named_for_another_platform_is_refused() -> None:
    """CPython would not find it, and the import would fail for another reason."""
    name, _ = wheel_for(Platform.AARCH64)
    module = f"mine.cpython-313-{Platform.X86_64.triplet}.so"
    error = refusal(name, packed(**{module: elf(Platform.AARCH64)}))
    assert "does not look for" in error.problem


def test_a_wheel_without_an_extension_module_is_refused() -> None:
    """Its import would say nothing about linking."""
    error = refusal("mine-1.0-py3-none-any.whl", packed(**{"mine.py": b""}))
    assert "holds no extension module for CPython 3.13" in error.problem


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04 and then nothing", packed(**{"mine.so": b"\x7fELF"})],
    ids=["empty", "truncated", "truncated module"],
)
def test_a_damaged_wheel_is_refused(data: bytes) -> None:
    assert "is damaged" in refusal("mine-1.0-cp313-cp313-linux_aarch64.whl", data).problem


def test_a_file_that_is_not_named_like_a_wheel_is_refused() -> None:
    assert "is not named like a wheel" in refusal("mine.whl", b"").problem


# What a build is told about CPython


def test_sysconfig_data_points_into_the_image_and_keeps_the_rest() -> None:
    """Debian's paths do not exist there; its compilers' names are right."""
    text = (
        "# written by CPython's build\nbuild_time_vars = {'INCLUDEPY': '/usr/include/python3.13', "
        "'CC': 'aarch64-linux-gnu-gcc', 'LIBDIR': '/usr/lib'}\n"
    )
    namespace: dict[str, dict[str, str]] = {}
    exec(sdk.sysconfig_data(text, "3.13", Platform.AARCH64), namespace)
    values = namespace["build_time_vars"]
    assert values["CC"] == "aarch64-linux-gnu-gcc"
    assert values["INCLUDEPY"] == "/opt/sdk/aarch64/include/python3.13"
    assert values["LIBDIR"] == "/opt/sdk/aarch64/lib"
    assert values["installed_base"] == "/opt/sdk/aarch64"


def test_only_embedding_is_given_libpython_by_pkg_config() -> None:
    files = sdk.pkgconfig_files("3.13", Platform.AARCH64)
    assert "-lpython" not in files["python-3.13.pc"]
    assert "Libs: -L${libdir} -lpython3.13\n" in files["python-3.13-embed.pc"]


# The documentation


def test_the_lines_in_the_documentation_are_really_those_of_the_samples() -> None:
    """A line that was never built is advice that nobody has checked."""
    text = (SAMPLES.parents[1] / "docs" / "building.md").read_text()
    recipes = text[text.index("## The lines") : text.index("## Check a wheel")]
    found = set()
    source: Path | None = None
    for part in re.finditer(r"\(\.\./cases/extensions/([^)]+)\)|```\w+\n(.*?)```", recipes, re.S):
        if part[1]:
            source = SAMPLES / part[1]
            continue
        assert source is not None
        assert part[2] in source.read_text(), f"not in {source}: {part[2]}"
        found.add(source.parent)
    assert sorted(found) == OWN
