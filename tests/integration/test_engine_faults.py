"""Some of the faults of engines, on an engine of their own.

All of them: ``python -m tests.faults engine``. And that the calls of a small run may fail, one at a
time; all calls, in every way: ``python -m tests.faults.engines``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import docker
import pytest

from tests.faults.engines import FAULTS, calls, faults
from tests.faults.engines.scenes import SCENES
from tests.faults.proxy import Act
from tests.faults.room import Room

QUICK = (
    *("socket-gone", "answers-html", "creates-without-an-id", "half-a-frame"),
    *("stream-cut-in-every-question", "container-killed-in-a-question"),
    *("image-removed-before-its-container", "no-space-for-a-container"),
    *("error-on-remove", "restarted-in-a-question"),
)


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    yield
    faults.close()


@pytest.mark.engine
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_of_the_engine_gives_no_wrong_verdict_and_leaves_nothing(
    name: str, tmp_path: Path
) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    happened = fault.inject(Room(tmp_path, cast(docker.DockerClient, None)))
    assert (happened.wrong, happened.left) == ((), ())


@pytest.mark.engine
def test_calls_of_a_small_run_may_fail_one_at_a_time() -> None:
    wanted = ("containers.py:Containers._started", "agent.py:", "images.py:Images._inspect")
    came: list[calls.Came] = []
    calls.run(
        (Act.CONFLICT, Act.EOF),
        scenes=SCENES[:1],
        chosen=lambda asked: any(name in asked.site.split(" < ")[0] for name in wanted),
        places=1,
        tell=came.append,
    )
    assert [(one.asked.site, one.act, one.wrong) for one in came if one.wrong] == []
    assert {one.asked.call for one in came} >= {
        "POST /containers/create",
        "POST /containers/{}/attach",
        "POST /containers/{}/start",
    }
