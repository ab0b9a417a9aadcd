"""Whether a check can be asked of the running interpreter at all."""

from __future__ import annotations


class NotApplicable(Exception):
    """The question cannot be asked of this interpreter; the text says why."""
