"""The documentation and what it is about: quoted tables, links, names of options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.matrix import load
from harness.outcome import Reason
from tests import doc_tables

PROJECT = doc_tables.PROJECT
LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#(?P<part>[^)\s]+))?\)")


@pytest.mark.parametrize("page", doc_tables.PAGES, ids=lambda page: page.name)
def test_every_quoted_table_is_what_the_matrix_says(page: Path) -> None:
    """Run ``python -m tests.doc_tables`` after a change of matrix.yaml."""
    made = doc_tables.tables(doc_tables.expected())
    for name, body in doc_tables.quoted(page.read_text(encoding="utf-8")).items():
        assert body == made[name]


def test_the_tables_of_the_claims_are_quoted() -> None:
    """A page that loses its comments would no longer be compared with anything."""
    names = {n for page in doc_tables.PAGES for n in doc_tables.quoted(page.read_text())}
    assert names == set(doc_tables.tables(()))


def test_a_table_shows_a_difference_between_uv_versions_with_one_link_model() -> None:
    """Two answers in one place are both shown, and what does not apply gives way."""
    axes = {"extension": "python-mscl", "link_model": "static", "platform": "x86_64"}
    where = {**axes, "base": "debian13", "remedy": "none"}
    seen = [
        doc_tables.Seen(where=where, reason=reason)
        for reason in (Reason.IMPORTS, Reason.MISSING_LIBRARY, Reason.NOT_APPLICABLE)
    ]
    table = doc_tables.tables(seen)["remedies for python-mscl"]
    assert "| `none` |  | ok/x |" in table


def _anchors(page: Path) -> set[str]:
    """The parts of a page that can be linked to, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", doc_tables.PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target, part = match["target"], match["part"]
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), match[0]
        if part and file.suffix == ".md":
            assert part in _anchors(file), match[0]


def test_every_check_of_the_matrix_is_explained() -> None:
    text = (PROJECT / "docs" / "interpreter-health.md").read_text(encoding="utf-8")
    for name in load(PROJECT / "matrix.yaml").checks:
        assert f"`{name}`" in text
