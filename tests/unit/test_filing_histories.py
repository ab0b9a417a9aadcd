"""Any history of nights, over the API and with its faults: the issues are what they should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.filing import deciding, github, marker, troubles
from harness.filing.applying import Filing
from harness.filing.deciding import Desk
from harness.filing.github import Patience
from harness.filing.wording import Place
from harness.results import Result
from tests import githubapi
from tests.githubapi import BOT, REPOSITORY, TOKEN, GitHub
from tests.standin import Cut, Fault, RateLimited, Status
from tests.unit.sample_nights import GL, broken, fixed, ok, untestable

MAKE: list[Any] = [
    ok,
    broken,
    fixed,
    untestable,
    lambda cell: broken(cell, GL),
    lambda cell: None,
]
CELLS = "abc"
FAULTS: list[Fault | int] = [
    Cut(after=0, reset=True),
    Cut(after=0),
    Status(code=502),
    RateLimited(),
    500,
]
GLOBS = ["POST *", "PATCH *", "GET */issues", "GET */comments", "POST */comments"]
NIGHT = st.tuples(
    st.tuples(*[st.sampled_from(range(len(MAKE)))] * len(CELLS)),
    st.lists(st.tuples(st.sampled_from(GLOBS), st.sampled_from(range(len(FAULTS)))), max_size=3),
    st.sampled_from(["", "", "", "race", "closed by hand", "stranger"]),
)


@pytest.fixture(scope="module")
def api() -> Iterator[GitHub]:
    with githubapi.serving() as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_API_URL", served.url)
        patch.setenv("GITHUB_TOKEN", TOKEN)
        patch.setattr(github, "_sleep", lambda seconds: None)
        yield served


def filed(api: GitHub, lines: list[Result]) -> None:
    """One night, to its end."""
    desk = Desk(night=troubles.of(lines), place=Place())
    patience = Patience(attempts=9)
    with github.GitHub(REPOSITORY, say=lambda line: None, patience=patience) as asked:
        filing = Filing(asked, author=BOT)
        list(filing.apply(deciding.decide(filing.known(), desk)))


def meddle(api: GitHub, how: str) -> None:
    """What others do between two nights."""
    opened = api.open_issues()
    if how == "stranger":
        body = opened[0]["body"] if opened else "words"
        api.file("mine", body, labels=["pbs-matrix"])
    elif opened and how == "race":
        api.file(opened[0]["title"], opened[0]["body"], labels=["pbs-matrix"], login=BOT)
    elif opened:
        api.change(opened[0]["number"], state="closed")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(NIGHT, min_size=1, max_size=6))
def test_whatever_happens_there_is_one_open_issue_for_each_trouble(
    api: GitHub, nights: list[tuple[tuple[int, ...], list[tuple[str, int]], str]]
) -> None:
    api.issues.clear()
    api.comments.clear()
    api._numbers = count(1)
    for answers, faults, meddling in nights:
        meddle(api, meddling)
        made = [MAKE[n](cell) for n, cell in zip(answers, CELLS, strict=True)]
        lines = [line for line in made if line is not None]
        for glob, number in faults:
            fault = FAULTS[number]
            if isinstance(fault, int):
                api.mishaps.append((glob, fault))
            else:
                api.inject(glob, fault, times=1)
        before = keys(api)
        filed(api, lines)
        api.heal()
        api.mishaps.clear()
        after = keys(api)
        shown = {trouble.key for trouble in troubles.of(lines).troubles}
        assert max(after.values(), default=1) == 1
        assert shown <= after.keys()
        if not any(line.status in ("as-expected", "fixed", "regressed") for line in lines):
            assert after.keys() >= before.keys()
        said = {number: len(comments) for number, comments in api.comments.items()}
        changes = len(api.changes())
        filed(api, lines)
        assert len(api.changes()) == changes
        assert {number: len(comments) for number, comments in api.comments.items()} == said
    for comments in api.comments.values():
        texts = Counter(comment["body"] for comment in comments)
        assert max(texts.values(), default=1) == 1


def keys(api: GitHub) -> Counter[str]:
    """Of the open issues that are ours."""
    found: Counter[str] = Counter()
    for issue in api.open_issues():
        parsed, _ = marker.parse(issue["body"])
        if parsed and issue["user"]["login"] == BOT:
            found[parsed.key] += 1
    return found
