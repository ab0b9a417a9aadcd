"""Does sysconfig name a compiler that a user's machine has?

The interpreters are built with ``clang`` or a cross compiler, and say so. uv writes ``cc`` and
``c++`` instead when it installs one. From 0.6.15 until 0.7.2 it did not, and what was built from
source failed for want of clang.

https://github.com/astral-sh/uv/issues/13236
"""

from __future__ import annotations

import shlex
import sysconfig
from typing import Any

import evidence
from applicability import NotApplicable

EXPECTED = {
    "CC": "cc",
    "CXX": "c++",
    "LDSHARED": "cc",
    "BLDSHARED": "cc",
    "LDCXXSHARED": "c++",
    "LINKCC": "cc",
    "AR": "ar",
}
"""What uv makes of each variable's program."""

DEBIAN = ("-linux-gnu-gcc", "-linux-gnu-g++")
"""How Debian's own compilers are called. uv leaves them alone, as a replica has them."""


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The variables as they are."""
    return verify({name: sysconfig.get_config_var(name) for name in EXPECTED}, cell)


def verify(variables: dict[str, str | None], cell: dict[str, str]) -> dict[str, Any]:
    """The same for any values; None and '' where a build has no such variable."""
    programs = {name: shlex.split(value)[0] for name, value in variables.items() if value}
    if cell["source"] == "replica" and programs.get("CC", "").endswith(DEBIAN):
        raise NotApplicable(f"a replica's sysconfig is Debian's, and names {programs['CC']}")
    wrong = [
        f"{name} is {program!r} instead of {EXPECTED[name]!r}"
        for name, program in programs.items()
        if program != EXPECTED[name]
    ]
    if "CC" not in programs:
        wrong.append("there is no CC")
    findings = dict(variables)
    if wrong:
        raise evidence.unhealthy("sysconfig: " + "; ".join(wrong), findings)
    return findings
