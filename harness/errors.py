"""One root exception: what was found, where, what to do next, and an exit code of its own.

Exit codes below 10 belong to pytest and click; every kind of failure of the harness has one
from 10 upwards, the same in ``pbs-matrix`` and in ``pytest``. The exception is ``check``, which
ends as linters do: 0 clean, 1 something found, 2 could not look.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit status of ``pbs-matrix`` and of a pytest run that the harness had to end."""

    UNCHECKABLE = 2
    CONFIGURATION = 10
    SELECTION = 11
    LOCK = 12
    ENGINE_MISSING = 20
    ENGINE_PERMISSION = 21
    EMULATION_MISSING = 22
    FETCH = 30
    NO_SUCH_WHEEL = 31
    HASH_MISMATCH = 32
    TOOL = 33
    ARCHIVE = 34
    NOT_OFFERED = 35
    BUILD = 40
    DISK_FULL = 41
    SETUP_INCOMPLETE = 50
    GITHUB = 70


class HarnessError(Exception):
    """Base of everything that the harness reports to a person.

    ``problem`` says what was found and where; ``advice`` says what to do about it.
    """

    exit_code: ClassVar[ExitCode]

    def __init__(self, problem: str, *, advice: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.advice}"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _rebuild, (type(self), self.problem, self.advice)


def _rebuild(kind: type[HarnessError], problem: str, advice: str) -> HarnessError:
    return kind(problem, advice=advice)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that lies beneath it, the root cause last.

    requests chains, and urllib3 hides the operating system's error among its own arguments.
    """
    seen: list[BaseException] = [error]
    for found in seen:
        for inner in (*found.args, found.__cause__, found.__context__):
            if isinstance(inner, BaseException) and not any(inner is known for known in seen):
                seen.append(inner)
    return iter(seen)


class ConfigurationError(HarnessError):
    """matrix.yaml (or another input file) is wrong; the problem names file and line."""

    exit_code = ExitCode.CONFIGURATION


class SelectionError(HarnessError):
    """An option selects no cell."""

    exit_code = ExitCode.SELECTION


class LockError(HarnessError):
    """matrix.lock does not cover matrix.yaml, or disagrees with what a uv binary says."""

    exit_code = ExitCode.LOCK


class EngineMissingError(HarnessError):
    """No container engine answers."""

    exit_code = ExitCode.ENGINE_MISSING


class EnginePermissionError(HarnessError):
    """An engine is there, but this user may not talk to it."""

    exit_code = ExitCode.ENGINE_PERMISSION


class EmulationMissingError(HarnessError):
    """Cells of a foreign architecture were selected, and nothing here can run them."""

    exit_code = ExitCode.EMULATION_MISSING


class FetchError(HarnessError):
    """A download failed: dead network, dead mirror, unexpected answer."""

    exit_code = ExitCode.FETCH


class NoSuchWheelError(HarnessError):
    """The index has no such project, version, or wheel for the platform."""

    exit_code = ExitCode.NO_SUCH_WHEEL


class NotOfferedError(HarnessError):
    """A release has no such build: there is nothing to test, rather than something wrong."""

    exit_code = ExitCode.NOT_OFFERED


class HashMismatchError(HarnessError):
    """A file is not the one that the lock names."""

    exit_code = ExitCode.HASH_MISMATCH


class ArchiveError(HarnessError):
    """An archive is damaged, made to do harm, or not what its name says."""

    exit_code = ExitCode.ARCHIVE


class ToolError(HarnessError):
    """A program that the harness calls on the host is missing or failed."""

    exit_code = ExitCode.TOOL


class BuildError(HarnessError):
    """An image could not be built."""

    exit_code = ExitCode.BUILD


class DiskFullError(HarnessError):
    """No space was left while something was being made."""

    exit_code = ExitCode.DISK_FULL


class SetupIncompleteError(HarnessError):
    """``pbs-matrix doctor`` found something missing that it could not, or may not, put right."""

    exit_code = ExitCode.SETUP_INCOMPLETE


class GitHubError(HarnessError):
    """GitHub's API does not answer, or does not allow what is asked of it."""

    exit_code = ExitCode.GITHUB


class TargetError(HarnessError):
    """What is to be checked cannot be read: no such file, damaged, or made to do harm."""

    exit_code = ExitCode.UNCHECKABLE
