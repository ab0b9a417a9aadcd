"""Published interpreters as data are what python-build-standalone and uv say they are."""

from __future__ import annotations

import pytest

from harness import lock, releases
from harness.check import builds
from harness.check.builds import Build, Libc, Machine, Python, Span
from harness.loader.objects import AARCH64, X86_64, Architecture, Object
from harness.loader.process import System, Variables
from harness.releases import LinkModel
from tests.doc_tables import PROJECT

GLIBC, MUSL = Machine(X86_64), Machine(X86_64, Libc.MUSL)


def program(model: LinkModel, machine: Machine = GLIBC) -> Object:
    build = Build(python=Python(13), machine=machine, link_model=model)
    found = builds.files(build).files[build.program]
    assert isinstance(found, Object)
    return found


def test_each_link_model_of_glibc_has_the_dynamic_section_that_upstream_gives_it() -> None:
    assert program(LinkModel.SHARED).needed[0] == "$ORIGIN/../lib/libpython3.13.so.1.0"
    for model in (LinkModel.STATIC, LinkModel.STATIC_RUNPATH, LinkModel.STATIC_RPATH):
        assert not any("libpython" in name for name in program(model).needed)
    assert program(LinkModel.STATIC_RUNPATH).runpath == "$ORIGIN/../lib"
    assert program(LinkModel.STATIC_RPATH).rpath == "$ORIGIN/../lib"
    assert program(LinkModel.STATIC).rpath is program(LinkModel.STATIC).runpath is None


def test_on_musl_a_search_path_stands_for_origin_in_needed() -> None:
    """musl does not replace $ORIGIN there."""
    shared = program(LinkModel.SHARED, MUSL)
    assert shared.needed[0] == "libpython3.13.so.1.0"
    assert shared.runpath == "$ORIGIN/../lib"


@pytest.mark.parametrize("machine", [GLIBC, MUSL], ids=str)
@pytest.mark.parametrize("model", LinkModel)
@pytest.mark.parametrize("python", [Python(8), Python(13, "t"), Python(13, "d")], ids=str)
def test_every_interpreter_starts(machine: Machine, model: LinkModel, python: Python) -> None:
    """All that it needs, but for the C library, is among its files."""
    build = Build(python=python, machine=machine, link_model=model)
    files = builds.files(build)
    libc = {"/lib/libc.so.6": Object(architecture=X86_64)}
    system = System(files=type(files)(files=libc) | files, directories=("/lib",))
    answer = machine.libc.loader.start(build.program, system, Variables())
    assert answer.failure is None


@pytest.mark.parametrize(
    ("text", "libpython"),
    [
        ("3.13", "libpython3.13.so.1.0"),
        ("cp313t", "libpython3.13t.so.1.0"),
        ("313d", "libpython3.13d.so.1.0"),
        ("cp313td", "libpython3.13td.so.1.0"),
    ],
)
def test_libpython_is_named_with_its_flags(text: str, libpython: str) -> None:
    python = Python.parse(text)
    assert python is not None
    assert python.libpython == libpython


@pytest.mark.parametrize("text", ["", "3", "abi3", "cp37m", "pp310", "313x", "4.1"])
def test_what_is_no_cpython_is_none(text: str) -> None:
    assert Python.parse(text) is None


def test_debug_builds_have_no_stable_libpython() -> None:
    build = Build(python=Python(13, "d"), machine=GLIBC, link_model=LinkModel.STATIC)
    assert f"{builds.HOME}/lib/libpython3.so" not in builds.files(build).files


def test_uv_0_7_8_went_back_on_x86_64_alone() -> None:
    """Its aarch64 build of CPython 3.13 stayed what it was; that of 3.14 did not."""
    aarch64 = Machine(AARCH64)
    assert builds.uv_with(Python(13), GLIBC, "0.7.8") == "20250409"
    assert builds.uv_with(Python(13), aarch64, "0.7.8") == "20250521"
    assert builds.uv_with(Python(14), aarch64, "0.7.8") == "20250409"


def test_eras_have_the_uv_versions_of_each_machine() -> None:
    eras = {era.link_model: era for era in builds.eras(Python(13), GLIBC)}
    assert list(eras) == list(LinkModel)
    assert eras[LinkModel.SHARED].uv == (Span(None, "0.7.5"), Span("0.7.8", "0.7.8"))
    assert eras[LinkModel.STATIC].uv == (Span("0.7.6", "0.7.6"),)
    assert eras[LinkModel.STATIC_RPATH].uv == (Span("0.7.9", None),)
    assert eras[LinkModel.SHARED].releases == Span(None, "20250409")
    assert eras[LinkModel.STATIC_RPATH].releases == Span("20250529", None)
    arm = {era.link_model: era for era in builds.eras(Python(13), Machine(AARCH64))}
    assert arm[LinkModel.STATIC_RUNPATH].uv == (Span("0.7.7", "0.7.8"),)


def test_a_cpython_that_ended_early_never_came_with_a_static_libpython() -> None:
    """CPython 3.8's last builds are of October 2024."""
    assert [era.link_model for era in builds.eras(Python(8), GLIBC)] == [LinkModel.SHARED]
    assert LinkModel.SHARED not in [era.link_model for era in builds.eras(Python(15), GLIBC)]


def test_of_an_unknown_machine_every_link_model_is_told_and_no_uv() -> None:
    unknown = Machine(Architecture(258, 64))
    assert not builds.is_known(unknown)
    eras = builds.eras(Python(13), unknown)
    assert [era.link_model for era in eras] == list(LinkModel)
    assert not any(era.uv for era in eras)


def test_musl_has_no_build_without_a_search_path() -> None:
    assert builds.model_of("20250517", Libc.MUSL) is LinkModel.STATIC_RUNPATH
    assert builds.model_of("20250409", Libc.MUSL) is LinkModel.SHARED
    assert builds.model_of("20241016", Libc.MUSL) is None
    first = builds.eras(Python(13), MUSL)[0]
    assert first.releases == Span("20250311", "20250409")


def test_the_table_and_matrix_lock_say_the_same_of_each_uv() -> None:
    """Both are what uv itself says; the link model is what counts, and all that the table keeps."""
    locked = lock.load(PROJECT / "matrix.lock")
    compared = 0
    for uv, entry in locked.uv.items():
        for python, defaults in entry.defaults.items():
            for platform, default in defaults.items():
                machine = Machine.of_cpu(platform)
                one = Python.parse(python)
                assert machine is not None
                assert one is not None
                release = builds.uv_with(one, machine, uv)
                assert release is not None
                assert releases.link_model(release) is releases.link_model(default.release)
                compared += 1
    assert compared >= 12


def test_every_row_of_the_table_is_of_a_uv_that_was_asked() -> None:
    versions = builds.uv_versions()
    assert list(versions) == sorted(versions, key=builds.version_key)
    text = (PROJECT / "harness" / "data" / "uv_releases.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")][1:]
    assert len(rows) > 100
    assert {uv for _, _, uv, _ in rows} <= set(versions)
    assert all(
        release == "-" or release in releases.commit_dates() or release > "20260814"
        for *_, release in rows
    )
