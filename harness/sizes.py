"""Sizes as people write them."""

from __future__ import annotations

import re

from harness.errors import ConfigurationError


def parse_size(text: str) -> int:
    """Bytes of ``2GB``, ``1.5 GiB``, ``500M`` or ``0``; :class:`ConfigurationError` for others."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?))?B?", text.strip(), re.ASCII | re.I)
    if match is None:
        raise ConfigurationError(
            f"{text!r} is no size",
            advice="Write it as 500MB or 2GB (thousands), or as 500MiB or 2GiB (1024s).",
        )
    number, unit, binary = match.groups()
    power = " KMGT".index(unit.upper()) if unit else 0
    return int(float(number) * (1024 if binary else 1000) ** power)
