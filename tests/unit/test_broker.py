"""Questions from one process of a run to another, over a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness.broker import NAME, Broker, Remote
from harness.errors import BuildError, EngineMissingError, HarnessError
from harness.question import Finished, Question

QUESTION = Question(
    environment="uv0.7.6-…",
    ask={"tree": "/t", "module": "m", "remedy": "none", "check": {"uv": "0.7.6"}},
    limit=7,
    variables={"LD_DEBUG": "libs"},
    fresh=True,
)
FINISHED = Finished(
    exit_code=None,
    seconds=1.5,
    timed_out=True,
    events={"started": {"leaked": [], "text": "\udcff\n"}},
    errors="line\nline \u2028",
    oom_killed=True,
)


class Answering:
    """Whoever has the containers."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.threads: set[int] = set()
        self.answer: Callable[[Question], Finished] = lambda question: FINISHED

    def ask(self, question: Question) -> Finished:
        self.asked.append(question)
        self.threads.add(threading.get_ident())
        return self.answer(question)


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def remote(answering: Answering, tmp_path: Path) -> Iterator[Remote]:
    with Broker(answering, tmp_path):
        yield Remote(tmp_path)


def test_a_question_and_its_answer_arrive_as_they_were(
    remote: Remote, answering: Answering
) -> None:
    """Lines and characters that no line of text has included."""
    for _ in range(2):
        assert remote.ask(QUESTION) == FINISHED
    assert answering.asked == [QUESTION] * 2
    assert len(answering.threads) == 1, "each question made a connection"


def test_threads_do_not_wait_for_each_other(remote: Remote, answering: Answering) -> None:
    together = threading.Barrier(8)

    def answer(question: Question) -> Finished:
        together.wait(30)
        return Finished(exit_code=question.limit, seconds=0, timed_out=False, events={}, errors="")

    answering.answer = answer

    def ask(number: int) -> int | None:
        return remote.ask(Question(environment="e", ask={}, limit=number)).exit_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == list(range(8))


@pytest.mark.parametrize("kind", [BuildError, EngineMissingError])
def test_what_the_engine_refuses_is_told_with_what_to_do(
    remote: Remote, answering: Answering, kind: type[HarnessError]
) -> None:
    def refuse(question: Question) -> Finished:
        raise kind("no\nspace", advice="make some")

    answering.answer = refuse
    with pytest.raises(HarnessError) as caught:
        remote.ask(QUESTION)
    assert (caught.value.problem, caught.value.advice) == ("no\nspace", "make some")
    # The next question is another matter.
    answering.answer = lambda question: FINISHED
    assert remote.ask(QUESTION) == FINISHED


def test_a_large_answer_arrives(remote: Remote, answering: Answering) -> None:
    large = Finished(
        exit_code=0, seconds=0, timed_out=False, events={}, errors="\ufffd" * (1 << 20)
    )
    answering.answer = lambda question: large
    assert remote.ask(QUESTION) == large


def test_an_answer_that_nobody_waits_for_hurts_nobody(
    remote: Remote, answering: Answering, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, gone = threading.Event(), threading.Event()

    def answer(question: Question) -> Finished:
        asked.set()
        gone.wait(30)
        return FINISHED

    answering.answer = answer
    with socket.socket(socket.AF_UNIX) as leaving:
        leaving.connect(str(tmp_path / NAME))
        leaving.sendall(b'{"environment": "e", "ask": {}, "limit": 1}\n')
        assert asked.wait(30)
    gone.set()
    assert remote.ask(QUESTION) == FINISHED
    assert capfd.readouterr() == ("", "")


def test_where_nobody_serves_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineMissingError, match=r"does not answer: .*No such file"):
        Remote(tmp_path).ask(QUESTION)


def test_where_nobody_serves_any_more_that_is_said(answering: Answering, tmp_path: Path) -> None:
    with Broker(answering, tmp_path):
        pass
    with pytest.raises(EngineMissingError, match=r"does not answer: .*refused"):
        Remote(tmp_path).ask(QUESTION)


def test_what_nobody_thought_of_is_told(remote: Remote, answering: Answering) -> None:
    """An error that is none of ours leaves nobody waiting for an answer, and is not hidden."""

    def fail(question: Question) -> Finished:
        raise RuntimeError("a bug")

    answering.answer = fail
    with pytest.raises(BuildError, match="RuntimeError: a bug"):
        remote.ask(QUESTION)


def test_one_bad_moment_is_not_the_end(remote: Remote, answering: Answering) -> None:
    """A thread whose connection was closed makes another."""

    cannot_be_sent = replace(FINISHED, errors=cast(str, object()))
    answering.answer = lambda question: cannot_be_sent
    for _ in range(2):
        with pytest.raises(EngineMissingError, match="it has closed the connection"):
            remote.ask(QUESTION)
    answering.answer = lambda question: FINISHED
    assert remote.ask(QUESTION) == FINISHED
