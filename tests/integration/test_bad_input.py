"""What goes wrong around a run, on the real engine: one clear message each, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import docker
import pytest
import yaml
from click.testing import CliRunner

from harness import cache, cli, engine, index
from harness.errors import EnginePermissionError, ExitCode
from harness.images import Images
from harness.lock import Lock
from harness.matrix import Matrix
from harness.platforms import Platform
from tests import servers
from tests.integration.conftest import PROJECT, Pytest, leftovers

pytestmark = pytest.mark.engine

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, which needs root")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Everything a user saw; never a traceback."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text, text
    assert "INTERNALERROR" not in text, text
    return text


def cache_entries(cache: Path) -> list[Path]:
    """What a cache holds under a final name, and what was left half-made."""
    return [path for kind in cache.iterdir() if kind.is_dir() for path in kind.iterdir()]


def _as_nobody(answer: Connection) -> None:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        engine.connect()
    except EnginePermissionError as error:
        answer.send(("permission", str(error)))
    except Exception as error:
        answer.send((type(error).__name__, str(error)))
    else:
        answer.send(("connected", ""))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_an_engine_that_this_user_may_not_talk_to_is_told_apart_from_none() -> None:
    """The socket is there; the advice is about the group, not about installing an engine."""
    receiver, sender = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=_as_nobody, args=(sender,))
    child.start()
    kind, text = receiver.recv()
    child.join()
    assert kind == "permission", text
    assert "this user may not talk to it" in text
    assert "usermod -aG docker" in text


@needs_root
def test_cells_that_need_an_emulator_that_is_not_there(
    run_pytest: Pytest, client: docker.DockerClient
) -> None:
    """In a mount namespace without binfmt_misc; x86_64 cells are offered instead."""
    foreign = next(p for p in Platform if not p.is_native)
    script = 'umount -l /proc/sys/fs/binfmt_misc; exec "$@"'
    done = run_pytest(
        "--uv=0.7.6",
        f"--platform={foreign}",
        before=("unshare", "--mount", "sh", "-c", script, "sh"),
    )
    assert done.returncode == ExitCode.EMULATION_MISSING, said(done)
    assert f"cells for {foreign} were selected, but this machine has no emulator" in said(done)
    assert f"--platform {Platform.host()}" in said(done)
    assert "pbs-matrix doctor --fix" in said(done)


def test_a_dead_package_index_ends_the_run_with_one_message(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """Nothing can be tested without a uv, so no list of a hundred untestable cells."""
    done = run_pytest(
        *("--uv=0.7.6", "--platform=x86_64", "--extension=python-mscl", "--base=debian13"),
        environment={
            "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
            "PBS_MATRIX_CACHE": str(tmp_path / "cache"),
        },
    )
    text = said(done)
    assert done.returncode == ExitCode.FETCH, text
    assert "cannot be fetched" in text
    assert "127.0.0.1:9" in text
    assert "FAILED" not in text
    assert not list((tmp_path / "cache").glob("wheels/[!.]*"))
    assert not list((tmp_path / "cache").glob("uv/[!.]*"))


def test_one_missing_wheel_makes_its_cells_untestable_and_no_others(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    """Untestable fails the run, unless it is allowed; then it is skipped and counted."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    lock = json.loads((PROJECT / "matrix.lock").read_text())
    for wheels in lock["wheels"]["python-mscl==67.0.1.0"]["3.13"].values():
        wheels[0]["filename"] = wheels[0]["filename"].replace("67.0", "66.0")
        wheels[0]["sha256"] = "0" * 64
    (tmp_path / "matrix.lock").write_text(json.dumps(lock))
    arguments = (
        f"--matrix={tmp_path / 'matrix.yaml'}",
        *("--uv=0.7.6", "--platform=x86_64", "--base=debian13"),
        *("--extension=python-mscl", "--extension=no-libpython"),
    )
    done = run_pytest(*arguments)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in said(done)
    assert "untestable: stage install failed: the index no longer has python_mscl-66" in said(done)
    allowed = run_pytest(*arguments, "--allow-untestable")
    assert allowed.returncode == 0
    assert "1 passed, 1 skipped" in said(allowed)
    assert "1 untestable" in said(allowed)


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("no-such-thing==1.0", "the index has no project called 'no-such-thing'"),
        ("narrow==9.0", "the index has no narrow 9.0"),
        ("narrow==2.0", "narrow 2.0 has no wheel for CPython 3.13 on aarch64"),
    ],
)
def test_a_wheel_that_does_not_exist_is_told_when_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, problem: str
) -> None:
    """Against a stand-in of the index; the old lock file stays as it was."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    document["uv"] = ["0.7.6"]
    document["profiles"] = {"default": {}}
    document["extensions"] = {"wanted": {"requirement": requirement, "imports": "x"}}
    document["expectations"] = []
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "matrix.lock").write_text("the old lock")
    lock = json.loads((PROJECT / "matrix.lock").read_text())
    locked = Lock.model_validate(lock).uv["0.7.6"]
    real = {wheel.filename: index.fetch(wheel).read_bytes() for wheel in locked.wheels.values()}
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    index._project.cache_clear()
    with servers.serving() as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple")
        servers.add_project(server, "uv", real)
        narrow = "narrow-2.0-cp313-cp313-manylinux2014_x86_64.whl"
        servers.add_project(server, "narrow", {narrow: servers.tiny_wheel("narrow", "2.0", "x")})
        done = CliRunner().invoke(
            cli.main, ["lock", "--matrix", str(tmp_path / "matrix.yaml")], catch_exceptions=False
        )
    index._project.cache_clear()
    assert done.exit_code == ExitCode.NO_SUCH_WHEEL, done.output
    assert problem in done.output
    assert (tmp_path / "matrix.lock").read_text() == "the old lock"


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of a given size."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@needs_root
def test_a_full_disk_under_the_cache_ends_the_run_and_leaves_no_half_entry(
    run_pytest: Pytest, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "cache", 30) as cache:
        done = run_pytest(
            *("--uv=0.7.6", "--platform=x86_64", "--base=debian13", "--extension=no-libpython"),
            environment={"PBS_MATRIX_CACHE": str(cache)},
        )
        text = said(done)
        assert done.returncode == ExitCode.DISK_FULL, text
        assert "no space is left on the disk that holds" in text
        assert "PBS_MATRIX_CACHE" in text
        halves = [p for p in cache_entries(cache) if p.name.startswith(".") and p.is_dir()]
        assert halves == []


@contextmanager
def second_engine(work: Path, data: Path) -> Iterator[str]:
    """A container engine of our own, with its data on a given file system; its address."""
    address = f"unix://{work / 'engine.sock'}"
    with ExitStack() as stack, (work / "engine.log").open("w") as log:
        process = stack.enter_context(
            subprocess.Popen(
                [
                    *("dockerd", f"--host={address}", f"--data-root={data}"),
                    *(f"--exec-root={work / 'exec'}", f"--pidfile={work / 'engine.pid'}"),
                    *("--bridge=none", "--iptables=false", "--ip-masq=false"),
                ],
                stdout=log,
                stderr=log,
            )
        )
        stack.callback(process.terminate)
        deadline = time.monotonic() + 60
        while True:
            try:
                docker.DockerClient(base_url=address).ping()
                break
            except Exception:
                assert process.poll() is None, (work / "engine.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield address


@needs_root
@pytest.mark.skipif(
    subprocess.run(["which", "dockerd"], capture_output=True, check=False).returncode != 0,
    reason="starts an engine of its own, which needs dockerd here",
)
def test_a_full_disk_under_the_engine_ends_the_run_with_one_message(
    run_pytest: Pytest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """While an image is being built, on an engine whose disk is too small for it."""
    # A socket's path must be short.
    work = tmp_path_factory.mktemp("e")
    with small_disk(work / "data", 60) as data, second_engine(work, data) as address:
        done = run_pytest(
            *("--uv=0.7.6", "--platform=x86_64", "--base=debian13", "--extension=no-libpython"),
            environment={"DOCKER_HOST": address},
        )
        text = said(done)
        assert done.returncode == ExitCode.DISK_FULL, text
        assert "no space is left on the disk that holds the engine's images" in text
        own = docker.DockerClient(base_url=address)
        assert leftovers(own) == []
        assert own.containers.list(all=True) == []


def test_a_registry_that_answers_is_used_and_its_packages_are_added(
    client: docker.DockerClient, project_matrix: Matrix
) -> None:
    """Pulled by digest for each platform; what it lacks comes from Debian, unpacked over it."""
    from harness import images as images_module

    root = images_module._debian_root(
        "trixie", tuple(sorted(images_module.ESSENTIAL)), Platform.AARCH64
    )
    with servers.serving() as server:
        digest = servers.add_image(server, "debian", root / "root.tar", ["arm64"])
        kept = f"{images_module.PULLED}:{digest[7:31]}-aarch64"
        saved = cache.root() / images_module.SAVED / cache.digest(kept)[:24]
        saved.unlink(missing_ok=True)
        base = project_matrix.bases["debian13"].model_copy(
            update={"image": f"127.0.0.1:{server.port}/debian@{digest}"}
        )
        images = Images(client)
        made = images.base("pulled", base, Platform.AARCH64, ("libexpat1",))
        assert images.registry_problem is None
        assert (made.origin, made.base_digest) == ("pulled", digest)
        again = Images(client).base("pulled", base, Platform.AARCH64, ("libexpat1",))
        assert again == made
    # Where neither the engine has it nor a registry answers, the cache has.
    client.images.remove(f"127.0.0.1:{server.port}/debian@{digest}", force=True)
    client.images.remove(kept, force=True)
    assert Images(client).base("pulled", base, Platform.AARCH64, ("libexpat1",)) == made
    image = client.images.get(made.tag)
    try:
        assert image.attrs["Architecture"] == "arm64"
        said_by = client.containers.run(
            image.id,
            ["ls", "/usr/lib/aarch64-linux-gnu/libexpat.so.1"],
            platform="linux/arm64",
            network_mode="none",
            remove=True,
            labels={engine.KIND: "test"},
        )
        assert b"libexpat" in said_by
    finally:
        client.images.remove(made.tag, force=True)
        client.images.remove(kept, force=True)
        saved.unlink()


def test_a_dead_registry_is_named_and_the_base_is_built_instead(
    client: docker.DockerClient, project_matrix: Matrix
) -> None:
    """One answer serves the whole run, and the results say which of the two it was."""
    digest = "sha256:" + "0" * 64
    base = project_matrix.bases["debian13"].model_copy(
        update={"image": f"127.0.0.1:9/debian@{digest}"}
    )
    images = Images(client)
    made = images.base("debian13", base, Platform.X86_64, ())
    assert made.origin == "built"
    assert images.registry_problem is not None
    assert "127.0.0.1:9" in images.registry_problem
