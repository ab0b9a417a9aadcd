"""What the loader finds in an image: its libraries, its cache, and what it was built with."""

from __future__ import annotations

import contextlib
import posixpath
import re
import tarfile
import tempfile
from functools import cache as cache_in_process
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from harness import cache, elf, inventory, ldcache, owner
from harness.loader.files import Files
from harness.loader.objects import Object, Unloadable
from harness.loader.process import System
from harness.platforms import Platform

if TYPE_CHECKING:
    import docker

RECIPE = 1
"""Counts up whenever this module finds other things in the same image."""

SYSTEM = TypeAdapter(System)

LOADERS = {
    Platform.X86_64: "/lib64/ld-linux-x86-64.so.2",
    Platform.AARCH64: "/lib/ld-linux-aarch64.so.1",
}
CACHE = "etc/ld.so.cache"

MAX_FILE = 512 << 20
"""Bytes of the largest file that is read."""


def of_image(client: docker.DockerClient, image: str, platform: Platform) -> Path:
    """A file with the :class:`System` of an image, from the cache or made now.

    ``image`` is its id. The loader itself is asked what it was built with (``--list-diagnostics``,
    from glibc 2.33 on); all else is read from the image's files. Raises
    :class:`harness.errors.HarnessError` where the engine refuses.
    """

    def make(path: Path) -> None:
        path.write_bytes(SYSTEM.dump_json(_look(client, image, platform)))

    # The emulated CPU of a foreign platform is the same everywhere; one's own may not be.
    key = cache.digest("system", RECIPE, image, platform)
    return cache.entry("systems", key, make, suffix=".json", check=cache.is_intact)


@cache_in_process
def load(path: Path) -> System:
    """Read what :func:`of_image` has made."""
    return SYSTEM.validate_json(path.read_bytes())


def _look(client: docker.DockerClient, image: str, platform: Platform) -> System:
    # Only here: most processes read what was found before, and know no engine.
    import requests
    from docker.errors import DockerException

    from harness import engine
    from harness.confinement import confinement

    doing = f"looking at the libraries of an image for {platform}"
    with engine.asking(doing):
        # Labelled like a cell's, so that it is reaped like one should this process die here.
        container = client.containers.create(
            image,
            [LOADERS[platform], "--list-diagnostics"],
            platform=platform.docker,
            **confinement("reader", owner.this_process(), memory="1GiB"),
        )
        try:
            container.start()
            container.wait(timeout=60)
            said = container.logs(stdout=True, stderr=False).decode("utf-8", "replace")
            with tempfile.TemporaryFile() as packed:
                for chunk in container.export():
                    packed.write(chunk)
                packed.seek(0)
                with tarfile.open(fileobj=packed) as tar:
                    return system(said, tar, platform)
        finally:
            # Else whoever runs next removes it.
            with contextlib.suppress(DockerException, requests.RequestException):
                container.remove(force=True)


def system(diagnostics: str, tar: tarfile.TarFile, platform: Platform) -> System:
    """The system in an image, by what its loader says of itself and by its files."""
    values = dict(re.findall(r'^([\w.\[\]]+)="(.*)"$', diagnostics, re.MULTILINE))
    directories = tuple(
        value.rstrip("/")
        for key, value in values.items()
        if re.fullmatch(r"path\.system_dirs\[0x\w+\]", key)
    )
    active = re.search(r"^dl_hwcaps_subdirs_active=0x(\w+)$", diagnostics, re.MULTILINE)
    mask = int(active[1], 16) if active else 0
    names = [name for name in values.get("dl_hwcaps_subdirs", "").split(":") if name]
    subdirectories = tuple(
        f"glibc-hwcaps/{name}" for number, name in enumerate(names) if mask >> number & 1
    )
    architecture = platform.architecture
    members = {f"/{member.name.strip('/')}": member for member in tar}
    links = {path: member.linkname for path, member in members.items() if member.issym()}
    kept = tar.extractfile(members[f"/{CACHE}"]) if f"/{CACHE}" in members else None
    noted = ldcache.parse(kept.read(), architecture, subdirectories) if kept else {}
    wanted = {*directories, *(posixpath.dirname(p) for paths in noted.values() for p in paths)}
    everything = Files(files=dict.fromkeys(members, Unloadable(problem="")), links=links)
    folders = {everything.real_directory(directory) for directory in wanted}
    folders.add(everything.real_directory(posixpath.dirname(LOADERS[platform])))
    files: dict[str, Object | Unloadable] = {}
    twins: dict[str, str] = {}
    for path, member in members.items():
        if posixpath.dirname(path) not in folders or ".so" not in posixpath.basename(path):
            continue
        if member.islnk():
            twins[path] = f"/{member.linkname.strip('/')}"
            member = members.get(twins[path], member)
        if member.isreg() and member.size <= MAX_FILE:
            found = elf.read_object(inventory.content(tar, member))
            files[path] = found or Unloadable(problem=elf.NO_ELF)
    return System(
        files=Files(files=files, links=links, twins=twins),
        directories=directories,
        cache=noted,
        subdirectories=subdirectories,
        lib=values.get("dl_dst_lib", "lib"),
        platform=values.get("dl_platform", ""),
    )
