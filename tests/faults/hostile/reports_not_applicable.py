"""Reports with its own nonce that the question does not arise, which only a check may say."""

import os

from reports import report

report("finished", outcome="not-applicable", message="nothing to see here")
os._exit(0)
