"""Requirements stand for the wheels of one version that a Linux interpreter could take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import index
from harness.check import command, distribution
from harness.check.builds import Python
from harness.check.command import Exit
from harness.errors import NoSuchWheelError, TargetError
from tests import servers
from tests.unit.made_targets import LIBPYTHON
from tests.unit.test_check_command import wheel

TAGS = (
    "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "cp313-cp313t-manylinux_2_28_x86_64",
    "cp312-cp312-manylinux_2_17_aarch64",
    "cp313-cp313-musllinux_1_2_aarch64",
    "cp313-cp313-manylinux_2_31_armv7l",
    "cp310-abi3-linux_x86_64",
    "cp27-cp27mu-manylinux1_x86_64",
    "pp310-pypy310_pp73-manylinux_2_17_x86_64",
    "cp313-cp313-win_amd64",
    "cp313-cp313-macosx_11_0_arm64",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[servers.Server]:
    monkeypatch.setenv("PBS_MATRIX_CACHE", str(tmp_path / "cache"))
    with servers.serving() as stand_in:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{stand_in.url}/simple")
        index._project.cache_clear()
        made = {
            f"thing-{version}-{tag}.whl": servers.tiny_wheel("thing", version, tag)
            for version in ("1.9", "1.10", "2.0rc1")
            for tag in TAGS
        }
        servers.add_project(stand_in, "thing", made)
        windows = {"other-1.0-cp313-cp313-win_amd64.whl": servers.tiny_wheel("other", "1.0", "x")}
        servers.add_project(stand_in, "other", windows)
        broken = wheel(tmp_path, LIBPYTHON, name="broken")
        servers.add_project(stand_in, "broken", {broken.name: broken.read_bytes()})
        yield stand_in
        index._project.cache_clear()


def names(requirement: str, *pythons: Python, cpus: tuple[str, ...] = ()) -> list[str]:
    found = distribution.find(requirement, pythons, cpus)
    return [one.filename.split("-", 2)[2].removesuffix(".whl") for one in found.wheels]


def test_every_wheel_that_there_are_linux_builds_for_is_found(server: servers.Server) -> None:
    assert sorted(names("thing==1.9")) == sorted(TAGS[:6])


def test_without_a_version_the_newest_final_one_is_taken(server: servers.Server) -> None:
    assert distribution.find("thing", (), ()).version == "1.10"
    assert distribution.find("thing==2.0rc1", (), ()).version == "2.0rc1"


def test_cpython_and_machine_narrow_it(server: servers.Server) -> None:
    assert names("thing", Python(13, "t")) == [TAGS[1]]
    assert sorted(names("thing", Python(13), cpus=("x86_64",))) == sorted([TAGS[0], TAGS[5]])
    assert names("thing", Python(11)) == [TAGS[5]]
    assert names("thing", cpus=("armv7l",)) == [TAGS[4]]


def test_where_nothing_is_left_it_says_what_there_is(server: servers.Server) -> None:
    with pytest.raises(NoSuchWheelError, match="cp312-cp312") as caught:
        names("thing", Python(9))
    assert "aarch64, armv7l, x86_64" in str(caught.value)
    with pytest.raises(NoSuchWheelError, match="None of its wheels is for Linux"):
        names("other")
    with pytest.raises(NoSuchWheelError, match=r"no wheel of thing 9\.9"):
        names("thing==9.9")
    with pytest.raises(NoSuchWheelError, match="no project called"):
        names("nothing")


@pytest.mark.parametrize("text", ["thing>=1", "thing==1.*", "thing==1.9,!=1.10", "thing~=1.0"])
def test_a_requirement_that_leaves_the_version_open_is_refused(text: str) -> None:
    with pytest.raises(TargetError, match="does not say which version"):
        names(text)


def test_check_fetches_what_a_requirement_names(
    server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["broken==1.0", "-q"]) == Exit.BREAKS
    captured = capsys.readouterr()
    assert captured.out == "broken 1.0: FAILS with static, static+runpath\n"
    assert captured.err == "broken 1.0: 1 of 1 wheels\n"


def test_check_of_what_the_index_does_not_have_ends_with_2(
    server: servers.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["nothing"]) == Exit.UNCHECKED
    assert "no project called 'nothing'" in capsys.readouterr().out
