"""Names of published files: what each says, and which of them uv would take.

A release's archives are told apart by their names alone, such as
``cpython-3.13.3+20250517-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz``. What uv knows
was chosen from these names by a script of its project, whose order of preference is that of
:func:`best`: https://github.com/astral-sh/uv/blob/main/crates/uv-python/fetch-download-metadata.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from harness import releases
from harness.flavours import Flavour
from harness.platforms import Platform

FIRST_MUSL = "20250311"
"""The first release whose CPython for musl is linked dynamically; uv leaves out those before."""

KINDS = ("install_only_stripped", "install_only", "full")
"""How much is in an archive, what uv takes first at the front."""

OPTIMISATIONS = frozenset(("pgo", "lto", "noopt"))
"""What else may stand in a name without making another kind of Python of it."""

_NAME = re.compile(
    r"cpython-(?P<version>(?P<python>3\.\d{1,3})\.(?P<patch>\d{1,3})"
    r"(?:(?P<stage>a|b|rc)(?P<number>\d{1,3}))?)"
    r"\+(?P<release>\d{8})"
    rf"-(?P<platform>{'|'.join(Platform)})-unknown-linux-(?P<libc>gnu|musl)"
    rf"(?:-(?P<options>[a-z]+(?:\+[a-z]+)*))?-(?P<kind>{'|'.join(KINDS)})\.tar\.(?:gz|zst)",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """What the name of a published archive says."""

    filename: str
    """As it is published: with ``+``, where an address has ``%2B``."""
    version: str
    """CPython's, such as ``3.13.3`` or ``3.14.0rc1``."""
    release: str
    platform: Platform
    flavour: Flavour
    kind: str
    """One of :data:`KINDS`; of a flavour that is published in several, each has its own name."""
    options: tuple[str, ...] = ()
    """What stands before the kind, such as ``freethreaded``, ``pgo``, ``lto``."""

    @property
    def python(self) -> str:
        """CPython's version without the patch, such as ``3.13``."""
        return ".".join(self.version.split(".")[:2])


def parse(filename: str) -> Name | None:
    """What a name says; None for what no flavour under test is.

    That is another system or processor (``x86_64_v3`` among them), a full archive of the default
    build, a kind of Python that is two at once (``freethreaded+debug``), a name from before 2022
    without a release in it, or no archive at all. ``%2B`` is taken for ``+``.
    """
    filename = unquote(filename)
    found = _NAME.fullmatch(filename)
    if found is None:
        return None
    options = tuple(found["options"].split("+")) if found["options"] else ()
    flavour = _flavour(found["kind"], found["libc"], {*options} - OPTIMISATIONS)
    if flavour is None:
        return None
    return Name(
        filename=filename,
        version=found["version"],
        release=found["release"],
        platform=Platform(found["platform"]),
        flavour=flavour,
        kind=found["kind"],
        options=options,
    )


def best(
    filenames: Iterable[str], python: str, platform: Platform, flavour: Flavour
) -> Name | None:
    """The archive that uv would take for ``python`` (``3.13``) of several; None where none fits.

    The newest version of CPython; of that what is more than the rest: stripped, then optimised the
    most, then of the newest release. Among those without a stripped one, which are the oldest, uv
    takes install_only; so does this for :attr:`Flavour.STRIPPED`, and the name returned says so.
    """
    names = (name for name in map(parse, filenames) if name is not None)
    fitting = [
        name
        for name in names
        if name.python == python and name.platform is platform and _serves(name, flavour)
    ]
    return max(fitting, key=_rank, default=None)


def version_order(version: str) -> tuple[int, ...]:
    """Sort key of a CPython version, pre-releases before what they lead to.

    Raises ``ValueError`` for what is none.
    """
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?", version, re.ASCII)
    if found is None:
        raise ValueError(f"{version!r} is no version of CPython such as 3.13.3 or 3.14.0rc1")
    major, minor, patch, stage, number = found.groups()
    stages = ("a", "b", "rc", None)
    return int(major), int(minor), int(patch), stages.index(stage), int(number or 0)


def _flavour(kind: str, libc: str, variants: set[str]) -> Flavour | None:
    match kind, libc, sorted(variants):
        case _, "gnu", ["debug"]:
            return Flavour.DEBUG
        case _, "gnu", ["freethreaded"]:
            return Flavour.FREETHREADED
        case "install_only_stripped", "gnu", []:
            return Flavour.STRIPPED
        case "install_only", "gnu", []:
            return Flavour.INSTALL_ONLY
        case "install_only_stripped" | "install_only", "musl", []:
            return Flavour.MUSL
        case _:
            return None


def _serves(name: Name, flavour: Flavour) -> bool:
    """Whether uv would take an archive for a flavour, if there were no other."""
    if flavour is Flavour.MUSL and releases.order(name.release) < releases.order(FIRST_MUSL):
        return False
    wanted = {flavour}
    if flavour is Flavour.STRIPPED:
        wanted.add(Flavour.INSTALL_ONLY)
    return name.flavour in wanted


def _rank(name: Name) -> tuple[object, ...]:
    return (
        version_order(name.version),
        -KINDS.index(name.kind),
        ("lto" in name.options) + ("pgo" in name.options),
        releases.order(name.release),
    )
