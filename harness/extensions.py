"""Samples under test: the files that installing them puts into an environment."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness import (
    buildsystem,
    cache,
    elf,
    index,
    inputs,
    inventory,
    project,
    replica,
    tools,
    wheelfile,
    yamlfile,
)
from harness.errors import ConfigurationError, NoSuchWheelError, ToolError
from harness.lock import Lock
from harness.matrix import Check, Extension
from harness.plan import Cell
from harness.platforms import Platform
from harness.releases import LIBPYTHON
from harness.remedies import Remedy

RECIPE = 7
"""Counts up whenever this module makes other bytes from the same sources."""

RECIPE_FILE = "extension.yaml"
"""Calls of the C compiler; a folder without one is a project that its own back end builds."""


def _inside(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} does not stay inside the wheel")
    return path


Inside = Annotated[str, AfterValidator(_inside)]


class Step(BaseModel):
    """One call of the C compiler; {python} and {ext_suffix} are filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: Inside
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    flags: tuple[str, ...] = ()


class Recipe(BaseModel):
    """An extension.yaml: how a sample is built, as its author would have linked it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    build: Annotated[tuple[Step, ...], Field(min_length=1)]
    files: dict[Inside, str] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What goes into a container for a sample: a directory, and the sha256 of its wheels.

    The directory holds ``site/``, to be added to sys.path; ``symbols.json``: for each ELF
    file in it, where it keeps the addresses of the C API (:class:`harness.elf.Dynamic`); and
    ``files.json``: what the loader sees of them (:mod:`harness.inventory`).
    """

    tree: Path
    wheels: dict[str, str]


class NothingToDo(Exception):
    """A remedy does not apply to an extension."""


BuildProject = Callable[[str, Path, str, Platform], Path]
"""Builds the project in a folder into a wheel: sample's name, folder, CPython, platform."""


def provide(cell: Cell, lock: Lock, beside: Path, build_project: BuildProject) -> Installed:
    """The files of a cell's sample, from the cache or made now.

    ``beside`` is the directory of the matrix file, which paths in it are relative to. Nothing of
    the sample is run here: wheels are unpacked by uv, at the host's own speed.
    :class:`NothingToDo` where the cell's remedy finds nothing to do.
    """
    sample = cell.sample
    python, platform = cell.environment.interpreter.python, cell.environment.interpreter.platform
    if isinstance(sample, Check):
        return Installed(tree=_check(sample, beside), wheels={})
    assert isinstance(sample, Extension)
    wheels = _wheels(cell.extension, sample, python, platform, lock, beside, build_project)
    installed = install(wheels, python, platform)
    if cell.remedy is Remedy.PATCHELF:
        return Installed(tree=_patched(installed.tree, cell), wheels=installed.wheels)
    return installed


def install(wheels: Sequence[Path], python: str, platform: Platform) -> Installed:
    """Unpack wheels as uv installs them for a CPython and a platform, on any host."""
    sha256 = {wheel.name: cache.file_digest(wheel) for wheel in wheels}

    def make(path: Path) -> None:
        for wheel in wheels:
            wheelfile.vet(wheel)
        tools.run(
            [
                *(tools.find("uv", advice="pip install uv"), "pip", "install", "--quiet"),
                *("--no-config", "--no-cache", "--no-deps", "--no-index", "--offline"),
                *("--link-mode", "copy", "--target", str(path / "site")),
                *("--python-version", python),
                *("--python-platform", f"{platform}-manylinux_2_40"),
                *wheels,
            ],
            doing=f"unpacking {', '.join(sha256)} for CPython {python} on {platform}",
        )
        (path / "site" / ".lock").unlink(missing_ok=True)
        note_files(path)

    key = cache.digest("installed", RECIPE, sorted(sha256.values()), python, platform)
    return Installed(tree=cache.entry("installed", key, make, check=cache.is_intact), wheels=sha256)


def _wheels(
    name: str,
    sample: Extension,
    python: str,
    platform: Platform,
    lock: Lock,
    beside: Path,
    build_project: BuildProject,
) -> list[Path]:
    if sample.requirement is not None:
        locked = lock.extension_wheels(sample.requirement, python, platform)
        return [index.fetch(wheel) for wheel in locked]
    if sample.wheel is not None:
        return [find_wheel(sample.wheel, python, platform, beside)]
    assert sample.source is not None  # the model asks for one of the three
    folder = find_source(sample.source, beside)
    make = build_project if is_project(folder) else build
    return [make(name, folder, python, platform)]


def note_files(path: Path) -> None:
    """Write ``symbols.json`` and ``files.json`` beside ``site/``; reading ELF takes its time."""
    site = path / "site"
    _open_to_all(path)
    noted = {}
    for file in elf.files(site):
        found = elf.read(file)
        noted[file.relative_to(site).as_posix()] = {
            "code_address": found.code_address,
            "slots": found.c_api_slots,
            "provides_c_api": found.provides_c_api,
        }
    (path / "symbols.json").write_text(json.dumps(noted))
    inventory.save(inventory.of_folder(site).below("/site"), path / "files.json")


def _open_to_all(path: Path) -> None:
    """Let everybody read the files, whatever this process's umask is: others do, in containers."""
    for file in (path, *path.rglob("*")):
        if not file.is_symlink():
            mode = file.stat().st_mode
            file.chmod(mode | (0o555 if file.is_dir() or mode & 0o100 else 0o444))


def _patched(tree: Path, cell: Cell) -> Path:
    """The same files without libpython in DT_NEEDED, helper libraries included."""
    needing = {
        file.relative_to(tree): names
        for file in elf.files(tree / "site")
        if (names := [n for n in elf.read(file).needed if n.startswith(LIBPYTHON)])
    }
    if not needing:
        raise NothingToDo(f"there is nothing to patch: no file of {cell.extension} needs libpython")

    def make(path: Path) -> None:
        shutil.copytree(tree, path, symlinks=True)
        for file, names in needing.items():
            tools.run(
                [
                    tools.patchelf(),
                    *(word for name in names for word in ("--remove-needed", name)),
                    path / file,
                ],
                doing=f"removing {', '.join(names)} from {file.name}",
            )
        note_files(path)

    key = cache.digest("patchelf", RECIPE, tree.name)
    return cache.entry("installed", key, make, check=cache.is_intact)


def _check(check: Check, beside: Path) -> Path:
    """A check's folder, since scripts may share modules."""
    script = find(check.script, beside, advice="Correct 'script'; cases/checks has examples.")
    content = {file.name: file.read_text() for file in sorted(script.parent.glob("*.py"))}

    def make(path: Path) -> None:
        (path / "site").mkdir(parents=True)
        for name, text in content.items():
            (path / "site" / name).write_text(text)
        note_files(path)

    key = cache.digest("check", RECIPE, content)
    return cache.entry("installed", key, make, check=cache.is_intact)


def find(path: str, beside: Path, *, advice: str) -> Path:
    """A file or folder that a matrix file names: relative to it, else one of the project's own."""
    for start in (beside, project.ROOT):
        if (start / path).exists():
            return (start / path).resolve()
    raise ConfigurationError(
        f"there is no {path}, neither beside the matrix file in {beside} nor in the project",
        advice=advice,
    )


def find_wheel(pattern: str, python: str, platform: Platform, beside: Path) -> Path:
    """A wheel of the user's own: of those that a pattern names, the one that fits best."""
    start = Path(pattern)
    if start.is_absolute():
        beside, pattern = start.parent, start.name
    there = {path.name: path for path in sorted(beside.glob(pattern)) if path.is_file()}
    best = index.fitting(there, python, platform)
    if best is None:
        raise NoSuchWheelError(
            f"{beside / pattern} has no wheel for CPython {python} on {platform}",
            advice=f"What is there: {', '.join(there) or 'nothing'}. Where there is none for some "
            "platform, say so with 'applies'.",
        )
    return there[best]


def find_source(source: str, beside: Path) -> Path:
    """The folder of a sample: an extension.yaml, or a project with a pyproject.toml."""
    advice = "Correct 'source' in matrix.yaml; cases/extensions has examples."
    folder = find(source, beside, advice=advice)
    if not any((folder / name).is_file() for name in (RECIPE_FILE, buildsystem.FILE)):
        raise ConfigurationError(
            f"{folder} has neither an {RECIPE_FILE} nor a {buildsystem.FILE}", advice=advice
        )
    return folder


def is_project(folder: Path) -> bool:
    """Whether a sample's own back end builds it."""
    return not (folder / RECIPE_FILE).is_file()


def recipe_of(folder: Path) -> Recipe:
    """The extension.yaml of a folder; :class:`ConfigurationError` where it is none, and where."""
    document = yamlfile.read(folder / RECIPE_FILE)
    try:
        return Recipe.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = first["loc"]
        raise ConfigurationError(
            f"{document.place(location)}: {inputs.keys(location)}{inputs.short(first['msg'])}",
            advice="cases/extensions has examples.",
        ) from None


def build(name: str, folder: Path, python: str, platform: Platform) -> Path:
    """Build a sample into a wheel for a platform, on any host, without running any of it."""
    recipe = recipe_of(folder)
    inputs = {
        source: _input(folder, source).read_bytes().hex()
        for source in (*(s for step in recipe.build for s in step.sources), *recipe.files.values())
    }
    sdk = replica.sdk(python, platform)
    key = cache.digest(
        "sample", RECIPE, replica.RECIPE, name, recipe.model_dump(), inputs, python, platform
    )
    wheel_name = f"{name.replace('-', '_')}-1.0-cp{python.replace('.', '')}"
    wheel_name += f"-cp{python.replace('.', '')}-linux_{platform}.whl"

    def make(path: Path) -> None:
        work = path / "work"
        work.mkdir(parents=True)
        for target, source in recipe.files.items():
            (work / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_input(folder, source), work / target)
        for step in recipe.build:
            _compile(step, folder, work, sdk, python, platform)
        _write_wheel(path / wheel_name, work)
        shutil.rmtree(work)

    return cache.entry("samples", key, make, check=cache.is_intact) / wheel_name


def _input(folder: Path, source: str) -> Path:
    """A source of a sample; it may be shared with its neighbours, but lies nowhere else."""
    path = (folder / source).resolve()
    if not path.is_relative_to(folder.parent) or not path.is_file():
        raise ConfigurationError(
            f"{folder / 'extension.yaml'}: there is no source {source!r} in {folder.parent}",
            advice="Name a file of this sample, or of a folder beside it.",
        )
    return path


def _compile(
    step: Step, folder: Path, work: Path, sdk: Path, python: str, platform: Platform
) -> None:
    def filled(text: str) -> str:
        suffix = f".cpython-{python.replace('.', '')}-{platform.triplet}.so"
        return text.replace("{python}", python).replace("{ext_suffix}", suffix)

    output = work / filled(step.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    include = f"-I{sdk / 'include' / f'python{python}'}"
    flags = ["-shared", "-fPIC", include, f"-L{sdk / 'lib'}", *map(filled, step.flags)]
    sources = [_input(folder, source) for source in step.sources]
    tools.compile_c(platform.triplet, sources, output, flags, directory=work)
    if not output.is_file():
        raise ToolError(
            f"{folder.name}: the compiler made no {step.output}",
            advice="Correct the build step in its extension.yaml.",
        )


def _write_wheel(path: Path, tree: Path) -> None:
    """Write a wheel of a tree; the same tree gives the same bytes."""
    name, version, tag = path.stem.split("-", 2)
    info = f"{name}-{version}.dist-info"
    content = {
        file.relative_to(tree).as_posix(): file.read_bytes()
        for file in sorted(tree.rglob("*"))
        if file.is_file()
    }
    content[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    )
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: pbs-matrix\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    )
    record = ""
    for file, data in content.items():
        checksum = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={checksum},{len(data)}\n"
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in content.items():
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), data)
