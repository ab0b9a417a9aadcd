"""How an archive gets into an environment: as its uv would install it, as far as that uv can.

uv chooses an archive from metadata that is built into it, and refuses one whose sha256 is another
than it says there. That metadata knows one release for each CPython version: of any other release,
uv has to be told, in the way of companies with builds of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.version import Version

from harness.errors import HashMismatchError
from harness.flavours import Flavour
from harness.plan import Interpreter
from harness.sources import Source

if TYPE_CHECKING:
    from harness.interpreters import Archive

MIRROR = "/opt/pbs-matrix/mirror"
"""Where an environment's image has its archives, as ``<release>/<file>``."""

PYTHONS = "/opt/python"
"""Where uv installs interpreters in an environment's image."""

TAKES_DOWNLOADS_JSON = Version("0.6.13")
"""Since when UV_PYTHON_DOWNLOADS_JSON_URL is heard."""

TAKES_BUILD = Version("0.8.14")
"""Since when UV_PYTHON_CPYTHON_BUILD is heard."""

TAKES_DEBUG = Version("0.8.18")
"""Since when ``3.13+debug`` can be asked for."""


class Route(StrEnum):
    """By whose word an environment's uv takes the archive."""

    OWN_METADATA = "own-metadata"
    """Its own: it finds the archive on a mirror, and its hash is the one that uv has built in."""
    DOWNLOADS_JSON = "downloads-json"
    """Ours: a downloads.json with the hash of the release's SHA256SUMS."""
    UNPACKED = "unpacked"
    """Nobody's: the archive is unpacked where uv would have put it."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What is done in the image of an environment."""

    route: Route
    request: str
    """What uv is asked for, such as 3.13; of an unpacked archive, the path of its program."""
    settings: dict[str, str]
    """Environment variables for uv."""

    @property
    def command(self) -> str:
        """What installs the interpreter."""
        if self.route is Route.UNPACKED:
            return f"tar -C {PYTHONS} -xf {MIRROR}/python.tar"
        return f"uv python install {self.request}"


def folder(interpreter: Interpreter, version: str) -> str:
    """The directory that uv makes for an interpreter."""
    return f"{PYTHONS}/{interpreter.flavour.uv_key(version, interpreter.platform)}"


def choose(
    uv: str, interpreter: Interpreter, archive: Archive, program: Path, *, trusts_mirror: bool
) -> Installation:
    """How a uv version gets an archive.

    ``program`` is that uv for this host; it is asked what it knows. ``trusts_mirror``: whether
    the mirror's word counts where uv's own metadata says another hash; without it that is a
    :class:`HashMismatchError`.
    """
    flavour = interpreter.flavour
    exact = flavour.uv_key(archive.version, interpreter.platform)
    is_ordinary = flavour in (Flavour.STRIPPED, Flavour.INSTALL_ONLY)
    if interpreter.source is Source.UPSTREAM:
        own = _own(uv, interpreter, archive, program, trusts_mirror=trusts_mirror)
        if own:
            settings = {"UV_PYTHON_INSTALL_MIRROR": f"file://{MIRROR}"}
            if interpreter.default is None and Version(uv) >= TAKES_BUILD:
                settings["UV_PYTHON_CPYTHON_BUILD"] = interpreter.release
            # As a user asks for it, where that is enough.
            request = interpreter.python if interpreter.default else exact
            return Installation(route=Route.OWN_METADATA, request=request, settings=settings)
    oldest = TAKES_DEBUG if flavour is Flavour.DEBUG else TAKES_DOWNLOADS_JSON
    if Version(uv) < oldest:
        home = folder(interpreter, archive.version)
        program_path = f"{home}/bin/python{interpreter.python}"
        return Installation(route=Route.UNPACKED, request=program_path, settings={})
    return Installation(
        route=Route.DOWNLOADS_JSON,
        request=interpreter.python if is_ordinary else exact,
        settings={"UV_PYTHON_DOWNLOADS_JSON_URL": f"{MIRROR}/downloads.json"},
    )


def url(interpreter: Interpreter, archive: Archive) -> str:
    """Where a downloads.json says that the archive is."""
    return f"file://{MIRROR}/{interpreter.release}/{quote(archive.name)}"


def _own(
    uv: str, interpreter: Interpreter, archive: Archive, program: Path, *, trusts_mirror: bool
) -> bool:
    """Whether a uv would take the archive by its own metadata."""
    if interpreter.default is not None:
        expected: str | None = interpreter.default.sha256
    elif interpreter.flavour is Flavour.DEBUG and Version(uv) < TAKES_DEBUG:
        return False
    else:
        # Only here: who asks where something is installed downloads nothing.
        from harness import uvbinary

        known = uvbinary.offers(
            program, interpreter.python, interpreter.flavour, interpreter.platform
        )
        offer = next((o for o in known if o.url.endswith(_tail(interpreter, archive))), None)
        if offer is None:
            return False
        expected = uvbinary.expected_sha256(
            program, offer, interpreter.flavour, interpreter.platform
        )
    if expected in (None, archive.sha256):
        return True
    if trusts_mirror:
        return False
    raise HashMismatchError(
        f"SHA256SUMS of release {interpreter.release} says sha256 {archive.sha256} for "
        f"{archive.name}, but uv {uv}'s own metadata says {expected}",
        advice="Do not use it; a mirror may have changed it. For a mirror of builds of your own, "
        "say --trust-mirror: uv is then told the mirror's hashes, and the results say so.",
    )


def _tail(interpreter: Interpreter, archive: Archive) -> str:
    return f"/{interpreter.release}/{quote(archive.name)}"
