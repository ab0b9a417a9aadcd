"""What is made on the host from real input, without an engine: uv, replicas, samples."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from harness import archives, cache, extensions, replica, uvbinary
from harness.errors import LockError
from harness.lock import Lock
from harness.matrix import Matrix
from harness.platforms import Platform
from harness.releases import LinkModel
from tests.integration.conftest import PROJECT, installed


def dynamic(path: Path) -> dict[str, list[str]]:
    """DT_NEEDED, DT_RPATH, DT_RUNPATH and DT_SONAME of an ELF file."""
    tags: dict[str, list[str]] = {"NEEDED": [], "RPATH": [], "RUNPATH": [], "SONAME": []}
    with path.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        for tag in section.iter_tags():
            name = tag.entry.d_tag.removeprefix("DT_")
            if name in tags:
                tags[name].append(getattr(tag, name.lower()))
    return tags


def test_a_lock_that_disagrees_with_the_uv_program_is_refused(project_lock: Lock) -> None:
    """What matrix.lock says is asked again in every run."""
    uvbinary.verify(project_lock, "0.7.8", "3.13", Platform.AARCH64)
    locked = project_lock.uv["0.7.8"]
    by_platform = dict(locked.defaults["3.13"])
    by_platform[Platform.AARCH64] = by_platform[Platform.X86_64]
    changed = locked.model_copy(update={"defaults": {"3.13": by_platform}})
    lying = project_lock.model_copy(update={"uv": {**project_lock.uv, "0.7.8": changed}})
    with pytest.raises(LockError, match=r"20250409 on aarch64, but that uv says .* 20250521"):
        uvbinary.verify(lying, "0.7.8", "3.13", Platform.AARCH64)


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("link_model", LinkModel)
def test_a_replica_is_laid_out_and_linked_as_its_model_says(
    link_model: LinkModel, platform: Platform, tmp_path: Path
) -> None:
    made = replica.provide("3.13", platform, link_model)
    assert "replica" in made.path.name
    with tarfile.open(made.path) as tar:
        names = set(tar.getnames())
    archives.extract(made.path, tmp_path)
    for name in ("bin/python3.13", "bin/python3", "lib/libpython3.13.so.1.0", "lib/libpython3.so"):
        assert f"python/{name}" in names
    assert "python/include/python3.13/Python.h" in names
    assert "python/lib/python3.13/os.py" in names
    interpreter = tmp_path / "python/bin/python3.13"
    with interpreter.open("rb") as stream:
        machine = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}[platform]
        assert ELFFile(stream).header.e_machine == machine
    found = dynamic(interpreter)
    shared = ["$ORIGIN/../lib/libpython3.13.so.1.0"]
    assert [n for n in found["NEEDED"] if "libpython" in n] == (
        shared if link_model is LinkModel.SHARED else []
    )
    path = ["$ORIGIN/../lib"]
    assert found["RUNPATH"] == (path if link_model is LinkModel.STATIC_RUNPATH else [])
    assert found["RPATH"] == (path if link_model is LinkModel.STATIC_RPATH else [])
    assert dynamic(tmp_path / "python/lib/libpython3.so")["NEEDED"] == shared
    ctypes = f"python/lib/python3.13/lib-dynload/_ctypes.cpython-313-{platform.triplet}.so"
    runpath = dynamic(tmp_path / ctypes)["RUNPATH"]
    assert runpath == (["$ORIGIN/../.."] if link_model is LinkModel.STATIC_RUNPATH else [])


def test_a_replica_has_the_same_bytes_whoever_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again in an empty cache, from the packages on."""
    first = replica.provide("3.13", Platform.AARCH64, LinkModel.SHARED)
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))
    second = replica.provide("3.13", Platform.AARCH64, LinkModel.SHARED)
    assert second.path != first.path
    assert second.sha256 == first.sha256


LIBPYTHON = "libpython3.13.so.1.0"
SAMPLES: dict[str, dict[str, tuple[list[str], list[str], list[str]]]] = {
    # file in each sample: libraries needed (the C library aside), RPATH, RUNPATH
    "no-libpython": {"no_libpython{suffix}": ([], [], [])},
    "libpython-needed": {"libpython_needed{suffix}": ([LIBPYTHON], [], [])},
    "libpython-needed-runpath": {
        "libpython_needed_runpath{suffix}": ([LIBPYTHON], [], ["$ORIGIN/libs"])
    },
    "libpython-needed-rpath": {
        "libpython_needed_rpath{suffix}": ([LIBPYTHON], ["$ORIGIN/libs"], [])
    },
    "ucxx-shaped": {
        "ucxx_shaped/core{suffix}": (["libucxx_shaped_python.so"], [], ["$ORIGIN/lib64"]),
        "ucxx_shaped/lib64/libucxx_shaped_python.so": ([LIBPYTHON], [], ["$ORIGIN"]),
    },
    "runpath-plain-helper": {
        "runpath_plain_helper{suffix}": (["librunpath_plain_helper.so"], [], ["$ORIGIN"]),
        "librunpath_plain_helper.so": ([LIBPYTHON], [], []),
    },
    "abi3-libpython3": {"abi3_libpython3.abi3.so": (["libpython3.so"], [], [])},
    "deepbind-plugin": {
        "deepbind_plugin{suffix}": ([], [], []),
        "libdeepbind_plugin.so": ([LIBPYTHON], [], []),
    },
}


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_dynamic_section_of_a_sample_is_what_its_name_says(
    name: str,
    platform: Platform,
    project_matrix: Matrix,
    project_lock: Lock,
) -> None:
    """Read from the built ELF, so that a change of the compiler cannot empty a test."""
    site = installed(name, platform, project_matrix, project_lock) / "site"
    files = {p.relative_to(site).as_posix() for p in site.rglob("*.so")}
    suffix = f".cpython-313-{platform.triplet}.so"
    expected = {file.replace("{suffix}", suffix): tags for file, tags in SAMPLES[name].items()}
    assert files == set(expected)
    for file, (needed, rpath, runpath) in expected.items():
        found = dynamic(site / file)
        assert [n for n in found["NEEDED"] if not n.startswith(("libc.", "libdl."))] == needed, file
        assert (found["RPATH"], found["RUNPATH"]) == (rpath, runpath), file


def test_every_sample_of_the_matrix_is_checked(project_matrix: Matrix) -> None:
    """Here, so that a new one cannot be forgotten; those of a build back end in test_building."""
    recipes = {
        name
        for name, extension in project_matrix.extensions.items()
        if extension.source and (PROJECT / extension.source / extensions.RECIPE_FILE).is_file()
    }
    assert set(SAMPLES) == recipes


@pytest.mark.parametrize("platform", Platform)
def test_python_mscl_needs_libpython_and_has_no_search_path(
    platform: Platform, project_matrix: Matrix, project_lock: Lock
) -> None:
    """The real wheel, pinned by hash: what makes it the sample of issue 619."""
    site = installed("python-mscl", platform, project_matrix, project_lock) / "site"
    found = dynamic(site / "python_mscl" / "_mscl.so")
    assert LIBPYTHON in found["NEEDED"]
    assert found["RPATH"] == found["RUNPATH"] == []
