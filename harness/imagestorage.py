"""What this project's images take on the engine's disk, and a limit to it.

An engine does not know when an image was used. So whoever asks for one notes that in the cache
(:func:`note`), *before* looking whether it is there; and who removes images looks at the notes
*after* having taken the lock under which they are made. So one of the two always sees the other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError
from rich.filesize import decimal

from harness import cache, engine, owner
from harness.errors import BuildError, ConfigurationError, HarnessError
from harness.sizes import parse_size
from harness.why import printable

LIMIT_VARIABLE = "PBS_MATRIX_IMAGES_LIMIT"
"""Environment variable: what the images may take, such as 20GB; without it, what they like."""

RESERVE_VARIABLE = "PBS_MATRIX_DISK_RESERVE"
"""Environment variable: what is to be free on the engine's disk before images are built."""

RESERVE = "2GB"
"""The same by default: more than a few images take."""

KINDS = ("environment", "upgrade", "base", "builder", "builder-rust")
"""Images that are made again where they are needed."""

NOTES = "image-uses"
"""Folder of the cache in which uses are noted."""

FRESH = 3600.0
"""Seconds for which an image stays of which no use is noted: somebody elsewhere may be at it."""

_DAY = 86400.0
"""Seconds after which a process of another container, which cannot be seen, is believed gone."""

_USER, _USED = ".user", ".used"
"""Ends of names in the folder of notes: of a process and what it has asked for; of an image."""

_LAYERS = "layers.json"
"""Name in that folder: of the layers of each image."""

_KNOWN = TypeAdapter(dict[str, dict[str, int]])

_OURS = re.compile(r"(?:^|/)(pbs-matrix/.*)")
"""The name of an image; Podman puts a registry before it."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An image of this project."""

    id: str
    tags: tuple[str, ...]
    about: str
    """The environment or base that it is of, for people."""
    created: float
    """Seconds since the epoch, as with all times here."""
    used: float | None
    """None where no use is noted here."""
    layers: Mapping[str, int]
    """Bytes, by what they are and all that is below them."""

    @property
    def age(self) -> float:
        """By what it is sorted: when it was used, or else made."""
        return self.created if self.used is None else self.used

    @property
    def name(self) -> str:
        """For people."""
        match = _OURS.search(self.tags[0]) if self.tags else None
        return printable(match[1] if match else self.id)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """An image that is gone."""

    image: Stored
    freed: int
    """Bytes that only this image had at that time."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What came of it."""

    removed: tuple[Removed, ...] = ()
    before: int = 0
    """Bytes, what images share counted once."""
    after: int = 0
    wanted: int = 0
    in_use: int = 0
    """Images that stay since a run or a container has them, or since they are new."""
    foreign: bool = False
    """Whether a run that cannot be looked at from here is at work, so that nothing was removed."""
    problems: tuple[str, ...] = ()


def limit(environment: Mapping[str, str] | None = None) -> int | None:
    """Bytes that :data:`LIMIT_VARIABLE` names; :class:`ConfigurationError` if it is no size."""
    return _size(LIMIT_VARIABLE, os.environ if environment is None else environment)


def reserve(environment: Mapping[str, str] | None = None) -> int:
    """Bytes that are to be free, by :data:`RESERVE_VARIABLE`; errors as :func:`limit`."""
    given = _size(RESERVE_VARIABLE, os.environ if environment is None else environment)
    return parse_size(RESERVE) if given is None else given


def _size(variable: str, environment: Mapping[str, str]) -> int | None:
    text = environment.get(variable, "").strip()
    if not text:
        return None
    try:
        return parse_size(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable}: {error.problem}", advice=error.advice) from error


def note(client: docker.DockerClient, tag: str) -> None:
    """Note that this process uses an image from now on; to be called before it is looked for.

    It is in use for as long as this process lives.
    """
    with _notes(client) as folder:
        mine = folder / f"{cache.digest(_this_process())[:24]}{_USER}"
        if not mine.exists():
            _living(folder)  # which has the notes of the others removed
            mine.write_text(f"{_this_process()}\n", encoding="utf-8")
        with mine.open("a", encoding="utf-8") as stream:
            stream.write(f"{tag}\n")
        _mark(folder, tag).touch()


def hold(client: docker.DockerClient, wanted: int | None, say: Say) -> None:
    """Keep to a limit, where there is one; what goes wrong is said, and ends no run."""
    if wanted is None:
        return
    try:
        for line in report(prune(client, wanted)):
            say(line)
    except HarnessError as error:
        say(f"{LIMIT_VARIABLE}: {error.problem}")


def make_room(client: docker.DockerClient, wanted: int, say: Say) -> None:
    """Have ``wanted`` bytes free on the engine's disk, by removing images as :func:`prune` does.

    What goes wrong, or does not suffice, is said, and ends no run: what is to be built may need
    less. Nothing is known of the disk of an engine elsewhere.
    """
    try:
        place = engine.storage(client)
        free = _free(place)
        if place is None or free is None or free >= wanted:
            return
        say(f"{decimal(free)} are free on {place}, less than {decimal(wanted)}: removing images")
        taken = prune(client, sys.maxsize).before
        for line in report(prune(client, max(0, taken - (wanted - free)))):
            say(line)
        free = _free(place)
        if free is not None and free < wanted:
            say(
                f"{decimal(free)} are free on {place} even so; `pbs-matrix cache prune --to SIZE` "
                f"may free more. {RESERVE_VARIABLE} says how much is to be free"
            )
    except HarnessError as error:
        say(f"{RESERVE_VARIABLE}: {error.problem}")


def _free(place: str | None) -> int | None:
    try:
        return None if place is None else shutil.disk_usage(place).free
    except OSError:  # it is not for this user to see
        return None


def prune(client: docker.DockerClient, to: int, *, labels: Sequence[str] = ()) -> Pruned:
    """Remove images, the least recently used first, until all take ``to`` bytes at most.

    What a container has stays, and what a live process of this machine has asked for; so does what
    has a name that somebody else gave it. An image that others are built on goes after them.
    ``labels``: only images that have these too are looked at. Raises :class:`HarnessError` where
    the engine does not answer, or does not say what images are made of.
    """
    with engine.asking("looking at the images"), _notes(client) as folder:
        found = _look(client, folder, labels)
        containers = client.api.containers(all=True)
        busy = {str(each["ImageID"]) for each in containers}
        owners = {(each.get("Labels") or {}).get(engine.OWNER) for each in containers}
        foreign = any(map(_is_elsewhere, filter(None, owners)))
        asked_for = {tag for tags in _living(folder) for tag in tags}
        now = time.time()

        def is_used(image: Stored) -> bool:
            names = [_OURS.search(tag) for tag in image.tags]
            return (
                image.id in busy
                or not all(names)
                or any(name and name[1] in asked_for for name in names)
                or (image.used is None and now - image.created < FRESH)
            )

        used = {image.id for image in found if is_used(image)}
        room = _Room(found, used)
        before = room.size
        removed: list[Removed] = []
        problems: list[str] = []
        left = [] if foreign else [image for image in found if image.id not in used]
        # What others are built on has its turn when these are gone.
        while image := next((i for i in left if not room.is_below_others(i)), None):
            if room.size <= to:
                break
            left.remove(image)
            try:
                if not _remove(client, image, folder):
                    used.add(image.id)
                    continue
            except (DockerException, requests.RequestException) as error:
                problems.append(engine.translated(error, f"removing {image.name}").problem)
                continue
            removed.append(Removed(image=image, freed=room.take(image)))
    return Pruned(
        removed=tuple(removed),
        before=before,
        after=room.size,
        wanted=to,
        in_use=len(used),
        foreign=foreign,
        problems=tuple(problems),
    )


def report(pruned: Pruned) -> Iterator[str]:
    """A line for each image that went, and one more where they take too much all the same."""
    from harness import storage

    now = time.time()
    for each in pruned.removed:
        image = each.image
        when = "made" if image.used is None else "used"
        about = f" ({printable(image.about)})" if image.about else ""
        ago = storage.age(max(0.0, now - image.age))
        yield f"removed {image.name}{about}: {decimal(each.freed)}, {when} {ago} ago"
    yield from map(printable, pruned.problems)
    if pruned.removed:
        sizes = f"{decimal(pruned.before)} before, {decimal(pruned.after)} after"
        noun = "image" if len(pruned.removed) == 1 else "images"
        yield f"removed {len(pruned.removed)} {noun}: {sizes}"
    if pruned.after > pruned.wanted:
        why = f"{pruned.in_use} of them are in use, or new"
        if pruned.foreign:
            why = "a run elsewhere is at work on this engine, and which it needs is not known here"
        taken = decimal(pruned.after)
        yield f"the images take {taken}, more than {decimal(pruned.wanted)}: {why}"


class _Room:
    """What some images take together."""

    def __init__(self, images: Sequence[Stored], used: Collection[str]) -> None:
        self._images = {image.id: image for image in images}
        self._used = used
        self._sizes = {layer: size for image in images for layer, size in image.layers.items()}
        self._counts = Counter(layer for image in images for layer in image.layers)
        self.size = sum(self._sizes.values())

    def take(self, image: Stored) -> int:
        """Be without an image; the bytes that nobody else has."""
        del self._images[image.id]
        self._counts.subtract(image.layers.keys())
        freed = sum(self._sizes[layer] for layer in image.layers if not self._counts[layer])
        self.size -= freed
        return freed

    def is_below_others(self, image: Stored) -> bool:
        """Whether nothing is gained without it, since another one has all that it has."""
        mine = image.layers.keys()
        if any(self._counts[layer] == 1 for layer in mine):
            return False
        return not mine or any(
            other.layers.keys() > mine or (other.layers.keys() == mine and other.id in self._used)
            for other in self._images.values()
            if other is not image
        )


@contextmanager
def _notes(client: docker.DockerClient) -> Iterator[Path]:
    """The folder of what is noted of an engine's images, while nobody else reads or writes it."""
    name = cache.digest(str(getattr(client, "address", "")))
    # Not named as the cache's entries are, which are pruned.
    folder = cache.root() / NOTES / f"engine-{name[:24]}"
    with cache.disk_full_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield folder


def _living(folder: Path) -> list[list[str]]:
    """What each process that lives has asked for; the notes of others are removed."""
    found = []
    for path in folder.glob(f"*{_USER}"):
        who, *tags = path.read_text(encoding="utf-8").splitlines() or ("",)
        is_old = time.time() - path.stat().st_mtime > _DAY
        if not owner.is_alive(who) or (is_old and _is_elsewhere(who)):
            path.unlink()
        else:
            found.append(tags)
    return found


def _mark(folder: Path, tag: str) -> Path:
    return folder / f"{cache.digest(tag)[:24]}{_USED}"


@lru_cache(1)
def _name_of(process: int) -> str:
    return owner.this_process()


def _this_process() -> str:
    return _name_of(os.getpid())


def _is_elsewhere(label: str) -> bool:
    """Whether a process is of another machine or container, so that its notes may be as well."""
    match label.split():
        case [machine, boot, namespace, _, _]:
            here = _this_process().split()
            return machine != here[0] or (boot == here[1] and namespace != here[2])
        case _:
            return True


def _look(client: docker.DockerClient, folder: Path, labels: Sequence[str]) -> list[Stored]:
    """The images of this project, the least recently used first."""
    known = _known_layers(folder)
    found = []
    for each in client.api.images(filters={"label": [engine.KIND, *labels]}):
        about = each.get("Labels") or {}
        if about.get(engine.KIND) not in KINDS:
            continue
        tags = tuple(tag for tag in each.get("RepoTags") or () if not tag.startswith("<none>"))
        marks = [_mark(folder, match[1]) for match in map(_OURS.search, tags) if match]
        uses = [moment for mark in marks if (moment := _time_of(mark)) is not None]
        name = str(each["Id"])
        with suppress(ImageNotFound):
            found.append(
                Stored(
                    id=name,
                    tags=tags,
                    about=str(
                        about.get(f"{engine.LABEL}.environment")
                        or about.get(f"{engine.LABEL}.base", "")
                    ),
                    created=float(each["Created"]),
                    used=max(uses, default=None),
                    layers=known.get(name) or _layers(client, name),
                )
            )
    layers = {image.id: image.layers for image in found}
    if not labels and layers != known:
        (folder / _LAYERS).write_text(json.dumps(layers), encoding="utf-8")
    return sorted(found, key=lambda image: (image.age, image.created, image.id))


def _known_layers(folder: Path) -> dict[str, dict[str, int]]:
    """What was asked before, by image: to ask takes a while for each, and nothing changes."""
    try:
        return _KNOWN.validate_json((folder / _LAYERS).read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _layers(client: docker.DockerClient, image: str) -> dict[str, int]:
    """Those that take something. An engine says of each how it was made, and no other name."""
    found: dict[str, int] = {}
    place = ""
    try:
        for entry in reversed(client.api.history(image)):
            # With all that is below: the same file on another base is another layer.
            place = cache.digest(place, entry["Created"], entry["CreatedBy"], entry["Size"])
            if entry["Size"]:
                found[place] = int(entry["Size"])
    except (KeyError, TypeError, ValueError) as error:
        raise BuildError(
            "the engine does not say what its images are made of, so their size is not known",
            advice="Remove them all with `pbs-matrix clean --images`.",
        ) from error
    return found


def _remove(client: docker.DockerClient, image: Stored, folder: Path) -> bool:
    """Remove an image; False where somebody has it. Never by force, which would take it away."""
    for name in image.tags or (image.id,):
        try:
            client.api.remove_image(name)
        except ImageNotFound:
            pass
        except APIError as error:
            if error.status_code != 409:
                raise
            return False
        if match := _OURS.search(name):
            _mark(folder, match[1]).unlink(missing_ok=True)
    return True
