"""Making everything that a run needs, on the host, before its first cell.

All that downloads happens here, all that is cached is used, and what fails makes the cells that
need it untestable instead of ending the run; only when nothing at all is left to test does it end.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from harness import (
    binfmt,
    bytecode,
    containers,
    engine,
    extensions,
    imagestorage,
    interpreters,
    routes,
    systems,
    uvbinary,
)
from harness.builder import Builder
from harness.errors import (
    DiskFullError,
    EmulationMissingError,
    EngineMissingError,
    HarnessError,
    LockError,
    NotOfferedError,
)
from harness.extensions import NothingToDo
from harness.flavours import Flavour
from harness.image import Image, Origin
from harness.images import Images
from harness.interpreters import Archive
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Stage
from harness.plan import Cell, Environment, Interpreter, environments, tree_name
from harness.platforms import Platform
from harness.prepared import (
    Prepared,
    PreparedEnvironment,
    PreparedExtension,
    PreparedInterpreter,
    extension_key,
)
from harness.progress import SILENT, Progress
from harness.resolution import Resolution
from harness.sources import Source

Say = Callable[[str], None]

ENDS_THE_RUN = (DiskFullError, EngineMissingError, LockError)
"""Nothing that follows one of these could succeed, or be believed."""


def prepare(
    cells: tuple[Cell, ...],
    matrix: Matrix,
    lock: Lock,
    client: docker.DockerClient,
    *,
    run: str,
    owner: str,
    beside: Path,
    say: Say,
    resolution: Resolution | None = None,
    progress: Progress = SILENT,
    images: Images | None = None,
) -> Prepared:
    """Make or find everything that some applicable cells need.

    ``beside`` is the matrix file's directory; ``resolution`` says where published archives are.
    ``images`` are those of an earlier call, which knows by now whether a registry answers.
    """
    limit, reserve = imagestorage.limit(), imagestorage.reserve()
    platforms = {cell.environment.interpreter.platform for cell in cells}
    check_emulation(platforms, client)
    if engine.lacks_limits(client):
        say(
            "the engine keeps to no limits of memory and processes (as without root under cgroup "
            f"v1): a cell that takes more than {matrix.limits.memory} is not ended"
        )
    if dead := containers.reap_dead(client):
        say(f"removed {dead} containers that a dead run had left")
    imagestorage.make_room(client, reserve, say)
    workers = max(2, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            with engine.asking("preparing"):
                prepared = _prepare(
                    cells,
                    matrix,
                    lock,
                    images or Images(client),
                    pool,
                    run=run,
                    owner=owner,
                    beside=beside,
                    say=say,
                    resolution=resolution or Resolution(source=Source.REPLICA),
                    progress=progress,
                )
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    imagestorage.hold(client, limit, say)
    return prepared


def check_emulation(platforms: Iterable[Platform], client: docker.DockerClient) -> None:
    """Raise :class:`EmulationMissingError` where the engine could not run a platform's programs.

    Only a local engine can be looked at; a remote one shows it when its first image is built, and
    what cannot be built there is untestable.
    """
    if not engine.is_here(client):
        return
    for platform in sorted(platforms):
        if not binfmt.can_run(platform):
            raise EmulationMissingError(
                f"cells for {platform} were selected, but this machine has no emulator for it "
                "that works in containers (binfmt_misc with QEMU and the flag F)",
                advice="Run `pbs-matrix doctor --fix` as root, or leave them out with "
                f"--platform {Platform.host() or 'x86_64'}.",
            )


def _prepare(
    cells: tuple[Cell, ...],
    matrix: Matrix,
    lock: Lock,
    images: Images,
    pool: ThreadPoolExecutor,
    *,
    run: str,
    owner: str,
    beside: Path,
    say: Say,
    resolution: Resolution,
    progress: Progress,
) -> Prepared:
    all_environments = environments(cells)
    builder = Builder(images, lock, run=run, owner=owner)
    made_extensions = {extension_key(tree_name(cell), cell.environment): cell for cell in cells}
    failures: list[HarnessError] = []
    extension_jobs = {
        key: pool.submit(_extension, cell, lock, beside, builder, failures)
        for key, cell in made_extensions.items()
    }
    archive_jobs = {
        interpreter: pool.submit(
            interpreters.provide, interpreter, resolution.mirror, progress=progress
        )
        for interpreter in dict.fromkeys(
            i
            for e in all_environments
            for i in (e.interpreter, *([e.upgrade.interpreter] if e.upgrade else []))
        )
    }
    base_jobs = {}
    for environment in all_environments:
        key = _base_key(environment, matrix)
        if key not in base_jobs:
            base_jobs[key] = pool.submit(images.base, key[0], matrix.bases[key[0]], *key[1:])
    for (base, platform, _), job in base_jobs.items():
        if job.exception() is None:
            how = {
                Origin.PULLED: "pulled from the registry",
                Origin.BUILT: "built from Debian packages",
            }[job.result().origin]
            say(f"base image {base} for {platform}: {how}")
    if images.registry_problem:
        say(f"no registry gave the base images ({images.registry_problem})")

    counter = iter(range(1, len(all_environments) + 1))

    def make_environment(environment: Environment) -> PreparedEnvironment:
        start = time.monotonic()
        base = base_jobs[_base_key(environment, matrix)]
        made = _environment(
            environment,
            images,
            lock,
            base.result,
            lambda interpreter: archive_jobs[interpreter].result(),
            failures,
            trusts_mirror=resolution.trusts_mirror,
        )
        made = made.model_copy(update={"seconds": round(time.monotonic() - start, 3)})
        counted = f"[{next(counter)}/{len(all_environments)}] image {environment.id}"
        if made.not_applicable:
            say(f"{counted}: not applicable: {made.problem}")
        elif made.image is None:
            say(f"{counted}: untestable ({made.failed_stage}): {made.problem}")
        else:
            say(f"{counted}: ready in {made.seconds:.1f} s")
        return made

    # Emulated builds take longest, so they go first.
    native = engine.platform(images.client)
    ordered = sorted(all_environments, key=lambda e: e.interpreter.platform is native)
    made = dict(zip(ordered, pool.map(make_environment, ordered), strict=True))
    prepared_extensions = {key: job.result() for key, job in extension_jobs.items()}
    compilers = _compilers(made, native)
    compiling = {
        key: pool.submit(
            _with_bytecode,
            extension,
            compilers.get(made_extensions[key].environment.interpreter.python),
            images.client,
            run,
            owner,
        )
        for key, extension in prepared_extensions.items()
    }
    prepared_extensions = {key: job.result() for key, job in compiling.items()}
    for wanted, extension in prepared_extensions.items():
        if extension.tree is None:
            verdict = "not applicable" if extension.not_applicable else "untestable"
            say(f"extension {wanted}: {verdict}: {extension.problem}")
    if failures and not any(
        made[cell.environment].image
        and prepared_extensions[extension_key(tree_name(cell), cell.environment)].tree
        for cell in cells
    ):
        # One message instead of one for each cell.
        raise failures[0]
    return Prepared(
        run=run,
        owner=owner,
        engine_version=engine.describe(images.client),
        emulators={
            str(platform): emulator(platform, images.client)
            for platform in dict.fromkeys(e.interpreter.platform for e in all_environments)
        },
        environments={environment.id: result for environment, result in made.items()},
        extensions=prepared_extensions,
        wanted={
            environment.id: tuple(
                sorted({tree_name(c) for c in cells if c.environment == environment})
            )
            for environment in all_environments
        },
    )


def _compilers(
    made: Mapping[Environment, PreparedEnvironment], native: Platform | None
) -> dict[str, tuple[Environment, PreparedEnvironment]]:
    """An environment for each CPython, to compile with; one that runs natively, if there is any.

    Not of those that a newer uv has changed, which may have no interpreter that works.
    """
    found: dict[str, tuple[Environment, PreparedEnvironment]] = {}
    for environment, there in made.items():
        if there.image is None or environment.upgrade:
            continue
        python = environment.interpreter.python
        if python not in found or environment.interpreter.platform is native:
            found[python] = environment, there
    return found


def _with_bytecode(
    extension: PreparedExtension,
    compiler: tuple[Environment, PreparedEnvironment] | None,
    client: docker.DockerClient,
    run: str,
    owner: str,
) -> PreparedExtension:
    """A sample with its bytecode, if that can be had; without, all is the same, and slower."""
    if extension.tree is None or compiler is None:
        return extension
    environment, there = compiler
    assert there.image is not None  # else it would be no compiler
    interpreter = environment.interpreter
    with contextlib.suppress(HarnessError):
        tree = bytecode.added(
            extension.tree,
            interpreter.python,
            there.image.tag,
            interpreter.platform,
            client,
            run=run,
            owner=owner,
        )
        return extension.model_copy(update={"tree": tree})
    return extension


def surprises(cells: Iterable[Cell], prepared: Prepared) -> list[str]:
    """Sentences on the published interpreters that are not what their releases should have.

    Those that are linked otherwise than the table of releases says, and those that are another
    CPython than their names do.
    """
    said = {}
    for environment in environments(tuple(cells)):
        interpreter = environment.interpreter
        found = prepared.environments[environment.id].interpreter
        if interpreter.source is not Source.UPSTREAM or found is None:
            continue
        inside = found.inside
        if inside.misnamed and not inside.is_replica:
            said[interpreter, inside.misnamed] = (
                f"{found.archive} is CPython {inside.version} inside"
            )
        if inside.linked is interpreter.link_model or interpreter.flavour is Flavour.MUSL:
            continue
        what = f"{inside.linked}" if inside.linked else "in a way that is not known here"
        said[interpreter, ""] = (
            f"{found.archive} is linked {what} ({inside.linked_because}), but the table of "
            f"releases says {interpreter.link_model}: this is news, or "
            "harness/data/link_models.tsv is wrong"
        )
    return list(said.values())


def emulator(platform: Platform, client: docker.DockerClient) -> str | None:
    """Version of the QEMU that runs a platform for an engine; None where it runs natively.

    ``unknown`` where that cannot be seen from here: what has been registered here says nothing of
    an engine on another machine.
    """
    if platform is engine.platform(client):
        return None
    if not engine.is_here(client):
        return "unknown"
    handler = binfmt.find_handler(platform)
    version = binfmt.qemu_version(handler.interpreter) if handler else None
    return ".".join(map(str, version)) if version else "unknown"


def _base_key(environment: Environment, matrix: Matrix) -> tuple[str, Platform, tuple[str, ...]]:
    packages = {
        *matrix.bases[environment.base].packages,
        *environment.packages,
        *interpreters.base_packages(environment.interpreter.source),
    }
    return environment.base, environment.interpreter.platform, tuple(sorted(packages))


def _extension(
    cell: Cell, lock: Lock, beside: Path, builder: Builder, failures: list[HarnessError]
) -> PreparedExtension:
    try:
        installed = extensions.provide(cell, lock, beside, builder.wheel)
    except ENDS_THE_RUN:
        raise
    except NothingToDo as reason:
        return PreparedExtension(problem=str(reason), not_applicable=True)
    except HarnessError as error:
        failures.append(error)
        return PreparedExtension(problem=error.problem)
    return PreparedExtension(tree=installed.tree, wheels=installed.wheels)


def _environment(
    environment: Environment,
    images: Images,
    lock: Lock,
    base: Callable[[], Image],
    archive: Callable[[Interpreter], Archive],
    failures: list[HarnessError],
    *,
    trusts_mirror: bool = False,
) -> PreparedEnvironment:
    stage = Stage.INTERPRETER

    def install(
        environment: Environment, before: PreparedEnvironment | None = None
    ) -> PreparedEnvironment:
        """The image in which an environment's uv has done its part, on what was before."""
        nonlocal stage
        interpreter = environment.interpreter
        stage = Stage.INTERPRETER
        uvbinary.verify(lock, environment.uv, interpreter.python, interpreter.platform)
        wheel = lock.uv_wheel(environment.uv, interpreter.platform)
        uv = uvbinary.fetch(wheel)
        made = archive(interpreter)
        look = interpreters.look_into(made)
        own = uvbinary.fetch(lock.uv_wheel(environment.uv, Platform.host() or interpreter.platform))
        installation = routes.choose(
            environment.uv, interpreter, made, own, trusts_mirror=trusts_mirror
        )
        stage = Stage.IMAGE
        on = before.image if before and before.image else base()
        image = images.environment(environment, on, made, installation, uv, wheel.sha256)
        return PreparedEnvironment(
            image=image,
            system=before.system
            if before
            else systems.of_image(images.client, on.id, interpreter.platform),
            interpreter=PreparedInterpreter(
                version=made.version,
                look=look,
                archive=made.name,
                sha256=made.sha256,
                route=installation.route,
            ),
            uv_sha256=wheel.sha256,
            before=before,
        )

    try:
        if environment.upgrade:
            return install(environment, install(environment.upgrade.before(environment)))
        return install(environment)
    except ENDS_THE_RUN:
        raise
    except NotOfferedError as error:
        return PreparedEnvironment(failed_stage=stage, problem=error.problem, not_applicable=True)
    except HarnessError as error:
        failures.append(error)
        return PreparedEnvironment(failed_stage=stage, problem=error.problem)
