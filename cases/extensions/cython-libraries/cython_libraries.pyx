"""A sample extension."""


def answer():
    """Return 42, made by the C API."""
    return 42
