"""The closing table: extensions down, releases across, one table for each platform and base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.flavours import Flavour
from harness.matrix import Kind
from harness.outcome import Reason
from harness.releases import LinkModel, order
from harness.remedies import Remedy
from harness.results import Result
from harness.verdict import Status

# Letters as well as colours: not everybody sees colours, and not every terminal shows them.
SYMBOLS: dict[str, tuple[str, str, str]] = {
    "ok": ("ok", "green", "imports (a check: passes), as expected"),
    "split": ("split", "yellow", "imports, but binds to a second libpython, as expected"),
    "fails": ("x", "yellow", "fails, as expected (known breakage)"),
    "regressed": ("REGR", "bold red", "regressed: does not do what was expected"),
    "fixed": ("FIXED", "bold magenta", "fixed: succeeds, although breakage was expected"),
    "mispredicted": (
        "MISPRED",
        "bold red",
        "mispredicted: not what the loader's rules say of its files",
    ),
    "untestable": ("?", "bold cyan", "untestable: no verdict"),
    "not-applicable": ("-", "dim", "not applicable: the question does not arise there"),
}


def symbol(result: Result) -> str:
    """Key into :data:`SYMBOLS`."""
    if result.status is not Status.AS_EXPECTED:
        return str(result.status)
    match result.outcome:
        case Reason.IMPORTS | Reason.PASSES:
            return "ok"
        case Reason.SPLIT_BINDING:
            return "split"
        case _:
            return "fails"


def render(results: Sequence[Result], console: Console) -> None:
    """Print the tables, the legend of what occurs in them, and the counts."""
    render_tables(results, console)
    _print_legend(results, console)
    console.print(summary(results), soft_wrap=True)


def render_tables(results: Sequence[Result], console: Console) -> None:
    """Print one table for each platform, base and remedy."""
    pythons = {result.python for result in results}
    groups: dict[str, list[Result]] = {}
    for result in results:
        title = f"{result.platform}, {result.base}"
        if len(pythons) > 1:
            title += f", CPython {result.python}"
        if result.flavour is not Flavour.STRIPPED:
            title += f", {result.flavour}"
        if result.kind is Kind.CHECK:
            title += ", checks of the interpreter"
        if result.remedy is not Remedy.NONE:
            title += f", remedy {result.remedy}"
        groups.setdefault(title, []).append(result)
    for title, group in groups.items():
        older = next((result.upgraded_from for result in group if result.upgraded_from), None)
        after = f" after uv {older}" if older else ""
        console.print(Text(title + after, style="bold"), soft_wrap=True)
        console.print(_table(group))


def _column(result: Result) -> tuple[str, str, bool, LinkModel]:
    return result.uv, result.release, result.is_replica, result.linked or result.link_model


def _table(group: Sequence[Result]) -> Table:
    columns = sorted(
        {_column(result) for result in group},
        key=lambda column: (
            *(tuple(int(part) for part in column[0].split(".")), order(column[1])),
            *column[2:],
        ),
    )
    table = Table(header_style="")
    table.add_column(str(group[0].kind), no_wrap=True)
    for uv, release, is_replica, model in columns:
        mark = "~" if is_replica else ""
        header = Text(f"uv {uv}\n{release}{mark}\n{_model_name(model)}")
        table.add_column(header, justify="center", no_wrap=True)
    cells = {(result.extension, _column(result)): result for result in group}
    for extension in dict.fromkeys(result.extension for result in group):
        row: list[Text | str] = [extension]
        for column in columns:
            found = cells.get((extension, column))
            letters, style, _ = SYMBOLS[symbol(found)] if found else ("", "", "")
            row.append(Text(letters, style=style))
        table.add_row(*row)
    return table


def _model_name(model: LinkModel) -> str:
    """Short enough for a column; every era's name in full is in the documentation."""
    return {
        LinkModel.SHARED: "shared",
        LinkModel.STATIC: "static",
        LinkModel.STATIC_RUNPATH: "+runpath",
        LinkModel.STATIC_RPATH: "+rpath",
    }[model]


def _print_legend(results: Iterable[Result], console: Console) -> None:
    seen = {symbol(result) for result in results}
    for key, (letters, style, meaning) in SYMBOLS.items():
        if key in seen:
            console.print(Text.assemble((f"{letters:>5}", style), f"  {meaning}"))
    if any(result.is_replica for result in results):
        console.print(Text("    ~  a replica with that release's link model, not the release"))


SHOWN = (
    *(Status.REGRESSED, Status.FIXED, Status.MISPREDICTED),
    *(Status.UNTESTABLE, Status.NOT_APPLICABLE),
)
ALWAYS_SHOWN = (Status.REGRESSED, Status.FIXED, Status.UNTESTABLE)
"""What a run is about, though there be none of them; the others are named where there are."""


def summary(results: Sequence[Result]) -> str:
    """The counts, in one line."""
    statuses = Counter(result.status for result in results)
    broken = sum(symbol(result) in ("fails", "split") for result in results)
    replicas = sum(result.is_replica for result in results)
    parts = [f"{statuses[Status.AS_EXPECTED]} as expected ({broken} of them known breakage)"]
    parts += [
        f"{statuses[status]} {status.replace('-', ' ')}"
        for status in SHOWN
        if statuses[status] or status in ALWAYS_SHOWN
    ]
    compared = sum(result.predicted is not None for result in results)
    last = f"; {compared} compared with the loader's rules" if compared else ""
    noun = "cell" if len(results) == 1 else "cells"
    return f"{len(results)} {noun}: {', '.join(parts)}; {replicas} on replicas{last}"
