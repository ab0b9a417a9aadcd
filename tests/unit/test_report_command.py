"""``pbs-matrix report``: what it writes where, and what it says of what it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import cli
from harness.bench import report as benches
from harness.errors import ExitCode
from tests.unit.sample_report import cell, matrix
from tests.unit.sample_results import written
from tests.unit.test_bench import FASTER
from tests.unit.test_bench import report as bench_report


def pbs_matrix(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["report", *map(str, arguments)])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return written(tmp_path / "results.jsonl", list(matrix()))


def test_without_options_it_writes_a_page_where_one_is(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    done = pbs_matrix(results)
    assert (done.exit_code, done.output) == (0, "wrote report.html\n")
    assert "needing" in Path("report.html").read_text(encoding="utf-8")


def test_who_asks_for_markdown_alone_gets_no_page(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pbs_matrix(results, "--markdown", "report.md").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "results.jsonl"]


def test_all_that_it_is_given_is_in_both(results: Path, tmp_path: Path) -> None:
    earlier = written(tmp_path / "earlier.jsonl", [cell("ok", "needing"), cell(extension="gone")])
    bench = tmp_path / "bench.json"
    benches.write(bench_report(FASTER), bench)
    page, text = tmp_path / "deep" / "page.html", tmp_path / "text.md"
    done = pbs_matrix(
        *(results, "-o", page, "--markdown", text, "--base", earlier, "--bench", bench),
        *("--title", "Night & day"),
    )
    assert (done.exit_code, done.output) == (0, f"wrote {page}\nwrote {text}\n")
    html, markdown = page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert "<h1>Night &amp; day</h1>" in html
    assert "What changed since the earlier run" in html
    assert "richards" in html
    assert markdown.startswith("## `Night & day`\n")
    assert "1 cell regressed" in markdown


def test_several_files_are_merged_and_differing_answers_are_flaky(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [cell(), cell(extension="other")])
    two = written(tmp_path / "two.jsonl", [cell("fails"), cell(extension="third")])
    text = tmp_path / "report.md"
    assert pbs_matrix(one, two, "--markdown", text).exit_code == 0
    shown = text.read_text(encoding="utf-8")
    assert shown.count("3 cells: ") == 1
    assert "1 flaky" in shown


@pytest.mark.parametrize("option", ["results", "--base", "--bench"])
@pytest.mark.parametrize("content", ["{}\n", "nonsense\n", None])
def test_what_cannot_be_read_is_named_and_nothing_written(
    results: Path, tmp_path: Path, option: str, content: str | None
) -> None:
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_text(content, encoding="utf-8")
    page = tmp_path / "page.html"
    given = [bad] if option == "results" else [results, option, bad]
    done = pbs_matrix(*given, "-o", page)
    assert done.exit_code == ExitCode.CONFIGURATION
    assert str(bad) in done.output
    assert not page.exists()


@pytest.mark.parametrize("option", ["-o", "--markdown"])
def test_what_cannot_be_written_is_refused(results: Path, tmp_path: Path, option: str) -> None:
    done = pbs_matrix(results, option, tmp_path)
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "cannot be written: it is a directory" in done.output


def test_results_have_to_be_named() -> None:
    assert pbs_matrix().exit_code == 2
