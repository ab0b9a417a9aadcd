"""The tables that the documentation quotes, made from the matrix: never typed by hand.

A page holds each between two comments::

    <!-- table: remedies for python-mscl -->
    …
    <!-- end -->

``python -m tests.doc_tables`` writes them anew from what matrix.yaml expects. A unit test keeps
pages and matrix.yaml equal; since a run fails where something else than that happens, the tables
say what was seen. With a results file they are compared with what that run saw::

    pytest -n auto --profile=wide --results=results.jsonl
    python -m tests.doc_tables results.jsonl
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import lock, matrix, results
from harness.matrix import Kind
from harness.outcome import Reason
from harness.plan import plan, where
from harness.releases import LinkModel
from harness.remedies import Remedy

PROJECT = Path(__file__).parent.parent
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
QUOTED = re.compile(r"<!-- table: (?P<name>[^>]+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)

PLAIN_BASE, LIBPYTHON_BASE = "debian13", "debian13-libpython"
SYSTEM_LIBPYTHON = "system-libpython"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How one cell ended, or should end."""

    where: Mapping[str, str]
    """Coordinates, as :func:`harness.plan.where` gives them."""
    reason: Reason

    @property
    def letters(self) -> str:
        """As in the closing table of a run."""
        match self.reason:
            case Reason.IMPORTS | Reason.PASSES:
                return "ok"
            case Reason.SPLIT_BINDING:
                return "split"
            case Reason.NOT_APPLICABLE:
                return "–"
            case Reason.UNTESTABLE:
                return "?"
            case _:
                return "x"


def expected() -> tuple[Seen, ...]:
    """What matrix.yaml expects of the widest profile, on replicas."""
    file = PROJECT / "matrix.yaml"
    cells = plan(matrix.load(file), lock.load(lock.path_for(file)), profile="wide")
    return tuple(
        Seen(
            where=where(cell),
            reason=Reason.NOT_APPLICABLE if cell.not_applicable else cell.expected.reason,
        )
        for cell in cells
    )


def observed(file: Path) -> tuple[Seen, ...]:
    """What a run saw."""
    return tuple(
        Seen(
            where={
                str(result.kind): result.extension,
                **{axis: str(getattr(result, axis)) for axis in ("uv", "python", "release")},
                **{axis: str(getattr(result, axis)) for axis in ("link_model", "platform")},
                **{axis: str(getattr(result, axis)) for axis in ("base", "source", "remedy")},
            },
            reason=result.outcome,
        )
        for result in results.read(file)
    )


def tables(seen: Iterable[Seen]) -> dict[str, str]:
    """Every table, by name."""
    cells = tuple(seen)
    broken = ("python-mscl", "ucxx-shaped")
    return {
        **{f"remedies for {name}": _remedies(cells, name) for name in broken},
        "recipes": _recipes(cells),
        "checks": _checks(cells),
    }


def _remedies(cells: tuple[Seen, ...], extension: str) -> str:
    def row(one: Seen) -> str | None:
        remedy, base = one.where["remedy"], one.where["base"]
        if one.where.get("extension") != extension:
            return None
        if base == LIBPYTHON_BASE:
            return SYSTEM_LIBPYTHON if remedy == Remedy.NONE else None
        return remedy if base == PLAIN_BASE else None

    rows = [*(str(remedy) for remedy in Remedy), SYSTEM_LIBPYTHON]
    return _table("remedy", rows, cells, row, platforms=True)


def _recipes(cells: tuple[Seen, ...]) -> str:
    file = matrix.load(PROJECT / "matrix.yaml")
    projects = [
        name
        for name, extension in file.extensions.items()
        if extension.source and (PROJECT / extension.source / "pyproject.toml").is_file()
    ]

    def row(one: Seen) -> str | None:
        return one.where.get("extension") if one.where["base"] == PLAIN_BASE else None

    return _table("recipe", projects, cells, row)


def _checks(cells: tuple[Seen, ...]) -> str:
    file = matrix.load(PROJECT / "matrix.yaml")

    def row(one: Seen) -> str | None:
        return one.where.get(Kind.CHECK) if one.where["base"] == PLAIN_BASE else None

    return _table("check", list(file.checks), cells, row)


def _table(
    title: str,
    rows: Iterable[str],
    cells: tuple[Seen, ...],
    row_of: Callable[[Seen], str | None],
    *,
    platforms: bool = False,
) -> str:
    """Markdown with link models across, for each platform where they are to be told apart."""
    names = ("x86_64", "aarch64") if platforms else ("",)
    columns = [(platform, str(model)) for platform in names for model in LinkModel]
    heads = [f"{model} {platform}".strip() for platform, model in columns]
    found: dict[tuple[str, str, str], list[Seen]] = {}
    for one in cells:
        key = one.where["platform"] if platforms else ""
        if row := row_of(one):
            found.setdefault((row, key, one.where["link_model"]), []).append(one)
    lines = [f"| {title} | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for name in rows:
        letters = [_together(found.get((name, *column), [])) for column in columns]
        if any(letters):
            lines.append(f"| `{name}` | {' | '.join(letters)} |")
    return "\n".join(lines) + "\n"


def _together(cells: list[Seen]) -> str:
    """One entry for several uv versions with the same link model; a difference shows as such."""
    answers = {one.letters for one in cells}
    # Where the question arises for one of them, that is the answer.
    return "/".join(sorted(answers - {"–"} or answers))


def quoted(text: str) -> dict[str, str]:
    """The tables that a page holds, by name."""
    return {match["name"]: match["body"] for match in QUOTED.finditer(text)}


def main(arguments: list[str]) -> int:
    """Write the tables into the pages, or compare them with a results file; exit status."""
    if not arguments:
        made = tables(expected())
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            page.write_text(
                QUOTED.sub(
                    lambda m: f"<!-- table: {m['name']} -->\n{made[m['name']]}<!-- end -->", text
                ),
                encoding="utf-8",
            )
        return 0
    made = tables(observed(Path(arguments[0])))
    status = 0
    for page in PAGES:
        for name, body in quoted(page.read_text(encoding="utf-8")).items():
            if body != made[name]:
                print(f"{page.relative_to(PROJECT)}: {name}: the run saw\n{made[name]}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
