"""Requirements that leave no choice: exactly one version."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement


def pinned(text: str) -> str:
    """The same text, or ``ValueError`` where it does not pin one version with ``==``."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is not a requirement: {str(error).splitlines()[0]}") from None
    pins = [s for s in requirement.specifier if s.operator == "==" and "*" not in s.version]
    if len(pins) != 1 or len(requirement.specifier) != 1 or requirement.url:
        raise ValueError(f"{text!r} must pin one version, as in python-mscl==67.0.1.0")
    return text
