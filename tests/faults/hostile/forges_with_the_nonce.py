"""Takes nonce and descriptor from its caller's frame, and reports for itself that it imports."""

import os

from reports import IMPORTED, report

report("finished", **IMPORTED)
os._exit(0)
