"""results.jsonl: one JSON object a line for each cell that ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import cache, inputs
from harness.errors import ConfigurationError
from harness.flavours import Flavour
from harness.matrix import DEFAULT, Kind
from harness.outcome import Outcome, Reason, Stage
from harness.plan import Cell
from harness.platforms import Platform
from harness.prediction import Prediction
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.sources import Source
from harness.timing import Timing
from harness.verdict import Status, judge

SCHEMA: Literal[5] = 5
"""Version of a line's format.

2 has checks, remedies that upgrade and what does not apply; 3 has predictions; 4 has flavours,
what ``latest`` was, and how the interpreter that ran is linked; 5 has when a cell ran, and how long
it took.
"""


class Predicted(BaseModel):
    """What the loader's rules say of a cell, made from its files before it ran."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Reason
    missing_library: str | None
    needed_by: str | None
    searched: tuple[str, ...]
    """Directories in which the library was looked for, in order."""


class Result(BaseModel):
    """A line of the results file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # One name for "schema" in the file; BaseModel has an attribute of that name.
    schema_version: Literal[1, 2, 3, 4, 5] = SCHEMA
    id: str
    uv: str
    uv_asked: str = ""
    """What the matrix file says, such as latest; the same as ``uv`` where that is a version."""
    python: str
    release: str
    release_asked: str = DEFAULT
    """What the matrix file says: default, a tag, a range, or such as latest-3."""
    source: Source
    flavour: Flavour = Flavour.STRIPPED
    link_model: LinkModel
    """What the table of releases says, which is what was expected."""
    linked: LinkModel | None = None
    """What the interpreter's own files say; None where they cannot, and where there were none."""
    platform: Platform
    base: str
    kind: Kind = Kind.EXTENSION
    extension: str
    """Name of the extension, or of the check."""
    remedy: Remedy
    upgraded_from: str | None = None
    """The uv that had installed the interpreter before, with the remedies that upgrade."""
    stage: Stage
    outcome: Reason
    missing_library: str | None
    message: str
    expected: Reason
    expected_library: str | None
    expected_because: str
    expected_link: str | None
    predicted: Predicted | None = None
    """None where the loader has no part in it, and where nothing was tried."""
    status: Status
    seconds: float | None
    """Wall time of the import or check inside the container."""
    started: str | None = None
    """When the cell began: UTC, ISO 8601; None in lines of older schemas, as with those below."""
    took: float | None = None
    """Seconds on the host, the start of its container included, its preparation not."""
    prepared_in: float | None = None
    """Seconds that its environment's image took to be made or found in this run."""
    evidence: dict[str, Any]
    pins: dict[str, Any]

    @property
    def is_replica(self) -> bool:
        """Whether a replica ran, though a mirror may have called it a release."""
        return self.source is Source.REPLICA or bool(self.pins.get("archive_is_replica"))


def result_of(
    cell: Cell,
    outcome: Outcome,
    pins: dict[str, object],
    prediction: Prediction | None = None,
    *,
    linked: LinkModel | None = None,
    timing: Timing | None = None,
) -> Result:
    """The line for a cell and what happened in it."""
    interpreter = cell.environment.interpreter
    upgrade = cell.environment.upgrade
    return Result(
        id=cell.id,
        uv=cell.environment.uv,
        uv_asked=cell.uv_asked,
        python=interpreter.python,
        release=interpreter.release,
        release_asked=cell.release_asked or DEFAULT,
        source=interpreter.source,
        flavour=interpreter.flavour,
        link_model=interpreter.link_model,
        linked=linked,
        platform=interpreter.platform,
        base=cell.environment.base,
        kind=cell.sample.kind,
        extension=cell.extension,
        remedy=cell.remedy,
        upgraded_from=upgrade.uv if upgrade else None,
        stage=outcome.stage,
        outcome=outcome.reason,
        missing_library=outcome.missing_library,
        message=outcome.message,
        expected=cell.expected.reason,
        expected_library=cell.expected.library,
        expected_because=cell.expected.why,
        expected_link=cell.expected.link,
        predicted=predicted(prediction) if prediction else None,
        status=judge(outcome, cell.expected, prediction),
        seconds=outcome.seconds,
        started=timing.started if timing else None,
        took=timing.took if timing else None,
        prepared_in=timing.prepared_in if timing else None,
        evidence=outcome.evidence,
        pins=pins,
    )


def predicted(prediction: Prediction) -> Predicted:
    """The part of a prediction that a line has room for."""
    search = prediction.search
    return Predicted(
        outcome=prediction.outcome,
        missing_library=prediction.library,
        needed_by=prediction.needed_by,
        searched=search.directories if search else (),
    )


PROPERTIES = (
    *("kind", "extension", "uv", "python", "release", "flavour", "link_model", "linked"),
    *("platform", "base", "source", "is_replica", "remedy", "upgraded_from"),
    *("stage", "outcome", "missing_library", "expected", "status"),
)
"""What is told of a cell in JUnit XML, in the words of the results file."""


def properties(result: Result) -> list[tuple[str, object]]:
    """A cell's axes and outcome, for ``<property>`` elements; what has no value is left out."""
    found = ((name, getattr(result, name)) for name in PROPERTIES)
    return [(name, _word(value)) for name, value in found if value is not None]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Writer:
    """Writes results as they come, so that a run that is cut short keeps what it had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("w", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"--results {path} cannot be written: {error.strerror or error}",
                advice="Name a file in a directory that you may write to.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def write(self, result: Result) -> None:
        """Add a line. Raises :class:`harness.errors.HarnessError` once, where that cannot be."""
        if self._stream.closed:  # it could not be before
            return
        try:
            with cache.disk_full_explained(self._path):
                self._stream.write(result.model_dump_json() + "\n")
                self._stream.flush()
        except BaseException:
            with suppress(OSError):  # what is left in its buffer cannot be written either
                self._stream.close()
            raise


def read(path: Path) -> Iterator[Result]:
    """The results of a file, one at a time; :class:`ConfigurationError` names a bad line."""
    number = 0
    try:
        for number, line in enumerate(inputs.lines(path), 1):
            try:
                yield Result.model_validate_json(line)
            except ValidationError as error:
                found = inputs.mistake(error, line, path, line=number)
                raise ConfigurationError(
                    f"{found.place}: not a result of this harness: {found.what}",
                    advice="Make the file with pytest --results FILE.",
                ) from None
    except OSError as error:
        place = f"{path}:{number + 1}: this" if number else str(path)
        raise ConfigurationError(
            f"{place} cannot be read: {error.strerror or error}",
            advice="Make it with pytest --results FILE.",
        ) from error
