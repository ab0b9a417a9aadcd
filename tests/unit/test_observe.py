"""What is asked of a container for a cell, and what is not asked at all; without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import foreseen, lddebug
from harness.cells import observe, settle, trace
from harness.errors import EngineMissingError
from harness.image import Image, Origin
from harness.outcome import Reason, Stage
from harness.plan import Cell, Expected, tree_name, where
from harness.prediction import Prediction
from harness.prepared import Prepared, PreparedEnvironment, PreparedExtension, extension_key
from harness.question import Finished, Question
from harness.remedies import Remedy
from harness.signature import FLAKY
from tests.unit.fake_foresight import Foresight
from tests.unit.probing import IMPORTED, PASSED, STARTED, raised
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
    """Keeps what is asked, and answers one after the other."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.answers: list[Finished | Exception] = []

    def ask(self, question: Question) -> Finished:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def pool() -> Pool:
    return Pool()


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
    pool: Pool, remedy: Remedy
) -> None:
    """All of them: the probe tells by itself which it has to apply."""
    cell = replace(sample_cell(), remedy=remedy)
    pool.answers = [answer(STARTED, IMPORTED)]
    assert observe(cell, prepared(cell), pool).reason is Reason.IMPORTS
    patched = "+patchelf" if remedy is Remedy.PATCHELF else ""
    ask = {"tree": f"/opt/extensions/sample{patched}", "module": "sample", "remedy": str(remedy)}
    assert pool.asked == [Question(environment=cell.environment.id, ask=ask, limit=7)]


def test_a_check_is_asked_with_its_place_in_the_matrix(pool: Pool) -> None:
    check = sample_check()
    pool.answers = [answer(STARTED, PASSED)]
    assert observe(check, prepared(check), pool).reason is Reason.PASSES
    ask = {
        "tree": f"/opt/extensions/{tree_name(check)}",
        "module": "sample_check",
        "remedy": "none",
        "check": where(check),
    }
    assert pool.asked == [Question(environment=check.environment.id, ask=ask, limit=7)]


def test_an_upgraded_environment_is_another_container(pool: Pool) -> None:
    cell = upgraded_cell()
    pool.answers = [answer(STARTED, IMPORTED)]
    observe(cell, prepared(cell), pool)
    (asked,) = pool.asked
    assert asked.environment == cell.environment.id
    assert asked.environment.endswith("+reinstall-after-uv0.7.5")


def test_what_a_remedy_finds_nothing_to_do_for_is_not_asked(pool: Pool) -> None:
    cell = replace(sample_cell(), remedy=Remedy.PATCHELF)
    nothing = PreparedExtension(problem="there is nothing to patch", not_applicable=True)
    outcome = observe(cell, prepared(cell, extension=nothing), pool)
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.NOT_APPLICABLE)
    assert outcome.message == "there is nothing to patch"
    assert pool.asked == []


def test_what_could_not_be_installed_is_not_asked(pool: Pool) -> None:
    cell = sample_cell()
    failed = PreparedExtension(problem="the index is down")
    outcome = observe(cell, prepared(cell, extension=failed), pool)
    assert (outcome.stage, outcome.reason) == (Stage.INSTALL, Reason.UNTESTABLE)
    assert outcome.message == "the index is down"
    assert pool.asked == []


@pytest.mark.parametrize("stage", [Stage.INTERPRETER, Stage.IMAGE])
def test_what_has_no_image_is_not_asked(pool: Pool, stage: Stage) -> None:
    """And says where it ended, even where there would have been nothing to do."""
    failed = PreparedEnvironment(failed_stage=stage, problem="no space")
    cell = sample_cell()
    nothing = PreparedExtension(problem="there is nothing to patch", not_applicable=True)
    outcome = observe(cell, prepared(cell, environment=failed, extension=nothing), pool)
    assert (outcome.stage, outcome.reason) == (stage, Reason.UNTESTABLE)
    assert outcome.message == "no space"


def test_an_engine_that_is_gone_is_untestable(pool: Pool) -> None:
    cell = sample_cell()
    pool.answers = [EngineMissingError("no engine answers", advice="start it")]
    outcome = observe(cell, prepared(cell), pool)
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


# What nobody expected is asked again.


def raises(message: str) -> Finished:
    return answer(STARTED, raised("ImportError", message))


def missing(library: str) -> Finished:
    return answer(STARTED, raised("ImportError", f"{library}: cannot open", library))


def imports() -> Finished:
    return answer(STARTED, IMPORTED)


def crashes() -> Finished:
    return answer(STARTED, exit_code=139)


SILENT = Finished(exit_code=None, seconds=0.0, timed_out=False, events={}, errors="")


def freshness(pool: Pool) -> list[bool]:
    return [question.fresh for question in pool.asked]


@pytest.mark.parametrize(
    ("expected", "first"),
    [
        (Expected(), imports()),
        (Expected(reason=Reason.IMPORT_ERROR), raises("x")),
        (Expected(reason=Reason.MISSING_LIBRARY, library="liba"), missing("liba")),
    ],
    ids=["imports", "raises", "a library"],
)
def test_what_is_as_expected_is_asked_once(pool: Pool, expected: Expected, first: Finished) -> None:
    cell = sample_cell(expected)
    pool.answers = [first]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert outcome.reason is expected.reason
    assert freshness(pool) == [False]
    assert "forked" not in outcome.evidence


def test_a_surprise_is_asked_again_fresh_and_that_answer_counts(pool: Pool) -> None:
    """Where all forked answers are the one and all fresh ones the other, no chance is in it."""
    cell = sample_cell()
    forked = raises("only when forked")
    pool.answers = [forked, imports(), forked, forked, imports(), imports()]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert outcome.reason is Reason.IMPORTS
    assert freshness(pool) == [False, True, False, False, True, True]
    assert pool.asked[1] == replace(pool.asked[0], fresh=True)
    assert FLAKY not in outcome.evidence
    assert outcome.evidence["forked"] == {
        "reason": Reason.IMPORT_ERROR,
        "message": "only when forked",
    }
    # Nothing of the fresh answer's own evidence is lost.
    assert outcome.evidence["bindings"] == IMPORTED["bindings"]


def test_a_surprise_that_a_fresh_interpreter_confirms_says_nothing_of_the_forked(
    pool: Pool,
) -> None:
    """The messages may differ: an address in it will."""
    cell = sample_cell()
    pool.answers = [raises("at 0x1"), raises("at 0x2")]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert (outcome.reason, outcome.message) == (Reason.IMPORT_ERROR, "at 0x2")
    assert freshness(pool) == [False, True]
    assert "forked" not in outcome.evidence


@pytest.mark.parametrize("again", ["I", "U"])
def test_what_died_before_it_had_started_is_asked_again(pool: Pool, again: str) -> None:
    """Nothing is known of it; an emulator that crashes now and then leaves it so."""
    cell = sample_cell()
    pool.answers = [SILENT, imports() if again == "I" else SILENT]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert freshness(pool) == [False, True]
    assert outcome.reason is (Reason.IMPORTS if again == "I" else Reason.UNTESTABLE)


def test_a_crash_counts_when_nothing_else_comes_of_it(pool: Pool) -> None:
    cell = sample_cell()
    pool.answers = [crashes() for _ in range(6)]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert outcome.reason is Reason.CRASH
    assert pool.answers == []
    assert {FLAKY, "forked", "answers"}.isdisjoint(outcome.evidence)


@pytest.mark.parametrize("others", ["UUU", "UIU"])
def test_what_cannot_be_asked_again_is_not_confirmed(pool: Pool, others: str) -> None:
    cell = sample_cell()
    kinds = {"C": crashes(), "I": imports(), "U": SILENT}
    pool.answers = [kinds[letter] for letter in f"C{others[0]}CC{others[1:]}"]
    outcome, _ = settle(cell, prepared(cell), pool)
    tried = others != "UUU"
    assert outcome.reason is (Reason.IMPORTS if tried else Reason.UNTESTABLE)
    assert ("forked" in outcome.evidence) is tried


def test_another_missing_library_is_another_answer(pool: Pool) -> None:
    cell = sample_cell()
    pool.answers = [missing("lib" + letter) for letter in "abaabb"]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert outcome.missing_library == "libb"
    assert outcome.evidence["forked"] == {
        "reason": Reason.MISSING_LIBRARY,
        "message": "liba: cannot open",
    }


def test_what_contradicts_the_loaders_rules_is_a_surprise_too(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    foresight = Foresight(Prediction(outcome=Reason.MISSING_LIBRARY, library="liba"))
    monkeypatch.setattr(foreseen, "foresee", lambda cell, prepared: foresight)
    cell = sample_cell()
    pool.answers = [imports(), missing("liba"), *[imports()] * 2, *[missing("liba")] * 2]
    outcome, given = settle(cell, prepared(cell), pool)
    assert freshness(pool)[:2] == [False, True]
    assert outcome.missing_library == "liba"
    assert given is not None
    assert given.prediction is foresight.prediction


@pytest.mark.parametrize(
    ("answers", "reason", "flaky"),
    [
        ([imports()], Reason.IMPORTS, None),
        ([raises("x"), raises("x")], Reason.IMPORT_ERROR, None),
        (
            [raises("x"), imports(), imports(), raises("x"), imports(), imports()],
            Reason.IMPORTS,
            {"import-error: x": 2, "imports": 4},
        ),
    ],
    ids=["as expected", "surprise", "flaky"],
)
def test_what_is_asked_fresh_is_never_asked_otherwise(
    pool: Pool, answers: list[Finished], reason: Reason, flaky: dict[str, int] | None
) -> None:
    cell = sample_cell()
    pool.answers = list(answers)
    outcome, _ = settle(cell, prepared(cell), pool, fresh=True)
    assert freshness(pool) == [True] * len(answers)
    assert outcome.reason is reason
    assert outcome.evidence.get("answers") == flaky
    assert "forked" not in outcome.evidence


@pytest.mark.parametrize(
    ("answers", "reason", "counts"),
    [
        # QEMU crashes one time in ten, say.
        ("CIIIII", Reason.IMPORTS, {"crash": 1, "imports": 5}),
        # The first fresh answer was the odd one.
        ("CIICCC", Reason.CRASH, {"crash": 4, "imports": 2}),
        ("CIIICI", Reason.IMPORTS, {"crash": 2, "imports": 4}),
        # Two crashes in a row are no proof of a third.
        ("CCIIII", Reason.IMPORTS, {"crash": 2, "imports": 4}),
        # Of as many, the one that fresh interpreters gave more often.
        ("CIICIC", Reason.IMPORTS, {"crash": 3, "imports": 3}),
        # What could not be asked decides nothing against what could.
        ("CCIUUU", Reason.CRASH, {"crash": 2, "imports": 1}),
    ],
)
def test_answers_that_come_by_chance_are_counted(
    pool: Pool, answers: str, reason: Reason, counts: dict[str, int]
) -> None:
    cell = sample_cell()
    kinds = {"C": crashes(), "I": imports(), "U": SILENT}
    pool.answers = [kinds[letter] for letter in answers]
    outcome, _ = settle(cell, prepared(cell), pool)
    assert freshness(pool) == [False, True, False, False, True, True]
    assert outcome.reason is reason
    assert outcome.evidence["answers"] == counts
    assert outcome.evidence[FLAKY] == list(counts)


def test_what_cannot_be_asked_is_not_asked_again(pool: Pool) -> None:
    cell = sample_cell()
    failed = PreparedEnvironment(failed_stage=Stage.IMAGE, problem="no space")
    outcome, given = settle(cell, prepared(cell, environment=failed), pool)
    assert (outcome.stage, outcome.reason, given) == (Stage.IMAGE, Reason.UNTESTABLE, None)
    assert pool.asked == []


# The loader's own words.


def test_a_trace_asks_the_same_with_the_loaders_variables(pool: Pool) -> None:
    cell = sample_cell()
    pool.answers = [imports(), imports()]
    observe(cell, prepared(cell), pool)
    trace(cell, pool, "liba")
    assert pool.asked[1] == replace(pool.asked[0], variables=lddebug.VARIABLES)


def test_a_trace_without_an_engine_is_empty(pool: Pool) -> None:
    pool.answers = [EngineMissingError("no engine answers", advice="start it")]
    assert trace(sample_cell(), pool, "liba") == ()
