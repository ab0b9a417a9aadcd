"""A limit to what images take, on the real engine; of images that are nothing but a file or two."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from harness import cache, engine, imagestorage

SIZE = 300_000


@dataclass(frozen=True, kw_only=True)
class Images:
    """Four images, the last three built on the first; the youngest use is that of the last."""

    client: docker.DockerClient
    label: str
    tags: tuple[str, ...]

    @property
    def left(self) -> list[str]:
        """Which of them are there."""
        there = [tag for image in self.client.images.list() for tag in image.tags]
        return [name for name in self.tags if any(tag.endswith(name) for tag in there)]

    def prune(self, to: int) -> imagestorage.Pruned:
        return imagestorage.prune(self.client, to, labels=(self.label,))


@pytest.fixture
def images(
    client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Images]:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path))
    token = secrets.token_hex(6)
    tags = tuple(f"pbs-matrix/environment:{token}-{number}" for number in range(4))
    label = f"{engine.LABEL}.test={token}"
    found = Images(client=client, label=label, tags=tags)
    try:
        for number, tag in enumerate(tags):
            _build(client, tag, tags[0] if number else "scratch", label)
        _note_uses(client, tags)
        yield found
    finally:
        for tag in reversed(tags):
            with suppress(ImageNotFound):
                client.images.remove(tag, force=True)


def _build(client: docker.DockerClient, tag: str, base: str, label: str) -> None:
    texts = {
        "Dockerfile": f"FROM {base}\nLABEL {engine.KIND}=environment {label}\nCOPY f /{tag}\n",
        "f": secrets.token_hex(SIZE // 2),
    }
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, text in texts.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        stream.seek(0)
        client.images.build(
            fileobj=stream, custom_context=True, tag=tag, network_mode="none", rm=True, forcerm=True
        )


def _note_uses(client: docker.DockerClient, tags: tuple[str, ...]) -> None:
    """Uses of days ago, by a process that is gone."""
    for number, tag in enumerate(tags):
        imagestorage.note(client, tag)
        (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
        moment = time.time() - 86400 * (len(tags) - number)
        os.utime(imagestorage._mark(folder, tag), (moment, moment))
    for path in folder.glob("*.user"):
        path.unlink()


def test_the_least_recently_used_go_until_the_limit_is_kept(images: Images) -> None:
    assert images.prune(4 * SIZE).removed == ()
    found = images.prune(3 * SIZE)
    assert (found.before, found.after) == (4 * SIZE, 3 * SIZE)
    assert [(each.image.name, each.freed) for each in found.removed] == [(images.tags[1], SIZE)]
    assert images.left == [images.tags[0], *images.tags[2:]]
    found = images.prune(0)
    assert [each.image.name for each in found.removed] == [*images.tags[2:], images.tags[0]]
    assert (found.after, images.left) == (0, [])


def test_what_is_freed_is_what_the_engine_says_is_no_others(images: Images) -> None:
    """Docker tells it in what `docker system df -v` shows; Podman counts there otherwise."""
    if engine.name(images.client.version()) != "Docker":
        pytest.skip("not Docker")
    its = {image["Id"]: image for image in images.client.df()["Images"]}
    (removed,) = images.prune(3 * SIZE).removed
    image = its[removed.image.id]
    assert removed.freed == image["Size"] - image["SharedSize"]


def test_what_a_container_or_a_live_run_has_and_what_others_have_named_stays(
    images: Images,
) -> None:
    client, (_, one, two, three) = images.client, images.tags
    own = f"somebody-else/{secrets.token_hex(6)}"
    container = client.containers.create(one, ["never started"], network_mode="none")
    try:
        client.images.get(two).tag(own, "kept")
        imagestorage.note(client, three)
        found = images.prune(0)
        assert found.removed == ()
        assert images.left == list(images.tags)
        client.images.remove(f"{own}:kept")
        assert [each.image.name for each in images.prune(0).removed] == [two]
        assert images.left == [images.tags[0], one, three]
    finally:
        container.remove(force=True)
        with suppress(ImageNotFound):
            client.images.remove(f"{own}:kept", force=True)
