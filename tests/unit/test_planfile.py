"""The plan file: what one machine decides is what all the others do, or they say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import durations, jobs, lock, matrix, planfile
from harness.decision import Asked, Decision
from harness.durations import Durations
from harness.errors import ConfigurationError, SelectionError
from harness.jobs import GITHUB_LIMIT, GROUPS
from harness.lock import Lock
from harness.matrix import Matrix
from harness.mirror import VARIABLE, Mirror
from harness.plan import Cell, Names, Selection
from harness.planfile import Job, Plan, Track
from harness.platforms import Platform
from harness.request import Request
from harness.resolution import Resolution
from harness.sharding import SPREAD, Shard
from harness.sources import Source
from tests.unit.test_sharding import cells

PROJECT = Path(__file__).parents[2]
MATRIX = PROJECT / "matrix.yaml"
REPLICAS = Resolution(source=Source.REPLICA)


@pytest.fixture(scope="module")
def read() -> tuple[Matrix, Lock]:
    return matrix.load(MATRIX), lock.load(PROJECT / "matrix.lock")


def planned(
    path: Path,
    request: Request | None = None,
    resolution: Resolution = REPLICAS,
    count: int = 3,
    matrix_file: Path = MATRIX,
) -> Plan:
    """A plan of the quick profile, written to a file, as it is read again."""
    request = request or Request(profile="quick")
    read, locked = matrix.load(matrix_file), lock.load(lock.path_for(matrix_file))
    chosen = request.cells(request.extended(read), locked, resolution)
    made = planfile.make(
        jobs.plain(chosen, Durations(), count),
        matrix_file=matrix_file,
        request=request,
        resolution=resolution,
    )
    planfile.write(made, path)
    return planfile.read(path)


def asked(path: Path, shard: str | None = None, **more: Any) -> Asked:
    options: dict[str, Any] = {
        "request": Request(),
        "matrix_file": MATRIX,
        "plan_file": path,
        "shard": shard,
        "ids": None,
        **more,
    }
    return Asked.of(**options)


def run(ask: Asked, read: tuple[Matrix, Lock]) -> tuple[Decision, list[str]]:
    """What a run decides, and the cells that each of its processes then has."""
    extended = ask.extended(read[0])
    found = ask.decide(extended, read[1])
    told = Decision.model_validate_json(found.model_dump_json())
    return found, [cell.id for cell in ask.cells(told, extended, read[1])]


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    resolution = Resolution(
        source=Source.REPLICA,
        names=Names(releases={"latest": ("20251120",)}, uv={"latest": "0.13.9"}),
        said=("uv latest is 0.13.9",),
    )
    request = Request(
        profile="quick", also_releases=("latest",), selection=Selection(uv=("0.7.*",))
    )
    plan = planned(tmp_path / "plan.json", request, resolution)
    assert plan.request == request
    assert plan.resolution == resolution
    assert planfile.read(tmp_path / "plan.json") == plan


def test_the_jobs_of_a_plan_have_every_cell_once(tmp_path: Path, read: tuple[Matrix, Lock]) -> None:
    plan = planned(tmp_path / "plan.json")
    parts = [run(asked(tmp_path / "plan.json", f"{n}/3"), read)[1] for n in (1, 2, 3)]
    assert [list(job.cells) for job in plan.jobs] == parts
    whole = [cell.id for cell in cells("quick")]
    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert sorted(run(asked(tmp_path / "plan.json"), read)[1]) == sorted(whole)
    assert sorted(planfile.ids(tmp_path / "plan.json")) == sorted(whole)


def test_a_plan_asks_no_network_what_is_latest(
    tmp_path: Path, read: tuple[Matrix, Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path / "plan.json")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was decided already")

    monkeypatch.setattr("harness.resolution.resolve", refuse)
    found, ids = run(asked(tmp_path / "plan.json", "2/3"), read)
    assert found.resolution == plan.resolution
    assert ids == list(plan.jobs[1].cells)


def test_a_release_that_was_asked_for_by_the_way_is_in_the_plan(
    tmp_path: Path, read: tuple[Matrix, Lock]
) -> None:
    request = Request(profile="quick", also_releases=("20251120",))
    plan = planned(tmp_path / "plan.json", request)
    more = {name for name in plan.ids() if "-20251120~" in name}
    assert len(plan.ids()) == 2 * len(more)
    assert {name.partition("-uv")[2][:5] for name in more} == {"0.7.5", "0.7.6", "0.7.9"}
    ids = [
        name for n in (1, 2, 3) for name in run(asked(tmp_path / "plan.json", f"{n}/3"), read)[1]
    ]
    assert sorted(ids) == sorted(plan.ids())


@pytest.mark.parametrize("choice", ["", "20259999x", "newest", "..", "$(id)", "20251120..20250409"])
def test_what_is_no_release_is_refused(read: tuple[Matrix, Lock], choice: str) -> None:
    with pytest.raises(ConfigurationError, match="--also-release"):
        Request(also_releases=(choice,)).extended(read[0])


def test_no_profile_of_that_name_is_said_by_planning(read: tuple[Matrix, Lock]) -> None:
    request = Request(profile="none", also_releases=("20251120",))
    with pytest.raises(SelectionError, match="no profile 'none'"):
        request.cells(request.extended(read[0]), read[1], REPLICAS)


def test_a_run_may_have_a_selection_of_a_shard(tmp_path: Path, read: tuple[Matrix, Lock]) -> None:
    plan = planned(tmp_path / "plan.json", count=1)
    request = Request(selection=Selection(extension=("python-mscl",)))
    _, ids = run(asked(tmp_path / "plan.json", "1/1", request=request), read)
    assert ids == [name for name in plan.ids() if name.startswith("python-mscl-")]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("request", Request(profile="wide")),
        ("request", Request(also_releases=("20251120",))),
        ("source", "upstream"),
        ("ids", ()),
        ("durations", Path("x")),
    ],
)
def test_what_contradicts_the_plan_is_refused(tmp_path: Path, option: str, value: Any) -> None:
    planned(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match="both say which cells there are"):
        asked(tmp_path / "plan.json", **{option: value})


def test_what_repeats_the_plan_is_not(tmp_path: Path) -> None:
    planned(tmp_path / "plan.json")
    asked(tmp_path / "plan.json", request=Request(profile="quick"), source="replica")


@pytest.mark.parametrize("name", ["matrix.yaml", "matrix.lock"])
def test_another_matrix_or_lock_is_refused(tmp_path: Path, name: str) -> None:
    for file in ("matrix.yaml", "matrix.lock"):
        (tmp_path / file).write_bytes((PROJECT / file).read_bytes())
    own = tmp_path / "matrix.yaml"
    planned(tmp_path / "plan.json", matrix_file=own)
    asked(tmp_path / "plan.json", matrix_file=own)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\n")
    with pytest.raises(ConfigurationError, match=f"made with another {name}"):
        asked(tmp_path / "plan.json", matrix_file=own)


@pytest.mark.parametrize("shard", ["1/2", "3/4"])
def test_another_number_of_shards_than_jobs_is_refused(
    tmp_path: Path, read: tuple[Matrix, Lock], shard: str
) -> None:
    planned(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match=r"plan\.json has 3 jobs") as told:
        run(asked(tmp_path / "plan.json", shard), read)
    assert "/3." in told.value.advice


def test_a_cell_that_this_version_does_not_plan_is_named(
    tmp_path: Path, read: tuple[Matrix, Lock]
) -> None:
    plan = planned(tmp_path / "plan.json")
    job = plan.jobs[0].model_copy(update={"cells": ("hole",)})
    planfile.write(plan.model_copy(update={"jobs": (job,)}), tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match="not planned here: 'hole'"):
        run(asked(tmp_path / "plan.json", "1/1"), read)


def test_nobodys_password_is_handed_around(tmp_path: Path) -> None:
    resolution = Resolution(
        source=Source.UPSTREAM,
        mirror=Mirror(base="https://me:secret@mirror.example/pbs"),
        said=("source auto: since https://me:secret@mirror.example/pbs answers",),
    )
    plan = planned(tmp_path / "plan.json", resolution=resolution)
    assert "secret" not in (tmp_path / "plan.json").read_text()
    assert plan.resolution.mirror.base == "https://mirror.example/pbs"


def test_a_mirror_that_is_named_here_goes_before_the_plans(
    tmp_path: Path, read: tuple[Matrix, Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    there = Mirror(base="https://there.example")
    planned(tmp_path / "plan.json", resolution=REPLICAS.model_copy(update={"mirror": there}))
    found, _ = run(asked(tmp_path / "plan.json"), read)
    assert found.resolution.mirror == there
    found, _ = run(asked(tmp_path / "plan.json", mirror="https://here.example/"), read)
    assert found.resolution.mirror.base == "https://here.example"
    monkeypatch.setenv(VARIABLE, "https://env.example")
    found, _ = run(asked(tmp_path / "plan.json"), read)
    assert found.resolution.mirror.base == "https://env.example"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema_version": 2}', "[" * 99999])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"plan\.json:1: not a plan"):
        planfile.read(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match=r"none\.json cannot be read"):
        planfile.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "$(id)"},
        {"name": "a\nb"},
        {"runner": "x; y"},
        {"seconds": "nan"},
        {"seconds": -1},
        {"track": "other"},
    ],
)
def test_a_job_that_was_tampered_with_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    planned(tmp_path / "plan.json", count=1)
    content = json.loads((tmp_path / "plan.json").read_text())
    content["jobs"][0] |= change
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=r"plan\.json:1: not a plan"):
        planfile.read(tmp_path / "plan.json")


def test_jobs_that_are_not_counted_are_refused(tmp_path: Path) -> None:
    planned(tmp_path / "plan.json", count=2)
    content = json.loads((tmp_path / "plan.json").read_text())
    content["jobs"][1]["number"] = 1
    (tmp_path / "plan.json").write_text(json.dumps(content))
    told = r"plan\.json: not a plan: jobs\.1\.number: 1 instead of 2"
    with pytest.raises(ConfigurationError, match=told):
        planfile.read(tmp_path / "plan.json")


@pytest.mark.parametrize("track", list(Track))
def test_every_track_survives(track: Track) -> None:
    job = Job(number=1, name="x", track=track, seconds=1, cells=())
    assert Job.model_validate_json(job.model_dump_json()) == job


# Shards that are made where they run.


def test_shards_are_of_what_the_options_select(read: tuple[Matrix, Lock]) -> None:
    request = Request(profile="quick", selection=Selection(platform=("x86_64",)))
    parts = []
    for n in (1, 2, 3):
        ask = Asked(
            request=request, source="replica", shard=Shard(number=n, count=3), durations=None
        )
        found, ids = run(ask, read)
        assert f"shard {n}/3: {len(ids)} of 27 cells" in found.said[-1]
        parts += ids
    assert sorted(parts) == sorted(c.id for c in cells("quick") if "x86_64" in c.id)


def test_an_empty_shard_says_so(read: tuple[Matrix, Lock]) -> None:
    selection = Selection(extension=("python-mscl",), uv=("0.7.6",), platform=("x86_64",))
    request = Request(profile="quick", selection=selection)
    ask = Asked(request=request, source="replica", shard=Shard(number=40, count=40))
    found, ids = run(ask, read)
    assert (ids, found.chosen) == ([], ())
    assert found.said[-1] == "shard 40/40 has no cell of 1: there is nothing to do"


def test_all_cells_are_there_where_nothing_narrows_them(read: tuple[Matrix, Lock]) -> None:
    found, ids = run(Asked(request=Request(profile="quick"), source="replica"), read)
    assert found.chosen is None
    assert ids == [cell.id for cell in cells("quick")]


# Jobs for GitHub's machines.


def of_track(made: tuple[Job, ...], track: Track) -> list[str]:
    return sorted(name for job in made if job.track is track for name in job.cells)


@pytest.mark.parametrize("most", [3, 4, 20, GITHUB_LIMIT])
@pytest.mark.parametrize("profile", ["quick", "default", "wide"])
def test_jobs_for_github_have_every_cell_and_those_of_aarch64_twice(
    profile: str, most: int
) -> None:
    made = jobs.for_github(cells(profile), Durations(), most)
    assert 3 <= len(made) <= most
    assert [job.number for job in made] == list(range(1, len(made) + 1))
    assert len({job.name for job in made}) == len(made)
    assert of_track(made, Track.MAIN) == sorted(cell.id for cell in cells(profile))
    arm = [c.id for c in cells(profile) if c.environment.interpreter.platform == "aarch64"]
    assert of_track(made, Track.NATIVE) == sorted(arm)
    for job in made:
        (group,) = (g for g in GROUPS if job.name.startswith(f"{g.name} "))
        assert (job.platform, job.runner, job.track) == (group.platform, group.runner, group.track)
        assert all(f"-{job.platform}-" in name for name in job.cells)
        assert job.emulated is (job.name.startswith("aarch64 qemu"))
        assert job.runner == ("ubuntu-24.04-arm" if job.track is Track.NATIVE else "ubuntu-latest")


def test_jobs_go_where_the_work_is() -> None:
    """Emulation is slow, so most of them are for QEMU."""
    made = jobs.for_github(cells("wide"), Durations(), 12)
    counts = {g.name: sum(job.name.startswith(f"{g.name} ") for job in made) for g in GROUPS}
    assert counts["aarch64 qemu"] >= 3 * counts["x86_64"]
    for group in GROUPS:
        took = [job.seconds for job in made if job.name.startswith(f"{group.name} ")]
        assert max(took) <= SPREAD * min(took)


def test_a_job_is_not_made_for_a_moments_work() -> None:
    made = jobs.for_github(cells("quick"), Durations(), GITHUB_LIMIT)
    assert len(made) == 3


def test_of_one_platform_there_are_jobs_for_that_alone() -> None:
    x86_64 = [c for c in cells("quick") if "-x86_64-" in c.id]
    (job,) = jobs.for_github(x86_64, Durations(), 1)
    assert (job.platform, job.name) == (Platform.X86_64, "x86_64 1/1")


def test_a_job_is_predicted_by_its_own_machines_speed() -> None:
    made = {job.name: job.seconds for job in jobs.for_github(cells("quick"), Durations(), 3)}
    assert made["x86_64 1/1"] == made["aarch64 native 1/1"] < made["aarch64 qemu 1/1"]


@pytest.mark.parametrize("most", [0, -1, GITHUB_LIMIT + 1])
def test_no_more_jobs_than_github_takes(most: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 256 jobs"):
        jobs.for_github(cells("quick"), Durations(), most)


def test_each_kind_of_machine_needs_a_job() -> None:
    with pytest.raises(ConfigurationError, match="3 kinds of jobs: x86_64, aarch64 qemu"):
        jobs.for_github(cells("quick"), Durations(), 2)


def test_what_a_workflow_is_handed_is_one_line_each_and_plain() -> None:
    made = jobs.for_github(cells("wide"), Durations(), 20)
    lines = jobs.for_output(made).splitlines()
    assert [line.partition("=")[0] for line in lines] == ["matrix", "jobs"]
    include = json.loads(lines[0].partition("=")[2])["include"]
    assert lines[1] == f"jobs={len(include)}"
    assert [entry["shard"] for entry in include] == [
        f"{n}/{len(made)}" for n in range(1, len(made) + 1)
    ]
    for entry in include:
        assert set(entry) == {"shard", "name", "runner", "platform", "track"}
        assert all(set(text) <= set(SAFE) for text in entry.values())


SAFE = "abcdefghijklmnopqrstuvwxyz0123456789_./- "


def test_predictions_are_told_of_a_plain_plan() -> None:
    def native(platform: Platform) -> bool:
        return True

    made = jobs.plain(cells("quick"), Durations(), 2, native)
    assert [job.name for job in made] == ["1/2", "2/2"]
    by_id: dict[str, Cell] = {cell.id: cell for cell in cells("quick")}
    for job in made:
        own = [by_id[name] for name in job.cells]
        assert job.seconds == pytest.approx(Durations().predicted(own, native), abs=0.1)
    assert durations.spoken(made[0].seconds) == "13 s"
