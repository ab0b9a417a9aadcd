"""A run in parts, on the real engine; a cell opened; cells run again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from harness import merging, planfile
from harness.results import Result, read
from tests.integration.conftest import PROJECT, Pytest, leftovers

pytestmark = pytest.mark.engine

ID = "python-mscl-uv0.7.6-cp313-20250517~replica-x86_64-debian13"
MISSING = "ImportError: libpython3.13.so.1.0: cannot open shared object file"
COMMAND = str(Path(sys.executable).with_name("pbs-matrix"))


def pbs_matrix(*arguments: object, said: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        input=said,
    )


def answers(results: Iterator[Result]) -> dict[str, tuple[object, ...]]:
    """What does not depend on the hour or the machine's load."""
    return {
        r.id: (r.outcome, r.missing_library, r.message, r.status, r.predicted, r.linked, r.pins)
        for r in results
    }


def test_shards_merged_are_what_one_run_says(run_pytest: Pytest, tmp_path: Path) -> None:
    """The quick profile on both platforms: planned once, run whole, and in two parts."""
    plan, whole = tmp_path / "plan.json", tmp_path / "whole.jsonl"
    done = pbs_matrix("plan", "--profile=quick", "--source=replica", "--shards=2", "-o", plan)
    assert done.returncode == 0, done.stderr
    assert run_pytest("--profile=quick", "-n2", f"--results={whole}").returncode == 0
    files = [tmp_path / f"{n}.jsonl" for n in (1, 2)]
    for n, file in enumerate(files, 1):
        part = run_pytest(f"--plan={plan}", f"--shard={n}/2", "-n2", f"--results={file}")
        assert part.returncode == 0, part.stdout
        assert f"shard {n}/2 ({n}/2): " in part.stdout
    own = [{result.id for result in read(file)} for file in files]
    assert all(own)
    assert not own[0] & own[1]
    done = pbs_matrix("merge", *files, "-o", tmp_path / "all.jsonl", "--plan", plan)
    assert done.returncode == 0, done.stdout
    assert "54 cells" in done.stdout
    assert answers(read(tmp_path / "all.jsonl")) == answers(read(whole))
    assert {r.platform for r in read(whole)} == {"x86_64", "aarch64"}
    # Without one of them, what it had is named.
    hole = pbs_matrix("merge", files[0], "-o", tmp_path / "half.jsonl", "--plan", plan)
    assert hole.returncode == 1
    missing = [line for line in hole.stdout.splitlines() if line.startswith("missing: ")]
    assert {line.removeprefix("missing: ") for line in missing} == own[1]
    assert set(planfile.ids(plan)) == own[0] | own[1]


def test_more_shards_than_cells(run_pytest: Pytest, tmp_path: Path) -> None:
    """Those that are empty succeed too, and merge."""
    select_one = ("--uv=0.7.6", "--platform=x86_64", "--base=debian13", "--extension=python-mscl")
    files = [tmp_path / f"{n}.jsonl" for n in (1, 2)]
    for n, file in enumerate(files, 1):
        done = run_pytest(*select_one, f"--shard={n}/2", f"--results={file}")
        assert done.returncode == 0, done.stdout
    assert sorted(len(list(read(file))) for file in files) == [0, 1]
    with merging.merged(files, [ID]) as merged:
        assert len(list(merged.lines())) == 1


def mine(client: docker.DockerClient, process: subprocess.Popen[bytes] | int) -> list[str]:
    pid = process if isinstance(process, int) else process.pid
    return leftovers(client, pid=pid)


def test_a_command_in_a_cell_is_what_its_probe_sees(client: docker.DockerClient) -> None:
    """Without a terminal: pipes in and out, the command's exit code, nothing left."""
    with subprocess.Popen(
        [COMMAND, "shell", ID, "python"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
    ) as process:
        code = b"import os; print(os.getuid(), os.listdir('/sys/class/net')); import python_mscl\n"
        out, err = process.communicate(code)
    assert process.returncode == 1
    assert out == b"65534 ['lo']\n"
    assert MISSING in err.decode()
    assert "python-mscl is in /opt/extensions/python-mscl/site" in err.decode()
    assert mine(client, process) == []


@pytest.mark.parametrize("remedy", ["preload-by-path", "ld-library-path"])
def test_what_the_shell_says_can_be_typed_there(remedy: str) -> None:
    """A remedy's import succeeds in the shell as the matrix expects it to."""
    name = f"{ID}+{remedy}"
    told = pbs_matrix("shell", name, "true")
    assert told.returncode == 0, told.stderr
    typed = next(line for line in told.stderr.splitlines() if line.startswith("  python -I"))
    done = pbs_matrix("shell", name, said=f"{typed} && echo imported\nexit 3\n")
    assert (done.stdout, done.returncode) == ("imported\n", 3), done.stderr
    code = shlex.split(typed)[-1]
    assert pbs_matrix("shell", ID, "--", "python", "-c", code).returncode == (
        0 if remedy.startswith("preload") else 1
    )


def test_much_output_comes_whole() -> None:
    done = pbs_matrix("shell", ID, "sh", "-c", "seq 300000; seq 300000 >&2; cat", said="x" * 10**6)
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 300001)) + "x" * 10**6
    assert done.stderr.endswith("\n299999\n300000\n")


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.chdir(PROJECT)
            os.execv(COMMAND, [COMMAND, "shell", *arguments])
        self.said = ""

    def resize(self, lines: int, columns: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until it has been said since the last time; fails where it ends before."""
        deadline = time.monotonic() + 120
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self._file], [], [], 1)[0]:
                self.said += os.read(self._file, 65536).decode(errors="replace")
        self.said = self.said.partition(text)[2]

    def end(self) -> int:
        """Its exit code."""
        with contextlib.suppress(OSError):
            while os.read(self._file, 65536):
                pass
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_shell_at_a_terminal(client: docker.DockerClient) -> None:
    """Its size, Ctrl-C for what runs in it, its exit code; the container goes with it."""
    terminal = Terminal(ID)
    terminal.resize(33, 101)
    terminal.wait_for(" $ ")
    terminal.type("stty size; echo user-$(id -u)\n")
    terminal.wait_for("33 101")
    terminal.wait_for("user-65534")
    terminal.resize(44, 155)
    terminal.wait_for(" $ ")
    terminal.type("until [ \"$(stty size)\" = '44 155' ]; do sleep 0.1; done; echo re''sized\n")
    terminal.wait_for("resized")
    terminal.type("sleep 1000\n")
    terminal.wait_for("sleep 1000")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.type("python -c 'import python_mscl'; echo do''ne\n")
    terminal.wait_for("libpython3.13.so.1.0: cannot open shared object file")
    terminal.wait_for("done")
    (container,) = leftovers(client, pid=terminal.pid)
    assert client.containers.get(container).attrs["Config"]["Cmd"][-2] == "86400"
    terminal.type("exit 5\n")
    assert terminal.end() == 5
    assert leftovers(client, pid=terminal.pid) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_shell_that_is_told_to_end_leaves_nothing(
    client: docker.DockerClient, number: signal.Signals
) -> None:
    terminal = Terminal(ID)
    terminal.wait_for(" $ ")
    os.kill(terminal.pid, number)
    assert terminal.end() == 128 + number
    assert leftovers(client, pid=terminal.pid) == []


def test_what_failed_is_run_again_and_nothing_else(run_pytest: Pytest, tmp_path: Path) -> None:
    """One expectation flipped, a run, the expectation put right, and the one cell run again."""
    own = tmp_path / "matrix.yaml"
    original = (PROJECT / "matrix.yaml").read_text()
    document = yaml.load(original, Loader=yaml.BaseLoader)
    flipped = {"extension": "libpython-needed", "uv": "0.7.6", "expect": "imports", "reason": "x"}
    document["expectations"].insert(0, flipped)
    own.write_text(yaml.safe_dump(document))
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    done = run_pytest(
        *(f"--matrix={own}", f"--results={first}", "--uv=0.7.6", "--platform=x86_64"),
        *("--base=debian13", "--extension=libpython-needed*"),
    )
    assert done.returncode == 1
    assert len(list(read(first))) == 3
    done = pbs_matrix("rerun", "--failed", first, f"--matrix={own}", "--", f"--results={again}")
    assert done.returncode == 1, done.stdout
    assert [r.extension for r in read(again)] == ["libpython-needed"]
    own.write_text(original)
    done = pbs_matrix("rerun", "--failed", first, f"--matrix={own}", "--", f"--results={again}")
    assert done.returncode == 0, done.stdout
    assert [r.status for r in read(again)] == ["as-expected"]
    done = pbs_matrix("rerun", "--failed", again, f"--matrix={own}")
    assert (done.returncode, "nothing to run" in done.stdout) == (0, True)
