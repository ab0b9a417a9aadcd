"""Reports with its own nonce that it failed, with findings of 900 lists in each other."""

import os

from reports import IMPORTED, report

deep: list[object] = []
for _ in range(900):
    deep = [deep]
failed = {"outcome": "raised", "exception": "X", "message": "deep", "missing_library": None}
report("finished", **{**IMPORTED, **failed, "findings": deep})
os._exit(0)
