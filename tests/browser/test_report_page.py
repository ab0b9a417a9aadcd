"""The report's page in Chromium: filters, address, keyboard, one cell, paper, size, strangers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from harness import comparison, table
from harness.bench.report import Report
from harness.report.model import View
from harness.results import Result
from harness.sources import Source
from tests.browser.conftest import Open
from tests.unit.sample_report import (
    BECAUSE,
    FORMS,
    LINK,
    MESSAGE,
    RELEASES,
    SEARCHED,
    cell,
    matrix,
)
from tests.unit.test_bench import BROKEN, FASTER, SAME
from tests.unit.test_bench import report as bench_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

MATRIX = tuple(matrix())
BROKEN_CELL = "needing-uv0.7.6-cp313-20250517-x86_64-debian13"


def everything() -> View:
    """A page with all of its parts."""
    remedies = [
        cell("ok" if remedy == "preload-by-path" else "fails", "needing", uv, remedy=remedy)
        for remedy in ("preload", "preload-by-path")
        for uv in RELEASES
    ]
    forms = [cell(form, f"a-{form}", source=Source.REPLICA) for form in FORMS]
    flaky = cell(extension="unsteady", evidence={"flaky": ["crash", "imports"]})
    results = (*MATRIX, *remedies, *forms, flaky)
    were = [cell("ok", f"a-{form}", source=Source.REPLICA) for form in FORMS]
    earlier = [cell(extension="gone"), *were]
    return View(
        results=results,
        title="A run",
        comparison=comparison.compare([*MATRIX[3:], *earlier], results),
        bench=bench(),
    )


def bench() -> Report:
    return bench_report(FASTER, SAME, BROKEN)


def shown(page: Page) -> list[str]:
    """What the visible cells of the grids say, row by row."""
    return page.locator("#grids .c:visible").all_inner_texts()


def count(page: Page) -> str:
    return page.locator("#count").inner_text()


def grids(page: Page) -> list[str]:
    """Titles of the visible grids, without their sizes."""
    titles = page.locator("#grids h3:visible").all_inner_texts()
    return [title.rpartition(" ")[0] for title in titles]


def fragment(page: Page) -> str:
    return page.url.partition("#")[2]


def reaches(page: Page, wanted: str) -> None:
    """Waits until the address is as it should be; what is typed gets there after a moment."""
    page.wait_for_function("wanted => location.hash.slice(1) === wanted", arg=wanted)


def focused(page: Page) -> str:
    """Row and column of the cell that has the focus."""
    found: str = page.evaluate(
        """() => {
          const cell = document.activeElement.closest("td");
          return cell ? `${cell.parentElement.cells[0].innerText} ${cell.cellIndex}` : "";
        }"""
    )
    return found


# --- grids and filters --------------------------------------------------------------------------


def test_the_grids_have_a_row_for_each_extension_and_a_column_for_each_uv(opened: Open) -> None:
    page = opened(MATRIX)
    assert grids(page) == ["x86_64, debian13", "aarch64, debian13"]
    first = page.locator("#grids table").first
    assert first.locator("thead th[scope=col]").all_inner_texts()[1:] == [
        f"uv {uv}\n{release}\n{words}"
        for (uv, release), words in zip(
            RELEASES.items(), ("shared", "static", "+runpath", "+rpath"), strict=True
        )
    ]
    assert first.locator("tbody th[scope=row]").all_inner_texts() == ["good", "needing", "steady"]
    assert shown(page)[:8] == ["ok"] * 5 + ["x", "x", "ok"]
    assert count(page) == "all 24 cells shown"


def test_every_status_has_its_letters_a_name_for_screen_readers_and_a_filter(opened: Open) -> None:
    page = opened([cell(form, f"a-{form}") for form in FORMS])
    for form, (letters, _, words) in table.SYMBOLS.items():
        button = page.locator(f"#grids .s-{form}")
        assert button.inner_text() == letters
        assert button.get_attribute("aria-label") == f"{letters}: {words}"
        page.click(f".chip[data-value={form}]")
        assert shown(page) == [letters]
        assert fragment(page) == f"status={form}"
        page.click(f".chip[data-value={form}]")
    assert count(page) == f"all {len(FORMS)} cells shown"


@pytest.mark.parametrize(
    ("facet", "value", "expected"),
    [
        ("platform", "aarch64", 12),
        ("uv", "0.7.6", 6),
        ("release", "20250323", 6),
        ("extension", "needing", 8),
        ("outcome", "missing-library", 4),
        ("linked", "static+rpath", 6),
        ("predicted", "yes", 4),
    ],
)
def test_a_facet_leaves_the_cells_that_have_its_value(
    opened: Open, facet: str, value: str, expected: int
) -> None:
    """Whatever else is in the grids is not there: no empty row, column or grid."""
    page = opened(MATRIX)
    if not page.locator(f".facet[data-name={facet}] summary").is_visible():
        page.click("#more")
    page.click(f".facet[data-name={facet}] summary")
    page.click(f".facet[data-name={facet}] label:has(input[value='{value}'])")
    assert count(page) == f"{expected} of 24 cells shown"
    assert len(shown(page)) == expected
    assert fragment(page) == f"{facet}={quote(value)}"
    for grid in page.locator("#grids .plane:visible").all():
        visible = grid.locator("td:visible").count()
        rows, columns = grid.locator("tbody tr:visible"), grid.locator("thead th:visible")
        assert visible == rows.count() * (columns.count() - 1)
        assert all(row.locator(".c:visible").count() for row in rows.all())


@pytest.mark.parametrize("facet", ["uv", "release"])
def test_the_values_of_a_facet_are_in_their_order(opened: Open, facet: str) -> None:
    """Versions as numbers, and releases by their commits."""
    early = cell(uv="0.7.4", release="20250323")
    page = opened([early, *MATRIX])
    page.click(f".facet[data-name={facet}] summary")
    labels = page.locator(f".facet[data-name={facet}] label").all_inner_texts()
    expected = ["0.7.4", *RELEASES] if facet == "uv" else list(RELEASES.values())
    assert [label.split()[0] for label in labels] == expected


def test_two_values_of_a_facet_are_either_and_two_facets_are_both(opened: Open) -> None:
    page = opened(MATRIX, "#uv=0.7.5&uv=0.7.6&platform=x86_64&extension=needing")
    assert shown(page) == ["ok", "x"]
    page.click(".facet[data-name=uv] summary")
    assert page.locator(".facet[data-name=uv] label:has(input:checked)").all_inner_texts() == [
        "0.7.5\n6",
        "0.7.6\n6",
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("needing", 8),
        ("NEEDING aarch64", 4),
        ("cannot open shared object", 4),
        ("nothing searches", 4),
        ("libpython3.13.so.1.0 x86_64", 2),
        ("nowhere", 0),
    ],
)
def test_the_search_finds_cells_with_all_words(opened: Open, query: str, expected: int) -> None:
    """In their ids, messages, and what was expected of them."""
    page = opened(MATRIX)
    page.fill("#search", query)
    page.wait_for_function(
        "words => document.querySelector('#count').innerText === words",
        arg=f"{expected} of 24 cells shown",
    )
    assert len(shown(page)) == expected
    assert page.locator("#nothing").is_visible() is (expected == 0)
    reaches(page, f"q={query.replace(' ', '+')}")


def test_filters_are_cleared_at_once(opened: Open) -> None:
    page = opened(MATRIX, "#status=fails&platform=x86_64&q=nowhere&theme=dark")
    assert shown(page) == []
    page.click("#nothing .clear")
    assert count(page) == "all 24 cells shown"
    assert fragment(page) == "theme=dark"
    assert page.locator("#clear").is_hidden()


def test_the_number_of_cells_is_told_to_screen_readers(opened: Open) -> None:
    page = opened(MATRIX)
    assert page.locator("#count").get_attribute("aria-live") == "polite"


# --- the address --------------------------------------------------------------------------------


def test_the_address_restores_what_is_shown(opened: Open) -> None:
    page = opened(MATRIX, f"#platform=x86_64&status=fails&q=needing&theme=dark&cell={BROKEN_CELL}")
    assert shown(page) == ["x", "x"]
    assert page.locator("#search").input_value() == "needing"
    assert page.locator(".chip[data-value=fails]").get_attribute("aria-pressed") == "true"
    assert (
        page.locator(".facet[data-name=platform] summary")
        .inner_text()
        .startswith("platform: x86_64")
    )
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator("#cell .id").inner_text() == BROKEN_CELL


def test_back_and_forward_go_through_what_was_shown(opened: Open) -> None:
    page = opened(MATRIX)
    page.click(".chip[data-value=fails]")
    page.locator("#grids .c:visible").first.click()
    assert page.locator("#cell").is_visible()
    page.go_back()
    assert page.locator("#cell").is_hidden()
    assert count(page) == "4 of 24 cells shown"
    page.go_back()
    assert count(page) == "all 24 cells shown"
    assert page.locator(".chip[data-value=fails]").get_attribute("aria-pressed") == "false"
    page.go_forward()
    page.go_forward()
    assert page.locator("#cell .id").inner_text() == BROKEN_CELL


def test_what_is_typed_is_one_step_of_the_history(opened: Open) -> None:
    page = opened(MATRIX)
    page.click("#search")
    for letter in "need":
        page.keyboard.type(letter)
        page.wait_for_function("letter => location.hash.endsWith(letter)", arg=letter)
    page.go_back()
    assert count(page) == "all 24 cells shown"
    assert page.locator("#search").input_value() == ""
    page.go_forward()
    assert count(page) == "8 of 24 cells shown"


def test_what_an_address_asks_in_vain_does_no_harm(opened: Open) -> None:
    page = opened(MATRIX, "#nonsense=1&platform=vax&cell=none-such&%E0%A4%A&status=%3Cimg%3E")
    assert count(page) == "0 of 24 cells shown"
    assert page.locator("#cell").is_hidden()
    assert page.locator("#said").inner_text() == "There is no cell none-such here"


# --- one cell -----------------------------------------------------------------------------------


def test_a_cell_opens_its_evidence(opened: Open) -> None:
    page = opened(MATRIX)
    page.locator("#grids .s-fails").first.click()
    dialog = page.locator("#cell")
    text = dialog.inner_text()
    assert fragment(page) == f"cell={BROKEN_CELL}"
    for words in (
        *(MESSAGE, BECAUSE, LINK, BROKEN_CELL),
        *("/opt/extensions/needing.so", "ImportError", "ab" * 32, "0.25 s"),
        *("20250517, committed 2025-05-1", "missing-library libpython3.13.so.1.0"),
    ):
        assert words in text
    assert dialog.locator("ol li").all_inner_texts() == list(SEARCHED)
    assert dialog.locator(f"a[href='{LINK}']").get_attribute("rel") == "noreferrer noopener"
    command = f"pbs-matrix rerun '{BROKEN_CELL}'"
    assert command in dialog.locator(".copy pre").all_inner_texts()


def test_a_cell_says_what_is_particular_about_it(opened: Open) -> None:
    explanation = {
        "account": "It needs a library.",
        "trace": ["find library=libpython"],
        "advice": [{"reader": "user", "text": "Preload it.", "code": "import ctypes"}],
    }
    results = [
        cell("fails", evidence={"explanation": explanation, "flaky": ["crash", "imports"]}),
        cell("ok", "other", source=Source.REPLICA, started="2026-01-01T00:00:00+00:00", took=2.5),
    ]
    earlier = [cell("ok", pins={"archive_sha256": "ef" * 32})]
    page = opened(View(results=tuple(results), comparison=comparison.compare(earlier, results)))
    page.locator("#grids .s-fails").click()
    text = page.locator("#cell").inner_text()
    for words in (
        *("It needs a library.", "find library=libpython", "Preload it.", "import ctypes"),
        *("flaky: crash, then imports", "archive: efefefefefef → abababababab"),
    ):
        assert words in text
    page.keyboard.press("Escape")
    page.locator("#grids .s-ok").click()
    text = page.locator("#cell").inner_text()
    assert "On a replica: a stand-in with that release’s link model, not the release." in text
    assert "2.5 s" in text


def test_a_link_to_a_cell_opens_it_and_nothing_else_changes(opened: Open) -> None:
    page = opened(MATRIX, f"#cell={BROKEN_CELL}")
    assert page.locator("#cell h2").inner_text() == "needing"
    assert count(page) == "all 24 cells shown"
    link = page.locator("#cell .copy pre").last.inner_text()
    assert link == page.url
    page.click("#close")
    assert fragment(page) == ""
    assert focused(page) == "needing 2"
    # So that the tab key comes back to it.
    assert page.evaluate("document.activeElement.tabIndex") == 0


@pytest.mark.parametrize("plus", ["+", "%2B"])
def test_a_link_to_a_cell_with_a_remedy_may_be_written_by_hand(opened: Open, plus: str) -> None:
    preloaded = cell("fails", remedy="preload")
    page = opened([preloaded], f"#cell={preloaded.id.replace('+', plus)}")
    assert page.locator("#cell .id").inner_text() == preloaded.id


def test_the_dialog_has_a_strip_of_releases_that_leads_to_other_cells(opened: Open) -> None:
    page = opened(MATRIX, f"#cell={BROKEN_CELL}")
    strip = page.locator("#cell .strip")
    assert strip.locator("thead th").all_inner_texts() == ["release", *RELEASES.values()]
    assert strip.locator(".c").all_inner_texts() == ["ok", "x", "x", "ok"]
    assert strip.locator("[aria-current]").count() == 1
    strip.locator(".c").first.click()
    assert page.locator("#cell .id").inner_text() == BROKEN_CELL.replace("0.7.6", "0.7.5").replace(
        "20250517", "20250409"
    )


@pytest.mark.parametrize("is_allowed", [True, False])
def test_the_command_is_copied(opened: Open, is_allowed: bool) -> None:
    """Where a browser has no clipboard for pages, in the way that there was before."""
    page = opened(MATRIX, f"#cell={BROKEN_CELL}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('something else')")
    if not is_allowed:
        page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
        )
    page.click("#cell [aria-label='Copy the command']")
    page.wait_for_function("document.querySelector('#said').innerText === 'Copied'")
    command = f"pbs-matrix rerun '{BROKEN_CELL}'"
    assert page.evaluate("navigator.clipboard.readText()") == command
    # Where a screen reader tells it while the dialog is open.
    assert page.locator("#cell #said[aria-live]").count() == 1


# --- keyboard -----------------------------------------------------------------------------------


def test_a_grid_is_walked_and_a_cell_opened_and_closed_by_keys_alone(opened: Open) -> None:
    page = opened(MATRIX)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert focused(page) == "good 1"
    for key, place in {
        "ArrowRight": "good 2",
        "ArrowDown": "needing 2",
        "ArrowLeft": "needing 1",
        "End": "needing 4",
        "ArrowUp": "good 4",
        "Home": "good 1",
        "Control+End": "steady 4",
        "Control+Home": "good 1",
    }.items():
        page.keyboard.press(key)
        assert focused(page) == place, key
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == "good 1"
    page.keyboard.press("Enter")
    assert page.locator("#cell").is_visible()
    assert page.evaluate("document.activeElement.id") == "cell-title"
    page.keyboard.press("Escape")
    assert page.locator("#cell").is_hidden()
    assert focused(page) == "good 1"
    page.keyboard.press("Tab")
    assert focused(page) == "good 1"  # of the other grid
    assert fragment(page) == ""


def test_keys_pass_over_what_is_not_shown(opened: Open) -> None:
    page = opened(MATRIX, "#platform=x86_64&status=ok")
    assert shown(page) == ["ok"] * 10
    page.locator("#grids .c:visible").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")  # x is not shown: the nearest that is
    assert focused(page) == "needing 1"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "needing 4"


@pytest.mark.parametrize("asked", ["", "#status=fails", "#uv=0.13.9", "#q=nowhere"])
def test_each_shown_grid_is_one_stop_of_the_tab_key(opened: Open, asked: str) -> None:
    page = opened(MATRIX, asked)
    stops = page.locator("#grids .c[tabindex='0']:visible").count()
    assert stops == page.locator("#grids .plane:visible").count()


def test_every_other_table_of_cells_is_one_stop_too(opened: Open) -> None:
    page = opened(everything())
    page.click("nav a[href='#timeline']")
    page.wait_for_selector("#strips .c")
    page.locator("#strips .c[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert focused(page).endswith(" 2")
    assert page.locator("#strips .c[tabindex='0']").count() == 1
    assert page.locator("#remedies .c[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("#cell").is_visible()
    page.keyboard.press("Escape")
    assert focused(page).endswith(" 2")


def test_a_slash_goes_to_the_search_and_escape_closes_a_filter(opened: Open) -> None:
    page = opened(MATRIX)
    page.locator("#grids .c").first.focus()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("a/b")
    assert page.locator("#search").input_value() == "a/b"
    summary = page.locator(".facet[data-name=platform] summary")
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "x86_64"
    page.keyboard.press(" ")
    assert count(page) == "0 of 24 cells shown"  # a/b is asked for too
    page.keyboard.press("Escape")
    assert page.locator(".facet[open]").count() == 0
    assert summary.evaluate("element => element === document.activeElement")


def test_focus_can_be_seen(opened: Open) -> None:
    page = opened(MATRIX)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "2px"


# --- the other parts ----------------------------------------------------------------------------


def test_releases_stand_in_the_order_of_their_commits(opened: Open) -> None:
    """And not of their names; one mark for each outcome that a release has there."""
    again = cell("fails", "good", "0.7.8", release="20250517", id="again")
    page = opened([*MATRIX, again])
    page.click("nav a[href='#timeline']")
    page.wait_for_selector("#strips .c")
    strip = page.locator("#strips table")
    assert strip.locator("thead th").all_inner_texts() == [
        "release",
        *("20250409", "20250517", "20250521", "20250323"),
    ]
    row = strip.locator("tbody tr").first
    texts = row.locator("td").all_inner_texts()
    assert [text.split() for text in texts] == [["ok"], ["ok", "x"], ["ok"], ["ok"]]
    color = "element => getComputedStyle(element).backgroundColor"
    assert row.locator(".s-fails").evaluate(color) == page.locator(
        "#grids .s-fails"
    ).first.evaluate(color)
    row.locator(".c").nth(2).click()
    assert fragment(page) == "cell=again"


def test_the_strips_are_of_the_platform_that_is_shown(opened: Open) -> None:
    page = opened(MATRIX, "#platform=aarch64")
    page.click("nav a[href='#timeline']")
    page.wait_for_selector("#strips .c")
    assert page.locator("#plane option").all_inner_texts() == ["aarch64, debian13"]
    page.locator("#strips .s-fails").first.click()
    assert page.locator("#cell .id").inner_text().endswith("aarch64-debian13")


def test_what_changed_leads_to_the_cells(opened: Open) -> None:
    page = opened(everything())
    lines = page.locator("#changes tbody tr").all_inner_texts()
    split = [line.replace(" show in the grids", "").split("\t") for line in lines]
    rows = {words: number for number, words in split}
    assert rows["removed"] == "1"
    changes = page.locator("#changes tr", has_text="added")
    changes.locator("button").click()
    assert fragment(page) == "change=added"
    assert count(page).startswith(f"{rows['added']} of ")
    page.locator("#changes .cells a").first.click()
    assert page.locator("#cell").is_visible()
    assert "change=added&cell=" in fragment(page)


def test_problems_lead_to_the_cells(opened: Open) -> None:
    page = opened(everything())
    link = page.locator("#problems a").first
    wanted = link.inner_text()
    link.click()
    assert page.locator("#cell .id").inner_text() == wanted
    page.keyboard.press("Escape")
    assert link.evaluate("element => element === document.activeElement")


def test_remedies_have_a_row_for_each_and_a_column_for_each_link_model(opened: Open) -> None:
    page = opened(everything())
    page.click("nav a[href='#remedies']")
    tables = page.locator("#remedies table")
    assert tables.count() == 1
    assert tables.locator("thead th").all_inner_texts()[1:5] == [
        f"{model}\nx86_64" for model in ("shared", "static", "static+runpath", "static+rpath")
    ]
    rows = [row.locator("td").all_inner_texts()[:4] for row in tables.locator("tbody tr").all()]
    assert rows == [["ok", "x", "x", "ok"], ["x"] * 4, ["ok"] * 4]
    tables.locator("tbody tr").nth(2).locator(".c").first.click()
    assert page.locator("#cell .id").inner_text().endswith("+preload-by-path")


def test_the_benchmark_is_drawn_and_its_figures_are_a_table(opened: Open) -> None:
    page = opened(everything())
    bars = page.locator("#benchmark svg .bar")
    assert bars.count() == 3
    page.click("#benchmark summary")
    figures = page.locator("#benchmark tbody tr").all_inner_texts()
    assert figures[1].split("\t") == ["richards", "1.200", "1.200 to 1.200", "3"]
    assert figures[-1] == "go\tfailed (static): ImportError: no module named array"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_readers_unless_the_page_is_told(opened: Open, scheme: str) -> None:
    def is_dark() -> bool:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(re.findall(r"\d+", color)[0]) < 128

    page = opened(MATRIX, color_scheme=scheme)
    assert is_dark() is (scheme == "dark")
    for theme in ("dark", "light"):
        page.select_option("#theme", theme)
        assert is_dark() is (theme == "dark")
        assert fragment(page) == f"theme={theme}"
    page.select_option("#theme", "")
    assert is_dark() is (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_window_scrolls_grids_and_not_the_page(opened: Open, width: int) -> None:
    page = opened(everything(), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#grids .c").first.click()
    assert page.evaluate("document.querySelector('#cell').scrollWidth") <= width


def test_without_its_program_the_page_still_has_the_grids(opened: Open) -> None:
    page = opened(everything(), java_script_enabled=False)
    assert page.locator("#grids .c:visible").count() == len(everything().results)
    assert page.locator("noscript").is_visible()
    assert page.locator(".controls").is_hidden()


# --- paper --------------------------------------------------------------------------------------

CONTROLS = "input, select, .chip, .only, .facet, #more, #clear, #theme, nav, .skip, footer, dialog"


def test_on_paper_there_are_all_grids_and_no_controls(opened: Open) -> None:
    view = everything()
    page = opened(view, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#grids .plane:visible").count() == len(view.grids)
    assert page.locator("#grids .c:visible").count() == len(view.results)
    assert page.locator(".legend li:visible").count() == len(FORMS) + 1
    controls = page.locator(CONTROLS)
    assert [each for each in controls.all() if each.is_visible()] == []
    styles = page.evaluate(
        """() => [...document.querySelectorAll("#grids .c")].map((cell) => {
          const { color, backgroundColor, borderTopStyle, borderTopWidth } = getComputedStyle(cell);
          return [color, backgroundColor, `${borderTopStyle} ${borderTopWidth}`];
        })"""
    )
    assert {(color, background) for color, background, _ in styles} == {
        ("rgb(0, 0, 0)", "rgba(0, 0, 0, 0)")
    }
    # What colours tell apart on a screen, borders do as well as letters.
    assert len({border for _, _, border in styles}) >= 5
    assert len(page.pdf(prefer_css_page_size=True)) > 10_000


def test_on_paper_it_is_said_what_was_left_out(opened: Open) -> None:
    page = opened(MATRIX, "#platform=x86_64&q=needing")
    page.emulate_media(media="print")
    assert page.locator("#filtered").inner_text() == (
        "Only 4 of 24 cells: platform x86_64, with “needing”"
    )


# --- everybody can use it -----------------------------------------------------------------------


def nothing(page: Page) -> None:
    """As it is when it opens."""


def open_cell(page: Page) -> None:
    page.locator("#grids .s-fails").first.click()


def open_filters(page: Page) -> None:
    page.click("#more")
    page.click(".facet[data-name=extension] summary")


def come_near_the_strips(page: Page) -> None:
    page.click("nav a[href='#timeline']")
    page.wait_for_selector("#strips .c")


def filter_cells(page: Page) -> None:
    page.click(".chip[data-value=fails]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "act", [nothing, open_cell, open_filters, come_near_the_strips, filter_cells]
)
def test_axe_finds_nothing_serious(opened: Open, act: Callable[[Page], None], scheme: str) -> None:
    sync_playwright = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="needs axe-playwright-python: pip install -e '.[dev]'",
    )
    page = opened(everything(), color_scheme=scheme)
    act(page)
    found = sync_playwright.Axe().run(page).response["violations"]
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


# --- strangers ----------------------------------------------------------------------------------

EVIL = (
    "</script><script>alert(1)</script><!--<script>",
    "\"'><img src=x onerror=alert(1)><svg onload=alert(2)>",
    "{{ 7 * 7 }}${7*7}\u2028\u2029\u202eevil\x1b[31m\x00",
    "' ; rm -rf / #`$(id)`",
    "__proto__",
)


@pytest.mark.parametrize("evil", EVIL)
def test_what_strangers_wrote_is_text(opened: Open, evil: str) -> None:
    """Wherever it stands; the fixture fails the test for any alert, error or request."""
    result = cell(
        "fails",
        evil,
        id=evil,
        base=evil,
        uv=evil,
        release=evil,
        link_model="static",
        python=evil,
        message=evil,
        status="regressed",
        expected_because=evil,
        expected_link=f"javascript:alert(1)//{evil}",
        evidence={"exception": evil, evil: [evil], "explanation": {"account": evil}},
        pins={evil: evil, "wheels": {evil: evil}},
    )
    other = result.model_copy(update={"message": f"{evil}, once more"})
    view = View(
        results=(result,), title=evil, comparison=comparison.compare([other, cell()], [result])
    )
    page = opened(view)
    page.locator("#grids .c").click()
    seen = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in evil)
    assert page.locator("#cell pre").first.inner_text() == seen
    assert page.locator("#cell h2").inner_text() == seen
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, object, embed, link:not([rel=icon])").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    quoted = seen.replace("'", "'\\''")
    assert page.locator("#cell .copy pre").first.inner_text() == f"pbs-matrix rerun '{quoted}'"
    page.reload()
    assert page.locator("#cell h2").inner_text() == seen


def test_the_policy_stops_what_is_not_the_pages_own(opened: Open, problems: list[str]) -> None:
    page = opened(MATRIX)
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.foreign = true";
          document.body.append(script);
        }"""
    )
    assert page.evaluate("window.foreign") is None
    assert page.evaluate("fetch('https://example.invalid/').then(() => 1, () => 0)") == 0
    assert problems
    assert all("Content Security Policy" in each or "Fetch API" in each for each in problems)
    problems.clear()


# --- size ---------------------------------------------------------------------------------------


def many(number: int) -> list[Result]:
    """So many cells: twenty columns on each of two platforms, and samples as needed."""
    template = [cell("ok"), cell("fails")]
    found = []
    for index in range(number):
        row, column = divmod(index, 40)
        platform = "x86_64" if column % 2 else "aarch64"
        uv = f"0.8.{column // 2}"
        name = f"sample-{row}"
        identity = f"{name}-uv{uv}-cp313-20250517-{platform}-debian13"
        update = {"id": identity, "extension": name, "uv": uv, "platform": platform}
        found.append(template[index % 7 == 0].model_copy(update=update))
    return found


FILTERING = """async (query) => {
  const search = document.querySelector("#search");
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const times = [];
  for (const words of [query, "", query, "", query]) {
    const before = performance.now();
    search.value = words;
    search.dispatchEvent(new InputEvent("input"));
    await frame();
    times.push(performance.now() - before);
  }
  return Math.min(...times);
}"""


def test_ten_thousand_cells_stay_usable(opened: Open) -> None:
    """Filtering them takes no more than in proportion, with room for a busy machine."""
    small, large = (opened(many(number)) for number in (1000, 10_000))
    times: list[Any] = [page.evaluate(FILTERING, "x86_64 cannot") for page in (small, large)]
    assert times[1] <= 10 * 5 * max(times[0], 1)
    large.bring_to_front()
    large.fill("#search", "sample-77- x86_64")
    large.wait_for_function("document.querySelector('#count').innerText.startsWith('20 of 10000')")
    large.locator("#grids .c:visible").first.click()
    assert large.locator("#cell h2").inner_text() == "sample-77"


def test_a_page_holds_what_cells_have_in_common_once(opened: Open) -> None:
    """Ten times the cells are less than ten times the bytes, and no more elements than needed."""
    page = opened(many(1000))
    assert page.evaluate("document.querySelectorAll('#grids *').length") < 2.2 * 1000 + 200
    assert len(page.content()) < 1000 * 300 + 60_000
