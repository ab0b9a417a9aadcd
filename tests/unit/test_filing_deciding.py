"""What is done about issues: pure, the same each time, and never by what was not tested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.filing import deciding, marker, troubles, wording
from harness.filing.deciding import (
    Action,
    Close,
    Create,
    Desk,
    Known,
    Nothing,
    Reopen,
    Update,
)
from harness.filing.wording import Place
from harness.outcome import Reason
from harness.results import Result
from tests.unit.sample_nights import (
    GL,
    broken,
    error,
    fixed,
    known,
    mispredicted,
    not_applicable,
    ok,
    untestable,
)
from tests.unit.sample_results import made

Lines = Sequence[Result]
PLACE = Place(run="https://github.com/o/r/actions/runs/7", page="https://o.github.io/r/")


def desk(new: Iterable[Result], base: Iterable[Result] = (), **more: Any) -> Desk:
    return Desk(night=troubles.of(new, base), place=PLACE, **more)


def decided(issues: Iterable[Known], new: Iterable[Result], **more: Any) -> tuple[Action, ...]:
    return deciding.decide(issues, desk(new, **more))


class Board:
    """Issues, as they are after what was decided has been done."""

    def __init__(self) -> None:
        self.issues: dict[int, Known] = {}
        self.comments: Counter[int] = Counter()

    def night(self, lines: Lines, **more: Any) -> tuple[Action, ...]:
        actions = decided(self.issues.values(), lines, **more)
        for action in actions:
            self.do(action)
        return actions

    def do(self, action: Action) -> None:
        if isinstance(action, Nothing):
            return
        number = max(self.issues, default=0) + 1 if isinstance(action, Create) else action.number
        self.put(number, action.title, action.body, is_open=not isinstance(action, Close))
        if not isinstance(action, Create):
            self.comments[number] += bool(action.comment)

    def put(self, number: int, title: str, body: str, **more: Any) -> None:
        assert 0 < len(title) <= 256
        assert len(body) <= 65_536
        found, text = marker.parse(body)
        assert found is not None
        self.issues[number] = Known(
            number=number, title=title, marker=found, text=text.rstrip(), **more
        )

    @property
    def opened(self) -> list[Known]:
        return [issue for issue in self.issues.values() if issue.is_open]


def kinds(actions: Iterable[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


# -- One night after the other --


def test_a_trouble_is_filed_once_and_left_alone_while_it_lasts() -> None:
    board = Board()
    assert kinds(board.night([broken("a"), ok("b")])) == ["Create"]
    assert kinds(board.night([broken("a"), ok("b")])) == ["Nothing"]


def test_further_cells_and_fewer_are_said_once() -> None:
    board = Board()
    board.night([broken("a"), broken("b"), ok("c")])
    (update,) = board.night([broken("a"), ok("b"), broken("c")])
    assert isinstance(update, Update)
    assert "Now also in 1 cell (`c-uv" in update.comment
    assert "No longer in 1 cell (`b-uv" in update.comment
    assert update.title.startswith("a and 1 more: missing-library")
    assert kinds(board.night([broken("a"), ok("b"), broken("c")])) == ["Nothing"]


def test_it_is_closed_when_all_its_cells_are_tested_and_without_it() -> None:
    board = Board()
    board.night([broken("a"), broken("b")])
    (close,) = board.night([ok("a"), broken("b", GL)])[1:]
    assert isinstance(close, Close)
    assert board.opened[0].title.endswith(f"{GL} (regressed)")
    assert board.night([ok("a"), broken("b", GL)])[0] == Nothing(
        number=2, key=board.opened[0].marker.key, why="it says so already"
    )


def test_one_that_is_back_is_the_same_issue() -> None:
    board = Board()
    board.night([broken("a")])
    board.night([ok("a")])
    assert board.opened == []
    assert kinds(board.night([broken("a"), broken("b")])) == ["Reopen"]
    assert [issue.number for issue in board.opened] == [1]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [untestable("a")],
        [ok("a"), untestable("b")],
        [ok("a"), broken("b"), ok("b")],
        [not_applicable("a"), not_applicable("b")],
        [ok("c")],
    ],
)
def test_it_stays_open_where_not_every_cell_answers(lines: Lines) -> None:
    """Untestable, flaky, not applicable, not there."""
    board = Board()
    board.night([broken("a"), broken("b")])
    (nothing,) = board.night(lines)
    assert isinstance(nothing, Nothing)
    assert board.opened


def test_what_has_become_known_breakage_is_closed_and_said_to_be_that() -> None:
    board = Board()
    board.night([broken("a"), broken("b"), broken("c")])
    (close,) = board.night([known("a"), ok("b"), known("c")])
    assert isinstance(close, Close)
    assert ": 2 still fail like this, which `matrix.yaml` expects, and the others" in close.comment


def test_known_breakage_that_is_news_is_said_to_be_expected() -> None:
    (create,) = deciding.decide([], desk([known("a")], [ok("a")]))
    assert isinstance(create, Create)
    assert "as `matrix.yaml` expects, but otherwise than in the last good" in create.body
    (create,) = deciding.decide([], desk([known("a"), broken("b")], [ok("a")]))
    assert isinstance(create, Create)
    assert "which `matrix.yaml` does not expect of 1 cell." in create.body


def test_cells_that_are_gone_from_the_matrix_keep_nothing_open() -> None:
    board = Board()
    board.night([broken("a"), broken("b"), broken("c")])
    (close,) = board.night([ok("a"), not_applicable("b")])
    assert isinstance(close, Close)
    assert "2 more cells that had it are not in this run" in close.comment


def test_an_untestable_cell_is_carried_on_and_no_news() -> None:
    board = Board()
    board.night([broken("a"), broken("b")])
    assert kinds(board.night([broken("a"), untestable("b")])) == ["Nothing"]
    assert kinds(board.night([ok("a"), untestable("b")])) == ["Nothing"]
    assert kinds(board.night([ok("a"), ok("b")])) == ["Close"]


def test_of_two_open_issues_the_older_one_goes_on() -> None:
    """As after two runs at the same time."""
    board = Board()
    board.night([broken("a")])
    first = board.issues[1]
    board.put(2, first.title, first.marker.line + first.text, is_open=True)
    nothing, duplicate = board.night([broken("a")])
    assert isinstance(duplicate, Close)
    assert (duplicate.number, duplicate.comment) == (2, "Duplicate of #1")
    assert isinstance(nothing, Nothing)
    board.night([ok("a")])
    assert kinds(board.night([broken("a")])) == ["Reopen"]
    assert [issue.number for issue in board.opened] == [1]


def test_a_duplicate_that_somebody_opens_again_is_closed_again() -> None:
    board = Board()
    board.night([broken("a")])
    first = board.issues[1]
    board.put(2, first.title, first.marker.line + first.text, is_open=True)
    for lines in ([broken("a")], [untestable("a")]):
        board.night(lines)
        assert [issue.number for issue in board.opened] == [1]
        board.issues[2] = Known(**{**vars(board.issues[2]), "is_open": True})


def test_a_duplicate_is_not_taken_for_the_issue_that_is_gone() -> None:
    """It was closed here, and not by somebody who wants to hear no more."""
    board = Board()
    board.night([broken("a")])
    first = board.issues.pop(1)
    made_ = first.marker.changed(duplicate_of=1)
    board.put(2, first.title, made_.line + first.text, is_open=False, reason="not_planned")
    assert kinds(board.night([broken("a")])) == ["Create"]


def test_cells_of_a_duplicate_are_not_forgotten() -> None:
    board, other = Board(), Board()
    board.night([broken("a")])
    other.night([broken("b")])
    board.issues[2] = Known(**{**vars(other.issues[1]), "number": 2})
    before = dict(board.issues)
    board.night([broken("a")])
    assert kinds(board.night([ok("a"), untestable("b")])) == ["Nothing"]
    board.issues = before
    assert kinds(board.night([ok("a"), untestable("b")])) == ["Update", "Close"]
    assert kinds(board.night([ok("a"), untestable("b")])) == ["Nothing"]
    assert kinds(board.night([ok("a"), ok("b")])) == ["Close"]


def test_who_closes_as_not_planned_hears_of_other_cells_only() -> None:
    board = Board()
    board.night([broken("a"), broken("b")])
    board.issues[1] = Known(**{**vars(board.issues[1]), "is_open": False, "reason": "not_planned"})
    assert kinds(board.night([broken("a")])) == ["Nothing"]
    assert kinds(board.night([broken("a"), broken("c")])) == ["Reopen"]


def test_who_closes_as_completed_what_is_not_hears_of_it() -> None:
    board = Board()
    board.night([broken("a")])
    board.issues[1] = Known(**{**vars(board.issues[1]), "is_open": False, "reason": "completed"})
    assert kinds(board.night([broken("a")])) == ["Reopen"]


def test_a_title_that_somebody_has_changed_stays() -> None:
    board = Board()
    board.night([broken("a")])
    board.issues[1] = Known(**{**vars(board.issues[1]), "title": "Please look at this"})
    for lines in ([broken("b")], [broken("c")]):
        (update,) = board.night(lines)
        assert isinstance(update, Update)
        assert update.title == "Please look at this"


def test_one_night_opens_no_more_issues_than_people_read() -> None:
    lines = [error(chr(97 + n) * 4, f"e{n}") for n in range(25)]
    lines += [error("aaaa", "twice")]
    board = Board()
    actions = board.night(lines)
    assert Counter(kinds(actions)) == {"Create": 20, "Nothing": 5}
    assert isinstance(actions[0], Create)
    assert "import-error: aaaa" in actions[0].title
    assert Counter(kinds(board.night(lines))) == {"Create": 5, "Nothing": 20}


# -- More cells than a marker names --


def many(count: int, last: Result | None = None) -> list[Result]:
    return [broken(f"e{n}") for n in range(count)] + ([last] if last else [])


def test_of_more_cells_than_can_be_named_none_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any cell without an answer may be one of those that only were counted."""
    monkeypatch.setattr(marker, "LISTED", 20)
    size = 30
    board = Board()
    board.night(many(size))
    assert kinds(board.night(many(size))) == ["Nothing"]
    listed = board.issues[1].marker.tags
    counted = next(n for n in range(size) if marker.tag(ok(f"e{n}").id) not in listed)
    well = [ok(f"e{n}") for n in range(size) if n != counted]
    last = ok(f"e{counted}")
    out = untestable(f"e{counted}")
    assert kinds(board.night([*well, last, untestable("other")])) == ["Nothing"]
    some = [*well, out, broken("new")]
    assert kinds(board.night(some)) == ["Update"]
    assert kinds(board.night(some)) == ["Nothing"]
    assert kinds(board.night([*well, out, ok("new")])) == ["Nothing"]
    assert kinds(board.night([*well, last, ok("new")])) == ["Close"]


# -- Any history --

CELLS = ("a", "b", "c", "d")
ANSWERS: Mapping[str, Any] = {
    "ok": lambda cell: [ok(cell)],
    "lib": lambda cell: [broken(cell)],
    "gl": lambda cell: [broken(cell, GL)],
    "fixed": lambda cell: [fixed(cell)],
    "rules": lambda cell: [mispredicted(cell)],
    "untestable": lambda cell: [untestable(cell)],
    "flaky": lambda cell: [broken(cell), ok(cell)],
    "flaky, broken": lambda cell: [ok(cell), broken(cell)],
    "n/a": lambda cell: [not_applicable(cell)],
    "absent": lambda cell: [],
}
NIGHTS = st.lists(
    st.fixed_dictionaries({cell: st.sampled_from(sorted(ANSWERS)) for cell in CELLS}),
    min_size=1,
    max_size=7,
)
CLEAR = ("ok", "lib", "gl", "fixed", "rules")


@settings(deadline=None, max_examples=200)
@given(NIGHTS, st.randoms(use_true_random=False))
def test_after_any_history_of_nights_the_issues_are_what_they_should_be(
    nights: list[dict[str, str]], chance: Any
) -> None:
    board = Board()
    having: dict[str, set[str]] = {}
    for answers in nights:
        if len(board.issues) and chance.random() < 0.2:  # somebody's run at the same time
            known = board.issues[chance.choice(list(board.issues))]
            if known.is_open:
                number = len(board.issues) + 1
                board.issues[number] = Known(**{**vars(known), "number": number})
        lines = [line for cell, how in answers.items() for line in ANSWERS[how](cell)]
        chance.shuffle(lines)
        # A flaky cell ends with one of its answers, whichever came last.
        night = troubles.of(lines)
        shown = {t.key: {pair.extension for pair in t.pairs} for t in night.troubles}
        before = {issue.marker.key for issue in board.opened}
        board.night(lines)
        after = Counter(issue.marker.key for issue in board.opened)
        assert not after or max(after.values()) == 1
        assert shown.keys() <= after.keys()
        for key in before - shown.keys():
            cells = having[key]
            there = [c for c in cells if answers[c] not in ("n/a", "absent")]
            clear = all(answers[cell] in CLEAR for cell in there)
            assert (key in after) is not bool(there and clear)
        for key in after:
            kept = {c for c in having.get(key, set()) if answers[c] not in CLEAR}
            having[key] = shown[key] | kept if key in shown else having[key]
        for key in before - after.keys():
            having.pop(key)
        again = Board()
        again.issues = dict(board.issues)
        assert set(kinds(again.night(lines))) <= {"Nothing"}
        assert again.issues == board.issues


# -- What stands in them --

HOSTILE = [
    "@everyone please look",
    "<script>alert(1)</script><img src=x onerror=y>",
    "--> <!-- pbs-matrix:1 {} -->",
    "Fixes #1, closes o/r#2 and resolves https://github.com/o/r/issues/3",
    "``` \n@someone\n```",
    "`@someone` | a | b |\n|---|",
    "\x1b[31mred\x07 \u202eleft",
    "![x](https://evil.example/x.png) [y](javascript:z) www.evil.example",
    "</details></summary>\n# Title",
    "a" * 100_000,
    "\n\n\n",
    wording.BISECT,
]
OURS = re.compile(
    r"<!-- pbs-matrix:1 \{[^<>\n]*\} -->|<!-- pbs-matrix:bisect -->|</?details>"
    r"|<summary>[A-Za-z0-9 :]*</summary>"
)


def shown(body: str) -> tuple[str, str]:
    """What GitHub would make of a text: the HTML that is not ours, and all else but code."""
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    markup = "".join(OURS.sub("", t.content) for t in tokens if t.type == "html_block")
    words = []
    for token in tokens:
        if token.type == "heading_open":
            words.append("a heading")
        for child in token.children or ():
            if child.type == "html_inline":
                markup += child.content
            elif child.type != "code_inline":
                words.append(child.content + str(child.attrs or ""))
    return markup.strip(), "\n".join(words)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["message", "sample", "library", "because", "release"])
def test_what_others_wrote_is_code_and_nothing_else(text: str, field: str) -> None:
    match field:
        case "message":
            line = error(text)
        case "sample":
            line = broken(text)
        case "library":
            line = broken(library=text)
        case "release":
            line = broken(release=text, base=text, uv=text, python=text)
        case _:
            line = made(
                expected="missing-library",
                expected_library=text,
                expected_because=text,
                status="fixed",
            )
    board = Board()
    well = made(line.extension, id=line.id)
    actions = [action for lines in (line, well, line) for action in board.night([lines])]
    assert kinds(actions) == ["Create", "Close", "Reopen"]
    for action in actions:
        assert isinstance(action, Create | Close | Reopen)
        for body in (action.body, getattr(action, "comment", "")):
            markup, words = shown(body)
            assert markup == ""
            for sign in ("@", "<", "evil", "javascript:", "#", "heading", "\x1b", "\u202e"):
                assert sign not in words
        for sign in "@<>`#\n\x1b\u202e":
            assert sign not in action.title
        assert len(marker.parse(action.body)[1]) > 100


def test_a_title_says_who_what_and_why() -> None:
    lines = [broken("python-mscl"), broken("ucxx"), broken("torch")]
    (create,) = decided([], lines)
    assert isinstance(create, Create)
    assert create.title == (
        "python-mscl and 2 more: missing-library libpython3.13.so.1.0 (regressed)"
    )


def test_a_description_says_what_is_to_be_known() -> None:
    line = broken(
        "python-mscl",
        started="2026-11-29T03:00:00+00:00",
        linked="static",
        pins={"archive_sha256": "b" * 64},
    )
    before = ok(
        "python-mscl",
        started="2026-11-27T03:00:00+00:00",
        linked="static+rpath",
        pins={"archive_sha256": "a" * 64},
    )
    (create,) = deciding.decide([], desk([line], [before]))
    assert isinstance(create, Create)
    for words in (
        "| seen since | 2026-11-29 |",
        "| last good night | 2026-11-27 |",
        "`20250517 (static)`",
        "`linked: static+rpath → static`",
        "`archive: aaaaaaaaaaaa → bbbbbbbbbbbb`",
        f"pbs-matrix rerun '{line.id}'\n",
        "<https://github.com/o/r/actions/runs/7>",
        "<https://o.github.io/r/>",
        "cannot open shared object file",
        "`imports` |",
    ):
        assert words in create.body


def test_the_cell_to_run_again_is_one_that_most_people_can() -> None:
    lines = [broken("a", platform="aarch64"), broken("b"), broken("c")]
    (create,) = decided([], lines)
    assert isinstance(create, Create)
    assert f"pbs-matrix rerun '{lines[1].id}'\n" in create.body


def test_a_flaky_cell_is_said_to_be_one() -> None:
    (create,) = decided([], [ok(), broken()])
    assert isinstance(create, Create)
    assert "1 of them flaky" in create.body
    assert "`imports, then missing-library libpython3.13.so.1.0`" in create.body


def test_many_cells_are_folded_and_counted() -> None:
    (create,) = decided([], many(marker.LISTED + 500))
    assert isinstance(create, Create)
    assert len(create.body) < 65_000
    assert "<summary>The 2500 cells</summary>" in create.body
    assert re.search(r"\d+ more cells have no room here", create.body)


# -- Reports of bisections --


def key_of(*lines: Result) -> str:
    return troubles.of(lines).troubles[0].key


REPORT = "# breaks with `20250517`\n\n```text\n<!-- pbs-matrix:bisect -->\n```\n\nthe end"


def test_a_report_is_attached_and_kept_when_others_change() -> None:
    board = Board()
    board.night([broken("a")], bisects={key_of(broken()): REPORT})
    assert REPORT in board.issues[1].text
    assert kinds(board.night([broken("a")])) == ["Nothing"]
    board.night([broken("a"), broken("b")])
    assert board.issues[1].text.endswith(f"{REPORT}\n\n</details>")
    assert kinds(board.night([broken("a"), broken("b")])) == ["Nothing"]


def test_a_report_that_comes_later_is_said_once() -> None:
    board = Board()
    board.night([broken("a")])
    (update,) = board.night([broken("a")], bisects={key_of(broken()): REPORT})
    assert isinstance(update, Update)
    assert update.comment.startswith("A bisection's report is in the description now.")
    other = {key_of(broken()): "another night's words"}
    assert kinds(board.night([broken("a")], bisects=other)) == ["Nothing"]


def test_a_text_that_looks_like_a_report_is_not_kept_as_one() -> None:
    board = Board()
    lines = [error(f"{wording.BISECT}false", "a")]
    board.night(lines, bisects={key_of(*lines): REPORT})
    board.night([*lines, error(f"{wording.BISECT}false", "b")])
    assert board.issues[1].text.endswith(f"{REPORT}\n\n</details>")
    assert board.issues[1].text.count("To run one of them again") == 1


@pytest.mark.parametrize("text", ["", " \n", "\n\n"])
def test_an_empty_report_is_none(text: str) -> None:
    board = Board()
    board.night([broken("a")], bisects={key_of(broken()): text})
    assert board.issues[1].marker.bisect == ""
    assert kinds(board.night([broken("a")], bisects={key_of(broken()): text})) == ["Nothing"]


LINES = ["", "words", "```text", "```", "````", "~~~", "<details>", "</details>", "x" * 90]


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=20, max_size=60))
def test_a_report_that_is_too_long_is_cut_where_nothing_is_open(lines: list[str]) -> None:
    text = "\n\n".join(lines).strip("\n")
    rest = 42_000
    section = wording.report(text, rest)
    assert len(section) + rest + 22_000 <= 65_000
    inner = section.partition("</summary>\n\n")[2].removesuffix("\n\n</details>")
    if "more characters have no room here" in inner:
        kept = inner.rpartition("\n\n")[0]
        assert text.startswith(kept)
        # What comes behind it is no part of an open block or fold.
        tokens = MarkdownIt("commonmark").parse(f"{kept}\n\nthe end of it")
        assert tokens[-2].content == "the end of it"
        markup = "".join(token.content for token in tokens if token.type == "html_block")
        assert markup.count("<details>") <= markup.count("</details>")
    else:
        assert inner == text


def test_a_library_with_a_long_name_makes_no_long_issue() -> None:
    line = made(
        "x" * 3000,
        Reason.MISSING_LIBRARY,
        missing_library="y" * 30_000,
        status="regressed",
        expected_because="z" * 30_000,
    )
    (create,) = decided([], [line], bisects={key_of(line): "w" * 80_000})
    assert isinstance(create, Create)
    assert len(create.body) < 65_000
    assert len(create.title) <= 256
