"""Wheels of samples that their own back ends build: setuptools, CMake, Meson and the rest.

One image for the host's own platform holds compilers for both platforms and a CPython that runs
the back ends; what it builds for is told by sysconfig data, a CMake toolchain file and a Meson
cross file (``images/builder``). So nothing is emulated, and the wheel for the host's own platform
is made in the same way as the other one.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from harness import (
    archives,
    buildsystem,
    cache,
    containers,
    debian,
    elf,
    engine,
    index,
    project,
    replica,
    scratch,
    sdk,
    tools,
    uvbinary,
    wheelfile,
)
from harness.buildsystem import BuildSystem
from harness.confinement import confinement
from harness.errors import ArchiveError, ConfigurationError, ToolError
from harness.images import Images
from harness.loader.objects import Unloadable
from harness.lock import Lock, LockedWheel
from harness.matrix import Base
from harness.platforms import Platform
from harness.releases import LinkModel

RECIPE = 1
"""Counts up whenever this module makes other bytes from the same sources."""

MEMORY = "2GiB"
LIMIT = 600
"""Seconds that a build may take."""

GRACE = 30
"""Seconds beyond that after which the container is ended from outside."""

MAX_WHEEL = 256 << 20
"""Bytes that a build may hand back."""

KEPT_OUTPUT = 64 << 10
"""Bytes of a build's output that are kept, from its end."""

LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info", ".git")
"""What building or testing a sample by hand leaves in its folder, at any depth."""

TOP_LEFTOVERS = ("build", "dist", "_skbuild", "target")
"""The same, directly in the folder. A stale build would be taken for the new one."""

CROSS_SETTINGS = {"mesonpy": ("--config-setting=setup-args=--cross-file=/build/cross.ini",)}
"""Arguments of ``uv build`` by back end; the other back ends are told by environment variables."""

NAMES = {Platform.X86_64: "x86-64-linux-gnu", Platform.AARCH64: "aarch64-linux-gnu"}
"""The triplet as it is written in the names of Debian's packages."""


def packages(host: Platform) -> tuple[str, ...]:
    """Debian packages of the builder's base: compilers for every platform, and pkgconf."""
    crosses = [NAMES[platform] for platform in Platform if platform is not host]
    return (
        *("gcc", "g++", "libc6-dev", "pkgconf"),
        *(f"{compiler}-{name}" for name in crosses for compiler in ("gcc", "g++")),
        *(f"libc6-dev-{p.debian}-cross" for p in Platform if p is not host),
        *replica.BASE_PACKAGES,
    )


RUST = ("rustc", "cargo", "librust-pyo3-dev")
"""Debian packages of the tool chain for samples in Rust, PyO3's crates among them."""

RUST_USERS = frozenset({"maturin", "setuptools-rust"})
"""Build requirements that mean that a sample is in Rust."""

RUST_SPACE = 3000
"""Megabytes that unpacking the Rust tool chain may take while it runs."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a build's container ended. ``wheels`` are the files in its output directory."""

    exit_code: int
    timed_out: bool
    oom_killed: bool
    said: str
    wheels: Mapping[str, bytes]


class Builder:
    """Builds samples on one engine. Safe to use from several threads at once."""

    def __init__(self, images: Images, lock: Lock, *, run: str, owner: str) -> None:
        self._images = images
        self._lock = lock
        self._run = run
        self._owner = owner

    def wheel(self, name: str, folder: Path, python: str, platform: Platform) -> Path:
        """The wheel of a sample for a CPython and a platform, from the cache or built now.

        Raises :class:`ConfigurationError` for a folder whose pyproject.toml is missing or wrong,
        :class:`LockError` where a build requirement is not locked, and :class:`ToolError` with the
        end of what the back end said where it makes no wheel, or one for something else.
        """
        system = buildsystem.read(folder)
        wheels = _build_wheels(self._lock, system, python, self._host)
        content = folder_content(folder)

        def make(path: Path) -> None:
            path.mkdir()
            doing = (
                f"building {name} for CPython {python} on {platform} with {system.build_backend}"
            )
            ended = self._build(folder, system, wheels, python, platform, doing)
            made, data = only_wheel(ended, doing, folder)
            check_wheel(made, data, python, platform, doing)
            (path / made).write_bytes(data)

        key = cache.digest(
            *("sample", "builder", RECIPE, replica.RECIPE, name, content, system.model_dump()),
            *([wheel.sha256 for wheel in wheels], recipe_texts(), packages(self._host), RUST),
            *(self._uv.sha256, python, platform, self._host),
        )
        (found,) = cache.entry("samples", key, make).iterdir()
        return found

    @cached_property
    def _host(self) -> Platform:
        """The platform that the builder's own programs are of: the engine's."""
        host = engine.platform(self._images.client)
        if host is None:
            raise ToolError(
                "samples with a pyproject.toml cannot be built on the engine's architecture",
                advice="Use an engine on x86_64 or aarch64, or leave these samples out with "
                "--extension.",
            )
        return host

    @cached_property
    def _uv(self) -> LockedWheel:
        """The oldest uv in the lock, so that another new one does not have all built anew."""
        return self._lock.uv_wheel(min(self._lock.uv, key=Version), self._host)

    def _image(self, python: str) -> str:
        """Tag of the builder's image, made if need be."""
        base = self._images.base(
            "builder", Base(suite=debian.SUITE), self._host, packages(self._host)
        )
        runner = replica.provide(python, self._host, LinkModel.STATIC)
        sdks = sdk.packed(python)
        return self._images.build(
            "builder",
            files={
                "python.tar.gz": runner.path,
                "sdk.tar": sdks,
                "uv": uvbinary.fetch(self._uv),
            },
            platform=self._host,
            inputs=[base.tag, base.id, runner.sha256, sdks.name, self._uv.sha256],
            arguments={"BASE": base.tag},
            labels={"base-digest": base.base_digest},
            doing="building the image that samples are built in",
        )

    def _rust_image(self, builder: str) -> str:
        """Tag of the same with a Rust tool chain, made if need be."""
        layer = _rust_layer(self._host)
        return self._images.build(
            "builder-rust",
            files={"rust.tar": layer},
            platform=self._host,
            inputs=[layer.name],
            arguments={"BASE": builder},
            labels={},
            doing="building the image that samples in Rust are built in",
        )

    def _build(
        self,
        folder: Path,
        system: BuildSystem,
        wheels: tuple[LockedWheel, ...],
        python: str,
        platform: Platform,
        doing: str,
    ) -> Ended:
        """Run one build in a container of its own, which is gone when this returns or raises."""
        image = self._image(python)
        if uses_rust(system):
            image = self._rust_image(image)
        command = [
            *("timeout", "--signal=KILL", str(LIMIT)),
            *("/bin/sh", "/opt/pbs-matrix/build.sh", python, platform.value),
            *CROSS_SETTINGS.get(system.build_backend, ()),
        ]
        files = {wheel.filename: index.fetch(wheel) for wheel in wheels}
        with engine.asking(doing):
            container = self._images.client.containers.create(
                image,
                # Bounded at the source: an engine keeps all that a container prints.
                ["/bin/bash", "-o", "pipefail", "-c"]
                + [f'"$@" 2>&1 | tail --bytes={KEPT_OUTPUT}', "build", *command],
                name=f"pbs-matrix-{self._run}-build-{secrets.token_hex(4)}",
                platform=self._host.docker,
                user="65534:65534",
                working_dir="/build",
                **confinement(self._run, self._owner, memory=MEMORY),
            )
            try:
                with _packed_inputs(folder, system, files) as packed:
                    containers.put(container, "/build", packed)
                return _run(container, doing)
            finally:
                # Gone already is what is wanted.
                with contextlib.suppress(NotFound, APIError):
                    container.remove(force=True, v=True)


def _run(container: Container, doing: str) -> Ended:
    """Start a build's container and wait for its end."""
    start = time.monotonic()
    container.start()
    late = False
    try:
        exit_code = int(container.wait(timeout=LIMIT + GRACE)["StatusCode"])
    except requests.RequestException:
        if time.monotonic() - start < LIMIT:
            raise
        # Its own limit did not hold, say because a process that it left behind still writes.
        late, exit_code = True, 137
        with contextlib.suppress(APIError):
            container.kill()
    seconds = time.monotonic() - start
    container.reload()
    return Ended(
        exit_code=exit_code,
        timed_out=late or (exit_code == 137 and seconds >= LIMIT),
        oom_killed=bool(container.attrs["State"].get("OOMKilled")),
        said=container.logs().decode(errors="replace"),
        wheels=_wheels_of(container, doing) if exit_code == 0 else {},
    )


def _wheels_of(container: Container, doing: str) -> dict[str, bytes]:
    """The wheels that a build has put into its output directory, up to a sensible size."""
    with containers.taken(container, "/build/out", most=MAX_WHEEL, doing=doing) as tar:
        return {
            Path(member.name).name: stream.read()
            for member in tar or ()
            # A link could lead nowhere.
            if tar and member.name.endswith(".whl") and member.isreg()
            if (stream := tar.extractfile(member))
        }


def only_wheel(ended: Ended, doing: str, folder: Path) -> tuple[str, bytes]:
    """The one wheel that a build was to make; :class:`ToolError` tells why there is none."""
    said = "\n".join(ended.said.strip().splitlines()[-tools.LAST_LINES :]) or "nothing"
    advice = f"Correct the sample in {folder}."
    if ended.timed_out:
        problem = f"did not end within {LIMIT} s; at last it said:\n{said}"
        advice = "Make the sample smaller, or have the machine do less meanwhile."
    elif ended.oom_killed:
        problem = f"ran out of its {MEMORY} of memory; at last it said:\n{said}"
        advice = "Make the sample smaller, or have it compile fewer files at a time."
    elif ended.exit_code and "No space left on device" in said:
        raise cache.disk_full("the engine's containers", f": {doing}")
    elif ended.exit_code:
        problem = f"ended with {ended.exit_code}:\n{said}"
    elif len(ended.wheels) != 1:
        names = ", ".join(sorted(ended.wheels)) or "none"
        problem = f"made not one wheel, but {names}; at last it said:\n{said}"
    else:
        return next(iter(ended.wheels.items()))
    raise ToolError(f"{doing}: {problem}", advice=advice)


def check_wheel(name: str, data: bytes, python: str, platform: Platform, doing: str) -> None:
    """Raise :class:`ToolError` for a wheel that is not of the platform that was asked for.

    A back end that missed that it was to cross would otherwise give a false verdict later on.
    """

    def refused(why: str) -> ToolError:
        return ToolError(
            f"{doing}: {name} {why}",
            advice="Look at how the sample chooses its compiler and names its module: it must "
            "follow CC and CXX, sysconfig, the CMake toolchain file or the Meson cross file.",
        )

    try:
        names = {tag.platform for tag in parse_wheel_filename(name)[3]}
    except InvalidWheelFilename as error:
        raise refused(f"is not named like a wheel: {error}") from None
    if not any(tag == "any" or tag.endswith(f"_{platform}") for tag in names):
        raise refused(f"is for {', '.join(sorted(names))} instead of {platform}")
    modules = 0
    try:
        with scratch.directory() as folder:
            (folder / name).write_bytes(data)
            wheelfile.vet(folder / name)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for file in archive.namelist():
                found = elf.read_object(io.BytesIO(archive.read(file)))
                if found is None:
                    continue
                if isinstance(found, Unloadable):
                    raise refused(f"is damaged: {file}: {found.problem}")
                if found.architecture != platform.architecture:
                    known = {other.architecture: str(other) for other in Platform}
                    number = f"machine {found.architecture.machine}"
                    machine = known.get(found.architecture, number)
                    raise refused(f"holds {file}, which is for {machine} instead of {platform}")
                others = (other.triplet for other in Platform if other is not platform)
                if any(f"-{triplet}.so" in file for triplet in others):
                    raise refused(f"holds {file}, which CPython on {platform} does not look for")
                modules += ".so" in Path(file).suffixes
    except (ArchiveError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise refused(f"is damaged: {error}") from None
    if not modules:
        raise refused(f"holds no extension module for CPython {python}")


def folder_content(folder: Path) -> dict[str, list[object]]:
    """What goes into a build, by path: kind, whether it is a program, and content or target."""
    content: dict[str, list[object]] = {}
    for path in _files(folder):
        mode = path.lstat().st_mode
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(mode):
            content[name] = ["link", False, os.fspath(path.readlink())]
        elif stat.S_ISREG(mode):
            try:
                content[name] = ["file", bool(mode & 0o111), cache.file_digest(path)]
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be read: {error.strerror or error}",
                    advice="Make the sample's files readable.",
                ) from error
        elif not stat.S_ISDIR(mode):
            raise ConfigurationError(
                f"{path} is neither a file nor a directory nor a link",
                advice="Remove it from the sample's folder.",
            )
    return content


def _files(folder: Path) -> Iterator[Path]:
    """Everything in a sample's folder but what an earlier build has left there, sorted."""
    for directory, names, files in os.walk(folder):
        here = Path(directory)
        ignored = LEFTOVERS(directory, [*names, *files])
        if here == folder:
            ignored |= set(TOP_LEFTOVERS)
        names[:] = sorted(name for name in names if name not in ignored)
        yield from (here / name for name in sorted({*names, *files} - ignored))


def recipe_texts() -> dict[str, str]:
    """The files that the builder's images are made from, by name."""
    return {
        f"{recipe}/{name}": text
        for recipe in ("builder", "builder-rust")
        for name, text in project.recipe(recipe).items()
    }


def uses_rust(system: BuildSystem) -> bool:
    """Whether a sample needs the Rust tool chain."""
    return any(canonicalize_name(Requirement(r).name) in RUST_USERS for r in system.requires)


def _build_wheels(
    lock: Lock, system: BuildSystem, python: str, host: Platform
) -> tuple[LockedWheel, ...]:
    """The wheels of build requirements and of what these need, each once."""
    found = [w for r in system.requires for w in lock.extension_wheels(r, python, host)]
    return tuple(dict.fromkeys(found))


@contextmanager
def _packed_inputs(
    folder: Path, system: BuildSystem, wheels: Mapping[str, Path]
) -> Iterator[IO[bytes]]:
    """A tar of what ``build.sh`` reads, as a stream."""
    with scratch.directory() as work, tempfile.TemporaryFile() as stream:
        project = work / "project"
        project.mkdir()
        for path in _files(folder):
            copy = project / path.relative_to(folder)
            if path.is_dir() and not path.is_symlink():
                copy.mkdir()
            else:
                shutil.copy2(path, copy, follow_symlinks=False)
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            archives.add_tree(tar, project, "in/project")
            requirements = "".join(f"{requirement}\n" for requirement in system.requires)
            archives.add_bytes(tar, "in/requirements.txt", requirements.encode())
            for name, path in sorted(wheels.items()):
                archives.add_bytes(tar, f"in/wheels/{name}", path.read_bytes())
        stream.seek(0)
        yield stream


def _rust_layer(host: Platform) -> Path:
    """A tar with rustc, cargo, Debian's crates, and Rust's standard library for each platform."""
    programs = ("./usr/bin/rustc", "./usr/bin/cargo")
    libraries = ("./usr/lib/rustlib/", "./usr/share/cargo/registry/")

    def wanted(name: str) -> bool:
        # Of the rest only the shared libraries: the base has it, or nothing here needs it.
        parent, _, file = name.rpartition("/")
        shared = parent == f"./usr/lib/{host.triplet}" and ".so" in file
        return name in programs or name.startswith(libraries) or shared

    def make(path: Path) -> None:
        cache.require_space(path.parent, RUST_SPACE)
        with tarfile.open(path, "w") as layer:
            for platform in Platform:
                native = platform is host
                chosen = RUST if native else ("libstd-rust-dev",)
                with tempfile.TemporaryDirectory(dir=path.parent) as work:
                    packed = Path(work) / "packages.tar"
                    debian.unpack(chosen, platform, packed, suite=debian.SUITE)
                    with tarfile.open(packed) as tar:
                        for member in tar:
                            if wanted(member.name) if native else member.name.startswith(libraries):
                                content = tar.extractfile(member) if member.isreg() else None
                                layer.addfile(member, content)

    key = cache.digest("rust", RECIPE, RUST, debian.SUITE, host)
    return cache.entry("rust-layers", key, make, suffix=".tar")
