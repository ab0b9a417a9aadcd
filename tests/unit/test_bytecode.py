"""Bytecode that a container makes of a sample's modules; without an engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError, NotFound

from harness import bytecode, cache
from harness.errors import BuildError, ToolError
from harness.platforms import Platform


class FakeContainer:
    """Gives whatever a test put into its tar."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.got: list[str] = []

    def put_archive(self, directory: str, packed: Any) -> None:
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as tar:
            self.got += [f"{directory}/{name}" for name in tar.getnames()]

    def start(self) -> None:
        self._engine.starts += 1
        if self._engine.problem:
            raise self._engine.problem

    def wait(self, timeout: float) -> dict[str, int]:
        return {"StatusCode": 0}

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, object]]:
        if self._engine.tar is None:
            raise NotFound("nothing there")
        return iter([self._engine.tar]), {}

    def remove(self, **_: object) -> None:
        self._engine.removed += 1


class FakeEngine:
    """An engine with one kind of container."""

    def __init__(self) -> None:
        self.tar: bytes | None = None
        self.problem: Exception | None = None
        self.made: list[FakeContainer] = []
        self.commands: list[list[str]] = []
        self.starts = self.removed = 0
        self.containers = self

    def create(self, image: str, command: list[str], **options: Any) -> FakeContainer:
        assert options["network_mode"] == "none"
        self.commands.append(command)
        self.made.append(FakeContainer(self))
        return self.made[-1]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sample with a package of one module, and a link out of it."""
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    made = tmp_path / "installed" / "0123"
    (made / "site" / "pkg").mkdir(parents=True)
    (made / "site" / "pkg" / "mod.py").write_text("answer = 42\n")
    (made / "symbols.json").write_text("{}")
    (tmp_path / "outside").mkdir()
    (made / "site" / "link").symlink_to(tmp_path / "outside")
    return made


def tar_of(*members: tarfile.TarInfo | str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = 3
            tar.addfile(member, io.BytesIO(b"pyc") if member.isreg() else None)
    return stream.getvalue()


def added(tree: Path, engine: FakeEngine) -> Path:
    client = cast(docker.DockerClient, engine)
    return bytecode.added(tree, "3.13", "image", Platform.X86_64, client, run="r", owner="o")


MADE = "site/pkg/__pycache__/mod.cpython-313.pyc"


def test_bytecode_lies_beside_its_module_in_a_copy(tree: Path, engine: FakeEngine) -> None:
    engine.tar = tar_of(MADE)
    made = added(tree, engine)
    assert (made / MADE).read_bytes() == b"pyc"
    assert (made / MADE).stat().st_mode & 0o777 == 0o644
    assert (made / "site" / "pkg" / "mod.py").read_text() == "answer = 42\n"
    assert (made / "symbols.json").exists()
    assert not (tree / MADE).exists(), "the entry that it was made from has changed"
    assert "/opt/extensions/site/pkg/mod.py" in engine.made[0].got
    assert engine.removed == 1


def test_it_is_made_once(tree: Path, engine: FakeEngine) -> None:
    engine.tar = tar_of(MADE)
    assert added(tree, engine) == added(tree, engine)
    assert engine.starts == 1


def test_sources_are_compiled_and_none_is_run(tree: Path, engine: FakeEngine) -> None:
    engine.tar = tar_of(MADE)
    added(tree, engine)
    (command,) = engine.commands
    assert command[:3] == ["timeout", "--signal=KILL", "600"]
    assert command[3:7] == ["/opt/venv/bin/python", "-I", "-m", "compileall"]
    assert "unchecked-hash" in command


def test_where_there_is_no_module_nothing_is_done(tree: Path, engine: FakeEngine) -> None:
    (tree / "site" / "pkg" / "mod.py").unlink()
    assert added(tree, engine) == tree
    assert engine.starts == 0


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        "site/pkg/mod.py",
        "site/pkg/mod.so",
        "site/pkg/mod.pyc",
        "site/other/__pycache__/mod.cpython-313.pyc",
        "site/../../__pycache__/mod.cpython-313.pyc",
        "site/link/__pycache__/mod.cpython-313.pyc",
        link("site/pkg/__pycache__/linked.cpython-313.pyc", "/etc/passwd"),
    ],
    ids=lambda member: getattr(member, "name", member),
)
def test_nothing_else_of_a_container_is_taken(
    member: tarfile.TarInfo | str, tree: Path, engine: FakeEngine, tmp_path: Path
) -> None:
    """Whatever it says that it has made, and wherever that would lead."""
    before = {path: path.is_dir() for path in (tmp_path / "outside", *tree.rglob("*"))}
    engine.tar = tar_of(member)
    made = added(tree, engine)
    inside = {path.relative_to(made) for path in made.rglob("*")}
    assert inside == {path.relative_to(tree) for path in tree.rglob("*")}
    assert (made / "site" / "pkg" / "mod.py").read_text() == "answer = 42\n"
    assert {path: path.is_dir() for path in before} == before
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_container_that_has_too_much_is_refused(
    tree: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecode, "MOST_BYTES", 1 << 20)
    engine.tar = bytes(2 << 20)
    with pytest.raises(ToolError, match="more than 1 MB"):
        added(tree, engine)
    assert engine.removed == 1


def test_an_engine_that_fails_is_told_and_its_container_removed(
    tree: Path, engine: FakeEngine
) -> None:
    engine.problem = APIError("no")
    with pytest.raises(BuildError, match=r"compiling the modules of 0123 for CPython 3\.13"):
        added(tree, engine)
    assert engine.removed == 1
