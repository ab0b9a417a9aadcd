"""A package whose extension needs a helper library that needs libpython."""

from .core import answer

__all__ = ["answer"]
