"""Raises BaseException itself."""

raise BaseException("base")
