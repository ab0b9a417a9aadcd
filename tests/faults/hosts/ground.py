"""A cache and images of this process's own, for faults that would harm those of others.

Made when a fault first needs them, and removed when the process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path

from harness import cache, engine
from tests.faults import ownmatrix
from tests.faults.hosts.scene import Scene, not_right
from tests.faults.ownmatrix import OwnMatrix
from tests.faults.room import Room


@dataclass(kw_only=True)
class Own:
    """What there is."""

    folder: Path
    matrix: OwnMatrix
    images: set[str] = field(default_factory=set)
    """Ids of the images of the environments."""

    @property
    def cache(self) -> Path:
        """The folder of the cache."""
        return self.folder / "cache"

    def scene(self, room: Room) -> Scene:
        """Runs on it."""
        return Scene(
            room=room,
            environment={cache.LOCATION_VARIABLE: str(self.cache)},
            options=(self.matrix.option,),
        )

    def settle(self, room: Room) -> None:
        """Make what is missing, so that runs are warm. Raises :class:`RuntimeError`."""
        ran = self.scene(room).run("-n", "0")
        if problems := not_right(ran):
            raise RuntimeError(f"an undisturbed run is not right: {problems}")
        self.images |= ownmatrix.environments(ran.results)

    def without_images(self, room: Room) -> None:
        """Remove the images of the environments, which are built again then."""
        ownmatrix.remove_environments(room.client, self.images)
        self.images.clear()

    def without(self, *kinds: str) -> None:
        """Remove some kinds of cache entries."""
        for kind in kinds:
            for path in (self.cache / kind).glob("[0-9a-f]*"):
                cache.discard(path)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Have this process look at that cache, too."""
        before = os.environ.get(cache.LOCATION_VARIABLE)
        os.environ[cache.LOCATION_VARIABLE] = str(self.cache)
        try:
            yield
        finally:
            if before is None:
                del os.environ[cache.LOCATION_VARIABLE]
            else:
                os.environ[cache.LOCATION_VARIABLE] = before

    def remove(self) -> None:
        """Remove it all."""
        with self.located():
            ownmatrix.remove(engine.connect(), self.images)
        shutil.rmtree(self.folder, ignore_errors=True)


@once
def own() -> Own:
    """This process's."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    found = Own(folder=folder, matrix=OwnMatrix.make(folder / "matrix"))
    ownmatrix.link_cache(found.cache)
    atexit.register(found.remove)
    return found
