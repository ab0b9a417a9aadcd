"""GitHub's API, as far as a night needs it: issues, comments, runs of a workflow, artifacts.

https://docs.github.com/en/rest. What it says in words is anybody's text, and is only ever quoted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count
from random import SystemRandom
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ConfigDict, TypeAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from harness import downloads, network
from harness.errors import ConfigurationError, FetchError, GitHubError, causes
from harness.markdown import clipped, without_passwords

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", re.ASCII)
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")

PAGE = 100
"""Entries of a page, the most that there can be."""

_PAGES = 1000
_SAID = 200
"""Characters of a message of the API that are quoted."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long to try; times are seconds."""

    attempts: int = 5
    first: float = 1.0
    """Pause before the second attempt; it doubles with each further one, up to ``longest``."""
    longest: float = 30.0
    asked: float = 300.0
    """The longest pause that GitHub may ask for; for a longer one nobody waits."""
    secondary: float = 60.0
    """Pause where it refuses too many requests and does not say until when, as it documents."""
    between: float = 1.0
    """Between two requests that change something, as GitHub wishes."""


PATIENCE = Patience()


class NotThereError(GitHubError):
    """There is no such thing, or the token may not see it: GitHub does not tell which."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Account(_Answer):
    """Who has written something."""

    login: str
    type: str = "User"


class Label(_Answer):
    """A label of an issue."""

    name: str


class Issue(_Answer):
    """An issue, or a pull request, which the API takes for one."""

    number: int
    title: str
    body: str | None = None
    state: Literal["open", "closed"]
    state_reason: str | None = None
    user: Account | None = None
    author_association: str = "NONE"
    labels: tuple[Label, ...] = ()
    pull_request: object = None


class Comment(_Answer):
    """A comment on an issue."""

    id: int
    body: str | None = None
    user: Account | None = None


class _Place(_Answer):
    full_name: str
    default_branch: str = ""


class Run(_Answer):
    """A run of a workflow."""

    id: int
    event: str
    status: str | None = None
    conclusion: str | None = None
    head_branch: str | None = None
    head_repository: _Place | None = None
    created_at: str = ""


class Artifact(_Answer):
    """A zip that a run has left."""

    id: int
    name: str
    expired: bool = False
    size_in_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """Why an attempt brought nothing."""

    why: str
    advice: str = "Try again later; https://www.githubstatus.com may know more."
    again: bool = False
    wait: float | None = None
    """Seconds that GitHub asks for."""
    missing: bool = False
    too_many: bool = False
    """Whether it was refused for the number of requests alone."""
    carried_out: bool = False
    """Whether what was asked for may have been done all the same."""


def repository_of(asked: str | None) -> str:
    """``owner/name``, as asked for or as a run of a workflow knows it."""
    found = asked or os.environ.get("GITHUB_REPOSITORY") or ""
    if not REPOSITORY.fullmatch(found) or found.endswith(("/.", "/..")):
        problem = f"{clipped(found, 80)!r} is no repository" if found else "no repository is named"
        raise ConfigurationError(
            problem, advice="Name it with --repository OWNER/NAME, or in GITHUB_REPOSITORY."
        )
    return found


def has_token() -> bool:
    """Whether there is a token; the session shows it to the API and to nobody else."""
    return bool(_token())


class GitHub:
    """One repository. Every method raises :class:`GitHubError`; none tells the token."""

    def __init__(self, repository: str, *, say: Callable[[str], None], patience: Patience) -> None:
        self._repository = repository
        self._say = say
        self._patience = patience
        self._session = network.session()
        self._session.headers["Accept"] = "application/vnd.github+json"
        self._session.headers["X-GitHub-Api-Version"] = "2022-11-28"
        self._changed = -float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def login(self) -> str | None:
        """The account of the token; None where GitHub does not say, as for that of a workflow."""
        if not has_token():
            return None
        try:
            answer = self._ask("GET", f"{network.api()}/user", what="asking who this is")
            return self._read(Account, answer).login
        except GitHubError:
            return None

    def issues(self, label: str) -> list[Issue]:
        """All issues with a label, open and closed, the oldest first."""
        query = {
            "labels": label,
            "state": "all",
            "sort": "created",
            "direction": "asc",
            "per_page": str(PAGE),
        }
        return self._all(
            "issues", TypeAdapter(list[Issue]), query, what="listing issues", needs="issues: read"
        )

    def create(
        self, title: str, body: str, label: str, *, find: Callable[[], Issue | None]
    ) -> Issue:
        """File an issue. ``find`` looks for it where the answer was lost, so that there is one."""
        content = {"title": title, "body": body, "labels": [label]}
        what, needs = "filing an issue", "issues: write"
        made = self._ask("POST", self._url("issues"), content, what=what, needs=needs, find=find)
        issue = made if isinstance(made, Issue) else self._read(Issue, made)
        if label not in [found.name for found in issue.labels]:
            # To who may not set any, GitHub says nothing of it.
            raise GitHubError(
                f"issue #{issue.number} was filed without the label {label}, "
                "so that it will not be found again",
                advice="The token needs `issues: write`, and its account write access. Close the "
                "issue, or label it.",
            )
        return issue

    def update(self, number: int, **fields: Any) -> Issue:
        """Change an issue: ``title``, ``body``, ``state`` with ``state_reason``."""
        answer = self._ask(
            "PATCH",
            self._url(f"issues/{number}"),
            fields,
            what=f"changing issue #{number}",
            needs="issues: write",
        )
        return self._read(Issue, answer)

    def comments(self, number: int) -> list[Comment]:
        """All comments on an issue, the oldest first."""
        return self._all(
            f"issues/{number}/comments",
            TypeAdapter(list[Comment]),
            {"per_page": str(PAGE)},
            what=f"listing the comments on issue #{number}",
            needs="issues: read",
        )

    def comment(self, number: int, body: str, *, find: Callable[[], Comment | None]) -> Comment:
        """Comment on an issue; ``find`` as in :meth:`create`."""
        made = self._ask(
            "POST",
            self._url(f"issues/{number}/comments"),
            {"body": body},
            what=f"commenting on issue #{number}",
            needs="issues: write",
            find=find,
        )
        return made if isinstance(made, Comment) else self._read(Comment, made)

    def default_branch(self) -> str:
        """The repository's."""
        answer = self._ask("GET", self._url(""), what="asking for the default branch")
        return self._read(_Place, answer).default_branch

    def runs(self, workflow: str, branch: str) -> Iterator[Run]:
        """The successful runs of a workflow on a branch, the newest first, as they are needed."""
        query = {"branch": branch, "status": "success", "per_page": str(PAGE)}
        yield from self._pages(
            f"actions/workflows/{quote(workflow, safe='')}/runs",
            TypeAdapter(list[Run]),
            query,
            what=f"listing runs of {workflow}",
            needs="actions: read",
            within="workflow_runs",
        )

    def artifacts(self, run: int, name: str) -> list[Artifact]:
        """The artifacts of a run that have a name; expired ones too."""
        found: list[Artifact] = self._all(
            f"actions/runs/{run}/artifacts",
            TypeAdapter(list[Artifact]),
            {"name": name, "per_page": str(PAGE)},
            what=f"listing the artifacts of run {run}",
            needs="actions: read",
            within="artifacts",
        )
        # Older servers do not know the parameter.
        return [artifact for artifact in found if artifact.name == name]

    def download(self, artifact: Artifact, *, limit: int) -> bytes:
        """The zip, of no more than ``limit`` bytes. GitHub redirects to a host of somebody else's,
        to which the token does not go."""
        what = f"artifact {artifact.id}"
        if not has_token():
            raise GitHubError(
                f"{what} cannot be downloaded without a token, not even of a public repository",
                advice="Set GITHUB_TOKEN; it needs `actions: read`.",
            )
        url = self._url(f"actions/artifacts/{artifact.id}/zip")
        try:
            return downloads.read([url], limit=limit).body or b""
        except FetchError as error:
            raise GitHubError(
                _safe(error.problem),
                advice=f"{what}: the token needs `actions: read`, and the artifact must be there.",
            ) from None

    def _url(self, path: str) -> str:
        return f"{network.api()}/repos/{self._repository}/{path}".rstrip("/")

    def _all(self, path: str, kind: TypeAdapter[list[_T]], *args: Any, **words: Any) -> list[_T]:
        return list(self._pages(path, kind, *args, **words))

    def _pages(
        self,
        path: str,
        kind: TypeAdapter[list[_T]],
        query: Mapping[str, str],
        *,
        what: str,
        needs: str,
        within: str | None = None,
    ) -> Iterator[_T]:
        """The entries of every page; ``within`` is the key of an answer that is no plain list."""
        url, asked = self._url(path), query
        for _ in range(_PAGES):
            answer = self._ask("GET", url, query=asked, what=what, needs=needs)
            try:
                content = answer.json()
                yield from kind.validate_python(content[within] if within else content)
            except (ValueError, LookupError, TypeError):
                raise _unreadable(what) from None
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            if not following.startswith(f"{network.api()}/"):
                raise _unreadable(what)
            url, asked = following, {}
        raise _unreadable(what)

    def _read(self, kind: type[_T], answer: requests.Response) -> _T:
        try:
            return TypeAdapter(kind).validate_python(answer.json())
        except (ValueError, LookupError, TypeError):
            raise _unreadable("reading it") from None

    def _ask(
        self,
        method: str,
        url: str,
        content: Mapping[str, Any] | None = None,
        *,
        what: str,
        needs: str = "",
        query: Mapping[str, str] | None = None,
        find: Callable[[], Any] | None = None,
    ) -> Any:
        """An answer that is one, or what ``find`` has found where it was lost.

        A request with ``find`` is not repeated where it may have been carried out, unless that was
        looked for and is not there.
        """
        for attempt in count(1):
            refusal = self._try(method, url, content, query, needs)
            if not isinstance(refusal, _Refusal):
                return refusal
            pause = self._pause(refusal, attempt)
            if pause is None:
                tries = f" ({attempt} attempts)" if attempt > 1 else ""
                if refusal.wait is not None and refusal.wait > self._patience.asked:
                    tries += f"; not before {_clock(refusal.wait)}"
                kind = NotThereError if refusal.missing else GitHubError
                raise kind(f"GitHub: {what}: {refusal.why}{tries}", advice=refusal.advice)
            self._say(f"GitHub: {what}: {refusal.why}; again in {pause:.1f} s")
            _sleep(pause)
            if find and refusal.carried_out and (found := find()) is not None:
                return found
        raise AssertionError("the loop returned or raised")

    def _try(
        self,
        method: str,
        url: str,
        content: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        needs: str,
    ) -> requests.Response | _Refusal:
        reads = method == "GET"
        if not reads:
            _sleep(self._changed + self._patience.between - time.monotonic())
        try:
            answer = self._session.request(
                method,
                url,
                params=query,
                json=content,
                timeout=network.TIMEOUT,
                # requests would make a GET of a POST.
                allow_redirects=reads,
            )
        except (OSError, ValueError) as error:
            *_, root = causes(error)
            said = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
            return _Refusal(
                why=f"no answer: {_safe(said) or type(root).__name__}",
                advice="Check the network and proxy; GITHUB_API_URL names the API.",
                again=isinstance(error, OSError),
                carried_out=True,
            )
        finally:
            if not reads:
                self._changed = time.monotonic()
        if HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        return _refused(answer, self._repository, needs)

    def _pause(self, refusal: _Refusal, attempt: int) -> float | None:
        """Seconds until the next attempt; None where there is none."""
        patience = self._patience
        if not refusal.again or attempt >= patience.attempts:
            return None
        if refusal.wait is not None:
            return refusal.wait if refusal.wait <= patience.asked else None
        doubled: int = 1 << (attempt - 1)
        if refusal.too_many:
            return patience.secondary * doubled
        longest = min(patience.first * doubled, patience.longest)
        return SystemRandom().uniform(longest / 2, longest)


def _refused(answer: requests.Response, repository: str, needs: str) -> _Refusal:
    """What a status says that is no success."""
    status, headers = answer.status_code, answer.headers
    said = _message(answer)
    why = f"{status} {_safe(answer.reason or '')}".strip() + (f": {said}" if said else "")
    used_up = headers.get("X-RateLimit-Remaining") == "0"
    limited = status == 429 or (
        status == 403 and (used_up or "Retry-After" in headers or "rate limit" in said.lower())
    )
    if limited:
        return _Refusal(
            why=f"{why} (too many requests)",
            advice="Wait, and run it again: it goes on where it was.",
            again=True,
            wait=_asked(headers),
            too_many=True,
        )
    if status in _AGAIN:
        return _Refusal(why=why, again=True, wait=_asked(headers), carried_out=True)
    permission = f" with `{needs}`" if needs else ""
    match status:
        case 401:
            words = "the token is not, or no longer, a good one" if has_token() else "no token"
            advice = f"Set GITHUB_TOKEN to a token for {repository}{permission}."
            return _Refusal(why=f"{words}: {why}", advice=advice)
        case 403:
            advice = f"Give the token or the job permission `{needs or 'metadata: read'}`."
            return _Refusal(why=f"the token does not allow it: {why}", advice=advice)
        case 404:
            return _Refusal(
                why=f"there is no such thing in {repository}, or the token may not see it: {why}",
                advice=f"Check the name, and use a token for it{permission}.",
                missing=True,
            )
        case 410:
            advice = f"Does {repository} have issues enabled?"
            return _Refusal(why=f"it is gone, or not enabled: {why}", advice=advice)
        case 301 | 302 | 303 | 307 | 308:
            return _Refusal(
                why=f"{repository} has moved: {why}",
                advice="Name it as it is called now, with --repository.",
            )
        case 422:
            advice = "This is a mistake of pbs-matrix, or the issue was changed meanwhile."
            return _Refusal(why=f"it does not take what was asked: {why}", advice=advice)
        case _:
            return _Refusal(why=why)


def _asked(headers: Mapping[str, str]) -> float | None:
    """After how many seconds GitHub wants to be asked again; None where it does not say."""
    if after := headers.get("Retry-After"):
        try:
            return float(Retry().parse_retry_after(after))
        except (InvalidHeader, OverflowError):
            return None
    reset = headers.get("X-RateLimit-Reset", "")
    if headers.get("X-RateLimit-Remaining") == "0" and re.fullmatch(r"\d{1,12}", reset, re.ASCII):
        return max(float(reset) - time.time(), 0.0)
    return None


def _message(answer: requests.Response) -> str:
    """What GitHub says in words, errors of a validation among them."""
    try:
        content = answer.json()
        parts = [str(content["message"])]
        for error in content.get("errors", ())[:3]:
            parts.append(error if isinstance(error, str) else " ".join(map(str, error.values())))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return _safe("; ".join(parts))


def _safe(text: str) -> str:
    """Some words of others, without the token should it be among them."""
    for token in filter(None, (os.environ.get(name, "").strip() for name in TOKENS)):
        text = text.replace(token, "***")
    return clipped(without_passwords(text), _SAID)


def _clock(seconds: float) -> str:
    """When so many seconds have passed; no server's number is too large."""
    when = datetime.now(UTC) + timedelta(seconds=min(seconds, 1e8))
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _sleep(seconds: float) -> None:
    time.sleep(max(seconds, 0.0))


def _token() -> str:
    return next(filter(None, (os.environ.get(name, "").strip() for name in TOKENS)), "")


def _unreadable(what: str) -> GitHubError:
    return GitHubError(
        f"GitHub: {what}: the answer is none of its API",
        advice="Check GITHUB_API_URL, and whether a proxy answers in its place.",
    )
