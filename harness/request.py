"""Which cells are asked for: a profile, releases beside its own, and a selection of all that."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from harness.errors import ConfigurationError
from harness.lock import Lock
from harness.matrix import Axes, Inclusion, Matrix
from harness.plan import Cell, Selection, plan
from harness.releasechoice import check_choice
from harness.resolution import Resolution


class Request(BaseModel):
    """What the options of a run say of its cells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str = "default"
    also_releases: tuple[str, ...] = ()
    """Choices as in matrix.yaml: each uv of the profile gets cells of these releases as well."""
    selection: Selection = Selection()

    def extended(self, matrix: Matrix) -> Matrix:
        """The matrix with those releases in the profile.

        Raises :class:`ConfigurationError` for what names no release.
        """
        for choice in self.also_releases:
            try:
                check_choice(choice)
            except ValueError as error:
                raise ConfigurationError(
                    f"--also-release {choice!r}: {error}",
                    advice="Name a release such as 20250517, latest, or a range of them.",
                ) from None
        if not self.also_releases or self.profile not in matrix.profiles:
            return matrix  # planning says which profiles there are
        chosen = matrix.profiles[self.profile]
        axes = {name: getattr(chosen, name) for name in Axes.model_fields}
        more = Inclusion.model_construct(**{**axes, "releases": self.also_releases})
        profile = chosen.model_copy(update={"include": (*chosen.include, more)})
        return matrix.model_copy(update={"profiles": {**matrix.profiles, self.profile: profile}})

    def cells(self, matrix: Matrix, lock: Lock, resolution: Resolution) -> tuple[Cell, ...]:
        """The cells; ``matrix`` is the extended one, ``lock`` may lack what was resolved."""
        return plan(
            matrix,
            resolution.completed(lock),
            profile=self.profile,
            source=resolution.source,
            names=resolution.names,
            selection=self.selection,
        )
