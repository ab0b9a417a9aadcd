"""Debian's packages as files: unpacked for either platform, without running any of them.

mmdebstrap's ``extract`` variant resolves and unpacks packages for a foreign architecture in
seconds, and leaves the host's own apt sources alone.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from harness import cache, tools
from harness.errors import ToolError
from harness.platforms import Platform

SPACE = 700
"""Megabytes that unpacking a suite's packages may take while it runs."""

SUITE = "trixie"
"""Debian 13: where the replicas' CPython and the emulator come from."""


def unpack(packages: Sequence[str], platform: Platform, output: Path, *, suite: str) -> None:
    """Write a tar with the packages and all that they depend on, unpacked but not configured."""
    # apt waits for ever for its own helper when that runs out of space.
    cache.require_space(output.parent, SPACE)
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
            suite,
            output,
        ],
        doing=f"unpacking Debian {suite}'s packages for {platform}",
        # The same packages give the same bytes.
        environment={"SOURCE_DATE_EPOCH": "1735689600", "TMPDIR": str(output.parent)},
    )


def unpack_additional(
    packages: Sequence[str], platform: Platform, status: bytes, output: Path, *, suite: str
) -> None:
    """Write a tar with what packages bring that an image with this dpkg status does not have.

    ``status`` is the image's /var/lib/dpkg/status. apt resolves against it in a directory of its
    own; nothing is run, and the host's apt configuration is not touched.
    """
    work = output.parent / f"{output.name}.apt"
    for folder in ("lists/partial", "archives/partial", "etc", "tree"):
        (work / folder).mkdir(parents=True)
    (work / "status").write_bytes(status)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    mirror = os.environ.get("PBS_MATRIX_DEBIAN_MIRROR", "http://deb.debian.org/debian")
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
    apt = [
        tools.find("apt-get", advice="Adding packages to a pulled base image needs Debian's apt."),
        "-qq",
        "-y",
        "--no-install-recommends",
        "--download-only",
        *(f"-oAPT::Architectures={platform.debian}", f"-oAPT::Architecture={platform.debian}"),
        f"-oDir::Etc::SourceList={work / 'sources.list'}",
        f"-oDir::Etc::SourceParts={work / 'etc'}",
        f"-oDir::State::Lists={work / 'lists'}",
        f"-oDir::State::Status={work / 'status'}",
        f"-oDir::Cache={work}",
        f"-oDir::Cache::Archives={work / 'archives'}",
        "-oDebug::NoLocking=1",
        # The sandbox user could not read a directory below a private home.
        "-oAPT::Sandbox::User=root",
    ]
    try:
        doing = f"fetching Debian {suite}'s {', '.join(packages)} for {platform}"
        tools.run([*apt, "update"], doing=doing)
        tools.run([*apt, "install", *packages], doing=doing)
        for package in sorted((work / "archives").glob("*.deb")):
            tools.run(["dpkg-deb", "--extract", package, work / "tree"], doing=doing)
        with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(work / "tree", arcname=".", filter=_plain_owner)
    finally:
        shutil.rmtree(work, ignore_errors=True)


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

    return cache.entry("qemu", cache.digest("qemu", SUITE, platform, host), make)


def _mmdebstrap() -> str:
    return tools.find(
        "mmdebstrap",
        advice="Run `pbs-matrix doctor --fix` as root (it installs mmdebstrap from Debian).",
    )


def _plain_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = "root"
    return info
