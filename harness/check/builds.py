"""Published interpreters as plain data: what one consists of, and which uv installs which.

After python-build-standalone's ``cpython-unix/build-cpython.sh``, which builds every Linux
interpreter alike, whatever the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import NamedTuple, assert_never

from harness.loader.files import Files
from harness.loader.glibc import Glibc
from harness.loader.objects import Architecture, Object, Unloadable
from harness.loader.process import Loader
from harness.releases import DATA, LinkModel, commit_dates, link_model_eras, order

HOME = "/python"
"""Where an interpreter lies in the model: what ``sys.base_prefix`` is for it."""

OLDEST, NEWEST = 8, 15
"""Minor versions of the CPythons that there are Linux builds of."""

MUSL_LOADS_SINCE = "20250311"
"""Until then the musl builds were static programs, which can load no extension module at all
(https://github.com/astral-sh/python-build-standalone/pull/541)."""


class Libc(StrEnum):
    """The C library that an interpreter and its extensions are built for."""

    GLIBC = "glibc"
    MUSL = "musl"

    @property
    def loader(self) -> Loader:
        """The rules of its dynamic loader."""
        match self:
            case Libc.GLIBC:
                return Glibc()
            case Libc.MUSL:
                from harness.loader.musl import Musl

                return Musl()
            case _:
                assert_never(self)


# e_machine, bits, big-endian: what uname says, and what uv calls the platform with each libc.
_NAMES: dict[Architecture, tuple[str, str]] = {
    Architecture(62, 64): ("x86_64", "x86_64-gnu"),
    Architecture(183, 64): ("aarch64", "aarch64-gnu"),
    Architecture(40, 32): ("armv7l", "armv7-gnueabihf"),
    Architecture(3, 32): ("i686", "x86-gnu"),
    Architecture(21, 64): ("ppc64le", "powerpc64le-gnu"),
    Architecture(21, 64, big_endian=True): ("ppc64", "powerpc64-gnu"),
    Architecture(22, 64, big_endian=True): ("s390x", "s390x-gnu"),
    Architecture(243, 64): ("riscv64", "riscv64-gnu"),
    Architecture(258, 64): ("loongarch64", "loongarch64-gnu"),
}


class Machine(NamedTuple):
    """An architecture with a C library."""

    architecture: Architecture
    libc: Libc = Libc.GLIBC

    @property
    def cpu(self) -> str:
        """The architecture as ``uname -m`` prints it."""
        machine, bits, _ = self.architecture
        return _NAMES.get(self.architecture, (f"machine {machine} ({bits} bits)", ""))[0]

    @property
    def rank(self) -> tuple[int, str]:
        """Sort key: the machines that most people have come first."""
        known = [*_NAMES]
        place = known.index(self.architecture) if self.architecture in known else len(known)
        return place, self.libc

    @property
    def name(self) -> str:
        """For people: ``x86_64``, or ``x86_64 musl``."""
        return self.cpu if self.libc is Libc.GLIBC else f"{self.cpu} {self.libc}"

    @property
    def uv(self) -> str:
        """As uv calls it, and the table of releases: ``x86_64-gnu``, ``x86_64-musl``, …."""
        key = _NAMES.get(self.architecture, ("", ""))[1]
        return key if self.libc is Libc.GLIBC else f"{key.partition('-')[0]}-{self.libc}"

    @classmethod
    def of_cpu(cls, cpu: str, libc: Libc = Libc.GLIBC) -> Machine | None:
        """The machine that ``uname -m``, or the end of a wheel's tag, names."""
        found = (architecture for architecture, (name, _) in _NAMES.items() if name == cpu)
        architecture = next(found, None)
        return cls(architecture, libc) if architecture else None


class Python(NamedTuple):
    """A CPython: 3.``minor``, with ``t`` where it is free-threaded and ``d`` where it is a debug
    build, as in its file names (PEP 3149, PEP 703)."""

    minor: int
    flags: str = ""

    def __str__(self) -> str:
        return f"3.{self.minor}{self.flags}"

    @classmethod
    def parse(cls, text: str) -> Python | None:
        """``3.13``, ``3.13t``, ``313d``, ``cp313``, …; None for anything else."""
        found = re.fullmatch(r"(?:cp|cpython-)?3\.?(\d{1,2})([td]{0,2})", text)
        return cls(int(found[1]), "".join(sorted(found[2], reverse=True))) if found else None

    @property
    def libpython(self) -> str:
        """DT_SONAME of its libpython."""
        return f"libpython{self}.so.1.0"


class Build(NamedTuple):
    """A kind of published interpreter: all that are linked alike."""

    python: Python
    machine: Machine
    link_model: LinkModel

    @property
    def program(self) -> str:
        """Path of the interpreter in the model."""
        return f"{HOME}/bin/python{self.python}"


@cache
def files(build: Build) -> Files:
    """What an interpreter consists of, as far as the loader reads it.

    musl knows no ``$ORIGIN`` in DT_NEEDED, so there a search path stands for it: a DT_RUNPATH,
    which musl inherits as it does a DT_RPATH. With ``libpython3.so`` it is the same; debug builds
    have none.
    """
    architecture, libc = build.machine
    soname = build.python.libpython
    needs_libc = ("libc.so.6",) if libc is Libc.GLIBC else ("libc.so",)
    beside = f"$ORIGIN/../lib/{soname}"
    program = Object(architecture=architecture, is_program=True, needed=needs_libc)
    match build.link_model:
        case LinkModel.SHARED:
            program = (
                program._replace(needed=(beside, *needs_libc))
                if libc is Libc.GLIBC
                else program._replace(needed=(soname, *needs_libc), runpath="$ORIGIN/../lib")
            )
        case LinkModel.STATIC:
            pass
        case LinkModel.STATIC_RUNPATH:
            program = program._replace(runpath="$ORIGIN/../lib")
        case LinkModel.STATIC_RPATH:
            program = program._replace(rpath="$ORIGIN/../lib")
        case _:
            assert_never(build.link_model)
    found: dict[str, Object | Unloadable] = {
        build.program: program,
        f"{HOME}/lib/{soname}": Object(architecture=architecture, soname=soname, needed=needs_libc),
    }
    if "d" not in build.python.flags:
        stable = Object(architecture=architecture, soname="libpython3.so", needed=(soname,))
        found[f"{HOME}/lib/libpython3.so"] = (
            stable._replace(needed=(beside,))
            if libc is Libc.GLIBC
            else stable._replace(runpath="$ORIGIN/../lib")
        )
    links = {
        f"{HOME}/bin/python3": f"python{build.python}",
        f"{HOME}/lib/libpython{build.python}.so": soname,
    }
    return Files(files=found, links=links)


class Span(NamedTuple):
    """A stretch of versions, both ends included; an open end is None."""

    first: str | None
    last: str | None

    def __str__(self) -> str:
        if self.first == self.last:
            return self.first or "all"
        return f"{self.first or ''}…{self.last or ''}"

    def __contains__(self, version: object) -> bool:
        """Whether a version of uv is in it."""
        key = version_key(str(version))
        return (self.first is None or version_key(self.first) <= key) and (
            self.last is None or key <= version_key(self.last)
        )


class Era(NamedTuple):
    """A link model of the interpreters for a CPython and a machine, and who has it."""

    link_model: LinkModel
    releases: Span
    """In commit order."""
    uv: tuple[Span, ...]
    """Versions of uv that install such a release for this CPython and machine by default.

    None of them where uv never offered one.
    """

    @property
    def versions(self) -> frozenset[str]:
        """The versions of uv in ``uv``, of those that were asked."""
        return frozenset(version for version in uv_versions() if any(version in s for s in self.uv))


def eras(python: Python, machine: Machine) -> tuple[Era, ...]:
    """The link models that a CPython came in on a machine, oldest first.

    By what uv offers; where uv never had it, such as debug builds of old, all that the builds of
    other architectures came in.
    """
    rows = _offers().get((machine.uv, str(python)), ())
    found = []
    spans = _release_spans(machine.libc)
    for model, span in spans.items():
        runs = tuple(_runs(rows, model, machine.libc))
        if runs or not rows:
            found.append(Era(link_model=model, releases=span, uv=runs))
    return tuple(found)


def offered(python: Python, machine: Machine) -> bool:
    """Whether uv has ever offered that CPython for that machine."""
    return (machine.uv, str(python)) in _offers()


def is_known(machine: Machine) -> bool:
    """Whether uv has ever offered any CPython for that machine."""
    return any(platform == machine.uv for platform, _ in _offers())


def uv_with(python: Python, machine: Machine, uv: str) -> str | None:
    """The release that a uv version installs by default; None where it offers none."""
    release = None
    for version, offer in _offers().get((machine.uv, str(python)), ()):
        if version_key(version) > version_key(uv):
            break
        release = offer
    return release


def model_of(release: str, libc: Libc) -> LinkModel | None:
    """The link model of a release's Linux builds; None where they load no extension module.

    On musl the static builds had a DT_RUNPATH from the first
    (https://github.com/astral-sh/python-build-standalone/pull/621).
    """
    if libc is Libc.MUSL and order(release) < order(MUSL_LOADS_SINCE):
        return None
    place = order(release)
    passed = [link_model for first, link_model in _starts() if first <= place]
    model = passed[-1] if passed else LinkModel.SHARED
    if libc is Libc.MUSL and model is LinkModel.STATIC:
        return LinkModel.STATIC_RUNPATH
    return model


@cache
def _starts() -> tuple[tuple[tuple[int, str], LinkModel], ...]:
    """In commit order, from where on releases have which link model."""
    return tuple((order(era.first), era.link_model) for era in link_model_eras())


@cache
def _release_spans(libc: Libc) -> dict[LinkModel, Span]:
    """The releases of each link model; the newest one's end is open, and so is glibc's first."""
    found: dict[LinkModel, list[str]] = {}
    for release in commit_dates():
        if model := model_of(release, libc):
            found.setdefault(model, []).append(release)
    models = list(found)
    return {
        model: Span(
            None if model is models[0] and libc is Libc.GLIBC else releases[0],
            None if model is models[-1] else releases[-1],
        )
        for model, releases in found.items()
    }


@cache
def _offers() -> dict[tuple[str, str], tuple[tuple[str, str | None], ...]]:
    """Platform and CPython → uv versions, oldest first, from which on a release is installed."""
    text = (DATA / "uv_releases.tsv").read_text(encoding="utf-8")
    found: dict[tuple[str, str], tuple[tuple[str, str | None], ...]] = {}
    for line in text.splitlines():
        if line.startswith(("#", "platform\t")):
            continue
        platform, python, uv, release = line.split("\t")
        offer = (uv, None if release == "-" else release)
        found[platform, python] = (*found.get((platform, python), ()), offer)
    return found


def _runs(rows: Iterable[tuple[str, str | None]], model: LinkModel, libc: Libc) -> Iterable[Span]:
    """Stretches of uv versions with a link model; one goes up to the version before the next."""
    first: str | None = None
    for uv, release in rows:
        has_it = release is not None and model_of(release, libc) is model
        if has_it and first is None:
            # The table begins somewhere: older ones had the oldest model as well.
            first = "" if uv == uv_versions()[0] else uv
        if not has_it and first is not None:
            yield Span(first or None, _before(uv))
            first = None
    if first is not None:
        yield Span(first or None, None)


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of a uv version."""
    return tuple(int(part) for part in version.split("."))


@cache
def uv_versions() -> tuple[str, ...]:
    """Versions of uv that were asked, oldest first."""
    text = (DATA / "uv_releases.tsv").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("# Asked: "))
    return tuple(line.removeprefix("# Asked: ").split())


def _before(uv: str) -> str:
    """The version that was asked before one."""
    versions = uv_versions()
    return versions[versions.index(uv) - 1]
