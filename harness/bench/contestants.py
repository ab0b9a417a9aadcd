"""The two interpreters that are compared: chosen, made, and installed by uv on the same base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import docker

from harness import engine, interpreters, replica, routes, uvbinary
from harness.bench import pair, suite
from harness.bench.suite import Benchmark, Clock, Effort, Pair, Side
from harness.errors import SelectionError
from harness.image import Image
from harness.images import Images
from harness.interpreters import Archive
from harness.lock import Lock, LockedDefault
from harness.matrix import Matrix
from harness.mirror import Mirror
from harness.plan import Environment, Interpreter
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.sources import Source

Say = Callable[[str], None]

PYTHON = replica.PYTHON

RELEASES = {Side.SHARED: "20250409", Side.STATIC: "20250517"}
"""The last release with a shared libpython, and the first with a static one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure."""

    matrix: Matrix
    lock: Lock
    source: Source = Source.REPLICA
    pair: Pair = Pair.OBJECTS
    """Which replicas; of no meaning for published releases."""
    releases: Mapping[Side, str] = field(default_factory=lambda: RELEASES)
    """Which releases; of no meaning for replicas."""
    platform: Platform | None = None
    """None: the engine's own."""
    mirror: Mirror = field(default_factory=Mirror)
    """Where published archives are."""
    base: str = "debian13"
    effort: Effort = field(default_factory=Effort)
    benchmarks: tuple[Benchmark, ...] = suite.SUITE
    clock: Clock = Clock.CPU


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """An interpreter that uv has installed in an image."""

    interpreter: Interpreter
    archive: Archive
    image: Image


def require_native(wanted: Platform | None, client: docker.DockerClient) -> Platform:
    """The engine's platform; :class:`SelectionError` where another one is asked for."""
    with engine.asking("asking the engine what it runs on"):
        said = str(client.version().get("Arch"))
    native = next((platform for platform in Platform if platform.debian == said), None)
    if native is None:
        raise SelectionError(
            f"the engine runs on {said}, for which there are no interpreters here",
            advice=f"Use an engine on {' or '.join(Platform)}.",
        )
    if wanted not in (None, native):
        raise SelectionError(
            f"{wanted} is not what the engine runs on ({native}): under emulation this would "
            "measure the emulator",
            advice=f"Run it on an {wanted} machine, or leave --platform out.",
        )
    return native


def prepare(
    request: Request, platform: Platform, uv: str, client: docker.DockerClient, say: Say
) -> tuple[dict[Side, Entrant], Image]:
    """Both interpreters, installed by uv in images on the same base."""
    try:
        base = request.matrix.bases[request.base]
    except KeyError:
        raise SelectionError(
            f"the matrix has no base {request.base!r}",
            advice=f"Its bases are: {', '.join(request.matrix.bases)}.",
        ) from None
    chosen = {side: _interpreter(request, side, platform) for side in Side}
    versions = [known.version for i in chosen.values() if (known := i.default)]
    if len(set(versions)) > 1:
        raise SelectionError(
            f"CPython {' and '.join(versions)} differ in more than in how they are linked",
            advice="Choose two releases with the same CPython version.",
        )
    made = {side: _archive(request, interpreter) for side, interpreter in chosen.items()}
    for side, archive in made.items():
        say(f"{side}: {archive.name}")
    images = Images(client)
    packages = {*base.packages, *interpreters.base_packages(request.source)}
    base_image = images.base(request.base, base, platform, tuple(sorted(packages)))
    wheel = request.lock.uv_wheel(uv, platform)
    program = uvbinary.fetch(wheel)
    entrants = {}
    for side, interpreter in chosen.items():
        environment = Environment(uv=uv, interpreter=interpreter, base=request.base)
        # The lock may know the release by another uv than this.
        given = replace(interpreter, default=None)
        installation = routes.choose(uv, given, made[side], program, trusts_mirror=False)
        image = images.environment(
            environment, base_image, made[side], installation, program, wheel.sha256
        )
        entrants[side] = Entrant(interpreter=interpreter, archive=made[side], image=image)
    return entrants, base_image


def _interpreter(request: Request, side: Side, platform: Platform) -> Interpreter:
    """What a side is, or what it stands for."""
    default: LockedDefault | None
    match request.source:
        case Source.UPSTREAM:
            release = request.releases[side]
            default = _published(request.lock, release, platform)
        case Source.REPLICA:
            release, default = RELEASES[side], None
        case _:
            assert_never(request.source)
    interpreter = Interpreter(
        python=PYTHON,
        release=release,
        platform=platform,
        source=request.source,
        default=default,
    )
    if (interpreter.link_model is LinkModel.SHARED) != (side is Side.SHARED):
        raise SelectionError(
            f"release {release} is {interpreter.link_model}, so it cannot be the {side} one",
            advice="docs/verdicts.md has the releases' link models.",
        )
    return interpreter


def _archive(request: Request, interpreter: Interpreter) -> Archive:
    if request.source is Source.UPSTREAM:
        archive = interpreters.provide(interpreter, request.mirror)
        # Before uv unpacks it: it is a stranger's.
        interpreters.look_into(archive)
        return archive
    match request.pair:
        case Pair.OBJECTS:
            made = pair.provide(PYTHON, interpreter.platform, interpreter.link_model)
            return interpreters.of_replica(made)
        case Pair.DEBIAN:
            return interpreters.provide(interpreter)
        case _:
            assert_never(request.pair)


def _published(lock: Lock, release: str, platform: Platform) -> LockedDefault:
    """A release's archive, from what the locked uv versions say of it."""
    known = {
        default.release: default
        for locked in lock.uv.values()
        if (default := locked.defaults.get(PYTHON, {}).get(platform))
    }
    try:
        return known[release]
    except KeyError:
        raise SelectionError(
            f"matrix.lock knows no release {release} with CPython {PYTHON} on {platform}",
            advice=f"It knows {', '.join(sorted(known))}; a uv version that installs another one "
            "can be added to matrix.yaml and locked (`pbs-matrix lock`).",
        ) from None
