"""Writes reports with guessed nonces to every descriptor from 0 to 1023, and fails."""

import os

lines = b"".join(
    b'\n{"event": "finished", "nonce": "%s", "outcome": "imported", "bindings": {"copies": {}}}\n'
    % nonce
    for nonce in (b"", b"0" * 16, b"f" * 16, b"nonce")
)
for descriptor in range(1024):
    try:
        os.write(descriptor, lines)
    except OSError:
        continue
raise ImportError("really")
