"""A limit to what images take: the least recently used go, and nobody's that are needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from docker.errors import APIError, ImageNotFound

from harness import cache, cli, containers, engine, imagestorage, owner
from harness.errors import BuildError, ConfigurationError, ExitCode

MB = 1_000_000
DAY = 86400.0

Layer = tuple[str, int]


class FakeEngine:
    """Images by name, of layers that may be shared; as Docker's API answers."""

    address = "fake"

    def __init__(self) -> None:
        self.api = self
        self.there: dict[str, dict[str, Any]] = {}
        self.running: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.refused: dict[str, int] = {}

    def add(
        self,
        name: str,
        *layers: Layer,
        days: float,
        kind: str = "environment",
        more: Iterable[str] = (),
        prefix: str = "",
    ) -> str:
        tag = f"{prefix}pbs-matrix/{kind}:{name}"
        self.there[f"sha256:{name}"] = {
            "Id": f"sha256:{name}",
            "RepoTags": [tag, *more],
            "Created": int(time.time() - days * DAY),
            "Labels": {engine.KIND: kind, f"{engine.LABEL}.environment": f"uv-{name}"},
            "layers": layers,
        }
        return tag

    def images(self, *, filters: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        assert filters["label"][0] == engine.KIND
        return list(self.there.values())

    def history(self, image: str) -> list[dict[str, Any]]:
        made = [
            {"CreatedBy": by, "Created": 1, "Size": size}
            for by, size in self.there[image]["layers"]
        ]
        return [{"CreatedBy": "LABEL", "Created": 2, "Size": 0}, *reversed(made)]

    def containers(self, *, all: bool) -> list[dict[str, Any]]:
        assert all
        return self.running

    def remove_image(self, name: str) -> None:
        if status := self.refused.get(name):
            response = type("Response", (), {"status_code": status, "reason": ""})
            raise APIError("x", response=response, explanation="it is in use")
        for image in self.there.values():
            tags = image["RepoTags"] or []  # none is told in both ways
            if name in (*tags, image["Id"]):
                self.removed.append(name)
                image["RepoTags"] = [tag for tag in tags if tag != name]
                if not image["RepoTags"]:
                    del self.there[image["Id"]]
                return
        raise ImageNotFound(name)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LOCATION_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(imagestorage.LIMIT_VARIABLE, raising=False)


def pruned(fake: FakeEngine, to: int) -> list[str]:
    """What is removed, by name."""
    client: Any = fake
    found = imagestorage.prune(client, to)
    assert found.after == found.before - sum(each.freed for each in found.removed)
    return [each.image.id.removeprefix("sha256:") for each in found.removed]


def noted(fake: FakeEngine, tag: str, *, days: float = 0.0, dead: bool = True) -> None:
    """A use, by default of a process that is gone."""
    client: Any = fake
    imagestorage.note(client, tag)
    (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
    moment = time.time() - days * DAY
    mark = imagestorage._mark(folder, tag)
    os.utime(mark, (moment, moment))
    if dead:
        for path in folder.glob("*.user"):
            path.unlink()


BASE: Layer = ("base", 100 * MB)


def three() -> FakeEngine:
    """Three environments on one base: 100 MB, and 10 MB of each."""
    fake = FakeEngine()
    fake.add("base", BASE, days=9, kind="base")
    for number in (1, 2, 3):
        fake.add(f"e{number}", BASE, (f"own-{number}", 10 * MB), days=10 - number)
    return fake


def test_the_oldest_go_until_the_limit_is_kept() -> None:
    assert pruned(three(), 110 * MB) == ["e1", "e2"]


def test_nothing_goes_where_the_limit_is_kept() -> None:
    fake = three()
    assert pruned(fake, 130 * MB) == []
    assert pruned(fake, 129 * MB) == ["e1"]


def test_a_layer_that_several_images_have_counts_once() -> None:
    client: Any = three()
    found = imagestorage.prune(client, 125 * MB)
    assert (found.before, found.after) == (130 * MB, 120 * MB)
    assert [each.freed for each in found.removed] == [10 * MB]


def test_the_same_file_on_another_base_is_another_layer() -> None:
    fake = FakeEngine()
    for number, base in enumerate("ab"):
        fake.add(f"e{number}", (base, MB), ("same", 10 * MB), days=9)
    client: Any = fake
    assert imagestorage.prune(client, 100 * MB).before == 22 * MB


def test_a_base_goes_after_what_is_built_on_it_though_it_is_older() -> None:
    assert pruned(three(), 0) == ["e1", "e2", "e3", "base"]


def test_a_base_stays_with_what_is_in_use_on_it() -> None:
    fake = three()
    fake.running = [{"ImageID": "sha256:e3", "Labels": {}}]
    assert pruned(fake, 0) == ["e1", "e2"]


def test_images_of_the_same_layers_do_not_wait_for_each_other() -> None:
    fake = FakeEngine()
    for name in ("one", "two"):
        fake.add(name, BASE, days=3)
    assert sorted(pruned(fake, 0)) == ["one", "two"]


def test_an_image_whose_layers_another_needs_does_not_go_for_nothing() -> None:
    fake = FakeEngine()
    fake.add("one", BASE, days=3)
    fake.add("two", BASE, days=2)
    fake.running = [{"ImageID": "sha256:two", "Labels": None}]
    assert pruned(fake, 0) == []


def test_when_an_image_was_used_goes_before_when_it_was_made() -> None:
    fake = three()
    noted(fake, "pbs-matrix/environment:e1", days=1)
    assert pruned(fake, 0)[:2] == ["e2", "e3"]


def test_a_use_is_noted_under_whatever_name_the_engine_gives_an_image() -> None:
    fake = FakeEngine()
    fake.add("old", ("x", MB), days=9, prefix="localhost/")
    fake.add("new", ("y", MB), days=8, prefix="localhost/")
    noted(fake, "pbs-matrix/environment:old", days=1)
    assert pruned(fake, 1 * MB) == ["new"]


def test_what_a_live_process_has_asked_for_stays_however_long_ago() -> None:
    fake = three()
    noted(fake, "pbs-matrix/environment:e1", days=8, dead=False)
    assert pruned(fake, 0) == ["e2", "e3"]


def test_what_another_live_process_has_asked_for_stays_until_it_ends() -> None:
    fake = three()
    program = (
        "import sys; from harness import imagestorage\n"
        "class Client: address = 'fake'\n"
        "imagestorage.note(Client(), 'pbs-matrix/environment:e1'); print('noted', flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "noted\n"
    assert pruned(fake, 0) == ["e2", "e3"]
    process.communicate()
    assert pruned(fake, 0) == ["e1", "base"]


def test_the_notes_of_processes_that_are_gone_do_not_pile_up() -> None:
    fake = three()
    noted(fake, "pbs-matrix/environment:e1", dead=False)
    (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
    (mine,) = folder.glob("*.user")
    machine, boot, namespace, _, _ = owner.this_process().split()
    dead = folder / "0.user"
    dead.write_text(f"{machine} {boot} {namespace} 1 0\npbs-matrix/environment:e2\n")
    mine.unlink()
    noted(fake, "pbs-matrix/environment:e1", dead=False)
    assert list(folder.glob("*.user")) == [mine]


def test_a_process_that_cannot_be_seen_counts_for_a_day() -> None:
    fake = three()
    noted(fake, "pbs-matrix/environment:e3", days=7)
    (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
    path = folder / "0.user"
    path.write_text("elsewhere boot namespace 1 2\npbs-matrix/environment:e2\n")
    assert pruned(fake, 110 * MB) == ["e1", "e3"]
    moment = time.time() - 1.1 * DAY
    os.utime(path, (moment, moment))
    assert pruned(fake, 0) == ["e2", "base"]


def test_a_new_image_of_which_no_use_is_noted_stays() -> None:
    """It may be of a run on another machine, that has not made its containers yet."""
    fake = FakeEngine()
    fake.add("new", BASE, days=0.01)
    assert pruned(fake, 0) == []
    noted(fake, "pbs-matrix/environment:new")
    assert pruned(fake, 0) == ["new"]


def test_nothing_goes_while_a_run_elsewhere_is_at_work() -> None:
    fake = three()
    labels = {engine.OWNER: "elsewhere boot namespace 1 2"}
    fake.running = [{"ImageID": "sha256:other", "Labels": labels}]
    assert pruned(fake, 0) == []
    client: Any = fake
    (line,) = imagestorage.report(imagestorage.prune(client, 0))
    assert "a run elsewhere is at work on this engine" in line


@pytest.mark.parametrize(
    ("label", "elsewhere"),
    [
        (owner.this_process(), False),
        (owner.this_process().replace(owner.this_process().split()[1], "earlier-boot"), False),
        (owner.this_process().replace(owner.this_process().split()[2], "container"), True),
        ("x", True),
        ("", True),
    ],
    ids=["this process", "before this boot", "another container", "odd", "empty"],
)
def test_which_processes_are_elsewhere(label: str, elsewhere: bool) -> None:
    assert imagestorage._is_elsewhere(label) is elsewhere


def test_an_image_that_somebody_has_named_is_not_removed() -> None:
    fake = three()
    fake.there["sha256:e1"]["RepoTags"].append("mine:latest")
    assert pruned(fake, 0) == ["e2", "e3"]
    assert not any("e1" in name or "mine" in name for name in fake.removed)


def test_images_of_another_kind_are_none_of_ours() -> None:
    fake = FakeEngine()
    fake.add("x", BASE, days=9, kind="benchmark")
    assert pruned(fake, 0) == []
    assert fake.removed == []


def test_an_image_without_a_name_goes_by_its_id() -> None:
    fake = FakeEngine()
    fake.add("x", BASE, days=9)
    fake.there["sha256:x"]["RepoTags"] = None
    client: Any = fake
    assert [each.image.name for each in imagestorage.prune(client, 0).removed] == ["sha256:x"]
    assert fake.removed == ["sha256:x"]


def test_what_the_engine_will_not_give_up_stays_and_the_next_goes() -> None:
    fake = three()
    fake.refused = {"pbs-matrix/environment:e1": 409}
    client: Any = fake
    found = imagestorage.prune(client, 110 * MB)
    assert [each.image.id for each in found.removed] == ["sha256:e2", "sha256:e3"]
    assert (found.problems, found.in_use) == ((), 1)


def test_what_cannot_be_removed_is_told_and_the_next_goes() -> None:
    fake = three()
    fake.refused = {"pbs-matrix/environment:e1": 500}
    client: Any = fake
    found = imagestorage.prune(client, 115 * MB)
    assert [each.image.id for each in found.removed] == ["sha256:e2", "sha256:e3"]
    (problem,) = found.problems
    assert problem == "removing pbs-matrix/environment:e1: it is in use"


def test_an_image_that_is_gone_meanwhile_counts_as_removed() -> None:
    fake = three()
    remove = fake.remove_image

    def first(name: str) -> None:
        remove(name)
        remove(name)

    fake.remove_image = first  # type: ignore[method-assign]
    assert pruned(fake, 120 * MB) == ["e1"]


def test_an_engine_that_does_not_say_what_images_are_made_of_is_told() -> None:
    fake = three()
    fake.history = lambda image: [{"CreatedBy": "x"}]  # type: ignore[method-assign]
    client: Any = fake
    with pytest.raises(BuildError, match="does not say what its images are made of"):
        imagestorage.prune(client, 0)
    said: list[str] = []
    imagestorage.hold(client, 0, said.append)
    (line,) = said
    assert line.startswith("PBS_MATRIX_IMAGES_LIMIT: the engine does not say")


def test_without_a_limit_the_engine_is_not_asked() -> None:
    client: Any = None
    imagestorage.hold(client, imagestorage.limit({}), pytest.fail)


def test_each_removal_is_said_in_a_line() -> None:
    fake = three()
    noted(fake, "pbs-matrix/environment:e2", days=5)
    fake.there["sha256:e1"]["Labels"][f"{engine.LABEL}.environment"] = "odd\x1b[2J\nname"
    said: list[str] = []
    client: Any = fake
    imagestorage.hold(client, 110 * MB, said.append)
    assert said == [
        "removed pbs-matrix/environment:e1 (odd\\x1b[2J\\nname): 10.0 MB, made 9 days ago",
        "removed pbs-matrix/environment:e3 (uv-e3): 10.0 MB, made 7 days ago",
        "removed 2 images: 130.0 MB before, 110.0 MB after",
    ]
    fake.running = [{"ImageID": "sha256:e2", "Labels": {}}]
    said.clear()
    imagestorage.hold(client, 0, said.append)
    assert said == ["the images take 110.0 MB, more than 0 bytes: 1 of them are in use, or new"]


@pytest.mark.parametrize(("text", "size"), [("", None), (" ", None), ("2GB", 2000 * MB), ("0", 0)])
def test_the_limit_is_said_by_a_variable(text: str, size: int | None) -> None:
    assert imagestorage.limit({imagestorage.LIMIT_VARIABLE: text}) == size


def test_a_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^PBS_MATRIX_IMAGES_LIMIT: 'much' is no size"):
        imagestorage.limit({imagestorage.LIMIT_VARIABLE: "much"})


def test_notes_are_no_entries_of_the_cache() -> None:
    from harness import storage

    noted(three(), "pbs-matrix/environment:e1", dead=False)
    assert storage.look().entries == ()
    assert storage.prune(0, now=True).entries == ()
    (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
    assert list(folder.glob("*.used"))


def clean(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, list[str]]:
    monkeypatch.setattr(engine, "connect", lambda: fake)
    monkeypatch.setattr(containers, "reap_dead", lambda client: 0)
    done = CliRunner().invoke(cli.main, ["clean", *arguments])
    return done.exit_code, done.output.splitlines()


def test_clean_keeps_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = three()
    status, said = clean(fake, monkeypatch, "--images", "--to", "120MB")
    assert status == 0
    assert said == [
        "removed 0 containers of dead runs",
        "removed pbs-matrix/environment:e1 (uv-e1): 10.0 MB, made 9 days ago",
        "removed 1 image: 130.0 MB before, 120.0 MB after",
    ]


def test_clean_keeps_to_the_limit_that_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = three()
    assert clean(fake, monkeypatch) == (0, ["removed 0 containers of dead runs"])
    monkeypatch.setenv(imagestorage.LIMIT_VARIABLE, "120MB")
    assert len(clean(fake, monkeypatch)[1]) == 3
    assert len(fake.there) == 3


def test_clean_ends_with_1_where_an_image_could_not_be_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = three()
    fake.refused = {"pbs-matrix/environment:e1": 500}
    assert clean(fake, monkeypatch, "--images", "--to", "120MB")[0] == 1


def test_a_size_without_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = clean(three(), monkeypatch, "--to", "1GB")
    assert status == ExitCode.CONFIGURATION
    assert "without --images none does" in said[0]


def test_an_image_is_asked_once_what_it_is_made_of() -> None:
    fake = three()
    asked: list[str] = []
    history = fake.history

    def counted(image: str) -> list[dict[str, Any]]:
        asked.append(image)
        return history(image)

    fake.history = counted  # type: ignore[method-assign]
    assert pruned(fake, 130 * MB) == []
    assert len(asked) == 4
    fake.add("e4", BASE, ("own-4", 10 * MB), days=4)
    assert pruned(fake, 130 * MB) == ["e1"]
    assert len(asked) == 5
    assert pruned(fake, 110 * MB) == ["e2", "e3"]
    assert len(asked) == 5


@pytest.mark.parametrize(
    "content", ["", "[", "[]", '{"sha256:e1": 1}', '{"sha256:e1": {"x": "y"}}']
)
def test_notes_of_layers_that_are_damaged_are_made_again(content: str) -> None:
    fake = three()
    assert pruned(fake, 130 * MB) == []
    (folder,) = (cache.root() / imagestorage.NOTES).iterdir()
    (folder / "layers.json").write_text(content)
    assert pruned(fake, 120 * MB) == ["e1"]


# Room on the engine's disk, before images are built.


@pytest.fixture
def made_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeEngine, int, int], list[str]]:
    """What is said where ``elsewhere`` bytes of a disk of 1 GB are somebody else's."""

    def make(fake: FakeEngine, elsewhere: int, wanted: int) -> list[str]:
        client: Any = fake

        def free(place: str | None) -> int:
            return 1000 * MB - elsewhere - imagestorage.prune(client, sys.maxsize).before

        monkeypatch.setattr(engine, "storage", lambda client: "/engine")
        monkeypatch.setattr(imagestorage, "_free", free)
        said: list[str] = []
        imagestorage.make_room(client, wanted, said.append)
        return said

    return make


def test_no_image_goes_where_enough_is_free(
    made_room: Callable[[FakeEngine, int, int], list[str]],
) -> None:
    fake = three()
    assert made_room(fake, 800 * MB, 70 * MB) == []
    assert fake.removed == []


def test_as_many_images_go_as_are_in_the_way(
    made_room: Callable[[FakeEngine, int, int], list[str]],
) -> None:
    fake = three()
    said = made_room(fake, 800 * MB, 85 * MB)
    assert [name.rpartition(":")[2] for name in fake.removed] == ["e1", "e2"]
    assert said[0] == "70.0 MB are free on /engine, less than 85.0 MB: removing images"
    assert said[-1].startswith("removed 2 images: ")


def test_where_even_that_does_not_suffice_it_is_said_and_the_run_goes_on(
    made_room: Callable[[FakeEngine, int, int], list[str]],
) -> None:
    fake = three()
    fake.running = [{"ImageID": "sha256:e3", "Labels": {}}]
    said = made_room(fake, 800 * MB, 500 * MB)
    assert [name.rpartition(":")[2] for name in fake.removed] == ["e1", "e2"]
    assert "90.0 MB are free on /engine even so" in said[-1]
    assert imagestorage.RESERVE_VARIABLE in said[-1]


def test_of_an_engine_elsewhere_nothing_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = three()
    monkeypatch.setattr(engine, "storage", lambda client: None)
    imagestorage.make_room(fake, 10**15, pytest.fail)
    assert fake.removed == []


def test_what_is_to_be_free_is_a_size() -> None:
    variable = imagestorage.RESERVE_VARIABLE
    assert imagestorage.reserve({}) == 2 * 10**9
    assert imagestorage.reserve({variable: "5GB"}) == 5 * 10**9
    assert imagestorage.reserve({variable: "0"}) == 0
    with pytest.raises(ConfigurationError, match=f"{variable}: 'much' is no size"):
        imagestorage.reserve({variable: "much"})
