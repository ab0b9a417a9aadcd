"""What is to be checked: the files of a wheel, a directory, an environment or a single library."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.loader.files import Files
from harness.loader.objects import Architecture

VENV = "/venv"
"""Where a target's files lie in the model: as an installer would put them into a venv."""

SITE = f"{VENV}/lib/python3/site-packages"
"""As deep as a real one, since search paths such as ``$ORIGIN/../../..`` count the directories."""

SCRIPTS = f"{VENV}/bin"


@dataclass(frozen=True, kw_only=True)
class Module:
    """An extension module: a file that Python opens."""

    name: str
    """As it is imported, such as ``PIL._imagingtk``."""
    path: str
    """In the model."""
    suffix: str
    """Of its file name, such as ``.cpython-313t-x86_64-linux-gnu.so`` or ``.abi3.so``."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Files to be checked, as they would lie in a venv, and what they are for."""

    name: str
    """For people: the wheel's file name, the distribution's name and version, or the path."""
    files: Files
    """Every ELF file below :data:`VENV`, and every link between them."""
    others: Files = field(default_factory=Files)
    """What lies in the same environment and belongs to another distribution: found, not judged."""
    modules: tuple[Module, ...] = ()
    """In the order in which they are looked at."""
    reached: frozenset[str] = frozenset()
    """Names of those modules that importing the distribution's own top level loads, as far as
    its code shows without running it; what stands in a function or a ``try`` is left out."""
    programs: tuple[str, ...] = ()
    """Paths of executables: programs that are started for themselves."""
    tags: frozenset[str] = frozenset()
    """Compatibility tags of a wheel (``cp313-cp313-manylinux_2_28_x86_64``); none otherwise."""
    architectures: frozenset[Architecture] = frozenset()
    """Of its ELF files."""
    is_musl: bool = False
    """Whether it is built for musl rather than glibc: by its tag, else by what it needs."""
    notes: tuple[str, ...] = ()
    """Oddities worth a line: links that lead out, names that an installer would refuse, …."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Files that should have been ELF and are not, or are damaged: path → what is wrong."""
