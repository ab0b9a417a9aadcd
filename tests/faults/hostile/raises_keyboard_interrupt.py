"""Raises KeyboardInterrupt."""

raise KeyboardInterrupt("interrupt")
