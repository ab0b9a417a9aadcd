"""Making the lock: every version that the matrix names anywhere is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import locking, matrix
from harness.lock import LockedDefault, LockedUv, LockedWheel
from harness.plan import environments, plan
from harness.platforms import Platform

MATRIX = """\
version: "1"
uv: [0.7.5, 0.7.9]
python: ["3.13"]
platforms: [x86_64]
bases: {debian13: {suite: trixie}}
extensions: {one: {requirement: one==1.0, imports: one}}
checks: {a-check: {script: a/check.py}}
upgrade_from: 0.7.6
remedies: [none, reinstall]
include:
  - {uv: [0.8.0], extensions: [one]}
profiles:
  default: {}
  other: {uv: [0.9.0], platforms: [aarch64], include: [{uv: [0.10.0], checks: [a-check]}]}
"""
WHEEL = LockedWheel(filename="uv-1.0-py3-none-any.whl", sha256="a" * 64)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, LockedUv]:
    """What each uv version would say of itself, by version, as soon as it has been asked."""
    said: dict[str, LockedUv] = {}

    def lock_uv(
        version: str, pythons: tuple[str, ...], platforms: tuple[Platform, ...]
    ) -> LockedUv:
        default = LockedDefault(version="3.13.3", release="20250517", url="https://x/y.tar.gz")
        said[version] = LockedUv(
            wheels=dict.fromkeys(platforms, WHEEL),
            defaults={python: dict.fromkeys(platforms, default) for python in pythons},
        )
        return said[version]

    monkeypatch.setattr(locking, "_lock_uv", lock_uv)
    monkeypatch.setattr(locking, "wheels_of", lambda *requirement: (WHEEL,))
    return said


def loaded(directory: Path, text: str = MATRIX) -> matrix.Matrix:
    (directory / "matrix.yaml").write_text(text)
    return matrix.load(directory / "matrix.yaml")


def test_every_uv_version_of_the_matrix_is_locked_wherever_it_is_named(
    tmp_path: Path, asked: dict[str, LockedUv]
) -> None:
    """The one that is upgraded from as well: it installs an interpreter before the others."""
    made = locking.make(loaded(tmp_path), lambda line: None, beside=tmp_path)
    assert set(made.uv) == {"0.7.5", "0.7.6", "0.7.9", "0.8.0", "0.9.0", "0.10.0"}
    assert made.uv == asked


@pytest.mark.parametrize("profile", ["default", "other"])
def test_what_was_locked_is_enough_for_every_profile(
    tmp_path: Path, asked: dict[str, LockedUv], profile: str
) -> None:
    own = loaded(tmp_path)
    made = locking.make(own, lambda line: None, beside=tmp_path)
    cells = plan(own, made, profile=profile)
    assert [e for e in environments(cells) if e.upgrade]
    for environment in environments(cells):
        assert made.uv_wheel(environment.uv, environment.interpreter.platform) == WHEEL
        if environment.upgrade:
            assert made.uv_wheel(environment.upgrade.uv, environment.interpreter.platform) == WHEEL


def test_a_matrix_that_upgrades_from_nothing_locks_what_it_tests(
    tmp_path: Path, asked: dict[str, LockedUv]
) -> None:
    text = MATRIX.replace("upgrade_from: 0.7.6\n", "").replace("[none, reinstall]", "[none]")
    assert (
        "0.7.6" not in locking.make(loaded(tmp_path, text), lambda line: None, beside=tmp_path).uv
    )
