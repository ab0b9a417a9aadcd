"""Published archives through a mirror, with real uv programs: from the fetch to the verdict.

The archives are replicas under the published names, served as GitHub serves the real ones. What
the real ones alone can show is in the tests marked ``network``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from harness import cache, images, routes, tools, uvbinary
from harness.errors import BuildError, ToolError
from harness.plan import Environment, Interpreter
from harness.platforms import Platform
from harness.results import read
from harness.routes import Route
from harness.sources import Source
from tests import hostile_archives, standin
from tests.integration import mirrored, oracle
from tests.integration.conftest import Pytest
from tests.standin import Standin

pytestmark = pytest.mark.engine

SHOWN = ("python-mscl", "no-libpython", "ucxx-shaped")


@pytest.fixture(scope="module")
def served() -> Iterator[Standin]:
    with standin.serving() as server:
        yield server


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which nothing published is yet; what else is in the usual one is linked in."""
    usual, own = cache.root(), tmp_path / "cache"
    own.mkdir()
    for kind in ("wheels", "uv", "uv-answers", "replicas", "debian-python", "samples", "installed",
                 "inventories", "systems", "base-roots", "image-locks", "zig", "sdks"):  # fmt: skip
        (usual / kind).mkdir(exist_ok=True)
        (own / kind).symlink_to(usual / kind)
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(own))
    return own


def fetched(server: Standin, name: str) -> int:
    """How often a file was sent from its first byte."""
    return sum(r.method == "GET" and r.first == 0 for r in server.log(f"/mirror/*/{name}"))


def test_real_uvs_install_what_a_mirror_has_and_the_matrix_is_as_expected(
    own_cache: Path, tmp_path: Path, served: Standin, run_pytest: Pytest
) -> None:
    """Each uv's own metadata names the archive; of its hash uv is told, since a replica's differs.

    Every archive is fetched once, whichever of the cells needs it.
    """
    more = {
        "some": {
            "extensions": list(SHOWN),
            "platforms": ["x86_64"],
            "bases": ["debian13"],
            "include": [
                {
                    "extensions": list(SHOWN),
                    "platforms": ["aarch64"],
                    "bases": ["debian13"],
                    "uv": ["0.7.8", "0.13.9"],
                }
            ],
        }
    }
    path, _, lock = mirrored.matrix_for(tmp_path, mirrored.UVS, more_profiles=more)
    names = mirrored.fill(served, lock, mirrored.UVS)
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={path}", "--profile=some", f"--results={file}", "-n2"),
        *("--source=upstream", f"--mirror={served.mirror}", "--trust-mirror"),
    )
    assert done.returncode == 0, done.stdout
    results = list(read(file))
    assert Counter((r.uv, str(r.platform)) for r in results) == {
        **{(uv, "x86_64"): 3 for uv in mirrored.UVS},
        **{(uv, "aarch64"): 3 for uv in ("0.7.8", "0.13.9")},
    }
    for result in results:
        default = lock.default(result.uv, "3.13", result.platform)
        assert (result.source, result.release) == (Source.UPSTREAM, default.release)
        assert result.id.split("-cp313-")[1] == f"{default.release}-{result.platform}-debian13"
        assert result.pins["archive"] == names[result.uv, result.platform]
        assert result.pins["archive_by"] == Route.DOWNLOADS_JSON
        assert result.linked == result.link_model
        missing = oracle.missing(result.extension, str(result.link_model), result.base)
        assert result.missing_library == missing, result.id
        # Never passed off as the release, whatever the mirror calls it.
        assert result.is_replica
    assert f"{len(results)} on replicas" in done.stdout
    used = {names[r.uv, r.platform] for r in results}
    assert {name: fetched(served, name) for name in used} == dict.fromkeys(used, 1)


def test_what_uvs_own_metadata_contradicts_is_untestable(
    own_cache: Path, tmp_path: Path, served: Standin, run_pytest: Pytest
) -> None:
    """Both hashes are named, and no image is made of it; the run fails."""
    path, _, lock = mirrored.matrix_for(tmp_path, ["0.7.6"])
    names = mirrored.fill(served, lock, ["0.7.6"])
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={path}", f"--results={file}", "--platform=x86_64", "--base=debian13"),
        *("--extension=no-libpython", "--source=upstream", f"--mirror={served.mirror}"),
    )
    ours = mirrored.replica_of("20250517", Platform.X86_64).sha256
    theirs = lock.default("0.7.6", "3.13", Platform.X86_64).sha256
    name = names["0.7.6", Platform.X86_64]
    said = f"SHA256SUMS of release 20250517 says sha256 {ours} for {name}, but uv 0.7.6's own "
    assert f"{said}metadata says {theirs}" in done.stdout
    assert "--trust-mirror" in done.stdout
    assert done.returncode == 32
    assert not file.exists()


@pytest.mark.parametrize(
    ("uv", "platform"),
    [("0.7.6", Platform.X86_64), ("0.13.9", Platform.X86_64), ("0.13.9", Platform.AARCH64)],
)
def test_in_the_image_uv_itself_picks_the_archive_and_checks_its_hash(
    uv: str, platform: Platform, client: docker.DockerClient, tmp_path: Path
) -> None:
    """With its own metadata and the mirror alone; so a replica gets as far as its hash, no further.

    That is as far as this route can be gone without the published archive itself.
    """
    _, read_matrix, lock = mirrored.matrix_for(tmp_path, [uv])
    default = lock.default(uv, "3.13", platform)
    interpreter = Interpreter(
        python="3.13",
        release=default.release,
        platform=platform,
        source=Source.UPSTREAM,
        default=default,
    )
    stand_in = mirrored.replica_of(default.release, platform)
    name = default.url.rpartition("/")[2].replace("%2B", "+")
    # As if SHA256SUMS and uv agreed, and the file were another all the same.
    archive = replace(stand_in, name=name, sha256=default.sha256, version=default.version)
    installation = routes.choose(
        uv, interpreter, archive, mirrored.program(lock, uv), trusts_mirror=False
    )
    assert installation.route is Route.OWN_METADATA
    made = images.Images(client)
    base = made.base(
        "debian13",
        read_matrix.bases["debian13"],
        platform,
        tuple(sorted(read_matrix.bases["debian13"].packages)),
    )
    environment = Environment(uv=uv, interpreter=interpreter, base="debian13")
    wheel = lock.uv_wheel(uv, platform)
    with pytest.raises(BuildError) as caught:
        made.environment(
            environment, base, archive, installation, uvbinary.fetch(wheel), wheel.sha256
        )
    said = " ".join(caught.value.problem.split())
    assert f"Hash mismatch for `cpython-{default.version}-linux-{platform}-gnu`" in said
    expected, _, computed = said.partition("Computed")
    assert default.sha256 in expected
    assert stand_in.sha256 in computed


def test_a_release_beside_its_default_is_picked_by_version_and_build(tmp_path: Path) -> None:
    """Of a release that uv knows for another patch version; again, as far as the hash."""
    _, _, lock = mirrored.matrix_for(tmp_path, ["0.13.9"])
    host = Platform.host()
    assert host is not None
    program = mirrored.program(lock, "0.13.9")
    asked = Interpreter(python="3.13", release="20250529", platform=host, source=Source.UPSTREAM)
    known = uvbinary.offers(program, "3.13", asked.flavour, host)
    offer = next(offer for offer in known if offer.release == asked.release)
    expected = uvbinary.expected_sha256(program, offer, asked.flavour, host)
    assert expected is not None
    made = mirrored.replica_of(asked.release, host)
    name = offer.url.rpartition("/")[2].replace("%2B", "+")
    archive = replace(made, name=name, sha256=expected, version=offer.version)
    installation = routes.choose("0.13.9", asked, archive, program, trusts_mirror=False)
    assert installation.route is Route.OWN_METADATA
    served_from = tmp_path / "mirror"
    (served_from / asked.release).mkdir(parents=True)
    (served_from / asked.release / name).symlink_to(made.path)

    def said(build: str) -> str:
        with pytest.raises(ToolError) as caught:
            tools.run(
                [program, "python", "install", "--no-config", installation.request],
                doing="installing",
                environment={
                    **installation.settings,
                    "HOME": str(tmp_path),
                    "UV_NO_CACHE": "1",
                    "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons"),
                    "UV_PYTHON_INSTALL_MIRROR": served_from.as_uri(),
                    "UV_PYTHON_CPYTHON_BUILD": build,
                },
            )
        return caught.value.problem

    assert installation.settings["UV_PYTHON_CPYTHON_BUILD"] == asked.release
    assert expected in said(asked.release)
    assert made.sha256 in said(asked.release)
    assert "No download found" in said("20250517")


def test_a_range_of_releases_with_a_uv_that_can_be_told_nothing(
    own_cache: Path, tmp_path: Path, served: Standin, run_pytest: Pytest
) -> None:
    """uv 0.6.12 hears of no downloads.json, so it finds the interpreter unpacked, and is said to.

    uv 0.7.5 is told of each release but its own default, which it would choose by itself.
    """
    path, _, _ = mirrored.matrix_for(tmp_path, ["0.6.12", "0.7.5"], releases=["20250409..20250529"])
    for release in ("20250409", "20250517", "20250521", "20250529"):
        mirrored.fill_release(served, release, "3.13.3", Platform.X86_64)
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={path}", f"--results={file}", "--platform=x86_64", "--base=debian13", "-n2"),
        *("--extension=python-mscl", "--source=upstream", f"--mirror={served.mirror}"),
        "--trust-mirror",
    )
    assert done.returncode == 0, done.stdout
    found = {(r.uv, r.release): r for r in read(file)}
    models = dict(
        zip(("20250409", "20250517", "20250521", "20250529"), oracle.COLUMNS, strict=True)
    )
    assert set(found) == {(uv, release) for uv in ("0.6.12", "0.7.5") for release in models}
    for (uv, release), result in found.items():
        assert str(result.linked) == models[release]
        assert result.missing_library == oracle.missing("python-mscl", models[release], "debian13")
        by = Route.UNPACKED if uv == "0.6.12" else Route.DOWNLOADS_JSON
        assert result.pins["archive_by"] == by, (uv, release)
        assert result.release_asked == "20250409..20250529"


def test_an_interpreter_that_is_linked_otherwise_is_reported_and_fails_the_run(
    own_cache: Path, tmp_path: Path, served: Standin, run_pytest: Pytest
) -> None:
    """Read from its ELF: a release that goes back to the shared model, on the day it appears."""
    path, _, lock = mirrored.matrix_for(tmp_path, ["0.13.9"])
    (name,) = {
        n for (_, p), n in mirrored.fill(served, lock, ["0.13.9"]).items() if p == Platform.X86_64
    }
    release = lock.default("0.13.9", "3.13", Platform.X86_64).release
    served.add(release, name, mirrored.replica_of("20250409", Platform.X86_64).path)
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *(f"--matrix={path}", f"--results={file}", "--platform=x86_64", "--base=debian13"),
        *("--extension=no-libpython", "--source=upstream", f"--mirror={served.mirror}"),
        "--trust-mirror",
    )
    (result,) = read(file)
    assert (result.status, result.link_model, result.linked) == (
        "as-expected",
        "static+rpath",
        "shared",
    )
    assert f"{name} is linked shared (bin/python3.13 needs" in done.stdout
    assert "but the table of releases says static+rpath" in done.stdout
    assert done.returncode == 1


RECOVERS: dict[str, tuple[tuple[standin.Fault, ...], str]] = {
    # release: what happens to its archive, and what is said of it
    "20250517": (tuple(standin.cuts(5, 4, 7_000_000)), "the connection was cut after"),
    "20250521": ((standin.Status(code=500), standin.Status(code=502)), "502 Bad Gateway"),
    "20250529": ((standin.Status(code=503, retry_after="1"),), "503 Service Unavailable"),
    "20250604": ((standin.RateLimited(retry_after=1),), "403"),
    "20250610": (
        (standin.Cut(after=2_000_000), standin.RangeIgnored()),
        "it sends all of it, not only what is missing",
    ),
    "20250612": ((standin.Cut(after=3_000_000, reset=True),), "the connection was cut after"),
    "20250626": ((standin.Cut(after=1_000_000), standin.TagChanged()), "from its beginning"),
    "20250630": ((standin.Wrong(),), "its sha256 is"),
}
FAILS: dict[str, tuple[standin.Fault, str]] = {
    "20250702": (standin.Status(code=404), "404 Not Found"),
    "20250708": (standin.Wrong(), "its sha256 is"),
    "20250712": (standin.Truncated(keep=1000), "its sha256 is"),
    "20250723": (standin.Loop(), "it redirects more than 10 times"),
    "20250807": (standin.Page(), "HTML page"),
    "20250808": (standin.RateLimited(retry_after=7200), "not before"),
}
HOSTILE = {
    "20250814": "dots",
    "20250818": "absolute",
    "20250828": "character device",
    "20250902": "hard link, dots",
    "20250918": "cut in the middle",
    "20251007": "bomb",
}


def test_each_fault_is_mended_or_ends_its_cell_untestable_and_no_verdict_is_wrong(
    own_cache: Path, tmp_path: Path, run_pytest: Pytest
) -> None:
    """In one run, a release for each: what was retried is said, and the cache holds no other bytes.

    uv's own default is there too, with a SHA256SUMS from before the archive was published.
    """
    tags = [*RECOVERS, *FAILS, *HOSTILE]
    path, _, lock = mirrored.matrix_for(tmp_path, ["0.7.5"], releases=["default", *tags])
    file = tmp_path / "results.jsonl"
    with standin.serving() as server:
        names = {tag: mirrored.fill_release(server, tag, "3.13.3", Platform.X86_64) for tag in tags}
        mirrored.fill(server, lock, ["0.7.5"])
        server.inject("/mirror/20250409/SHA256SUMS", standin.Stale(lacking="*x86_64*"))
        for tag, (faults, _) in RECOVERS.items():
            server.inject(f"/mirror/{tag}/{names[tag]}", *faults, times=1)
        for tag, (fault, _) in FAILS.items():
            server.inject(f"/mirror/{tag}/{names[tag]}", fault)
        for tag, kind in HOSTILE.items():
            server.add(tag, names[tag], hostile_archives.hostile(kind).content)
        done = run_pytest(
            *(f"--matrix={path}", f"--results={file}", "--platform=x86_64", "--base=debian13"),
            *("--extension=python-mscl", "--source=upstream", f"--mirror={server.mirror}"),
            *("--trust-mirror", "-n2"),
        )
        resumed = {
            tag: [r.first for r in server.log(f"/mirror/{tag}/{names[tag]}") if r.method == "GET"]
            for tag in RECOVERS
        }
        sent = {
            tag: [r.sent for r in server.log(f"/mirror/{tag}/{names[tag]}") if r.method == "GET"]
            for tag in RECOVERS
        }
    assert done.returncode == 1, done.stdout
    found = {result.release: result for result in read(file)}
    assert set(found) == {"20250409", *tags}
    for tag, (_, said) in RECOVERS.items():
        result = found[tag]
        missing = oracle.missing("python-mscl", str(result.linked), "debian13")
        assert (result.status, result.missing_library) == ("as-expected", missing), tag
        assert re.search(rf"{re.escape(names[tag])}: .*{re.escape(said)}", done.stdout), tag
    # From the byte where it stopped, as often as it was cut.
    first = resumed["20250517"]
    assert len(first) >= 3
    assert first == [sum(sent["20250517"][:number]) for number in range(len(first))]
    for tag, (_, said) in FAILS.items():
        assert (found[tag].status, found[tag].stage) == ("untestable", "interpreter"), tag
        assert said in found[tag].message, found[tag].message
        assert "\n" not in found[tag].message
    for tag, kind in HOSTILE.items():
        assert (found[tag].status, found[tag].stage) == ("untestable", "interpreter"), tag
        assert re.search(hostile_archives.KINDS[kind][1], found[tag].message)
    assert found["20250409"].status == "untestable"
    assert "does not list cpython-3.13.3+20250409-x86_64" in found["20250409"].message
    assert f"{len(FAILS) + len(HOSTILE) + 1} untestable" in done.stdout
    assert "Traceback" not in done.stdout
    # What is in the cache under a digest has it.
    kept = [p for p in (own_cache / "upstream").iterdir() if not p.name.startswith(".")]
    assert len(kept) == len(RECOVERS) + len(HOSTILE)
    assert all(cache.file_digest(p).startswith(p.name.partition("-")[0]) for p in kept)


def test_two_runs_at_once_on_one_cache_fetch_each_archive_once(
    own_cache: Path, tmp_path: Path, run_pytest: Pytest
) -> None:
    path, _, lock = mirrored.matrix_for(tmp_path, ["0.7.6", "0.7.9"])
    with standin.serving() as server:
        names = mirrored.fill(server, lock, ["0.7.6", "0.7.9"])
        server.inject("/mirror/*.tar.gz", standin.Drip(count=1 << 19, every=0.1))

        def run(number: int) -> subprocess.CompletedProcess[str]:
            return run_pytest(
                *(f"--matrix={path}", f"--results={tmp_path / f'{number}.jsonl'}"),
                *("--platform=x86_64", "--base=debian13", "--extension=python-mscl"),
                *("--source=upstream", f"--mirror={server.mirror}", "--trust-mirror"),
            )

        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(run, (1, 2)))
        sent = {
            name: [r.first for r in server.log(f"/mirror/*/{name}") if r.method == "GET"]
            for (_, platform), name in names.items()
            if platform is Platform.X86_64
        }
    assert [done.returncode for done in both] == [0, 0], both[0].stdout + both[1].stdout
    assert list(sent.values()) == [[0], [0]]
    outcomes = [
        {result.id: result.outcome for result in read(tmp_path / f"{number}.jsonl")}
        for number in (1, 2)
    ]
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 2


def test_fidelity_lists_in_what_a_replica_differs_from_the_release(
    own_cache: Path, tmp_path: Path, served: Standin
) -> None:
    """Here a replica again, under the release's name, and one with another link model."""
    path, _, lock = mirrored.matrix_for(tmp_path, ["0.7.6", "0.7.9"])
    names = mirrored.fill(served, lock, ["0.7.6", "0.7.9"])
    other = mirrored.replica_of("20250409", Platform.X86_64)
    served.add("20250517", names["0.7.6", Platform.X86_64], other.path)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from harness.front import main; main()"),
            *("fidelity", "--matrix", str(path)),
            *("--profile=default", "--platform=x86_64", "--base=debian13"),
            *("--extension=python-mscl", "--extension=no-libpython"),
            *("--mirror", served.mirror, "--trust-mirror"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "4 cells compared: 3 the same outcome, 1 differ" in done.stdout
    line = next(row for row in done.stdout.splitlines() if "python-mscl-uv0.7.6" in row)
    assert "missing-library" in line or "missing-library" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.network
def test_the_published_archives_are_what_the_table_says_and_uv_takes_them(
    tmp_path: Path, run_pytest: Pytest, client: docker.DockerClient
) -> None:
    """With a network alone: the releases of the incident, by uv's own metadata, and their verdicts.

    What a stand-in cannot show: that the hashes of SHA256SUMS and of uv are the same, that the
    archives are linked as the table of releases says, and what real interpreters do.
    """
    file = tmp_path / "results.jsonl"
    done = run_pytest(
        *("--uv=0.7.[5-9]", "--base=debian13", "--extension=python-mscl"),
        *("--extension=ucxx-shaped", "--extension=no-libpython", "--source=upstream"),
        *(f"--results={file}", "-n2"),
    )
    assert done.returncode == 0, done.stdout
    for result in read(file):
        assert result.linked == result.link_model
        assert not result.is_replica
        assert result.pins["archive_by"] == Route.OWN_METADATA
        missing = oracle.missing(result.extension, str(result.link_model), result.base)
        assert result.missing_library == missing, result.id
