"""Commands that between them reach every place that asks an engine something."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness import engine, images, matrix
from tests.faults.engines.place import DEAD, PROJECT, PYTEST, Place, dead_owner
from tests.faults.proxy import Registry
from tests.faults.room import SMALL

MATRIX = (*PYTEST, *SMALL, "--platform=x86_64", "--results={results}")
PROGRAM = ("-c", "from harness.front import main; main()")

SHELL = "ucxx-shaped-uv0.7.6-cp313-20250517~replica-x86_64-debian13+ld-library-path"

MMDEBSTRAP = """\
#!/bin/sh
# What it is asked for is there already.
for argument; do case "$argument" in */root.tar) tar -cf "$argument" -T /dev/null;; esac; done
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A command, and how things are before it."""

    name: str
    argv: tuple[str, ...]
    """Of Python."""
    before: Callable[[Place], None] = lambda place: None
    """Is done before each run of it."""
    variables: Mapping[str, str] = field(default_factory=dict)
    reaches: tuple[str, ...] = ()
    """Places in the source for which it is there."""
    codes: frozenset[int] = frozenset({0})
    """What it ends with when nothing is wrong."""
    makes_all_anew: bool = False
    """Whether it does the same each time."""
    may_end_with_1: bool = False
    """Whether 1 says that something could not be done, and which lines say what."""


def _warm(place: Place) -> None:
    place.forget("image-uses")


def _cold(place: Place) -> None:
    place.wipe(images=True)
    place.forget("systems", "bytecode", "image-uses")


def _unread(place: Place) -> None:
    place.forget("systems")


def _selinux(place: Place) -> None:
    place.proxy.selinux = True


def _from_source(place: Place) -> None:
    for wheel in (place.cache / "samples").glob("*/setuptools_plain*"):
        shutil.rmtree(wheel.parent)


def _compiling(place: Place) -> None:
    place.forget("bytecode")


def _pulling(place: Place) -> None:
    place.forget("base-images")
    _pulled_before(place)


def _pulled_before(place: Place) -> None:
    api = place.client.api
    labels = [
        f"{engine.KIND}=base",
        f"{engine.LABEL}.origin=built",
        f"{engine.LABEL}.base=debian13",
    ]
    if not api.images("keep/amd64"):
        found = api.images(filters={"label": labels})
        if not found:
            place.run(*MATRIX, "cases")
            found = api.images(filters={"label": labels})
        api.tag(found[0]["Id"], "keep/amd64", "1")
        place.make_image("keep/arm64:1", {}, "arm64", architecture="arm64")
    for each in api.images(images.PULLED):
        for tag in each["RepoTags"]:
            api.remove_image(tag)
    programs = place.root / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "mmdebstrap").write_text(MMDEBSTRAP)
    (programs / "mmdebstrap").chmod(0o755)
    name = matrix.load(PROJECT / "matrix.yaml").bases["debian13"].image
    assert name is not None
    place.proxy.registry = Registry(name=name, image="keep/amd64:1", there="keep/arm64:1")


def _litter(place: Place) -> None:
    for number, kind in enumerate(("environment", "base")):
        labels = {engine.KIND: kind, f"{engine.LABEL}.{kind}": f"of fault {number}"}
        place.make_image(f"pbs-matrix/{kind}:fault{number}", labels, f"fault {number}")
    place.make_image(f"{images.PULLED}:fault", {}, "pulled")
    place.client.api.create_container(
        "pbs-matrix/base:fault1", labels={**DEAD, engine.OWNER: dead_owner()}
    )
    place.forget("image-uses")


def _clean(place: Place) -> None:
    place.wipe(images=True)
    _litter(place)


def _places(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"harness/{module}.py:{name}" for name in names)


SCENES = (
    Scene(
        name="small matrix",
        argv=(*MATRIX, "cases"),
        before=_warm,
        variables={"PBS_MATRIX_IMAGES_LIMIT": "1TB"},
        reaches=(
            *_places("agent", "Agent.__init__", "Agent.start"),
            *_places("containers", "Containers._started", "_remove_all"),
            *_places("engine", "describe", "platform", "info"),
            *_places("images", "Images._find", "Images._inspect", "Images._ask_registry"),
            *_places("imagestorage", "prune", "_look", "_layers"),
        ),
    ),
    Scene(
        name="base not read yet",
        argv=(*MATRIX, "cases"),
        before=_unread,
        reaches=_places("systems", "_look"),
    ),
    Scene(
        name="no mounts",
        argv=(*MATRIX, "cases"),
        before=_selinux,
        reaches=_places("containers", "put"),
    ),
    Scene(
        name="from source",
        argv=(
            *(*PYTEST, "--profile=wide", "--source=replica", "--uv=0.7.6", "--base=debian13"),
            *("--extension=setuptools-plain", "--remedy=none", "--platform=x86_64"),
            *("--results={results}", "cases"),
        ),
        before=_from_source,
        reaches=(
            *_places("builder", "Builder._build", "_run"),
            *_places("containers", "taken"),
        ),
    ),
    Scene(
        name="bytecode",
        argv=(
            *(*PYTEST, "--profile=quick", "--source=replica", "--uv=0.7.6", "--base=debian13"),
            *("--extension=python-mscl", "--platform=x86_64", "--results={results}", "cases"),
        ),
        before=_compiling,
        reaches=_places("bytecode", "_compile"),
    ),
    Scene(
        name="doctor",
        argv=(*PROGRAM, "doctor"),
        codes=frozenset({0, 50}),
        reaches=_places("host", "Host.engine"),
    ),
    Scene(
        name="shell",
        argv=(*PROGRAM, "shell", SHELL, "--", "true"),
        reaches=(
            *_places("planning/shell", "_variables"),
            *_places("planning/terminal", "run", "_exit_code"),
        ),
    ),
    Scene(
        name="bench",
        argv=(
            *(*PROGRAM, "bench", "--fast", "--rounds=2", "--pair=debian", "--benchmarks=pidigits"),
        ),
        reaches=(
            *_places("bench/contestants", "require_native"),
            *_places("bench/measuring", "_start", "_execute"),
            *_places("containers", "_remove"),
        ),
    ),
    Scene(
        name="base from a registry",
        argv=(*MATRIX, "cases"),
        before=_pulling,
        variables={"PATH": f"{{root}}/bin:{os.environ.get('PATH', os.defpath)}"},
        reaches=_places("images", "Images._pull", "Images._save", "Images._read_file"),
    ),
    Scene(
        name="base from the cache",
        argv=(*MATRIX, "cases"),
        before=_pulled_before,
        variables={"PATH": f"{{root}}/bin:{os.environ.get('PATH', os.defpath)}"},
        reaches=_places("images", "Images._loaded"),
    ),
    Scene(
        name="without images",
        argv=(*MATRIX, "cases"),
        before=_cold,
        makes_all_anew=True,
        reaches=_places("images", "Images.build"),
    ),
    Scene(
        name="clean",
        argv=(*PROGRAM, "clean", "--images"),
        before=_clean,
        makes_all_anew=True,
        reaches=_places("images", "remove_all", "_remove"),
    ),
    Scene(
        name="clean to a size",
        argv=(*PROGRAM, "clean", "--images", "--to=0B"),
        before=_clean,
        makes_all_anew=True,
        may_end_with_1=True,
        reaches=_places("imagestorage", "_remove"),
    ),
)
