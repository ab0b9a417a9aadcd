"""A stand-in of the release downloads, filled with replicas under the published names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import yaml

from harness import index, locking, matrix, output, replica, uvbinary
from harness import lock as locks
from harness.flavours import Flavour
from harness.interpreters import Archive, provide
from harness.lock import Lock
from harness.matrix import Matrix
from harness.plan import Interpreter
from harness.platforms import Platform
from harness.sources import Source
from tests.integration.conftest import PROJECT
from tests.standin import Standin

UVS = ("0.7.5", "0.7.6", "0.7.7", "0.7.8", "0.7.9", "0.8.14", "0.11.0", "0.13.9")
"""Those of the incident, and three later ones; the last two name another host than GitHub."""


def matrix_for(folder: Path, uvs: Iterable[str], **changes: object) -> tuple[Path, Matrix, Lock]:
    """The project's matrix for other uv versions, with its lock, in a folder.

    Published archives bring their libraries along; replicas that are served in their place do not,
    so the bases get those.
    """
    text = yaml.safe_load((PROJECT / "matrix.yaml").read_text())
    text |= {"uv": list(uvs), **changes}
    for base in text["bases"].values():
        base["packages"] = [*base.get("packages", []), *replica.BASE_PACKAGES]
    # Nor are they miscompiled, and whatever else was wrong with the releases themselves.
    text["expectations"] = [e for e in text["expectations"] if e.get("source") != "upstream"]
    # What belongs to other profiles names uv versions that are not here.
    text["profiles"] = {"default": text["profiles"]["default"], **text.pop("more_profiles", {})}
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(text))
    read = matrix.load(path)
    project = locks.load(PROJECT / "matrix.lock")
    missing = [uv for uv in read.uv if uv not in project.uv]
    locked = project.model_copy(
        update={"uv": project.uv | {uv: locking.lock_uv(uv, read) for uv in missing}}
    )
    output.write(locks.path_for(path), locks.dump(locked).encode())
    return path, read, locked


def replica_of(release: str, platform: Platform) -> Archive:
    """What stands for a release."""
    asked = Interpreter(python="3.13", release=release, platform=platform, source=Source.REPLICA)
    return provide(asked)


def fill(standin: Standin, lock: Lock, uvs: Iterable[str]) -> dict[tuple[str, Platform], str]:
    """Serve what some uv versions install by default; the file names, by uv and platform."""
    names = {}
    for uv in uvs:
        for platform, default in lock.uv[uv].defaults["3.13"].items():
            name = unquote(default.url.rpartition("/")[2])
            standin.add(default.release, name, replica_of(default.release, platform).path)
            names[uv, platform] = name
    return names


def fill_release(standin: Standin, release: str, version: str, platform: Platform) -> str:
    """Serve a release's CPython as it would be named; the file's name."""
    name = f"cpython-{version}+{release}-{platform}-unknown-linux-gnu-{Flavour.STRIPPED}.tar.gz"
    standin.add(release, name, replica_of(release, platform).path)
    return name


def program(lock: Lock, uv: str) -> Path:
    """That uv for this machine."""
    host = Platform.host()
    assert host is not None
    return uvbinary.fetch(
        lock.uv_wheel(uv, host) if uv in lock.uv else index.find("uv", uv, "3.13", host)
    )
