"""The report as Markdown: complete where there is room, counted where not, markup of nobody's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness import comparison, table
from harness.comparison import LIMIT
from harness.report import markdown
from harness.report.model import View
from harness.results import Result
from harness.sources import Source
from harness.verdict import Status
from tests.unit.sample_report import BECAUSE, FORMS, cell, matrix

PARSER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def tokens(text: str) -> list[Token]:
    found = PARSER.parse(text)
    return [*found, *(child for token in found for child in token.children or ())]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, line by line."""
    found: list[list[str]] = []
    for token, after in zip(*[PARSER.parse(text)[shift:] for shift in (0, 1)], strict=False):
        if token.type == "tr_open":
            found.append([])
        elif token.type in ("td_open", "th_open"):
            found[-1].append("".join(child.content for child in after.children or ()))
    return found


def many(number: int, form: str = "regressed") -> tuple[Result, ...]:
    return tuple(
        cell(form, f"sample-{index}", f"0.8.{index % 12}", message=f"of a kind {index % 7}x")
        for index in range(number)
    )


def test_it_has_counts_problems_grids_and_known_breakage() -> None:
    results = (*matrix(), *(cell(form, f"a-{form}", source=Source.REPLICA) for form in FORMS))
    text = markdown.render(View(results=results))
    found = rows(text)
    for name, (letters, _, words) in table.SYMBOLS.items():
        number = sum(table.symbol(result) == name for result in results)
        assert [letters, str(number), words] in found
    assert ["good", "ok", "ok", "ok", "ok"] in found
    assert ["needing", "ok", "x", "x", "ok"] in found
    regressed = next(result for result in results if result.status == "regressed")
    assert [regressed.id, "imports", BECAUSE] in found
    assert "<summary>Known breakage: 6 cells</summary>" in text
    assert ["5", "missing-library libpython3.13.so.1.0", BECAUSE, "needing, a-fails"] in found
    assert "20250517\\~" in text


def test_nothing_to_complain_of_has_no_section_of_problems() -> None:
    text = markdown.render(View(results=(cell(),)))
    assert "Problems" not in text
    assert "Known breakage" not in text


def test_what_changed_is_told_as_compare_does() -> None:
    results = tuple(matrix())
    found = comparison.compare([cell("ok", "needing", "0.7.6"), cell(extension="gone")], results)
    text = markdown.render(View(results=results, comparison=found))
    assert comparison.markdown(found).strip() in text


@pytest.mark.parametrize("number", [1, 100, 3000])
@pytest.mark.parametrize("form", ["regressed", "fails", "ok", "untestable", "mispredicted"])
def test_it_fits_and_counts_what_does_not(form: str, number: int) -> None:
    results = many(number, form)
    earlier = [cell("ok", result.extension, result.uv) for result in results]
    view = View(results=results, comparison=comparison.compare(earlier, results))
    text = markdown.render(view)
    assert len(text) <= LIMIT
    grids = text[text.index("### Grids") :]
    drawn = len(re.findall(r"^\| `sample-\d+` \|", grids, re.M))
    left = re.search(r"^(\d+) more rows? ", grids, re.M)
    assert drawn + (int(left[1]) if left else 0) == number
    assert bool(left) is (number == 3000)
    if view.problems:
        part = text[text.index("### Problems") : text.index("Since the earlier run")]
        told = len(re.findall(r"^\| `sample-", part, re.M))
        more = re.search(r"^(\d+) more cells? ", part, re.M)
        assert told + (int(more[1]) if more else 0) == number


@pytest.mark.parametrize("limit", [5000, 8000, 20_000, LIMIT])
def test_it_is_never_longer_than_its_limit(limit: int) -> None:
    results = (*many(500), *many(500, "fails"))
    found = comparison.compare([], results)
    assert len(markdown.render(View(results=results, comparison=found), limit)) <= limit


@settings(max_examples=60, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from("`|~*_<>[]()!@#&\\\n\r\u202e\x1b"), st.characters()), max_size=60
    )
)
def test_what_strangers_wrote_is_code_and_nothing_else(evil: str) -> None:
    result = cell(
        "regressed",
        evil,
        id=evil,
        base=evil,
        uv=evil,
        release=evil,
        link_model="static",
        message=evil,
        expected_because=evil,
    )
    known = result.model_copy(update={"status": Status.AS_EXPECTED, "id": f"{evil}, known"})
    results = (result, known)
    plain = markdown.render(View(results=(cell("regressed"), cell("fails"))))
    text = markdown.render(View(results=results, title=evil))
    kinds = {token.type for token in tokens(text)}
    assert kinds <= {token.type for token in tokens(plain)} | {"code_inline"}
    assert [row for row in rows(text) if len(row) == 1] == []
    html = [token.content for token in tokens(text) if token.type.startswith("html")]
    assert set(html) == {token.content for token in tokens(plain) if token.type.startswith("html")}


@pytest.mark.parametrize("title", ["www.example.com", "@someone", "#1", "*x*", "<b>", "a.b"])
def test_a_title_that_could_be_more_is_code(title: str) -> None:
    assert markdown.render(View(results=(), title=title)).startswith(f"## `{title}`\n")
    assert markdown.render(View(results=(), title="Night of 2026-01-02")).startswith(
        "## Night of 2026-01-02\n"
    )
