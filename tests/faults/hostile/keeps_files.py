"""Harmless: keeps files in /tmp for three seconds, and fails where somebody has changed them."""

import os
import time

os.umask(0o22)
with open("/tmp/kept", "w") as stream:
    stream.write("kept")
with open("/tmp/kept-secret", "w", opener=lambda p, f: os.open(p, f, 0o600)) as stream:
    stream.write("secret")
os.mkdir("/tmp/kept-folder")
time.sleep(3)
with open("/tmp/kept") as stream:
    assert stream.read() == "kept"
with open("/tmp/kept-secret") as stream:
    assert stream.read() == "secret"
assert os.listdir("/tmp/kept-folder") == []
