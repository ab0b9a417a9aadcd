"""What the report is made of: grids, problems, known breakage, remedies, bars, and texts."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest

from harness import grid
from harness.bench.report import CLAIM
from harness.outcome import Reason
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.report import bars, inlined, problems, remedies
from harness.report.inlined import Pool
from harness.report.model import View
from harness.signature import FLAKY
from harness.sources import Source
from harness.verdict import Status
from tests.unit.sample_report import BECAUSE, LINK, RELEASES, cell, matrix
from tests.unit.test_bench import BROKEN, FASTER, SAME, report, timing

# --- grids --------------------------------------------------------------------------------------


def test_a_grid_has_every_cell_in_its_place() -> None:
    results = list(matrix())
    found = grid.grids(results)
    assert [each.title for each in found] == ["x86_64, debian13", "aarch64, debian13"]
    placed = [
        result
        for each in found
        for row in each.rows
        for column in each.columns
        for result in each.at(row, column)
    ]
    assert sorted(result.id for result in placed) == sorted(result.id for result in results)
    assert [column.uv for column in found[0].columns] == list(RELEASES)


def test_cells_that_differ_in_nothing_that_is_shown_are_both_there() -> None:
    """A replica by its name and one under a release's name, for one."""
    named = cell(source=Source.REPLICA)
    disguised = cell(pins={"archive_is_replica": True})
    (found,) = grid.grids([named, disguised])
    assert found.at("good", found.columns[0]) == (named, disguised)


@pytest.mark.parametrize("uv", ["latest", "", "0.7.6rc1", "9" * 5000, "0.7"])
def test_a_uv_that_is_no_version_has_a_column_all_the_same(uv: str) -> None:
    (found,) = grid.grids([cell(uv="0.7.6"), cell(uv=uv)])
    assert {column.uv for column in found.columns} == {"0.7.6", uv}


def test_the_views_grids_are_in_an_order_of_their_own() -> None:
    results = [
        cell(remedy="preload"),
        cell(platform="aarch64"),
        cell(base="alpine"),
        cell(python="3.9"),
        cell(python="3.13"),
    ]
    titles = [each.title for each in View(results=tuple(results)).grids]
    assert titles == [each.title for each in View(results=tuple(results[::-1])).grids]
    assert titles == [
        "x86_64, alpine, CPython 3.13",
        "x86_64, debian13, CPython 3.9",
        "x86_64, debian13, CPython 3.13",
        "aarch64, debian13, CPython 3.13",
        "x86_64, debian13, CPython 3.13, remedy preload",
    ]


# --- problems and known breakage ----------------------------------------------------------------


def test_problems_are_grouped_by_status_and_signature_the_largest_first() -> None:
    lacking = [cell("regressed", "one"), cell("regressed", "two")]
    error = cell("regressed", "three", outcome=Reason.IMPORT_ERROR, message="No module named x")
    found = problems.problems([cell(), cell("untestable"), error, *lacking, cell("fixed")])
    assert [(p.status, p.signature, len(p.results)) for p in found] == [
        (Status.REGRESSED, "missing-library libpython3.13.so.1.0", 2),
        (Status.REGRESSED, "import-error: No module named x", 1),
        (Status.FIXED, "imports", 1),
        (Status.UNTESTABLE, "untestable (image): no space left on device", 1),
    ]


def test_every_status_is_a_problem_or_none() -> None:
    none = {Status.AS_EXPECTED, Status.NOT_APPLICABLE}
    assert {*problems.STATUSES} == {*Status} - none


def test_known_breakage_is_told_with_why_and_of_what() -> None:
    (found,) = problems.known_breakage(
        [cell(), cell("fails", "b"), cell("fails", "a"), cell("fails", "b", "0.7.7")]
    )
    assert (found.because, found.link, len(found.results)) == (BECAUSE, LINK, 3)
    assert found.extensions == ("b", "a")
    assert found.expected == "missing-library libpython3.13.so.1.0"


# --- remedies -----------------------------------------------------------------------------------


def test_only_what_was_tried_with_remedies_has_a_table_of_them() -> None:
    assert remedies.tables(list(matrix())) == ()
    (found,) = remedies.tables([*matrix(), cell("ok", "needing", remedy="preload-by-path")])
    assert (found.extension, found.base) == ("needing", "debian13")
    assert [remedy for remedy, _ in found.rows] == [Remedy.NONE, Remedy.PRELOAD_BY_PATH]
    assert [model for model, platform in found.columns if platform == "x86_64"] == [*LinkModel]


def test_what_depends_on_the_uv_has_a_mark_for_each_outcome() -> None:
    results = [
        cell("ok", remedy="reinstall", uv="0.7.7"),
        cell("ok", remedy="reinstall", uv="0.7.71", release="20250521"),
        cell("not-applicable", remedy="reinstall", uv="0.7.70", release="20250521"),
    ]
    ((_, (entry,)),) = remedies.tables(results)[0].rows
    assert [(key, number) for key, _, number in entry.symbols] == [
        ("ok", 2),
        ("not-applicable", 1),
    ]


# --- bars ---------------------------------------------------------------------------------------


def test_bars_go_from_one_to_the_ratio_and_intervals_around_it() -> None:
    slower = timing("slower", [0.05, 0.051, 0.05], [0.06, 0.06, 0.061])
    drawn = bars.of(report(FASTER, SAME, slower, BROKEN))
    assert drawn is not None
    assert [bar.name for bar in drawn.bars] == ["geometric mean", "richards", "nbody", "slower"]
    for bar in drawn.bars:
        ends = (bar.x, bar.x + bar.width)
        assert min(abs(end - drawn.one) for end in ends) < 0.2
        assert 0 <= bar.x <= drawn.width
        assert bar.low is not None
        assert bar.high is not None
        assert bar.low <= max(ends, key=lambda end: abs(end - drawn.one)) <= bar.high + 0.1
    assert drawn.bars[1].x == drawn.one
    assert drawn.bars[3].x < drawn.one
    values = [float(words) for _, words in drawn.ticks]
    assert 1.0 in values
    assert all(one < other for one, other in pairwise(values))
    assert drawn.claim[0] > drawn.one
    assert CLAIM[0] < 1.2 < CLAIM[1]
    assert drawn.claim[0] < drawn.bars[1].x + drawn.bars[1].width < sum(drawn.claim)


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 3.0, 500.0])
def test_there_are_never_many_ticks(ratio: float) -> None:
    drawn = bars.of(report(timing("one", [0.1 * ratio] * 2, [0.1] * 2)))
    assert drawn is not None
    assert 2 <= len(drawn.ticks) <= 12
    assert all(0 <= x <= drawn.width for x, _ in drawn.ticks)


def test_one_round_has_a_bar_without_an_interval_and_no_figure_has_none() -> None:
    drawn = bars.of(report(timing("one", [0.1], [0.1])))
    assert drawn is not None
    assert {(bar.low, bar.high) for bar in drawn.bars} == {(None, None)}
    assert bars.of(report(BROKEN)) is None


# --- what the page's program is given -----------------------------------------------------------


def test_a_pool_has_each_value_once() -> None:
    pool = Pool()
    places = [pool.add(value) for value in ("a", ("a", 1), None, "a", ("a", 1))]
    assert places == [0, 1, 2, 0, 1]
    assert pool.values == ["a", ("a", 1), None]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("one\ntwo", "one\ntwo"),
        ("\x1b[31mred\u202e", r"\x1b[31mred\u202e"),
        ("\ud800", r"\ud800"),
        ("https://me:secret@mirror.example/x", "https://***@mirror.example/x"),
        (["a"], '[\n "a"\n]'),
        ({"é": math.nan}, '{\n "é": NaN\n}'),
        (None, "null"),
    ],
)
def test_texts_do_nothing_and_tell_no_password(found: object, shown: str) -> None:
    assert inlined.text(found) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert inlined.text("x" * 5000) == f"{'x' * 4000}… 1000 more characters"


def test_what_is_nested_too_deeply_is_not_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert inlined.text(deep) == "(nested too deeply)"


@pytest.mark.parametrize("value", [math.nan, math.inf, None, 0.25])
def test_seconds_are_what_json_has_a_number_for(value: float | None) -> None:
    inlined_cell = inlined.cell(cell(seconds=value), None, Pool())
    parsed = json.loads(json.dumps(inlined_cell[-2], allow_nan=False))
    assert parsed[0] == (value if value == 0.25 else None)


@pytest.mark.parametrize(
    ("noted", "answers"),
    [
        (["crash", "imports"], ("crash", "imports")),
        (True, ("imports", "another, which is not known")),
        (None, ()),
    ],
)
def test_a_flaky_cell_tells_its_answers(noted: object, answers: tuple[str, ...]) -> None:
    pool = Pool()
    found = inlined.cell(cell(evidence={FLAKY: noted}), None, pool)
    happened = pool.values[found[1]]
    assert isinstance(happened, tuple)
    assert happened[4] == answers


# --- counts -------------------------------------------------------------------------------------


def test_what_the_results_do_not_say_is_counted() -> None:
    view = View(
        results=(
            cell("fails", source=Source.REPLICA),
            cell("untestable"),
            cell("untestable", "other"),
            cell("not-applicable"),
            cell("ok", evidence={FLAKY: ["crash", "imports"]}),
        )
    )
    counts = {count.words.partition(":")[0]: count.number for count in view.reservations}
    assert counts == {
        "on replicas": 1,
        "untestable": 2,
        "not applicable": 1,
        "compared with the loader's rules, made from files before they ran": 1,
        "flaky": 1,
    }


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        ([], None),
        (["2026-01-02T03:04:05+00:00"], "2026-01-02 03:04 UTC"),
        (
            ["2026-01-02T05:00:00+00:00", "2026-01-02T03:04:05+00:00"],
            "2026-01-02 03:04 to 05:00 UTC",
        ),
        (
            ["2026-01-01T23:59:00+00:00", "2026-01-02T00:01:00+00:00"],
            "2026-01-01 23:59 to 2026-01-02 00:01 UTC",
        ),
        (["2026-01-02T03:04:05+02:00"], "2026-01-02 01:04 UTC"),
        (["yesterday", "today"], "today to yesterday"),
        (["9999-12-31T23:59:59-23:00"], "9999-12-31T23:59:59-23:00"),
    ],
)
def test_when_it_ran_is_told_to_the_minute(moments: list[str], words: str | None) -> None:
    results = tuple(cell(extension=str(n), started=text) for n, text in enumerate(moments))
    assert View(results=results).when == words
