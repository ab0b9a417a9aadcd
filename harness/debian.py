"""Debian's packages as files: unpacked for either platform, without running any of them.

mmdebstrap's ``extract`` variant resolves and unpacks packages for a foreign architecture in
seconds, and leaves the host's own apt sources alone.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import cache, tools
from harness.errors import ToolError
from harness.platforms import Platform

MIRROR_VARIABLE = "PBS_MATRIX_DEBIAN_MIRROR"
"""Environment variable that names a Debian mirror."""

LOADER_CONFIGURATION = tuple(f"./etc/ld.so.conf.d/{platform.triplet}.conf" for platform in Platform)
"""What packages bring outside /usr and the loader reads."""

SPACE = 700
"""Megabytes that unpacking a suite's packages may take while it runs."""

SUITE = "trixie"
"""Debian 13: where the replicas' CPython and the emulator come from."""


def unpack(
    packages: Sequence[str],
    platform: Platform,
    output: Path,
    *,
    suite: str,
    installed: bytes | None = None,
) -> None:
    """Write a tar with packages and all that they depend on, unpacked but not configured.

    ``installed`` is the /var/lib/dpkg/status of an image: what it has is left out, and so is what
    mmdebstrap itself puts into a new root, so that the tar can be laid over the image.
    """
    # apt waits for ever for its own helper when that runs out of space.
    cache.require_space(output.parent, SPACE)
    with tempfile.TemporaryDirectory(dir=output.parent) as work:
        root, status = Path(work) / "root.tar", Path(work) / "status"
        hook = []
        if installed is not None:
            status.write_bytes(installed)
            hook = [f"--setup-hook=cp '{status}' \"$1\"/var/lib/dpkg/status"]
        tools.run(
            [
                _mmdebstrap(),
                "--quiet",
                "--variant=extract",
                f"--architectures={platform.debian}",
                f"--include={','.join(packages)}",
                # Files that nothing here reads.
                "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                *hook,
                suite,
                root,
                # Without one, mmdebstrap knows the distribution's own.
                *filter(None, [os.environ.get(MIRROR_VARIABLE)]),
            ],
            doing=f"unpacking Debian {suite}'s packages for {platform}",
            # The same packages give the same bytes.
            environment={"SOURCE_DATE_EPOCH": "1735689600", "TMPDIR": work},
            bound=True,
        )
        if installed is None:
            root.rename(output)
            return
        with tarfile.open(root) as whole, tarfile.open(output, "w") as overlay:
            for member in whole:
                if member.name.startswith("./usr/") or member.name in LOADER_CONFIGURATION:
                    overlay.addfile(member, whole.extractfile(member) if member.isreg() else None)


def fetch_qemu(platform: Platform) -> Path:
    """A statically linked QEMU user emulator of Debian 13 for a foreign platform, in the cache.

    Debian 12's own QEMU 7.2 takes about four times as long for the same import.
    """
    host = Platform.host()
    if host is None:
        raise ToolError(
            "Debian has no emulator for this machine's architecture",
            advice="Register a QEMU user emulator by hand, with the flag F.",
        )

    def make(path: Path) -> None:
        tar_path = path.with_suffix(".tar")
        unpack(["qemu-user"], host, tar_path, suite=SUITE)
        with tarfile.open(tar_path) as tar:
            member = tar.extractfile(f"./usr/bin/qemu-{platform}")
            if member is None:
                raise ToolError(
                    f"Debian {SUITE}'s qemu-user has no qemu-{platform}",
                    advice="Register a QEMU user emulator by hand, with the flag F.",
                )
            with path.open("wb") as stream:
                shutil.copyfileobj(member, stream)
        tar_path.unlink()
        path.chmod(0o755)

    # It will run as root, for every container of that platform.
    key = cache.digest("qemu", SUITE, platform, host)
    return cache.entry("qemu", key, make, check=cache.is_intact)


def _mmdebstrap() -> str:
    return tools.find(
        "mmdebstrap",
        advice="Run `pbs-matrix doctor --fix` as root (it installs mmdebstrap from Debian).",
    )
