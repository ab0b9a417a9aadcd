"""For the unit tests: patience, and C files, compiled once for all workers of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from harness import cache, tools
from harness.platforms import Platform

# How long an example takes says nothing on a machine that has something else to do as well.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

Compile = Callable[..., Path]

HEADERS = Path(__file__).parent / "capi"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles C into a shared object for the host (or another platform): ``compiled(source)``.

    ``flags`` are added to what an extension needs; ``name`` is the file's, which a soname may have
    to be the same as. ``Python.h`` is the tests' own.
    """
    # With xdist, each worker's directory is below one that they share.
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    root.mkdir(exist_ok=True)

    def compile_c(
        source: str,
        *,
        flags: tuple[str, ...] = (),
        name: str = "sample.so",
        target: str | None = None,
    ) -> Path:
        host = Platform.host()
        assert host is not None, "these tests run on the platforms under test alone"
        triplet = target or host.triplet
        folder = root / cache.digest(source, flags, name, triplet)[:16]
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / name).exists():
                folder.mkdir(exist_ok=True)
                (folder / "source.c").write_text(source)
                every = ("-shared", "-fPIC", f"-I{HEADERS}", *flags)
                tools.compile_c(
                    triplet, [folder / "source.c"], folder / "out", every, directory=folder
                )
                (folder / "out").rename(folder / name)
        return folder / name

    return compile_c
