"""Trials and checks with --run: packages in real containers that no matrix file names."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import yaml

from harness import extensions, lock, matrix
from harness.platforms import Platform
from tests.integration.conftest import PROJECT, Pytest, leftovers

pytestmark = pytest.mark.engine


ON = ("--source=replica",)
"""Whether GitHub answers or not."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended, and which process it was."""

    pid: int
    returncode: int
    stdout: str
    stderr: str


def pbs_matrix(*arguments: str) -> Done:
    """The command, as a user runs it."""
    program = "from harness.front import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        said, errors = process.communicate()
    return Done(pid=process.pid, returncode=process.returncode, stdout=said, stderr=errors)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A matrix file with one extension and no python-mscl; its comments are to be kept."""
    data = yaml.safe_load((PROJECT / "matrix.yaml").read_text())
    bases = {"debian13": data["bases"]["debian13"]}
    path = tmp_path / "matrix.yaml"
    path.write_text(
        "# Mine.\n"
        'version: "1"\n'
        "uv: [0.7.5, 0.7.6, 0.7.9]  # one of each side\n"
        'python: ["3.13"]\n'
        "platforms: [x86_64, aarch64]\n"
        f"bases: {json.dumps(bases)}\n"
        "extensions:\n"
        "  no-libpython:\n"
        "    source: cases/extensions/no-libpython\n"
        "    imports: no_libpython\n"
        "profiles:\n"
        "  default: {}\n"
    )
    (tmp_path / "matrix.lock").write_text((PROJECT / "matrix.lock").read_text())
    return path


def test_what_a_trial_has_seen_and_added_is_then_what_the_matrix_expects(
    small: Path, run_pytest: Pytest, client: docker.DockerClient
) -> None:
    before = small.read_text()
    done = pbs_matrix("try", "python-mscl==67.0.1.0", *ON, f"--matrix={small}", "--add")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "python-mscl imports in 4 of 6 environments, fails in 2" in done.stdout
    assert "6 compared with the loader's rules, 0 mispredicted" in done.stdout
    assert "`_mscl.so` needs `libpython3.13.so.1.0`." in done.stdout
    assert "Traceback" not in done.stderr
    after = small.read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    (rule,) = matrix.load(small).expectations
    assert (str(rule.expect), rule.library) == ("missing-library", "libpython{python}.so.1.0")
    assert rule.link_model == ("static",)
    assert "python-mscl==67.0.1.0" in lock.load(lock.path_for(small)).wheels
    ran = run_pytest(f"--matrix={small}", "--extension=python-mscl", "-q")
    assert ran.returncode == 0, ran.stdout
    assert "6 cells: 6 as expected (2 of them known breakage)" in ran.stdout
    assert leftovers(client, pid=done.pid) == []


def test_a_trial_of_something_right_ends_well(small: Path) -> None:
    done = pbs_matrix(
        *("try", "markupsafe==3.0.2", *ON, f"--matrix={small}", "--uv=0.7.6", "--platform=x86_64")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "markupsafe imports in 1 of 1 environments" in done.stdout
    assert "LD_DEBUG" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["no-such-package-of-anybody==1"], 31, "the index has no"),
        (["python-mscl>=1"], 10, "does not say one version"),
        (["python-mscl==67.0.1.0", "--uv=9.9"], 11, "--uv '9.9' selects nothing"),
        (["/nowhere/x-1-py3-none-any.whl"], 2, "is no wheel"),
        (["python-mscl==67.0.1.0", "--profile=none"], 11, "there is no profile 'none'"),
    ],
)
def test_what_cannot_be_tried_is_told_in_one_message(
    small: Path, arguments: list[str], code: int, said: str
) -> None:
    done = pbs_matrix("try", *arguments, *ON, f"--matrix={small}", "--add")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_author_can_check_a_wheel_and_have_it_confirmed() -> None:
    """A sample's own wheel, on this machine's platform: the verdicts and the containers agree."""
    host = Platform.host()
    assert host is not None
    wheel = extensions.build(
        "ucxx-shaped", PROJECT / "cases" / "extensions" / "ucxx-shaped", "3.13", host
    )
    done = pbs_matrix("check", "-q", "--run", str(wheel))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILS with static, static+runpath, static+rpath" in done.stdout
    said = "check and the containers say the same of 6 of 6 environments; 0 could not be compared"
    assert said in done.stdout
