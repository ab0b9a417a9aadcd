"""The end of a run that a signal asks for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import interruption, tools
from harness.interruption import SIGNALS, Interrupted, Interruption

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def handling() -> Iterator[Interruption]:
    """One that has this process's signals, until the end of the test."""
    # Some are ignored here, where whoever runs the tests has put them into the background.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    found = Interruption()
    found.handle()
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_raised_in_the_main_thread_and_has_the_shells_exit_code(
    handling: Interruption, number: signal.Signals, code: int
) -> None:
    assert handling.exit_code is None
    with pytest.raises(Interrupted, match=number.name):
        os.kill(os.getpid(), number)
    assert handling.asked is number
    assert handling.exit_code == code


def test_a_second_one_at_once_is_the_same_one(handling: Interruption) -> None:
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert handling.asked is signal.SIGINT


def test_a_later_one_ends_the_process_without_waiting() -> None:
    script = (
        "import os, signal, time\n"
        "from harness import interruption\n"
        "interruption.AT_ONCE = -1\n"
        "runs = interruption.Interruption()\n"
        "runs.handle()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except interruption.Interrupted:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, cwd=PROJECT, timeout=50)
    assert done.returncode == -signal.SIGTERM


def test_what_ends_anyway_is_not_disturbed(handling: Interruption) -> None:
    handling.ending()
    os.kill(os.getpid(), signal.SIGTERM)
    assert handling.exit_code == 143
    handling.check()


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        Interruption().handle()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in others.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGHUP, before)


def test_another_thread_takes_no_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Interruption().handle)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_waited_for_is_stopped_while_it_is_waited_for(handling: Interruption) -> None:
    stopped: list[str] = []
    with handling.stopping(lambda: stopped.append("over")):
        pass
    with (
        pytest.raises(Interrupted),
        handling.stopping(lambda: 1 / 0),  # type: ignore[arg-type]
        handling.stopping(lambda: stopped.append("going on")),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped == ["going on"]


def test_nothing_begins_after_a_signal(handling: Interruption) -> None:
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"):
        handling.check()
    with pytest.raises(Interrupted), handling.stopping(lambda: None):
        raise AssertionError("it was begun")


def test_a_thread_that_sleeps_wakes_up(handling: Interruption) -> None:
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(handling.sleep, 3600)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            sleeping.result(60)


def test_a_program_that_is_waited_for_is_ended(
    handling: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "RUNS", handling)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tools.run, ["sleep", "3600"], doing="a test")
        while not handling._stops:
            time.sleep(0.01)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            waiting.result(60)


def test_a_bound_program_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    tools._binding.cache_clear()
    if not tools._binding():
        pytest.skip("there is no setpriv")
    script = (
        "from harness import tools\n"
        f"tools.run(['sh', '-c', 'echo $$ > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/pid;"
        " exec sleep 3600'], doing='a test', bound=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT) as process:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
            time.sleep(0.01)
        pid = int((tmp_path / "pid").read_text())
        process.kill()
    while _is_there(pid):
        time.sleep(0.01)


def _is_there(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestHangUp:
    """An answer that is waited for comes at once: as an error."""

    def test_at_a_socket_of_this_machine(self, tmp_path: Path) -> None:
        path = str(tmp_path / "engine.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            with socket.socket(socket.AF_UNIX) as ours, socket.socket(socket.AF_UNIX) as later:
                ours.connect(path)
                adapter = SimpleNamespace(socket_path=path)
                interruption.hang_up(_client(adapter, "http+docker://localhost"))
                assert ours.recv(1) == b""
                later.connect(path)
                later.send(b"x")

    def test_at_a_port_and_nowhere_else(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as meant,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            port = meant.getsockname()[1]
            with (
                socket.create_connection(("127.0.0.1", port)) as ours,
                socket.create_connection(other.getsockname()) as theirs,
            ):
                interruption.hang_up(_client(None, f"http://127.0.0.1:{port}"))
                assert ours.recv(1) == b""
                theirs.send(b"x")
                accepted, _ = other.accept()
                with accepted:
                    assert accepted.recv(1) == b"x"

    def test_no_descriptor_is_left_open(self) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        interruption.hang_up(_client(None, "http://127.0.0.1:1"))
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def _client(adapter: object, url: str) -> SimpleNamespace:
    return SimpleNamespace(api=SimpleNamespace(_custom_adapter=adapter, base_url=url))
