"""A stand-in on 127.0.0.1 for GitHub's REST API, as far as a night uses it, and its faults.

It keeps what it is told as GitHub does: numbers, states and why, labels, comments, times. It asks
for a token and its permissions, gives pages, and takes no field that the API does not document, so
that what it takes the API would take. Faults are those of :mod:`tests.standin`, by globs such as
``POST */issues``; a :class:`tests.standin.Cut` comes after the request was carried out.

Artifacts are on another host, which wants no token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from tests import standin
from tests.standin import Cut, Request, Standin

REPOSITORY = "someone/something"
BOT = "github-actions[bot]"
TOKEN = "ghs_" + "0123456789abcdef" * 2

_ISSUE_FIELDS = {
    "POST": {"title", "body", "labels", "assignees", "milestone"},
    "PATCH": {"title", "body", "labels", "assignees", "milestone", "state", "state_reason"},
}
_REASONS = {"open": (None, "reopened"), "closed": (None, "completed", "not_planned")}
_QUERIES = {
    "issues": {"labels", "state", "sort", "direction", "per_page", "page", "since", "creator"},
    "comments": {"per_page", "page", "since"},
    "runs": {"branch", "status", "event", "per_page", "page", "created"},
    "artifacts": {"name", "per_page", "page"},
}


@dataclass(frozen=True, kw_only=True)
class Token:
    """Whose it is, and what it allows."""

    login: str = BOT
    permissions: Mapping[str, str] = field(
        default_factory=lambda: {"issues": "write", "actions": "read", "metadata": "read"}
    )
    sets_labels: bool = True

    @property
    def kind(self) -> str:
        return "Bot" if self.login.endswith("[bot]") else "User"

    def allows(self, what: str, how: str) -> bool:
        return self.permissions.get(what) in ("write", how)


class _Refused(Exception):
    def __init__(self, status: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"message": message, **({"errors": errors} if errors else {})}


def _invalid(field_: str, message: str) -> _Refused:
    error = {"resource": "Issue", "code": "custom", "field": field_, "message": message}
    return _Refused(422, "Validation Failed", error)


class GitHub(Standin):
    """One repository, and what was asked of it."""

    def __init__(self, store: Standin) -> None:
        super().__init__()
        self.store = store
        self.public = True
        self.has_issues = True
        self.accounts = {TOKEN: Token()}
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.workflow_runs: list[dict[str, Any]] = []
        self.zips: dict[int, dict[str, Any]] = {}
        self.mishaps: list[tuple[str, int]] = []
        """Globs of requests that are carried out and yet answered with a status; once each."""
        self._numbers = count(1)
        self._seconds = count()

    # -- What happens without the API --

    def file(
        self,
        title: str,
        body: str | None,
        *,
        login: str = "stranger",
        labels: Sequence[str] = (),
        association: str = "NONE",
        **more: Any,
    ) -> int:
        """An issue that somebody files on the web; its number."""
        with self._changed:
            number = next(self._numbers)
            now = self._now()
            self.issues[number] = {
                "number": number,
                "title": title.strip(),
                "body": body,
                "state": "open",
                "state_reason": None,
                "user": {"login": login, "type": Token(login=login).kind},
                "author_association": association,
                "labels": [{"name": name, "color": "ededed"} for name in labels],
                "comments": 0,
                "created_at": now,
                "updated_at": now,
                "closed_at": None,
                "html_url": f"https://github.com/{REPOSITORY}/issues/{number}",
                **more,
            }
            self.comments[number] = []
            return number

    def change(self, number: int, **fields: Any) -> None:
        """What somebody does to an issue on the web."""
        with self._changed:
            issue = self.issues[number]
            state = fields.get("state", issue["state"])
            if state != issue["state"]:
                issue["closed_at"] = self._now() if state == "closed" else None
                reason = "completed" if state == "closed" else "reopened"
                issue["state_reason"] = fields.pop("state_reason", None) or reason
            if "labels" in fields:
                issue["labels"] = [{"name": name} for name in fields.pop("labels")]
            issue.update(fields, updated_at=self._now())

    def say(self, number: int, body: str, *, login: str = "stranger") -> dict[str, Any]:
        """A comment that somebody writes."""
        with self._changed:
            comment = {
                "id": 1000 + next(self._numbers) * 7,
                "body": body,
                "user": {"login": login, "type": Token(login=login).kind},
                "created_at": self._now(),
            }
            self.comments[number].append(comment)
            self.issues[number]["comments"] += 1
            self.issues[number]["updated_at"] = self._now()
            return comment

    def run(
        self,
        number: int,
        *,
        conclusion: str | None = "success",
        branch: str = "main",
        event: str = "schedule",
        repository: str = REPOSITORY,
        workflow: str = "nightly.yml",
    ) -> int:
        """A run of a workflow; its number."""
        self.workflow_runs.append(
            {
                "id": number,
                "name": "Nightly",
                "path": f".github/workflows/{workflow}",
                "event": event,
                "status": "completed" if conclusion else "in_progress",
                "conclusion": conclusion,
                "head_branch": branch,
                "head_repository": {"full_name": repository},
                "created_at": self._now(),
            }
        )
        return number

    def leave(
        self, run: int, content: bytes, *, name: str = "results", expired: bool = False
    ) -> int:
        """An artifact of a run; its number."""
        number = 9000 + len(self.zips)
        self.store.add("20250517", f"artifact-{number}.zip", content)
        self.zips[number] = {
            "id": number,
            "name": name,
            "expired": expired,
            "size_in_bytes": len(content),
            "workflow_run": {"id": run},
        }
        return number

    def open_issues(self) -> list[dict[str, Any]]:
        return [issue for issue in self.issues.values() if issue["state"] == "open"]

    def changes(self) -> list[str]:
        """The requests that were to change something, and were answered."""
        answered = [r for r in self.log() if not r.path.startswith("GET ") and r.status]
        return [f"{r.path.replace(f'/repos/{REPOSITORY}', '')} {r.status}" for r in answered]

    def _now(self) -> str:
        began = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
        return f"{began + timedelta(seconds=next(self._seconds)):%Y-%m-%dT%H:%M:%SZ}"

    # -- What the API is asked --

    def answer(self, request: Request, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers."""
        try:
            with self._changed:
                return self._answered(request, body)
        except _Refused as refused:
            return refused.status, refused.content, {}

    def _answered(self, request: Request, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if not request.headers.get("user-agent"):
            raise _Refused(403, "Request forbidden by administrative rules.")
        token = self._token(request)
        path = request.path.partition(" ")[2]
        if path == "/user":
            if token is None:
                raise _Refused(401, "Requires authentication")
            if token.kind == "Bot":
                raise _Refused(403, "Resource not accessible by integration")
            return 200, {"login": token.login, "type": token.kind}, {}
        if path != f"/repos/{REPOSITORY}" and not path.startswith(f"/repos/{REPOSITORY}/"):
            raise _Refused(404, "Not Found")
        if not self.public and (token is None or not token.permissions):
            raise _Refused(404, "Not Found")
        rest = path.removeprefix(f"/repos/{REPOSITORY}").lstrip("/")
        content = self._content(request, body)
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        match request.method, rest.split("/"):
            case "GET", [""]:
                return 200, {"full_name": REPOSITORY, "default_branch": "main"}, {}
            case "GET", ["issues"]:
                self._need(token, "issues", "read")
                return self._page(request, self._listed(query), query, "issues")
            case "POST", ["issues"]:
                return 201, self._file(self._need(token, "issues", "write"), content), {}
            case "PATCH", ["issues", number]:
                acting = self._need(token, "issues", "write")
                return 200, self._patch(acting, self._issue(number), content), {}
            case "GET", ["issues", number, "comments"]:
                self._need(token, "issues", "read")
                there = self.comments[self._issue(number)["number"]]
                return self._page(request, there, query, "comments")
            case "POST", ["issues", number, "comments"]:
                acting = self._need(token, "issues", "write")
                if content.keys() != {"body"}:
                    raise _invalid("body", f"not permitted: {sorted(content)}")
                text = _text(content, "body")
                issue = self._issue(number)
                return 201, self.say(issue["number"], text, login=acting.login), {}
            case "GET", ["actions", "workflows", workflow, "runs"]:
                self._need(token, "actions", "read")
                runs = self._runs(unquote(workflow), query)
                return self._page(request, runs, query, "runs", within="workflow_runs")
            case "GET", ["actions", "runs", number, "artifacts"]:
                self._need(token, "actions", "read")
                kept = [
                    zipped
                    for zipped in self.zips.values()
                    if str(zipped["workflow_run"]["id"]) == number
                    and query.get("name") in (None, zipped["name"])
                ]
                return self._page(request, kept, query, "artifacts", within="artifacts")
            case "GET", ["actions", "artifacts", number, "zip"]:
                if token is None:
                    raise _Refused(401, "Requires authentication")
                self._need(token, "actions", "read")
                zipped = self.zips[int(number)]
                if zipped["expired"]:
                    raise _Refused(410, "Artifact has expired")
                host = self.store.mirror.replace("127.0.0.1", "localhost")
                place = f"{host}/20250517/artifact-{number}.zip?sig=secret"
                return 302, None, {"Location": place}
        raise _Refused(404, "Not Found")

    def _token(self, request: Request) -> Token | None:
        given = request.headers.get("authorization")
        if given is None:
            return None
        found = self.accounts.get(given.removeprefix("Bearer "))
        if found is None:
            raise _Refused(401, "Bad credentials")
        return found

    def _need(self, token: Token | None, what: str, how: str) -> Token:
        if what == "issues" and not self.has_issues and how == "write":
            raise _Refused(410, "Issues are disabled for this repo")
        if token is None:
            if how == "read" and self.public:
                return Token(login="nobody")
            raise _Refused(401, "Requires authentication")
        if not token.allows(what, how):
            raise _Refused(403, "Resource not accessible by integration")
        return token

    def _content(self, request: Request, body: bytes) -> dict[str, Any]:
        if request.method == "GET":
            return {}
        if request.headers.get("content-type") != "application/json":
            raise _Refused(415, "Unsupported Media Type")
        try:
            content = json.loads(body)
        except ValueError:
            raise _Refused(400, "Problems parsing JSON") from None
        if not isinstance(content, dict):
            raise _Refused(422, "Body should be a JSON object")
        return content

    def _issue(self, number: str) -> dict[str, Any]:
        if not number.isdigit() or int(number) not in self.issues:
            raise _Refused(404, "Not Found")
        return self.issues[int(number)]

    def _listed(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = set(filter(None, query.get("labels", "").split(",")))
        state = query.get("state", "open")
        found = [
            issue
            for issue in self.issues.values()
            if wanted <= {label["name"] for label in issue["labels"]}
            and state in ("all", issue["state"])
        ]
        if query.get("sort", "created") != "created":
            raise _invalid("sort", "not among those known here")
        return sorted(
            found, key=lambda i: i["number"], reverse=query.get("direction", "desc") == "desc"
        )

    def _file(self, token: Token, content: dict[str, Any]) -> dict[str, Any]:
        _check_issue("POST", content)
        if "title" not in content:
            raise _invalid("title", "title is required")
        labels = content.get("labels", []) if token.sets_labels else []
        number = self.file(content["title"], content.get("body"), login=token.login, labels=labels)
        return self.issues[number]

    def _patch(
        self, token: Token, issue: dict[str, Any], content: dict[str, Any]
    ) -> dict[str, Any]:
        _check_issue("PATCH", content)
        if "labels" in content and not token.sets_labels:
            del content["labels"]
        self.change(issue["number"], **content)
        return issue

    def _runs(self, workflow: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        if not any(run["path"].endswith(f"/{workflow}") for run in self.workflow_runs):
            raise _Refused(404, "Not Found")
        return [
            run
            for run in reversed(self.workflow_runs)
            if run["path"].endswith(f"/{workflow}")
            and query.get("branch") in (None, run["head_branch"])
            and query.get("status") in (None, run["status"], run["conclusion"])
        ]

    def _page(
        self,
        request: Request,
        entries: Sequence[Any],
        query: Mapping[str, str],
        kind: str,
        *,
        within: str | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        if unknown := query.keys() - _QUERIES[kind]:
            raise _Refused(422, f"no such parameter: {sorted(unknown)}")
        size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        last = max(-(-len(entries) // size), 1)
        pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        there = [rel for rel in pages if (page > 1 if rel in ("prev", "first") else page < last)]
        place = f"{self.url}{request.path.partition(' ')[2]}"
        links = [
            f'<{place}?{urlencode({**query, "page": pages[rel]})}>; rel="{rel}"' for rel in there
        ]
        shown: Any = list(entries[(page - 1) * size : page * size])
        if within:
            shown = {"total_count": len(entries), within: shown}
        return 200, shown, {"Link": ", ".join(links)} if links else {}

    def mishap(self, path: str) -> int | None:
        """The status with which a request is answered though it was carried out."""
        with self._changed:
            for glob, status in self.mishaps:
                if fnmatchcase(path, glob):
                    self.mishaps.remove((glob, status))
                    return status
        return None


def _check_issue(method: str, content: Mapping[str, Any]) -> None:
    if unknown := content.keys() - _ISSUE_FIELDS[method]:
        raise _invalid(min(unknown), "no such field")
    if "title" in content and not 0 < len(_text(content, "title").strip()) <= 256:
        raise _invalid("title", "title is too long (maximum is 256 characters)")
    if content.get("body") is not None:
        _text(content, "body")
    labels = content.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise _invalid("labels", "labels are names")
    if "state_reason" in content and "state" not in content:
        raise _invalid("state_reason", "goes with a state")
    if "state" in content and (
        content["state"] not in _REASONS
        or content.get("state_reason") not in _REASONS[content["state"]]
    ):
        raise _invalid("state", "no such state, or not for this reason")


def _text(content: Mapping[str, Any], name: str) -> str:
    text = content[name]
    if not isinstance(text, str) or not text.strip():
        raise _invalid(name, f"{name} can't be blank")
    if len(text) > 65_536:
        raise _invalid(name, f"{name} is too long (maximum is 65536 characters)")
    if re.search(r"[\ud800-\udfff]", text):
        raise _Refused(400, "Problems parsing JSON")
    return text


class _Handler(standin._Handler):
    """Paths in the log and in globs have the method before them."""

    disable_nagle_algorithm = True
    standin: GitHub
    _body = b""

    def do_GET(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        super().do_GET()

    do_POST = do_PATCH = do_GET

    def _answer(self, request: Request) -> None:
        request.path = f"{request.method} {request.path}"
        super()._answer(request)

    def _route(self, request: Request) -> None:
        status, content, headers = self.standin.answer(request, self._body)
        for cut in self.standin.happening(request.path, (Cut,)):
            assert isinstance(cut, Cut)
            self._cut(cut)
            return
        if mishap := self.standin.mishap(request.path):
            status, content = mishap, {"message": "Server Error"}
        said = b"" if content is None else json.dumps(content).encode()
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self._say(request, status, said, {**kind, **headers})

    def _say(
        self, request: Request, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self._head(request, status, len(body), headers or {"Content-Type": "text/plain"})
        self.wfile.write(body)
        request.sent += len(body)


@contextmanager
def serving() -> Iterator[GitHub]:
    """Serve until the block ends."""
    with standin.serving() as store:
        github = GitHub(store)
        handler = type("Handler", (_Handler,), {"standin": github})
        with standin._Server(("127.0.0.1", 0), handler) as http:
            http.standin = github
            github.url = f"http://127.0.0.1:{http.server_address[1]}"
            thread = Thread(target=http.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield github
            finally:
                github.closing.set()
                http.shutdown()
                thread.join()
