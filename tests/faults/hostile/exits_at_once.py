"""Ends its process with exit code 0 before anything is reported."""

import os

os._exit(0)
