"""Allocates without end."""

kept = []
while True:
    kept.append(bytearray(16 << 20))
