"""Does the interpreter look for extension modules by the name of its own C library?

The musl builds of CPython 3.11 and 3.12 took themselves for glibc's, looked for
``….cpython-312-x86_64-linux-gnu.so``, and so found no compiled module of a wheel for musl. Before
20250311 musl builds were linked statically, and could not load an extension module at all.

https://github.com/astral-sh/python-build-standalone/issues/724
https://github.com/astral-sh/python-build-standalone/issues/86
https://github.com/astral-sh/python-build-standalone/issues/260
"""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib import machinery
from typing import Any

import elf
import evidence
import libpython
from applicability import NotApplicable


def libc_of(loader: str) -> str:
    """The last part of a triplet, by a loader's path."""
    return "musl" if os.path.basename(loader).startswith("ld-musl-") else "gnu"


def check(cell: dict[str, str]) -> dict[str, Any]:
    """The suffixes, and the names that they are made of."""
    return verify(
        {
            "python": "{}.{}".format(*sys.version_info[:2]),
            "loader": elf.loader(libpython.interpreter()),
            "machine": os.uname().machine,
            "SOABI": sysconfig.get_config_var("SOABI"),
            "EXT_SUFFIX": sysconfig.get_config_var("EXT_SUFFIX"),
            "EXTENSION_SUFFIXES": list(machinery.EXTENSION_SUFFIXES),
            "_multiarch": getattr(sys.implementation, "_multiarch", None),
        }
    )


def verify(findings: dict[str, Any]) -> dict[str, Any]:
    """The same for any values."""
    loader = findings["loader"]
    if not loader:
        raise evidence.unhealthy(
            "the interpreter is linked statically, so it can load no extension module", findings
        )
    libc = libc_of(loader)
    if libc == "musl" and findings["python"] in ("3.8", "3.9", "3.10"):
        raise NotApplicable(
            "CPython 3.10 and older call every Linux …-linux-gnu, and so do their wheels for musl"
        )
    triplet = f"{findings['machine']}-linux-{libc}"
    right = {"_multiarch": triplet, "EXT_SUFFIX": f".{findings['SOABI']}.so"}
    wrong = {name: findings[name] for name, value in right.items() if findings[name] != value}
    if not str(findings["SOABI"]).endswith("-" + triplet):
        wrong["SOABI"] = findings["SOABI"]
    if not {right["EXT_SUFFIX"], ".abi3.so", ".so"} <= set(findings["EXTENSION_SUFFIXES"]):
        wrong["EXTENSION_SUFFIXES"] = findings["EXTENSION_SUFFIXES"]
    if wrong:
        said = ", ".join(f"{name} is {value!r}" for name, value in sorted(wrong.items()))
        raise evidence.unhealthy(
            f"the interpreter's loader is {loader}, so its triplet is {triplet}, but {said}",
            findings,
        )
    return findings
