"""Results as Markdown for a job's summary or a comment on GitHub, no longer than either takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness import comparison, table
from harness.comparison import LIMIT
from harness.grid import Column, Grid
from harness.markdown import code, details, word
from harness.markdown import table as tabular
from harness.report import problems
from harness.report.model import View
from harness.report.problems import Problem
from harness.results import Result
from harness.verdict import Status

_KEPT = 600
"""Characters that every part leaves for what says that more has no room, and for its frame."""

_LEAST = 4000
"""Characters below which a comparison is not begun."""

_PLAIN = re.compile(r"[A-Za-z0-9]+(?:[ ,:×-]+[A-Za-z0-9]+)*")
"""A title that nothing in Markdown is made of; a dot could make a link."""


def render(view: View, limit: int = LIMIT) -> str:
    """Counts, problems, what changed, the grids, and known breakage, in no more than ``limit``.

    What others wrote is code everywhere. What has no room is counted; ``limit`` has to leave room
    for the counts, some 3000 characters.
    """
    title = view.title if _PLAIN.fullmatch(view.title) else code(view.title)
    written = "\n\n".join([f"## {title}", f"{view.summary}.", _counts(view), *_notes(view)])
    for part in (_problems, _changes):
        found = part(view, limit - len(written) - _KEPT)
        written += f"\n\n{found}" if found else ""
    # Last and folded, but short, and it would otherwise be what has no room.
    known = _known(view, (limit - len(written)) // 4 - _KEPT)
    written += f"\n\n{_grids(view, limit - len(written) - len(known) - _KEPT)}"
    return f"{written}\n\n{known}".rstrip() + "\n"


def _counts(view: View) -> str:
    return tabular(
        ("", "cells", "what it means"),
        (
            (_letters(name), str(view.symbols[name]), words)
            for name, (_, _, words) in table.SYMBOLS.items()
            if view.symbols[name]
        ),
    )


def _letters(name: str) -> str:
    letters = table.SYMBOLS[name][0]
    # What somebody has to look at.
    return f"**{letters}**" if len(letters) > 1 and letters.isupper() else letters


def _notes(view: View) -> list[str]:
    said = [f"{c.number} {c.words}" for c in view.reservations if c.number]
    if view.has_replicas:
        said.append(r"\~ marks the columns of replicas")
    return ["\n".join(f"- {line}" for line in said)] if said else []


def _problems(view: View, room: int) -> str:
    if not view.problems:
        return ""
    room //= 2  # so that what changed and the grids are seen as well
    written = "### Problems"
    cells = sum(len(problem.results) for problem in view.problems)
    for problem in view.problems:
        head = f"\n\n#### {problem.status}: {code(problem.signature)} ({len(problem.results)})\n\n"
        columns, rows = _cells(problem)
        part, count = _fitting(columns, rows, room - len(written) - len(head))
        if count:
            written += head + part
            cells -= count
        if count < len(problem.results):
            return f"{written}\n\n{_left(cells, 'cell')}"
    return f"{written}\n\n`pbs-matrix rerun 'CELL'` runs one of them again."


def _cells(problem: Problem) -> tuple[tuple[str, ...], Iterable[tuple[str, ...]]]:
    if problem.status is Status.UNTESTABLE:
        return ("cell",), ((code(result.id),) for result in problem.results)
    if problem.status is Status.MISPREDICTED:
        predicted = (problems.predicted(result) or "" for result in problem.results)
        rows = zip(problem.results, predicted, strict=True)
        return ("cell", "by the loader's rules"), ((code(r.id), code(said)) for r, said in rows)
    return ("cell", "expected", "because"), (_expected(result) for result in problem.results)


def _expected(result: Result) -> tuple[str, str, str]:
    because = result.expected_because
    return code(result.id), code(problems.expected(result)), code(because) if because else ""


def _changes(view: View, room: int) -> str:
    if view.comparison is None:
        return ""
    if room < _LEAST:
        return "What changed has no room here."
    # Half of it, for the grids' sake.
    written = comparison.markdown(view.comparison, limit=max(_LEAST, room // 2))
    return f"Since the earlier run:\n\n{written.strip()}"


def _grids(view: View, room: int) -> str:
    written = "### Grids"
    for number, grid in enumerate(view.grids):
        head = f"\n\n#### {code(grid.title)}\n\n"
        rows = (_row(grid, name) for name in grid.rows)
        columns = (str(grid.plane.kind), *map(_heading, grid.columns))
        part, count = _fitting(columns, rows, room - len(written) - len(head))
        if count:
            written += head + part
        if count < len(grid.rows):
            left = [
                *grid.rows[count:],
                *(row for each in view.grids[number + 1 :] for row in each.rows),
            ]
            return f"{written}\n\n{_left(len(left), 'row')}"
    return written


def _heading(column: Column) -> str:
    mark = r"\~" if column.is_replica else ""
    return f"uv {word(column.uv)}<br>{word(column.release)}{mark}<br>{column.heading[2]}"


def _row(grid: Grid, name: str) -> tuple[str, ...]:
    shown = (
        " ".join(_letters(table.symbol(result)) for result in grid.at(name, column))
        for column in grid.columns
    )
    return code(name), *shown


def _known(view: View, room: int) -> str:
    if not view.known:
        return ""
    count = sum(len(known.results) for known in view.known)
    rows = (
        (
            str(len(known.results)),
            code(known.expected),
            code(known.because) if known.because else "",
            code(", ".join(known.extensions)),
        )
        for known in view.known
    )
    part, shown = _fitting(("cells", "expected", "because", "of"), rows, room)
    if not shown:
        return _left(count, "cell", "of known breakage ")
    if shown < len(view.known):
        part += f"\n\n{_left(sum(len(k.results) for k in view.known[shown:]), 'cell')}"
    noun = "cell" if count == 1 else "cells"
    return details(f"Known breakage: {count} {noun}", part)


def _fitting(head: Sequence[str], rows: Iterable[Sequence[str]], room: int) -> tuple[str, int]:
    """A table of as many of the rows as there is room for, and how many they are."""
    written = tabular(head, ())
    count = 0
    for row in rows:
        line = f"\n| {' | '.join(row)} |"
        if len(written) + len(line) > room:
            break
        written += line
        count += 1
    return written, count


def _left(count: int, noun: str, what: str = "") -> str:
    return (
        f"{count} more {noun} {what}has no room here."
        if count == 1
        else (f"{count} more {noun}s {what}have no room here.")
    )
