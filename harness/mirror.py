"""Where published archives are: upstream's own hosts, or a mirror of them.

Every uv knows the URL of each archive. Until 2026 those were GitHub's, later ones name a host of
Astral's that has the same files below another prefix. ``UV_PYTHON_INSTALL_MIRROR`` replaces the
prefix, whichever it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from harness.errors import ConfigurationError

GITHUB = "https://github.com/astral-sh/python-build-standalone/releases/download"
ASTRAL = "https://releases.astral.sh/github/python-build-standalone/releases/download"

VARIABLE = "UV_PYTHON_INSTALL_MIRROR"
"""uv's own variable."""

SUMS = "SHA256SUMS"


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A place with ``<release>/<file>`` below it, or upstream's own places."""

    base: str | None = None
    """URL (http, https or file) without a slash at its end; None for upstream."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.base or "GitHub"

    def urls(self, release: str, filename: str, *, first: str | None = None) -> tuple[str, ...]:
        """Where a release's file may be had, best first.

        ``first`` is what a uv itself would ask for; a mirror replaces that, as it does for uv.
        """
        tail = f"{release}/{quote(filename)}"
        if self.base is not None:
            return (f"{self.base}/{tail}",)
        upstream = (f"{place}/{tail}" for place in (GITHUB, ASTRAL))
        return tuple(dict.fromkeys([*([first] if first else []), *upstream]))


def of(option: str | None) -> Mirror:
    """What ``--mirror`` names, else uv's variable, else upstream; a plain folder is taken as one.

    Raises :class:`ConfigurationError` for what is no such place.
    """
    chosen = option or os.environ.get(VARIABLE)
    if not chosen:
        return Mirror()
    parts = urlsplit(chosen)
    if not parts.scheme:
        chosen, parts = Path(chosen).absolute().as_uri(), urlsplit("file:///")
    if parts.scheme not in ("http", "https", "file") or (
        parts.scheme != "file" and not parts.netloc
    ):
        raise ConfigurationError(
            f"{'--mirror' if option else VARIABLE} {chosen!r} is no http, https or file URL",
            advice="Name what stands before /20250517/cpython-….tar.gz there, or leave it out.",
        )
    return Mirror(base=chosen.rstrip("/"))
