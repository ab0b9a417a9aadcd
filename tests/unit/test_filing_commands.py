"""``pbs-matrix issues``, ``last-results`` and ``suspects`` against a stand-in of GitHub's API."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from click.testing import Result as Done

from harness import cli, downloads
from harness.errors import ExitCode
from harness.filing import archive, github, marker
from harness.filing.github import Patience
from harness.results import Result
from tests import githubapi
from tests.githubapi import BOT, REPOSITORY, TOKEN, GitHub, Token
from tests.standin import Cut, Moved, Page, RateLimited, Silent, Status
from tests.unit.sample_nights import broken, error, ok, untestable
from tests.unit.sample_results import written

ISSUES = f"/repos/{REPOSITORY}/issues"
PATIENCE = Patience(attempts=3)
VARIABLES = (
    *("GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "GH_TOKEN"),
    *("GITHUB_RUN_ID", "GITHUB_OUTPUT", "GITHUB_ACTIONS"),
)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(github, "PATIENCE", PATIENCE)
    monkeypatch.setattr(github, "_sleep", lambda seconds: None)
    monkeypatch.setattr(downloads, "PATIENCE", downloads.Patience(attempts=2, first=0.001))
    monkeypatch.setattr(downloads, "_UNANSWERED", set())
    with githubapi.serving() as served:
        monkeypatch.setenv("GITHUB_API_URL", served.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        monkeypatch.setenv("GITHUB_RUN_ID", "77")
        yield served


def run(*arguments: str) -> Done:
    done = CliRunner().invoke(cli.main, list(arguments))
    assert TOKEN not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def file_(api: GitHub, tmp_path: Path) -> Any:
    """Runs ``issues`` on some results, and makes sure that it went well."""

    def call(lines: Sequence[Result], *options: str, code: int = 0) -> Done:
        path = written(tmp_path / "new.jsonl", lines)
        done = run("issues", str(path), *options)
        assert done.exit_code == code, done.output
        return done

    return call


def only(api: GitHub) -> dict[str, Any]:
    (issue,) = api.issues.values()
    return issue


# -- Nights, one after the other --


def test_the_first_night_files_and_the_same_again_changes_nothing(api: GitHub, file_: Any) -> None:
    done = file_([broken("python-mscl"), ok("b")])
    assert done.output == (
        "opened #1: python-mscl: missing-library libpython3.13.so.1.0 (regressed)\n"
    )
    issue = only(api)
    assert [label["name"] for label in issue["labels"]] == ["pbs-matrix"]
    assert f"<https://github.com/{REPOSITORY}/actions/runs/77>" in issue["body"]
    before = json.dumps(api.issues)
    assert file_([broken("python-mscl"), ok("b")]).output == "left #1: it says so already\n"
    assert json.dumps(api.issues) == before
    assert api.changes() == ["POST /issues 201"]


def test_a_night_without_trouble_says_so(file_: Any) -> None:
    assert file_([ok()]).output == "no trouble, and no open issue\n"


def test_changed_cells_are_told_once(api: GitHub, file_: Any) -> None:
    file_([broken("a")])
    for _ in range(2):
        file_([broken("a"), broken("b")])
    (comment,) = api.comments[1]
    assert "Now also in 1 cell (`b-uv" in comment["body"]
    assert only(api)["title"].startswith("a and 1 more")


def test_what_is_fixed_is_closed_and_what_is_back_is_the_same_issue(
    api: GitHub, file_: Any
) -> None:
    file_([broken("a")])
    assert file_([ok("a")]).output.startswith("closed #1: a: missing-library")
    assert (only(api)["state"], only(api)["state_reason"]) == ("closed", "completed")
    file_([ok("a")])
    assert file_([broken("a")]).output.startswith("reopened #1: ")
    assert (only(api)["state"], only(api)["state_reason"]) == ("open", "reopened")
    assert len(api.comments[1]) == 2
    assert file_([untestable("a")]).output == (
        "left #1: 1 of its cells could not be tested, or answered differently\n"
    )


def test_one_is_found_among_more_issues_than_a_page_has(api: GitHub, file_: Any) -> None:
    for number in range(130):
        api.file(f"other {number}", None, labels=["pbs-matrix"], login=BOT)
    file_([broken("a")])
    for number in range(130):
        api.file(f"another {number}", "words", labels=["pbs-matrix"], login=BOT)
    file_([broken("a")])
    assert [c for c in api.changes() if c.startswith("POST")] == ["POST /issues 201"]
    assert len(api.log(f"GET {ISSUES}")) == 2 + 3


def test_two_that_were_filed_at_the_same_time_become_one(api: GitHub, file_: Any) -> None:
    file_([broken("a")])
    first = only(api)
    api.file(first["title"], first["body"], labels=["pbs-matrix"], login=BOT)
    file_([broken("a")])
    assert [issue["number"] for issue in api.open_issues()] == [1]
    assert api.issues[2]["state_reason"] == "not_planned"
    assert api.comments[2][0]["body"].endswith("Duplicate of #1")
    changes = len(api.changes())
    file_([broken("a")])
    assert len(api.changes()) == changes


def test_a_description_that_was_edited_on_the_web_is_still_known(api: GitHub, file_: Any) -> None:
    file_([broken("a")])
    api.change(1, body=only(api)["body"].replace("\n", "\r\n") + "\r\nA note of mine.\r\n")
    assert file_([broken("a")]).output == "left #1: it says so already\n"
    assert file_([ok("a")]).output.startswith("closed #1")
    assert "A note of mine." in only(api)["body"]


def test_bisections_are_attached(api: GitHub, file_: Any, tmp_path: Path) -> None:
    done = file_([broken("a")], "--dry-run", "--json")
    key = json.loads(done.stdout)["actions"][0]["key"]
    folder = tmp_path / "bisects"
    folder.mkdir()
    (folder / f"{key}.md").write_bytes(b"# It breaks with `20250517` \xff\n")
    (folder / "regressed-000000000000.md").write_text("of another trouble")
    file_([broken("a")], "--bisects", str(folder))
    assert "# It breaks with `20250517`" in only(api)["body"]
    assert "of another" not in only(api)["body"]
    # As the editor on the web leaves it.
    api.change(1, body=only(api)["body"].replace("\n", "\r\n") + "\r\n")
    file_([broken("a"), broken("b")], "--bisects", str(tmp_path / "nothing here"))
    assert "# It breaks with `20250517`" in only(api)["body"]


# -- Dry runs --


def test_a_dry_run_needs_no_token_and_says_what_would_be_written(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_([broken("a")])
    monkeypatch.delenv("GITHUB_TOKEN")
    done = file_([ok("a"), error("@someone\x1b[2J", "b")], "--dry-run")
    assert (
        "would open: b: import-error: ＠someone\\x1b[<n>J (regressed)".replace("<n>", "‹n›")
        in done.output
    )
    assert "    `b`: `import-error: @someone\\x1b[<n>J`, which `matrix.yaml`" in done.output
    assert "would close #1: a: missing-library" in done.output
    assert "\x1b" not in done.output
    assert api.changes() == ["POST /issues 201"]


def test_without_a_token_nothing_is_asked(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "needs a token" in done.output
    assert "issues: write" in done.output
    assert api.log() == []


def test_json_is_for_programs(file_: Any) -> None:
    content = json.loads(file_([broken("a")], "--json").stdout)
    (action,) = content["actions"]
    assert (action["action"], action["number"]) == ("create", 1)
    assert content["dry_run"] is False


# -- Strangers --


def forged(api: GitHub, file_: Any) -> str:
    """The description that would be filed."""
    content = json.loads(file_([broken("a")], "--dry-run", "--json").stdout)
    body: str = content["actions"][0]["body"]
    return body


@pytest.mark.parametrize("options", [(), ("--author", BOT)])
def test_an_issue_of_a_stranger_is_not_taken_for_one_of_ours(
    api: GitHub, file_: Any, options: tuple[str, ...]
) -> None:
    api.file("mine", forged(api, file_), labels=["pbs-matrix"])
    api.change(1, state="closed", state_reason="not_planned")
    assert file_([broken("a")], *options).output.startswith("opened #2")


def test_a_pull_request_is_no_issue(api: GitHub, file_: Any) -> None:
    body = forged(api, file_)
    api.file("mine", body, labels=["pbs-matrix"], login=BOT, pull_request={"url": "x"})
    assert file_([broken("a")]).output.startswith("opened #2")


def test_with_a_token_of_a_person_only_their_issues_count(api: GitHub, file_: Any) -> None:
    api.accounts[TOKEN] = Token(login="maintainer")
    api.file("x", forged(api, file_), labels=["pbs-matrix"], login="other", association="MEMBER")
    assert file_([broken("a")]).output.startswith("opened #2")
    assert file_([broken("a")]).output == "left #2: it says so already\n"


def test_a_stranger_cannot_keep_a_comment_from_being_written(api: GitHub, file_: Any) -> None:
    file_([broken("a")])
    planned = json.loads(file_([ok("a")], "--dry-run", "--json").stdout)["actions"][0]
    parsed, _ = marker.parse(planned["body"])
    assert parsed is not None
    api.say(1, marker.comment_line(parsed.turn, planned["comment"]) + "nothing happened")
    file_([ok("a")])
    assert [comment["user"]["login"] for comment in api.comments[1]] == ["stranger", BOT]


# -- When the API does not do what it should --

FAULTS = [
    *(Status(code=500), Status(code=502), Status(code=503), Status(code=429)),
    *(Status(code=429, retry_after="0"), Status(code=503, retry_after="1")),
    *(RateLimited(retry_after=1), RateLimited(reset=1), RateLimited()),
    Cut(after=0, reset=True),
    Cut(after=0),
]
NIGHTS = {
    "file": ([], [broken("a")]),
    "update": ([broken("a")], [broken("a"), broken("b")]),
    "close": ([broken("a")], [ok("a")]),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("night", NIGHTS)
def test_a_fault_at_any_request_changes_nothing_of_what_comes_out(
    api: GitHub, file_: Any, night: str, fault: Any
) -> None:
    before, after = NIGHTS[night]
    file_(before)
    asked = len(api.log())
    file_(after)
    requests = [request.path for request in api.log()[asked:]]
    wanted = outcome(api)
    for path in dict.fromkeys(requests):
        api.issues.clear()
        api.comments.clear()
        api._numbers = count(1)
        file_(before)
        api.inject(path, fault, times=1)
        file_(after)
        assert outcome(api) == wanted


def outcome(api: GitHub) -> object:
    """What is there for people, without numbers and times that depend on the way there."""
    issues = [(i["title"], i["state"], i["body"]) for i in api.issues.values()]
    return issues, [[c["body"] for c in said] for said in api.comments.values()]


@pytest.mark.parametrize("glob", [f"POST {ISSUES}", f"POST {ISSUES}/1/comments"])
def test_what_was_carried_out_is_not_done_twice_whatever_the_answer_was(
    api: GitHub, file_: Any, glob: str
) -> None:
    api.mishaps = [(glob, 502)]
    file_([broken("a")])
    file_([broken("a"), broken("b")])
    file_([ok("a"), ok("b")])
    assert len(api.issues) == 1
    assert len(api.comments[1]) == 2
    assert api.mishaps == []


@pytest.mark.parametrize("glob", [f"PATCH {ISSUES}/1", f"POST {ISSUES}/1/comments"])
@pytest.mark.parametrize("last", ["updated", "closed", "reopened"])
def test_a_night_that_was_cut_short_is_gone_on_with(
    api: GitHub, file_: Any, last: str, glob: str
) -> None:
    """Everything is said once, whichever of the two requests did not come through."""
    nights = [[broken("a")], [ok("a")], [broken("a")]]
    if last == "updated":
        nights = [[broken("a")], [broken("a"), broken("b")]]
    elif last == "closed":
        nights.pop()
    for lines in nights[:-1]:
        file_(lines)
    comments = len(api.comments[1])
    api.inject(glob, Status(code=500))
    done = file_(nights[-1], code=ExitCode.GITHUB)
    assert "issue #1: 500 Internal Server Error (3 attempts)" in done.output
    api.heal()
    assert file_(nights[-1]).output.startswith(f"{last} #1: ")
    assert only(api)["state"] == ("closed" if last == "closed" else "open")
    assert len(api.comments[1]) == comments + 1
    assert file_(nights[-1]).output in (
        "left #1: it says so already\n",
        "no trouble, and no open issue\n",
    )


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (Status(code=429, retry_after="7"), (7, 7)),
        (RateLimited(retry_after=9, reset=500), (9, 9)),
        (RateLimited(reset=100), (98, 100)),
        (RateLimited(), (60, 60)),
        (Status(code=503, retry_after="3"), (3, 3)),
        (Status(code=500), (0.5, 1)),
    ],
    ids=str,
)
def test_it_pauses_as_long_as_github_asks(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch, fault: Any, pauses: tuple[int, int]
) -> None:
    """By Retry-After, else by the time of the reset, else a minute, as its documentation says."""
    slept: list[float] = []
    monkeypatch.setattr(github, "_sleep", slept.append)
    api.inject(f"GET {ISSUES}", fault, times=1)
    file_([broken("a")])
    shortest, longest = pauses
    assert shortest <= slept[0] <= longest


@pytest.mark.parametrize("fault", [RateLimited(retry_after=3600), RateLimited(reset=10**10)])
def test_for_a_long_pause_nobody_waits(api: GitHub, file_: Any, fault: RateLimited) -> None:
    api.inject(f"GET {ISSUES}", fault)
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert re.search(r"\(too many requests\); not before 2\d{3}-\d\d-\d\d", done.output)
    assert len(api.log(f"GET {ISSUES}")) == 1


def test_a_request_that_changes_something_is_not_redirected(api: GitHub, file_: Any) -> None:
    """It would come out as another one, and somewhere else."""
    api.inject(f"POST {ISSUES}", Moved(to=f"{api.store.url}/x"))
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert f"{REPOSITORY} has moved" in done.output
    assert api.store.log() == []


def test_it_pauses_between_changes(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(github, "_sleep", slept.append)
    file_([broken("a"), broken("b", "libGL.so.1"), broken("c", "libm.so")])
    assert len(api.changes()) == 3
    assert len([pause for pause in slept if 0 < pause <= PATIENCE.between]) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(code=503), "503 Service Unavailable (3 attempts)"),
        (Page(), "the answer is none of its API"),
        (Status(code=418), "418"),
    ],
    ids=str,
)
def test_what_does_not_pass_ends_it_with_one_message(
    api: GitHub, file_: Any, fault: Any, words: str
) -> None:
    api.inject(f"GET {ISSUES}", fault)
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert words in done.output
    assert "Traceback" not in done.output
    assert api.issues == {}


def test_a_silent_api_is_not_waited_for_for_ever(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.network.TIMEOUT", (0.2, 0.2))
    api.inject(f"GET {ISSUES}", Silent())
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "no answer: " in done.output


def test_a_dead_api_is_said(api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "Connection refused" in done.output
    assert "GITHUB_API_URL" in done.output


@pytest.mark.parametrize(
    ("token", "words", "advice"),
    [
        (None, "the token is not, or no longer, a good one: 401", f"a token for {REPOSITORY}"),
        (Token(permissions={}), "the token does not allow it: 403", "`issues: read`"),
        (
            Token(permissions={"issues": "read"}),
            "filing an issue: the token does not allow it: 403",
            "Give the token or the job permission `issues: write`.",
        ),
    ],
)
def test_what_the_token_lacks_is_said(
    api: GitHub, file_: Any, token: Token | None, words: str, advice: str
) -> None:
    api.accounts = {TOKEN: token} if token else {}
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert words in done.output
    assert advice in done.output


def test_a_repository_that_the_token_may_not_see_is_said(api: GitHub, file_: Any) -> None:
    done = file_([broken("a")], "--repository", "someone/else", code=ExitCode.GITHUB)
    assert "there is no such thing in someone/else" in done.output
    assert "404" in done.output


def test_a_repository_without_issues_is_said(api: GitHub, file_: Any) -> None:
    api.has_issues = False
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "Issues are disabled for this repo" in done.output


def test_an_issue_that_did_not_get_its_label_is_said(api: GitHub, file_: Any) -> None:
    """Else each night would file another."""
    api.accounts = {TOKEN: replace(Token(), sets_labels=False)}
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "issue #1 was filed without the label pbs-matrix" in done.output


@pytest.mark.parametrize("name", ["", "o", "o/r/x", "o/r?x", "../r", "o/..", "o/r\n", "o r/x"])
def test_what_is_no_repository_is_refused(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", name)
    done = file_([broken("a")], code=ExitCode.CONFIGURATION)
    assert "--repository OWNER/NAME" in done.output
    assert api.log() == []


def test_what_is_no_page_is_refused(file_: Any) -> None:
    for page in ("javascript:alert(1)", "https://a.example/)<b>", "https://a.example/ b"):
        done = file_([broken("a")], "--page", page, code=ExitCode.CONFIGURATION)
        assert "is no address of a page" in done.output


def test_messages_of_the_api_are_quoted_without_harm(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they give the token away, should it be in there."""

    def answer(*_: object) -> Any:
        return 403, {"message": f"\x1b[2J{TOKEN} " + "x" * 9000}, {}

    monkeypatch.setattr(api, "answer", answer)
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "\\x1b[2J*** xxx" in done.output
    assert len(done.output) < 1500


@pytest.mark.parametrize("content", ["null", "[1]", '[{"number": "x"}]', '{"a": 1}'])
def test_an_answer_that_is_none_is_said(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(api, "answer", lambda *_: (200, json.loads(content), {}))
    done = file_([broken("a")], code=ExitCode.GITHUB)
    assert "the answer is none of its API" in done.output


def test_pages_elsewhere_are_not_followed(
    api: GitHub, file_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = {"Link": f'<{api.store.url}/x>; rel="next"'}
    monkeypatch.setattr(api, "answer", lambda *_: (200, [], link))
    file_([broken("a")], code=ExitCode.GITHUB)
    assert api.store.log() == []


# -- The last good night --


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as made:
        for name, content in files:
            made.writestr(name, content)
    return packed.getvalue()


def night(*lines: Result) -> bytes:
    text = "".join(line.model_dump_json() + "\n" for line in lines)
    return zipped(("results.jsonl", text.encode()))


@pytest.fixture
def fetch(api: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``last-results``; the extensions in the file, None where there is none."""
    output = tmp_path / "github-output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))

    def call(*options: str) -> tuple[list[str] | None, str]:
        output.unlink(missing_ok=True)
        to = tmp_path / "last.jsonl"
        done = run("last-results", "-o", str(to), *options)
        assert done.exit_code == 0, done.output
        assert output.read_text() == f"found={'true' if to.exists() else 'false'}\n"
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".last")] == []
        if not to.exists():
            return None, done.output
        return [json.loads(line)["extension"] for line in to.read_text().splitlines()], done.output

    return call


def test_the_first_night_has_none_before_it(api: GitHub, fetch: Any) -> None:
    api.run(77, conclusion=None)
    assert fetch() == (None, "there is no last good night\n")


def test_the_newest_successful_run_on_the_branch_counts_and_not_this_one(
    api: GitHub, fetch: Any
) -> None:
    for number, more in enumerate(
        [
            {},
            {"name": "good"},
            {"conclusion": "failure"},
            {"branch": "other"},
            {"event": "pull_request"},
            {"repository": "stranger/something"},
            {"workflow": "ci.yml"},
        ],
        1,
    ):
        name = more.pop("name", f"bad{number}")
        api.leave(api.run(number, **more), night(ok(name)))
    api.leave(api.run(77), night(ok("this")))
    assert fetch()[0] == ["good"]
    assert fetch("--workflow", "ci.yml")[0] == ["bad7"]
    assert fetch("--branch", "other")[0] == ["bad4"]


def test_a_server_that_does_not_filter_is_not_believed(
    api: GitHub, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_runs", lambda *_: list(reversed(api.workflow_runs)))
    api.leave(api.run(1), night(ok("good")))
    api.leave(api.run(2, branch="other"), night(ok("other")))
    api.leave(api.run(3, conclusion="failure"), night(ok("bad")))
    assert fetch()[0] == ["good"]


def test_only_runs_of_an_event(api: GitHub, fetch: Any) -> None:
    api.leave(api.run(1), night(ok("good")))
    api.leave(api.run(2, event="workflow_dispatch"), night(ok("by-hand")))
    assert fetch("--event", "schedule")[0] == ["good"]


def test_what_else_is_in_a_zip_stays_there(api: GitHub, fetch: Any, tmp_path: Path) -> None:
    files = (("../up", b"x"), ("results.jsonl", LINE), ("native.jsonl", b"x"), ("/tmp/x", b"x"))
    api.leave(api.run(1), zipped(*files))
    there = {path.name for path in tmp_path.iterdir()}
    assert fetch()[0] == ["sample"]
    assert {path.name for path in tmp_path.iterdir()} - there <= {"last.jsonl", "github-output"}
    assert not (tmp_path.parent / "up").exists()


def test_a_run_whose_results_have_expired_is_passed_over(api: GitHub, fetch: Any) -> None:
    api.leave(api.run(1), night(ok("old")))
    api.leave(api.run(2), night(ok("b")), expired=True)
    api.leave(api.run(3), night(ok("c")), name="page")
    names, said = fetch()
    assert names == ["old"]
    assert "run 2: its results have expired" in said
    assert "run 3: it has no results" in said


def test_of_a_run_that_was_repeated_the_last_results_count(api: GitHub, fetch: Any) -> None:
    api.run(1)
    for name in ("first", "second"):
        api.leave(1, night(ok(name)))
    assert fetch()[0] == ["second"]


def test_the_token_does_not_go_to_where_artifacts_are(api: GitHub, fetch: Any) -> None:
    api.leave(api.run(1), night(ok("a")))
    assert fetch()[0] == ["a"]
    (request,) = api.store.log()
    assert "authorization" not in request.headers
    assert TOKEN not in str(request)
    assert all("authorization" in request.headers for request in api.log())


LINE = ok().model_dump_json().encode() + b"\n"
BAD = {
    "the same file twice": None,
    "another file": zipped(("other.jsonl", LINE)),
    "a path": zipped(("../results.jsonl", LINE)),
    "an absolute path": zipped(("/tmp/results.jsonl", LINE)),
    "a folder": zipped(("results.jsonl/", b"")),
    "nothing": zipped(),
    "no zip": b"<!DOCTYPE html>",
    "half a zip": night(ok())[:-30],
    "damaged": night(ok()).replace(b"results.jsonl", b"results.jsonk", 1),
    "no results": zipped(("results.jsonl", b"{}\n")),
    "no text": zipped(("results.jsonl", b"\xff\xfe\n")),
    "of a later version": zipped(
        ("results.jsonl", LINE.replace(b'"schema_version":', b'"schema_version":9'))
    ),
    "escapes": zipped(("\x1b[2J", b"")),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", BAD)
def test_a_zip_that_is_not_what_it_should_be_is_passed_over(
    api: GitHub, fetch: Any, tmp_path: Path, kind: str
) -> None:
    content = BAD[kind] or zipped(("results.jsonl", LINE), ("results.jsonl", LINE))
    api.leave(api.run(1), night(ok("old")))
    api.leave(api.run(2), content)
    names, said = fetch()
    assert names == ["old"]
    assert "run 2: its results are of no use: " in said
    assert "\x1b" not in said
    assert str(tmp_path) not in said.replace(f"wrote {tmp_path}", "")


def test_a_zip_that_unpacks_to_more_than_it_may_is_passed_over(
    api: GitHub, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says of its size."""
    monkeypatch.setattr(archive, "UNPACKED", len(LINE) << 10)
    bomb = bytearray(zipped(("results.jsonl", LINE * (2 << 10))))
    api.leave(api.run(1), bytes(bomb))
    for place in (bomb.find(b"PK\x03\x04") + 22, bomb.find(b"PK\x01\x02") + 24):
        bomb[place : place + 4] = (100).to_bytes(4, "little")
    api.leave(api.run(2), bytes(bomb))
    names, said = fetch()
    assert names is None
    assert said.count("its results are of no use") == 2


def test_a_zip_that_is_too_large_is_not_downloaded(
    api: GitHub, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PACKED", 10)
    api.leave(api.run(1), night(ok()))
    assert fetch()[0] is None
    assert api.store.log() == []


def test_an_old_file_is_not_taken_for_the_last_night(
    api: GitHub, fetch: Any, tmp_path: Path
) -> None:
    (tmp_path / "last.jsonl").write_text("of a week ago")
    api.run(77)
    assert fetch()[0] is None


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (Token(permissions={"issues": "write"}), "`actions: read`"),
        (None, "without a token"),
    ],
)
def test_results_that_the_token_may_not_see_are_an_error(
    api: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: Token | None, words: str
) -> None:
    api.leave(api.run(1), night(ok()))
    if token:
        api.accounts = {TOKEN: token}
    else:
        monkeypatch.delenv("GITHUB_TOKEN")
    done = run("last-results", "-o", str(tmp_path / "last.jsonl"))
    assert done.exit_code == ExitCode.GITHUB
    assert words in done.output


def test_a_workflow_that_is_not_there_yet_has_no_results(fetch: Any) -> None:
    names, said = fetch("--workflow", "../../\x1b.yml")
    assert names is None
    assert f"{REPOSITORY} has no workflow ../../\\x1b.yml yet" in said


def test_a_repository_that_is_not_there_is_an_error(api: GitHub, tmp_path: Path) -> None:
    done = run("last-results", "-o", str(tmp_path / "x"), "--repository", "a/b")
    assert done.exit_code == ExitCode.GITHUB
    assert "there is no such thing in a/b" in done.output


def test_a_store_that_does_not_answer_is_an_error(api: GitHub, tmp_path: Path) -> None:
    api.leave(api.run(1), night(ok()))
    api.store.inject("*", Status(code=403))
    done = run("last-results", "-o", str(tmp_path / "x"))
    assert done.exit_code == ExitCode.GITHUB
    assert "sig=secret" not in done.output
    assert not (tmp_path / "x").exists()


def test_a_download_that_is_cut_is_tried_again(api: GitHub, fetch: Any) -> None:
    api.leave(api.run(1), night(ok("a")))
    api.store.inject("*", Cut(after=50), times=1)
    assert fetch()[0] == ["a"]


# -- The stand-in itself --


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"title": "t", "body": "b", "labels": ["l"]}, 201),
        ({"title": "t", "state": "closed"}, 422),
        ({"title": "t", "body": "b" * 65_537}, 422),
        ({"title": "t" * 257}, 422),
        ({"title": " "}, 422),
        ({"body": "b"}, 422),
        ({"title": "t", "labels": "l"}, 422),
        (["title"], 422),
    ],
)
def test_the_standin_takes_what_the_api_would(api: GitHub, content: Any, status: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(f"{api.url}{ISSUES}", json=content, headers=headers, timeout=9)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"state": "closed", "state_reason": "completed"}, 200),
        ({"state": "open", "state_reason": "reopened"}, 200),
        ({"state": "closed", "state_reason": "reopened"}, 422),
        ({"state": "gone"}, 422),
        ({"state_reason": "completed"}, 422),
        ({"closed_at": "now"}, 422),
    ],
)
def test_the_standin_knows_states(api: GitHub, content: Any, status: int) -> None:
    number = api.file("t", None)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    place = f"{api.url}{ISSUES}/{number}"
    assert requests.patch(place, json=content, headers=headers, timeout=9).status_code == status
    assert requests.patch(place, json=content, timeout=9).status_code in (401, 422)
