"""What the loader's rules say of an import, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.loader.process import Loader, Search, System, Variables, importer
from harness.outcome import Reason


@dataclass(frozen=True, kw_only=True)
class Open:
    """A call of dlopen: an extension module, or a library that is preloaded."""

    name: str
    """A path, or a name to be searched for."""
    caller: str | None = None
    """Path of the file that calls; None for the interpreter's own import machinery."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What will become of a program's start and of some calls of dlopen, taken together.

    ``outcome`` is ``imports``: the loader finds everything; ``missing-library``: it does not find
    ``library``; or ``import-error``: what it finds under that name it cannot load. Whether symbols
    are found, and what the module's own code does, is another question.
    """

    outcome: Reason
    library: str | None = None
    """What is missing or cannot be loaded, as the loader's message has it."""
    search: Search | None = None
    """The search that failed, place by place."""
    searches: tuple[Search, ...] = ()
    """Every search in order, the program's own included."""

    @property
    def needed_by(self) -> str | None:
        """Path of the file that needs what is missing."""
        return self.search.needed_by if self.search else None

    @property
    def short(self) -> str:
        """One phrase for people, such as ``missing-library libGL.so.1``."""
        return f"{self.outcome} {self.library}" if self.library else str(self.outcome)

    def agrees(self, outcome: Reason, missing_library: str | None) -> bool:
        """Whether an observed outcome is one that this foresees.

        What happens after the loader has found everything is not its business: an undefined
        symbol, a crash or an exception contradict nothing.
        """
        match self.outcome:
            case Reason.MISSING_LIBRARY:
                return outcome is self.outcome and missing_library == self.library
            case Reason.IMPORT_ERROR:
                return outcome is self.outcome
            case _:
                return outcome is not Reason.MISSING_LIBRARY


def predict(
    loader: Loader,
    system: System,
    program: str,
    variables: Variables,
    opens: Sequence[Open],
) -> Prediction:
    """Start a program and open some files from it, in order, up to the first failure."""
    answer = loader.start(program, system, variables)
    itself = importer(answer.process) if answer.process.mapped else 0
    searches = list(answer.searches)
    for wanted in opens:
        if answer.failure:
            break
        caller = answer.process.find(wanted.caller) if wanted.caller else None
        answer = loader.open(answer.process, wanted.name, itself if caller is None else caller)
        searches += answer.searches
    failure = answer.failure
    if failure is None:
        return Prediction(outcome=Reason.IMPORTS, searches=tuple(searches))
    return Prediction(
        outcome=Reason.IMPORT_ERROR if failure.problem else Reason.MISSING_LIBRARY,
        library=failure.name,
        search=failure,
        searches=tuple(searches),
    )
