"""Which extension modules the import of a package reaches, without running it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

Source = Callable[[], bytes]
"""Reads a module's source."""


def reached(
    starts: Iterable[str], sources: Mapping[str, Source], extensions: Container[str]
) -> tuple[str, ...]:
    """Names of the extension modules that importing some modules loads, in that order.

    ``sources`` and ``extensions`` are by name; a package's own are under ``NAME.__init__``, as they
    lie there. What stands in a function, a class or a ``try`` is left out.
    """
    raise NotImplementedError
