"""``pbs-matrix init``: what is found, what is written, and that it is all or nothing."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from harness import cli, lock, locking, matrix, output, project, trial
from harness.errors import ConfigurationError, ExitCode, FetchError, NoSuchWheelError
from harness.lock import LockedWheel
from harness.matrix import Expectation, Extension, Matrix
from harness.outcome import Reason
from harness.plan import Cell, plan
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.sources import Source
from harness.starter import candidate, new, texts, writing
from harness.trial import Trial

WRITTEN = {"matrix.yaml", "matrix.lock", "test_matrix.py", "matrix.schema.json"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; the package index is not asked, unless a test says so."""
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("the index was asked")

    monkeypatch.setattr(trial, "of_requirement", refuse)
    return tmp_path


@pytest.fixture(scope="module")
def own() -> Matrix:
    return matrix.load(project.MATRIX)


@pytest.fixture(scope="module")
def locked() -> lock.Lock:
    return lock.load(lock.path_for(project.MATRIX))


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["init", *arguments])


def planned(folder: Path, profile: str = "default") -> tuple[Cell, ...]:
    """The cells of what was written."""
    read, pins = matrix.load(folder / "matrix.yaml"), lock.load(folder / "matrix.lock")
    return plan(read, pins, profile=profile, source=Source.REPLICA)


def make_wheel(path: Path, *files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in files or ("mine/__init__.py", "mine/_native.so"):
            archive.writestr(name, "")
    return path


def tags(platform: str) -> str:
    return f"cp313-cp313-manylinux_2_28_{platform}"


# What is written.


def test_without_anything_here_a_sample_shows_how_it_goes(here: Path) -> None:
    done = init()
    assert done.exit_code == 0, done.output
    assert {path.name for path in here.iterdir()} == WRITTEN
    cells = planned(here)
    assert {cell.extension for cell in cells} == {"libpython-needed"}
    assert {cell.environment.interpreter.platform for cell in cells} == set(Platform)
    expected = {cell.environment.interpreter.link_model: cell.expected.reason for cell in cells}
    assert expected == {
        LinkModel.SHARED: Reason.IMPORTS,
        LinkModel.STATIC: Reason.MISSING_LIBRARY,
        LinkModel.STATIC_RPATH: Reason.IMPORTS,
    }
    assert "Put yours in its place" in (here / "matrix.yaml").read_text()
    assert "put yours in its place" in done.output
    assert "pytest -n auto test_matrix.py" in done.output


def test_the_uv_versions_are_one_of_each_side_of_the_breakage_and_the_newest(
    here: Path, locked: lock.Lock
) -> None:
    init()
    newest = max(locked.uv, key=lambda version: tuple(map(int, version.split("."))))
    assert matrix.load(here / "matrix.yaml").uv == ("0.7.5", "0.7.6", newest)


def test_a_quick_profile_is_a_part_of_the_default_one(here: Path) -> None:
    init()
    quick, every = ({c.id for c in planned(here, name)} for name in ("quick", "default"))
    assert (len(quick), len(every)) == (2, 6)
    assert quick < every


def test_what_is_written_fits_the_schema_that_it_names(here: Path) -> None:
    init()
    text = (here / "matrix.yaml").read_text()
    name = text.splitlines()[0].partition("$schema=")[2]
    schema = (here / name).read_text()
    assert schema == matrix.schema_text()
    jsonschema.validate(yaml.safe_load(text), yaml.safe_load(schema))


def test_the_lock_is_what_locking_would_give(here: Path, own: Matrix, locked: lock.Lock) -> None:
    """All that the matrix needs, and nothing else: the next `pbs-matrix lock` changes nothing."""
    init("--extension", "cmake-python")
    read, pins = matrix.load(here / "matrix.yaml"), lock.load(here / "matrix.lock")
    assert set(pins.uv) == set(read.uv)
    assert all(found.reinstalls == {} for found in pins.uv.values())
    needed = {name for name, _ in locking.requirements(read, read.platforms, here)}
    assert set(pins.wheels) == needed != set()
    assert pins.wheels == {name: locked.wheels[name] for name in needed}


@pytest.mark.parametrize("name", sorted(matrix.load(project.MATRIX).extensions))
def test_every_sample_of_the_project_can_be_begun_with(name: str, here: Path, own: Matrix) -> None:
    """With what is known of it, as the project's own matrix has it."""
    done = init("--extension", name)
    assert done.exit_code == 0, done.output
    cells = {cell.id: cell for cell in planned(here)}
    same = own.model_copy(update={"profiles": {"default": matrix.Profile(extensions=(name,))}})
    theirs = plan(same, lock.load(lock.path_for(project.MATRIX)), source=Source.REPLICA)
    for other in theirs:
        if other.id in cells:
            assert cells[other.id].expected == other.expected
            assert cells[other.id].not_applicable == other.not_applicable
    assert cells.keys() <= {other.id for other in theirs}


def test_what_is_known_on_other_bases_or_with_a_remedy_is_left_out(own: Matrix) -> None:
    """The new file has the project's first base only, and no remedies."""
    rules = [
        {"base": "other*", "reason": "elsewhere"},
        {"remedy": "preload", "reason": "mended"},
        {"base": next(iter(own.bases)), "remedy": "none", "reason": "here"},
        {"extension": "another", "reason": "of another"},
    ]
    made = [
        Expectation.model_validate({"extension": "no-lib*", "expect": "import-error", **rule})
        for rule in rules
    ]
    found = candidate.find("no-libpython", Path(), own.model_copy(update={"expectations": made}))
    assert [rule.reason for rule in found.expectations] == ["here"]


def test_the_example_of_an_expectation_holds_once_it_is_uncommented(here: Path) -> None:
    make_wheel(here / "dist" / f"mine-1.0-{tags('x86_64')}.whl")
    init()
    assert all(cell.expected.reason is Reason.IMPORTS for cell in planned(here))
    text = (here / "matrix.yaml").read_text()
    head, _, example = text.partition("# expectations:")
    (here / "matrix.yaml").write_text(
        head + re.sub("^# ", "", f"# expectations:{example}", flags=re.M)
    )
    expected = {c.environment.interpreter.link_model: c.expected.reason for c in planned(here)}
    assert expected[LinkModel.STATIC] is Reason.MISSING_LIBRARY
    assert expected[LinkModel.SHARED] is Reason.IMPORTS


# What is found.


def test_a_wheel_in_dist_is_taken_for_the_platforms_that_it_is_for(here: Path) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "Mine.Too"\ndynamic = ["version"]\n')
    make_wheel(here / "dist" / f"mine_too-1.0-{tags('aarch64')}.whl")
    make_wheel(here / "dist" / f"other-1.0-{tags('x86_64')}.whl")
    done = init()
    assert done.exit_code == 0, done.output
    read = matrix.load(here / "matrix.yaml")
    assert read.platforms == (Platform.AARCH64,)
    assert read.profiles["quick"].platforms == (Platform.AARCH64,)
    sample = read.extensions["mine-too"]
    assert (sample.wheel, sample.imports) == ("dist/mine_too-*.whl", "mine")
    text = (here / "matrix.yaml").read_text()
    assert "add x86_64 once there is a wheel" in text
    assert "`requirement: mine-too==1.0`" in text


def test_a_project_without_a_wheel_yet_is_told_to_build_one(here: Path) -> None:
    """Its name is not looked for in the index: somebody else's project may have it."""
    (here / "pyproject.toml").write_text('[project]\nname = "my-ext"\nversion = "1.0rc1"\n')
    done = init()
    assert done.exit_code == 0, done.output
    assert "dist/ has no wheel of it for CPython 3.13 yet: build one first" in done.output
    read = matrix.load(here / "matrix.yaml")
    assert read.extensions["my-ext"].wheel == "dist/my_ext-*.whl"
    assert read.extensions["my-ext"].imports == "my_ext"
    assert len(read.platforms) == 2
    assert "`requirement: my-ext==1.0rc1`" in (here / "matrix.yaml").read_text()


def test_a_wheel_for_other_pythons_alone_is_not_taken_for_one(here: Path) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    make_wheel(here / "dist" / "mine-1.0-cp312-cp312-manylinux_2_28_x86_64.whl")
    assert "has no wheel of it for CPython 3.13 yet" in init().output
    done = init("--force", "--extension", "dist/*.whl")
    assert done.exit_code == ExitCode.NO_SUCH_WHEEL
    assert "mine-1.0-cp312" in done.output


def test_wheels_alone_say_what_is_meant_unless_they_are_of_several(here: Path) -> None:
    make_wheel(here / "dist" / f"mine-1.0-{tags('x86_64')}.whl")
    assert init().exit_code == 0
    assert "mine" in matrix.load(here / "matrix.yaml").extensions
    make_wheel(here / "dist" / f"other-1.0-{tags('x86_64')}.whl")
    done = init("--force")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "several projects: mine, other" in done.output
    assert init("--force", "--extension", "dist/*.whl").output == done.output
    done = init("--force", "--extension", "dist/other-*.whl")
    assert done.exit_code == 0
    assert "other" in matrix.load(here / "matrix.yaml").extensions


def test_a_matrix_in_a_folder_of_its_own_finds_the_wheels_of_the_project(here: Path) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    make_wheel(here / "dist" / f"mine-1.0-{tags('x86_64')}.whl")
    for arguments in (("pbs",), ("named/so", "--extension", "dist/*.whl")):
        done = init(*arguments)
        assert done.exit_code == 0, done.output
        assert f"cd {arguments[0]}" in done.output
        folder = here / arguments[0]
        pattern = matrix.load(folder / "matrix.yaml").extensions["mine"].wheel
        assert pattern is not None
        assert [file.name for file in folder.glob(pattern)] == [f"mine-1.0-{tags('x86_64')}.whl"]


@pytest.mark.parametrize(
    "text",
    [
        *("[project", "\x00", '[project]\nname = "\x1b[31m-"\n', '[project]\nname = "a b\\n: c"\n'),
        f"x = {'[' * 5000}",
    ],
)
def test_a_pyproject_that_is_none_is_one_message(here: Path, text: str) -> None:
    (here / "pyproject.toml").write_text(text)
    done = init()
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "--extension" in done.output
    assert "\x1b" not in done.output
    assert {path.name for path in here.iterdir()} == {"pyproject.toml"}


@pytest.mark.parametrize("text", ["", "project = 1\n", "[project]\nname = 1\n", "[tool.x]\n"])
def test_a_pyproject_without_a_name_says_nothing(here: Path, text: str) -> None:
    (here / "pyproject.toml").write_text(text)
    assert init().exit_code == 0
    assert "libpython-needed" in matrix.load(here / "matrix.yaml").extensions


@given(name=st.text(max_size=20), version=st.text(max_size=10))
def test_a_hostile_name_is_refused_or_harmless(name: str, version: str) -> None:
    """What is written is read back as just the one extension."""
    own, locked = matrix.load(project.MATRIX), lock.load(lock.path_for(project.MATRIX))
    try:
        found = candidate._of_wheels(f"dist/{name}-*.whl", [], own)
    except ConfigurationError:
        return
    known = candidate._version(version)
    found = replace(found, platforms=own.platforms, version=known)
    made = new.files(found, Path(), own, locked)[Path("matrix.yaml")].decode()
    data = yaml.load(made, Loader=yaml.BaseLoader)
    assert list(data["extensions"]) == [found.name]
    assert set(data["extensions"][found.name]) == {"about", "wheel", "imports"}
    Matrix.model_validate(data)


# Requirements.


def answering(own: Matrix, *platforms: Platform) -> Callable[..., Trial]:
    """An index with a wheel of `some-package` for some platforms."""
    wheel = LockedWheel(filename="some_package-2.0-py3-none-any.whl", sha256="0" * 64)

    def of_requirement(text: str, matrix: Matrix, **more: object) -> Trial:
        return Trial(
            name="some-package",
            sample=Extension(requirement="some-package==2.0", imports="some_package._c"),
            wheels={"3.13": dict.fromkeys(platforms, (wheel,))},
            lacking=tuple(f"no wheel for {p}" for p in Platform if p not in platforms),
        )

    return of_requirement


def test_a_requirement_is_pinned_and_locked(
    here: Path, own: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "of_requirement", answering(own, *Platform))
    done = init("--extension", "some-package")
    assert done.exit_code == 0, done.output
    assert "some-package==2.0, imported as some_package._c" in done.output
    assert len(planned(here)) == 6
    assert list(lock.load(here / "matrix.lock").wheels) == ["some-package==2.0"]


def test_a_requirement_without_a_wheel_for_a_platform_is_asked_about_the_other(
    here: Path, own: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "of_requirement", answering(own, Platform.X86_64))
    done = init("--extension", "some-package")
    assert "no wheel for aarch64" in done.output
    assert matrix.load(here / "matrix.yaml").platforms == (Platform.X86_64,)


def test_where_the_index_is_not_there_the_lock_is_left_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*arguments: object, **more: object) -> None:
        raise FetchError("the index cannot be fetched", advice="")

    monkeypatch.setattr(trial, "of_requirement", dead)
    done = init("--extension", "Some_Package==2.0")
    assert done.exit_code == 0, done.output
    assert "run `pbs-matrix lock` where the index can be reached" in done.output
    sample = matrix.load(here / "matrix.yaml").extensions["some-package"]
    assert (sample.requirement, sample.imports) == ("Some_Package==2.0", "some_package")
    done = init("--extension", "unpinned", "elsewhere")
    assert done.exit_code == ExitCode.FETCH
    assert not (here / "elsewhere").exists()


def test_wheel_files_that_are_not_there_are_told(here: Path) -> None:
    done = init("--extension", "dist/none-*.whl")
    assert done.exit_code == ExitCode.NO_SUCH_WHEEL
    assert list(here.iterdir()) == []
    with pytest.raises(NoSuchWheelError):
        candidate.find(str(here / "none.whl"), here, matrix.load(project.MATRIX))


# All or nothing.


def test_nothing_that_is_there_is_overwritten_unasked(here: Path) -> None:
    (here / "matrix.yaml").write_text("mine\n")
    (here / "test_matrix.py").write_text("mine\n")
    done = init()
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "not the same: matrix.yaml, test_matrix.py" in done.output
    assert {path.name for path in here.iterdir()} == {"matrix.yaml", "test_matrix.py"}
    assert (here / "matrix.yaml").read_text() == "mine\n"
    assert init("--force").exit_code == 0
    assert len(planned(here)) == 6


def test_a_second_time_changes_nothing_and_says_so(here: Path) -> None:
    init("--github")
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    done = init("--github")
    assert done.exit_code == 0
    assert "wrote" not in done.output
    assert done.output.count("is there already, the same") == 5
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize("place", range(3))
def test_a_failure_on_the_way_leaves_everything_as_it_was(
    here: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    paths = [here / "new" / "deep" / "one", here / "two", here / "new" / "three"]
    paths[1].write_bytes(b"before")
    write = output.write

    def failing(path: Path, content: bytes) -> None:
        write(path, content)
        if path == paths[place]:
            raise KeyboardInterrupt

    monkeypatch.setattr(output, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        writing.write_all(dict.fromkeys(paths, b"after"), force=True)
    assert {path.name for path in here.iterdir()} == {"two"}
    assert paths[1].read_bytes() == b"before"


def test_a_directory_in_the_way_is_one_message(here: Path) -> None:
    (here / "matrix.lock").mkdir()
    for arguments in ((), ("--force",)):
        done = init(*arguments)
        assert done.exit_code == ExitCode.CONFIGURATION
        assert "matrix.lock cannot be read: Is a directory" in done.output
    assert {path.name for path in here.iterdir()} == {"matrix.lock"}


def test_a_file_for_a_directory_is_one_message(here: Path) -> None:
    (here / "file").write_text("")
    assert init("file").exit_code == ExitCode.CONFIGURATION


def test_a_link_to_nowhere_is_something_that_is_there(here: Path) -> None:
    (here / "matrix.yaml").symlink_to(here / "nowhere")
    assert init().exit_code == ExitCode.CONFIGURATION
    assert (here / "matrix.yaml").is_symlink()


# The workflow.


def test_a_workflow_is_written_where_the_repository_begins_and_only_if_asked(here: Path) -> None:
    (here / "repository" / ".git").mkdir(parents=True)
    done = init("repository/deep/pbs")
    assert not list(here.rglob("*.yml"))
    done = init("repository/deep/pbs", "--github")
    assert done.exit_code == 0, done.output
    (path,) = here.rglob("*.yml")
    assert path == here / "repository" / ".github" / "workflows" / "pbs-matrix.yml"
    job = yaml.safe_load(path.read_text())["jobs"]["matrix"]
    assert [s["working-directory"] for s in job["steps"] if "working-directory" in s] == [
        "deep/pbs"
    ]


def test_the_workflow_is_as_careful_as_our_own(here: Path) -> None:
    """Least permissions, actions by commit, no credentials left, a limit of time."""
    text = texts.workflow('a"b: ${{ x }}', "1.2.3")
    document = yaml.safe_load(text)
    assert document["permissions"] == {}
    job = document["jobs"]["matrix"]
    assert job["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] <= 60
    used = [step for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    assert used[0]["with"]["persist-credentials"] is False
    assert any("pbs-matrix==1.2.3" in step.get("run", "") for step in job["steps"])
