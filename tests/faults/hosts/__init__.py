"""Faults of the host: signals, clocks, disks, what surrounds a process, and other processes."""

from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.hosts import clocks, disks, emulator, neighbours, signals, surroundings

FAULTS: list[Fault] = [
    *signals.FAULTS,
    *clocks.FAULTS,
    *disks.FAULTS,
    *surroundings.FAULTS,
    *neighbours.FAULTS,
    *emulator.FAULTS,
]
