"""Why imports fail, for people: by the loader's rules, its own trace, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from harness.check import advice
from harness.check.advice import Advice
from harness.results import Result
from harness.why import wrapped

EXPLANATION = "explanation"
"""Key of the evidence that holds one."""

WIDTH = 100


class Explanation(BaseModel):
    """Two accounts of one failed import, and advice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    """By the loader's rules; empty where these say that nothing is missing."""
    trace: tuple[str, ...]
    """The loader's own lines about the library; none where it does not tell."""
    advice: tuple[Advice, ...]

    @property
    def reasons(self) -> list[str]:
        """Both accounts as lines of text."""
        found = wrapped(self.account, 0, WIDTH)
        if self.trace:
            found.append("The loader's own account (LD_DEBUG=libs,files):")
            found += [f"  {line}" for line in self.trace]
        return found

    @property
    def lines(self) -> list[str]:
        """All of it as lines of text."""
        said = advice.lines(self.advice)
        return [*self.reasons, *([""] if said else []), *said]


def of(evidence: dict[str, object]) -> Explanation | None:
    """The explanation among an outcome's evidence, if there is one."""
    found = evidence.get(EXPLANATION)
    return Explanation.model_validate(found) if found is not None else None


def report(results: Iterable[Result]) -> list[str]:
    """What the results explain, as lines: the same words once, for all cells that they are of.

    The accounts of one extension come together, and after them what to do about it.
    """
    groups: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        if found := of(result.evidence):
            groups.setdefault(result.extension, {}).setdefault(found.account, []).append(result)
    lines: list[str] = []
    for accounts in groups.values():
        said: dict[Advice, None] = {}
        lines += [""] if lines else []
        for group in accounts.values():
            explanation = of(group[0].evidence)
            assert explanation is not None  # that is why it is here
            lines += [_of(group), *(f"  {line}" for line in explanation.reasons)]
            for result in group:
                said |= dict.fromkeys(each.advice if (each := of(result.evidence)) else ())
        # By reader, whichever account it came with.
        lines.append("")
        lines += advice.lines(sorted(said, key=lambda one: [*advice.Reader].index(one.reader)))
    return lines


def _of(group: list[Result]) -> str:
    first, *others = (result.id for result in group)
    return f"{first} and {len(others)} more" if others else first
