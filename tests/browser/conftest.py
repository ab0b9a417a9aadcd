"""Fixtures for tests of the report's page in a real browser: the system's Chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from harness.report import page as pages
from harness.report.model import View
from harness.results import Result

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, once for all tests of a worker; skips where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'"
    )
    # Chromium's sandbox is not to be had as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


class Open(Protocol):
    """Opens a page of results, or a file of one: ``opened(results, "#q=…")``."""

    def __call__(
        self, shown: Sequence[Result] | View | Path, fragment: str = "", **context: Any
    ) -> Page:
        """The page, loaded; ``context`` is for the browser, such as ``color_scheme``."""
        ...


@pytest.fixture
def problems() -> list[str]:
    """What a page did that it should not: whatever is in here at the end fails the test."""
    return []


@pytest.fixture
def opened(browser: Browser, tmp_path: Path, problems: list[str]) -> Iterator[Open]:
    """Opens pages from disk, and watches them: no errors, and no requests but for the file."""
    contexts = []

    def open_page(
        shown: Sequence[Result] | View | Path, fragment: str = "", **context: Any
    ) -> Page:
        path = shown if isinstance(shown, Path) else written(tmp_path, shown)
        made = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        contexts.append(made)
        page = made.new_page()
        address = path.as_uri()
        page.on("console", lambda said: problems.append(f"console: {said.type}: {said.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", _dismiss(problems))
        page.on("popup", lambda _: problems.append("a window"))
        page.on("request", _watch(address, problems))
        page.goto(address + fragment)
        return page

    yield open_page
    for each in contexts:
        each.close()
    assert problems == []


def _dismiss(problems: list[str]) -> Callable[[Dialog], None]:
    def dismiss(dialog: Dialog) -> None:
        problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    return dismiss


def _watch(address: str, problems: list[str]) -> Callable[[Request], None]:
    def look(request: Request) -> None:
        url = request.url.partition("#")[0]
        if url != address and not url.startswith("data:"):
            problems.append(f"request: {url}")

    return look


def written(folder: Path, shown: Sequence[Result] | View) -> Path:
    """The page's file."""
    view = shown if isinstance(shown, View) else View(results=tuple(shown))
    path = folder / f"report-{len(list(folder.iterdir()))}.html"
    path.write_text(pages.render(view), encoding="utf-8")
    return path
