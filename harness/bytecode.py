"""Bytecode of samples, made once, by a container's own interpreter.

Compiling a large module takes longer than all else about importing it, and many times longer under
emulation. Bytecode is the same for every platform; so an interpreter that runs natively compiles,
where there is one. It reads the samples' sources and runs none of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import docker
from docker.errors import NotFound

from harness import archives, cache, containers, engine
from harness.confinement import confinement
from harness.platforms import Platform
from harness.question import EXTENSIONS

RECIPE = 1
"""Counts up whenever this module makes other bytes from the same sources."""

SECONDS = 600
"""How long it may take."""

MOST_BYTES = 1 << 30

MEMORY = "1GiB"

COMMAND = (
    # Whether or not anybody waits for it.
    *("timeout", "--signal=KILL", str(SECONDS)),
    *("/opt/venv/bin/python", "-I", "-m", "compileall", "-q"),
    # Nobody changes the sources, and so nobody has to look whether they have changed.
    *("--invalidation-mode", "unchecked-hash", EXTENSIONS),
)


def added(
    tree: Path,
    python: str,
    image: str,
    platform: Platform,
    client: docker.DockerClient,
    *,
    run: str,
    owner: str,
) -> Path:
    """A sample's tree with its bytecode for a CPython, by the interpreter of an image.

    The tree itself where there is nothing to compile. Raises
    :class:`harness.errors.HarnessError` where the engine or the interpreter refuses.
    """
    site = tree / "site"
    if not any(site.rglob("*.py")):
        return tree

    def make(path: Path) -> None:
        # Whoever has a file of a cache entry never writes to it.
        shutil.copytree(tree, path, symlinks=True, copy_function=_link)
        doing = f"compiling the modules of {tree.name} for CPython {python}"
        with engine.asking(doing):
            _compile(path / "site", image, platform, client, run=run, owner=owner, doing=doing)

    key = cache.digest("bytecode", RECIPE, tree.name, python)
    return cache.entry("bytecode", key, make, check=cache.is_intact)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without them
        shutil.copy2(source, target)


def _compile(
    site: Path,
    image: str,
    platform: Platform,
    client: docker.DockerClient,
    *,
    run: str,
    owner: str,
    doing: str,
) -> None:
    container = client.containers.create(
        image, list(COMMAND), platform=platform.docker, **confinement(run, owner, memory=MEMORY)
    )
    try:
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
                archives.add_tree(tar, site, "site")
            containers.put(container, EXTENSIONS, packed)
        container.start()
        # A module that does not compile is one that raises when it is imported; that is found then.
        container.wait(timeout=SECONDS)
        with containers.taken(container, f"{EXTENSIONS}/site", most=MOST_BYTES, doing=doing) as tar:
            if tar is not None:
                _unpack(tar, site.parent)
    finally:
        with contextlib.suppress(NotFound):
            container.remove(force=True, v=True)


def _unpack(tar: tarfile.TarFile, parent: Path) -> None:
    """The bytecode in a tar of ``site``; nothing else of it."""
    for member in tar:
        path = PurePosixPath(member.name)
        if path.suffix != ".pyc" or path.parent.name != "__pycache__" or not member.isreg():
            continue
        stream = tar.extractfile(member)
        folder = parent / path.parent
        # Where its module is, and nowhere that a name or a link might lead to.
        if ".." in path.parts or not folder.parent.is_dir() or stream is None:
            continue
        if not folder.parent.resolve().is_relative_to(parent.resolve()):
            continue
        folder.mkdir(exist_ok=True)
        (folder / path.name).unlink(missing_ok=True)
        (folder / path.name).write_bytes(stream.read())
        for place, mode in ((folder, 0o755), (folder / path.name, 0o644)):
            place.chmod(mode)
