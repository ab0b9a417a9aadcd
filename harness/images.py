"""Images: bases, pulled or built from Debian packages, and one per environment on top.

An image's tag is the digest of everything that went in, so that an unchanged combination is
found again and not built again.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import assert_never

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image as DockerImage
from packaging.version import Version
from urllib3.exceptions import HTTPError

from harness import (
    archives,
    cache,
    debian,
    engine,
    errors,
    imagestorage,
    interpreters,
    owner,
    project,
    routes,
    scratch,
)
from harness.image import Image, Origin
from harness.interpreters import Archive
from harness.interruption import RUNS
from harness.matrix import Base
from harness.plan import Environment, Interpreter
from harness.platforms import Platform
from harness.routes import Installation, Route
from harness.turns import turn

ESSENTIAL = (
    *("base-files", "bash", "coreutils", "dash", "grep", "libc-bin", "sed", "tar"),
    # Every Debian image has it, for apt; the manylinux rules let wheels rely on it.
    "libstdc++6",
)
"""What a base built from packages has at least, so that a person can look around in it."""


PULLED = f"{engine.LABEL}/pulled"
"""The name of pulled bases on the engine; the tag is of the digest and the platform."""


SAVED = "base-images"
"""Kind of cache entry: a pulled base as a tar, for an engine that does not have it."""


class Images:
    """The images of one engine. Safe to use from several threads and processes at once."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self._unreachable: str | None = None

    @property
    def client(self) -> docker.DockerClient:
        """The engine that the images are on."""
        return self._client

    @property
    def registry_problem(self) -> str | None:
        """Why no base image could be pulled, where one was tried; None where all could."""
        return self._unreachable

    def base(self, name: str, base: Base, platform: Platform, packages: tuple[str, ...]) -> Image:
        """A base image with packages added: pulled if a registry answers, built otherwise."""
        doing = f"making the base image {name} for {platform}"
        with engine.asking(doing):
            pulled = self._pull(base, platform)
            if pulled is not None:
                return self._pulled_base(name, base, platform, packages, pulled, doing)
            wanted = tuple(sorted({*ESSENTIAL, *packages}))
            root = _debian_root(base.suite, wanted, platform)
            origin, digest = Origin.BUILT, (root / "sha256").read_text()
            tag = self.build(
                "base",
                files={"root.tar": root / "root.tar"},
                platform=platform,
                inputs=[digest],
                arguments={},
                labels={"base": name, "origin": origin, "base-digest": digest},
                doing=doing,
            )
            return self._inspect(tag, origin, digest)

    def environment(
        self,
        environment: Environment,
        base: Image,
        archive: Archive,
        installation: Installation,
        uv: Path,
        uv_sha256: str,
    ) -> Image:
        """The image of an environment: uv installs the interpreter in it, without a network.

        For one that is upgraded, ``base`` is the image of the environment before.
        """
        interpreter = environment.interpreter
        files = {"uv": uv}
        texts = {}
        match installation.route:
            case Route.OWN_METADATA:
                files[f"mirror/{interpreter.release}/{archive.name}"] = archive.path
            case Route.DOWNLOADS_JSON:
                files[f"mirror/{interpreter.release}/{archive.name}"] = archive.path
                texts["mirror/downloads.json"] = downloads_json(interpreter, archive)
            case Route.UNPACKED:
                files["mirror/python.tar"] = interpreters.unpacked(interpreter, archive)
            case _:
                assert_never(installation.route)
        arguments = {
            "BASE": base.tag,
            "SETTINGS": " ".join(f"{k}={v}" for k, v in installation.settings.items()),
        }
        if environment.upgrade:
            recipe, command = "upgrade", environment.upgrade.remedy.uv_command
            if installation.route is Route.UNPACKED:
                raise errors.ToolError(
                    f"uv {environment.uv} cannot be told of an archive, so nothing can be upgraded",
                    advice=f"Upgrade with uv {routes.TAKES_DOWNLOADS_JSON} or a later one.",
                )
            arguments["COMMAND"] = command.format(
                python=interpreter.python, version=archive.version
            )
        else:
            recipe = "environment"
            arguments |= {"INSTALL": installation.command, "PYTHON": installation.request}
        tag = self.build(
            recipe,
            files=files,
            texts=texts,
            platform=interpreter.platform,
            inputs=[base.tag, base.id, archive.sha256, uv_sha256, texts],
            arguments=arguments,
            labels={
                "environment": environment.id,
                "uv": environment.uv,
                "release": interpreter.release,
                "source": interpreter.source,
                "link-model": interpreter.link_model,
                "platform": interpreter.platform,
                "base": environment.base,
                "origin": base.origin,
                "base-digest": base.base_digest,
                "archive-sha256": archive.sha256,
                "uv-sha256": uv_sha256,
            },
            doing=f"building the image of {environment.id}",
        )
        with engine.asking(f"looking at the image of {environment.id}"):
            return self._inspect(tag, base.origin, base.base_digest)

    def _pull(self, base: Base, platform: Platform) -> str | None:
        """Pull a base and return its id, or None where there is none or no registry answers."""
        if base.image is None:
            return None
        kept = _kept_name(base.image, platform)
        with self._locked(base.image, f"pulls {base.image}"):
            if found := self._find(kept) or self._loaded(kept):
                return str(found.id)
            if self._unreachable is not None:
                return None
            # Docker has one image under a digest, and refuses another platform's.
            if other := self._find(base.image):
                its = Platform.named(str(other.attrs["Architecture"]))
                if its is not None and its is not platform:
                    other.tag(*_kept_name(base.image, its).split(":"))
                    self._client.images.remove(base.image, noprune=True)
            if problem := self._ask_registry(base.image, platform):
                # One answer serves the whole run: no time-out per image.
                self._unreachable = f"{base.image}: {problem}"
                return None
            image = self._client.images.get(base.image)
            if Platform.named(str(image.attrs["Architecture"])) is not platform:
                raise errors.BuildError(
                    f"{base.image}, pulled for {platform}, is for {image.attrs['Architecture']}",
                    advice="Name an image for several platforms by the digest of its index.",
                )
            image.tag(*kept.split(":"))
            key = cache.digest(kept)
            cache.entry(SAVED, key, lambda path: self._save(kept, path), check=cache.is_intact)
        return str(image.id)

    def _loaded(self, kept: str) -> DockerImage | None:
        """A base that this or another engine had pulled before, from the cache."""
        saved = cache.existing(SAVED, cache.digest(kept))
        if saved is None or not cache.is_intact(saved):
            return None
        with saved.open("rb") as stream:
            self._client.images.load(stream)
        return self._find(kept)

    def _save(self, kept: str, path: Path) -> None:
        with path.open("wb") as stream:
            for chunk in self._client.api.get_image(kept):
                stream.write(chunk)

    def _find(self, name: str) -> DockerImage | None:
        try:
            return self._client.images.get(name)
        except ImageNotFound:
            return None

    def _ask_registry(self, image: str, platform: Platform) -> str | None:
        """Have an image pulled; why it was not. An engine may tell that after it has said 200."""
        repository, _, digest = image.partition("@")
        try:
            for line in self._client.api.pull(
                repository, tag=digest, platform=platform.docker, stream=True, decode=True
            ):
                if "error" in line:
                    return str(line["error"])
        # A stream of messages that ends before its end raises urllib3's own.
        except (APIError, requests.RequestException, HTTPError) as error:
            return str(getattr(error, "explanation", None) or error)
        return None

    @contextmanager
    def _locked(self, what: str, doing: str) -> Iterator[None]:
        """Keep other workers, and other runs on this machine, from doing the same at once.

        On the same engine: another one has its own images, and may be slow.
        """
        name = cache.digest(what, str(getattr(self._client, "address", "")))
        locks = cache.root() / "image-locks"
        with ExitStack() as held:
            with cache.disk_full_explained(locks):
                locks.mkdir(parents=True, exist_ok=True)
                held.enter_context(turn(locks / f"{name[:24]}.lock", doing))
            RUNS.check()
            yield

    def _pulled_base(
        self,
        name: str,
        base: Base,
        platform: Platform,
        packages: tuple[str, ...],
        pulled: str,
        doing: str,
    ) -> Image:
        """A pulled image, with the packages that it lacks laid over it."""
        assert base.image is not None
        digest = base.image.partition("@")[2]
        with scratch.directory() as work:
            additional = work / "root.tar"
            if packages:
                status = self._read_file(pulled, "/var/lib/dpkg/status")
                debian.unpack(packages, platform, additional, suite=base.suite, installed=status)
            else:
                tarfile.open(additional, "w").close()
            tag = self.build(
                "base",
                files={"root.tar": additional},
                platform=platform,
                inputs=[pulled, packages, cache.file_digest(additional)],
                arguments={"FROM": pulled},
                labels={"base": name, "origin": Origin.PULLED, "base-digest": digest},
                doing=doing,
            )
        return self._inspect(tag, Origin.PULLED, digest)

    def _read_file(self, image: str, path: str) -> bytes:
        """A file of an image, without running anything of it."""
        # Labelled like a cell's, so that it is reaped like one should this process die here.
        labels = {
            engine.KIND: "cell",
            engine.RUN: "reader",
            engine.OWNER: owner.this_process(),
        }
        # Never started, so the command does not matter; an image without one would be refused.
        container = self._client.containers.create(image, ["true"], labels=labels)
        try:
            with tempfile.TemporaryFile() as packed:
                for chunk in container.get_archive(path)[0]:
                    packed.write(chunk)
                packed.seek(0)
                with tarfile.open(fileobj=packed) as tar:
                    member = tar.extractfile(tar.next() or path)
                    return member.read() if member else b""
        finally:
            # Else whoever runs next removes it.
            with suppress(DockerException, requests.RequestException):
                container.remove(force=True)

    def build(
        self,
        recipe: str,
        *,
        files: Mapping[str, Path],
        platform: Platform,
        inputs: object,
        arguments: dict[str, str],
        labels: Mapping[str, str],
        doing: str,
        texts: Mapping[str, str] | None = None,
    ) -> str:
        """Build a recipe of ``images/`` unless an image with this content is there; its tag."""
        texts = {**(texts or {}), **project.recipe(recipe)}
        content = cache.digest(recipe, platform, inputs, arguments, texts)
        tag = f"pbs-matrix/{recipe}:{content[:24]}"
        imagestorage.note(self._client, tag)
        with engine.asking(doing), self._locked(content, f"is {doing}"):
            if self._find(tag):
                return tag
            with scratch.directory() as work, cache.disk_full_explained(work):
                context = work / "context.tar"
                for path in files.values():
                    cache.require_intact(path)
                archives.write_context(context, files, texts)
                with context.open("rb") as stream:
                    self._client.images.build(
                        fileobj=stream,
                        custom_context=True,
                        tag=tag,
                        platform=platform.docker,
                        network_mode="none",
                        buildargs=arguments,
                        labels={
                            engine.KIND: recipe,
                            **{f"{engine.LABEL}.{k}": str(v) for k, v in labels.items()},
                        },
                        rm=True,
                        forcerm=True,
                    )
        return tag

    def _inspect(self, tag: str, origin: Origin, digest: str) -> Image:
        image = self._client.images.get(tag)
        return Image(tag=tag, id=str(image.id), origin=origin, base_digest=digest)


def _kept_name(image: str, platform: Platform) -> str:
    """By what name a pulled base is kept: an engine has one image under a digest, not one each."""
    return f"{PULLED}:{image.partition('@sha256:')[2][:24]}-{platform}"


def remove_all(client: docker.DockerClient) -> int:
    """Remove every image of this project that no container uses; their number.

    Raises :class:`harness.errors.HarnessError` where the engine refuses.
    """
    removed = 0
    with engine.asking("removing images"):
        for recipe in ("upgrade", "environment", "builder-rust", "builder", "base"):
            for image in client.images.list(filters={"label": f"{engine.KIND}={recipe}"}):
                removed += _remove(client, image.id)
        for image in client.images.list(name=PULLED):
            # The name that it was pulled by is perhaps somebody else's, too.
            removed += sum(_remove(client, tag) for tag in image.tags if f"{PULLED}:" in tag)
    return removed


def _remove(client: docker.DockerClient, name: str) -> bool:
    """Remove an image, or one of its names; False where a container uses it."""
    try:
        client.images.remove(name, force=True)
    except APIError as error:
        if error.status_code != 409:
            raise
        return False
    return True


def downloads_json(interpreter: Interpreter, archive: Archive) -> str:
    """Download metadata that offers one archive to ``uv python install``, as uv's own has it."""
    version = Version(archive.version)
    flavour, platform = interpreter.flavour, interpreter.platform
    entry = {
        "name": "cpython",
        "arch": {"family": platform.value, "variant": None},
        "os": "linux",
        "libc": flavour.libc,
        "major": version.major,
        "minor": version.minor,
        "patch": version.micro,
        "prerelease": "".join(map(str, version.pre or ())),
        "url": routes.url(interpreter, archive),
        "sha256": archive.sha256,
        "variant": flavour.variant.removeprefix("+") or None,
        "build": interpreter.release,
    }
    return json.dumps({flavour.uv_key(archive.version, platform): entry}, indent=1)


def _debian_root(suite: str, packages: tuple[str, ...], platform: Platform) -> Path:
    """A directory with ``root.tar``, packages unpacked for a platform, and its ``sha256``."""

    def make(path: Path) -> None:
        path.mkdir()
        debian.unpack(packages, platform, path / "root.tar", suite=suite)
        (path / "sha256").write_text(cache.file_digest(path / "root.tar"))

    return cache.entry("base-roots", cache.digest(suite, packages, platform), make)
