"""How downloads are shown: each retry to everybody, the rest as the place allows."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from harness.progress import SILENT, Bars, Lines, Progress, for_terminal, size_of

LARGE = 33_000_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def bars(stream: io.StringIO) -> Bars:
    return Bars(Console(file=stream, force_terminal=True, width=120, color_system=None))


def test_a_large_download_has_a_line_where_it_begins_and_one_where_it_ends() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.started("archive", total=LARGE, done=0)
    assert said == ["downloading archive (33.0 MB)"]
    for _ in range(33):
        lines.advanced("archive", 1_000_000)
    assert len(said) == 1
    lines.finished("archive", whole=True)
    assert said[1].startswith("downloaded archive: 33.0 MB in ")
    assert said[1].endswith("B/s")
    assert len(said) == 2


def test_what_is_there_already_is_told_apart() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.started("archive", total=LARGE, done=30_000_000)
    lines.advanced("archive", 3_000_000)
    lines.finished("archive", whole=True)
    assert said[0] == "downloading archive (33.0 MB, 30.0 MB are there already)"
    assert said[1].startswith("downloaded archive: 3.0 MB in ")
    assert said[1].endswith(", after 30.0 MB that were there")


def test_a_small_download_is_quiet_and_its_retries_are_not() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.started("SHA256SUMS", total=90_000, done=0)
    lines.retried("SHA256SUMS", "github.com: 503 Service Unavailable; again in 0.5 s")
    lines.started("SHA256SUMS", total=90_000, done=0)
    lines.advanced("SHA256SUMS", 90_000)
    lines.finished("SHA256SUMS", whole=True)
    assert said == ["SHA256SUMS: github.com: 503 Service Unavailable; again in 0.5 s"]
    assert lines.retries == said


def test_going_on_after_a_retry_is_no_second_beginning() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.started("archive", total=LARGE, done=0)
    lines.advanced("archive", 10_000_000)
    lines.retried("archive", "cut")
    lines.started("archive", total=LARGE, done=10_000_000)
    lines.advanced("archive", 23_000_000)
    lines.finished("archive", whole=True)
    assert [line.partition(":")[0] for line in said] == [
        "downloading archive (33.0 MB)",
        "archive",
        "downloaded archive",
    ]
    assert "33.0 MB in" in said[2]


def test_a_download_of_unknown_size_is_announced() -> None:
    said: list[str] = []
    Lines(said.append).started("page", total=None, done=0)
    assert said == ["downloading page (size unknown)"]


def test_of_one_that_fails_the_error_says_all() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.finished("never began", whole=False)
    lines.started("archive", total=LARGE, done=LARGE)
    lines.finished("archive", whole=False)
    assert len(said) == 1


def test_retries_of_many_threads_are_all_kept() -> None:
    lines = Lines(lambda _: None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: lines.retried(str(n), "cut"), range(200)))
    assert sorted(lines.retries) == sorted(f"{n}: cut" for n in range(200))


def test_silence_keeps_nothing() -> None:
    silent: Progress = SILENT
    silent.started("archive", total=1, done=0)
    silent.retried("archive", "cut")
    silent.finished("archive", whole=True)
    assert silent.retries == ()


def test_bars_show_each_download_and_go_away_with_the_last() -> None:
    stream = io.StringIO()
    shown = bars(stream)
    shown.started("[one]", total=LARGE, done=0)
    shown.started("two", total=None, done=5_000_000)
    shown.advanced("[one]", 16_500_000)
    assert shown._bars is not None
    shown._bars.refresh()
    live = stream.getvalue()
    assert "[one]" in live
    assert "16.5/33.0 MB" in live
    assert "two" in live
    shown.finished("two", whole=False)
    shown.advanced("[one]", 16_500_000)
    shown.finished("[one]", whole=True)
    assert shown._bars is None
    rest = stream.getvalue().removeprefix(live)
    assert "downloaded [one]: 33.0 MB in " in rest
    assert rest.rstrip().endswith("B/s")
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


def test_retries_stand_above_the_bars_and_are_kept() -> None:
    stream = io.StringIO()
    shown = bars(stream)
    shown.started("one", total=LARGE, done=0)
    shown.retried("one", "cut after [5] MB; again in 0.5 s")
    shown.finished("one", whole=False)
    assert "one: cut after [5] MB; again in 0.5 s\n" in stream.getvalue()
    assert shown.retries == ["one: cut after [5] MB; again in 0.5 s"]


def test_bars_come_back_for_a_later_download() -> None:
    stream = io.StringIO()
    shown = bars(stream)
    for name in ("first", "second"):
        shown.started(name, total=2_000_000, done=0)
        shown.advanced(name, 2_000_000)
        shown.finished(name, whole=True)
    assert stream.getvalue().count("downloaded ") == 2
    assert stream.getvalue().count("\x1b[?25h") == 2


@pytest.mark.parametrize("shown", [Lines(print), bars(io.StringIO())], ids=["lines", "bars"])
def test_news_of_a_download_that_never_began_break_nothing(
    shown: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    shown.advanced("x", 5)
    shown.finished("x", whole=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("stream", "environment", "kind"),
    [
        (Terminal(), {}, Bars),
        (Terminal(), {"CI": "", "NO_PROGRESS": ""}, Bars),
        (Terminal(), {"CI": "true"}, Lines),
        (Terminal(), {"NO_PROGRESS": "1"}, Lines),
        (Terminal(), {"TERM": "dumb"}, Lines),
        (io.StringIO(), {}, Lines),
    ],
)
def test_bars_are_for_a_terminal_with_somebody_before_it(
    stream: io.StringIO, environment: dict[str, str], kind: type
) -> None:
    assert type(for_terminal(stream, print, environment)) is kind


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert type(for_terminal(stream, print, {})) is Lines


def test_lines_go_where_the_caller_says() -> None:
    said: list[str] = []
    for_terminal(io.StringIO(), said.append, {}).retried("x", "cut")
    assert said == ["x: cut"]


def test_without_bars_nothing_of_them_is_loaded() -> None:
    program = (
        "import sys, harness.progress as p; p.for_terminal(sys.stdout, print); "
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (123_456, "123 kB"),
        (999_600, "1.0 MB"),
        (33_123_456, "33.1 MB"),
        (123_456_789_000, "123.5 GB"),
    ],
)
def test_sizes_are_read_as_they_are_said(count: int, text: str) -> None:
    assert size_of(count) == text
