"""Flavours: the kinds of archive that a release holds of one CPython for one platform.

What uv installs where nothing else is asked for is :attr:`Flavour.STRIPPED`.
"""

from __future__ import annotations

from enum import StrEnum

from harness.platforms import Platform


class Flavour(StrEnum):
    """A kind of published archive; the value is what ids, options and matrix.yaml call it."""

    STRIPPED = "install_only_stripped"
    """The interpreter without debug symbols: what every uv under test takes by itself, of each
    release that has it (since July 2024); of an older one it takes install_only."""

    INSTALL_ONLY = "install_only"
    """The same with its debug symbols. No uv takes it where there is a stripped one."""

    DEBUG = "debug"
    """Made with ``--with-pydebug``: asserts on, another ABI, ``python3.13d``. Published as a full
    archive alone. uv takes a request for it, ``3.13+debug``, since 0.8.18, and its
    ``uv python list`` shows none to this day."""

    FREETHREADED = "freethreaded"
    """Without the GIL: another ABI, ``python3.13t``; of CPython 3.13 and later. Every uv under test
    takes a request for ``3.13+freethreaded``: up to 0.9.27 it means full archives, from 0.11.0 on
    install_only_stripped ones, which releases have since 2026."""

    MUSL = "musl"
    """install_only_stripped for a system with musl. uv takes only those that are linked
    dynamically, which begin with 20250311: for x86_64 every uv under test has some, for aarch64
    none until 0.7.9, and 0.8.14 has."""

    @property
    def libc(self) -> str:
        """The C library that it runs on, in uv's words: ``gnu`` or ``musl``."""
        return "musl" if self is Flavour.MUSL else "gnu"

    @property
    def variant(self) -> str:
        """What stands behind the version in uv's keys, such as ``+debug``; mostly nothing."""
        return f"+{self.value}" if self in (Flavour.DEBUG, Flavour.FREETHREADED) else ""

    @property
    def mark(self) -> str:
        """What ids of cells say of it: nothing of what uv takes by itself."""
        return "" if self is Flavour.STRIPPED else f"+{self.value}"

    def uv_key(self, python: str, platform: Platform) -> str:
        """What uv is asked for, such as ``cpython-3.13+freethreaded-linux-x86_64-gnu``."""
        return f"cpython-{python}{self.variant}-linux-{platform}-{self.libc}"
