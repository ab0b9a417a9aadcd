"""What is sent to a container, and which of them there are at what time; without an engine."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import pytest
import requests
from docker.errors import APIError, NotFound

from harness import agent, containers
from harness import engine as engines
from harness.agent import AgentBusy, AgentGone
from harness.cells import interpret
from harness.containers import Containers
from harness.errors import DiskFullError, EmulationMissingError, EngineMissingError, HarnessError
from harness.image import Image, Origin
from harness.outcome import Reason, Stage
from harness.plan import Cell
from harness.prepared import Prepared, PreparedEnvironment, PreparedExtension, extension_key
from harness.question import Finished, Question
from tests.unit.sample_cell import sample_cell


class FakeContainer:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []

    def put_archive(self, directory: str, packed: IO[bytes]) -> None:
        self.got.append((directory, packed.read()))


@pytest.mark.parametrize("content", [b"", b"x", bytes(511), bytes(512), bytes(20_000)])
def test_a_tar_is_sent_whole_and_without_padding(content: bytes) -> None:
    """A file of zeros at its end is none; each container gets the same."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("first", "last"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    container: Any = FakeContainer()
    for _ in range(2):
        containers.put(container, "/opt", stream)
    (directory, sent), again = container.got
    assert (directory, sent) == again
    assert len(sent) == 2 * (512 + -(-len(content) // 512) * 512) + 1024
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        assert tar.getnames() == ["first", "last"]
        assert tar.extractfile("last").read() == content  # type: ignore[union-attr]


def test_an_empty_tar_is_sent_too(tmp_path: Path) -> None:
    container: Any = FakeContainer()
    with containers._packed({}) as packed:
        containers.put(container, "/opt", packed)
    assert container.got == [("/opt", bytes(1024))]


# Which containers there are, and when.


class FakeAgent:
    """Answers what it is told to, until it is closed."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.is_over = False
        self.asked: list[Question] = []

    def start(self) -> None:
        self.container.engine.start(self)

    def ask(self, question: Question) -> Finished:
        self.asked.append(question)
        answered: Finished = self.container.engine.answer(self, question)
        return answered

    def close(self) -> None:
        self.is_over = True
        self.container.engine.said.append(f"end {self.container.place}")

    def has_ended(self, seconds: float) -> bool:
        return self.is_over and not self.container.engine.is_stuck


class FakeEngine:
    """An engine's client, and what became of the containers."""

    def __init__(self) -> None:
        self.containers = self
        self.agents: list[FakeAgent] = []
        self.options: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.removed: list[str] = []
        self.problems: list[Exception] = []
        self.is_stuck = False
        self.most = 0
        self.starting = threading.Event()
        self.starting.set()
        self.answer: Callable[[FakeAgent, Question], Finished] = lambda its, question: FINE

    def create(self, image: str, **options: Any) -> Any:
        if self.problems:
            raise self.problems.pop(0)
        self.options.append({"image": image, **options})
        made: Any = FakeContainer()
        made.engine = self
        made.place = image
        made.remove = lambda **_: self.removed.append(image)
        return made

    def start(self, agent: FakeAgent) -> None:
        assert self.starting.wait(30)
        self.agents.append(agent)
        self.most = max(self.most, len(self.alive))
        self.said.append(f"start {agent.container.place}")
        if self.problems:
            raise self.problems.pop(0)

    @property
    def alive(self) -> list[str]:
        return [its.container.place for its in self.agents if not its.is_over]

    def info(self) -> dict[str, object]:
        return {"NCPU": 4}

    def list(self, **_: object) -> tuple[Any, ...]:
        return ()


FINE = Finished(exit_code=0, seconds=0.1, timed_out=False, events={"started": {}}, errors="")


def cell_in(name: str) -> Cell:
    """A cell of an environment that is named by its base."""
    cell = sample_cell()
    return replace(cell, environment=replace(cell.environment, base=name))


def question(name: str, **change: Any) -> Question:
    return Question(environment=cell_in(name).environment.id, ask={}, limit=1, **change)


def prepared(*names: str, tree: Path = Path("/trees/1")) -> Prepared:
    """What there is of environments, whose images are called as they are."""
    cells = {name: cell_in(name) for name in names}
    sample = next(iter(cells.values()))
    return Prepared(
        run="run",
        owner="owner",
        engine_version="20.10 (linux/amd64)",
        emulators={},
        environments={
            cell.environment.id: PreparedEnvironment(
                image=Image(tag=name, id="sha256:1", origin=Origin.BUILT, base_digest="d")
            )
            for name, cell in cells.items()
        },
        extensions={
            extension_key("sample", sample.environment): PreparedExtension(tree=tree, wheels={})
        },
        wanted={cell.environment.id: ("sample",) for cell in cells.values()},
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setattr(containers, "Agent", FakeAgent)
    monkeypatch.setattr(engines, "can_mount", lambda client: True)
    return FakeEngine()


Pool = Callable[..., Containers]


@pytest.fixture
def pool(engine: FakeEngine) -> Iterator[Pool]:
    """Makes the containers of a run that has a cell in each of these environments."""
    made: list[Containers] = []

    def make(*names: str, **options: Any) -> Containers:
        made.append(Containers(cast(Any, engine), "run", "owner", **options))
        if names:
            made[-1].plan([cell_in(name) for name in names], prepared(*names))
        return made[-1]

    yield make
    for its in made:
        its.close()


def settled(pool: Containers) -> None:
    """Wait until all that is to be started has been."""
    for place in pool._places.values():
        if place.agent is not None:
            place.agent.result(30)


def test_containers_are_started_ahead_in_order_up_to_a_number(
    engine: FakeEngine, pool: Pool
) -> None:
    its = pool("a", "b", "c", "d", most=2)
    settled(its)
    assert sorted(engine.said) == ["start a", "start b"]
    its.done(cell_in("a"))
    settled(its)
    assert engine.said[2:] == ["end a", "start c"]
    its.done(cell_in("b"))
    settled(its)
    assert engine.said[4:] == ["end b", "start d"]


def test_a_container_ends_when_the_last_of_its_cells_is_done(
    engine: FakeEngine, pool: Pool
) -> None:
    its = pool("a", "a", "a", "b")
    for _ in range(2):
        its.done(cell_in("a"))
    settled(its)
    assert sorted(engine.alive) == ["a", "b"]
    its.done(cell_in("a"))
    assert engine.alive == ["b"]


def test_an_environment_whose_cells_are_done_before_its_turn_is_not_started(
    engine: FakeEngine, pool: Pool
) -> None:
    its = pool("a", "b", "c", most=1)
    its.done(cell_in("b"))
    its.done(cell_in("a"))
    settled(its)
    assert "start b" not in engine.said
    assert engine.alive == ["c"]


def test_nothing_is_started_ahead_where_each_question_has_its_own(
    engine: FakeEngine, pool: Pool
) -> None:
    its = pool()
    its.plan([cell_in("a"), cell_in("b")], prepared("a", "b"), ahead=False)
    settled(its)
    assert engine.said == []
    its.ask(question("a", fresh=True))
    assert engine.said == ["start a", "end a"]


def test_a_cpu_is_left_to_containers_that_are_being_started(
    engine: FakeEngine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two, one more may ask only when nothing is being started; and it does then."""
    its = pool("a")
    settled(its)
    its._cpus, its._starts = 2, 1
    entered = [threading.Event(), threading.Event()]
    may_go = threading.Event()

    def ask(number: int) -> None:
        with its.room():
            entered[number].set()
            assert may_go.wait(30)

    with ThreadPoolExecutor() as threads:
        first = threads.submit(ask, 0)
        assert entered[0].wait(30)
        second = threads.submit(ask, 1)
        assert not entered[1].wait(0.2)
        its._start_is_over(Future())
        assert entered[1].wait(30)
        may_go.set()
        for asking in (first, second):
            asking.result(30)
    assert its._guests == 0


def test_what_has_no_image_has_no_container(engine: FakeEngine, pool: Pool) -> None:
    its = pool()
    failed = prepared("a")
    failed.environments[cell_in("a").environment.id] = PreparedEnvironment(problem="no space")
    its.plan([cell_in("a"), cell_in("b")], failed)
    settled(its)
    its.done(cell_in("a"))
    its.done(cell_in("b"))
    assert engine.said == []


def test_a_question_is_asked_in_the_container_of_its_environment(
    engine: FakeEngine, pool: Pool
) -> None:
    its = pool("a", "b")
    for name in ("b", "a", "b"):
        assert its.ask(question(name)) is FINE
    asked = {agent.container.place: agent.asked for agent in engine.agents}
    assert asked == {"a": [question("a")], "b": [question("b")] * 2}


def test_asking_at_once_starts_one_container(engine: FakeEngine, pool: Pool) -> None:
    engine.starting.clear()
    its = pool("a")
    with ThreadPoolExecutor(8) as asking:
        coming = [asking.submit(its.ask, question("a")) for _ in range(8)]
        engine.starting.set()
        assert [future.result(30) for future in coming] == [FINE] * 8
    assert engine.said == ["start a"]


def test_there_are_never_more_than_that_while_some_have_nothing_to_do(
    engine: FakeEngine, pool: Pool
) -> None:
    """What has not been in use for longest has to go, and comes again when it is asked."""
    names = list("abcdef")
    its = pool(*names, most=2)
    for name in [*names, *names[:1]]:
        assert its.ask(question(name)) is FINE
    settled(its)
    assert engine.most <= 2
    assert sorted(engine.alive) == ["a", "f"]
    assert [said for said in engine.said if said.endswith(" a")].count("start a") == 2


def test_one_in_use_does_not_go_for_another(engine: FakeEngine, pool: Pool) -> None:
    """Rather there are more than that."""
    together = threading.Barrier(3)

    def wait(agent: FakeAgent, question: Question) -> Finished:
        together.wait(30)
        assert not agent.is_over
        return FINE

    engine.answer = wait
    its = pool("a", "b", "c", most=1)
    with ThreadPoolExecutor(3) as asking:
        assert list(asking.map(its.ask, map(question, "abc"))) == [FINE] * 3


def test_an_environment_that_is_asked_after_its_end_is_started_again(
    engine: FakeEngine, pool: Pool
) -> None:
    """As a cell that is run a second time."""
    its = pool("a")
    its.ask(question("a"))
    its.done(cell_in("a"))
    assert engine.alive == []
    assert its.ask(question("a")) is FINE
    assert engine.alive == ["a"]


def test_a_container_that_ended_by_itself_is_asked_for_again(
    engine: FakeEngine, pool: Pool
) -> None:
    def gone_once(agent: FakeAgent, question: Question) -> Finished:
        if len(engine.agents) == 1:
            raise AgentGone("it was idle")
        return FINE

    engine.answer = gone_once
    its = pool("a")
    for _ in range(2):
        assert its.ask(question("a")) is FINE
    assert engine.said == ["start a", "end a", "start a"]


def test_a_container_that_ends_again_leaves_the_question_without_an_answer(
    engine: FakeEngine, pool: Pool
) -> None:
    def gone(agent: FakeAgent, question: Question) -> Finished:
        raise AgentGone(f"its last words, {len(engine.agents)}")

    engine.answer = gone
    finished = pool("a").ask(question("a"))
    assert (finished.events, finished.exit_code, finished.timed_out) == ({}, None, False)
    assert finished.errors == "its last words, 2"
    assert engine.said == ["start a", "end a"] * 2
    outcome = interpret(finished, sample_cell())
    assert (outcome.stage, outcome.reason) == (Stage.INTERPRETER, Reason.UNTESTABLE)


def test_what_a_busy_container_has_no_process_for_is_asked_in_one_of_its_own(
    engine: FakeEngine, pool: Pool
) -> None:
    """A sample beside it has taken all that there are; that says nothing of this one."""

    def busy(agent: FakeAgent, question: Question) -> Finished:
        if agent is engine.agents[0]:
            raise AgentBusy("Resource temporarily unavailable")
        return FINE

    engine.answer = busy
    its = pool("a")
    assert its.ask(question("a")) is FINE
    first, second = engine.agents
    assert (first.is_over, second.is_over) == (False, True)


def test_what_no_container_has_a_process_for_is_without_an_answer(
    engine: FakeEngine, pool: Pool
) -> None:
    def busy(agent: FakeAgent, question: Question) -> Finished:
        raise AgentBusy(f"no process, {len(engine.agents)}")

    engine.answer = busy
    finished = pool("a").ask(question("a"))
    assert (finished.events, finished.exit_code, finished.errors) == ({}, None, "no process, 2")


def test_what_is_gone_for_one_is_started_once_for_all(engine: FakeEngine, pool: Pool) -> None:
    together = threading.Barrier(4)

    def gone_at_first(agent: FakeAgent, question: Question) -> Finished:
        if agent is engine.agents[0]:
            together.wait(30)
            raise AgentGone("killed")
        return FINE

    engine.answer = gone_at_first
    its = pool("a")
    with ThreadPoolExecutor(4) as asking:
        assert list(asking.map(its.ask, [question("a")] * 4)) == [FINE] * 4
    assert engine.said.count("start a") == 2


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_fresh_question_has_a_container_of_its_own(
    engine: FakeEngine, pool: Pool, is_gone: bool
) -> None:
    def answer(agent: FakeAgent, question: Question) -> Finished:
        if question.fresh and is_gone:
            raise AgentGone("gone")
        return FINE

    engine.answer = answer
    its = pool("a")
    its.ask(question("a"))
    assert (its.ask(question("a", fresh=True)).errors == "gone") is is_gone
    assert its.ask(question("a")) is FINE
    first, second = engine.agents
    assert (len(first.asked), first.is_over) == (2, False)
    assert (second.asked, second.is_over) == ([question("a", fresh=True)], True)


def test_an_engine_that_refuses_is_told_in_words_and_asked_again(
    engine: FakeEngine, pool: Pool
) -> None:
    problems = [APIError("no space left on device"), requests.ConnectionError("gone")]
    its = pool()
    engine.problems = [*problems]
    its.plan([cell_in("a")], prepared("a"))
    for kind in (DiskFullError, EngineMissingError):
        with pytest.raises(kind):
            its.ask(question("a"))
    assert its.ask(question("a")) is FINE


def test_a_container_that_does_not_start_is_removed(engine: FakeEngine, pool: Pool) -> None:
    engine.starting.clear()
    its = pool("a")
    while not engine.options:
        time.sleep(0.001)
    engine.problems = [APIError("exec format error")]
    engine.starting.set()
    with pytest.raises(EmulationMissingError, match=r"starting the container of uv0\.7\.6"):
        its.ask(question("a"))
    assert engine.removed == ["a"]


def test_the_end_of_a_run_leaves_no_container(engine: FakeEngine, pool: Pool) -> None:
    """Those that are just starting included; and what had not begun does not begin."""
    engine.starting.clear()
    its = pool(*"abcdefghij")
    ending = threading.Thread(target=its.close)
    ending.start()
    engine.starting.set()
    ending.join(30)
    assert not ending.is_alive()
    assert engine.alive == []
    assert len(engine.options) < 10


def test_whoever_waits_for_a_container_at_the_end_of_a_run_waits_no_more(
    engine: FakeEngine, pool: Pool
) -> None:
    engine.starting.clear()
    names = [f"n{number}" for number in range(40)]
    its = pool(*names, most=40)
    with ThreadPoolExecutor(1) as asking:
        coming = asking.submit(its.ask, question(names[-1]))
        while not its._places[question(names[-1]).environment].asking:
            time.sleep(0.001)
        assert len(engine.options) < len(names), "there is nobody who waits"
        ending = threading.Thread(target=its.close)
        ending.start()
        try:
            with pytest.raises(HarnessError, match="the run is ending"):
                coming.result(30)
        finally:
            engine.starting.set()
            ending.join(30)
    assert engine.alive == []


def test_nothing_is_asked_after_the_end_of_a_run(engine: FakeEngine, pool: Pool) -> None:
    its = pool("a")
    its.close()
    for fresh in (False, True):
        with pytest.raises(HarnessError):
            its.ask(question("a", fresh=fresh))
    assert engine.alive == []


@pytest.mark.parametrize("is_stuck", [False, True])
def test_only_what_does_not_end_is_removed(
    engine: FakeEngine, pool: Pool, monkeypatch: pytest.MonkeyPatch, is_stuck: bool
) -> None:
    reaped: list[str] = []
    monkeypatch.setattr(containers, "reap", lambda client, run: reaped.append(run))
    monkeypatch.setattr(containers, "ENDING_SECONDS", 0)
    its = pool("a")
    its.ask(question("a"))
    engine.is_stuck = is_stuck
    its.close()
    assert bool(reaped) is is_stuck


@pytest.mark.parametrize(("answer", "number"), [(None, 1), (404, 1), (409, 1), (500, 0)], ids=str)
def test_what_the_engine_does_not_remove_is_not_counted(answer: int | None, number: int) -> None:
    """What is going already is."""

    class Dead:
        def __init__(self) -> None:
            self.labels = {engines.OWNER: "x", engines.RUN: "run"}

        def remove(self, **_: object) -> None:
            if answer is not None:
                response = requests.Response()
                response.status_code = answer
                raise (NotFound if answer == 404 else APIError)("no", response=response)

    class Engine:
        containers: Any = None

        def list(self, **_: object) -> list[Dead]:
            return [Dead()]

    engine: Any = Engine()
    engine.containers = engine
    assert containers.reap(engine, "run") == number


def test_the_context_ends_even_where_the_engine_has(
    engine: FakeEngine, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: object, run: str) -> None:
        raise EngineMissingError("gone", advice="start it")

    monkeypatch.setattr(containers, "reap", refuse)
    engine.is_stuck = True
    with pool("a") as its:
        its.ask(question("a"))
    engine.is_stuck = False


@pytest.mark.parametrize("can_mount", [True, False])
def test_trees_are_where_the_engine_can_have_them(
    engine: FakeEngine,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    can_mount: bool,
) -> None:
    """Mounted, to be read alone; or sent."""
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(engines, "can_mount", lambda client: can_mount)
    its = pool()
    its.plan([cell_in("a")], prepared("a", tree=tmp_path))
    its.ask(question("a"))
    (options,) = engine.options
    mounted = [(m["Target"], m["Source"], m["Type"], m["ReadOnly"]) for m in options["mounts"]]
    sent = engine.agents[0].container.got
    if can_mount:
        assert mounted == [("/opt/extensions/sample", str(tmp_path), "bind", True)]
        assert sent == []
    else:
        assert mounted == [("/opt/extensions", None, "volume", False)]
        ((directory, packed),) = sent
        assert directory == "/opt/extensions"
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            assert "sample/site" in tar.getnames()


def test_a_container_is_confined_and_ends_with_its_agent(engine: FakeEngine, pool: Pool) -> None:
    its = pool("a", lasting=77)
    its.ask(question("a"))
    (options,) = engine.options
    expected = {
        "image": "a",
        "command": agent.command(lasting=77),
        "platform": "linux/arm64",
        "auto_remove": True,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "cap_add": ["SETUID", "SETGID", "KILL"],
        "security_opt": ["no-new-privileges"],
        "stdin_open": True,
        "use_config_proxy": False,
        "mem_limit": 1 << 30,
        "memswap_limit": 1 << 30,
        "pids_limit": 256,
    }
    assert {key: options[key] for key in expected} == expected
    assert {"run", "owner"} <= set(options["labels"].values())


def test_names_of_containers_differ(engine: FakeEngine, pool: Pool) -> None:
    its = pool(*"abcd")
    settled(its)
    its.ask(question("a", fresh=True))
    names = {options["name"] for options in engine.options}
    assert len(names) == 5
    assert all(name.startswith("pbs-matrix-run-") for name in names)


def test_whoever_wants_to_look_into_a_container_gets_it(engine: FakeEngine, pool: Pool) -> None:
    its = pool("a")
    found: Any = its.container(cell_in("a").environment.id)
    assert found is engine.agents[0].container
    assert engine.alive == ["a"]


def test_a_container_that_has_ended_is_not_looked_into(engine: FakeEngine, pool: Pool) -> None:
    """Nobody has asked for longer than it idles, and somebody wants it now."""
    its = pool("a")
    name = cell_in("a").environment.id
    first: Any = its.container(name)
    engine.agents[0].is_over = True
    assert its.container(name) is not first
    assert engine.said.count("start a") == 2
