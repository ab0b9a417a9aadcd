"""Replicas: stand-ins for published interpreters, with the same link model, from Debian's files.

A replica is laid out like python-build-standalone's ``install_only`` archive. Debian 13's
python3.13 is an executable with libpython inside that exports the C API, and its
libpython3.13.so.1.0 is a file of its own, so the four link models are a few file operations.
What a replica does not stand for: the release's compiler, its optimisation, its bundled libraries
(a replica takes libexpat, libssl, … from the base image) and its CPython patch version.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from harness import archives, cache, debian, tools
from harness.errors import ToolError
from harness.platforms import Platform
from harness.releases import LinkModel

RECIPE = 4
"""Counts up whenever this module makes other bytes from the same packages."""

PYTHON = "3.13"
"""The CPython that Debian 13 has; replicas of another version cannot be made."""

MARK = "PBS-MATRIX-REPLICA.txt"
"""A file in each, by which one is known whatever it is called and wherever it comes from."""

MARK_TEXT = """\
This is no release of python-build-standalone. It is a stand-in that pbs-matrix has made from
Debian's files, with the link model of a release, to test with; do not use it for anything else.
"""

BASE_PACKAGES = (
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "libuuid1",
    "zlib1g",
)
"""Debian packages that a replica needs in its base; a published archive carries its own."""

# The interpreter of a shared build: all that PBS's bin/python3.X did until 20250409.
LAUNCHER = """\
extern int Py_BytesMain(int argc, char **argv);

int main(int argc, char **argv) {
    return Py_BytesMain(argc, argv);
}
"""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """An archive, its sha256, and the CPython patch version that it holds."""

    path: Path
    sha256: str
    version: str


def provide(python: str, platform: Platform, link_model: LinkModel) -> Replica:
    """The replica archive for a link model, from the cache or made now."""
    if python != PYTHON:
        raise ToolError(
            f"there is no replica of CPython {python}: Debian 13 has only {PYTHON}",
            advice=f"Use python: ['{PYTHON}'] in matrix.yaml, or --source upstream.",
        )
    tree = _debian_python(platform)
    version = (tree / "version").read_text()

    def make(path: Path) -> None:
        cache.require_intact(tree)
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            layout = Path(work) / "python"
            shutil.copytree(tree / "python", layout, symlinks=True)
            _apply(link_model, layout, tree / "bin", platform)
            archives.write_gzip(path, layout, "python")

    key = cache.digest("replica", RECIPE, tree.name, link_model, platform)
    name = f"-cpython-{version}+{link_model.replace('+', '-')}~replica-{platform}.tar.gz"
    path = cache.entry("replicas", key, make, suffix=name, check=cache.is_intact)
    return Replica(path=path, sha256=cache.file_digest(path), version=version)


def sdk(python: str, platform: Platform) -> Path:
    """A directory with ``include/`` and ``lib/`` of CPython for a platform, to build against."""
    if python != PYTHON:
        raise ToolError(
            f"samples cannot be built for CPython {python}: Debian 13 has only {PYTHON}",
            advice=f"Use python: ['{PYTHON}'] in matrix.yaml for the extensions with a source.",
        )
    return _debian_python(platform) / "python"


def _apply(link_model: LinkModel, layout: Path, binaries: Path, platform: Platform) -> None:
    """Give a layout its interpreter, linked as the model says."""
    interpreter = layout / "bin" / f"python{PYTHON}"
    origin = "shared" if link_model is LinkModel.SHARED else "static"
    shutil.copy2(binaries / origin, interpreter)
    match link_model:
        case LinkModel.SHARED | LinkModel.STATIC:
            pass
        case LinkModel.STATIC_RUNPATH:
            _set_search_path(interpreter, "$ORIGIN/../lib")
            # PBS builds _ctypes into the interpreter, so what it opens by name is searched for
            # with the interpreter's RUNPATH. Debian's is an object of its own and needs the same.
            ctypes = f"lib/python{PYTHON}/lib-dynload/_ctypes.cpython-{PYTHON.replace('.', '')}"
            _set_search_path(layout / f"{ctypes}-{platform.triplet}.so", "$ORIGIN/../..")
        case LinkModel.STATIC_RPATH:
            _set_search_path(interpreter, "$ORIGIN/../lib", inherited=True)
        case _:
            assert_never(link_model)


def _set_search_path(path: Path, directories: str, *, inherited: bool = False) -> None:
    tools.run(
        [tools.patchelf(), *(["--force-rpath"] if inherited else [])]
        + ["--set-rpath", directories, path],
        doing=f"setting the search path of {path.name}",
    )


def _debian_python(platform: Platform) -> Path:
    """Debian's CPython for a platform in PBS's layout, but for ``bin/pythonX.Y`` itself.

    The entry holds ``python/`` (the layout), ``bin/static`` and ``bin/shared`` (the two
    interpreters) and ``version``.
    """

    def make(path: Path) -> None:
        path.mkdir()
        root = path / "root"
        unpack(root, platform)
        lay_out(root, path / "python", platform)
        (path / "bin").mkdir()
        shutil.copy2(root / f"usr/bin/python{PYTHON}", path / "bin" / "static")
        link_launcher(path, platform)
        (path / "version").write_text(patch_version(path / "python"))
        shutil.rmtree(root)

    return cache.entry("debian-python", cache.digest(RECIPE, debian.SUITE, platform), make)


def unpack(root: Path, platform: Platform) -> None:
    """Unpack Debian's CPython, what it needs and what is built against it."""
    tar_path = root.with_suffix(".tar")
    debian.unpack(
        [f"python{PYTHON}", f"libpython{PYTHON}", f"libpython{PYTHON}-dev"],
        platform,
        tar_path,
        suite=debian.SUITE,
    )
    wanted = ("./usr/bin/python", "./usr/lib/", "./usr/include/")
    archives.extract(tar_path, root, below=wanted)
    tar_path.unlink()


def lay_out(root: Path, layout: Path, platform: Platform) -> None:
    """Copy unpacked packages into PBS's layout: all but ``bin/pythonX.Y`` and libpython3.so."""
    standard_library = f"lib/python{PYTHON}"
    shutil.copytree(
        root / "usr" / standard_library,
        layout / standard_library,
        symlinks=True,
        # Static libraries, tests, and what is Debian's own rather than CPython's.
        ignore=shutil.ignore_patterns(
            "*.a", "*.o", "test", "turtledemo", "sitecustomize.py", "EXTERNALLY-MANAGED"
        ),
    )
    include = layout / "include" / f"python{PYTHON}"
    shutil.copytree(root / f"usr/include/python{PYTHON}", include)
    # Debian's pyconfig.h only points at the architecture's own.
    architecture = root / "usr/include" / platform.triplet / f"python{PYTHON}" / "pyconfig.h"
    shutil.copy2(architecture, include / "pyconfig.h")
    library = layout / "lib" / f"libpython{PYTHON}.so.1.0"
    shutil.copy2(root / "usr/lib" / platform.triplet / library.name, library)
    library.chmod(0o755)
    (layout / "lib" / f"libpython{PYTHON}.so").symlink_to(library.name)
    (layout / "bin").mkdir()
    for name in ("python", "python3"):
        (layout / "bin" / name).symlink_to(f"python{PYTHON}")
    (layout / MARK).write_text(MARK_TEXT)


def link_launcher(entry: Path, platform: Platform) -> None:
    """Build the shared model's interpreter, and the libpython3.so that Debian does not ship.

    ``entry`` holds a layout, ``python/``; the interpreter becomes ``bin/shared`` beside it.
    """
    source = entry / "launcher.c"
    source.write_text(LAUNCHER)
    library = entry / "python" / "lib"
    link = [f"-L{library}", f"-lpython{PYTHON}", "-Wl,-z,undefs"]
    tools.compile_c(platform.triplet, [source], entry / "bin" / "shared", link, directory=entry)
    empty = entry / "empty.c"
    empty.write_text("")
    stub = library / "libpython3.so"
    tools.compile_c(
        platform.triplet,
        [empty],
        stub,
        ["-shared", "-fPIC", "-Wl,-soname,libpython3.so", "-Wl,--no-as-needed", *link],
        directory=entry,
    )
    # As PBS does for libpython3.so to this day, and did for the interpreter until 20250409.
    for path in (entry / "bin" / "shared", stub):
        tools.run(
            [tools.patchelf(), "--replace-needed", f"libpython{PYTHON}.so.1.0"]
            + [f"$ORIGIN/../lib/libpython{PYTHON}.so.1.0", path],
            doing=f"naming libpython by path in {path.name}",
        )
    source.unlink()
    empty.unlink()


def patch_version(layout: Path) -> str:
    """The CPython version of a layout, such as 3.13.5."""
    header = (layout / f"include/python{PYTHON}/patchlevel.h").read_text()
    line = next(line for line in header.splitlines() if line.startswith("#define PY_VERSION "))
    return line.split('"')[1]
