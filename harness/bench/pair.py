"""Pairs: a shared and a static interpreter to be compared, alike in all but what is asked about.

A replica will not do for that: Debian compiles its executable with profile feedback, for a fixed
address, and its libpython3.13.so without either, so that the two differ in far more than in how
they are linked. But the package libpython3.13-dev holds the objects that libpython3.13.so was
made of (``libpython3.13-pic.a``). Here both models are linked from these same objects, by the same
linker with the same options. The two archives differ in one file, ``bin/python3.13``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from harness import archives, cache, replica, tools
from harness.errors import ToolError
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.replica import PYTHON, Replica

RECIPE = 1
"""Counts up whenever this module makes other bytes from the same packages."""

LIBRARY = f"libpython{PYTHON}.so.1.0"

LEFT_OUT = "_sha2"
"""A built-in module whose other half, libHacl_Hash_SHA2.a, Debian does not ship. Both models go
without it; hashlib takes OpenSSL's functions then, as it does anyway where there is OpenSSL."""

LINK_OPTIONS = ("-O1", "-z", "relro", "--hash-style=gnu", "--eh-frame-hdr", "--build-id=none", "-s")
"""What Debian's own link of either says, but for lld's spelling."""

SHARED_OPTIONS = ("-shared", "-z", "defs", "-Bsymbolic-functions", "-soname", LIBRARY)
"""-Bsymbolic-functions, as Debian and python-build-standalone say: calls inside libpython are
direct, so that what is compared is not the cost of interposition, which neither has."""

STATIC_OPTIONS = ("-no-pie", "--export-dynamic")
"""Not position-independent, as Debian's own executable. The objects are, in both models."""


def provide(python: str, platform: Platform, link_model: LinkModel) -> Replica:
    """The archive of one of the pair, from the cache or made now.

    Raises :class:`ToolError` where it cannot be made, such as for another CPython than 3.13.
    """
    if python != PYTHON:
        raise ToolError(
            f"there is no pair of CPython {python}: Debian 13 has only {PYTHON}",
            advice=f"Use CPython {PYTHON}, or --source upstream.",
        )
    match link_model:
        case LinkModel.SHARED | LinkModel.STATIC:
            pass
        case LinkModel.STATIC_RUNPATH | LinkModel.STATIC_RPATH:
            # A search path costs time once, while libraries are loaded, if at all.
            raise ToolError(
                f"a pair is made of shared and static, not of {link_model}",
                advice="Use the link model static: a search path makes no code faster or slower.",
            )
        case _:
            assert_never(link_model)
    tree = _linked(platform)
    version = (tree / "version").read_text()

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            layout = Path(work) / "python"
            shutil.copytree(tree / "python", layout, symlinks=True)
            shutil.copy2(tree / "bin" / link_model, layout / "bin" / f"python{PYTHON}")
            archives.write_gzip(path, layout, "python")

    key = cache.digest("pair", RECIPE, replica.RECIPE, tree.name, link_model, platform)
    name = f"-cpython-{version}+{link_model}~same-objects-{platform}.tar.gz"
    path = cache.entry("pairs", key, make, suffix=name)
    return Replica(path=path, sha256=cache.file_digest(path), version=version)


def _linked(platform: Platform) -> Path:
    """Both models: ``python/`` (the layout, with libpython), ``bin/shared`` and ``bin/static``."""

    def make(path: Path) -> None:
        path.mkdir()
        work = path / "work"
        root = work / "root"
        work.mkdir()
        replica.unpack(root, platform)
        layout = path / "python"
        replica.lay_out(root, layout, platform)
        (path / "bin").mkdir()
        _link(root, work, layout / "lib" / LIBRARY, path / "bin" / "static", platform)
        # Against the library just made, which has taken the place of Debian's.
        replica.link_launcher(path, platform)
        (path / "version").write_text(replica.patch_version(layout))
        shutil.rmtree(work)

    key = cache.digest("pair", RECIPE, replica.RECIPE, platform)
    return cache.entry("pair-links", key, make)


def _link(root: Path, work: Path, library: Path, static: Path, platform: Platform) -> None:
    """Link libpython and the static interpreter, from the same objects."""
    system = root / "usr" / "lib" / platform.triplet
    configuration = root / f"usr/lib/python{PYTHON}/config-{PYTHON}-{platform.triplet}"
    objects = _objects(configuration, work)
    table = _compile(_table_of_builtins(configuration, work), root, platform)
    main = work / "main.c"
    main.write_text(replica.LAUNCHER)
    runtime = _compiler_runtime(work, platform)
    loader = next(system.glob("ld-linux*.so.*"))
    emulation = {Platform.X86_64: "elf_x86_64", Platform.AARCH64: "aarch64linux"}[platform]
    both: list[str | Path] = ["-m", emulation, *LINK_OPTIONS]
    inputs: list[str | Path] = [
        table,
        *("--whole-archive", objects, "--no-whole-archive"),
        *("--as-needed", runtime),
        # Debian's own, so that the C library's versions are those of the base image.
        *(system / name for name in ("libexpat.so.1", "libz.so.1", "libm.so.6", "libc.so.6")),
        *(loader, system / "libc_nonshared.a"),
        # What the C library and the compiler bring along is not Python's C API.
        *("--exclude-libs", f"{runtime.name}:libc_nonshared.a"),
    ]
    library.unlink()
    _lld([*both, *SHARED_OPTIONS, "-o", library, *inputs], work)
    start: list[str | Path] = ["--dynamic-linker", _loader_path(platform), system / "crt1.o"]
    main_object = _compile(main, root, platform)
    _lld([*both, *STATIC_OPTIONS, "-o", static, *start, main_object, *inputs], work)
    for path in (library, static):
        path.chmod(0o755)


def _objects(configuration: Path, work: Path) -> Path:
    """Debian's archive of position-independent objects, without those that are made anew."""
    archive = work / f"libpython{PYTHON}-pic.a"
    source = configuration / archive.name
    if not source.is_file():
        raise ToolError(
            f"Debian's libpython{PYTHON}-dev has no {archive.name} any more",
            advice="Use --pair debian, or --source upstream.",
        )
    shutil.copyfile(source, archive)
    tools.run_zig(
        ["ar", "d", archive, "config.o", f"{LEFT_OUT.removeprefix('_')}module.o"],
        doing=f"taking {LEFT_OUT} out of {archive.name}",
    )
    return archive


def _table_of_builtins(configuration: Path, work: Path) -> Path:
    """Debian's own config.c, the table of built-in modules, without the one left out."""
    lines = (configuration / "config.c").read_text().splitlines(keepends=True)
    kept = [line for line in lines if f"PyInit_{LEFT_OUT}" not in line]
    # One declaration and one entry; anything else would be another file than the one known.
    if len(lines) - len(kept) != 2:
        raise ToolError(
            f"Debian's {configuration.name}/config.c does not name {LEFT_OUT} twice",
            advice="Use --pair debian, or --source upstream.",
        )
    path = work / "config.c"
    path.write_text("".join(kept))
    return path


def _compile(source: Path, root: Path, platform: Platform) -> Path:
    output = source.with_suffix(".o")
    headers = root / "usr" / "include"
    tools.compile_c(
        platform.triplet,
        [source],
        output,
        ["-c", "-fPIC", f"-I{headers / f'python{PYTHON}'}", "-idirafter", str(headers)],
        directory=source.parent,
    )
    return output


def _compiler_runtime(work: Path, platform: Platform) -> Path:
    """What GCC's code calls for where the processor has no such instruction (libgcc), by zig."""
    empty = work / "empty.c"
    empty.write_text("")
    output = work / "libruntime.a"
    tools.run_zig(
        ["build-lib", "-target", f"{platform.triplet}.2.28", "-O", "ReleaseFast"]
        + ["-fcompiler-rt", "-fPIC", empty, f"-femit-bin={output}"],
        doing=f"building the compiler's runtime for {platform}",
        directory=work,
    )
    return output


def _lld(arguments: Sequence[str | Path], work: Path) -> None:
    output = arguments[arguments.index("-o") + 1]
    tools.run_zig(
        # Not `zig cc`, which refuses -Bsymbolic-functions.
        ["ld.lld", *arguments],
        doing=f"linking {Path(output).name} from Debian's objects",
        directory=work,
    )


def _loader_path(platform: Platform) -> str:
    """Path of the dynamic loader that a program of a platform asks for."""
    return {
        Platform.X86_64: "/lib64/ld-linux-x86-64.so.2",
        Platform.AARCH64: "/lib/ld-linux-aarch64.so.1",
    }[platform]
