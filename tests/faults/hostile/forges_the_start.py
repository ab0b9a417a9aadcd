"""Reports with its own nonce that the interpreter runs on another machine type."""

from reports import report

report("started", python="9.9.9", machine="vax", base_prefix="/", leaked=[])
