"""The report's page as text: one file, well formed, whatever is in the results."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import comparison, table
from harness.outcome import Reason
from harness.report import page
from harness.report.model import View
from harness.verdict import Status
from tests.unit.sample_report import FORMS, cell, matrix
from tests.unit.test_bench import BROKEN, FASTER, report

VOID = {"meta", "link", "br", "input"}
ALONE = {"rect", "line", "path"}


class Reader(HTMLParser):
    """Checks that every element is closed, and keeps what scripts and styles hold."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.kept: dict[str, list[str]] = {"script": [], "style": []}
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.kept:
            self.kept[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALONE
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.kept:
            self.kept[self.open[-1]][-1] += data

    def values(self, name: str) -> list[str]:
        """Of every attribute of a name."""
        return [value for _, key, value in self.attributes if key == name]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def data(text: str) -> Any:
    return json.loads(read(text).kept["script"][0])


def everything() -> View:
    results = (*matrix(), *(cell(form, f"a-{form}", remedy="preload") for form in FORMS))
    earlier = [*list(matrix())[2:], cell(extension="gone"), cell("ok", "a-fails", remedy="preload")]
    return View(
        results=results,
        comparison=comparison.compare(earlier, results),
        bench=report(FASTER, BROKEN),
    )


def test_the_page_is_well_formed_and_has_all_its_parts() -> None:
    reader = read(page.render(everything()))
    sections = {value for tag, name, value in reader.attributes if (tag, name) == ("section", "id")}
    assert sections == {
        *("problems", "changes", "grids", "timeline", "known", "remedies", "benchmark")
    }


def test_a_page_of_nothing_is_one_too() -> None:
    assert data(page.render(View(results=())))["cells"] == []


def test_a_benchmark_without_figures_says_why() -> None:
    text = page.render(View(results=(cell(),), bench=report(BROKEN)))
    assert "No benchmark has a figure." in text
    assert "ImportError: no module named array" in text


def test_the_page_names_nothing_that_it_would_have_to_fetch() -> None:
    reader = read(page.render(everything()))
    assert reader.values("src") == []
    hrefs = {value for tag, name, value in reader.attributes if (tag, name) == ("link", "href")}
    assert hrefs == {"data:,"}
    assert not re.search(r"url\(|@import", "".join(reader.kept["style"]))


def test_the_policy_allows_the_pages_own_program_and_style_alone() -> None:
    reader = read(page.render(everything()))
    (policy,) = [value for value in reader.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, text in (("style", reader.kept["style"][0]), ("script", reader.kept["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    # Which the policy would not let through.
    assert reader.values("style") == []
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]


def test_cells_in_the_data_are_in_the_order_of_those_in_the_grids() -> None:
    text = page.render(everything())
    found = data(text)
    keys = [found["symbols"][each[3]][0] for each in found["cells"]]
    grids = text[text.index('<section id="grids"') : text.index('<section id="timeline"')]
    assert re.findall(r'class="c s-([a-z-]+)"', grids) == keys
    assert len({each[4] for each in found["cells"]}) == len(everything().results)


def test_every_status_has_a_style_and_so_have_its_letters() -> None:
    css = (page.ASSETS / "page.css").read_text(encoding="utf-8")
    assert set(re.findall(r"^\.s-([a-z-]+) \{", css, re.M)) == set(table.SYMBOLS)


def luminance(color: str) -> float:
    digits = color.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_letters_stand_out_from_their_colour(scheme: int) -> None:
    """4.5 to 1 is what WCAG asks for."""
    css = (page.ASSETS / "page.css").read_text(encoding="utf-8")
    found = re.findall(r"--([a-z-]+): light-dark\((#\w+), (#\w+)\);", css)
    colors = {name: luminance(pair[scheme]) for name, *pair in found}
    pairs = [(name, f"{name}-ink") for name in colors if f"{name}-ink" in colors]
    pairs += [(paper, ink) for paper in ("paper", "raised") for ink in ("ink", "soft", "link")]
    assert len(pairs) == 7 + 6
    for one, other in pairs:
        dark, light = sorted((colors[one], colors[other]))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (one, other)


@settings(max_examples=60, deadline=None)
@given(
    evil=st.text(
        st.one_of(st.sampled_from("<>&\"'/!-{}%\u2028\u2029\u202e\n\r\0"), st.characters()),
        max_size=40,
    ),
    tail=st.sampled_from(["", "</script>", "<!--", "]]>", "</style>", "{% raw %}", "<script"]),
)
def test_whatever_strangers_wrote_the_page_is_well_formed(evil: str, tail: str) -> None:
    said = evil + tail
    result = cell(
        "regressed",
        said,
        id=said,
        base=said,
        uv=said,
        release=said,
        link_model="static",
        message=said,
        expected_because=said,
        expected_link=f"https://{said}",
        evidence={said: {said: said}},
        pins={said: said},
    )
    known = result.model_copy(update={"status": Status.AS_EXPECTED, "id": f"{said}, known"})
    earlier = [result.model_copy(update={"outcome": Reason.IMPORTS, "missing_library": None})]
    view = View(
        results=(result, known),
        title=said,
        comparison=comparison.compare(earlier, [result, known]),
    )
    text = page.render(view)
    text.encode()
    plain = read(page.render(View(results=(cell("regressed"),))))
    reader = read(text)
    assert len(reader.kept["script"]) == 2
    assert reader.kept["script"][1] == plain.kept["script"][1]
    assert len(data(text)["cells"]) == 2
    assert not {tag for tag, _, _ in reader.attributes} & {"img", "iframe", "object", "base"}


@pytest.mark.parametrize(
    ("link", "is_link"),
    [
        ("https://example.com/1", True),
        ("http://example.com/1", True),
        ("javascript:alert(1)", False),
        (" https://example.com", False),
        ("data:text/html,x", False),
        ("//example.com", False),
    ],
)
def test_only_what_leads_to_the_web_is_a_link(link: str, is_link: bool) -> None:
    reader = read(page.render(View(results=(cell("fails", expected_link=link),))))
    assert (link in reader.values("href")) is is_link


def test_the_same_results_give_the_same_page() -> None:
    assert page.render(everything()) == page.render(everything())
