"""Beside the modules that report themselves: with the nonce and the descriptor of their caller."""

import json
import os
import sys

IMPORTED = {
    "seconds": 0.0001,
    "mapped_libpythons": [],
    "modules": {},
    "outcome": "imported",
    "bindings": {"home": "forged", "counts": {}, "copies": {}},
}
"""What a probe says of a module that imports."""


def report(event: str, **content: object) -> None:
    """Send a line as the caller's own."""
    frame = sys._getframe()
    while "channel" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    line = {"event": event, "nonce": frame.f_locals["request"]["nonce"], **content}
    os.write(frame.f_locals["channel"], b"\n" + json.dumps(line).encode() + b"\n")
