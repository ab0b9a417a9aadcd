"""What will be run, and one cell looked at: commands that need no engine and no network."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from harness import cli, finding, lock, matrix, merging, planfile
from harness.errors import ExitCode, SelectionError
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Reason
from harness.plan import Cell
from harness.planning import card, rerun, shell
from harness.planning.completion import SHELLS, VARIABLE
from harness.remedies import Remedy
from harness.sources import Source
from harness.verdict import Status
from tests.unit.sample_results import made, written
from tests.unit.test_sharding import cells

PROJECT = Path(__file__).parents[2]
ID = "python-mscl-uv0.7.6-cp313-20250517~replica-x86_64-debian13"
UPSTREAM = ID.replace("~replica", "")
QUICK = ("--profile=quick", "--source=replica")


@pytest.fixture(autouse=True)
def _nothing_to_talk_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this may ask an engine or a network."""
    for name in ("DOCKER_HOST", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("GITHUB_OUTPUT", "UV_PYTHON_INSTALL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(PROJECT)


@pytest.fixture(scope="module")
def read() -> tuple[Matrix, Lock]:
    return matrix.load(PROJECT / "matrix.yaml"), lock.load(PROJECT / "matrix.lock")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def one(name: str, read: tuple[Matrix, Lock]) -> Cell:
    (cell,) = finding.by_ids([name], *read).cells
    return cell


# plan


def test_a_plan_is_shown_with_what_each_job_gets() -> None:
    done = invoke("plan", *QUICK, "--shards=3")
    assert done.exit_code == 0, done.output
    assert "54 cells planned" in done.stdout
    assert "3 jobs, predicted 3" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[-3:]] == ["1/3", "2/3", "3/3"]


def test_a_plan_without_jobs_says_how_long_it_takes_here() -> None:
    done = invoke("plan", *QUICK)
    assert done.exit_code == 0
    assert "one after another" in done.stdout


def test_a_plan_is_written_for_pytest_and_merge(tmp_path: Path) -> None:
    to = tmp_path / "new" / "plan.json"
    done = invoke("plan", *QUICK, "--uv=0.7.6", "--shards=2", "-o", to)
    assert done.exit_code == 0, done.output
    assert f"wrote {to}" in done.stderr
    assert sorted(planfile.ids(to)) == sorted(c.id for c in cells("quick") if "uv0.7.6" in c.id)


def test_github_is_handed_its_job_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "output"
    file.write_text("before=1\n")
    printed = invoke("plan", *QUICK, "--github", "--max-jobs=4")
    assert printed.exit_code == 0, printed.output
    assert "54 cells planned" in printed.stderr
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    handed = invoke("plan", *QUICK, "--github", "--max-jobs=4")
    assert handed.stdout == ""
    assert file.read_text() == "before=1\n" + printed.stdout
    include = json.loads(printed.stdout.splitlines()[0].removeprefix("matrix="))["include"]
    assert [entry["name"] for entry in include] == [
        *("x86_64 1/1", "aarch64 qemu 1/1", "aarch64 native 1/1")
    ]


def test_an_output_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", "/nonexistent/output")
    done = invoke("plan", *QUICK, "--github")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "$GITHUB_OUTPUT /nonexistent/output cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--github", "--shards=2"], "both say how many jobs"),
        (["--max-jobs=2"], "--max-jobs is for GitHub's machines"),
        (["--github", "--max-jobs=257"], "1 to 256 jobs"),
        (["--github", "--max-jobs=2"], "3 kinds of jobs"),
        (["--shards=0"], "0 shards are asked for"),
        (["--shards=100000000"], "100000000 shards are asked for"),
        (["--durations=none.jsonl"], "none.jsonl cannot be read"),
        (["-o", "/proc/plan.json"], "cannot be written"),
        (["--also-release=x;y"], "--also-release 'x;y'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], problem: str) -> None:
    done = invoke("plan", *QUICK, *options)
    assert done.exit_code == ExitCode.CONFIGURATION, done.output
    assert problem in done.stderr


def test_measured_durations_count(tmp_path: Path) -> None:
    line = made("x", id=ID, took=5000.0, extension="python-mscl", source=Source.REPLICA)
    file = written(tmp_path / "r.jsonl", [line])
    options = ("--extension=python-mscl", "--uv=0.7.6", "--platform=x86_64")
    done = invoke("plan", *QUICK, *options, "--durations", file)
    assert "predicted: 83 min" in done.stdout


# list


def test_the_list_has_the_ids_that_pytest_would_run(tmp_path: Path) -> None:
    done = invoke("list", *QUICK)
    assert done.stdout.splitlines() == [cell.id for cell in cells("quick")]
    (tmp_path / "ids").write_text(done.stdout)
    assert list(merging.expected_ids(tmp_path / "ids")) == done.stdout.splitlines()


def test_the_list_takes_the_same_options_as_pytest() -> None:
    options = [
        *("--uv=0.7.6", "--platform=aarch64", "--extension=python-*", "--remedy=none"),
        *("--base=debian13", "--release=2025*", "--flavour=install*"),
    ]
    done = invoke("list", *QUICK, *options)
    assert done.stdout.splitlines() == [ID.replace("x86_64", "aarch64")]
    done = invoke("list", *QUICK, "--check=list-iadd", "--also-release=20251120")
    assert len(done.stdout.splitlines()) == 12
    assert invoke("list", *QUICK, "--uv=9*").exit_code == ExitCode.SELECTION


def test_the_list_for_programs_has_each_axis() -> None:
    done = invoke("list", *QUICK, "--json", "--extension=python-mscl", "--uv=0.7.6")
    rows = json.loads(done.stdout)
    assert [row["platform"] for row in rows] == ["x86_64", "aarch64"]
    assert rows[0]["expected"] == "missing-library"
    assert rows[0]["id"] == ID


# finding


def test_a_cell_is_found_whatever_profile_and_source_it_is_of(read: tuple[Matrix, Lock]) -> None:
    ids = [cell.id for profile in ("wide", "quick") for cell in cells(profile)][::97]
    ids += [UPSTREAM, ID]
    found = finding.by_ids(ids, *read)
    assert [cell.id for cell in found.cells] == list(dict.fromkeys(ids))
    assert found.source is Source.UPSTREAM
    assert finding.by_ids([ID], *read).source is Source.REPLICA


def test_a_cell_that_is_found_is_the_one_that_was_planned(read: tuple[Matrix, Lock]) -> None:
    for cell in cells("wide")[::53]:
        assert one(cell.id, read) == cell


@pytest.mark.parametrize(
    "name",
    [
        UPSTREAM.replace("20250517", "20251120"),
        ID.replace("0.7.6", "0.13.9").replace("20250517", "20260320"),
        "ucxx-shaped-uv0.7.6-cp313-20251120~replica-aarch64-debian13+preload",
    ],
)
def test_a_cell_of_another_release_than_any_profiles_is_found(
    read: tuple[Matrix, Lock], name: str
) -> None:
    assert one(name, read).id == name


def test_what_was_latest_yesterday_is_found(tmp_path: Path) -> None:
    """Its id says what it was, and what is latest today does not matter."""
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    document["profiles"] = {"default": {"uv": ["latest"], "releases": ["latest-3..latest"]}}
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    read = matrix.load(tmp_path / "matrix.yaml"), lock.load(PROJECT / "matrix.lock")
    name = "python-mscl-uv0.13.9-cp313-20260320-x86_64-debian13"
    assert one(name, read).id == name
    assert list(finding.every(*read)) == []


def test_a_uv_that_the_lock_lacks_is_locked_now(
    read: tuple[Matrix, Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def lock_uv(version: str, *_: object) -> object:
        asked.append(version)
        return read[1].uv["0.13.9"]

    monkeypatch.setattr("harness.locking.lock_uv", lock_uv)
    name = ID.replace("0.7.6", "0.99.1")
    found = finding.by_ids([name, ID], *read)
    assert asked == ["0.99.1"]
    assert set(found.uv) == {"0.99.1"}
    # A worker is told, and asks nobody.
    assert finding.by_ids([name], *read, known=found.uv).cells == found.cells[:1]
    assert asked == ["0.99.1"]


def test_a_near_miss_is_told_what_is_like_it(read: tuple[Matrix, Lock]) -> None:
    with pytest.raises(SelectionError) as told:
        finding.by_ids([ID, ID.replace("mscl", "mslc")], *read)
    assert "there is no cell python-mslc-uv0.7.6" in told.value.problem
    assert ID in told.value.advice


@pytest.mark.parametrize("name", ["x", "", "\x1b[2J", "x" * 100_000, "-uv0.7.6-cp313-99999999-"])
def test_nonsense_is_no_cell(read: tuple[Matrix, Lock], name: str) -> None:
    with pytest.raises(SelectionError, match="there is no cell") as told:
        finding.by_ids([name], *read)
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 3000


def test_a_name_that_is_too_long_for_a_file_is_no_file(read: tuple[Matrix, Lock]) -> None:
    with pytest.raises(SelectionError, match="there is no cell"):
        rerun.chosen(["x" * 5000], *read, only_failed=False)


def test_a_glob_that_selects_several_lists_them(read: tuple[Matrix, Lock]) -> None:
    with pytest.raises(SelectionError) as told:
        finding.one("python-mscl-uv0.7.6-*-x86_64-debian13", *read)
    assert "selects 2 cells:" in told.value.problem
    assert ID in told.value.problem
    assert UPSTREAM in told.value.problem
    found = finding.one("python-mscl-uv0.7.6-*~replica-x86_64-debian13", *read)
    assert [cell.id for cell in found.cells] == [ID]
    with pytest.raises(SelectionError, match="there is no cell"):
        finding.one("nothing*", *read)


# show


def test_a_cell_is_shown_with_all_that_is_known_of_it(read: tuple[Matrix, Lock]) -> None:
    done = invoke("show", ID)
    assert done.exit_code == 0, done.output
    archive = read[1].default("0.7.6", "3.13", "x86_64")  # type: ignore[arg-type]
    (wheel,) = read[1].extension_wheels("python-mscl==67.0.1.0", "3.13", "x86_64")  # type: ignore[arg-type]
    for text in (
        *(ID, "The wheel of python-build-standalone issue 619", wheel.filename, wheel.sha256),
        *("uv             0.7.6", "20250517, of 2025-05-17", "static", "a replica", archive.url),
        *(archive.sha256, "docker.io/library/debian@sha256:", "missing-library libpython3.13"),
        *("Nothing searches the interpreter's lib/", "issues/619", " s of preparation"),
        *(f"pbs-matrix rerun '{ID}'", f"pbs-matrix shell '{ID}'"),
    ):
        assert text in done.stdout, text


def test_programs_are_shown_the_same() -> None:
    done = invoke("show", UPSTREAM.replace("debian13", "debian13+reinstall"), "--json")
    # There is no newer uv than the one that had been there.
    facts = json.loads(done.stdout)
    assert facts["not_applicable"] == "uv 0.7.6 is not newer than uv 0.7.6"
    assert facts["interpreter"]["source"] == "upstream"
    assert facts["interpreter"]["archive"]["version"] == "3.13.3"
    assert shlex.split(facts["commands"]["rerun"])[-1] == facts["id"]


def test_every_kind_of_cell_can_be_shown(read: tuple[Matrix, Lock]) -> None:
    for cell in cells("wide")[::31]:
        done = invoke("show", cell.id)
        assert done.exit_code == 0, done.output
        assert all(line.isprintable() for line in done.stdout.splitlines())


def test_what_a_matrix_file_says_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    document = yaml.load((PROJECT / "matrix.yaml").read_text(), Loader=yaml.BaseLoader)
    document["extensions"]["python-mscl"]["about"] = "\x1b[2J\nrun it  rm -rf /"
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(PROJECT / "matrix.lock", tmp_path)
    done = invoke("show", ID, "--matrix", tmp_path / "matrix.yaml")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    assert not any(line.startswith("run it  rm") for line in done.stdout.splitlines())
    # Another file than the one that is taken by itself is named in the commands.
    assert f"pbs-matrix rerun --matrix={tmp_path / 'matrix.yaml'} '{ID}'" in done.stdout


# shell: what it says before it opens


@pytest.mark.parametrize("name", [ID, ID + "+preload", ID + "+preload-by-path", ID + "+patchelf"])
def test_what_the_shell_says_is_python_that_can_be_run(
    read: tuple[Matrix, Lock], name: str
) -> None:
    *_, last = shell.instructions(one(name, read), {})
    python, *options, code = shlex.split(last)
    assert (python, options) == ("python", ["-I", "-B", "-c"])
    compile(code, "told", "exec")
    assert "import python_mscl" in code
    assert ("CDLL" in code) is ("preload" in name)
    assert ("/python-mscl+patchelf/" in code) is name.endswith("patchelf")


def test_a_check_is_called_as_the_probe_does(read: tuple[Matrix, Lock]) -> None:
    name = "list-iadd-uv0.7.6-cp313-20250517~replica-x86_64-debian13"
    *_, last = shell.instructions(one(name, read), {})
    assert 'list_iadd.check({"check": "list-iadd", "uv": "0.7.6"' in last


@pytest.mark.parametrize("remedy", list(Remedy))
def test_every_remedy_is_explained(read: tuple[Matrix, Lock], remedy: Remedy) -> None:
    name = ID.replace("0.7.6", "0.7.9").replace("20250517", "20250529")
    name += "" if remedy is Remedy.NONE else f"+{remedy}"
    said = list(shell.instructions(one(name, read), {"LD_LIBRARY_PATH": "/opt/python/x/lib"}))
    assert any(f"remedy {remedy}" in line for line in said) is (remedy is not Remedy.NONE)


def test_a_shell_for_what_does_not_apply_is_refused_before_an_engine_is_asked_for_it() -> None:
    done = invoke("shell", ID + "+reinstall")
    assert done.exit_code in (ExitCode.SELECTION, ExitCode.ENGINE_MISSING)
    assert invoke("shell", "none").exit_code == ExitCode.SELECTION


# rerun


def test_of_a_results_file_those_are_run_again_that_did_not_do_as_expected(
    tmp_path: Path, read: tuple[Matrix, Lock]
) -> None:
    lines = [
        made(
            f"s-{status}",
            Reason.UNTESTABLE if status is Status.UNTESTABLE else Reason.IMPORTS,
            status=status,
        )
        for status in Status
    ]
    file = str(written(tmp_path / "r.jsonl", lines))
    failed = rerun.chosen([file], *read, only_failed=True)
    assert [name.partition("-uv")[0] for name in failed] == [
        *("s-regressed", "s-fixed", "s-mispredicted", "s-untestable")
    ]
    assert rerun.chosen([file], *read, only_failed=False) == tuple(line.id for line in lines)


def test_of_several_lines_about_a_cell_the_last_one_counts(
    tmp_path: Path, read: tuple[Matrix, Lock]
) -> None:
    lines = [made("a", status="regressed"), made("a"), made("b"), made("b", status="fixed")]
    file = str(written(tmp_path / "r", lines))
    (name,) = rerun.chosen([file], *read, only_failed=True)
    assert name.startswith("b-")


def test_ids_globs_and_files_may_be_mixed(tmp_path: Path, read: tuple[Matrix, Lock]) -> None:
    file = str(written(tmp_path / "r.jsonl", [made("a", id=UPSTREAM)]))
    found = rerun.chosen(
        [ID, file, "python-mscl-uv0.7.6-*-x86_64-debian13"], *read, only_failed=False
    )
    assert found == (UPSTREAM, ID)


def test_nothing_failed_is_a_success_without_an_engine(tmp_path: Path) -> None:
    done = invoke("rerun", "--failed", written(tmp_path / "r.jsonl", [made("a")]))
    assert (done.exit_code, done.stdout) == (
        0,
        "every cell did as expected: there is nothing to run\n",
    )


@pytest.mark.parametrize("targets", [[ID], ["none.jsonl"], [__file__, ID]])
def test_failed_needs_results(targets: list[str]) -> None:
    done = invoke("rerun", "--failed", *targets)
    assert done.exit_code == ExitCode.CONFIGURATION
    assert invoke("rerun").exit_code == 2


def test_pytest_is_given_the_cells_and_what_stands_behind_the_dashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str]) -> None:
            (file,) = (Path(a.partition("=")[2]) for a in command if a.startswith("--cells="))
            seen.append([*command, file.read_text()])

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *_: object) -> None: ...

        def wait(self) -> int:
            if len(seen) == 1:
                seen.append([])
                raise KeyboardInterrupt
            return 7

    monkeypatch.setattr("subprocess.Popen", Process)
    done = invoke("rerun", ID, UPSTREAM, "--", "--explain", "--", "-x")
    assert done.exit_code == 7
    command = seen[0]
    assert command[:5] == [sys.executable, "-m", "pytest", "-n", "auto"]
    assert command[-6:] == ["--explain", "--", "-x", *rerun.TESTS, f"{ID}\n{UPSTREAM}\n"]
    assert f"--matrix={PROJECT / 'matrix.yaml'}" in command


# pytest's own options


def run_pytest(*arguments: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        input=said,
        env={**inherited, "COLUMNS": "200"},
    )


def ids_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    found = [line for line in done.stdout.splitlines() if line.startswith("cases/")]
    return [line.partition("[")[2].removesuffix("]") for line in found]


def test_pytest_collects_the_shards_of_a_profile() -> None:
    options = ("--collect-only", *QUICK, "--platform=x86_64")
    parts = [ids_of(run_pytest(*options, f"--shard={n}/3")) for n in (1, 2, 3)]
    assert all(parts)
    whole = [cell.id for cell in cells("quick") if "x86_64" in cell.id]
    assert sorted(name for part in parts for name in part) == sorted(whole)


def test_pytest_collects_what_a_plan_says(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    assert invoke("plan", *QUICK, "--shards=2", "-o", file).exit_code == 0
    done = run_pytest("--collect-only", f"--plan={file}", "--shard=2/2")
    assert sorted(ids_of(done)) == sorted(planfile.read(file).jobs[1].cells)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_an_empty_shard_is_a_success_with_an_empty_results_file(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """And needs no engine."""
    file = tmp_path / "results.jsonl"
    done = run_pytest(*QUICK, *workers, "--uv=0.7.6", "--shard=40/40", f"--results={file}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shard 40/40 has no cell of 18: there is nothing to do" in done.stdout
    assert file.read_bytes() == b""


def test_no_tests_without_a_shard_are_still_no_success() -> None:
    assert run_pytest(*QUICK, "-k", "nothing").returncode == 5


def test_cells_come_from_standard_input_whatever_profile_has_them() -> None:
    ids = [ID + "+preload", UPSTREAM, "list-iadd-uv0.7.6-cp313-20251120-aarch64-debian13"]
    done = run_pytest("--collect-only", "--cells=-", said="\n".join(ids))
    assert sorted(ids_of(done)) == sorted(ids), done.stderr


@pytest.mark.parametrize(
    ("options", "said", "status", "problem"),
    [
        (["--shard=4/3"], None, ExitCode.CONFIGURATION, "--shard '4/3' is no part of a run"),
        (["--cells=none"], None, ExitCode.CONFIGURATION, "none cannot be read"),
        (["--cells=-"], "", ExitCode.SELECTION, "--cells names no cell"),
        (["--cells=-"], "two words", ExitCode.CONFIGURATION, "standard input:1: not the id"),
        (["--cells=-"], "x-uv", ExitCode.SELECTION, "there is no cell x-uv"),
        (["--plan=none"], None, ExitCode.CONFIGURATION, "none cannot be read"),
        (["--shard=1/2", "--shard-by=none"], None, ExitCode.CONFIGURATION, "none cannot be read"),
        (["--also-release=x"], None, ExitCode.CONFIGURATION, "--also-release 'x'"),
    ],
)
def test_mistakes_are_one_message(
    options: list[str], said: str | None, status: ExitCode, problem: str
) -> None:
    done = run_pytest(*QUICK, *options, said=said)
    assert done.returncode == status, done.stdout + done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# completion


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_is_told_how_to_complete(name: str) -> None:
    done = invoke("completion", name)
    assert done.exit_code == 0, done.output
    assert VARIABLE in done.stdout
    if name == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    assert invoke("completion", "tcsh").exit_code == 2


def completed(*words: str) -> list[str]:
    """What is offered for the last word."""
    done = subprocess.run(
        [Path(sys.executable).with_name("pbs-matrix")],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={
            **os.environ,
            VARIABLE: "bash_complete",
            "COMP_WORDS": " ".join(["pbs-matrix", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_names_and_ids_are_completed() -> None:
    assert {"rerun", "releases", "report"} == set(completed("re"))
    assert "quick" in completed("list", "--profile", "q")
    assert completed("list", "--extension", "python-") == ["python-mscl"]
    assert completed("plan", "--platform", "aa") == ["aarch64"]
    assert ID in completed("show", ID[:30])
    assert completed("show", "nothing") == []
    assert "--failed" in completed("rerun", "--f")
    assert UPSTREAM in completed("rerun", UPSTREAM)


def test_a_broken_matrix_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("{")
    assert completed("list", "--matrix", str(tmp_path / "matrix.yaml"), "--profile", "q") == []
    assert completed("show", "--matrix", str(tmp_path / "matrix.yaml"), "python") == []


def test_a_card_names_no_command_of_another_folder(tmp_path: Path) -> None:
    told = card.commands("a b", PROJECT / "matrix.yaml")
    assert told == {"rerun": "pbs-matrix rerun 'a b'", "shell": "pbs-matrix shell 'a b'"}
