"""Doing what was decided: in an order in which nothing is said twice if it is cut short.

What is changed last is the description, whose marker says that all of it is done. So a run that
goes on where another was cut short decides the same again, and finds the comment that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, assert_never

from harness.filing import marker
from harness.filing.deciding import (
    NOT_PLANNED,
    Action,
    Close,
    Create,
    Known,
    Nothing,
    Reopen,
    Update,
)
from harness.filing.github import Comment, Issue

LABEL = "pbs-matrix"
"""By which issues are found; to set it needs more than anybody may."""

TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


class Tracker(Protocol):
    """What has issues; :class:`harness.filing.github.GitHub` is one."""

    def issues(self, label: str) -> Sequence[Issue]:
        """All with a label."""

    def create(
        self, title: str, body: str, label: str, *, find: Callable[[], Issue | None]
    ) -> Issue:
        """File one."""

    def update(self, number: int, **fields: Any) -> Issue:
        """Change one."""

    def comments(self, number: int) -> Sequence[Comment]:
        """All on one."""

    def comment(self, number: int, body: str, *, find: Callable[[], Comment | None]) -> Comment:
        """Add one."""


class Filing:
    """Issues of one account in one tracker."""

    def __init__(self, tracker: Tracker, *, author: str | None) -> None:
        """``author`` is the account that files, None where that is not known."""
        self._tracker = tracker
        self._author = author
        self._authors: dict[int, str] = {}

    def known(self) -> list[Known]:
        """The issues that were filed here; those of strangers, whatever is in them, are none.

        Where the account is not known, whoever may write to the repository, and programs, are
        believed.
        """
        return list(self._known())

    def _known(self) -> Iterator[Known]:
        for issue in self._tracker.issues(LABEL):
            if issue.pull_request is not None or not self._is_ours(issue):
                continue
            found, text = marker.parse(issue.body or "")
            if found is None:
                continue
            self._authors[issue.number] = issue.user.login if issue.user else ""
            yield Known(
                number=issue.number,
                title=issue.title,
                marker=found,
                # The editor on the web makes other ends of lines.
                text=text.replace("\r\n", "\n").rstrip(),
                is_open=issue.state == "open",
                reason=issue.state_reason,
            )

    def _is_ours(self, issue: Issue) -> bool:
        if issue.user is None:  # the account is gone
            return False
        if self._author is not None:
            return issue.user.login.lower() == self._author.lower()
        return issue.user.type == "Bot" or issue.author_association in TRUSTED

    def apply(self, actions: Iterable[Action]) -> Iterator[tuple[Action, int | None]]:
        """Do one after the other, each with the number of its issue once it is done."""
        for action in actions:
            yield action, self._apply(action)

    def _apply(self, action: Action) -> int | None:
        tracker = self._tracker
        match action:
            case Nothing():
                return action.number
            case Create():
                return tracker.create(
                    action.title, action.body, LABEL, find=lambda: self._filed(action.key)
                ).number
            case Update():
                self._comment(action.number, action.body, action.comment)
                tracker.update(action.number, title=action.title, body=action.body)
                return action.number
            case Reopen():
                self._comment(action.number, action.body, action.comment)
                tracker.update(
                    action.number,
                    title=action.title,
                    body=action.body,
                    state="open",
                    state_reason="reopened",
                )
                return action.number
            case Close():
                self._comment(action.number, action.body, action.comment)
                tracker.update(
                    action.number,
                    body=action.body,
                    state="closed",
                    state_reason=NOT_PLANNED if action.is_duplicate else "completed",
                )
                return action.number
            case _:
                assert_never(action)

    def _filed(self, key: str) -> Issue | None:
        """The issue of a trouble that had none."""
        numbers = [issue.number for issue in self._known() if issue.marker.key == key]
        found = [issue for issue in self._tracker.issues(LABEL) if issue.number in numbers]
        return found[0] if found else None

    def _comment(self, number: int, body: str, text: str) -> None:
        """Say something, unless it was said on this occasion already."""
        if not text:
            return
        made, _ = marker.parse(body)
        assert made is not None  # as in every body that is made here
        line = marker.comment_line(made.turn, text)

        def find() -> Comment | None:
            author = self._authors[number]
            for comment in self._tracker.comments(number):
                ours = comment.user is not None and comment.user.login == author
                if ours and (comment.body or "").startswith(line.rstrip()):
                    return comment
            return None

        if find() is None:
            self._tracker.comment(number, line + text, find=find)
