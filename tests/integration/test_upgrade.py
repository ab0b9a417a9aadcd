"""A newer uv on top of the interpreter that uv 0.7.6 installed: which command mends the import.

Each test has a container of its own in which the real uv 0.7.6 installed the static build
(release 20250517) and made a venv, as its users did. docs/upgrading.md has the story.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from harness import archives, confinement, images, interpreters, routes, uvbinary
from harness.containers import Containers
from harness.interpreters import Archive
from harness.lock import Lock
from harness.matrix import Matrix
from harness.plan import Cell, Interpreter
from harness.platforms import Platform
from harness.prepared import Prepared, PreparedExtension, extension_key
from harness.releases import link_model
from harness.sources import Source
from tests.integration import oracle
from tests.integration.conftest import installed

pytestmark = pytest.mark.engine

OLD_UV = "0.7.6"
OLD_VENV = "/opt/venv"

LAST_BUILD = "20250529"
"""The last release with the CPython patch version of uv 0.7.6, 3.13.3: what every uv since 0.7.9
has for it. That this is so is asked of the real uv below."""

NEWER_PATCH = "3.13.6"
"""A patch version after the replicas' own; the same files under another name, which uv believes."""

ENVIRONMENT = {
    # As in images/environment/Dockerfile.
    "HOME": "/root",
    "UV_NO_CONFIG": "1",
    "UV_NO_CACHE": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_INSTALL_DIR": "/opt/python",
    "UV_PYTHON_PREFERENCE": "only-managed",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A container with what uv 0.7.6 had installed in it, and room for a newer uv."""

    container: Container
    platform: Platform
    old: Archive
    scratch: Path

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        """Run a command as root; its exit code, and what it said on either stream."""
        done = self.container.exec_run(
            list(command), environment={**ENVIRONMENT, **environment}, stdin=False
        )
        return done.exit_code, done.output.decode()

    def put(self, files: dict[str, Path], texts: dict[str, str]) -> None:
        """Put files and texts below /opt."""
        packed = self.scratch / "put.tar"
        archives.write_context(packed, files, texts, programs=["new/uv"])
        with packed.open("rb") as stream:
            assert self.container.put_archive("/opt", stream)

    def upgrade(self, lock: Lock, uv: str, offered: dict[str, Archive], *, build: bool) -> None:
        """Put a newer uv in place, and what its metadata offers: archives by release.

        ``build``: whether the metadata tells the release too, as it does from uv 0.8.14 on.
        """
        entries: dict[str, dict[str, object]] = {}
        for release, archive in offered.items():
            entries |= json.loads(images.downloads_json(of(release, self.platform), archive))
        if not build:
            for entry in entries.values():
                del entry["build"]
        program = uvbinary.fetch(lock.uv_wheel(uv, self.platform))
        self.put(
            {f"pbs-matrix/mirror/{release}/{a.name}": a.path for release, a in offered.items()}
            | {"new/uv": program},
            {"new/downloads.json": json.dumps(entries)},
        )
        assert self.run("/opt/new/uv", "--version")[1].startswith(f"uv {uv}")

    def uv(self, *arguments: str) -> str:
        """Run the newer uv, which has to succeed; what it said."""
        metadata = {"UV_PYTHON_DOWNLOADS_JSON_URL": "/opt/new/downloads.json"}
        code, said = self.run("/opt/new/uv", *arguments, **metadata)
        assert code == 0, said
        return said

    def interpreter(self, version: str) -> str:
        """sha256 of the interpreter that is in place for a patch version."""
        path = f"{routes.folder(of(LAST_BUILD, self.platform), version)}/bin/python3.13"
        code, said = self.run("sha256sum", path)
        assert code == 0, said
        return said.split()[0]

    def importing(self, venv: str) -> str:
        """The last line that importing python-mscl in a venv gives; empty where it imports."""
        program = (
            "import site; site.addsitedir('/opt/extensions/python-mscl/site'); import python_mscl"
        )
        code, said = self.run(f"{venv}/bin/python", "-I", "-B", "-c", program)
        assert code == (1 if said else 0), said
        return said.strip().rpartition("\n")[2]

    def new_venv(self) -> str:
        """A venv that the newer uv makes now."""
        self.uv("venv", "--python", "3.13", "/opt/venv-of-new-uv")
        return "/opt/venv-of-new-uv"


BROKEN = f"ImportError: {oracle.MESSAGE}"


def built(release: str, platform: Platform, version: str | None = None) -> Archive:
    """The replica of a release, as the patch version that is said."""
    made = interpreters.provide(of(release, platform))
    return replace(made, version=version or made.version)


def of(release: str, platform: Platform) -> Interpreter:
    """What stands for a release."""
    return Interpreter(python="3.13", release=release, platform=platform, source=Source.REPLICA)


def inside(archive: Archive) -> str:
    """sha256 of the interpreter in an archive."""
    with tarfile.open(archive.path) as tar:
        member = tar.extractfile("python/bin/python3.13")
        assert member is not None
        return hashlib.file_digest(member, "sha256").hexdigest()  # type: ignore[arg-type]


@pytest.fixture
def machine(
    platform: Platform,
    cells: tuple[Cell, ...],
    prepared: Prepared,
    client: docker.DockerClient,
    project_matrix: Matrix,
    project_lock: Lock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machine]:
    """What a user of uv 0.7.6 had: the interpreter, a venv, and python-mscl, which fails."""
    confined = confinement.attended
    # It is upgraded where it is; no sample of the matrix may write there.
    monkeypatch.setattr(
        confinement, "attended", lambda *a, **kw: {**confined(*a, **kw), "read_only": False}
    )
    environment = next(
        c.environment for c in cells if c.environment.interpreter.platform is platform
    )
    assert environment.uv == OLD_UV
    tree = installed("python-mscl", platform, project_matrix, project_lock)
    mine = prepared.model_copy(
        update={
            "extensions": {extension_key("python-mscl", environment): PreparedExtension(tree=tree)},
            "wanted": {environment.id: ("python-mscl",)},
        }
    )
    name = f"{prepared.run}-{secrets.token_hex(4)}"
    with Containers(client, name, prepared.owner) as own:
        own.plan([c for c in cells if c.environment == environment], mine)
        made = Machine(
            container=own.container(environment.id),
            platform=platform,
            old=interpreters.provide(environment.interpreter),
            scratch=tmp_path,
        )
        assert made.interpreter(made.old.version) == inside(made.old)
        assert made.importing(OLD_VENV) == BROKEN
        yield made


def offered_by(
    uv: str, lock: Lock, platform: Platform, old: Archive
) -> tuple[dict[str, Archive], bool]:
    """What a locked uv offers over ``old``, laid out as its real metadata is, and if with builds.

    Until uv 0.7.10 that is another build of the same patch version, without a ``build``. Later it
    is a newer patch version, and the old one as it was last built.
    """
    locked = lock.default(uv, "3.13", platform)
    if locked.version == lock.default(OLD_UV, "3.13", platform).version:
        return {locked.release: built(locked.release, platform)}, False
    newer = built(locked.release, platform, NEWER_PATCH)
    return {LAST_BUILD: built(LAST_BUILD, platform, old.version), locked.release: newer}, True


@pytest.mark.parametrize(
    ("uv", "platform"),
    [
        ("0.7.7", Platform.X86_64),
        # The split: reinstalling with this one mends the import on x86_64 only.
        ("0.7.8", Platform.X86_64),
        ("0.7.8", Platform.AARCH64),
        ("0.7.9", Platform.X86_64),
        ("0.7.9", Platform.AARCH64),
        ("0.13.9", Platform.X86_64),
    ],
)
def test_a_newer_uv_changes_nothing_until_the_same_patch_version_is_reinstalled(
    uv: str, platform: Platform, machine: Machine, project_lock: Lock
) -> None:
    """Then the interpreter is the newer build, and what that build imports, the old venv does.

    `uv python install 3.13` is no reinstall, although from 0.8.0 on it says "Installed".
    """
    offered, build = offered_by(uv, project_lock, platform, machine.old)
    machine.upgrade(project_lock, uv, offered, build=build)

    machine.uv("python", "install", "3.13")
    assert machine.interpreter(machine.old.version) == inside(machine.old)
    assert machine.importing(OLD_VENV) == BROKEN
    assert machine.importing(machine.new_venv()) == BROKEN

    link = machine.run("readlink", f"{OLD_VENV}/bin/python")
    machine.uv("python", "install", "--reinstall", machine.old.version)
    release, archive = next((r, a) for r, a in offered.items() if a.version == machine.old.version)
    assert inside(archive) != inside(machine.old)
    assert machine.interpreter(machine.old.version) == inside(archive)
    assert machine.run("readlink", f"{OLD_VENV}/bin/python") == link
    missing = oracle.missing("python-mscl", link_model(release), "debian13")
    assert machine.importing(OLD_VENV) == (BROKEN if missing else "")


@pytest.mark.parametrize("platform", [Platform.X86_64])
@pytest.mark.parametrize(
    ("uv", "in_place"), [("0.7.9", False), ("0.13.9", True)], ids=["until-0.11", "from-0.12"]
)
def test_reinstalling_a_minor_version_may_leave_the_old_patch_version_broken(
    uv: str, in_place: bool, platform: Platform, machine: Machine, project_lock: Lock
) -> None:
    """Until uv 0.11, `--reinstall 3.13` installs the newest patch version beside the old one."""
    mended = built(LAST_BUILD, platform)
    newer = replace(mended, version=NEWER_PATCH)
    machine.upgrade(project_lock, uv, {LAST_BUILD: mended, "20250807": newer}, build=False)
    said = machine.uv("python", "install", "--reinstall", "3.13")
    assert f"Installed Python {machine.old.version if in_place else NEWER_PATCH}" in said
    there = inside(mended if in_place else machine.old)
    assert machine.interpreter(machine.old.version) == there
    assert machine.importing(OLD_VENV) == ("" if in_place else BROKEN)
    # What makes it easy to miss: a venv made now works either way.
    assert machine.importing(machine.new_venv()) == ""


@pytest.mark.parametrize("platform", [Platform.X86_64])
@pytest.mark.parametrize("build", [True, False], ids=["with-build", "without-build"])
def test_uv_python_upgrade_replaces_the_same_patch_version_if_the_metadata_has_builds(
    build: bool, platform: Platform, machine: Machine, project_lock: Lock
) -> None:
    """What uv 0.7.6 installed has no BUILD file, which counts as outdated, but only then."""
    mended = built(LAST_BUILD, platform)
    machine.upgrade(project_lock, "0.13.9", {LAST_BUILD: mended}, build=build)
    said = machine.uv("python", "upgrade", "3.13")
    assert ("is already on the latest supported patch release" in said) is not build
    assert machine.interpreter(machine.old.version) == inside(mended if build else machine.old)
    assert machine.importing(OLD_VENV) == ("" if build else BROKEN)


@pytest.mark.parametrize("platform", [Platform.X86_64])
def test_uv_python_upgrade_to_a_newer_patch_version_does_not_mend_the_old_venv(
    platform: Platform, machine: Machine, project_lock: Lock
) -> None:
    """A venv of uv 0.7.6 names the old patch version, so it has to be made again.

    One that a recent uv has made names the minor version, and moves with it.
    """
    offered, build = offered_by("0.13.9", project_lock, platform, machine.old)
    machine.upgrade(project_lock, "0.13.9", offered, build=build)
    machine.uv("python", "install", "3.13")
    moving = machine.new_venv()
    assert machine.importing(moving) == BROKEN
    said = machine.uv("python", "upgrade", "3.13")
    assert f"Installed Python {NEWER_PATCH}" in said
    assert machine.interpreter(machine.old.version) == inside(machine.old)
    newest = next(archive for archive in offered.values() if archive.version == NEWER_PATCH)
    assert machine.interpreter(NEWER_PATCH) == inside(newest)
    assert machine.importing(moving) == ""
    assert machine.importing(OLD_VENV) == BROKEN
    machine.uv("venv", "--clear", "--python", "3.13", OLD_VENV)
    assert machine.importing(OLD_VENV) == ""


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("uv", ["0.7.9", "0.13.9"])
def test_the_real_metadata_has_a_mended_build_of_the_old_patch_version(
    uv: str, platform: Platform, machine: Machine, project_lock: Lock
) -> None:
    """Over CPython 3.13.3, which uv 0.7.6 really installs, each uv names what it would fetch."""
    old = project_lock.default(OLD_UV, "3.13", platform)
    as_it_was = replace(machine.old, version=old.version)
    metadata = images.downloads_json(of(old.release, platform), as_it_was)
    program = uvbinary.fetch(project_lock.uv_wheel(uv, platform))
    machine.put({"new/uv": program}, {"new/downloads.json": metadata})
    machine.run("rm", "-rf", routes.folder(of(old.release, platform), machine.old.version))
    installing = machine.run(
        *("uv", "python", "install", old.version),
        UV_PYTHON_DOWNLOADS_JSON_URL="/opt/new/downloads.json",
    )
    assert installing[0] == 0, installing[1]
    assert machine.interpreter(old.version) == inside(machine.old)

    def fetches(*arguments: str) -> str:
        """What the newer uv says that it cannot fetch, with its own metadata."""
        # A mirror that has nothing: so no network is missed, and the answer comes at once.
        code, said = machine.run(
            "/opt/new/uv", *arguments, UV_PYTHON_INSTALL_MIRROR="file:///opt/nowhere"
        )
        assert code == 1, said
        return said

    last = f"/opt/nowhere/{LAST_BUILD}/cpython-{old.version}+{LAST_BUILD}-{platform}-unknown-linux"
    assert last in fetches("python", "install", "--reinstall", old.version)
    assert last in fetches("python", "install", "--reinstall")
    if uv == "0.13.9":
        newest = project_lock.default(uv, "3.13", platform)
        name = f"/{newest.release}/cpython-{newest.version}+{newest.release}-{platform}"
        assert name in fetches("python", "upgrade", "3.13")
