"""Faults of files."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS: list[Fault] = []
