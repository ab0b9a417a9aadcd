"""Faults of engines, by a proxy on the socket of an engine of their own.

``python -m tests.faults engine`` injects those that have a name (:mod:`.faults`);
``python -m tests.faults.engines`` has every call of the engine fail once (:mod:`.calls`).
"""

from __future__ import annotations

from tests.faults.engines.faults import FAULTS

__all__ = ["FAULTS"]
