"""What to do about the issues that there are, given a night: pure, and the same each time.

Deciding again after everything was done finds nothing to do. Of each trouble at most one issue is
open. One is closed only by cells that were tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.comparison import LIMIT
from harness.filing import marker, wording
from harness.filing.marker import Marker
from harness.filing.troubles import Night, Trouble
from harness.filing.wording import Place

MOST_NEW = 20
"""Issues that one night may open: after a night on which everything fails otherwise, people read
no more, and GitHub does not take many at once."""

NOT_PLANNED = "not_planned"
"""Why somebody closed an issue: they know, and want to hear no more of it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """An issue that was filed here, whoever closed it."""

    number: int
    title: str
    marker: Marker
    text: str
    """What stands behind the marker, with the ends of lines and of itself as they are made here."""
    is_open: bool
    reason: str | None = None
    """Why it was closed, in GitHub's words."""


@dataclass(frozen=True, kw_only=True)
class Create:
    """A trouble that has no issue."""

    key: str
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Update:
    """An open issue of which something has changed."""

    number: int
    key: str
    title: str
    body: str
    comment: str
    """Empty where there is nothing to say, as after two issues became one."""


@dataclass(frozen=True, kw_only=True)
class Reopen:
    """A trouble that is back."""

    number: int
    key: str
    title: str
    body: str
    comment: str


@dataclass(frozen=True, kw_only=True)
class Close:
    """An issue whose trouble is gone, or that is there twice."""

    number: int
    key: str
    title: str
    body: str
    comment: str
    is_duplicate: bool = False


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """What is left as it is, and why."""

    number: int | None
    key: str
    why: str


Action = Create | Update | Reopen | Close | Nothing


@dataclass(frozen=True, kw_only=True)
class Desk:
    """All that is decided by, beside the issues."""

    night: Night
    place: Place
    bisects: Mapping[str, str] | None = None
    """Reports of bisections, in Markdown, by the key of the trouble."""
    most_new: int = MOST_NEW


def decide(issues: Iterable[Known], desk: Desk) -> tuple[Action, ...]:
    """What is to be done, trouble by trouble, the largest first, and then what has ended."""
    by_key: dict[str, list[Known]] = {}
    for issue in sorted(issues, key=lambda issue: issue.number):
        # A closed one goes on elsewhere; one that somebody has opened again is one too many.
        if issue.is_open or not issue.marker.duplicate_of:
            by_key.setdefault(issue.marker.key, []).append(issue)
    actions: list[Action] = []
    created = 0
    for trouble in desk.night.troubles:
        there = by_key.pop(trouble.key, [])
        if not there and created == desk.most_new:
            why = f"one night opens no more than {created} issues"
            actions.append(Nothing(number=None, key=trouble.key, why=why))
        elif not there:
            created += 1
            actions.append(_create(trouble, desk))
        else:
            actions += _go_on(trouble, there, desk)
    for there in by_key.values():
        actions += _without_trouble(there, desk)
    return tuple(actions)


def _create(trouble: Trouble, desk: Desk) -> Create:
    title, night = wording.title(trouble), desk.night
    made = Marker(
        key=trouble.key,
        since=night.day,
        base=night.base_day,
        turn=1,
        title=marker.digest(title),
        **marker.recorded(trouble.tags),
    )
    body = _body(trouble, made, desk, _reported(trouble, desk))
    return Create(key=trouble.key, title=title, body=body)


def _go_on(trouble: Trouble, there: Sequence[Known], desk: Desk) -> Iterator[Action]:
    """Of a trouble that has issues."""
    opened = [issue for issue in there if issue.is_open]
    if not opened:
        yield _reopen_or_not(trouble, there[0], desk)
        return
    first, *others = opened
    # In this order, since the first learns what the others knew.
    yield _update_or_not(trouble, first, others, desk)
    yield from (_duplicate(issue, first) for issue in others)


def _reopen_or_not(trouble: Trouble, issue: Known, desk: Desk) -> Action:
    if issue.reason == NOT_PLANNED and trouble.tags <= issue.marker.tags:
        why = "somebody closed it as not planned, and no other cells have it"
        return Nothing(number=issue.number, key=trouble.key, why=why)
    title = _title(trouble, issue)
    night = desk.night
    attached = _reported(trouble, desk)
    made = issue.marker.changed(
        since=night.day,
        base=night.base_day,
        title=_digest_of_title(title, issue),
        bisect="",
        **marker.recorded(trouble.tags),
    )
    return Reopen(
        number=issue.number,
        key=trouble.key,
        title=title,
        body=_body(trouble, made, desk, attached),
        comment=wording.again(trouble, desk.place),
    )


def _update_or_not(
    trouble: Trouble, issue: Known, others: Sequence[Known], desk: Desk
) -> Update | Nothing:
    showing, night = trouble.tags, desk.night
    before = issue.marker.tags.union(*(other.marker.tags for other in others))
    # What had it and gave no clear answer now has it still, for all that is known.
    carried = before - showing - night.tested.keys()
    if issue.marker.more:
        carried |= night.unclear - showing
    fields = marker.recorded(showing, carried)
    attached = _reported(trouble, desk)
    bisected = bool(attached) and not issue.marker.bisect
    if fields["whole"] == issue.marker.whole and not bisected:
        why = "it says so already"
        return Nothing(number=issue.number, key=trouble.key, why=why)
    title = _title(trouble, issue)
    made = issue.marker.changed(title=_digest_of_title(title, issue), bisect="", **fields)
    ids = {marker.tag(pair.cell): pair.cell for pair in trouble.pairs}
    return Update(
        number=issue.number,
        key=trouble.key,
        title=title,
        body=_body(trouble, made, desk, attached or _kept(issue), carried=len(carried)),
        comment=wording.changed(
            trouble,
            [ids[tag] for tag in showing - before],
            [night.tested[tag] for tag in before - showing - carried],
            desk.place,
            bisected=bisected,
        ),
    )


def _without_trouble(there: Sequence[Known], desk: Desk) -> Iterator[Action]:
    """Of issues whose trouble no cell of this night has."""
    opened = [issue for issue in there if issue.is_open]
    if not opened:
        return
    first, *others = opened
    yield _close_or_not(first, others, desk)
    yield from (_duplicate(issue, first) for issue in others)


def _close_or_not(issue: Known, others: Sequence[Known], desk: Desk) -> Action:
    night = desk.night
    recorded = issue.marker.tags.union(*(other.marker.tags for other in others))
    unclear = recorded & night.unclear
    more = issue.marker.more
    tested = recorded & night.tested.keys()
    why = None
    if unclear:
        why = f"{len(unclear)} of its cells could not be tested, or answered differently"
    elif not tested:
        why = "none of its cells was tested"
    elif more and night.unclear:
        why = f"some of its cells may be among the {len(night.unclear)} without a clear answer"
    if why is not None and recorded == issue.marker.tags:
        return Nothing(number=issue.number, key=issue.marker.key, why=why)
    if why is not None:  # what the others knew has to be kept
        fields = marker.recorded(recorded)
        made = issue.marker.changed(**{**fields, "more": fields["more"] + more})
        return Update(
            number=issue.number,
            key=issue.marker.key,
            title=issue.title,
            body=made.line + issue.text,
            comment="",
        )
    cells = [night.tested[tag] for tag in tested]
    known = sum(night.known.get(tag) == issue.marker.key for tag in tested)
    return Close(
        number=issue.number,
        key=issue.marker.key,
        title=issue.title,
        body=issue.marker.changed().line + issue.text,
        comment=wording.gone(cells, known, len(recorded) + more, desk.place),
    )


def _duplicate(issue: Known, first: Known) -> Close:
    made = issue.marker.changed(duplicate_of=first.number)
    return Close(
        number=issue.number,
        key=issue.marker.key,
        title=issue.title,
        body=made.line + issue.text,
        comment=wording.duplicate(first.number),
        is_duplicate=True,
    )


def _title(trouble: Trouble, issue: Known) -> str:
    """The title of now, unless somebody has given the issue one of their own."""
    if marker.digest(issue.title) != issue.marker.title:
        return issue.title
    return wording.title(trouble)


def _digest_of_title(title: str, issue: Known) -> str:
    """Nothing for a title that is not ours, so that it stays."""
    ours = marker.digest(issue.title) == issue.marker.title
    return marker.digest(title) if ours else ""


def _reported(trouble: Trouble, desk: Desk) -> str:
    return (desk.bisects or {}).get(trouble.key, "").strip()


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A report that is attached already, with the lines before it."""

    section: str


def _kept(issue: Known) -> _Kept | str:
    """The bisection's report at the end of a description, or nothing.

    A text like the lines before it may be anywhere, so its digest says which it is.
    """
    if not issue.marker.bisect:
        return ""
    place = issue.text.find(wording.BISECT)
    while place >= 0:
        if marker.digest(section := issue.text[place:]) == issue.marker.bisect:
            return _Kept(section=section)
        place = issue.text.find(wording.BISECT, place + 1)
    return ""


def _body(
    trouble: Trouble, made: Marker, desk: Desk, bisect: str | _Kept, *, carried: int = 0
) -> str:
    text = wording.description(
        trouble, desk.place, since=made.since, base=made.base, carried=carried
    )
    if isinstance(bisect, _Kept):
        fits = len(made.line) + len(text) + len(bisect.section) < LIMIT
        section = bisect.section if fits else ""
    else:
        section = wording.report(bisect, len(text))
    if section:
        made = made.model_copy(update={"bisect": marker.digest(section)})
    return made.line + text + section
