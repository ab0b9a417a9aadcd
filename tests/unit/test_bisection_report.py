"""What a bisection says in the end: no more than was established, and nothing that others wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness import releases
from harness.bisection import endings, issue, report
from harness.bisection.model import Axis, Candidate, Inquiry, Trial
from harness.bisection.report import BisectExit
from harness.bisection.search import (
    Cancelled,
    Direction,
    Ending,
    Flaky,
    Found,
    NotMonotonic,
    Range,
    WrongEnds,
)
from harness.errors import ExitCode
from harness.markdown import block, clipped, code, word
from harness.outcome import Outcome
from harness.releases import LinkModel
from harness.results import Result
from harness.sources import Source
from tests.unit.sample_bisection import (
    GOOD,
    RELEASES,
    bad,
    ending_of,
    inquiry,
    result,
    searched,
    trials,
)

ALL = tuple(releases.commit_dates())
TAGS = ALL[:30]
"""The oldest, which are all shared."""

REPLICAS = "Tested were replicas with the releases' link models, not the releases."


def upstream(
    axis: Axis = Axis.RELEASE, direction: Direction = Direction.BREAK, **change: Any
) -> Inquiry:
    return inquiry(axis, direction, **{"source": Source.UPSTREAM, "retests": 0, **change})


def reproduce(candidate: Candidate) -> str:
    return f"pytest --uv={candidate.uv} --releases={candidate.release}"


def markdown(asked: Inquiry, tested: Sequence[Trial], ending: Ending | None = None) -> str:
    ending = ending or ending_of(asked, tested)
    return report.markdown(asked, tested, ending, reproduce=reproduce, harness="1.2.3")


CASES: dict[str, tuple[Inquiry, Sequence[Trial], type[Ending], BisectExit]] = {}


def case(
    name: str,
    asked: Inquiry,
    answers: str | list[tuple[int, str]],
    kind: type[Any],
    code: BisectExit,
) -> None:
    CASES[name] = asked, trials(asked, answers), kind, code


SHORT: dict[str, Any] = {"tags": RELEASES[:3]}
case("found", upstream(**SHORT), ".xx", Found, BisectExit.FOUND)
case("fix", upstream(direction=Direction.FIX, tags=RELEASES[2:]), "x..", Found, BisectExit.FOUND)
case("range", upstream(**SHORT), ".?x", Range, BisectExit.RANGE)
case("not-monotonic", upstream(everything=True), ".xx..", NotMonotonic, BisectExit.NOT_MONOTONIC)
case("uv", upstream(Axis.UV, everything=True), ".xx.x", NotMonotonic, BisectExit.NOT_MONOTONIC)
case("wrong-ends", upstream(**SHORT), "x-x", WrongEnds, BisectExit.WRONG_ENDS)
case("flaky", upstream(**SHORT), [(0, "."), (1, "x"), (1, "."), (2, "x")], Flaky, BisectExit.FLAKY)
case("cancelled", upstream(), ".---x", Cancelled, BisectExit.CANCELLED)
case("nothing", upstream(), "-----", Cancelled, BisectExit.CANCELLED)
case("untestable", upstream(**SHORT), "???", WrongEnds, BisectExit.WRONG_ENDS)

each = pytest.mark.parametrize("name", CASES)


@each
def test_each_ending_has_an_exit_code_of_its_own(name: str) -> None:
    asked, tested, kind, code = CASES[name]
    ending = ending_of(asked, tested)
    assert isinstance(ending, kind)
    assert report.exit_code(ending) is code


def test_no_exit_code_is_that_of_an_error() -> None:
    assert {*map(int, ExitCode), 1} & set(map(int, BisectExit)) == set()


# The sentence

SENTENCES = {
    "found": "python-mscl breaks with 20250517 (static): that is bad, and 20250409 (shared), right "
    "before it in this walk, is good. All 3 releases of the walk gave an answer.",
    "fix": "python-mscl is mended with 20250529 (static+rpath): that is good, and 20250521 "
    "(static+runpath), right before it in this walk, is bad. All 3 releases of the walk gave an "
    "answer.",
    "range": "python-mscl breaks after 20250409 (shared), which is good, and no later than with "
    "20250521 (static+runpath), which is bad. With which of these 2 cannot be told: 20250517 "
    "(static) could not be tested. Of the 3 releases of the walk 2 gave an answer; of the others "
    "nothing is known.",
    "not-monotonic": "python-mscl changes 2 times in this walk, so no one release can be named: "
    "from good to bad with 20250517 (static), right after 20250409 (shared); from bad to good with "
    "20250529 (static+rpath), right after 20250521 (static+runpath). All 5 releases of the walk "
    "gave an answer.",
    "uv": "python-mscl changes 3 times in this walk, so no one uv version can be named: from good "
    "to bad with uv 0.7.6, right after uv 0.7.5; from bad to good with uv 0.7.8, right after "
    "uv 0.7.7; from good to bad with uv 0.7.9, right after uv 0.7.8. uv 0.7.6 installs "
    "20250517 (static) where uv 0.7.5 installed 20250409 (shared). uv 0.7.8 installs 20250409 "
    "(shared) where uv 0.7.7 installed 20250521 (static+runpath). uv 0.7.9 installs 20250529 "
    "(static+rpath) where uv 0.7.8 installed 20250409 (shared). All 5 uv versions of the walk "
    "gave an answer.",
    "wrong-ends": "For python-mscl the ends are not what they were said to be: 20250409 (shared), "
    "said to be good, is bad; 20250521 (static+runpath), said to be bad, is bad.",
    "flaky": "python-mscl is flaky with 20250517 (static), which was good once and bad once: no "
    "release can be named.",
    "cancelled": "Cut short when 2 of 5 releases had answered for python-mscl; nothing is "
    "established. Seen so far: from good to bad after 20250409 (shared) and no later than with "
    "20250604 (static+rpath).",
    "nothing": "Cut short when 0 of 5 releases had answered for python-mscl; nothing is "
    "established. No change had been seen.",
    "untestable": "For python-mscl the ends are not what they were said to be: 20250409 (shared), "
    "said to be good, could not be tested, nor could any other that was asked; 20250521 "
    "(static+runpath), said to be bad, could not be tested, nor could any other that was asked.",
}


@each
def test_the_sentence_claims_what_was_established(name: str) -> None:
    asked, tested, *_ = CASES[name]
    ending = ending_of(asked, tested)
    assert report.sentence(ending, asked, tested) == SENTENCES[name]
    plain = markdown(asked, tested).split("\n\n")[1].replace("`", "")
    assert plain == SENTENCES[name]


def test_what_was_not_tested_is_not_claimed() -> None:
    asked = upstream(tags=TAGS)
    tested = searched(asked, "." * 11 + "x" * 19)
    said = report.sentence(ending_of(asked, tested), asked, tested)
    count = len({trial.place for trial in tested})
    assert count < 9
    assert said.endswith(
        f"Of the 30 releases of the walk {count} gave an answer; of the others nothing is known."
    )


def test_an_end_that_is_untestable_is_not_said_to_be_anything() -> None:
    asked = upstream(tags=RELEASES)
    tested = trials(asked, "?x-xx")
    said = report.sentence(ending_of(asked, tested), asked, tested)
    assert (
        "20250409 (shared), said to be good, could not be tested, and 20250517 (static), the "
        "nearest known that can, is bad"
    ) in said


def test_replicas_are_never_passed_off_as_releases() -> None:
    asked = inquiry(retests=0, tags=RELEASES[:2])
    tested = trials(asked, ".x")
    ending = ending_of(asked, tested)
    assert report.sentence(ending, asked, tested).endswith(REPLICAS)
    assert REPLICAS in report.log_text(asked, tested, ending)
    assert "> **Replicas, not releases.** All 2 trials ran on replicas" in markdown(asked, tested)
    mixed = (tested[0], *trials(upstream(tags=RELEASES[:2]), "-x"))
    mixed[0].result.pins["archive_is_replica"] = True
    assert "1 trials were of replicas with" in report.sentence(ending, asked, mixed)
    none = trials(upstream(tags=RELEASES[:2]), ".x")
    assert "eplicas" not in markdown(upstream(tags=RELEASES[:2]), none)


def test_where_both_uvs_install_the_same_release_it_is_not_the_release() -> None:
    asked = upstream(Axis.UV).model_copy(
        update={"candidates": (Candidate(uv="0.7.5"), Candidate(uv="0.7.8")), "bad": 1}
    )
    tested = trials(asked, ".x")
    assert (
        "uv 0.7.5 and uv 0.7.8 both install 20250409 (shared), so the release is not what makes "
        "the difference."
    ) in report.sentence(ending_of(asked, tested), asked, tested)


def test_names_in_a_sentence_do_nothing_to_a_terminal() -> None:
    asked = upstream(**SHORT, subject="x\x1b[2J\n" * 100)
    said = report.sentence(ending_of(asked, trials(asked, ".xx")), asked, trials(asked, ".xx"))
    assert said.isprintable()
    assert len(said) < 600


# The strip


def test_each_candidate_has_a_letter_and_each_change_a_name() -> None:
    asked = inquiry(tags=TAGS)
    tested = trials(asked, "...xx.?-x" + "-" * 20 + "x")
    flaky = (*tested, *trials(asked, [(4, "."), (7, "o")]))
    assert report.strip(asked, flaky, 80).plain.splitlines() == [
        f"{TAGS[0]} to {TAGS[29]}, 30 releases:",
        "...xF.??x--------------------x",
        f"   │ │  └ {TAGS[8]} bad, after {TAGS[5]} good",
        f"   │ └ {TAGS[5]} good, after {TAGS[3]} bad",
        f"   └ {TAGS[3]} bad, right after {TAGS[2]} good",
        ". good  x bad  ? untestable  F flaky  - not asked",
    ]


@given(st.lists(st.sampled_from(".x?-"), min_size=2, max_size=120), st.integers(60, 200))
def test_no_line_is_wider_than_the_terminal_and_none_is_lost(
    letters: list[str], width: int
) -> None:
    asked = inquiry(tags=ALL[: len(letters)])
    shown = report.strip(asked, trials(asked, "".join(letters)), width).plain
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    strip = "".join(line for line in lines[1:-1] if "└" not in line)
    assert strip == "".join(letters)
    for line in lines[1:-1]:
        if "└" in line:
            place = next(n for n, c in enumerate(asked.candidates) if f"└ {c.name}" in line)
            assert letters[place] in ".x"


def test_letters_are_there_without_colours_and_with_them() -> None:
    asked = inquiry()
    text = report.strip(asked, trials(asked, ".xx.."), 80)
    assert ".xx..\n" in text.plain
    assert {str(span.style) for span in text.spans} == {"green", "bold red"}


# The log


def test_the_log_has_a_line_for_each_answer() -> None:
    asked = upstream(tags=RELEASES, notes=("a note",))
    tested = trials(asked, [(0, "."), (4, "x"), (2, "?"), (1, "o"), (3, "x")])
    tested[4].result.evidence["modules"] = {}
    kept = tested[1].model_copy(update={"is_kept": True, "notes": ("it crashed\nonce",)})
    log = report.log_text(asked, (tested[0], kept, *tested[2:]), None)
    assert log.splitlines() == [
        "# bisection 20261128-2204-python-mscl-x86_64-ab12 of 2026-11-28T22:04:05+00:00",
        "# pbs-matrix bisect --extension python-mscl",
        "# python-mscl, x86_64, debian13, upstream",
        "# 5 releases: 20250409 (said to be good) to 20250604 (said to be bad)",
        "# bad is: missing-library libpython3.13.so.1.0",
        "# a note",
        "good 20250409",
        "bad 20250604  # missing-library libpython3.13.so.1.0; as on an earlier day; "
        "it crashed\\nonce",
        "untestable 20250521  # untestable (image): the image cannot be built",
        "untestable 20250517  # undefined-symbol",
        "bad 20250529  # missing-library libpython3.13.so.1.0",
        "# not ended",
    ]
    assert log.endswith("\n")


@each
def test_the_log_ends_with_how_it_ended(name: str) -> None:
    asked, tested, *_ = CASES[name]
    ending = ending_of(asked, tested)
    lines = report.log_text(asked, tested, ending).splitlines()
    assert f"# {SENTENCES[name]}" in lines
    assert [f"# {warning}" for warning in ending.warnings] == lines[
        len(lines) - len(ending.warnings) :
    ]


# JSON


@each
def test_programs_get_the_same(name: str) -> None:
    asked, tested, _, code = CASES[name]
    ending = ending_of(asked, tested)
    data = json.loads(report.as_json(asked, tested, ending, reproduce=reproduce))
    assert data["exit_code"] == code
    assert data["sentence"] == SENTENCES[name]
    assert endings.load(data["ending"]) == ending
    assert Inquiry.model_validate(data["inquiry"]) == asked
    assert tuple(map(Trial.model_validate, data["trials"])) == tuple(tested)
    assert len(data["strip"]) == len(asked.candidates)
    assert len(data["candidates"]) == len({trial.place for trial in tested})


def test_a_change_is_told_to_programs_by_its_two_sides() -> None:
    asked, tested, *_ = CASES["uv"]
    data = json.loads(report.as_json(asked, tested, ending_of(asked, tested), reproduce=reproduce))
    first, second, _ = data["transitions"]
    assert first["adjacent"]
    assert first["last"] == {
        "place": 0,
        "name": "0.7.5",
        "uv": "0.7.5",
        "release": "20250409",
        "commit_date": "2025-04-08",
        "link_model": "shared",
        "answers": ["good"],
        "is_replica": False,
        "reproduce": "pytest --uv=0.7.5 --releases=None",
    }
    project = "https://github.com/astral-sh"
    assert second["links"] == {
        "0.7.8": f"{project}/uv/releases/tag/0.7.8",
        "0.7.7...0.7.8": f"{project}/uv/compare/0.7.7...0.7.8",
        "20250409": f"{project}/python-build-standalone/releases/tag/20250409",
        "20250521": f"{project}/python-build-standalone/releases/tag/20250521",
        "20250409...20250521": f"{project}/python-build-standalone/compare/20250409...20250521",
    }


# The report for an issue

PARSER = MarkdownIt("commonmark").enable("table")
HTML = {
    "<details>\n<summary>Log</summary>\n",
    "<details>\n<summary>Versions and hashes</summary>\n",
    "</details>\n",
}


def tokens(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def in_code(text: str) -> str:
    return "\n".join(t.content for t in tokens(text) if t.type in ("code_inline", "fence"))


def prose(text: str) -> str:
    return "\n".join(t.content for t in tokens(text) if t.type == "text")


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def test_the_report_of_a_found_release_has_all_that_upstream_asks_for() -> None:
    asked, tested, *_ = CASES["found"]
    said = markdown(asked, tested)
    assert headings(said) == [
        "`python-mscl`: breaks with `20250517` (static)",
        "What was asked",
        "Timeline",
        "Changes",
        "`20250409` (shared) good, `20250517` (static) bad",
        "Why",
        "To reproduce",
        *(
            line[2:]
            for line in report.log_text(asked, tested, ending_of(asked, tested)).splitlines()
            if line[0] == "#"
        ),
    ]
    for wanted in (
        "| `20250409` | 2025-04-08 | shared | good once | `imports` |",
        "| `20250517` | 2025-05-17 | static | bad once | `missing-library libpython3.13.so.1.0` |",
        "(https://github.com/astral-sh/python-build-standalone/releases/tag/20250517)",
        "(https://github.com/astral-sh/python-build-standalone/compare/20250409...20250517)",
        "libpython3.13.so.1.0: cannot open shared object file: No such file or directory",
        "By the loader's rules, `libpython3.13.so.1.0` is missing; "
        "`/opt/extensions/python-mscl/site/python_mscl/_mscl.so` needs it; looked for in "
        "`/lib/x86_64-linux-gnu`, `/usr/lib`.",
        "pytest --uv=0.8.0 --releases=20250409",
        "pytest --uv=0.8.0 --releases=20250517",
        "| bad means | `missing-library libpython3.13.so.1.0` |",
    ):
        assert wanted in said
    versions = said.partition("<summary>Versions and hashes</summary>")[2].partition("</details>")[
        0
    ]
    for pin, value in tested[1].result.pins.items():
        assert pin in versions
        if isinstance(value, str):
            assert value in versions
    assert "harness " in versions
    assert "  1.2.3\n" in versions
    assert f"  {'4b73' * 16}\n" in versions
    assert versions.count("c443" * 16) == 1, "what all have is said once"
    assert versions.count("cpython-3.13.5+") == 2


@each
def test_each_ending_has_its_report(name: str) -> None:
    asked, tested, *_ = CASES[name]
    ending = ending_of(asked, tested)
    said = markdown(asked, tested)
    assert ("--resume" in said) is isinstance(ending, Cancelled)
    for warning in ending.warnings:
        assert f"- {warning}\n" in said
    if isinstance(ending, NotMonotonic | Cancelled):
        for change in ending.transitions:
            names = (asked.name(change.last), asked.name(change.first))
            assert any(all(f"`{name}`" in line for name in names) for line in headings(said))
    assert report.log_text(asked, tested, ending).strip() in in_code(said)
    assert {t.content for t in tokens(said) if t.type == "html_block"} <= HTML


def test_the_words_of_the_prediction_are_in_the_report_once() -> None:
    asked = upstream(everything=True)
    explanation = {
        "account": "`_mscl.so` needs it, and no step finds it.",
        "trace": [],
        "advice": [],
    }
    outcome = bad(explanation=explanation)
    good, *_ = trials(asked, ".")
    last = Trial(place=4, result=result(asked, 4, bad("another message")))
    failed = [Trial(place=place, result=result(asked, place, outcome)) for place in (1, 2, 3)]
    said = markdown(asked, (good, *failed, last))
    assert said.count("and no step finds it.") == 1
    found = markdown(asked, (good, *failed[:2], *trials(asked, "---..")))
    assert "`20250517` (static), `20250521` (static+runpath):\n\n" in found


def test_another_failure_is_told_apart() -> None:
    asked = upstream(**SHORT)
    said = markdown(asked, trials(asked, ".ox"))
    assert (
        "| other failures, taken for untestable | `undefined-symbol` with `20250517` (static) |"
        in said
    )


def test_an_interpreter_that_is_linked_otherwise_than_the_table_says_is_shown_so() -> None:
    asked = upstream(**SHORT)
    first, second, third = trials(asked, ".xx")
    other = second.result.model_copy(update={"linked": LinkModel.STATIC_RPATH})
    said = markdown(asked, (first, second.model_copy(update={"result": other}), third))
    assert "| static+rpath (by the table of releases static) |" in said


def test_what_could_not_be_tested_once_is_not_among_the_reasons() -> None:
    asked = upstream(tags=RELEASES[:2])
    said = markdown(asked, trials(asked, [(0, "."), (1, "?"), (1, "x")]))
    assert "cannot open shared object file" in said.partition("## Why")[2]
    assert "the image cannot be built" not in said.partition("## Why")[2].partition("<details>")[0]


def test_what_a_command_said_is_in_the_report() -> None:
    asked = upstream(tags=RELEASES[:2])
    findings = {"exit_code": 3, "said": "first line\nlast line"}
    failed = Trial(place=1, result=result(asked, 1, bad(findings=findings)))
    assert "\nexit_code: 3\nsaid: first line\nlast line\n" in markdown(
        asked, (*trials(asked, "."), failed)
    )


def test_no_password_gets_into_what_is_pasted() -> None:
    mirror = "https://user:p@ss@mirror.example/pbs"
    asked = upstream(
        **SHORT,
        mirror=mirror,
        command=f"pbs-matrix bisect --mirror '{mirror}'",
        notes=(f"from {mirror}",),
    )
    failed = Trial(place=1, result=result(asked, 1, bad(f"at {mirror}")))
    tested = (*trials(asked, "."), failed, *trials(asked, "--x"))
    ending = ending_of(asked, tested)
    texts = (markdown(asked, tested), report.log_text(asked, tested, ending))
    for text in texts:
        assert "https://***@mirror.example/pbs" in text
        assert "ss@" not in text
    data = json.loads(report.as_json(asked, tested, ending))
    assert "ss@" not in data["inquiry"]["command"] + data["inquiry"]["mirror"]


# What others wrote

EVIL = [
    *(
        "evil",
        "`",
        "``",
        "```",
        "~~~",
        "|",
        "\\",
        "\n",
        "\r",
        "\t",
        " ",
        "    ",
        "*",
        "_",
        "<",
        ">",
        "&",
    ),
    *(
        "@evil",
        "#1",
        "evil/evil#1",
        "<script>evil</script>",
        "</details>",
        "<!--",
        "-->",
        "[evil](",
        ")",
    ),
    *(
        "![evil](http://evil.example/x)",
        "https://evil.example",
        "www.evil.example",
        "evil@evil.example",
    ),
    *(
        "\x1b[2J",
        "\u202e",
        "\u2028",
        "\x00",
        "\x85",
        "---",
        "\n# evil\n",
        "\n```\n",
        "\n- evil",
        "\n> evil",
    ),
    *("[evil]: https://evil.example", "&#64;evil", "\\x7c", "e" * 50),
]
hostile = st.lists(st.sampled_from(EVIL) | st.text(max_size=3), max_size=8).map("".join)


def with_text(text: str) -> str:
    """A report in which a text is everywhere that somebody else's may be."""
    asked = upstream(
        direction=Direction.BREAK,
        id=text,
        subject=text,
        base=text,
        command=text,
        started=text,
        python=text,
        notes=(text,),
        shell=text,
        candidates=tuple(
            Candidate(uv=text, release=f"{text}{n}", commit_date=text) for n in range(3)
        ),
        bad=2,
    )

    def trial(place: int, outcome: Outcome) -> Trial:
        made = Result.model_validate(
            {
                **result(inquiry(), place, outcome).model_dump(),
                "release": f"{text}{place}",
                "pins": {"wheels": {text: text}, text + "0": text, "image": f"{text}{place}"},
            }
        )
        return Trial(place=place, result=made, notes=(text,))

    explanation = {"account": f"x{text}", "trace": [f"x{text}"], "advice": []}
    failed = bad(f"x{text}", f"x{text}", findings={text: text}, explanation=explanation)
    other = bad("", f"y{text}")
    tested = (trial(0, GOOD), trial(1, other), trial(2, failed))
    return report.markdown(
        asked, tested, ending_of(asked, tested), reproduce=lambda c: text, harness=text
    )


BENIGN = [t.type for t in PARSER.parse(with_text("benign"))]


@given(hostile)
@example("```\n</details>\n@evil")
@example("x|evil|\\|")
@example("`")
@example("")
def test_what_others_wrote_is_code_and_nothing_else(text: str) -> None:
    said = with_text(text)
    assert [t.type for t in PARSER.parse(said)] == BENIGN
    for token in tokens(said):
        if token.type == "text":
            assert "evil" not in token.content
            assert not re.search(r"[@#<>&`]|://|www", token.content)
        elif token.type == "html_block":
            assert token.content in HTML
        elif token.type == "link_open":
            assert re.match(
                r"https://github\.com/astral-sh/python-build-standalone/(releases/tag|compare)/[^/]*$",
                str(token.attrs["href"]),
            )
        assert token.type not in ("html_inline", "image")
    assert all(line.isprintable() for line in said.split("\n"))


@given(hostile)
def test_a_text_in_code_is_shown_as_it_is_but_for_what_cannot_be(text: str) -> None:
    line = code(text, 10**6)
    (paragraph,) = (t for t in PARSER.parse(f"x {line} y") if t.type == "inline")
    if not text.strip(" "):
        assert line == "(nothing)"
        return
    assert paragraph.children
    before, shown, after = paragraph.children
    assert (before.content, after.content) == ("x ", " y")
    if text.isprintable() and "|" not in text and "://" not in text:
        assert shown.content == text
    (fence,) = PARSER.parse(block(f"x{text}y", 10**6))
    if all(part.isprintable() for part in text.split("\n")) and "://" not in text:
        assert fence.content == f"x{text}y\n"


@pytest.mark.parametrize("text", ["2025-05-17", "2026-11-28T22:04:05+00:00", "3.13"])
def test_a_date_needs_no_code(text: str) -> None:
    assert word(text) == text


@pytest.mark.parametrize("text", ["", "www.example", "@x", "1_2_", "1\n2", "1" * 500, "-"])
def test_what_is_no_date_is_code(text: str) -> None:
    assert word(text) == code(text)
    assert word(text)[0] in "`("


@given(st.text(max_size=50), st.integers(0, 50), st.booleans())
def test_what_is_too_long_says_how_much_more_there_is(text: str, limit: int, lines: bool) -> None:
    shown = clipped(text, limit, lines=lines)
    whole = clipped(text, 10**6, lines=lines)
    if len(whole) <= limit:
        assert shown == whole
        return
    match = re.fullmatch(r"(?s)(.*)… (\d+) more characters?", shown)
    assert match
    assert len(match[1]) <= limit
    assert match[1] == clipped(text[: -int(match[2])], 10**6, lines=lines)
    assert len(clipped(text[: 1 - int(match[2]) or None], 10**6, lines=lines)) > limit


def test_what_is_shown_in_full_says_so_by_saying_nothing() -> None:
    assert clipped("abc", 3) == "abc"
    assert clipped("abcd", 3) == "abc… 1 more character"
    assert clipped("abcde", 3) == "abc… 2 more characters"
    assert clipped("a\nb\t", 9) == "a\\nb\\t"
    assert clipped("a\nb\t", 9, lines=True) == "a\nb\\t"


@pytest.mark.parametrize("text", ["x" * 200_000, "`" * 200_000, "\x00" * 200_000, "\n" * 200_000])
def test_a_report_fits_into_an_issue_whatever_it_is_of(text: str) -> None:
    asked = upstream(tags=TAGS, subject=text, command=text, notes=(text,) * 50)
    tested = [
        Trial(place=n, result=result(asked, n, bad(text, findings={"x": text})))
        if n % 2
        else trials(asked, [(n, ".")])[0]
        for n in range(30)
    ]
    tested += [tested[1].model_copy(update={"notes": (text + str(n),)}) for n in range(50)]
    said = report.markdown(
        asked.model_copy(update={"everything": True}),
        tested,
        ending_of(asked.model_copy(update={"everything": True}), tested),
        reproduce=lambda candidate: text,
    )
    assert len(said) <= 65_536
    assert len(said.encode()) <= 65_536
    assert said.count("<details>") == said.count("</details>")
    assert len(said) > issue.LIMIT // 4
    assert {t.content for t in tokens(said) if t.type == "html_block"} <= HTML


def test_every_change_is_named_though_there_be_many() -> None:
    asked = upstream(tags=TAGS, everything=True)
    tested = trials(asked, ".x" * 15)
    said = markdown(asked, tested)
    rows = re.findall(r"^\| `(\d+)` \(shared\) (good|bad) \| `(\d+)`", said, re.MULTILINE)
    assert [(last, first) for last, _, first in rows] == list(pairwise(TAGS))
    assert "23 more changes are in the table above and in the log." in said
