"""Reports with its own nonce that it failed, with findings that are infinite and no numbers."""

import os

from reports import IMPORTED, report

failed = {"outcome": "raised", "exception": "X", "message": "endless", "missing_library": None}
endless = {"findings": [float("inf"), float("nan"), 10**4000]}
report("finished", **{**IMPORTED, **failed, **endless})
os._exit(0)
