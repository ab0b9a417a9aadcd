"""harness/data/uv_releases.tsv, made from what uv itself says.

    python -m tests.uv_releases PROGRAM...

asks each of the uv programs given which release it would install on every Linux platform, without
a network, and writes the table. Give at least the versions that the table names (``# Asked:``);
those between which something changes must be neighbours.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.check import builds
from harness.check.builds import Libc, Python

TABLE = Path(builds.__file__).parent / "data" / "uv_releases.tsv"
PLATFORMS = (
    "x86_64-gnu",
    "aarch64-gnu",
    "x86_64-musl",
    "aarch64-musl",
    "armv7-gnueabihf",
    "armv7-musl",
    "x86-gnu",
    "powerpc64le-gnu",
    "s390x-gnu",
    "riscv64-gnu",
    "riscv64-musl",
)
VARIANTS = {"": "", "t": "+freethreaded", "d": "+debug", "td": "+freethreaded+debug"}
HEAD = """\
# Which release `uv python install 3.X` fetches on Linux by default, as each uv itself says
# (`uv python list --only-downloads --show-urls --offline`). A row holds from its uv on until the
# next row of the same platform and CPython. Only those rows are here with which the way changes
# in which libpython is linked, or with which a CPython appears or (-) is no longer offered.
# Made by `python -m tests.uv_releases PROGRAM...`.
# Asked: {asked}
platform\tpython\tuv\trelease
"""

Offers = dict[tuple[str, Python], str]


def ask(program: Path) -> tuple[str, Offers]:
    """The version of a uv program, and the release it installs by platform and CPython."""
    version = _said(program, "--version").split()[1]
    offers: Offers = {}
    for platform in PLATFORMS:
        for minor in range(builds.OLDEST, builds.NEWEST + 1):
            for flags, variant in VARIANTS.items():
                wanted = f"cpython-3.{minor}{variant}-linux-{platform}"
                said = _said(
                    program,
                    *("python", "list", "--only-downloads", "--show-urls", "--offline"),
                    *("--no-config", wanted),
                )
                if found := re.search(r"/download/(\d{8})/", said):
                    offers[platform, Python(minor, flags)] = found[1]
    return version, offers


def table(asked: Iterable[tuple[str, Offers]]) -> str:
    """The text of the table."""
    ordered = sorted(asked, key=lambda one: builds.version_key(one[0]))
    keys = dict.fromkeys(key for _, offers in ordered for key in offers)
    rows = []
    for platform, python in sorted(keys, key=lambda key: (PLATFORMS.index(key[0]), key[1])):
        libc = Libc.MUSL if platform.endswith("musl") else Libc.GLIBC
        before: object = "nothing"
        for version, offers in ordered:
            release = offers.get((platform, python))
            model = builds.model_of(release, libc) if release else "nothing"
            if model != before:
                rows.append(f"{platform}\t{python}\t{version}\t{release or '-'}\n")
            before = model
    return HEAD.format(asked=" ".join(version for version, _ in ordered)) + "".join(rows)


def _said(program: Path, *arguments: str) -> str:
    return subprocess.run(
        [program, *arguments], check=False, capture_output=True, text=True, timeout=60
    ).stdout


if __name__ == "__main__":
    made = table(ask(Path(argument)) for argument in sys.argv[1:])
    TABLE.write_text(made, encoding="utf-8")
    print(f"wrote {TABLE}: {made.count(chr(10))} lines")
