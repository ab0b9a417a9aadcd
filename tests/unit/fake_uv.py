"""A program that answers as some uv does, as far as it is asked here."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

GITHUB = "https://github.com/astral-sh/python-build-standalone/releases/download"

_PROGRAM = """\
#!{python}
import json, os, pathlib, sys
said = json.loads({said!r})
log = pathlib.Path({log!r})
with log.open("a") as stream:
    stream.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
if sys.argv[1:3] == ["python", "list"]:
    if said["listing"] is None:
        sys.exit("error: unexpected argument '--all-arches' found")
    print(json.dumps(said["listing"]))
    sys.exit(0)
key = sys.argv[-1]
answer = said["install"].get(key, "error: No download found for request: " + key)
mirror = os.environ.get("UV_PYTHON_INSTALL_MIRROR", "")
for path in pathlib.Path(mirror.removeprefix("file://")).rglob("*.tar.*") if mirror else ():
    log.with_suffix(".archive").write_bytes(path.read_bytes())
    log.with_suffix(".name").write_text(f"{{path.parent.name}}/{{path.name}}")
if answer == "unpack":
    folder = pathlib.Path(os.environ["UV_PYTHON_INSTALL_DIR"], key)
    folder.mkdir(parents=True)
    import tarfile
    with tarfile.open(path) as tar:
        tar.extractall(folder)
    answer = "error: failed to create file EXTERNALLY-MANAGED"
if answer is None:
    sys.exit(0)
sys.exit(answer)
"""


def entry(key: str, url: str | None) -> dict[str, object]:
    """An object of ``uv python list --output-format json``."""
    name, version, *_ = key.split("-")
    return {"key": key, "version": version.split("+")[0], "implementation": name, "url": url}


def published(version: str, release: str, tail: str, *, variant: str = "") -> dict[str, object]:
    """An archive of python-build-standalone for ``linux-x86_64-gnu`` or such."""
    _, arch, libc = tail.split("-")
    name = f"cpython-{version}%2B{release}-{arch}-unknown-linux-{libc}-install_only_stripped.tar.gz"
    return entry(f"cpython-{version}{variant}-{tail}", f"{GITHUB}/{release}/{name}")


def text(
    log: Path,
    listing: list[dict[str, object]] | None,
    install: Mapping[str, str | None] | None = None,
) -> str:
    """The program's source. ``listing`` None: it is too old to be asked.

    ``install``: by key, what it says on its way out; None: nothing, "unpack": it takes what is on
    the mirror.
    """
    said = json.dumps({"listing": listing, "install": dict(install or {})})
    return _PROGRAM.format(python=sys.executable, said=said, log=str(log))


def make(
    folder: Path,
    listing: list[dict[str, object]] | None,
    install: Mapping[str, str | None] | None = None,
) -> Path:
    """The program, with what it was asked in ``asked.jsonl`` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "uv"
    program.write_text(text(folder / "asked.jsonl", listing, install))
    program.chmod(0o755)
    return program


def asked(folder: Path) -> list[tuple[list[str], dict[str, str]]]:
    """Arguments and environment of each call."""
    path = folder / "asked.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(arguments, environment) for arguments, environment in map(json.loads, lines)]
