"""Which builds of CPython a matrix asks for: releases beyond uv's own, and flavours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import lock, matrix
from harness.errors import ConfigurationError
from harness.lock import Lock
from harness.plan import Cell, Names, plan
from harness.sources import Source

PROJECT = Path(__file__).parents[2]

Planned = Callable[..., tuple[Cell, ...]]

TEXT = """\
version: "1"
uv: {uv}
python: ["3.13"]
platforms: [x86_64]
bases:
  plain: {{suite: trixie}}
  with-musl: {{suite: trixie, packages: [musl]}}
extensions:
  one: {{source: one, imports: one}}
checks:
  health: {{script: checks/health.py}}
profiles:
  default: {{bases: [plain]}}
  musl: {{bases: [plain, with-musl], flavours: [musl]}}
{more}
"""


@pytest.fixture(scope="module")
def own_lock() -> Lock:
    return lock.load(PROJECT / "matrix.lock")


@pytest.fixture
def planned(own_lock: Lock, tmp_path: Path) -> Planned:
    """Plans a small matrix with a line more."""

    def of(
        more: str = "",
        *,
        uv: str = "[0.7.6]",
        names: Names | None = None,
        profile: str = "default",
        source: Source = Source.UPSTREAM,
    ) -> tuple[Cell, ...]:
        path = tmp_path / "matrix.yaml"
        path.write_text(TEXT.format(uv=uv, more=more))
        return plan(matrix.load(path), own_lock, profile=profile, source=source, names=names)

    return of


def releases(cells: tuple[Cell, ...]) -> list[str]:
    return [c.environment.interpreter.release for c in cells if c.extension == "one"]


def test_a_uv_installs_its_own_release_unless_others_are_named(planned: Planned) -> None:
    assert releases(planned()) == ["20250517"]
    assert releases(planned("releases: [default]")) == ["20250517"]


def test_a_range_names_every_release_in_commit_order(planned: Planned) -> None:
    cells = planned("releases: [20250409..20250529]")
    assert releases(cells) == ["20250409", "20250517", "20250521", "20250529"]
    models = [str(c.environment.interpreter.link_model) for c in cells if c.extension == "one"]
    assert models == ["shared", "static", "static+runpath", "static+rpath"]


def test_the_tag_that_is_named_for_another_year_is_where_its_commit_is(planned: Planned) -> None:
    """20250323 points at a commit of March 2026, so it is not between two tags of 2025."""
    assert "20250323" not in releases(planned("releases: [20250317..20250409]"))
    assert "20250323" in releases(planned("releases: [20260320..20260414]"))


def test_the_release_of_uvs_own_metadata_is_known_by_its_archive(planned: Planned) -> None:
    """Also where it was named, since that uv can choose it by itself; others it cannot."""
    cells = planned("releases: [20250409, 20250517, default]")
    known = {
        c.environment.interpreter.release: c.environment.interpreter.default is not None
        for c in cells
    }
    assert known == {"20250409": False, "20250517": True}


def test_what_latest_stands_for_is_told_and_kept_with_the_cell(planned: Planned) -> None:
    names = Names(releases={"latest-1": ("20260807",)}, uv={"latest": "0.13.9"})
    cells = planned("releases: [latest-1]", uv="[latest]", names=names)
    assert cells[0].id == "one-uv0.13.9-cp313-20260807-x86_64-plain"
    assert (cells[0].uv_asked, cells[0].release_asked) == ("latest", "latest-1")


def test_cells_that_are_asked_for_twice_are_planned_once(planned: Planned) -> None:
    names = Names(releases={"latest": ("20250517",)})
    assert releases(planned("releases: [default, latest]", names=names)) == ["20250517"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("20250518", "'20250518' is neither a known release tag"),
        ("newest", "'newest' is neither a known release tag"),
        ("latest-x", "'latest-x' is neither"),
        ("20250529..20250409", "20250529 comes after 20250409"),
        ("..", "a range needs at least one end"),
    ],
)
def test_a_choice_that_names_no_release_is_a_mistake_of_the_file(
    choice: str,
    words: str,
    planned: Planned,
) -> None:
    with pytest.raises(ConfigurationError, match=r"matrix.yaml:\d+: releases.0: ") as caught:
        planned(f"releases: [{choice}]")
    assert words in caught.value.problem


def test_flavours_are_in_the_id_but_for_the_one_that_uv_takes(planned: Planned) -> None:
    cells = planned("flavours: [install_only_stripped, install_only, debug]")
    assert [cell.id for cell in cells if cell.extension == "health"] == [
        "health-uv0.7.6-cp313-20250517-x86_64-plain",
        "health-uv0.7.6-cp313-20250517+install_only-x86_64-plain",
        "health-uv0.7.6-cp313-20250517+debug-x86_64-plain",
    ]
    assert [c.environment.interpreter.default is not None for c in cells][::2] == [
        True,
        False,
        False,
    ]


def test_extensions_are_asked_only_of_flavours_that_take_ordinary_wheels(planned: Planned) -> None:
    cells = planned("flavours: [install_only, debug, freethreaded]")
    said = {c.id: c.not_applicable for c in cells if c.not_applicable}
    assert set(said) == {
        "one-uv0.7.6-cp313-20250517+debug-x86_64-plain",
        "one-uv0.7.6-cp313-20250517+freethreaded-x86_64-plain",
    }
    assert "extensions are not built for debug" in str(said[min(said)])


def test_musl_is_asked_on_a_base_that_has_it(planned: Planned) -> None:
    cells = [c for c in planned(profile="musl") if c.extension == "health"]
    assert {c.environment.base: c.not_applicable for c in cells} == {
        "plain": "the base has no musl to run it: add musl to its packages",
        "with-musl": None,
    }


def test_a_replica_of_a_release_says_so_whatever_it_is_called(planned: Planned) -> None:
    names = Names(releases={"latest": ("20260814",)})
    (cell, _) = planned("releases: [latest]", names=names, source=Source.REPLICA)
    assert cell.id == "one-uv0.7.6-cp313-20260814~replica-x86_64-plain"
