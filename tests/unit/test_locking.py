"""Making the lock: every version that the matrix names anywhere is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import index, locking, matrix, uvbinary
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

    def lock_uv(version: str, own: matrix.Matrix, before: LockedUv | None = None) -> LockedUv:
        entries: tuple[matrix.Matrix | matrix.Axes, ...] = (own, *own.entries)
        pythons = [python for entry in entries for python in entry.python or ()]
        platforms = [platform for entry in entries for platform in entry.platforms or ()]
        if version != own.upgrade_from:
            assert before is (said[own.upgrade_from] if own.upgrade_from else None)
        default = LockedDefault(
            version="3.13.3", release="20250517", url="https://x/y.tar.gz", sha256="a" * 64
        )
        said[version] = LockedUv(
            wheels=dict.fromkeys(platforms, WHEEL),
            defaults={python: dict.fromkeys(platforms, default) for python in pythons},
            reinstalls={python: dict.fromkeys(platforms, default) for python in pythons},
        )
        return said[version]

    monkeypatch.setattr(locking, "lock_uv", lock_uv)
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


def test_what_the_latest_uv_is_no_lock_says(tmp_path: Path, asked: dict[str, LockedUv]) -> None:
    """Each run finds it out, and asks that uv then."""
    text = MATRIX.replace("[0.7.5, 0.7.9]", "[0.7.5, latest, latest-1]")
    locking.make(loaded(tmp_path, text), lambda line: None, beside=tmp_path)
    assert set(asked) == {"0.7.5", "0.7.6", "0.8.0", "0.9.0", "0.10.0"}


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


def test_a_newer_uv_is_asked_what_it_reinstalls_over_what_the_older_one_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patch version stays; its release is the newer uv's own, and its default another."""
    asked: list[tuple[str, str]] = []

    def offered(version: str, release: str) -> LockedDefault:
        return LockedDefault(version=version, release=release, url="https://x/y", sha256="a" * 64)

    def reinstalled(program: Path, version: str, python: str, platform: str) -> LockedDefault:
        asked.append((version, platform))
        return offered(version, "20250529")

    monkeypatch.setattr(index, "find", lambda *wanted: WHEEL)
    monkeypatch.setattr(uvbinary, "fetch", lambda wheel: Path("/uv"))
    monkeypatch.setattr(uvbinary, "default_interpreter", lambda *a: offered("3.13.9", "20251120"))
    monkeypatch.setattr(uvbinary, "reinstalled", reinstalled)
    own = loaded(tmp_path)
    before = LockedUv(
        wheels={}, defaults={"3.13": {Platform.X86_64: offered("3.13.3", "20250517")}}
    )
    newer = locking.lock_uv("0.9.0", own, before)
    assert newer.reinstalls == {"3.13": {Platform.X86_64: offered("3.13.3", "20250529")}}
    assert asked == [("3.13.3", "x86_64")]
    assert locking.lock_uv("0.7.5", own, before).reinstalls == {}
    assert locking.lock_uv("0.7.6", own, before).reinstalls == {}
