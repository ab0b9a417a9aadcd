"""What a check found, one line each: for tools that show lines beside files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.check.report import Section
from harness.check.verdicts import Failure, Finding, Role, called
from harness.why import printable


class Level(StrEnum):
    """How bad it is; the values are GitHub's and SARIF's words alike."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """The kinds of problems."""

    LIBPYTHON_NOT_FOUND = "libpython-not-found"
    LIBRARY_NOT_BUNDLED = "library-not-bundled"
    NOT_CHECKED = "not-checked"

    @property
    def description(self) -> str:
        """One sentence for people."""
        return {
            Rule.LIBPYTHON_NOT_FOUND: "A file that is imported or started is not loaded by some "
            "published interpreters, because a library it needs is not found.",
            Rule.LIBRARY_NOT_BUNDLED: "A library is neither in the wheel nor on every system.",
            Rule.NOT_CHECKED: "Something could not be checked.",
        }[self]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A line for one file of a target."""

    rule: Rule
    level: Level
    target: str
    """The file or directory that was named."""
    file: str | None
    """In the target."""
    message: str


def problems(sections: Sequence[Section]) -> Iterator[Problem]:
    """All that was found, each file and library once for a target."""
    for section in sections:
        if section.refused:
            yield Problem(
                rule=Rule.NOT_CHECKED,
                level=Level.ERROR,
                target=section.name,
                file=None,
                message=f"Not checked: {section.refused}",
            )
        for finding in section.findings:
            yield from _failures(section, finding)
            for missing in finding.missing:
                by = ", ".join(called(path) for path in missing.needed_by)
                yield Problem(
                    rule=Rule.LIBRARY_NOT_BUNDLED,
                    level=Level.WARNING,
                    target=_target(section, finding),
                    file=called(missing.needed_by[0]),
                    message=f"{printable(missing.name)}, needed by {by}, is not found in it: the "
                    "system must have it.",
                )
            for reason in finding.unchecked:
                yield Problem(
                    rule=Rule.NOT_CHECKED,
                    level=Level.ERROR,
                    target=_target(section, finding),
                    file=None,
                    message=f"Not checked: {reason}.",
                )


def _failures(section: Section, finding: Finding) -> Iterator[Problem]:
    groups: dict[tuple[str, str], list[Failure]] = {}
    models: dict[tuple[str, str], dict[str, None]] = {}
    for row in finding.rows:
        for cell in row.cells:
            for failure in cell.failures:
                key = failure.search.needed_by, failure.library
                groups.setdefault(key, []).append(failure)
                where = f"{cell.era.link_model} ({cell.era.releases})"
                models.setdefault(key, {})[where] = None
        for failure in row.programs:
            groups.setdefault((failure.search.needed_by, failure.library), []).append(failure)
    for key, failures in groups.items():
        last = failures[-1]
        if last.role is Role.PROGRAM:
            start = f"{called(last.path)} does not start"
        else:
            names = dict.fromkeys(f.module or called(f.path) for f in failures)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            start = f"import of {', '.join(list(names)[:3])}{more} fails with"
            start += f" {', '.join(models[key])}"
        yield Problem(
            rule=Rule.LIBPYTHON_NOT_FOUND,
            level=Level.ERROR,
            target=_target(section, finding),
            file=called(last.search.needed_by),
            message=f"{start}. {last.words}",
        )


def _target(section: Section, finding: Finding) -> str:
    return section.name if len(section.findings) == 1 else finding.target.name
