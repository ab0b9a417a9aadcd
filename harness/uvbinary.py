"""uv itself: any version, for either platform, from its wheels; and what it says of itself."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from harness import cache, index, tools
from harness.errors import LockError, ToolError
from harness.lock import Lock, LockedDefault, LockedWheel
from harness.platforms import Platform


def fetch(wheel: LockedWheel) -> Path:
    """The uv program of a wheel, in the cache."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(index.fetch(wheel)) as archive:
            scripts = [n for n in archive.namelist() if n.endswith(".data/scripts/uv")]
            if len(scripts) != 1:
                raise ToolError(
                    f"{wheel.filename} holds no uv program",
                    advice="Run `pbs-matrix lock` to choose its wheel again.",
                )
            path.write_bytes(archive.read(scripts[0]))
        path.chmod(0o755)

    return cache.entry("uv", wheel.sha256, make)


def default_interpreter(program: Path, python: str, platform: Platform) -> LockedDefault:
    """What ``uv python install`` of this uv fetches for a platform, whatever the host.

    Asked of the program itself, offline: ``uv python list --only-downloads --show-urls``.
    """
    key = f"cpython-{python}-{platform.uv_python}"
    listing = tools.run(
        [
            *(program, "python", "list", "--only-downloads", "--show-urls", "--offline"),
            *("--no-config", "--output-format", "json", key),
        ],
        doing=f"asking uv for its {key}",
    )
    # Newest patch version first; the first is what an unqualified request installs.
    for found in json.loads(listing):
        if found["variant"] == "default" and found["url"]:
            release = re.search(r"/(\d{8})/", found["url"])
            if release:
                return LockedDefault(version=found["version"], release=release[1], url=found["url"])
    raise ToolError(
        f"{program} knows no download for {key}",
        advice="This uv version does not have that CPython for that platform: exclude it.",
    )


def verify(lock: Lock, uv: str, python: str, platform: Platform) -> None:
    """Ask the real uv again and compare with the lock; :class:`LockError` where they differ."""
    host = Platform.host() or platform
    said = default_interpreter(fetch(lock.uv_wheel(uv, host)), python, platform)
    locked = lock.default(uv, python, platform)
    if said != locked:
        raise LockError(
            f"matrix.lock says that uv {uv} installs CPython {locked.version} of release "
            f"{locked.release} on {platform}, but that uv says {said.version} of {said.release}",
            advice="Run `pbs-matrix lock` and look at the difference before you commit it.",
        )
