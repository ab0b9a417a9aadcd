"""Extensions under test: the files that installing them puts into an environment."""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness import cache, index, replica, tools, yamlfile
from harness.errors import ConfigurationError, ToolError
from harness.lock import Lock
from harness.matrix import Extension
from harness.platforms import Platform

RECIPE = 1
"""Counts up whenever this module makes other bytes from the same sources."""

PROJECT = Path(__file__).parent.parent
"""Where the project's own samples are."""


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
    """An unpacked extension: a directory like site-packages, and the sha256 of its wheels."""

    tree: Path
    wheels: dict[str, str]


def provide(
    name: str, sample: Extension, python: str, platform: Platform, lock: Lock, beside: Path
) -> Installed:
    """The files of an extension for a CPython and a platform, from the cache or made now.

    ``beside`` is the directory of the matrix file, which ``source`` is relative to. Nothing of
    the extension is run: wheels are unpacked by uv at the host's own speed.
    """
    if sample.requirement is not None:
        locked = lock.extension_wheels(sample.requirement, python, platform)
        wheels = {wheel.filename: index.fetch(wheel) for wheel in locked}
        sha256 = {wheel.filename: wheel.sha256 for wheel in locked}
    else:
        assert sample.source is not None  # the model asks for one of the two
        wheel = build(name, find_source(sample.source, beside), python, platform)
        wheels = {wheel.name: wheel}
        sha256 = {wheel.name: cache.file_digest(wheel)}

    def make(path: Path) -> None:
        tools.run(
            [
                *(tools.find("uv", advice="pip install uv"), "pip", "install", "--quiet"),
                *("--no-config", "--no-cache", "--no-deps", "--no-index", "--offline"),
                *("--link-mode", "copy", "--target", str(path), "--python-version", python),
                *("--python-platform", f"{platform}-manylinux_2_40"),
                *wheels.values(),
            ],
            doing=f"unpacking {', '.join(wheels)} for CPython {python} on {platform}",
        )
        (path / ".lock").unlink(missing_ok=True)

    key = cache.digest("installed", RECIPE, sorted(sha256.values()), python, platform)
    return Installed(tree=cache.entry("installed", key, make), wheels=sha256)


def find_source(source: str, beside: Path) -> Path:
    """The folder of a sample: relative to the matrix file, else one of the project's own."""
    for start in (beside, PROJECT):
        folder = (start / source).resolve()
        if (folder / "extension.yaml").is_file():
            return folder
    raise ConfigurationError(
        f"there is no {source}/extension.yaml, neither beside the matrix file in {beside} "
        f"nor in the project",
        advice="Correct 'source' in matrix.yaml; cases/extensions has examples.",
    )


def build(name: str, folder: Path, python: str, platform: Platform) -> Path:
    """Build a sample into a wheel for a platform, on any host, without running any of it."""
    document = yamlfile.read(folder / "extension.yaml")
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(
            f"{document.place(first['loc'])}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            advice="cases/extensions has examples.",
        ) from None
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

    return cache.entry("samples", key, make) / wheel_name


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
