"""Reports with its own nonce that a check has passed, although it is none."""

import os

from reports import IMPORTED, report

report("finished", **{**IMPORTED, "outcome": "passed", "findings": {}})
os._exit(0)
