"""libpython: the names by which it is asked for, and where the interpreter keeps its own."""

from __future__ import annotations

import os
import sys


def soname() -> str:
    """The name that everything which needs libpython asks the loader for."""
    major, minor = sys.version_info[:2]
    return f"libpython{major}.{minor}{sys.abiflags}.so.1.0"


def shipped() -> str:
    """Path where an interpreter of python-build-standalone has its libpython."""
    return os.path.join(sys.base_prefix, "lib", soname())


def interpreter() -> str:
    """The file that runs, behind the virtual environment's links."""
    return os.path.realpath(sys.executable)
