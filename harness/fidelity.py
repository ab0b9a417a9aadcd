"""What a replica stands for, measured: the same cells on a replica and on the release itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.outcome import Reason
from harness.remedies import Remedy
from harness.results import Result
from harness.sources import Source
from harness.verdict import Status


class Aspect(StrEnum):
    """In what two results differ, the gravest first. Of the last three nothing is compared."""

    OUTCOME = "outcome"
    """Stage, reason or missing library: the replica misleads."""
    LINK_MODEL = "link-model"
    """As read from the files: not the same, or not what the table of releases says."""
    MAPPED_LIBPYTHONS = "mapped-libpythons"
    BINDINGS = "bindings"
    """How many names of the C API are bound to which kind of file."""
    FINDINGS = "findings"
    """What a check found."""
    MESSAGE = "message"
    PYTHON_VERSION = "python-version"
    UNTESTABLE = "untestable"
    NOT_APPLICABLE = "not-applicable"
    """The question arises on one side only, as of a published archive alone."""
    ONLY_ONE_SIDE = "only-one-side"


UNCOMPARED = (Aspect.UNTESTABLE, Aspect.NOT_APPLICABLE, Aspect.ONLY_ONE_SIDE)

DOCUMENTED = {
    Aspect.FINDINGS: "libraries that a release bundles, a replica takes from the base image",
    Aspect.PYTHON_VERSION: "a replica has Debian's patch version",
}
"""What of a kind is known not to be the release's; see docs/verdicts.md."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One aspect of one cell, in words for each side; a side that is not there has none."""

    cell: str
    """The cell's id, without the source."""
    aspect: Aspect
    replica: str
    upstream: str
    known: str | None = None
    """Why it was to be expected; None where it was not."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What came of comparing two runs."""

    compared: int
    """Pairs in which both sides gave an answer."""
    equal: int
    """Those without any difference."""
    not_applicable: int
    """Pairs in which the question arose on neither side."""
    disguised: int
    """Compared pairs in which the mirror had a replica under the release's name."""
    differences: tuple[Difference, ...]
    """By aspect, the gravest first, then in the order of the cells."""

    def of(self, aspect: Aspect) -> tuple[Difference, ...]:
        """The differences of one kind."""
        return tuple(found for found in self.differences if found.aspect is aspect)

    @property
    def exit_code(self) -> int:
        """2 where nothing was compared, else 1 where an outcome differs that should not."""
        if not self.compared:
            return 2
        return int(any(found.known is None for found in self.of(Aspect.OUTCOME)))


def of(results: Iterable[Result]) -> Fidelity:
    """What came of a run that has both sources in it."""
    everything = list(results)
    replicas = [result for result in everything if result.source is Source.REPLICA]
    return compare(replicas, [r for r in everything if r.source is Source.UPSTREAM])


def compare(replicas: Iterable[Result], upstream: Iterable[Result]) -> Fidelity:
    """Pair the results of two runs by their cells, and list in what each pair differs.

    They have to be judged by what matrix.yaml expects: an outcome that is expected to differ is
    known to. Of a cell that is there several times on one side, the last counts.
    """
    sides = [{_cell(result): result for result in side} for side in (replicas, upstream)]
    differences: list[Difference] = []
    compared = equal = not_applicable = disguised = 0
    for cell in dict.fromkeys((*sides[0], *sides[1])):
        replica, release = sides[0].get(cell), sides[1].get(cell)
        if replica and release and replica.outcome is release.outcome is Reason.NOT_APPLICABLE:
            not_applicable += 1
        elif aspect := _why_uncompared(replica, release):
            differences.append(
                Difference(
                    cell=cell, aspect=aspect, replica=_said(replica), upstream=_said(release)
                )
            )
        else:
            # Else one side would lack.
            assert replica is not None
            assert release is not None
            found = list(_differences(cell, replica, release))
            compared += 1
            equal += not found
            disguised += release.is_replica
            differences += found
    ranks = list(Aspect)
    return Fidelity(
        compared=compared,
        equal=equal,
        not_applicable=not_applicable,
        disguised=disguised,
        differences=tuple(sorted(differences, key=lambda each: ranks.index(each.aspect))),
    )


def _cell(result: Result) -> str:
    return result.id.replace(f"~{result.source}", "", 1)


def _why_uncompared(replica: Result | None, release: Result | None) -> Aspect | None:
    if replica is None or release is None:
        return Aspect.ONLY_ONE_SIDE
    if Reason.UNTESTABLE in (replica.outcome, release.outcome):
        return Aspect.UNTESTABLE
    if Reason.NOT_APPLICABLE in (replica.outcome, release.outcome):
        return Aspect.NOT_APPLICABLE
    return None


def _differences(cell: str, replica: Result, release: Result) -> Iterator[Difference]:
    def differ(aspect: Aspect, one: str, other: str, known: str | None = None) -> Difference:
        return Difference(cell=cell, aspect=aspect, replica=one, upstream=other, known=known)

    same_outcome = _outcome(replica) == _outcome(release)
    if not same_outcome:
        known = _why_expected(replica, release)
        yield differ(Aspect.OUTCOME, _said(replica), _said(release), known)
    if _is_linked_otherwise(replica, release):
        yield differ(Aspect.LINK_MODEL, _linked(replica), _linked(release))
    mapped = [_evidence(result, "mapped_libpythons") for result in (replica, release)]
    if None not in mapped and mapped[0] != mapped[1]:
        one, other = (", ".join(paths) or "none" for paths in mapped)
        yield differ(Aspect.MAPPED_LIBPYTHONS, one, other)
    bound = [_bound(result) for result in (replica, release)]
    if None not in bound and bound[0] != bound[1]:
        yield differ(Aspect.BINDINGS, str(bound[0]), str(bound[1]))
    findings = [_evidence(result, "findings") for result in (replica, release)]
    if None not in findings:
        for key, one, other in _unlike(*findings):
            yield differ(Aspect.FINDINGS, f"{key}: {one}", f"{key}: {other}")
    messages = [_plain(result.message, result) for result in (replica, release)]
    if same_outcome and messages[0] != messages[1]:
        yield differ(Aspect.MESSAGE, messages[0], messages[1])
    versions = [_evidence(result, "python") for result in (replica, release)]
    if None not in versions and versions[0] != versions[1]:
        known = DOCUMENTED[Aspect.PYTHON_VERSION]
        yield differ(Aspect.PYTHON_VERSION, versions[0], versions[1], known)


def _outcome(result: Result) -> tuple[str, ...]:
    return result.stage, result.outcome, result.missing_library or ""


def _said(result: Result | None) -> str:
    if result is None:
        return ""
    if not result.outcome.was_tried:
        return f"{result.outcome} ({result.stage}): {result.message}".removesuffix(": ")
    library = f" {result.missing_library}" if result.missing_library else ""
    return f"{result.outcome}{library}"


def _why_expected(replica: Result, release: Result) -> str | None:
    """matrix.yaml's reason for what it expects of the two, if that differs and is what happened.

    The reasons differ too, unless it was made up after the event, as in a trial.
    """
    both = replica, release
    if any(result.status is not Status.AS_EXPECTED for result in both):
        return None
    reasons = [result.expected_because for result in both]
    return "; ".join(reasons) if reasons[0] != reasons[1] else None


def _is_linked_otherwise(replica: Result, release: Result) -> bool:
    both = replica, release
    if replica.linked and release.linked and replica.linked is not release.linked:
        return True
    # There the older uv's interpreter runs, and the table's word is about the newer one's.
    is_about_another = release.remedy is Remedy.UPGRADE_ONLY
    return not is_about_another and any(r.linked not in (None, r.link_model) for r in both)


def _linked(result: Result) -> str:
    if result.linked is None:
        return f"not read ({result.link_model} by the table)"
    return f"{result.linked} ({result.link_model} by the table)"


def _evidence(result: Result, name: str) -> Any:
    return _plain(result.evidence.get(name), result)


PREFIX = "<prefix>"
"""Stands for the directory of the interpreter, which has the patch version in its name."""


def _plain(value: Any, result: Result) -> Any:
    """The same, without what differs for no other reason than where the interpreter is."""
    prefix = result.evidence.get("prefix")
    match value:
        case str() if prefix:
            return value.replace(prefix, PREFIX)
        case list():
            return [_plain(part, result) for part in value]
        case dict():
            return {_plain(key, result): _plain(part, result) for key, part in value.items()}
        case _:
            return value


def _bound(result: Result) -> str | None:
    """To which kinds of files names of the C API are bound, and how many, in words."""
    bindings = _evidence(result, "bindings")
    if bindings is None:
        return None
    counts: Counter[str] = Counter()
    for path, number in bindings["counts"].items():
        counts[_kind(path)] += number
    return ", ".join(f"{kind} {counts[kind]}" for kind in sorted(counts)) or "none"


def _kind(path: str) -> str:
    is_libpython = PurePosixPath(path).name.startswith("libpython")
    if path.startswith(f"{PREFIX}/"):
        return "its libpython" if is_libpython else "interpreter"
    return "another libpython" if is_libpython else "other files"


def _unlike(one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
    """The keys by which two checks found something else, and what that is, as JSON."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        one, other = {"all": one}, {"all": other}
    for key in dict.fromkeys((*one, *other)):
        values = [json.dumps(found[key]) if key in found else "nothing" for found in (one, other)]
        if values[0] != values[1]:
            yield key, values[0], values[1]


def summary(fidelity: Fidelity) -> str:
    """The counts, in one line."""
    outcomes = fidelity.of(Aspect.OUTCOME)
    same = fidelity.compared - len(outcomes)
    expected = sum(found.known is not None for found in outcomes)
    noun = "cell" if fidelity.compared == 1 else "cells"
    as_expected = f" ({expected} as matrix.yaml expects)" if expected else ""
    parts = [
        f"{fidelity.compared} {noun} compared: {same} the same outcome, "
        f"{len(outcomes)} differ{as_expected}",
        f"{fidelity.equal} the same in everything",
    ]
    words = {
        Aspect.UNTESTABLE: "untestable",
        Aspect.NOT_APPLICABLE: "not applicable on one side",
        Aspect.ONLY_ONE_SIDE: "on one side only",
    }
    counts = {words[aspect]: len(fidelity.of(aspect)) for aspect in UNCOMPARED}
    counts["not applicable on either"] = fidelity.not_applicable
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    return "; ".join(parts)


def report(fidelity: Fidelity, console: Console) -> None:
    """Print the differences and the counts; what is the same in several cells once."""
    table = Table(header_style="")
    for heading in ("differs", "cells", "on the replica", "on the release", "in"):
        table.add_column(heading, justify="right" if heading == "cells" else "left")

    def words(found: Difference) -> tuple[str, str, str]:
        return found.aspect, found.replica, found.upstream

    for aspect in Aspect:
        found = sorted(fidelity.of(aspect), key=words)
        # An outcome is named for each cell: that is what may mislead.
        for _, group in groupby(found, key=None if aspect is Aspect.OUTCOME else words):
            same = list(group)
            first = same[0]
            more = f" and {len(same) - 1} more" if len(same) > 1 else ""
            known = f"\nexpected: {first.known}" if aspect is Aspect.OUTCOME and first.known else ""
            cells = (aspect, str(len(same)), first.replica, first.upstream)
            style = "bold red" if aspect is Aspect.OUTCOME and not known else ""
            table.add_row(*map(Text, cells), Text(first.cell + more + known), style=style)
    if fidelity.differences:
        console.print(table)
    for aspect, reason in DOCUMENTED.items():
        if fidelity.of(aspect):
            console.print(Text(f"{aspect}: {reason}"), soft_wrap=True)
    if fidelity.disguised:
        console.print(
            Text(
                f"{fidelity.disguised} of the compared cells ran a replica on both sides: the "
                "mirror has replicas under the releases' names"
            ),
            soft_wrap=True,
        )
    console.print(Text(summary(fidelity)), soft_wrap=True)


def as_json(fidelity: Fidelity) -> str:
    """Counts and every difference, for programs."""
    content = {
        "compared": fidelity.compared,
        "equal": fidelity.equal,
        "not_applicable": fidelity.not_applicable,
        "disguised": fidelity.disguised,
        "exit_code": fidelity.exit_code,
        "differences": [
            {
                "cell": found.cell,
                "aspect": found.aspect,
                "replica": found.replica,
                "upstream": found.upstream,
                "known": found.known,
            }
            for found in fidelity.differences
        ],
    }
    return json.dumps(content, indent=1)
