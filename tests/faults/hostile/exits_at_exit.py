"""Imports; has its process end with exit code 3 at exit."""

import atexit
import os

atexit.register(os._exit, 3)
