"""Flavours: what uv and the ids of cells call each."""

from __future__ import annotations

import pytest

from harness import published
from harness.flavours import Flavour
from harness.platforms import Platform
from tests.unit import published_names


@pytest.mark.parametrize(
    ("flavour", "key"),
    [
        (Flavour.STRIPPED, "cpython-3.13-linux-x86_64-gnu"),
        (Flavour.INSTALL_ONLY, "cpython-3.13-linux-x86_64-gnu"),
        (Flavour.DEBUG, "cpython-3.13+debug-linux-x86_64-gnu"),
        (Flavour.FREETHREADED, "cpython-3.13+freethreaded-linux-x86_64-gnu"),
        (Flavour.MUSL, "cpython-3.13-linux-x86_64-musl"),
    ],
)
def test_uv_is_asked_for_a_flavour_by_its_key(flavour: Flavour, key: str) -> None:
    assert flavour.uv_key("3.13", Platform.X86_64) == key
    assert flavour.uv_key("3.13", Platform.AARCH64) == key.replace("x86_64", "aarch64")


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("platform", Platform)
def test_every_flavour_is_one_that_some_uv_offers_for_every_platform(
    flavour: Flavour, platform: Platform
) -> None:
    """By the names of what real uv programs list (debug: have in them)."""
    names = [published.parse(name) for name in published_names.offered_by_any()]
    found = {(name.flavour, name.platform) for name in names if name is not None}
    assert (flavour, platform) in found


def test_ids_say_nothing_of_what_uv_takes_and_tell_all_others_apart() -> None:
    marks = {flavour: flavour.mark for flavour in Flavour}
    assert marks[Flavour.STRIPPED] == ""
    assert len(set(marks.values())) == len(Flavour)
    assert all(mark.startswith("+") for mark in marks.values() if mark)
    # A cell's id is cut at its dashes.
    assert not any("-" in mark for mark in marks.values())
