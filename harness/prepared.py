"""What a run has at hand before its first cell: images, unpacked extensions, and their pins.

Written once by the process that prepares, as a file; read by every worker.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import contents, inputs
from harness.contents import Contents
from harness.errors import ConfigurationError
from harness.image import Image
from harness.outcome import Stage
from harness.plan import Cell, Environment, tree_name
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.routes import Route

MOST_BYTES = 1 << 30
"""Bytes of the file; a run of a million cells has half of it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class PreparedInterpreter(_Model):
    """An interpreter that uv has installed: its version, and what files it brought."""

    version: str
    """Of CPython, with the patch version: uv names the folder by it."""
    look: Path
    """What is in its archive, as :mod:`harness.contents` keeps it."""
    archive: str
    """File name of the archive."""
    sha256: str
    route: Route

    @property
    def inside(self) -> Contents:
        """What is in its archive."""
        return contents.load(self.look)


class PreparedEnvironment(_Model):
    """An environment's image, or the stage that failed and why."""

    image: Image | None = None
    system: Path | None = None
    """What the loader finds in the base image, as :mod:`harness.systems` keeps it."""
    interpreter: PreparedInterpreter | None = None
    uv_sha256: str | None = None
    before: PreparedEnvironment | None = None
    """Of one that is upgraded: what the older uv had made."""
    failed_stage: Stage | None = None
    problem: str = ""
    not_applicable: bool = False
    """Whether ``problem`` says that there is no such interpreter, rather than what failed."""
    seconds: float | None = None
    """Wall time that it took to be made or found."""


class PreparedExtension(_Model):
    """A sample's unpacked files for one CPython and platform, or why there are none."""

    tree: Path | None = None
    wheels: dict[str, str] = {}
    problem: str = ""
    not_applicable: bool = False
    """Whether ``problem`` says that there is nothing to be done, rather than what failed."""


class Prepared(_Model):
    """Everything that the workers of a run need to know."""

    run: str
    owner: str
    engine_version: str
    emulators: dict[str, str | None]
    """Version of the QEMU that runs a foreign platform, by platform; None where it is native."""
    environments: dict[str, PreparedEnvironment]
    """By environment id."""
    extensions: dict[str, PreparedExtension]
    """By the key of :func:`extension_key`."""
    wanted: dict[str, tuple[str, ...]]
    """Names of the directories that each environment's container gets, by environment id."""

    def extension(self, cell: Cell) -> PreparedExtension:
        """A cell's sample."""
        return self.extensions[extension_key(tree_name(cell), cell.environment)]

    def trees(self, environment: Environment) -> dict[str, Path]:
        """The unpacked samples of an environment, by the name of their directory."""
        found = {
            name: self.extensions[extension_key(name, environment)].tree
            for name in self.wanted[environment.id]
        }
        return {name: tree for name, tree in found.items() if tree is not None}

    def running(self, cell: Cell) -> PreparedInterpreter | None:
        """Whose interpreter is in place: a newer uv alone leaves the older one's there."""
        environment = self.environments[cell.environment.id]
        if cell.remedy is Remedy.UPGRADE_ONLY and environment.before:
            return environment.before.interpreter
        return environment.interpreter

    def linked(self, cell: Cell) -> LinkModel | None:
        """How the interpreter that runs is linked, as its files say."""
        found = self.running(cell)
        return found.inside.linked if found else None

    def pins(self, cell: Cell) -> dict[str, object]:
        """Everything that a cell's outcome rests on, by digest or version."""
        environment = self.environments[cell.environment.id]
        image, interpreter, before = environment.image, environment.interpreter, environment.before
        return {
            "image": image.id if image else None,
            "base_origin": image.origin if image else None,
            "base_digest": image.base_digest if image else None,
            "uv_sha256": environment.uv_sha256,
            **_pins_of(interpreter),
            "before": before and {"uv_sha256": before.uv_sha256, **_pins_of(before.interpreter)},
            "wheels": self.extension(cell).wheels,
            "qemu": self.emulators[cell.environment.interpreter.platform],
            "engine": self.engine_version,
        }

    def seconds(self, cell: Cell) -> float | None:
        """Wall time that a cell's environment took to be made or found."""
        return self.environments[cell.environment.id].seconds

    def save(self, path: Path) -> None:
        """Write the file that :meth:`load` reads."""
        path.write_text(self.model_dump_json())

    @classmethod
    def load(cls, path: Path) -> Prepared:
        """Read what :meth:`save` wrote; :class:`ConfigurationError` where that is damaged."""
        try:
            raw = inputs.content(path, most=MOST_BYTES)
            return cls.model_validate_json(raw)
        except OSError as error:
            problem = f"{path} cannot be read: {error.strerror or error}"
        except ValidationError as error:
            problem = f"{inputs.mistake(error, raw, path)}"
        raise ConfigurationError(
            problem, advice="Somebody has changed this run's folder meanwhile; run it again."
        )


def _pins_of(interpreter: PreparedInterpreter | None) -> dict[str, object]:
    return {
        "archive": interpreter and interpreter.archive,
        "archive_sha256": interpreter and interpreter.sha256,
        "archive_by": interpreter and interpreter.route,
        "archive_is_replica": interpreter and interpreter.inside.is_replica,
    }


def extension_key(name: str, environment: Environment) -> str:
    """Which files an environment gets for a directory of samples."""
    return f"{name}-{environment.interpreter.python}-{environment.interpreter.platform}"
