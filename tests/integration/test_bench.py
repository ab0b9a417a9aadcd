"""The benchmark on the real engine: how the pair is linked, and real, if short, measurements."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from harness import archives, cache, engine, lock, matrix, owner, replica
from harness.bench import contestants, measuring, pair, suite
from harness.bench import report as reports
from harness.bench.report import Report
from harness.bench.suite import Benchmark, Pair, Side
from harness.errors import ExitCode, FetchError, ToolError
from harness.lock import LockedDefault
from harness.mirror import Mirror
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.sources import Source
from tests import servers
from tests.integration.conftest import PROJECT

pytestmark = pytest.mark.engine

MODELS = (LinkModel.SHARED, LinkModel.STATIC)

# What the compiler writes to get at a thread-local variable from anywhere ("general dynamic"):
# lea x@tlsgd(%rip),%rdi; call __tls_get_addr@plt, with the prefixes that let a linker rewrite it.
GENERAL_DYNAMIC = re.compile(rb"\x66\x48\x8d\x3d....\x66\x66\x48\xe8", re.DOTALL)


def native() -> Platform:
    host = Platform.host()
    assert host is not None
    return host


@pytest.fixture(autouse=True)
def nothing_is_left(client: docker.DockerClient) -> Iterator[None]:
    """Whatever a test does, its containers are gone afterwards."""
    yield
    deadline = time.monotonic() + 20
    while left := ours(client):
        if time.monotonic() > deadline:
            pytest.fail(f"left over: {left}")
        time.sleep(0.5)


def ours(client: docker.DockerClient) -> list[str]:
    """Containers of a benchmark that this process has made, or one that is dead."""
    found = client.containers.list(
        all=True, filters={"label": f"{engine.KIND}=cell"}, ignore_removed=True
    )
    this = owner.this_process()
    return [
        container.name
        for container in found
        if container.name.endswith(("-shared", "-static"))
        and (
            container.labels[engine.OWNER] == this
            or not owner.is_alive(container.labels[engine.OWNER])
        )
    ]


@pytest.fixture(scope="session")
def request_for_two(project_matrix: matrix.Matrix, project_lock: lock.Lock) -> contestants.Request:
    """Two short benchmarks."""
    return contestants.Request(
        matrix=project_matrix,
        lock=project_lock,
        effort=suite.FAST,
        benchmarks=suite.select(("unpack_sequence", "json_loads")),
    )


@pytest.fixture(scope="session")
def measured(client: docker.DockerClient, request_for_two: contestants.Request) -> Report:
    """A race of the same objects, with a third benchmark whose script is not there."""
    missing = Benchmark(name="missing", script="bm_missing")
    asked = replace(request_for_two, benchmarks=(*request_for_two.benchmarks, missing))
    return measuring.run(asked, client, say=lambda line: None).report


# --- the pair -----------------------------------------------------------------------------------


def unpacked(platform: Platform, link_model: LinkModel, folder: Path) -> Path:
    made = pair.provide("3.13", platform, link_model)
    archives.extract(made.path, folder / link_model)
    return folder / link_model / "python"


def needed(path: Path) -> list[str]:
    """DT_NEEDED."""
    with path.open("rb") as stream:
        dynamic = ELFFile(stream).get_section_by_name(".dynamic")
        assert isinstance(dynamic, DynamicSection)
        tags = [tag for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
        return [tag.needed for tag in tags]  # type: ignore[attr-defined]


def code_of(path: Path) -> tuple[bytes, set[str]]:
    """The code, and the functions of other libraries that it calls."""
    with path.open("rb") as stream:
        file = ELFFile(stream)
        code = file.get_section_by_name(".text")
        symbols = file.get_section_by_name(".dynsym")
        calls = file.get_section_by_name(".rela.plt")
        assert code is not None
        assert isinstance(symbols, SymbolTableSection)
        assert isinstance(calls, RelocationSection)
        called = {
            symbols.get_symbol(relocation["r_info_sym"]).name
            for relocation in calls.iter_relocations()
        }
        return code.data(), called


@pytest.mark.parametrize("platform", Platform)
def test_the_two_archives_differ_in_the_interpreter_alone(
    platform: Platform, tmp_path: Path
) -> None:
    trees = {model: unpacked(platform, model, tmp_path) for model in MODELS}
    contents = {
        model: {
            path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in tree.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        for model, tree in trees.items()
    }
    shared, static = contents[LinkModel.SHARED], contents[LinkModel.STATIC]
    assert set(shared) == set(static)
    assert [name for name in shared if shared[name] != static[name]] == ["bin/python3.13"]
    libraries = {model: needed(tree / "bin/python3.13") for model, tree in trees.items()}
    assert "$ORIGIN/../lib/libpython3.13.so.1.0" in libraries[LinkModel.SHARED]
    assert not [name for name in libraries[LinkModel.STATIC] if "python" in name]


def test_only_the_library_calls_a_function_to_reach_a_thread_local_variable(
    tmp_path: Path,
) -> None:
    """What upstream gives as the reason: the linker rewrites those calls in an executable.

    On aarch64 both compilers use descriptors (TLSDESC) instead, without __tls_get_addr.
    """
    tree = unpacked(Platform.X86_64, LinkModel.STATIC, tmp_path)
    library, called = code_of(tree / "lib/libpython3.13.so.1.0")
    assert "__tls_get_addr" in called
    assert len(GENERAL_DYNAMIC.findall(library)) > 1000
    executable, called = code_of(tree / "bin/python3.13")
    assert "__tls_get_addr" not in called
    assert GENERAL_DYNAMIC.findall(executable) == []
    # Otherwise about as much code: nothing was left out of either.
    assert len(executable) == pytest.approx(len(library), rel=0.02)


def test_both_export_the_c_api(tmp_path: Path) -> None:
    """Extension modules find the same symbols, wherever libpython is."""

    def exported(path: Path) -> set[str]:
        with path.open("rb") as stream:
            symbols = ELFFile(stream).get_section_by_name(".dynsym")
            assert isinstance(symbols, SymbolTableSection)
            return {
                symbol.name
                for symbol in symbols.iter_symbols()
                if symbol.entry.st_shndx != "SHN_UNDEF"
                and symbol.name.startswith(("Py", "_Py", "__Py"))
            }

    tree = unpacked(native(), LinkModel.STATIC, tmp_path)
    library, executable = (
        exported(tree / name) for name in ("lib/libpython3.13.so.1.0", "bin/python3.13")
    )
    assert executable == library
    assert len(library) > 1500


def test_a_pair_has_the_same_bytes_whoever_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linked again in an empty cache."""
    first = {model: pair.provide("3.13", native(), model).sha256 for model in MODELS}
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))
    assert {model: pair.provide("3.13", native(), model).sha256 for model in MODELS} == first


@pytest.mark.parametrize(
    ("python", "link_model"), [("3.12", LinkModel.SHARED), ("3.13", LinkModel.STATIC_RPATH)]
)
def test_what_is_no_pair_is_refused(python: str, link_model: LinkModel) -> None:
    with pytest.raises(ToolError, match="pair"):
        pair.provide(python, native(), link_model)


# --- measuring ----------------------------------------------------------------------------------


def test_both_interpreters_run_are_linked_as_named_and_otherwise_the_same(
    measured: Report,
) -> None:
    shared, static = (measured.contestants[side] for side in Side)
    assert shared.libpython is not None
    assert shared.libpython.endswith("/lib/libpython3.13.so.1.0")
    assert static.libpython is None
    assert shared.builtin_modules == static.builtin_modules
    assert "_pickle" in shared.builtin_modules
    assert pair.LEFT_OUT not in shared.builtin_modules
    assert shared.version == static.version
    assert shared.version.startswith(measured.python)
    assert shared.compiler_flags == static.compiler_flags
    assert (shared.link_model, static.link_model) == MODELS
    assert shared.image != static.image


def test_every_round_of_both_sides_is_measured(measured: Report) -> None:
    for timing in measured.benchmarks[:2]:
        assert timing.failure is None
        assert timing.loops
        for side in Side:
            assert [len(values) for values in timing.values[side]] == [suite.FAST.values] * 3
            assert all(value > 0 for values in timing.values[side] for value in values)
        estimate = measured.estimates[timing.name]
        assert estimate.low is not None
        assert estimate.high is not None
        # Whatever the machine does meanwhile, linking makes neither twice as slow as the other.
        assert 0.5 < estimate.ratio < 2
    assert measured.geometric_mean is not None
    assert measured.geometric_mean.rounds == 3


def test_a_benchmark_that_cannot_run_is_listed_with_its_last_line(measured: Report) -> None:
    (failed,) = measured.failed
    assert failed.name == "missing"
    assert failed.failure is not None
    assert "can't open file" in failed.failure.problem
    assert set(measured.estimates) == {"unpack_sequence", "json_loads"}


def test_the_report_names_all_that_it_rests_on(
    measured: Report, project_matrix: matrix.Matrix, project_lock: lock.Lock
) -> None:
    for side, model in zip(Side, MODELS, strict=True):
        archive = pair.provide("3.13", native(), model)
        assert measured.contestants[side].archive_sha256 == archive.sha256
        assert "same-objects" in measured.contestants[side].archive
    wheels = [
        project_lock.extension_wheels(requirement, "3.13", native())[0]
        for requirement in project_matrix.benchmarks
    ]
    assert {wheel.filename: wheel.sha256 for wheel in wheels}.items() <= measured.wheels.items()
    assert measured.platform is native()
    assert measured.host.cpus == os.cpu_count()
    assert measured.host.pinned_to == str(max(os.sched_getaffinity(0)))
    assert Report.model_validate_json(measured.model_dump_json()) == measured


def test_debians_own_interpreters_can_be_compared_too(
    client: docker.DockerClient, request_for_two: contestants.Request
) -> None:
    """With the warning that they are compiled differently; by the clock on the wall."""
    asked = replace(
        request_for_two,
        pair=Pair.DEBIAN,
        clock=suite.Clock.WALL,
        benchmarks=request_for_two.benchmarks[:1],
    )
    done = measuring.run(asked, client, say=lambda line: None)
    made = replica.provide("3.13", native(), LinkModel.STATIC)
    assert done.report.contestants[Side.STATIC].archive_sha256 == made.sha256
    assert any("not of linking alone" in warning for warning in done.report.warnings)
    assert "CLOCK_MONOTONIC" in done.outputs[Side.STATIC]["json_loads"][0]


def test_the_clock_is_the_processs_cpu_time(
    client: docker.DockerClient, request_for_two: contestants.Request
) -> None:
    """As pyperf itself says in what it writes."""
    asked = replace(
        request_for_two,
        benchmarks=request_for_two.benchmarks[:1],
        effort=replace(suite.FAST, rounds=2),
    )
    done = measuring.run(asked, client, say=lambda line: None)
    for side in Side:
        assert "CLOCK_PROCESS_CPUTIME_ID" in done.outputs[side]["json_loads"][0]


def test_published_releases_are_fetched_checked_installed_and_measured(
    client: docker.DockerClient,
    request_for_two: contestants.Request,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against a stand-in of the release downloads that serves the pair under other names."""
    made = {side: pair.provide("3.13", native(), LinkModel(side)) for side in Side}
    # What these servers give must not stay in the user's cache; all else is taken from there.
    for kind in cache.root().iterdir():
        if kind.name not in ("sums", "upstream"):
            (tmp_path / kind.name).symlink_to(kind)
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))
    known = request_for_two.lock.uv
    locked = {uv: known[uv] for uv in ("0.7.5", "0.7.6", request_for_two.matrix.uv[-1])}
    with servers.serving() as server:
        releases = contestants.RELEASES.items()
        for (side, release), uv in zip(releases, ("0.7.5", "0.7.6"), strict=True):
            name = f"cpython-3.13.5+{release}-install_only.tar.gz"
            url = f"/{release}/{name.replace('+', '%2B')}"
            server.add(url, made[side].path.read_bytes())
            server.add(f"/{release}/SHA256SUMS", f"{made[side].sha256}  {name}\n".encode())
            default = LockedDefault(
                version="3.13.5", release=release, url=server.url + url, sha256=made[side].sha256
            )
            locked[uv] = locked[uv].model_copy(update={"defaults": {"3.13": {native(): default}}})
        base = request_for_two.matrix.bases["debian13"]
        # A published archive brings its libraries along; these do not.
        bases = {"debian13": base.model_copy(update={"packages": replica.BASE_PACKAGES})}
        asked = replace(
            request_for_two,
            source=Source.UPSTREAM,
            mirror=Mirror(base=server.url),
            lock=request_for_two.lock.model_copy(update={"uv": locked}),
            matrix=request_for_two.matrix.model_copy(update={"bases": bases}),
            benchmarks=request_for_two.benchmarks[:1],
            effort=replace(suite.FAST, rounds=2),
        )
        report = measuring.run(asked, client, say=lambda line: None).report
    assert report.pair is None
    assert report.subject == "releases 20250409 and 20250517"
    assert [report.contestants[side].release for side in Side] == ["20250409", "20250517"]
    assert report.geometric_mean is not None


# --- the command --------------------------------------------------------------------------------


def pbs_matrix(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


COMMAND = [sys.executable, "-c", "from harness.cli import main; main()", "bench"]


def test_the_command_measures_shows_and_writes(tmp_path: Path) -> None:
    done = pbs_matrix(
        "--fast",
        "--benchmarks=unpack_*",
        "--benchmarks=json_loads",
        f"--output={tmp_path}/bench.json",
        f"--chart={tmp_path}/bench.svg",
        f"--pyperf={tmp_path}/pyperf",
    )
    assert done.returncode == 0, done.stderr
    assert "geometric mean of 2 benchmarks: " in done.stdout
    assert "round 3 of 3" in done.stderr
    report = reports.read(tmp_path / "bench.json")
    assert report.geometric_mean is not None
    assert f"benchmarks: {report.geometric_mean.ratio:.3f} (95 % interval" in done.stdout
    assert "unpack_sequence" in (tmp_path / "bench.svg").read_text()
    compared = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "shared.json", "static.json"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path / "pyperf",
    )
    assert "eometric mean" in compared.stdout + compared.stderr


def test_a_foreign_platform_is_refused() -> None:
    foreign = next(platform for platform in Platform if platform is not native())
    done = pbs_matrix(f"--platform={foreign}")
    assert done.returncode == ExitCode.SELECTION
    assert "under emulation this would measure the emulator" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_removes_its_containers_and_writes_what_it_has(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    output = tmp_path / "bench.json"
    with subprocess.Popen(
        [*COMMAND, "--fast", "--rounds=30", "--benchmarks=unpack_*", f"--output={output}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        # As from a terminal: what a shell starts in the background ignores the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("round 2 of 30"):
                break
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "pbs-matrix: interrupted; the containers are removed"
    assert "the run was interrupted" in said
    report = reports.read(output)
    assert report.interrupted
    assert 2 <= len(report.benchmarks[0].rounds) < 30


def test_where_the_published_archives_cannot_be_had_the_command_says_so(
    client: docker.DockerClient, request_for_two: contestants.Request
) -> None:
    """Port 9 (discard) is closed on this machine, as GitHub may be."""
    nowhere = Mirror(base="http://127.0.0.1:9")
    asked = replace(request_for_two, source=Source.UPSTREAM, mirror=nowhere)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1") as caught:
        measuring.run(asked, client, say=lambda line: None)
    assert "--mirror" in caught.value.advice


def test_a_killed_runs_containers_are_removed_by_the_next(
    client: docker.DockerClient, request_for_two: contestants.Request
) -> None:
    """They carry the labels that clean-up goes by."""
    with subprocess.Popen(
        [*COMMAND, "--fast", "--rounds=30", "--benchmarks=unpack_*"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("round 1 of 30"):
                break
        process.kill()
    # Unless another run of this project has removed them by now.
    asked = replace(request_for_two, effort=replace(suite.FAST, rounds=2))
    measuring.run(replace(asked, benchmarks=asked.benchmarks[:1]), client, say=lambda line: None)
    assert ours(client) == []
