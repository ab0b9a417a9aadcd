"""What a failed check hands over beside its sentence."""

from __future__ import annotations

from typing import Any


def unhealthy(sentence: str, findings: dict[str, Any]) -> AssertionError:
    """An AssertionError to raise, with the findings as its attribute ``findings``.

    A check returns its findings when all is well; they are wanted all the more when it is not.
    """
    error = AssertionError(sentence)
    error.findings = findings  # type: ignore[attr-defined]
    return error
