"""What projects are built against: CPython's headers, libraries and build data, as one tar."""

from __future__ import annotations

import ast
import shutil
import tarfile
from pathlib import Path
from pprint import pformat
from typing import Any

from harness import archives, cache, replica, scratch
from harness.platforms import Platform

RECIPE = 1
"""Counts up whenever this module makes other bytes from the same packages."""

SDK = "/opt/sdk"
"""Where the image has headers, libraries and sysconfig data, below it by platform."""


def packed(python: str) -> Path:
    """A tar with ``sdk/<platform>``: what there is of a CPython to build against."""
    sources = {platform: replica.sdk(python, platform) for platform in Platform}

    def make(path: Path) -> None:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for platform, source in sources.items():
                prefix = f"sdk/{platform}"
                archives.add_tree(tar, source / "include", f"{prefix}/include")
                with scratch.directory() as work:
                    for library in (source / "lib").glob("libpython*"):
                        shutil.copy2(library, work, follow_symlinks=False)
                    archives.add_tree(tar, work, f"{prefix}/lib")
                name = f"_sysconfigdata__{platform.triplet}.py"
                data = (source / "lib" / f"python{python}" / name).read_text()
                archives.add_bytes(
                    tar,
                    f"{prefix}/lib/python{python}/{name}",
                    sysconfig_data(data, python, platform).encode(),
                )
                for file, text in pkgconfig_files(python, platform).items():
                    archives.add_bytes(tar, f"{prefix}/lib/pkgconfig/{file}", text.encode())

    key = cache.digest("sdks", RECIPE, [source.parent.name for source in sources.values()], python)
    return cache.entry("sdks", key, make, suffix=".tar")


def sysconfig_data(text: str, python: str, platform: Platform) -> str:
    """Debian's sysconfig data for a platform, with the paths of the image instead of Debian's."""
    (assignment,) = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    values: dict[str, Any] = ast.literal_eval(assignment.value)
    prefix = f"{SDK}/{platform}"
    include, library = f"{prefix}/include/python{python}", f"{prefix}/lib"
    values |= {
        # The paths that sysconfig gives follow from these two, headers among them.
        "installed_base": prefix,
        "installed_platbase": prefix,
        **dict.fromkeys(("prefix", "exec_prefix", "host_prefix", "host_exec_prefix"), prefix),
        **dict.fromkeys(("INCLUDEPY", "CONFINCLUDEPY"), include),
        "INCLUDEDIR": f"{prefix}/include",
        **dict.fromkeys(("LIBDIR", "LIBPL"), library),
        "LIBPC": f"{library}/pkgconfig",
    }
    return f"build_time_vars = {pformat(values)}\n"


def pkgconfig_files(python: str, platform: Platform) -> dict[str, str]:
    """What Meson asks about CPython: as CPython's own Misc/python.pc.in and python-embed.pc.in."""
    head = (
        f"prefix={SDK}/{platform}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n"
        f"Version: {python}\nCflags: -I${{includedir}}/python{python}\n"
    )
    module = f"{head}Name: Python\nDescription: Build a C extension for Python\nLibs:\n"
    embed = (
        f"{head}Name: Python\nDescription: Embed Python into an application\n"
        f"Libs: -L${{libdir}} -lpython{python}\n"
    )
    return {f"python-{python}.pc": module, f"python-{python}-embed.pc": embed}
