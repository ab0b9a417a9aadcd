"""What a shell may complete: names of the matrix file and of its cells. Asks nobody, and is quick.

Whatever is wrong with the matrix is told when a command runs, and not in the middle of a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem, get_completion_class

from harness.errors import ConfigurationError, HarnessError

if TYPE_CHECKING:
    from click import Command, Context, Parameter

    from harness.lock import Lock
    from harness.matrix import Matrix
    from harness.plan import Cell

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_PBS_MATRIX_COMPLETE"
"""By which a shell asks; click derives it from the program's name."""

MOST = 500
"""Ids that are offered: more of them help nobody."""

Completing = Callable[["Context", "Parameter", str], list[CompletionItem]]


def script(shell: str, program: Command) -> str:
    """What a shell has to read so that it completes ``pbs-matrix``."""
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(
            f"nothing is known of completion in {shell}", advice=f"Name one of {', '.join(SHELLS)}."
        )
    return kind(program, {}, "pbs-matrix", VARIABLE).source()


def profiles(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of profiles."""
    with suppress(HarnessError):
        read, _ = _read(context)
        return [
            CompletionItem(name, help=chosen.about or None)
            for name, chosen in read.profiles.items()
            if name.startswith(incomplete)
        ]
    return []


def of_axis(axis: str) -> Completing:
    """Values of an axis, in any profile."""

    def values(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
        from harness.plan import where

        found = (where(cell).get(axis) for cell in _cells(context))
        return _items(filter(None, found), incomplete)

    return values


def cells(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of cells, in any profile."""
    return _items((cell.id for cell in _cells(context)), incomplete)


def files(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell knows."""
    return [CompletionItem(incomplete, type="file")]


def cells_or_files(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of cells, or results files."""
    return cells(context, parameter, incomplete) or files(context, parameter, incomplete)


def _items(values: Iterable[str], incomplete: str) -> list[CompletionItem]:
    fitting = dict.fromkeys(value for value in values if value.startswith(incomplete))
    return [CompletionItem(value) for value in list(fitting)[:MOST]]


def _cells(context: Context) -> Iterator[Cell]:
    from harness import finding

    with suppress(HarnessError):
        yield from finding.every(*_read(context))


def _read(context: Context) -> tuple[Matrix, Lock]:
    from harness import lock, matrix, project

    file: Path = context.params.get("matrix_file") or project.matrix_beside(Path())
    return matrix.load(file), lock.load(lock.path_for(file))
