"""uv itself: any version, for either platform, from its wheels; and what it says of itself.

Each uv has metadata of the archives of python-build-standalone built in, one for each version of
CPython and kind of build. It is asked offline, of the program itself.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from harness import cache, index, scratch, tools
from harness.errors import LockError, ToolError
from harness.flavours import Flavour
from harness.lock import Lock, LockedDefault, LockedWheel
from harness.platforms import Platform

ANSWERS = "uv-answers"
"""Kind of cache entry: what a uv said. It is a hundredth of the program, which is then not kept."""

DEFAULTS = "uv-defaults"
"""The same of what it installs where nothing else is asked for."""

MAX_PROGRAM = 512 << 20
"""Bytes; those that there are have a tenth of it."""

_RECIPE = 1
"""To be raised where an answer comes to hold something else."""

_KEY = re.compile(
    rf"cpython-(\d+\.\d+\.\d+\w*)(?:\+\w+)?-linux-(?:{'|'.join(Platform)})-(?:gnu|musl)", re.ASCII
)
_ARCHIVE = re.compile(r"/python-build-standalone/releases/download/(\d{8})/[^/]+$", re.ASCII)
_HASHES = re.compile(r"Expected:\s+([0-9a-f]{64})\s+Computed:", re.ASCII)
_FAILED = re.compile(r"Failed to download `?(https://\S+?)`?$", re.ASCII | re.MULTILINE)
_MARK = "nothing-but-a-question"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An archive of python-build-standalone that a uv knows."""

    version: str
    """CPython's, such as ``3.13.3``."""
    release: str
    url: str
    """Where this uv would fetch it first."""


Known = Mapping[str, tuple[Offer, ...]]
"""Offers, newest version first, by :meth:`Flavour.uv_key` of no version."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a uv version says of itself: all that it knows, but for debug builds."""

    uv: str
    known: Known

    def offers(
        self, python: str, platform: Platform, flavour: Flavour = Flavour.STRIPPED
    ) -> tuple[Offer, ...]:
        """As :func:`offers`; of :attr:`Flavour.DEBUG`, of which uv has no list, nothing."""
        return _chosen(self.known, python, flavour, platform)

    def default(self, python: str, platform: Platform) -> Offer | None:
        """What this uv installs by default; None where it has no such CPython."""
        return default_of(self.offers(python, platform))

    def versions(self, platforms: Iterable[Platform]) -> dict[str, set[str]]:
        """The CPython versions that it has from each release, of the builds that it prefers."""
        found: dict[str, set[str]] = {}
        for platform in platforms:
            for offer in self.known.get(Flavour.STRIPPED.uv_key("", platform), ()):
                found.setdefault(offer.release, set()).add(offer.version)
        return found


def fetch(wheel: LockedWheel) -> Path:
    """The uv program of a wheel, in the cache."""

    def make(path: Path) -> None:
        _take_out(index.fetch(wheel), path)

    return cache.entry("uv", wheel.sha256, make)


def offers(program: Path, python: str, flavour: Flavour, platform: Platform) -> tuple[Offer, ...]:
    """Every published archive that a uv knows for a CPython such as 3.13, newest version first.

    Of each version it knows one. It is what this uv takes when asked for the flavour; of
    :attr:`Flavour.INSTALL_ONLY`, for which it has no word, what it takes by default. Raises
    :class:`ToolError` where this uv cannot be asked, as most cannot be for debug builds.
    """
    if flavour is Flavour.DEBUG:
        return _debug_offers(program, python, platform)
    return _chosen(_listing(program), python, flavour, platform)


def default_of(offered: tuple[Offer, ...]) -> Offer | None:
    """Of some offers, newest first: what a request without a patch version installs.

    That is a pre-release only where there is nothing else.
    """
    stable = (offer for offer in offered if not Version(offer.version).is_prerelease)
    return next(stable, offered[0] if offered else None)


def default_interpreter(program: Path, python: str, platform: Platform) -> LockedDefault:
    """What ``uv python install`` of this uv fetches for a platform, whatever the host.

    Asked of the program itself, offline.
    """
    flavour = Flavour.STRIPPED
    offer = default_of(offers(program, python, flavour, platform))
    if offer is None:
        raise ToolError(
            f"{program} knows no download for {flavour.uv_key(python, platform)}",
            advice="This uv version does not have that CPython for that platform: exclude it.",
        )
    return _locked(program, offer, platform)


def reinstalled(
    program: Path, version: str, python: str, platform: Platform
) -> LockedDefault | None:
    """What ``uv python install --reinstall`` of this uv fetches for a patch version."""
    offered = offers(program, python, Flavour.STRIPPED, platform)
    offer = next((offer for offer in offered if offer.version == version), None)
    return None if offer is None else _locked(program, offer, platform)


def _locked(program: Path, offer: Offer, platform: Platform) -> LockedDefault:
    sha256 = expected_sha256(program, offer, Flavour.STRIPPED, platform)
    if sha256 is None:
        raise ToolError(
            f"{program} has no sha256 for {offer.url}, so it would install anything from there",
            advice="Nothing can be locked of it: exclude this uv version.",
        )
    return LockedDefault(version=offer.version, release=offer.release, url=offer.url, sha256=sha256)


def expected_sha256(
    program: Path, offer: Offer, flavour: Flavour, platform: Platform
) -> str | None:
    """The sha256 that a uv's own metadata has for an archive; None where it has none.

    uv tells it when it is given another file in that one's place, from a mirror in a folder.
    """
    filename = unquote(offer.url.rpartition("/")[2])
    cache.require_intact(program)
    with _aside() as (folder, environment):
        mirror = folder / "mirror"
        archive = mirror / offer.release / filename
        archive.parent.mkdir(parents=True)
        archive.write_bytes(_tiny_archive(zstandard=filename.endswith(".zst")))
        try:
            tools.run(
                _install(program, flavour.uv_key(offer.version, platform)),
                doing=f"asking uv for the sha256 of {filename}",
                environment={**environment, "UV_PYTHON_INSTALL_MIRROR": mirror.as_uri()},
            )
        except ToolError as error:
            if found := _HASHES.search(error.problem):
                return found[1]
            # Where there is nothing to compare with, it is unpacked, and then found to lack much.
            if not list(folder.rglob(_MARK)):
                raise
    return None


def answers(wheel: LockedWheel) -> Answers:
    """What the uv of a wheel for this host says, from the cache or of the program.

    A program that is not in the cache is downloaded for the question and not kept: of the many
    versions that one may ask about, few are run.
    """
    uv = str(parse_wheel_filename(wheel.filename)[1])

    def make(path: Path) -> None:
        program = cache.existing("uv", wheel.sha256)
        if program is not None:
            known = _listing(program)
        else:
            with tempfile.TemporaryDirectory(prefix="pbs-matrix-", dir=path.parent) as name:
                program = Path(name) / "uv"
                _take_out(index.download(wheel, Path(name) / "wheel"), program)
                known = _listing(program)
        path.write_text(_text(Answers(uv=uv, known=known)), encoding="utf-8")

    return _read(cache.entry(ANSWERS, _key(wheel), make, suffix=".json", check=cache.is_intact))


def is_answered(wheel: LockedWheel) -> bool:
    """Whether :func:`answers` has nothing to download for a wheel."""
    return any(
        (
            cache.existing(ANSWERS, _key(wheel), suffix=".json"),
            cache.existing("uv", wheel.sha256),
            cache.existing("wheels", wheel.sha256),
        )
    )


def remembered() -> dict[str, Answers]:
    """What the cache has of answers, by uv version, for where nothing can be downloaded."""
    found = {}
    for path in sorted((cache.root() / ANSWERS).glob("*.json")):
        try:
            said = _read(path)
        except (OSError, ValueError):
            continue  # of another recipe, or removed just now
        found[said.uv] = said
    return found


def verify(lock: Lock, uv: str, python: str, platform: Platform) -> None:
    """Ask the real uv again and compare with the lock; :class:`LockError` where they differ."""
    host = Platform.host() or platform
    said = _default(lock.uv_wheel(uv, host), python, platform)
    locked = lock.default(uv, python, platform)
    if said == locked:
        return
    if (said.version, said.release) != (locked.version, locked.release):
        problem = (
            f"matrix.lock says that uv {uv} installs CPython {locked.version} of release "
            f"{locked.release} on {platform}, but that uv says {said.version} of {said.release}"
        )
    else:
        problem = (
            f"matrix.lock says that uv {uv} installs on {platform} what is at {locked.url} and has "
            f"sha256 {locked.sha256}, but that uv says {said.url} and {said.sha256}"
        )
    raise LockError(
        problem,
        advice="Run `pbs-matrix lock` and look at the difference before you commit it.",
    )


def _default(wheel: LockedWheel, python: str, platform: Platform) -> LockedDefault:
    """What :func:`default_interpreter` says; the same program says the same, so it is kept."""

    def make(path: Path) -> None:
        said = default_interpreter(fetch(wheel), python, platform)
        path.write_text(said.model_dump_json(), encoding="utf-8")

    key = cache.digest("default", _RECIPE, wheel.sha256, python, platform)
    kept = cache.entry(DEFAULTS, key, make, suffix=".json", check=cache.is_intact)
    return LockedDefault.model_validate_json(kept.read_bytes())


def _key(wheel: LockedWheel) -> str:
    return cache.digest(_RECIPE, wheel.sha256)


def _take_out(wheel: Path, program: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        scripts = [n for n in archive.namelist() if n.endswith(".data/scripts/uv")]
        if len(scripts) != 1:
            raise ToolError(
                f"{wheel.name} holds no uv program",
                advice="Run `pbs-matrix lock` to choose its wheel again.",
            )
        if (size := archive.getinfo(scripts[0]).file_size) > MAX_PROGRAM:
            raise ToolError(
                f"the uv program in {wheel.name} has {size} bytes, more than {MAX_PROGRAM}",
                advice="Do not use it; look at what the index has there.",
            )
        program.write_bytes(archive.read(scripts[0]))
    program.chmod(0o755)


def _listing(program: Path) -> Known:
    """All published archives for the platforms under test that a uv lists."""
    cache.require_intact(program)
    try:
        said = tools.run(
            [
                *(program, "python", "list", "--all-versions", "--all-platforms", "--all-arches"),
                *("--only-downloads", "--show-urls", "--offline", "--no-config"),
                *("--output-format", "json", "cpython"),
            ],
            doing="asking uv which interpreters it knows",
        )
    except ToolError as error:
        if "unexpected argument" not in error.problem:
            raise
        raise ToolError(
            f"{program} is too old to say which interpreters it knows",
            advice="Ask uv 0.6.10 or later; what older ones install is not under test here.",
        ) from error
    found: dict[str, list[Offer]] = {}
    for one in json.loads(said):
        key, archive = _KEY.fullmatch(one["key"]), _ARCHIVE.search(one["url"] or "")
        if key and archive:
            offer = Offer(version=key[1], release=archive[1], url=one["url"])
            found.setdefault(key[0].replace(key[1], "", 1), []).append(offer)
    return {
        key: tuple(sorted(offered, key=lambda offer: Version(offer.version), reverse=True))
        for key, offered in found.items()
    }


def _chosen(known: Known, python: str, flavour: Flavour, platform: Platform) -> tuple[Offer, ...]:
    """Of what a uv knows, one CPython in one flavour."""
    offered = known.get(flavour.uv_key("", platform), ())
    return tuple(offer for offer in offered if offer.version.startswith(f"{python}."))


def _debug_offers(program: Path, python: str, platform: Platform) -> tuple[Offer, ...]:
    """Debug builds, of which ``uv python list`` shows none: what uv would fetch if it could."""
    found = []
    for plain in offers(program, python, Flavour.STRIPPED, platform):
        key = Flavour.DEBUG.uv_key(plain.version, platform)
        try:
            with _aside() as (_, environment):
                tools.run(
                    _install(program, key), doing=f"asking uv for {key}", environment=environment
                )
        except ToolError as error:
            said = error.problem
            if "not a valid Python download request" in said:
                raise ToolError(
                    f"{program} takes no request for a debug build such as {key}",
                    advice="Ask uv 0.8.18 or later, or choose another flavour.",
                ) from error
            failed = _FAILED.search(said)
            archive = failed and _ARCHIVE.search(failed[1])
            if failed and archive:
                found.append(Offer(version=plain.version, release=archive[1], url=failed[1]))
            elif "No download found" not in said:
                raise
    return tuple(found)


def _install(program: Path, key: str) -> list[str | Path]:
    # Never coloured, so that what it says can be read.
    return [program, "python", "install", "--offline", "--no-config", "--color", "never", key]


@contextmanager
def _aside() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder, and what keeps a uv that installs something within it."""
    with scratch.directory() as folder:
        yield (
            folder,
            {
                "HOME": str(folder),
                "XDG_DATA_HOME": str(folder / "data"),
                "XDG_BIN_HOME": str(folder / "bin"),
                "UV_PYTHON_INSTALL_DIR": str(folder / "pythons"),
                "UV_PYTHON_BIN_DIR": str(folder / "bin"),
                "UV_NO_CACHE": "1",
                # Else what it says is broken at the width of the terminal that somebody has.
                "COLUMNS": "1000",
            },
        )


def _tiny_archive(*, zstandard: bool) -> bytes:
    """An archive that any uv can read, and none takes for an interpreter."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("python/bin/python3", f"python/{_MARK}"):
            tar.addfile(tarfile.TarInfo(name))
    content = packed.getvalue()
    if not zstandard:
        return gzip.compress(content, mtime=0)
    # RFC 8878: magic number; the size in 4 bytes and no window; one block, the last, as it is.
    header = b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little")
    return header + (len(content) << 3 | 1).to_bytes(3, "little") + content


def _text(answers: Answers) -> str:
    known = {
        key: [[offer.version, offer.release, offer.url] for offer in offered]
        for key, offered in answers.known.items()
    }
    return json.dumps({"recipe": _RECIPE, "uv": answers.uv, "known": known})


def _read(path: Path) -> Answers:
    """Raises ``ValueError`` for what another version of this module has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("recipe") != _RECIPE:
        raise ValueError("of another recipe")
    known = {
        key: tuple(Offer(version=v, release=r, url=u) for v, r, u in offered)
        for key, offered in content["known"].items()
    }
    return Answers(uv=content["uv"], known=known)
