"""The closing table: letters for every status, a legend of what occurs, and the counts."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness import table
from harness.matrix import Kind
from harness.outcome import Reason, Stage
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.results import Predicted, Result
from harness.signature import ANSWERS, FLAKY
from harness.sources import Source
from harness.verdict import Status

RELEASES = {
    "0.7.5": ("20250409", LinkModel.SHARED),
    "0.7.6": ("20250517", LinkModel.STATIC),
    "0.7.7": ("20250521", LinkModel.STATIC_RUNPATH),
    "0.7.8": ("20250409", LinkModel.SHARED),
    "0.7.9": ("20250529", LinkModel.STATIC_RPATH),
    "0.13.9": ("20261110", LinkModel.STATIC_RPATH),
}

# Each key of the legend, with a status and an outcome that make it.
KINDS: dict[str, tuple[Status, Reason]] = {
    "ok": (Status.AS_EXPECTED, Reason.IMPORTS),
    "split": (Status.AS_EXPECTED, Reason.SPLIT_BINDING),
    "fails": (Status.AS_EXPECTED, Reason.MISSING_LIBRARY),
    "regressed": (Status.REGRESSED, Reason.CRASH),
    "fixed": (Status.FIXED, Reason.IMPORTS),
    "mispredicted": (Status.MISPREDICTED, Reason.MISSING_LIBRARY),
    "untestable": (Status.UNTESTABLE, Reason.UNTESTABLE),
    "not-applicable": (Status.NOT_APPLICABLE, Reason.NOT_APPLICABLE),
}
LETTERS = {
    "ok": "ok",
    "split": "split",
    "fails": "x",
    "regressed": "REGR",
    "fixed": "FIXED",
    "mispredicted": "MISPRED",
    "untestable": "?",
    "not-applicable": "-",
}


def result(
    kind: str = "ok",
    *,
    extension: str = "sample",
    uv: str = "0.7.6",
    python: str = "3.13",
    platform: Platform = Platform.X86_64,
    base: str = "debian13",
    remedy: Remedy = Remedy.NONE,
    source: Source = Source.REPLICA,
    asked: Kind = Kind.EXTENSION,
    upgraded_from: str | None = None,
) -> Result:
    status, outcome = KINDS[kind]
    release, model = RELEASES[uv]
    return Result(
        id=f"{extension}-{uv}-{python}-{platform}-{base}-{remedy}",
        uv=uv,
        python=python,
        release=release,
        source=source,
        link_model=model,
        platform=platform,
        base=base,
        kind=asked,
        extension=extension,
        remedy=remedy,
        upgraded_from=upgraded_from,
        stage=Stage.IMPORT if outcome.was_tried else Stage.IMAGE,
        outcome=outcome,
        missing_library=None,
        message="",
        expected=Reason.IMPORTS,
        expected_library=None,
        expected_because="",
        expected_link=None,
        status=status,
        seconds=None,
        evidence={},
        pins={},
    )


def rendered(*results: Result, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    table.render(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    """The body of all tables, line by line."""
    return [
        [part.strip() for part in line.strip("│").split("│")]
        for line in text.splitlines()
        if line.startswith("│")
    ]


def shown(text: str) -> list[str]:
    """What stands in the cells of all tables, sorted."""
    return sorted(part for _, *cells in rows(text) for part in cells if part)


def row(text: str, extension: str) -> list[str]:
    """The cells of the only row of an extension, without its name."""
    (found,) = [cells for name, *cells in rows(text) if name == extension]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_status_is_shown_by_its_letters_without_colours(kind: str) -> None:
    text = rendered(result(kind))
    assert row(text, "sample") == [LETTERS[kind]]
    assert "\x1b" not in text


def test_the_letters_of_no_two_statuses_are_the_same() -> None:
    assert {key: letters for key, (letters, _, _) in table.SYMBOLS.items()} == LETTERS
    assert len(set(LETTERS.values())) == len(LETTERS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_legend_explains_what_occurs_and_nothing_else(kind: str) -> None:
    text = rendered(result(kind, source=Source.UPSTREAM))
    explained = {key for key, (_, _, meaning) in table.SYMBOLS.items() if meaning in text}
    assert explained == {kind}
    assert "~" not in text


def test_the_legend_of_a_mixed_table_explains_everything() -> None:
    text = rendered(*(result(kind, extension=f"e-{kind}") for kind in KINDS))
    assert all(meaning in text for _, _, meaning in table.SYMBOLS.values())
    assert {kind: row(text, f"e-{kind}") for kind in KINDS} == {
        kind: [letters] for kind, letters in LETTERS.items()
    }


def test_a_replica_is_marked_in_its_column_and_in_the_legend() -> None:
    text = rendered(result(uv="0.7.5"), result(uv="0.7.6", source=Source.UPSTREAM))
    assert "20250409~" in text
    assert "20250517~" not in text
    assert "~  a replica with that release's link model, not the release" in text


def test_columns_are_in_the_order_of_uv_versions_as_numbers() -> None:
    order = ["0.13.9", "0.7.9", "0.7.5", "0.7.6"]
    text = rendered(*(result(uv=uv) for uv in order))
    (header,) = [line for line in text.splitlines() if "uv 0.7.5" in line]
    positions = [header.index(f"uv {uv} ") for uv in ("0.7.5", "0.7.6", "0.7.9", "0.13.9")]
    assert positions == sorted(positions)


def test_a_column_names_its_release_and_link_model() -> None:
    for uv, words in {
        "0.7.5": ("20250409", "shared"),
        "0.7.6": ("20250517", "static"),
        "0.7.7": ("20250521", "+runpath"),
        "0.7.9": ("20250529", "+rpath"),
    }.items():
        text = rendered(result(uv=uv))
        assert all(word in text for word in (f"uv {uv}", *words))


def test_a_combination_that_did_not_run_is_blank() -> None:
    text = rendered(
        result("ok", extension="one", uv="0.7.5"), result("fails", extension="two", uv="0.7.6")
    )
    assert row(text, "one") == ["ok", ""]
    assert row(text, "two") == ["", "x"]


def test_each_platform_base_and_remedy_has_a_table_of_its_own() -> None:
    # Titles are wrapped to the width of their tables, hence the long name.
    name = "libpython-needed-runpath"
    text = rendered(
        result(extension=name),
        result(extension=name, platform=Platform.AARCH64),
        result(extension=name, base="debian13-libpython"),
        result(extension=name, remedy=Remedy.PRELOAD),
    )
    lines = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if line.startswith(("x86_64, ", "aarch64, "))] == [
        "x86_64, debian13",
        "aarch64, debian13",
        "x86_64, debian13-libpython",
        "x86_64, debian13, remedy preload",
    ]


def test_checks_have_a_table_of_their_own() -> None:
    """With the same columns; what is asked there is not whether something imports."""
    text = rendered(
        result("fails", extension="one"),
        result("ok", extension="a-check", asked=Kind.CHECK),
        result("fails", extension="another-check", asked=Kind.CHECK),
    )
    extensions, title, checks = text.partition("x86_64, debian13, checks of the interpreter\n")
    assert title
    assert "┃ extension ┃" in extensions
    assert rows(extensions) == [["one", "x"]]
    assert "┃ check         ┃" in checks
    assert rows(checks) == [["a-check", "ok"], ["another-check", "x"]]


def test_the_remedy_of_an_upgrade_says_after_which_uv() -> None:
    """A run has one; where this uv is not newer, its cell has a place in the same table."""
    text = rendered(
        result("ok", uv="0.7.9", remedy=Remedy.REINSTALL, upgraded_from="0.7.6"),
        result("not-applicable", uv="0.7.5", remedy=Remedy.REINSTALL),
        result("split", remedy=Remedy.UPGRADE_ONLY, upgraded_from="0.7.6"),
    )
    assert [line for line in text.splitlines() if line.startswith("x86_64, ")] == [
        "x86_64, debian13, remedy reinstall after uv 0.7.6",
        "x86_64, debian13, remedy upgrade-only after uv 0.7.6",
    ]
    assert text.count("uv 0.7.5") == 1


def test_a_remedy_that_is_not_applicable_is_in_the_table_of_its_remedy() -> None:
    """Where the uv is not newer there is no upgrade, but the others of its row may have one."""
    text = rendered(
        result("ok", uv="0.7.9", remedy=Remedy.PATCHELF),
        result("not-applicable", uv="0.7.5", remedy=Remedy.PATCHELF),
    )
    assert row(text, "sample") == ["-", "ok"]


def test_the_uv_version_that_differs_by_platform_has_its_own_release_in_each_table() -> None:
    """uv 0.7.8 went back to 20250409 on x86_64 alone."""
    aarch64 = result(uv="0.7.8", platform=Platform.AARCH64).model_copy(
        update={"release": "20250521", "link_model": LinkModel.STATIC_RUNPATH}
    )
    first, second = rendered(result(uv="0.7.8"), aarch64).split("aarch64, debian13")
    assert "20250409" in first
    assert "20250521" not in first
    assert "20250521" in second
    assert "20250409" not in second


def test_the_whole_projects_table_fits_a_hundred_columns() -> None:
    names = ["libpython-needed-runpath", "no-libpython", "abi3-libpython3"]
    # The widest letters are among them.
    kinds = ["ok", "split", "fails", "regressed", "fixed", "mispredicted"]
    results = [
        result(kind, extension=name, uv=uv)
        for name in names
        for uv, kind in zip(RELEASES, kinds, strict=True)
    ]
    text = rendered(*results, width=100)
    *lines, _ = text.splitlines()
    assert max(len(line) for line in lines) <= 100
    assert "…" not in text
    for name in names:
        assert row(text, name) == [LETTERS[kind] for kind in kinds]
    for uv, (release, _) in RELEASES.items():
        assert f"uv {uv}" in text
        assert f"{release}~" in text


def test_the_last_line_counts_every_status() -> None:
    kinds = ["ok"] * 4 + ["fails"] * 3 + ["regressed"] * 2 + ["fixed"] + ["untestable"] * 5
    results = [result(kind, extension=f"e{number}") for number, kind in enumerate(kinds)]
    results.append(result("ok", extension="upstream", source=Source.UPSTREAM))
    expected = (
        "16 cells: 8 as expected (3 of them known breakage), "
        "2 regressed, 1 fixed, 5 untestable; 15 on replicas"
    )
    assert table.summary(results) == expected
    assert rendered(*results, width=120).splitlines()[-1] == expected


def test_a_split_binding_that_was_expected_counts_as_known_breakage() -> None:
    assert table.summary([result("split"), result("ok", extension="other")]) == (
        "2 cells: 2 as expected (1 of them known breakage), "
        "0 regressed, 0 fixed, 0 untestable; 2 on replicas"
    )


def test_what_is_not_applicable_is_counted_by_itself_where_it_occurs() -> None:
    """It is no success and no known breakage; where there is none, the line says nothing of it."""
    results = [result(kind, extension=f"e-{kind}") for kind in ("ok", "not-applicable")]
    assert table.summary(results) == (
        "2 cells: 1 as expected (0 of them known breakage), "
        "0 regressed, 0 fixed, 0 untestable, 1 not applicable; 2 on replicas"
    )
    assert "not applicable" not in table.summary(results[:1])


def test_how_many_cells_were_compared_with_the_loaders_rules_is_counted() -> None:
    foreseen = Predicted(outcome=Reason.IMPORTS, missing_library=None, needed_by=None, searched=())
    results = [result(kind, extension=f"e-{kind}") for kind in ("ok", "mispredicted", "fails")]
    results[:2] = [r.model_copy(update={"predicted": foreseen}) for r in results[:2]]
    assert table.summary(results) == (
        "3 cells: 2 as expected (1 of them known breakage), 0 regressed, 0 fixed, "
        "1 mispredicted, 0 untestable; 3 on replicas; 2 compared with the loader's rules"
    )


ALL = [(status, reason) for status in Status for reason in Reason]


@pytest.mark.parametrize(("status", "reason"), ALL, ids=lambda member: str(member))
def test_every_status_of_every_outcome_has_its_letters(status: Status, reason: Reason) -> None:
    """Whatever was expected: the status decides, and the outcome only where it was expected."""
    shown = result().model_copy(update={"status": status, "outcome": reason})
    if status is not Status.AS_EXPECTED:
        assert table.symbol(shown) == status
    elif reason in (Reason.IMPORTS, Reason.PASSES):
        assert table.symbol(shown) == "ok"
    else:
        assert table.symbol(shown) == ("split" if reason is Reason.SPLIT_BINDING else "fails")
    assert table.symbol(shown) in table.SYMBOLS


def test_the_counts_stay_one_line_on_a_narrow_terminal() -> None:
    # As many as the project's own default profile has, which makes 107 characters.
    results = [result("fails", extension=f"e{number}") for number in range(192)]
    assert rendered(*results, width=100).splitlines()[-1] == table.summary(results)


def test_a_run_without_results_has_a_count_and_no_table() -> None:
    assert rendered() == (
        "0 cells: 0 as expected (0 of them known breakage), "
        "0 regressed, 0 fixed, 0 untestable; 0 on replicas\n"
    )


def test_results_of_two_cpython_versions_do_not_hide_each_other() -> None:
    text = rendered(result("regressed", python="3.12"), result("ok", python="3.13"))
    assert shown(text) == ["REGR", "ok"]


def test_results_of_a_replica_and_of_its_release_do_not_hide_each_other() -> None:
    text = rendered(result("ok"), result("regressed", source=Source.UPSTREAM))
    assert shown(text) == ["REGR", "ok"]


def test_answers_that_came_by_chance_are_counted_and_told() -> None:
    counts = {"imports": 5, "crash\x1b[31m": 1}
    by_chance = result().model_copy(update={"evidence": {FLAKY: list(counts), ANSWERS: counts}})
    merged = result(uv="0.7.9").model_copy(update={"evidence": {FLAKY: ["imports", "crash"]}})
    assert "; 2 flaky; " in table.summary([by_chance, merged, result(uv="0.7.5")])
    assert "flaky" not in table.summary([result()])
    (line,) = table.flaky([by_chance, merged, result(uv="0.7.5")])
    assert line.startswith(f"flaky: {by_chance.id} was answered in more than one way: ")
    assert "imports (5 of 6), crash" in line
    assert "\x1b" not in line
