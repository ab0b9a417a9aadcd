"""The way to an engine behind ssh, with programs that stand in for ssh and for docker there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import engine, tunnel
from harness.errors import EngineMissingError
from harness.tunnel import Destination, Tunnel

SERVER = '#!/bin/sh\nfor last; do :; done\nPATH=$THERE exec /bin/sh -c "$last"\n'
"""An ssh that gets everywhere: its last argument is what is to be run there."""

Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Write programs: ssh, which is then the first on PATH, and what there is at its other end.

    The directory of the first comes back.
    """
    folder, there = tmp_path / "programs", tmp_path / "there"
    folder.mkdir()
    there.mkdir()
    for name in ("sh", "cat"):
        (there / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("THERE", str(there))
    tunnel.to.cache_clear()

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            path = (folder if name == "ssh" else there) / name
            path.write_text(text)
            path.chmod(0o755)
        return folder

    return write


@pytest.mark.parametrize(
    ("url", "arguments", "command"),
    [
        ("ssh://far", ("--", "far"), "docker system dial-stdio"),
        ("ssh://me@far:2222", ("-l", "me", "-p", "2222", "--", "far"), "docker system dial-stdio"),
        ("ssh://far/", ("--", "far"), "podman system dial-stdio"),
        ("ssh://far/run/x.sock", ("--", "far"), "docker --host unix:///run/x.sock system dial"),
        ("ssh://far/run/x.sock", ("--", "far"), "podman --url unix:///run/x.sock system dial"),
    ],
)
def test_an_address_says_where_ssh_goes_and_what_it_runs_there(
    url: str, arguments: tuple[str, ...], command: str
) -> None:
    found = Destination.of(url)
    assert found.arguments == arguments
    assert command in found.command


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh:///x",
        "ssh://me@",
        "ssh://-oProxyCommand=x",
        "ssh://me:secret@far",
        "ssh://far:port",
        "ssh://far:99999",
        "ssh://[far",
        "ssh://far?x=1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(EngineMissingError, match="no address of an engine behind ssh"):
        Destination.of(url)


def test_a_path_there_is_no_shell_code(tmp_path: Path) -> None:
    found = Destination.of(f"ssh://far/x;touch {tmp_path}/harm;'$(touch {tmp_path}/harm)")
    subprocess.run(["/bin/sh", "-c", found.command], env={"PATH": "/bin"}, check=False)
    assert not (tmp_path / "harm").exists()


def test_a_connection_is_one_of_the_engine_there(programs: Programs) -> None:
    """Several at once, and each to its end."""
    programs(ssh=SERVER, docker="#!/bin/sh\nexec cat\n")
    opened = Tunnel("ssh://far")
    try:
        near = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for number, one in enumerate(near):
            one.connect(str(opened.path))
            one.sendall(b"%d" % number)
        assert [one.recv(10) for one in near] == [b"0", b"1", b"2"]
        for one in near:
            one.shutdown(socket.SHUT_WR)
        assert [one.recv(10) for one in near] == [b""] * 3
    finally:
        for one in near:
            one.close()
        opened.close()
    assert not opened.path.parent.exists()


def test_a_login_that_greets_is_no_obstacle(programs: Programs) -> None:
    programs(ssh=SERVER.replace("PATH=", "echo Welcome; PATH="))
    Tunnel("ssh://far").close()


def test_podman_answers_where_there_is_no_docker(programs: Programs) -> None:
    programs(ssh=SERVER, podman="#!/bin/cat\n")
    opened = Tunnel("ssh://far")
    with socket.socket(socket.AF_UNIX) as near:
        near.connect(str(opened.path))
        assert near.recv(100) == b"#!/bin/cat\n"
    opened.close()


@pytest.mark.parametrize(
    ("said", "problem", "advice"),
    [
        ("ssh: Could not resolve hostname far: Name or service not known", "no host of that", "~/"),
        ("Host key verification failed.", "its host key is not known here", "`ssh -- far`"),
        ("me@far: Permission denied (publickey).", "lets nobody in", "ssh-agent"),
        ("ssh: connect to host far port 22: Connection refused", "no ssh server listens", "Start"),
        ("ssh: connect to host far port 22: Connection timed out", "cannot be reached", "network"),
        ("", "ssh ended without a word", "Try by hand: `ssh -- far`"),
    ],
)
def test_why_ssh_does_not_get_there_is_told(
    programs: Programs, said: str, problem: str, advice: str
) -> None:
    programs(ssh=f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
    with pytest.raises(EngineMissingError) as caught:
        engine.connect({"DOCKER_HOST": "ssh://far"})
    assert caught.value.problem.startswith("no container engine answers (ssh://far): ")
    assert problem in caught.value.problem
    assert said in caught.value.problem
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    ("docker", "problem"),
    [
        ("#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n", "no engine runs"),
        (None, "neither docker nor podman"),
        ("#!/bin/sh\necho whatever >&2; exit 1\n", "whatever"),
    ],
)
def test_why_no_engine_answers_there_is_told(
    programs: Programs, docker: str | None, problem: str
) -> None:
    programs(ssh=SERVER, **({"docker": docker} if docker else {}))
    with pytest.raises(EngineMissingError, match=problem):
        engine.connect({"DOCKER_HOST": "ssh://far"})
    tunnel.to("ssh://far").close()


def test_what_is_said_there_does_nothing_to_the_terminal(programs: Programs) -> None:
    programs(ssh="#!/bin/sh\nprintf '\\033[2Jx\\n' >&2\nexit 255\n")
    with pytest.raises(EngineMissingError) as caught:
        Tunnel("ssh://far")
    assert caught.value.problem.endswith(r"(\x1b[2Jx)")


def test_without_ssh_the_package_is_named(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(programs()))
    with pytest.raises(EngineMissingError, match="there is no ssh here") as caught:
        Tunnel("ssh://far")
    assert "openssh-client" in caught.value.advice


def test_a_process_that_is_killed_leaves_nothing_behind(programs: Programs) -> None:
    folder = programs(ssh=SERVER)
    program = (
        "from harness.tunnel import Tunnel\n"
        "tunnel = Tunnel('ssh://far')\n"
        "print(tunnel.path.parent, tunnel._master.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"},
    ) as process:
        assert process.stdout is not None
        made, pid = process.stdout.readline().decode().split()
        assert Path(made).exists()
        process.send_signal(signal.SIGKILL)
    for _ in range(1000):
        if not Path(made).exists() and not Path(f"/proc/{pid}/cmdline").exists():
            break
        time.sleep(0.01)
    assert not Path(made).exists()
