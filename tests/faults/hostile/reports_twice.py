"""Has its caller's report preceded by one of its own, with nonce and all, and fails."""

from reports import IMPORTED, report

report("finished", **IMPORTED)
raise ImportError("really")
