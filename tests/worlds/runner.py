"""What runs in the container: lays out one world after the other, and has the real loader load it.

``runner.py PLAN``: one JSON object for each world on a line of the plan, one for each on the
output. The files to be laid out are in the directory of the plan. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/w")
CONFIGURATION = Path("/etc/ld.so.conf.d/worlds.conf")
LIMIT = 60
"""Seconds that a program may take."""

REGULAR = "file"


def seen(directories: Iterable[str | Path]) -> dict[str, str]:
    """Every path below some directories: what a link holds, or :data:`REGULAR`."""
    found = {}
    for directory in directories:
        for path in Path(directory).rglob("*"):
            if path.is_symlink():
                found[str(path)] = os.readlink(path)  # noqa: PTH115 - as it stands there
            elif path.is_file():
                found[str(path)] = REGULAR
    return found


def made(path: str) -> Path:
    """The path, its directory made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


def lay_out(world: dict[str, Any], store: Path) -> None:
    """Put a world's files where they belong."""
    for folder in world["folders"]:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for path, name in world["files"].items():
        (store / name).rename(made(path))
    for path, target in world["links"].items():
        made(path).symlink_to(target)
    for path, original in world["twins"].items():
        made(path).hardlink_to(original)


def ldconfig() -> None:
    """Write ld.so.cache anew. It complains of what is no library, and goes on."""
    subprocess.run(["/sbin/ldconfig"], stderr=subprocess.DEVNULL, check=True)


def cached() -> list[str]:
    """Lines of ld.so.cache as ldconfig prints it."""
    done = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, check=True)
    return [line.strip() for line in done.stdout.decode().splitlines()[1:]]


def configure(
    world: dict[str, Any], before: dict[str, str], noted: frozenset[str]
) -> dict[str, Any]:
    """Run ldconfig, and say what that changed: it makes, moves and removes links."""
    CONFIGURATION.write_text("".join(f"{line}\n" for line in world["configured"]))
    ldconfig()
    lines = [line for line in cached() if line not in noted]
    for path in world["removed"]:
        Path(path).unlink()
    now = seen([ROOT, *world["system"]])
    planned = {**before, **dict.fromkeys([*world["files"], *world["twins"]], REGULAR)}
    planned.update(world["links"])
    links = {p: t for p, t in now.items() if t != REGULAR and planned.get(p) != t}
    return {"cache": lines, "links": links, "removed": [p for p in planned if p not in now]}


def load(world: dict[str, Any], before: dict[str, str], noted: frozenset[str]) -> dict[str, Any]:
    """What became of a world."""
    changes: dict[str, Any] = {"cache": [], "links": {}, "removed": []}
    if world["runs_ldconfig"]:
        changes = configure(world, before, noted)
    done = subprocess.run(
        [world["program"], *world["arguments"]],
        cwd=world["directory"],
        env=world["environment"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return {
        "seed": world["seed"],
        **changes,
        "exit_code": done.returncode,
        "output": done.stdout.decode(errors="replace"),
        "errors": done.stderr.decode(errors="replace"),
    }


def clean(world: dict[str, Any], before: dict[str, str]) -> None:
    """As if the world had never been."""
    shutil.rmtree(ROOT)
    for path in seen(world["system"]):
        if path not in before:
            Path(path).unlink()
    for directory in world["system"]:
        shutil.rmtree(Path(directory) / "glibc-hwcaps", ignore_errors=True)
    if world["runs_ldconfig"]:
        CONFIGURATION.unlink()
        ldconfig()


def answers(plan: Path) -> Iterator[dict[str, Any]]:
    """What became of every world of a plan."""
    noted = frozenset(cached())
    before: dict[str, str] = {}
    for line in plan.read_text().splitlines():
        world = json.loads(line)
        before = before or seen(world["system"])
        lay_out(world, plan.parent)
        try:
            yield load(world, before, noted)
        finally:
            clean(world, before)


for answer in answers(Path(sys.argv[1])):
    print(json.dumps(answer), flush=True)
