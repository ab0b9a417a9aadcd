"""Trials: what is imported of a package, in which environments, and what comes of it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from harness import cells, foreseen, index, locking, matrix, preparing, running, trial
from harness.errors import (
    ConfigurationError,
    NoSuchWheelError,
    SelectionError,
    TargetError,
)
from harness.lock import Lock, LockedDefault, LockedUv, LockedWheel
from harness.matrix import Matrix
from harness.outcome import Outcome, Reason, Stage, untestable
from harness.plan import Cell, Selection
from harness.platforms import Platform
from harness.prediction import Prediction
from harness.resolution import Resolution
from harness.sources import Source
from harness.trial import Trial
from harness.verdict import Status
from tests.unit.fake_foresight import Foresight, Prepared
from tests.unit.sample_cell import sample_cell

LIBPYTHON = "libpython3.13.so.1.0"


def wheel_of(folder: Path, *names: str) -> Path:
    path = folder / "some_package-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, "some_package-1.0.dist-info/METADATA"):
            archive.writestr(name, "")
    return path


TOPS = {
    "a package": (["some_package/__init__.py"], "some_package"),
    "another name": (["PIL/__init__.py", "PIL/_imaging.so", "pillow.libs/libz.so.1"], "PIL"),
    "a module": (["_yaml.cpython-313-x86_64-linux-gnu.so"], "_yaml"),
    "one named like it among more": (
        ["big/a.py", "big/b.py", "some_package.py", "tests/__init__.py"],
        "some_package",
    ),
    "the largest of several": (["big/a.py", "big/b.py", "small.py"], "big"),
    "in a data folder": (["some_package-1.0.data/platlib/mine/__init__.py"], "mine"),
    "beside scripts": (["some_package-1.0.data/scripts/tool.py", "mine.py"], "mine"),
    "namespace": (["google/cloud/thing.py"], "google"),
}


@pytest.mark.parametrize(("names", "wanted"), TOPS.values(), ids=TOPS)
def test_what_a_wheel_is_imported_as(tmp_path: Path, names: list[str], wanted: str) -> None:
    assert trial.top_level(wheel_of(tmp_path, *names), "some-package") == wanted


def test_a_wheel_of_nothing_but_data_needs_a_word_from_the_user(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        trial.top_level(wheel_of(tmp_path, "some_package-1.0.data/data/x.txt"), "some-package")
    assert "--imports" in caught.value.advice


@pytest.mark.parametrize("content", [None, b"", b"PK but no more"])
def test_what_is_no_wheel_is_told_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TargetError, match="is no wheel"):
        trial.of_wheel(path)


WHEELS = {
    platform: LockedWheel(filename=f"x-1-{platform}.whl", sha256="0" * 64) for platform in Platform
}


@pytest.fixture
def has_x86_64_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index with one package, which has a wheel for one platform."""

    def wheels_of(requirement: str, python: str, platform: Platform) -> tuple[LockedWheel, ...]:
        if not requirement.startswith("some-package==") or platform is not Platform.X86_64:
            raise NoSuchWheelError(f"{requirement} has no wheel for {platform}", advice="wait")
        return (WHEELS[platform],)

    monkeypatch.setattr(locking, "wheels_of", wheels_of)
    monkeypatch.setattr(index, "newest", lambda name: "2.5")
    monkeypatch.setattr(index, "fetch", lambda wheel: wheel_of(tmp_path, "some_package/a.py"))


def a_matrix(**change: object) -> Matrix:
    return Matrix.model_validate(
        {
            "version": "1",
            "uv": ["0.7.5", "0.7.6"],
            "python": ["3.13"],
            "platforms": ["x86_64", "aarch64"],
            "bases": {"debian13": {"suite": "trixie"}, "other": {"suite": "trixie"}},
            "extensions": {"first": {"requirement": "first==1", "imports": "first"}},
            "checks": {"healthy": {"script": "checks/healthy.py"}},
            "profiles": {"default": {}, "quick": {"bases": ["debian13"], "checks": ["healthy"]}},
            "expectations": [{"extension": "*", "expect": "crash", "reason": "of all others"}],
            **change,
        }
    )


LOCK = Lock(
    uv={
        version: LockedUv(
            wheels={},
            defaults={
                "3.13": {
                    platform: LockedDefault(
                        version="3.13.3",
                        release=release,
                        url="https://example.org/x",
                        sha256="0" * 64,
                    )
                    for platform in Platform
                }
            },
        )
        for version, release in (("0.7.5", "20250409"), ("0.7.6", "20250517"))
    },
    wheels={},
)


@pytest.mark.usefixtures("has_x86_64_only")
def test_without_a_version_the_newest_is_tried_and_said() -> None:
    tried = trial.of_requirement("some-package", a_matrix())
    assert (tried.name, tried.sample.requirement) == ("some-package", "some-package==2.5")


@pytest.mark.usefixtures("has_x86_64_only")
def test_a_platform_without_a_wheel_is_named_and_left_out() -> None:
    tried = trial.of_requirement("some-package==1.0", a_matrix())
    assert tried.sample.imports == "some_package"
    assert tried.lacking == ("some-package==1.0 has no wheel for aarch64",)
    planned = planned_of(tried)
    assert {cell.environment.interpreter.platform for cell in planned} == {Platform.X86_64}
    # uv versions × bases, and nothing of the matrix's own samples, checks or expectations.
    assert len(planned) == 4
    assert {cell.extension for cell in planned} == {"some-package"}
    assert {cell.expected.reason for cell in planned} == {Reason.IMPORTS}


@pytest.mark.usefixtures("has_x86_64_only")
def test_a_package_without_any_wheel_is_an_error_that_says_so() -> None:
    with pytest.raises(NoSuchWheelError, match="other==1 has no wheel for x86_64"):
        trial.of_requirement("other==1", a_matrix())


@pytest.mark.parametrize("text", ["", "a b", "==1", "some-package>=1", "some-package==1.*"])
def test_what_names_no_one_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trial.of_requirement(text, a_matrix())
    assert caught.value.advice


def planned_of(tried: Trial, profile: str = "default", **chosen: Any) -> tuple[Cell, ...]:
    planned, _, _ = trial.cells_of(
        tried,
        a_matrix(),
        LOCK,
        profile=profile,
        resolution=Resolution(source=Source.REPLICA),
        selection=Selection(**chosen),
    )
    return planned


def test_a_wheel_file_is_tried_where_its_tags_fit(tmp_path: Path) -> None:
    tried = trial.of_wheel(wheel_of(tmp_path, "some_package/a.py"))
    assert {c.environment.interpreter.platform for c in planned_of(tried)} == {Platform.X86_64}
    with pytest.raises(SelectionError, match="no wheel for any of the 4 environments"):
        planned_of(tried, platform=("aarch64",))


def test_a_profile_says_in_which_environments_and_not_what(tmp_path: Path) -> None:
    tried = trial.of_wheel(wheel_of(tmp_path, "some_package/a.py"))
    planned = planned_of(tried, profile="quick", uv=("0.7.6",))
    assert [cell.id for cell in planned] == [
        "some-package-uv0.7.6-cp313-20250517~replica-x86_64-debian13"
    ]
    with pytest.raises(SelectionError, match="no profile 'none'"):
        planned_of(tried, profile="none")


FINE = Outcome(stage=Stage.IMPORT, reason=Reason.IMPORTS)
GONE = Outcome(
    stage=Stage.IMPORT, reason=Reason.MISSING_LIBRARY, missing_library=LIBPYTHON, message="gone"
)


class Pool:
    """Containers that nobody asks anything of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __enter__(self) -> None:
        self.said.append("enter")

    def __exit__(self, *_: object) -> None:
        self.said.append("exit")

    def plan(self, planned: tuple[Cell, ...], prepared: Prepared, *, ahead: bool) -> None:
        assert planned == (sample_cell(),)
        self.said.append("plan")

    def done(self, cell: Cell) -> None:
        self.said.append("done")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a cell that ends so, as was foreseen or not."""

    def make(outcome: Outcome, prediction: Prediction | None) -> list[Any]:
        pools: list[Pool] = []

        def pool(*arguments: object, **options: object) -> Pool:
            pools.append(Pool())
            return pools[-1]

        foresight = Foresight(prediction) if prediction else None
        monkeypatch.setattr(preparing, "prepare", lambda *a, **k: Prepared(tmp_path))
        monkeypatch.setattr(foreseen, "foresee", lambda cell, prepared: foresight)
        monkeypatch.setattr(cells, "observe", lambda *a, **k: outcome)
        monkeypatch.setattr(cells, "trace", lambda *a: ("find library=x",))
        monkeypatch.setattr(running, "Containers", pool)
        done = list(
            running.run(
                (sample_cell(),),
                a_matrix(),
                LOCK,
                cast(docker.DockerClient, None),
                beside=Path("/"),
                say=print,
                expecting=trial.as_observed,
            )
        )
        (its,) = pools
        assert its.said == ["enter", "plan", "done", "exit"], "the containers are left"
        return done

    return make


def test_whatever_happens_in_a_trial_is_as_expected_and_a_failure_is_explained(ran: Any) -> None:
    missing = Prediction(outcome=Reason.MISSING_LIBRARY, library=LIBPYTHON)
    (result,) = ran(GONE, missing)
    assert (result.status, result.outcome) == (Status.AS_EXPECTED, Reason.MISSING_LIBRARY)
    assert result.evidence["explanation"] == {
        "account": "Nothing searches there.",
        "trace": ["find library=x"],
        # There is nothing in this tree that could be advised about.
        "advice": [],
    }
    assert trial.exit_code([result]) == 1
    assert "imports in 0 of 1 environments, fails in 1, was not tested in 0" in trial.summary(
        [result]
    )


def test_what_imports_is_not_explained(ran: Any) -> None:
    (result,) = ran(FINE, Prediction(outcome=Reason.IMPORTS))
    assert "explanation" not in result.evidence
    assert trial.exit_code([result]) == 0


def test_what_contradicts_the_loaders_rules_is_no_answer(ran: Any) -> None:
    (result,) = ran(FINE, Prediction(outcome=Reason.MISSING_LIBRARY, library=LIBPYTHON))
    assert result.status is Status.MISPREDICTED
    assert trial.exit_code([result]) == 2
    assert trial.summary([result]).endswith("1 mispredicted")


def test_what_could_not_be_tested_is_no_answer_either(ran: Any) -> None:
    (untested,) = ran(untestable(Stage.IMAGE, "no space"), None)
    (fine,) = ran(FINE, None)
    assert untested.status is Status.UNTESTABLE
    assert trial.exit_code([fine, untested]) == 2


def test_a_matrix_file_may_name_wheels_of_ones_own(tmp_path: Path) -> None:
    from harness import extensions

    wheel = wheel_of(tmp_path, "some_package/a.py")
    (tmp_path / "some_package-1.0-cp312-cp312-manylinux_2_28_x86_64.whl").write_bytes(b"")
    found = extensions.find_wheel("*.whl", "3.13", Platform.X86_64, tmp_path)
    assert found == wheel
    assert extensions.find_wheel(str(wheel), "3.13", Platform.X86_64, Path("/")) == wheel
    with pytest.raises(NoSuchWheelError) as caught:
        extensions.find_wheel("*.whl", "3.13", Platform.AARCH64, tmp_path)
    assert wheel.name in caught.value.advice
    assert matrix.Extension(wheel="*.whl", imports="x").wheel == "*.whl"
