"""The machine itself: real commands, a real client, a real disk; files of a temporary directory."""

from __future__ import annotations

from pathlib import Path

import docker.errors
import pytest

from harness.host import Host, NoEngine, Silence, _silence


@pytest.mark.parametrize(
    ("text", "is_debian"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=alpine\n", False),
        ("", False),
    ],
)
def test_debian_is_known_by_os_release(tmp_path: Path, text: str, is_debian: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    assert Host(root=tmp_path, env={}, cache=tmp_path).is_debian is is_debian


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (PermissionError(13, "denied"), Silence.DENIED),
        (FileNotFoundError(2, "no such file"), Silence.NOBODY),
        (ConnectionRefusedError(111, "refused"), Silence.NOBODY),
        (TimeoutError("timed out"), Silence.OTHER),
    ],
)
def test_the_reason_of_silence_is_found_beneath_the_clients_error(
    cause: Exception, why: Silence
) -> None:
    error = docker.errors.DockerException("Error while fetching server API version")
    error.__cause__ = RuntimeError("Connection aborted.", cause)  # as urllib3 does
    assert _silence(error) is why


def test_a_real_client_finds_nobody_at_a_socket_that_is_not_there(tmp_path: Path) -> None:
    host = Host(env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}, cache=tmp_path)
    engine = host.engine()
    assert isinstance(engine, NoEngine)
    assert engine.why is Silence.NOBODY


def test_what_lies_below_a_closed_directory_is_out_of_sight(tmp_path: Path) -> None:
    class Closed(type(tmp_path)):  # type: ignore[misc]  # root may enter any real directory
        def exists(self, **_: object) -> bool:
            raise PermissionError(13, "Permission denied")

    assert not Host(env={}, cache=tmp_path).exists(Closed(tmp_path))


def test_room_is_measured_where_the_cache_will_be(tmp_path: Path) -> None:
    assert Host(env={}, cache=tmp_path).disk_free(tmp_path / "not" / "yet") > 0


def test_a_command_gives_its_code_and_all_its_output() -> None:
    host = Host(env={"PATH": "/usr/bin:/bin"}, cache=Path("/nowhere"))
    code, output = host.run("sh", "-c", "echo $ADDED; echo oops >&2; exit 3", ADDED="yes")
    assert (code, output) == (3, "yes\noops\n")
    assert host.run("/no/such/program")[0] == 127


def test_a_daemon_writes_to_its_log_in_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    host = Host(env={"PATH": "/usr/bin:/bin"}, cache=tmp_path)
    ended = host.spawn(["sh", "-c", "cut -d' ' -f1,6 /proc/$$/stat; cat"], log)
    for _ in range(200):
        if ended() is not None:
            break
        host.pause(0.01)
    assert ended() == 0  # cat ended at once: standard input is /dev/null
    pid, session = log.read_text().split()
    assert pid == session
