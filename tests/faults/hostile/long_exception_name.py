"""Raises an exception whose type has a name of 2 MB, with ANSI."""

raise type("\x1b[31mX" * (2 << 18), (Exception,), {})("short")
