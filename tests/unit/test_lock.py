"""matrix.lock: read strictly, written sorted, and refused with the command that makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import lock, matrix
from harness.errors import LockError
from harness.platforms import Platform

PROJECT = Path(__file__).parents[2]
OWN = PROJECT / "matrix.lock"

WHEEL = {"filename": "sample-1.0-py3-none-any.whl", "sha256": "a" * 64}
DEFAULT = {
    "version": "3.13.3",
    "release": "20250517",
    "url": "https://example.org/x.tar.gz",
    "sha256": "c" * 64,
}
SMALL: dict[str, Any] = {
    "version": 1,
    "uv": {"0.7.6": {"wheels": {"x86_64": WHEEL}, "defaults": {"3.13": {"x86_64": DEFAULT}}}},
    "wheels": {"sample==1.0": {"3.13": {"x86_64": [WHEEL]}}},
}


def written(content: str | bytes, directory: Path) -> Path:
    path = directory / "matrix.lock"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def small(tmp_path: Path) -> lock.Lock:
    return lock.load(written(json.dumps(SMALL), tmp_path))


def test_the_projects_own_lock_is_written_as_it_would_be_again() -> None:
    assert lock.dump(lock.load(OWN)) == OWN.read_text(encoding="utf-8")


def test_the_projects_own_lock_covers_its_matrix() -> None:
    own, locked = matrix.load(PROJECT / "matrix.yaml"), lock.load(OWN)
    for platform in own.platforms:
        for uv in own.uv:
            assert str(platform) in locked.uv_wheel(uv, platform).filename
            for python in own.python:
                assert locked.default(uv, python, platform).version.startswith(f"{python}.")
        for extension in own.extensions.values():
            if extension.requirement:
                first, *_ = locked.extension_wheels(extension.requirement, "3.13", platform)
                name, version = extension.requirement.split("==")
                assert first.filename.startswith(f"{name.replace('-', '_')}-{version}-cp313-")


def test_a_lock_survives_being_written_and_read(small: lock.Lock, tmp_path: Path) -> None:
    again = lock.load(written(lock.dump(small), tmp_path))
    assert again == small
    assert again.default("0.7.6", "3.13", Platform.X86_64).release == "20250517"
    assert again.default("0.7.6", "3.13", Platform.X86_64).sha256 == "c" * 64
    assert again.uv_wheel("0.7.6", Platform.X86_64).sha256 == "a" * 64
    assert len(again.extension_wheels("sample==1.0", "3.13", Platform.X86_64)) == 1


def test_the_text_of_a_lock_does_not_depend_on_the_order_of_finding(tmp_path: Path) -> None:
    def reordered(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: reordered(part[key]) for key in reversed(part)}
        return part

    uv = {**SMALL["uv"], "0.7.5": SMALL["uv"]["0.7.6"]}
    one = lock.load(written(json.dumps({**SMALL, "uv": uv}), tmp_path))
    other = lock.load(written(json.dumps(reordered({**SMALL, "uv": uv})), tmp_path))
    assert lock.dump(one) == lock.dump(other)
    assert lock.dump(one).endswith("}\n")


@pytest.mark.parametrize(
    ("uv", "python", "platform"),
    [
        ("0.7.7", "3.13", Platform.X86_64),
        ("0.7.6", "3.12", Platform.X86_64),
        ("0.7.6", "3.13", Platform.AARCH64),
    ],
)
def test_an_interpreter_that_is_not_locked_is_named_with_what_to_do(
    small: lock.Lock, uv: str, python: str, platform: Platform
) -> None:
    with pytest.raises(LockError) as caught:
        small.default(uv, python, platform)
    assert int(caught.value.exit_code) == 12
    assert f"uv {uv} with CPython {python} on {platform}" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


@pytest.mark.parametrize(
    ("uv", "platform"), [("0.7.7", Platform.X86_64), ("0.7.6", Platform.AARCH64)]
)
def test_a_uv_wheel_that_is_not_locked_is_named_with_what_to_do(
    small: lock.Lock, uv: str, platform: Platform
) -> None:
    with pytest.raises(LockError) as caught:
        small.uv_wheel(uv, platform)
    assert f"uv {uv} for {platform}" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


@pytest.mark.parametrize(
    ("requirement", "python", "platform"),
    [
        ("sample==1.1", "3.13", Platform.X86_64),
        ("sample==1.0", "3.12", Platform.X86_64),
        ("sample==1.0", "3.13", Platform.AARCH64),
    ],
)
def test_a_requirement_that_is_not_locked_is_named_with_what_to_do(
    small: lock.Lock, requirement: str, python: str, platform: Platform
) -> None:
    with pytest.raises(LockError) as caught:
        small.extension_wheels(requirement, python, platform)
    assert f"{requirement} with CPython {python} on {platform}" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


def with_wheel(**change: str) -> dict[str, Any]:
    return {**SMALL, "wheels": {"sample==1.0": {"3.13": {"x86_64": [{**WHEEL, **change}]}}}}


def with_default(**change: str) -> dict[str, Any]:
    uv = {"wheels": {}, "defaults": {"3.13": {"x86_64": {**DEFAULT, **change}}}}
    return {**SMALL, "uv": {"0.7.6": uv}}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "not valid JSON"),
        ('{"uv": {', "not valid JSON"),
        ("<<<<<<< HEAD\n{}", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[" * 10_000, "not valid JSON"),
        ("[]", "object"),
        ("{}", "uv: Field required"),
        (json.dumps({**SMALL, "version": 2}), "version: "),
        (json.dumps({**SMALL, "more": {}}), "more: "),
        (json.dumps({**SMALL, "uv": {"0.7.6": {"wheels": {}}}}), "uv.0.7.6.defaults: "),
        (json.dumps(with_wheel(sha256="a" * 63)), "wheels.sample==1.0.3.13.x86_64.0.sha256: "),
        (json.dumps(with_wheel(sha256="A" * 64)), "sha256: "),
        (json.dumps(with_wheel(filename="../../evil.whl")), "filename: "),
        (json.dumps(with_wheel(filename="sample.tar.gz")), "filename: "),
        (json.dumps(with_default(release="latest")), "release: "),
        (json.dumps(with_default(version="3.13")), "version: "),
        (json.dumps(with_default(sha256="c" * 63)), "defaults.3.13.x86_64.sha256: "),
        (
            json.dumps(with_default()).replace(f', "sha256": "{"c" * 64}"', ""),
            "defaults.3.13.x86_64.sha256: Field required",
        ),
    ],
)
def test_a_damaged_lock_is_refused_with_the_place_and_what_to_do(
    tmp_path: Path, content: str | bytes, found: str
) -> None:
    path = written(content, tmp_path)
    with pytest.raises(LockError) as caught:
        lock.load(path)
    assert caught.value.problem.startswith(f"{path}:1: damaged: ")
    assert found in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


def test_the_place_of_a_mistake_is_the_line_of_its_key(tmp_path: Path) -> None:
    text = lock.dump(lock.Lock.model_validate(with_default())).replace('"c' + "c" * 63, '"D')
    line = next(n for n, one in enumerate(text.splitlines(), 1) if '"D' in one)
    path = written(text, tmp_path)
    with pytest.raises(LockError) as caught:
        lock.load(path)
    assert caught.value.problem.startswith(
        f"{path}:{line}: damaged: uv.0.7.6.defaults.3.13.x86_64.sha256: "
    )


def test_a_hash_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Whoever looks at the file sees the first, and the second would count."""
    sha256 = f'"sha256": "{"c" * 64}"'
    text = json.dumps(with_default(), indent=1).replace(sha256, f"{sha256},\n{sha256}")
    path = written(text, tmp_path)
    with pytest.raises(LockError) as caught:
        lock.load(path)
    line = text[: text.rindex('"sha256": "c')].count("\n") + 1
    assert caught.value.problem == f"{path}:{line}: damaged: the key 'sha256' is there twice"


def test_a_missing_lock_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        lock.load(tmp_path / "matrix.lock")
    assert f"{tmp_path / 'matrix.lock'} cannot be read: No such file" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


@pytest.mark.parametrize(
    ("name", "beside"),
    [("matrix.yaml", "matrix.lock"), ("my.matrix.yml", "my.matrix.lock"), ("m", "m.lock")],
)
def test_a_lock_is_beside_its_matrix(name: str, beside: str) -> None:
    assert lock.path_for(Path("/some/where") / name) == Path("/some/where") / beside
