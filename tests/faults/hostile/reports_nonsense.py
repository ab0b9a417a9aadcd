"""Reports with its own nonce that it has imported, with nothing else in its place."""

import os

from reports import report

report("finished", outcome="imported", bindings=5, seconds="x")
os._exit(0)
