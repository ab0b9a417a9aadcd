"""Finding an engine, naming it, and telling its failures; without one."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest
import requests

from harness import engine, preparing
from harness.engine import Address
from harness.errors import (
    BuildError,
    ConfigurationError,
    DiskFullError,
    EmulationMissingError,
    EngineMissingError,
    EnginePermissionError,
)
from harness.platforms import Platform

PODMAN = {
    "Platform": {"Name": "linux/amd64/debian-12"},
    "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}],
    "Version": "4.3.1",
    "Os": "linux",
    "Arch": "amd64",
}
DOCKER = {
    "Platform": {"Name": "Docker Engine - Community"},
    "Components": [{"Name": "Engine"}, {"Name": "containerd"}],
    "Version": "28.0",
    "Os": "linux",
    "Arch": "arm64",
}


class FakeClient:
    """What an engine says of itself."""

    def __init__(
        self,
        version: dict[str, Any] = DOCKER,
        info: dict[str, Any] | None = None,
        address: Address | None = None,
    ) -> None:
        self._version, self._info = version, info or {}
        self.address = address

    def version(self) -> dict[str, Any]:
        return self._version

    def info(self) -> dict[str, Any]:
        return self._info


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, and no variable that names an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    configuration = tmp_path / "docker"
    configuration.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(configuration))
    return configuration


def context(home: Path, name: str, content: str, *, current: bool = True) -> None:
    """Write a context as the docker command does."""
    folder = home / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(content)
    (home / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


def metadata(name: str, host: str) -> str:
    endpoint = {"docker": {"Host": host, "SkipTLSVerify": False}}
    return json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoint})


def test_the_variable_goes_before_the_context(home: Path) -> None:
    context(home, "colima", metadata("colima", "unix:///home/me/.colima/docker.sock"))
    found = engine.named({"DOCKER_HOST": "tcp://10.0.0.9:2375"})
    assert found == Address(url="tcp://10.0.0.9:2375", found="DOCKER_HOST")
    assert str(found) == "tcp://10.0.0.9:2375, by DOCKER_HOST"


def test_an_empty_variable_names_nothing() -> None:
    assert engine.named({"DOCKER_HOST": ""}) is None


def test_the_current_context_names_the_engine(home: Path) -> None:
    context(home, "colima", metadata("colima", "unix:///home/me/.colima/docker.sock"))
    found = engine.named({})
    assert found is not None
    assert str(found) == "unix:///home/me/.colima/docker.sock, by the Docker context colima"


def test_the_variable_for_a_context_goes_before_the_current_one(home: Path) -> None:
    context(home, "far", metadata("far", "ssh://me@far"), current=False)
    assert engine.named({}) is None
    found = engine.named({"DOCKER_CONTEXT": "far"})
    assert found is not None
    assert found.url == "ssh://me@far"
    assert engine.named({"DOCKER_CONTEXT": "default"}) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "context far cannot be read"),
        ("[]", "context far cannot be read"),
        ('{"Name": "far", "Metadata": {}, "Endpoints": {"kubernetes": {}}}', "names no engine"),
    ],
)
def test_a_context_that_cannot_be_used_is_told(home: Path, content: str, problem: str) -> None:
    context(home, "far", content)
    with pytest.raises(EngineMissingError, match=problem) as caught:
        engine.find({})
    assert "docker context use" in caught.value.advice


def test_a_context_that_is_not_there_is_told_without_its_name_doing_harm() -> None:
    with pytest.raises(EngineMissingError) as caught:
        engine.named({"DOCKER_CONTEXT": "x\x1b[2J"})
    assert caught.value.problem == r"the Docker context x\x1b[2J does not exist"


def test_missing_certificates_are_told(tmp_path: Path) -> None:
    environment = {
        "DOCKER_HOST": "tcp://10.0.0.9:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path / "nowhere"),
    }
    with pytest.raises(EngineMissingError, match="certificates cannot be read"):
        engine.named(environment)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own directory of sockets, and no other sockets."""
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.setattr(engine, "PODMAN_SOCKET", str(tmp_path / "podman.sock"))
    (tmp_path / "run" / "podman").mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def served(runtime: Path) -> Iterator[list[Path]]:
    """Sockets that somebody serves: whatever the test puts into the list, by ``serve``."""
    sockets: list[socket.socket] = []
    paths: list[Path] = []

    class Served(list[Path]):
        def append(self, path: Path) -> None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            sockets.append(listener)
            paths.append(path)

    yield Served()
    for listener in sockets:
        listener.close()


def test_of_the_usual_sockets_the_first_that_answers_is_taken(
    runtime: Path, served: list[Path], tmp_path: Path
) -> None:
    """Rootless Podman's where Docker's is there, but nobody serves it."""
    served.append(runtime / "podman" / "podman.sock")
    (tmp_path / "docker.sock").touch()
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    assert str(engine.find(environment)) == f"unix://{runtime}/podman/podman.sock"
    served.append(runtime / "docker.sock")
    assert str(engine.find(environment)) == f"unix://{runtime}/docker.sock"


def test_where_none_answers_the_one_that_is_there_is_told(runtime: Path, tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    assert str(engine.find(environment)) == f"unix://{tmp_path}/docker.sock"
    (tmp_path / "podman.sock").touch()
    assert str(engine.find(environment)) == f"unix://{tmp_path}/podman.sock"
    with pytest.raises(EngineMissingError, match="no container engine answers") as caught:
        engine.connect(environment)
    assert f"{tmp_path}/podman.sock" in caught.value.problem
    assert "doctor --fix" in caught.value.advice


def test_an_engine_that_was_named_and_does_not_answer_is_not_ours_to_start(tmp_path: Path) -> None:
    with pytest.raises(EngineMissingError) as caught:
        engine.connect({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert "No such file or directory" in caught.value.problem
    assert caught.value.advice.startswith("Start that engine, or correct DOCKER_HOST, which names")


def test_a_host_that_nobody_knows_is_told() -> None:
    with pytest.raises(EngineMissingError, match="there is no host of that name"):
        engine.connect({"DOCKER_HOST": "tcp://no-such-host.invalid:2375"})


def test_a_port_that_nobody_serves_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineMissingError, match="Connection refused"):
        engine.connect({"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})


@pytest.mark.parametrize("url", ["ftp://x", "tcp://", "tcp://host", "unix://x?y=1"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(EngineMissingError, match="no container engine answers"):
        engine.connect({"DOCKER_HOST": url})


def test_a_socket_that_is_not_ours_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise docker.errors.DockerException("no") from PermissionError(13, "denied")

    monkeypatch.setattr(engine, "Client", refuse)
    with pytest.raises(EnginePermissionError, match="may not talk to it"):
        engine.connect({"DOCKER_HOST": f"unix://{tmp_path}/x.sock"})


@pytest.mark.parametrize(
    ("version", "described"),
    [
        (PODMAN, "Podman 4.3.1 (linux/amd64)"),
        (DOCKER, "Docker 28.0 (linux/arm64)"),
        ({"Version": "19"}, "Docker 19 (?/?)"),
        ({"Components": ["x"]}, "Docker ? (?/?)"),
    ],
)
def test_an_engine_is_named(version: dict[str, Any], described: str) -> None:
    assert engine.describe(FakeClient(version)) == described


def test_the_platform_is_the_engines_and_not_this_machines() -> None:
    assert engine.platform(FakeClient(DOCKER)) is Platform.AARCH64
    assert engine.platform(FakeClient(PODMAN)) is Platform.X86_64
    assert engine.platform(FakeClient({"Arch": "riscv64"})) is None


@pytest.mark.parametrize(
    ("url", "kernel", "name", "is_here"),
    [
        ("unix:///var/run/docker.sock", "same", "other", True),
        ("unix:///var/run/docker.sock", "other", "same", False),
        ("tcp://127.0.0.1:2375", "same", "same", True),
        ("tcp://10.0.0.9:2375", "same", "other", False),
        ("ssh://far", "same", "other", False),
    ],
)
def test_an_engine_is_here_by_its_kernel_and_over_the_network_by_its_name_too(
    url: str, kernel: str, name: str, is_here: bool
) -> None:
    this = {"KernelVersion": os.uname().release, "Name": os.uname().nodename}
    said = {
        key: value if wanted == "same" else "other"
        for (key, value), wanted in zip(this.items(), (kernel, name), strict=True)
    }
    assert engine.is_here(FakeClient(info=said, address=Address(url=url))) is is_here


def test_the_emulator_of_another_machine_is_not_known_from_here() -> None:
    info = {"KernelVersion": "other", "Name": "other"}
    far = FakeClient(DOCKER, info, Address(url="tcp://10.0.0.9:2375"))
    assert preparing.emulator(Platform.AARCH64, far) is None
    assert preparing.emulator(Platform.X86_64, far) == "unknown"
    preparing.check_emulation(Platform, far)  # it shows when something is run there


@pytest.mark.parametrize(
    ("info", "lacks"),
    [
        ({"MemoryLimit": True, "Rootless": True, "CgroupVersion": "1"}, True),
        ({"MemoryLimit": True, "Rootless": True, "CgroupVersion": "2"}, False),
        ({"MemoryLimit": False}, True),
        ({"MemoryLimit": True}, False),
    ],
)
def test_an_engine_that_keeps_to_no_limits_is_known(info: dict[str, Any], lacks: bool) -> None:
    assert engine.lacks_limits(FakeClient(info=info)) is lacks


def failed_build(*said: str) -> docker.errors.BuildError:
    return docker.errors.BuildError("exit status 1", [{"stream": line} for line in said])


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        # Docker's and Podman's words.
        (
            failed_build("\x1b[91mexec /x: exec format error\n\x1b[0m"),
            EmulationMissingError,
            "QEMU",
        ),
        (
            docker.errors.APIError("x", explanation="runc: exec format error: OCI runtime error"),
            EmulationMissingError,
            "cannot run programs of that platform",
        ),
        (
            docker.errors.APIError("x", explanation="error setting rlimit type 7: not permitted"),
            BuildError,
            "default_ulimits",
        ),
        (failed_build("write: no space left on device"), DiskFullError, "space"),
        (requests.ConnectionError("gone"), EngineMissingError, "stopped answering"),
        (failed_build("whatever"), BuildError, "doing it: exit status 1\nwhatever"),
    ],
)
def test_what_an_engine_refuses_is_told_in_words(
    error: Exception, kind: type[Exception], text: str
) -> None:
    told = engine.translated(error, "doing it")
    assert type(told) is kind
    assert text in str(told)


def test_what_a_build_prints_does_nothing_to_a_terminal() -> None:
    told = engine.translated(failed_build("\x1b[31mred\x1b[0m\r\n\x1b]0;title\x07\n"), "doing it")
    assert told.problem == "doing it: exit status 1\nred\n\\x1b]0;title\\x07"


@pytest.mark.parametrize(
    "error",
    [
        requests.ReadTimeout("Read timed out. (read timeout=5.0)"),
        requests.ConnectTimeout("timed out"),
        TimeoutError("timed out"),
    ],
)
def test_an_engine_that_does_not_answer_in_time_is_told_from_one_that_is_gone(
    error: Exception,
) -> None:
    told = engine.translated(error, "doing it")
    assert isinstance(told, EngineMissingError)
    assert told.problem.startswith("doing it: the engine has not answered in time: ")
    assert engine.TIMEOUT_VARIABLE in told.advice


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "1e999"])
def test_what_is_waited_for_an_engine_is_a_number_of_seconds(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{engine.TIMEOUT_VARIABLE} is '{text}'"):
        engine.connect({engine.TIMEOUT_VARIABLE: text})
    assert engine._timeout({engine.TIMEOUT_VARIABLE: "2.5"}) == 2.5
    assert engine._timeout({}) == engine.TIMEOUT
