"""``pbs-matrix check`` as people and their tools call it: exit codes, forms, mistakes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from harness.check import command, targets
from harness.check.command import Exit
from harness.errors import TargetError
from tests.unit.effort import effort
from tests.unit.made_targets import LIBPYTHON, SUFFIX
from tests.unit.tiny_elf import RUNPATH, TinyElf

PROJECT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("pbs-matrix")


def wheel(
    folder: Path,
    *needed: str,
    runpath: str | None = None,
    tag: str = "cp313-cp313-manylinux_2_17_x86_64",
    name: str = "made",
) -> Path:
    """A wheel with one extension module that needs some names."""
    texts = [(RUNPATH, runpath.encode())] if runpath else []
    elf = TinyElf(needed=[text.encode() for text in needed], texts=texts).build()
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        if not tag.endswith("-any"):
            archive.writestr(f"{name}/_m{SUFFIX}", elf)
        archive.writestr(f"{name}/__init__.py", "from . import _m\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return wheel(tmp_path, "libc.so.6", name="clean")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return wheel(tmp_path, LIBPYTHON, name="broken")


@pytest.fixture
def pure(tmp_path: Path) -> Path:
    return wheel(tmp_path, tag="py3-none-any", name="pure")


def check(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def test_a_clean_wheel_ends_with_0(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(clean) == Exit.CLEAN
    assert "imports everywhere" in capsys.readouterr().out


def test_a_wheel_that_needs_libpython_ends_with_1(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(broken) == Exit.BREAKS
    out = capsys.readouterr().out
    assert re.search(r"^3\.13 +imports +FAILS +FAILS +imports$", out, re.MULTILINE)
    assert f"patchelf --remove-needed {LIBPYTHON} broken/_m{SUFFIX}" in out


def test_nothing_to_check_is_never_0(pure: Path, clean: Path) -> None:
    assert check(pure) == Exit.UNCHECKED
    assert check(clean, "--platform", "aarch64") == Exit.UNCHECKED
    assert check(clean, "--python", "3.12") == Exit.UNCHECKED
    assert check(pure, clean) == Exit.UNCHECKED


def test_breakage_counts_before_what_could_not_be_checked(
    broken: Path, pure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(pure, broken, "no-such.whl") == Exit.BREAKS
    out = capsys.readouterr().out
    assert "nothing to check" in out
    assert "no-such.whl" in out


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4 no zip", b"\x7fELF" + bytes(60)], ids=["empty", "no-zip", "elf"]
)
@pytest.mark.parametrize("name", ["made-1.0-cp313-cp313-linux_x86_64.whl", "_m.so"])
def test_a_damaged_file_ends_with_2_and_a_clear_line(
    tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert check(path) == Exit.UNCHECKED
    captured = capsys.readouterr()
    assert name in captured.out
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--python", "2.7"], "'2.7' is no CPython"),
        (["--platform", "z80"], "'z80' is no machine"),
        (["--output", "/proc/no/such"], "cannot be written"),
    ],
)
def test_a_mistake_is_told_and_ends_with_2(
    clean: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(clean, *arguments) == Exit.UNCHECKED
    assert words in capsys.readouterr().err


def test_names_that_do_things_to_a_terminal_are_shown_and_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wheel(tmp_path, "libpython3.13.so\x1b[31m\r\n::error::x", "libodd\x1b.so;rm -rf x")
    for form in ("text", "github"):
        assert check(path, "-v", "--format", form) == Exit.BREAKS
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\r" not in out
        assert not any(line.startswith("::error::") for line in out.splitlines())
    for form in ("json", "sarif"):
        assert check(path, "--format", form) == Exit.BREAKS
        json.loads(capsys.readouterr().out)


def test_commands_to_paste_quote_the_names_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(wheel(tmp_path, "libpython3.13.so;rm -rf x"))
    assert "--remove-needed 'libpython3.13.so;rm -rf x' " in capsys.readouterr().out


def test_a_terminal_without_unicode_is_no_reason_to_fail(broken: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([PROGRAM, "check", broken], capture_output=True, env=environment)
    assert done.returncode == 1
    assert b"FAILS" in done.stdout
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_reason_to_fail(broken: Path) -> None:
    script = f"{shlex.quote(str(PROGRAM))} check {shlex.quote(str(broken))} | true; "
    done = subprocess.run(
        ["bash", "-c", f"{script} echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert done.stdout == "1\n"
    assert done.stderr == ""


def test_docker_s_names_of_machines_will_do(clean: Path) -> None:
    assert check(clean, "--platform", "amd64") == Exit.CLEAN


def test_what_is_neither_a_file_nor_a_requirement_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check("no file, nor requirement!") == Exit.UNCHECKED
    assert "is neither a file nor a requirement" in capsys.readouterr().out
    assert check("numpy>=2") == Exit.UNCHECKED
    assert "does not say which version" in capsys.readouterr().out


def test_every_form_says_it_breaks(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def out(*arguments: str) -> str:
        assert check(broken, *arguments) == Exit.BREAKS
        return capsys.readouterr().out

    assert json.loads(out("--json")) == json.loads(out("--format", "json"))
    assert json.loads(out("--json"))["exit_code"] == 1
    assert json.loads(out("--format", "sarif"))["runs"][0]["results"][0]["level"] == "error"
    assert out("--format", "github").startswith(f"::error file={broken},title=broken/_m")
    assert out("-q") == f"{broken}: FAILS with static, static+runpath\n"
    assert len(out("-v")) > len(out()) > 0


def test_output_goes_into_a_file(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.sarif"
    assert check(broken, "--format", "sarif", "--output", path) == Exit.BREAKS
    assert json.loads(path.read_text())["version"] == "2.1.0"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(path) in captured.err


def test_an_unpacked_wheel_and_its_library_alone_say_the_same(broken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(broken) as archive:
        archive.extractall(folder)
    assert check(folder) == Exit.BREAKS
    assert check(folder / "broken" / f"_m{SUFFIX}") == Exit.BREAKS


def test_an_environment_has_a_section_for_each_distribution_with_elf_files(
    tmp_path: Path, broken: Path, clean: Path, pure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = tmp_path / "env"
    site = environment / "lib" / "python3.13" / "site-packages"
    site.mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.13.5\n")
    for path in (broken, clean, pure):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(site)
            info = next(name for name in archive.namelist() if name.endswith("RECORD"))
            (site / info).write_text("".join(f"{name},,\n" for name in archive.namelist()))
    assert check(environment, "-q") == Exit.BREAKS
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert any("broken" in line and "FAILS" in line for line in lines)
    assert any("clean" in line and "imports everywhere" in line for line in lines)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], check=False, capture_output=True, text=True
    )


def test_the_program_ends_with_the_exit_code_of_the_check(clean: Path, broken: Path) -> None:
    assert run("check", clean).returncode == 0
    assert run("check", broken).returncode == 1
    assert run("check", "no-such.whl").returncode == 2
    assert run("check").returncode == 2


def test_the_program_shows_check_among_its_commands_and_its_help() -> None:
    assert re.search(r"^  check +Say whether", run("--help").stdout, re.MULTILINE)
    text = run("check", "--help").stdout
    assert "exit codes:" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_click_takes_the_same_arguments(broken: Path) -> None:
    """For those who come in by ``harness.cli``."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", "check", "-q"]
    done = subprocess.run([*command, str(broken)], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "FAILS" in done.stdout


def test_the_hook_checks_the_files_that_it_is_for(broken: Path, clean: Path) -> None:
    (hook,) = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text())
    assert re.search(hook["files"], "dist/x-1.0-cp313-cp313-linux_x86_64.whl")
    assert re.search(hook["files"], "src/_m.cpython-313-x86_64-linux-gnu.so")
    assert not re.search(hook["files"], "src/so.py")
    command = shlex.split(hook["entry"])
    assert command[0] == PROGRAM.name
    assert run(*command[1:], clean).returncode == 0
    assert run(*command[1:], clean, broken).returncode == 1


def test_the_action_checks_what_it_is_given(broken: Path, clean: Path, tmp_path: Path) -> None:
    """Its second step, as the runner would run it, where the first has installed the program."""
    action = yaml.safe_load((PROJECT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    installed = tmp_path / "pbs-matrix" / "bin"
    installed.mkdir(parents=True)
    (installed / "pbs-matrix").symlink_to(PROGRAM)

    def act(targets: str, arguments: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "RUNNER_TEMP": str(tmp_path),
                "TARGETS": targets,
                "ARGUMENTS": arguments,
            },
        )

    assert act("clean*.whl").returncode == 0
    done = act("*.whl")
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=broken-1.0")
    assert act("clean*.whl", "--python 3.9").returncode == 2
    assert set(step["env"]) == {"TARGETS", "ARGUMENTS"}


def test_to_check_a_small_wheel_is_little_work_once_all_is_loaded(broken: Path) -> None:
    check(broken, "-q")
    assert effort(lambda: check(broken, "-q")) < 10


@pytest.mark.parametrize(
    "tag",
    [
        "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "1-cp313-cp313-linux_x86_64",
        "cp39-abi3-manylinux2014_x86_64",
        "cp313-cp313t-musllinux_1_2_x86_64",
        "py2.py3-none-manylinux1_x86_64",
        "CP313-CP313-Linux_x86_64",
    ],
)
def test_tags_of_wheels_are_read_as_packaging_does(tmp_path: Path, tag: str) -> None:
    """Whose own parser would take longer to load than most wheels to read."""
    path = wheel(tmp_path, tag=tag)
    (target,) = targets.read(path)
    assert target.tags == set(map(str, parse_wheel_filename(path.name)[3]))


@pytest.mark.parametrize("name", ["x.whl", "x-1.0.whl", "x-1.0-py3-any.whl", "x-1-2-3-4-5-6.whl"])
def test_what_is_not_called_like_a_wheel_is_refused(tmp_path: Path, name: str) -> None:
    path = wheel(tmp_path).rename(tmp_path / name)
    with pytest.raises(TargetError, match="its name is not a wheel's"):
        targets.read(path)
    with pytest.raises(InvalidWheelFilename):
        parse_wheel_filename(name)
