"""The system that a wheel may rely on: what the manylinux and musllinux rules let it expect."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.check.builds import Libc, Machine
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable
from harness.loader.process import System

DIRECTORY = "/lib64"
"""Where they lie in the model. Real systems have other directories: their names do not matter."""

ELSEWHERE = "/elsewhere"
"""The last directory that is looked into. It stands for whatever else a machine may have: what is
found there was found nowhere else, and that machine has to have it."""

# What PEP 599 (manylinux2014) lists, and later ones with it (PEP 600).
PEP_599 = (
    *("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libc.so.6"),
    *("libnsl.so.1", "libutil.so.1", "libpthread.so.0", "libresolv.so.2"),
    *("libX11.so.6", "libXext.so.6", "libXrender.so.1", "libICE.so.6", "libSM.so.6", "libGL.so.1"),
    *("libgobject-2.0.so.0", "libgthread-2.0.so.0", "libglib-2.0.so.0"),
)

# What auditwheel's policy has besides, since every system was found to have it
# (https://github.com/pypa/auditwheel, src/auditwheel/policy/manylinux-policy.json).
AUDITWHEEL = ("libatomic.so.1", "libanl.so.1", "libmvec.so.1", "libexpat.so.1", "libz.so.1")

# Parts of glibc that no list names, since nothing runs without them: the loader and the like.
GLIBC = re.compile(r"ld(64)?(-linux[\w-]*)?\.so\.\d|libthread_db\.so\.1")

PROMISED = frozenset((*PEP_599, *AUDITWHEEL))
"""What a wheel for glibc may rely on."""

DESKTOP = frozenset((*PEP_599[10:], "libatomic.so.1"))
"""Of these, what a slim container image often lacks all the same: mitsuba's wheels do not import
on Debian's, for want of libatomic1."""

# PEP 656 promises musl and no more; auditwheel's musllinux policy has zlib.
MUSL = ("libz.so.1",)

LIBPYTHON = re.compile(r"libpython\d")
"""How the names of CPython's libraries begin, renamed copies in wheels included."""


def is_libpython(name: str) -> bool:
    """Whether a name is one of CPython's own libraries."""
    return LIBPYTHON.match(name.rpartition("/")[2]) is not None


def system(machine: Machine, files: Files, needed: Iterable[str]) -> System:
    """A system with some files beside its own, for the names that they need.

    Names of which it need not have a library are found in :data:`ELSEWHERE`, where nothing else
    has them; only libpython is not.
    """
    library = Object(architecture=machine.architecture)
    names = MUSL if machine.libc is Libc.MUSL else (*PEP_599, *AUDITWHEEL)
    own: dict[str, Object | Unloadable] = {f"{DIRECTORY}/{name}": library for name in names}
    for name in needed:
        if is_libpython(name) or name in names:
            continue
        if name.startswith("/"):
            own[name] = library
        elif machine.libc is Libc.GLIBC and GLIBC.fullmatch(name):
            own[f"{DIRECTORY}/{name}"] = library
        elif "/" not in name:
            own[f"{ELSEWHERE}/{name}"] = library
    directories = (DIRECTORY, ELSEWHERE)
    return System(files=Files(files=own) | files, directories=directories, lib="lib64")


def is_promised(path: str) -> bool:
    """Whether a path in the model is one of a library that every system has."""
    return path.startswith(f"{DIRECTORY}/")


def is_elsewhere(path: str) -> bool:
    """Whether a path in the model stands for what a machine may have or not."""
    return path.startswith(f"{ELSEWHERE}/")
