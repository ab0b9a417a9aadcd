"""Reports with its own nonce a start without any content, and fails."""

from reports import report

report("started")
raise ImportError("really")
