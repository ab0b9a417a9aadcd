"""What is worth a bisection: one cell of each trouble, and the releases between which it began."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from harness import releases
from harness.brief import Brief, Shared
from harness.filing import troubles
from harness.filing.troubles import Kind, Trouble
from harness.flavours import Flavour
from harness.matrix import NAME
from harness.outcome import Reason
from harness.platforms import Platform
from harness.remedies import Remedy
from harness.results import Result

_PYTHON = re.compile(r"3\.\d{1,2}", re.ASCII)
_UV = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}", re.ASCII)
_RELEASE = re.compile(r"\d{8}", re.ASCII)
_SUCCESSES = (Reason.IMPORTS, Reason.PASSES)

Asked = tuple[str, ...]
"""What has to be the same for two results to be about one question, but for the release."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What ``pbs-matrix bisect`` has to be told; every value is safe in a job's environment."""

    key: str
    """Of the trouble; the report's name."""
    extension: str
    platform: str
    base: str
    python: str
    uv: str
    source: str
    good: str
    bad: str


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What came of looking."""

    suspects: tuple[Suspect, ...]
    passed_over: tuple[str, ...]
    """Of which troubles there is none, and why, in sentences."""

    @property
    def include(self) -> str:
        """A job matrix for GitHub, in one line."""
        content = {"include": [asdict(suspect) for suspect in self.suspects]}
        return json.dumps(content, separators=(",", ":"))


def find(new: Iterable[Result], base: Iterable[Result] = (), *, most: int) -> Suspicion:
    """The suspects of a run, the largest trouble first, no more than ``most``.

    The good release is the last one before the bad one with which the same question had a success,
    in either run; without one there is nothing to search between.
    """
    good: dict[Asked, tuple[str, ...]] = {}
    bases: dict[str, int] = {}
    shared = Shared()

    def noting(lines: Iterable[Result], places: dict[str, int]) -> Iterator[Result]:
        for line in lines:
            places.setdefault(line.base, len(places))
            if line.outcome in _SUCCESSES:
                asked = _question(line)
                known = good.get(asked, ())
                if line.release not in known:
                    good[asked] = shared((*known, line.release))
            yield line

    night = troubles.of(noting(new, bases), noting(base, {}))
    found: list[Suspect] = []
    said = []
    for trouble in night.troubles:
        if trouble.kind is not Kind.REGRESSED:
            continue
        possible = list(_of(trouble, good, bases))
        suspect = next(filter(_is_safe, possible), None)
        if suspect is None and possible:
            said.append(f"{trouble.key}: its cells have names that matrix.yaml would not allow")
        elif suspect is None:
            said.append(f"{trouble.key}: there is no success with an earlier release to begin from")
        elif len(found) == most:
            said.append(f"{trouble.key}: only {most} are wanted")
        else:
            found.append(suspect)
    return Suspicion(suspects=tuple(found), passed_over=tuple(said))


def _of(
    trouble: Trouble, good: dict[Asked, tuple[str, ...]], bases: dict[str, int]
) -> Iterator[Suspect]:
    """The best representative first: one that most people can repeat."""
    results = [pair.new.result for pair in trouble.pairs if pair.new and not pair.new.is_flaky]
    order = sorted(results, key=lambda r: (r.platform is not Platform.X86_64, bases[r.base], r.id))
    for bad in order:
        # What a bisection asks has no remedy, and is of the kind that uv takes by itself.
        if bad.remedy is not Remedy.NONE or bad.flavour is not Flavour.STRIPPED:
            continue
        place = releases.order(bad.release)
        before = [r for r in good.get(_question(bad), ()) if releases.order(r) < place]
        if not before:
            continue
        yield Suspect(
            key=trouble.key,
            extension=bad.extension,
            platform=str(bad.platform),
            base=bad.base,
            python=bad.python,
            uv=bad.uv,
            source=str(bad.source),
            good=max(before, key=releases.order),
            bad=bad.release,
        )


def _question(result: Result | Brief) -> Asked:
    return (
        *(result.extension, str(result.kind), result.platform, result.base, result.python),
        *(result.flavour, result.remedy, result.source, result.upgraded_from or ""),
    )


def _is_safe(suspect: Suspect) -> bool:
    """Whether all is as matrix.yaml has it; platform, source and key are of closed sets."""
    return (
        re.fullmatch(NAME, suspect.extension) is not None
        and re.fullmatch(NAME, suspect.base) is not None
        and _PYTHON.fullmatch(suspect.python) is not None
        and _UV.fullmatch(suspect.uv) is not None
        and all(_RELEASE.fullmatch(release) for release in (suspect.good, suspect.bad))
    )
