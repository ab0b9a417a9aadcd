"""The agent of a container: in the container, run natively here, and from the harness's side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from harness import agent, probereport
from harness.agent import Agent, AgentBusy, AgentGone
from harness.cells import interpret
from harness.outcome import Reason
from harness.question import Finished, Question
from tests.unit.conftest import Compile
from tests.unit.probing import (
    CELL,
    IMPORTED,
    MAX_OUTPUT,
    NONCE,
    PROBE,
    STARTED,
    install,
    lay,
    line,
    request,
)

PATIENCE = 30
"""Seconds after which something that should come does not come any more."""

USER = 1_900_000_000 + os.getpid() * 256
"""The first of users that nobody else is: what runs as one of them is killed."""


class Running:
    """An agent, as the first process of a container would be."""

    def __init__(
        self,
        folder: Path,
        numbers: list[int],
        files: tuple[str, Path] = (sys.executable, PROBE.parent),
        change: str = "",
    ) -> None:
        python, beside = files
        start = agent.START.replace("/opt/pbs-matrix", str(beside))
        # It looks around more often than it would, so that nobody has to wait.
        start = start.replace("agent.main()", f"agent.TICK = 0.02; {change}; agent.main()")
        self.process = subprocess.Popen(
            [python, "-I", "-B", "-c", start, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={"HOME": "/", "LANG": "C.UTF-8"},
        )
        self._buffer = b""
        assert self.receive() == {"ready": True}

    def send(self, *messages: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(json.dumps(m).encode() + b"\n" for m in messages))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, "no answer came"
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "the agent has ended"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def ask(self, tree: Path, **change: Any) -> Answer:
        self.send(asking(tree, **change))
        return Answer(self.receive())

    def end(self) -> int:
        """End its input, and wait for it."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(PATIENCE)


class Answer:
    """What came of a question, as the harness sees it."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.exit_code = said["exit_code"]
        self.errors = said["errors"]
        self.events = probereport.events(said["reports"], NONCE)
        self.finished = self.events.get("finished", {})

    @property
    def told(self) -> Any:
        """What the sample has put into its exception, as JSON."""
        return json.loads(self.finished["message"])

    @property
    def reason(self) -> Reason:
        events = {name: dict(event) for name, event in self.events.items()}
        events["started"]["machine"] = "aarch64"
        finished = Finished(
            exit_code=self.exit_code,
            seconds=self.said["seconds"],
            timed_out=self.said["timed_out"],
            events=events,
            errors=self.errors,
        )
        return interpret(finished, CELL).reason


def asking(
    tree: Path,
    *,
    id: int = 1,
    limit: float = PATIENCE,
    fresh: bool = False,
    variables: dict[str, str] | None = None,
    **change: object,
) -> dict[str, Any]:
    ask = request(tree, **change)
    del ask["given"]  # the agent says so
    return {"id": id, "limit": limit, "fresh": fresh, "variables": variables or {}, "ask": ask}


Started = Callable[..., Running]
Made = Callable[..., Path]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def made(place: Path) -> Made:
    """Makes a tree whose module has a source."""
    numbers = iter(range(1000))

    def make(source: str) -> Path:
        return lay(place / str(next(numbers)), source)

    return make


@pytest.fixture
def started(place: Path) -> Iterator[Started]:
    """Starts agents, and ends them."""
    running: list[Running] = []

    def start(
        *,
        idle: int = 60,
        lasting: int = 600,
        user: int | None = None,
        files: tuple[str, Path] = (sys.executable, PROBE.parent),
        alone: bool = False,
    ) -> Running:
        numbers = [idle, lasting] if user is None else [idle, lasting, user]
        change = "agent.processes = lambda user=None: [1]" if alone else "pass"
        running.append(Running(place, numbers, files, change))
        return running[-1]

    yield start
    for its in running:
        its.process.kill()
        its.process.wait()
        for stream in (its.process.stdin, its.process.stdout):
            assert stream
            with contextlib.suppress(OSError):
                stream.close()


def both(test: Any) -> Any:
    """A test of a forked interpreter, and of a fresh one."""
    return pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])(test)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes to be so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.005)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process is there, and has not ended."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


TELLS = "import json, os, sys\ndef tell(it): raise RuntimeError(json.dumps(it))\n"

# How a question ends.

ENDS: dict[str, tuple[str, int, Reason]] = {
    "imports": ("", 0, Reason.IMPORTS),
    "raises": ("raise ValueError", 0, Reason.IMPORT_ERROR),
    "SystemExit": ("raise SystemExit(7)", 0, Reason.IMPORT_ERROR),
    "exit": ("import os; os._exit(3)", 3, Reason.CRASH),
    "exit as if all were well": ("import os; os._exit(0)", 0, Reason.CRASH),
    "SIGSEGV": ("import os; os.kill(os.getpid(), 11)", 139, Reason.CRASH),
    "abort": ("import os; os.abort()", 134, Reason.CRASH),
    "SIGKILL": ("import os; os.kill(os.getpid(), 9)", 137, Reason.CRASH),
}


@both
def test_every_end_of_a_question_is_told(started: Started, made: Made, fresh: bool) -> None:
    its = started()
    for name, (source, exit_code, reason) in ENDS.items():
        answer = its.ask(made(source), fresh=fresh)
        found = (answer.exit_code, answer.said["timed_out"], answer.said["oom_killed"])
        assert (found, answer.reason) == ((exit_code, False, False), reason), name
        assert 0 < answer.said["seconds"] < PATIENCE


@both
def test_what_does_not_end_is_ended(started: Started, made: Made, fresh: bool) -> None:
    """Whatever it does about being asked to; and the next question is answered."""
    hangs = (
        "import signal\n"
        "for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "while True: signal.pause()\n"
    )
    its = started()
    answer = its.ask(made(hangs), limit=0.3, fresh=fresh)
    assert (answer.exit_code, answer.said["timed_out"]) == (137, True)
    assert answer.said["seconds"] >= 0.3
    assert answer.reason is Reason.TIMEOUT
    assert its.ask(made("")).reason is Reason.IMPORTS


def test_what_has_closed_its_output_is_waited_for_all_the_same(
    started: Started, made: Made
) -> None:
    closes = "import os, time\nos.closerange(1, 64)\ntime.sleep(0.1)\nos._exit(4)"
    answer = started().ask(made(closes))
    assert (answer.exit_code, answer.reason) == (4, Reason.CRASH)


LEAVES = (
    "import os, sys, time\n"
    "print('before', flush=True)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    time.sleep(600)\n"
    "    os._exit(0)\n"
)


def test_what_a_sample_leaves_running_does_not_delay_the_answer(
    started: Started, made: Made
) -> None:
    """It has the output open; whoever waited for its end would wait for ten minutes."""
    tells = LEAVES.replace("if os.fork() == 0", "child = os.fork()\nif child == 0")
    answer = started().ask(made(TELLS + tells + "tell(child)"))
    os.kill(answer.told, 9)
    assert answer.errors == "before\n"


def test_a_flood_is_kept_in_part_and_the_report_in_full(started: Started, made: Made) -> None:
    floods = "import os\nfor _ in range(64): os.write(1, b'x' * (1 << 16))\nos.write(2, b'the end')"
    answer = started().ask(made(floods))
    assert len(answer.errors) == MAX_OUTPUT
    assert answer.errors.endswith("xthe end")
    assert answer.reason is Reason.IMPORTS


def test_a_flood_of_reports_is_kept_in_part(started: Started, made: Made) -> None:
    """Its beginning, which was there before anything of the sample's."""
    floods = (
        "import os, stat\n"
        "for number in range(3, 32):\n"
        "    try:\n"
        "        for _ in range(64): os.write(number, b'x' * (1 << 16))\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(5)\n"
    )
    answer = started().ask(made(floods))
    assert len(answer.said["reports"]) == MAX_OUTPUT
    assert list(answer.events) == ["started"]
    assert answer.exit_code == 5


@both
def test_forged_reports_are_not_taken(started: Started, made: Made, fresh: bool) -> None:
    """Printed with the right nonce, or written where reports go to with another."""
    wrong = line(**{**IMPORTED, "nonce": "0" * 16}).encode()
    forges = (
        "import os\n"
        f"os.write(1, {line(**IMPORTED).encode()!r})\n"
        "for number in range(3, 32):\n"
        "    try:\n"
        f"        os.write(number, {wrong!r})\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(3)\n"
    )
    answer = started().ask(made(forges), fresh=fresh)
    assert list(answer.events) == ["started"]
    assert answer.said["reports"].count("finished") == 1
    assert answer.errors.count(NONCE) == 1
    assert answer.reason is Reason.CRASH


def test_output_that_is_no_text_is_told_as_far_as_it_is(started: Started, made: Made) -> None:
    answer = started().ask(made("import os; os.write(1, b'a\\xff\\n'); os.write(2, b'\\0b')"))
    assert answer.errors == "a\ufffd\n\0b"


# Forked or fresh, it is the same.

LOOKS = (
    TELLS
    + """\
import fractions, resource, signal, stat

def kind(number):
    try:
        return stat.S_IFMT(os.fstat(number).st_mode)
    except OSError:
        return None

umask = os.umask(0)
tell({
    "kinds": [kind(number) for number in range(3)],
    "is one": os.fstat(1).st_ino == os.fstat(2).st_ino,
    "input": os.read(0, 10).decode(),
    "open": sum(kind(number) is not None for number in range(3, 256)),
    "folder": os.getcwd(),
    "umask": umask,
    "own session": os.getsid(0) == os.getpid() == os.getpgid(0),
    "parent": os.getppid(),
    "variables": dict(os.environ),
    "flags": list(sys.flags),
    "path": [entry for entry in sys.path if not entry.startswith(os.path.dirname(__file__))],
    "executable": sys.executable,
    "signals": [str(signal.getsignal(number)) for number in (2, 15, 17)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "wakeup": signal.set_wakeup_fd(-1),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "main": sys.modules["__main__"].__name__,
})
"""
)


def test_a_forked_interpreter_has_what_a_fresh_one_has(started: Started, made: Made) -> None:
    """And nothing of the agent's: no descriptor, no signal handler, no other's process group."""
    its, tree = started(), made(LOOKS)
    forked, fresh = (its.ask(tree, fresh=fresh).told for fresh in (False, True))
    assert forked["own session"]
    assert forked["is one"]
    assert forked["input"] == ""
    assert forked["parent"] == its.process.pid
    assert forked["wakeup"] == -1
    assert forked["variables"] == {"HOME": "/", "LANG": "C.UTF-8"}
    # Those of the reports, and of the memory.
    assert forked.pop("open") == 2
    assert 1 <= fresh.pop("open") <= 2
    differing = {name for name in forked if forked[name] != fresh[name]}
    assert differing <= {"path"}
    assert not any(str(PROBE.parent) in entry for entry in forked["path"])


def test_both_report_the_same(started: Started, made: Made) -> None:
    its = started()
    for source in ("import fractions", "import signal, select, ctypes, json.tool", "1 / 0"):
        tree = made(source)
        forked, fresh = (its.ask(tree, fresh=fresh) for fresh in (False, True))
        for answer in (forked, fresh):
            assert answer.finished.pop("seconds") >= 0
        assert forked.events == fresh.events


PLAIN = "extern void *PyLong_FromLong(long value); void *use(void) { return PyLong_FromLong(1); }"


def test_both_find_the_same_bindings(compiled: Compile, started: Started, place: Path) -> None:
    its, tree = started(), install(place / "tree", plain=compiled(PLAIN))
    lay(tree, "import ctypes, os; ctypes.CDLL(os.path.dirname(__file__) + '/plain.so')")
    answers = [
        its.ask(tree),
        its.ask(tree, fresh=True),
        its.ask(tree, remedy="ld-library-path"),
    ]
    for answer in answers:
        bindings = answer.finished["bindings"]
        assert bindings == {
            "home": bindings["home"],
            "counts": {bindings["home"]: 1},
            "copies": {},
        }


@pytest.mark.parametrize("module", ["select", "signal", "agent", "probe", "ctypes"])
def test_nothing_that_the_agent_needs_is_there_before_a_sample_imports_it(
    started: Started, made: Made, module: str
) -> None:
    """Else an import that fails in a fresh interpreter might not in a forked one."""
    assert started().ask(made(TELLS + f"tell({module!r} in sys.modules)")).told is False


def test_nothing_that_a_sample_does_reaches_the_next(started: Started, made: Made) -> None:
    changes = made(
        "import os, sys, json\n"
        "os.environ['PYTHONX'] = '1'; os.chdir('/'); os.umask(0); sys.path.clear()\n"
        "json.dumps = None; sys.modules['sample.left'] = sys\n"
    )
    asks = made(
        TELLS + "tell([os.environ.get('PYTHONX'), os.getcwd(), bool(sys.path), "
        "'sample.left' in sys.modules])"
    )
    its = started()
    before = its.ask(asks).told
    its.ask(changes)
    assert its.ask(asks).told == before


# Variables, which the loader reads when a program starts.

SEARCHED = (
    TELLS
    + """\
with open("/proc/self/environ") as stream:
    began = dict(item.split("=", 1) for item in stream.read().split("\\0") if item)
tell({
    "began": began,
    "now": dict(os.environ),
    "flags": (sys.flags.isolated, sys.flags.dont_write_bytecode),
    "executable": os.path.realpath(sys.executable),
})
"""
)


def test_variables_are_there_when_the_interpreter_starts(started: Started, made: Made) -> None:
    """And are no leak, which one of the container's own would be."""
    answer = started().ask(made(SEARCHED), variables={"LD_DEBUG": "statistics", "X": "ü"})
    wanted = {"HOME": "/", "LANG": "C.UTF-8", "LD_DEBUG": "statistics", "X": "ü"}
    assert answer.told["began"] == answer.told["now"] == wanted
    assert answer.events["started"]["leaked"] == []
    assert "runtime linker statistics" in answer.errors


def test_the_search_path_is_set_when_the_interpreter_starts(started: Started, made: Made) -> None:
    """Set any later it is nothing to the loader."""
    answer = started().ask(made(SEARCHED), remedy="ld-library-path")
    told = answer.told
    assert told["began"] == told["now"]
    # Where this Python's libpython is, or would be.
    assert told["now"]["LD_LIBRARY_PATH"] in {
        str(Path(sys.base_prefix) / "lib"),
        str(sysconfig.get_config_var("LIBDIR")),
    }
    assert told["flags"] == [1, 1]
    assert told["executable"] == os.path.realpath(sys.executable)
    assert answer.events["started"]["leaked"] == []


@pytest.mark.parametrize("remedy", ["none", "patchelf", "upgrade-only", "reinstall"])
def test_no_other_remedy_sets_the_search_path(started: Started, made: Made, remedy: str) -> None:
    told = started().ask(made(SEARCHED), remedy=remedy).told
    assert "LD_LIBRARY_PATH" not in {**told["began"], **told["now"]}


# Many questions.


def test_questions_are_answered_as_they_end(started: Started, made: Made) -> None:
    """The second releases the first."""
    flag = made("").with_name("flag")
    waits = made(f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.005)")
    its = started()
    its.send(asking(waits, id=1), asking(made("1 / 0"), id=2))
    assert its.receive()["id"] == 2
    flag.touch()
    assert its.receive()["id"] == 1


def test_many_at_once_are_each_answered_once(started: Started, made: Made) -> None:
    its, tree = started(), made("import os; print(os.getpid())")
    its.send(*(asking(tree, id=number) for number in range(20)))
    answers = [its.receive() for _ in range(20)]
    assert sorted(answer["id"] for answer in answers) == list(range(20))
    assert len({answer["errors"] for answer in answers}) == 20


def test_a_request_may_come_in_pieces(started: Started, made: Made) -> None:
    its = started()
    data = json.dumps(asking(made(""), extra="x" * 200_000)).encode() + b"\n"
    stream = its.process.stdin
    assert stream
    for start in range(0, len(data), 50_001):
        stream.write(data[start : start + 50_001])
        stream.flush()
    assert Answer(its.receive()).reason is Reason.IMPORTS


# Users, as in a container, where the agent is root.


@pytest.fixture
def everybodys(place: Path) -> tuple[str, Path]:
    """A Python that every user may run, and the agent's files where all may read them."""
    if os.geteuid() != 0:
        pytest.skip("only root may change its user")
    python = next((p for p in (sys.executable, "/usr/bin/python3") if is_open(Path(p))), None)
    if python is None:
        pytest.skip("there is no Python that everybody may run")
    for name in ("agent.py", "probe.py"):
        shutil.copyfile(PROBE.with_name(name), place / name)
    return python, place


def is_open(path: Path) -> bool:
    """Whether all may run a program by this path, and read what is beside it.

    A virtual environment's program is a link; both ends of it count.
    """
    real = path.resolve()
    folders = {*path.absolute().parents, *real.parents}
    return real.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders)


PRIVILEGES = (
    TELLS
    + """def refused(do, *arguments):
    try:
        do(*arguments)
    except OSError as error:
        return type(error).__name__
    return None

def ids(name):
    with open("/proc/self/status") as stream:
        return next(line.split()[1:] for line in stream if line.startswith(name))

parent = os.getppid()
tell({
    "users": os.getresuid(),
    "groups": [*os.getresgid(), *os.getgroups()],
    "capabilities": [ids(name) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "signal": refused(os.kill, parent, 0),
    "memory": refused(open, f"/proc/{parent}/mem", "rb"),
    "environment": refused(open, f"/proc/{parent}/environ", "rb"),
    "descriptors": refused(os.listdir, f"/proc/{parent}/fd"),
    "become root": refused(os.setuid, 0),
    "own": refused(os.kill, os.getpid(), 0),
})
"""
)


@both
def test_a_sample_has_a_user_without_privileges(
    started: Started, made: Made, everybodys: tuple[str, Path], fresh: bool
) -> None:
    its, tree = started(user=USER, files=everybodys), made(PRIVILEGES)
    first, second = (its.ask(tree, fresh=fresh).told for _ in range(2))
    assert first["users"] == first["groups"] == [USER] * 3
    assert second["users"] == [USER + 1] * 3
    assert first["capabilities"] == [["0" * 16]] * 4
    keys = ("signal", "memory", "environment", "descriptors", "become root")
    assert {first[key] for key in keys} == {"PermissionError"}
    assert first["own"] is None


def test_questions_at_once_have_users_of_their_own(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    its, tree = started(user=USER, files=everybodys), made("import os; print(os.getuid())")
    its.send(*(asking(tree, id=number) for number in range(10)))
    users = {int(its.receive()["errors"]) for _ in range(10)}
    assert users == set(range(USER, USER + 10))


def test_nothing_of_a_sample_is_left(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    """Neither a process, of a session of its own, nor a file, whatever its folder's mode."""
    leaves = made(
        TELLS
        + """import signal, tempfile, time
reading, writing = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.fork()
        os.write(writing, b"%d\\n" % os.getpid())
        time.sleep(600)
with open(reading) as stream:
    left = [int(stream.readline()) for _ in range(6)]
places = []
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    if os.path.isdir(place):
        places.append(tempfile.mkdtemp(dir=place))
        os.mkdir(places[-1] + "/inner")
        open(places[-1] + "/inner/file", "w").close()
        os.symlink("/etc", places[-1] + "/link")
        os.chmod(places[-1] + "/inner", 0)
        os.chmod(places[-1], 0)
tell([left, places])
"""
    )
    its = started(user=USER, files=everybodys)
    processes, places = its.ask(leaves).told
    assert len(processes) == 6
    assert places
    # What is asked next is asked after that.
    assert its.ask(made("")).reason is Reason.IMPORTS
    assert [pid for pid in processes if is_alive(pid)] == []
    assert [path for path in places if os.path.lexists(path)] == []


def test_a_tree_too_deep_for_a_path_is_removed(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    deep = made(
        TELLS
        + """import tempfile
top = tempfile.mkdtemp(dir="/tmp")
os.chdir(top)
for _ in range(2000):
    open("file", "w").close()
    os.mkdir("a-folder-in-it")
    os.chdir("a-folder-in-it")
tell(top)
"""
    )
    its = started(user=USER, files=everybodys)
    top = its.ask(deep).told
    assert its.ask(made("")).reason is Reason.IMPORTS
    assert not os.path.lexists(top)
    left = [e.path for e in os.scandir("/tmp") if e.stat(follow_symlinks=False).st_uid == USER]
    assert left == []


SHARED_MEMORY = """import ctypes
libc = ctypes.CDLL(None)
tell(libc.shmget(0, 4096, 0o1600))
"""


def test_who_writes_on_after_the_end_does_not_keep_it(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    """What is in the pipe is read, and no more is waited for."""
    floods = made(
        TELLS
        + """if not os.fork():
    while True:
        os.write(2, b"x" * 65536)
tell(1)
"""
    )
    its = started(user=USER, files=everybodys)
    assert its.ask(floods).told == 1
    assert its.ask(made("")).reason is Reason.IMPORTS


def test_shared_memory_that_is_left_ends_it(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    """No file shows it, so with the agent all of the container goes."""
    its = started(user=USER, files=everybodys)
    segment = its.ask(made(TELLS + SHARED_MEMORY)).told
    try:
        assert segment >= 0
        assert its.process.wait(PATIENCE) == 1
    finally:
        subprocess.run(["ipcrm", "-m", str(segment)], check=False, capture_output=True)


def test_a_bomb_of_processes_ends_it(
    started: Started, made: Made, everybodys: tuple[str, Path]
) -> None:
    """They are not counted out one by one: with the agent all of the container goes."""
    forks = made("import os, time\nfor _ in range(30):\n if not os.fork(): time.sleep(600)")
    its = started(user=USER, files=everybodys)
    try:
        assert its.ask(forks).reason is Reason.IMPORTS
        assert its.process.wait(PATIENCE) == 1
    finally:
        subprocess.run(["pkill", "-9", "-U", str(USER)], check=False)


def test_a_user_without_privileges_has_bindings_too(
    compiled: Compile, started: Started, place: Path, everybodys: tuple[str, Path]
) -> None:
    """A process that has changed its user may not open its own memory any more."""
    its, tree = started(user=USER, files=everybodys), install(place / "tree", plain=compiled(PLAIN))
    lay(tree, "import ctypes, os; ctypes.CDLL(os.path.dirname(__file__) + '/plain.so')")
    for fresh in (False, True):
        bindings = its.ask(tree, fresh=fresh).finished["bindings"]
        assert bindings["counts"] == {bindings["home"]: 1}


# Its end.


def test_the_end_of_its_input_ends_it(started: Started) -> None:
    assert started().end() == 0


def test_the_end_of_its_input_ends_it_though_a_question_is_open(
    started: Started, made: Made
) -> None:
    """In a container, the question's process ends with it."""
    its = started()
    pid = made("").with_name("pid")
    hangs = f"import os, time\nopen({str(pid) + '~'!r}, 'w').write(str(os.getpid()))\n"
    hangs += f"os.rename({str(pid) + '~'!r}, {str(pid)!r})\ntime.sleep(600)"
    its.send(asking(made(hangs)))
    assert eventually(pid.exists)
    assert its.end() == 0
    os.kill(int(pid.read_text()), 9)


def test_its_time_is_over_although_a_question_is_open(started: Started, made: Made) -> None:
    its = started(lasting=0)
    with contextlib.suppress(BrokenPipeError):
        its.send(asking(made("import time; time.sleep(1)")))
    assert its.process.wait(PATIENCE) == 0
    assert its.process.stdout
    assert its.process.stdout.readline() == b"", "it has waited for the answer"


def test_a_question_keeps_it_from_being_idle(started: Started, made: Made) -> None:
    its = started(idle=0, alone=True)
    with contextlib.suppress(BrokenPipeError):
        its.send(asking(made("import time; time.sleep(0.3)")))
    assert Answer(its.receive()).reason is Reason.IMPORTS
    assert its.process.wait(PATIENCE) == 0


def test_somebodys_shell_keeps_it_from_being_idle(started: Started, made: Made) -> None:
    """On this machine, where others' processes are, it is never alone."""
    its = started(idle=0)
    assert its.ask(made("import time; time.sleep(0.1)")).reason is Reason.IMPORTS
    assert its.ask(made("")).reason is Reason.IMPORTS


# From the harness's side.


def frame(data: bytes, kind: int = agent.STDOUT) -> bytes:
    """A piece of a container's output, as an engine sends it."""
    return struct.pack(">BxxxL", kind, len(data)) + data


class FakeContainer:
    """A container whose first process is the test."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.requests = self.ours.makefile("rb")
        self.started = 0
        self.killed = 0

    def attach_socket(self, params: dict[str, int]) -> socket.socket:
        assert params == {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        assert not self.started, "what is said before would be lost"
        return self.theirs

    def start(self) -> None:
        self.started += 1

    def kill(self) -> None:
        self.killed += 1
        self.end()

    def request(self) -> dict[str, Any]:
        """What is asked next."""
        found: dict[str, Any] = json.loads(self.requests.readline())
        return found

    def send(self, *data: bytes) -> None:
        for piece in data:
            self.ours.sendall(piece)

    def end(self) -> None:
        """End the stream, as the end of a container does."""
        with contextlib.suppress(OSError):
            self.ours.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def container() -> Iterator[FakeContainer]:
    made = FakeContainer()
    yield made
    made.end()
    for stream in (made.requests, made.ours, made.theirs):
        stream.close()


@pytest.fixture
def its(container: FakeContainer) -> Agent:
    its = Agent(cast(Container, container))
    its.start()
    container.send(frame(b'{"ready": true}\n'))
    return its


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


QUESTION = Question(
    environment="e",
    ask={"tree": "/t", "module": "m", "remedy": "none"},
    limit=7,
    variables={"X": "1"},
)


def answering(asked: dict[str, Any], **change: object) -> bytes:
    """A line that answers a request."""
    nonce = asked["ask"]["nonce"]
    reports = line(**{**STARTED, "nonce": nonce}) + line(**{**IMPORTED, "nonce": nonce})
    said = {
        "id": asked["id"],
        "exit_code": 0,
        "signal": None,
        "seconds": 0.5,
        "timed_out": False,
        "oom_killed": False,
        "reports": reports,
        "errors": "é",
    }
    return json.dumps({**said, **change}).encode() + b"\n"


def asked_of(its: Agent, pool: ThreadPoolExecutor, number: int = 1) -> list[Future[Finished]]:
    return [pool.submit(its.ask, QUESTION) for _ in range(number)]


def test_a_question_is_sent_whole_and_its_answer_is_what_was_said(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    (coming,) = asked_of(its, pool)
    asked = container.request()
    nonce = asked["ask"].pop("nonce")
    assert asked == {
        "id": asked["id"],
        "limit": 7,
        "fresh": False,
        "variables": {"X": "1"},
        "ask": QUESTION.ask,
    }
    asked["ask"]["nonce"] = nonce
    container.send(frame(answering(asked, exit_code=3, oom_killed=True)))
    finished = coming.result(PATIENCE)
    assert (finished.exit_code, finished.seconds, finished.errors) == (3, 0.5, "é")
    assert (finished.timed_out, finished.oom_killed) == (False, True)
    assert set(finished.events) == {"started", "finished"}
    assert not its.is_over


def test_a_question_for_which_there_is_no_process_is_not_answered(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    (coming,) = asked_of(its, pool)
    said = {"id": container.request()["id"], "unasked": "Resource temporarily unavailable"}
    container.send(frame(json.dumps(said).encode() + b"\n"))
    with pytest.raises(AgentBusy, match="temporarily unavailable"):
        coming.result(PATIENCE)
    assert not its.is_over


def test_every_question_has_a_nonce_and_a_number_of_its_own(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    coming = asked_of(its, pool, 5)
    asked = [container.request() for _ in coming]
    assert len({a["ask"]["nonce"] for a in asked}) == len({a["id"] for a in asked}) == 5
    assert min(len(a["ask"]["nonce"]) for a in asked) >= 16
    for one in reversed(asked):
        # What was meant for another is nobody's report.
        other = asked[0] if one is not asked[0] else asked[1]
        container.send(frame(answering({**one, "ask": other["ask"]})))
    assert [future.result(PATIENCE).events for future in coming] == [{}] * 5


@pytest.mark.parametrize("size", [1, 3, 100, 8192])
def test_an_answer_may_come_in_any_pieces(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor, size: int
) -> None:
    """Pieces of frames, and frames of pieces of lines."""
    (coming,) = asked_of(its, pool)
    said = answering(container.request())
    frames = b"".join(frame(said[at : at + size]) for at in range(0, len(said), size))
    container.send(*(frames[at : at + size] for at in range(0, len(frames), size)))
    assert set(coming.result(PATIENCE).events) == {"started", "finished"}


def test_several_answers_may_come_at_once_and_in_any_order(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    coming = asked_of(its, pool, 3)
    said = [answering(container.request(), errors=str(number)) for number in range(3)]
    half = len(said[0]) // 2
    container.send(frame(b"".join([said[2], said[1], said[0][:half]])), frame(said[0][half:]))
    found = [future.result(PATIENCE) for future in coming]
    assert {finished.errors for finished in found} == {"0", "1", "2"}
    assert all(set(finished.events) == {"started", "finished"} for finished in found)


def test_an_answer_to_no_question_is_dropped(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    (coming,) = asked_of(its, pool)
    asked = container.request()
    container.send(frame(answering({**asked, "id": 99})), frame(answering(asked)))
    assert coming.result(PATIENCE).exit_code == 0
    container.send(frame(answering(asked)))
    assert not its.is_over


def test_what_the_agent_says_to_people_is_no_answer(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    (coming,) = asked_of(its, pool)
    said = answering(container.request())
    container.send(frame(said[:10]), frame(b"warning\n", agent.STDERR), frame(said[10:]))
    assert coming.result(PATIENCE).exit_code == 0
    assert its.last_words == "warning"


@pytest.mark.parametrize("part", ["nothing", "header", "frame", "line"])
def test_a_stream_that_ends_leaves_no_question_waiting(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor, part: str
) -> None:
    coming = asked_of(its, pool, 3)
    said = answering(container.request())
    container.send(frame(b"x" * 5000 + b" its last words\n", agent.STDERR))
    pieces = {
        "nothing": b"",
        "header": frame(said)[:5],
        "frame": frame(said)[:50],
        "line": frame(said[:50]),
    }
    container.send(pieces[part])
    # Only after all have asked.
    assert {container.request()["id"] for _ in range(2)}
    container.end()
    for future in coming:
        with pytest.raises(AgentGone, match=r"its last words$") as caught:
            future.result(PATIENCE)
        assert len(str(caught.value)) <= agent.MAX_LAST_WORDS
    assert its.is_over
    with pytest.raises(AgentGone, match=r"its last words$"):
        its.ask(QUESTION)


GARBAGE = {
    "no JSON": b"{\n",
    "no text": b"\xff\n",
    "empty": b"\n",
    "number": b"3\n",
    "list": b"[]\n",
    "no id": b"{}\n",
    "id that is a list": b'{"id": []}\n',
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_agent_that_says_anything_else_is_no_agent_any_more(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor, garbage: str
) -> None:
    (coming,) = asked_of(its, pool)
    container.request()
    container.send(frame(GARBAGE[garbage]))
    with pytest.raises(AgentGone):
        coming.result(PATIENCE)
    assert its.is_over
    assert "Error" in its.last_words


def test_a_line_without_end_is_not_kept(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "MAX_LINE", 10_000)
    (coming,) = asked_of(its, pool)
    container.request()
    container.send(frame(b"x" * 10_001))
    with pytest.raises(AgentGone):
        coming.result(PATIENCE)


def test_a_long_answer_within_the_limit_is_taken(
    its: Agent, container: FakeContainer, pool: ThreadPoolExecutor
) -> None:
    """All that is kept of a probe's output, and every byte of it takes six."""
    (coming,) = asked_of(its, pool)
    errors = "\ufffd" * MAX_OUTPUT
    said = answering(container.request(), errors=errors)
    assert 2 * len(said) < agent.MAX_LINE
    container.send(*(frame(said[at : at + 32_768]) for at in range(0, len(said), 32_768)))
    assert coming.result(PATIENCE).errors == errors


def test_an_agent_that_does_not_answer_has_its_container_killed(
    its: Agent, container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "GRACE", 0.05)
    finished = its.ask(Question(environment="e", ask={}, limit=0))
    assert container.killed == 1
    assert (finished.exit_code, finished.timed_out, finished.events) == (None, True, {})
    assert finished.errors == "its agent had not answered 0.05 s after the time limit"


def test_an_agent_that_has_died_before_it_is_asked_is_gone(
    its: Agent, container: FakeContainer
) -> None:
    container.send(frame(b"Fatal Python error\n", agent.STDERR))
    container.end()
    assert eventually(lambda: its.is_over)
    with pytest.raises(AgentGone, match=r"^Fatal Python error$"):
        its.ask(QUESTION)


def test_closing_ends_the_agents_input(its: Agent, container: FakeContainer) -> None:
    """Then the container ends, and after it the stream, which is how that is known."""
    its.close()
    assert container.requests.readline() == b""
    assert not its.has_ended(0)
    container.end()
    assert its.has_ended(PATIENCE)
    assert its.is_over
    assert container.theirs.fileno() == -1, "a run with many containers would run out of them"
    its.close()
    with pytest.raises(AgentGone):
        its.ask(QUESTION)


def test_a_container_that_is_gone_need_not_be_killed(
    its: Agent, container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        raise NotFound("gone")

    monkeypatch.setattr(container, "kill", kill)
    monkeypatch.setattr(agent, "GRACE", 0)
    assert its.ask(Question(environment="e", ask={}, limit=0)).timed_out


def test_the_command_of_a_container_is_that_of_the_agent() -> None:
    *python, start, idle, lasting, user = agent.command(idle=1, lasting=2)
    assert python == ["/opt/venv/bin/python", "-I", "-B", "-c"]
    assert start == agent.START
    assert (idle, lasting) == ("1", "2")
    # The image has them, as the agent does.
    dockerfile = PROBE.with_name("Dockerfile").read_text()
    assert f"$(({user} + n))" in dockerfile
    assert "-lt 200 ]" in dockerfile
    assert "\nUSERS = 200\n" in PROBE.with_name("agent.py").read_text()
