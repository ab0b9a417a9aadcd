"""What is asked of a container for a cell, and what is not asked at all; without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from docker.errors import APIError

from harness import containers
from harness.cells import observe
from harness.containers import Containers, Finished
from harness.errors import EngineMissingError
from harness.extensions import tree_name
from harness.images import Image, Origin
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell, where
from harness.prepared import Prepared, PreparedEnvironment, PreparedExtension, extension_key
from harness.remedies import Remedy
from tests.unit.probing import IMPORTED, PASSED, STARTED
from tests.unit.sample_cell import sample_cell, sample_check, upgraded_cell

IMAGE = Image(tag="pbs-matrix/environment:1", id="sha256:1", origin=Origin.BUILT, base_digest="d")
TREE = Path("/cache/installed/1")


def prepared(
    cell: Cell,
    *,
    environment: PreparedEnvironment | None = None,
    extension: PreparedExtension | None = None,
) -> Prepared:
    """What a run has at hand that has this cell alone; all of it is there unless said otherwise."""
    name = tree_name(cell)
    return Prepared(
        run="run",
        owner="owner",
        engine_version="20.10 (linux/amd64)",
        emulators={str(cell.environment.interpreter.platform): None},
        environments={
            cell.environment.id: environment or PreparedEnvironment(image=IMAGE, uv_sha256="u")
        },
        extensions={
            extension_key(name, cell.environment): extension
            or PreparedExtension(tree=TREE, wheels={"sample.whl": "w"})
        },
        wanted={cell.environment.id: (name,)},
    )


class Pool:
    """Containers that are only asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.problems: list[Exception] = []

    def get(self, *arguments: object) -> str:
        self.asked.append(arguments)
        if self.problems:
            raise self.problems.pop(0)
        return "container"


class Engine:
    """What probes are asked, and what they answer, one after the other."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.requests: list[tuple[dict[str, Any], int]] = []
        self.answers: list[Finished | Exception] = []

    def run_probe(
        self, container: object, request: dict[str, Any], *, limit: int, variables: object
    ) -> Finished:
        assert container == "container"
        assert variables is None, "only a trace has any"
        self.requests.append((request, limit))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def observe(self, cell: Cell, prepared: Prepared) -> Outcome:
        return observe(cell, prepared, cast(Containers, self.pool))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(containers, "run_probe", made.run_probe)
    return made


def answer(*events: dict[str, Any], exit_code: int = 0) -> Finished:
    return Finished(
        exit_code=exit_code,
        seconds=1.0,
        timed_out=False,
        events={event["event"]: event for event in events},
        errors="",
    )


@pytest.mark.parametrize("remedy", Remedy)
def test_an_extension_is_asked_for_by_directory_module_and_remedy(
    engine: Engine, remedy: Remedy
) -> None:
    """All of them: the probe tells by itself which it has to apply."""
    cell = replace(sample_cell(), remedy=remedy)
    engine.answers = [answer(STARTED, IMPORTED)]
    assert engine.observe(cell, prepared(cell)).reason is Reason.IMPORTS
    patched = "+patchelf" if remedy is Remedy.PATCHELF else ""
    request = {"tree": f"/opt/extensions/sample{patched}", "module": "sample"}
    assert engine.requests == [({**request, "remedy": str(remedy)}, 7)]
    ((key, image, platform, trees),) = engine.pool.asked
    environment = cell.environment
    assert (key, image, platform) == (environment.id, IMAGE.tag, environment.interpreter.platform)
    assert trees == {f"sample{patched}": TREE}


def test_a_check_is_asked_with_its_place_in_the_matrix(engine: Engine) -> None:
    check = sample_check()
    engine.answers = [answer(STARTED, PASSED)]
    assert engine.observe(check, prepared(check)).reason is Reason.PASSES
    ((request, limit),) = engine.requests
    assert request == {
        "tree": f"/opt/extensions/{tree_name(check)}",
        "module": "sample_check",
        "remedy": "none",
        "check": where(check),
    }
    assert limit == 7


def test_an_upgraded_environment_is_another_container(engine: Engine) -> None:
    cell = upgraded_cell()
    engine.answers = [answer(STARTED, IMPORTED)]
    engine.observe(cell, prepared(cell))
    ((key, *_),) = engine.pool.asked
    assert key == cell.environment.id
    assert str(key).endswith("+reinstall-after-uv0.7.5")


def test_what_a_remedy_finds_nothing_to_do_for_is_not_asked(engine: Engine) -> None:
    cell = replace(sample_cell(), remedy=Remedy.PATCHELF)
    nothing = PreparedExtension(problem="there is nothing to patch", not_applicable=True)
    outcome = engine.observe(cell, prepared(cell, extension=nothing))
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.NOT_APPLICABLE)
    assert outcome.message == "there is nothing to patch"
    assert engine.pool.asked == []


def test_what_could_not_be_installed_is_not_asked(engine: Engine) -> None:
    cell = sample_cell()
    failed = PreparedExtension(problem="the index is down")
    outcome = engine.observe(cell, prepared(cell, extension=failed))
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)
    assert outcome.message == "the index is down"
    assert engine.pool.asked == []


@pytest.mark.parametrize("stage", [Stage.INTERPRETER, Stage.IMAGE])
def test_what_has_no_image_is_not_asked(engine: Engine, stage: Stage) -> None:
    """And says where it ended, even where there would have been nothing to do."""
    failed = PreparedEnvironment(failed_stage=stage, problem="no space")
    cell = sample_cell()
    nothing = PreparedExtension(problem="there is nothing to patch", not_applicable=True)
    outcome = engine.observe(cell, prepared(cell, environment=failed, extension=nothing))
    assert (outcome.stage, outcome.reason) == (stage, Reason.UNTESTABLE)
    assert outcome.message == "no space"


def test_a_container_that_ended_by_itself_is_asked_for_again(engine: Engine) -> None:
    cell = sample_cell()
    for first in (answer(exit_code=137), APIError("is not running")):
        engine.answers = [first, answer(STARTED, IMPORTED)]
        assert engine.observe(cell, prepared(cell)).reason is Reason.IMPORTS
    assert len(engine.requests) == 4


def test_a_container_that_ends_again_is_untestable(engine: Engine) -> None:
    cell = sample_cell()
    engine.answers = [answer(exit_code=137), answer(exit_code=137)]
    assert engine.observe(cell, prepared(cell)).stage is Stage.INTERPRETER
    engine.answers = [APIError("gone"), APIError("is not running")]
    outcome = engine.observe(cell, prepared(cell))
    assert (outcome.stage, outcome.reason) == (Stage.ENGINE, Reason.UNTESTABLE)


def test_an_engine_that_is_gone_is_untestable(engine: Engine) -> None:
    cell = sample_cell()
    engine.pool.problems = [EngineMissingError("no engine answers", advice="start it")]
    outcome = engine.observe(cell, prepared(cell))
    assert (outcome.stage, outcome.reason) == (Stage.ENGINE, Reason.UNTESTABLE)
    assert outcome.message == "no engine answers"


def test_what_was_prepared_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Workers read it from a file; what is not applicable stays told from what failed."""
    cell = sample_check()
    nothing = PreparedExtension(problem="nothing to do", not_applicable=True)
    for made in (prepared(cell), prepared(cell, extension=nothing)):
        made.save(tmp_path / "prepared.json")
        assert Prepared.load(tmp_path / "prepared.json") == made


def test_a_sample_without_files_is_not_laid_into_its_container() -> None:
    cell = replace(sample_cell(), remedy=Remedy.PATCHELF)
    nothing = PreparedExtension(problem="nothing to do", not_applicable=True)
    assert prepared(cell).trees(cell.environment) == {"sample+patchelf": TREE}
    assert prepared(cell, extension=nothing).trees(cell.environment) == {}


def test_the_directory_of_extensions_is_the_one_that_containers_get() -> None:
    assert containers.EXTENSIONS == "/opt/extensions"
