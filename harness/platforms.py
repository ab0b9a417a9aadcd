"""The platforms under test, and what each tool calls them."""

from __future__ import annotations

import platform as host_platform
from enum import StrEnum

from harness.loader.objects import AARCH64, X86_64, Architecture


class Platform(StrEnum):
    """A CPU architecture running Linux with glibc; the value is what ``uname -m`` prints."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def debian(self) -> str:
        """Debian's name of the architecture."""
        return {Platform.X86_64: "amd64", Platform.AARCH64: "arm64"}[self]

    @property
    def docker(self) -> str:
        """The engine's name of the platform."""
        return f"linux/{self.debian}"

    @property
    def triplet(self) -> str:
        """GNU triplet, as in Debian's library directories."""
        return f"{self.value}-linux-gnu"

    @property
    def architecture(self) -> Architecture:
        """What its ELF files say."""
        return {Platform.X86_64: X86_64, Platform.AARCH64: AARCH64}[self]

    @property
    def is_native(self) -> bool:
        """Whether this machine runs the platform's programs without emulation."""
        return self is Platform.host()

    @classmethod
    def host(cls) -> Platform | None:
        """The platform of this machine, or None where it is not one under test."""
        return cls.named(host_platform.machine())

    @classmethod
    def named(cls, machine: str) -> Platform | None:
        """The platform by a kernel's or an engine's name of it; None where none under test."""
        aliases = {"amd64": "x86_64", "arm64": "aarch64"}
        try:
            return cls(aliases.get(machine.lower(), machine.lower()))
        except ValueError:
            return None
