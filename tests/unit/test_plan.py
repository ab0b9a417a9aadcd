"""The plan: which cells there are, their names, their order, and what should happen in each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness import lock, matrix
from harness.errors import ConfigurationError, LockError, SelectionError
from harness.lock import Lock
from harness.matrix import Matrix
from harness.outcome import Reason
from harness.plan import Cell, Selection, Source, environments, plan
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy

PROJECT = Path(__file__).parents[2]
OWN_TEXT = (PROJECT / "matrix.yaml").read_text(encoding="utf-8")
EXAMPLE = "python-mscl-uv0.7.6-cp313-20250517~replica-aarch64-debian13"

LIBPYTHON = "libpython3.13.so.1.0"
LIBPYTHON3 = "libpython3.so"

# facts/README.md, section 2, measured on real loaders: ok, or the library that is not found.
MODELS = ("shared", "static", "static+runpath", "static+rpath")
TRUTH: dict[str, tuple[str, str, str, str]] = {
    "no-libpython": ("ok", "ok", "ok", "ok"),
    "python-mscl": ("ok", LIBPYTHON, LIBPYTHON, "ok"),
    "libpython-needed": ("ok", LIBPYTHON, LIBPYTHON, "ok"),
    "libpython-needed-runpath": ("ok", LIBPYTHON, LIBPYTHON, LIBPYTHON),
    "libpython-needed-rpath": ("ok", LIBPYTHON, LIBPYTHON, "ok"),
    "ucxx-shaped": ("ok", LIBPYTHON, LIBPYTHON, LIBPYTHON),
    "runpath-plain-helper": ("ok", LIBPYTHON, LIBPYTHON, "ok"),
    "abi3-libpython3": (LIBPYTHON3, LIBPYTHON3, LIBPYTHON3, "ok"),
}

# facts/README.md, section 1: what each uv version installs. Neither axis is monotonic.
INSTALLS: dict[tuple[str, str], tuple[str, str]] = {
    ("0.7.5", "x86_64"): ("20250409", "shared"),
    ("0.7.5", "aarch64"): ("20250409", "shared"),
    ("0.7.6", "x86_64"): ("20250517", "static"),
    ("0.7.6", "aarch64"): ("20250517", "static"),
    ("0.7.7", "x86_64"): ("20250521", "static+runpath"),
    ("0.7.7", "aarch64"): ("20250521", "static+runpath"),
    ("0.7.8", "x86_64"): ("20250409", "shared"),
    ("0.7.8", "aarch64"): ("20250521", "static+runpath"),
    ("0.7.9", "x86_64"): ("20250529", "static+rpath"),
    ("0.7.9", "aarch64"): ("20250529", "static+rpath"),
    ("0.13.9", "x86_64"): ("20261110", "static+rpath"),
    ("0.13.9", "aarch64"): ("20261110", "static+rpath"),
}
BASES = ("debian13", "debian13-libpython")

Coordinates = tuple[str, str, str, str]


def oracle() -> dict[Coordinates, str]:
    """Extension, uv, platform and base of every planned cell, with what the facts say of it."""
    said = {}
    for (uv, platform), (_, model) in INSTALLS.items():
        for extension, row in TRUTH.items():
            for base in BASES:
                answer = row[MODELS.index(model)]
                # The distribution's libpython satisfies every lookup, but there is no
                # libpython3.so in Debian's package.
                if base == "debian13-libpython" and answer == LIBPYTHON:
                    answer = "ok"
                said[extension, uv, platform, base] = answer
    return said


def coordinates(cell: Cell) -> Coordinates:
    interpreter = cell.environment.interpreter
    return (cell.extension, cell.environment.uv, interpreter.platform, cell.environment.base)


def expectation(cell: Cell) -> str:
    if cell.expected.reason is Reason.IMPORTS:
        return "ok"
    assert cell.expected.reason is Reason.MISSING_LIBRARY
    return str(cell.expected.library)


def ids(cells: tuple[Cell, ...]) -> list[str]:
    return [cell.id for cell in cells]


def loaded(text: str, directory: Path) -> Matrix:
    path = directory / "matrix.yaml"
    path.write_text(text, encoding="utf-8")
    return matrix.load(path)


@pytest.fixture(scope="module")
def own() -> Matrix:
    return matrix.load(PROJECT / "matrix.yaml")


@pytest.fixture(scope="module")
def own_lock() -> Lock:
    return lock.load(PROJECT / "matrix.lock")


@pytest.fixture(scope="module")
def own_cells(own: Matrix, own_lock: Lock) -> tuple[Cell, ...]:
    return plan(own, own_lock)


def test_every_cell_of_the_projects_matrix_is_expected_to_do_what_was_measured(
    own_cells: tuple[Cell, ...],
) -> None:
    said = oracle()
    assert len(said) == 192
    assert len(own_cells) == 192
    assert {coordinates(cell): expectation(cell) for cell in own_cells} == said


def test_each_uv_version_installs_the_release_of_its_own_metadata(
    own_cells: tuple[Cell, ...],
) -> None:
    """Above all uv 0.7.8: the old release on x86_64, and the newer, broken one on aarch64."""
    interpreters = {
        (environment.uv, str(environment.interpreter.platform)): (
            environment.interpreter.release,
            str(environment.interpreter.link_model),
        )
        for environment in environments(own_cells)
    }
    assert interpreters == INSTALLS


def test_the_message_of_issue_619_is_expected_word_for_word(own_cells: tuple[Cell, ...]) -> None:
    messages = {cell.expected.message for cell in own_cells if cell.extension == "python-mscl"}
    assert messages == {
        None,
        "libpython3.13.so.1.0: cannot open shared object file: No such file or directory",
    }


def test_every_expected_breakage_of_the_projects_matrix_has_a_reason_of_its_own(
    own_cells: tuple[Cell, ...],
) -> None:
    broken = [cell for cell in own_cells if cell.expected.reason is not Reason.IMPORTS]
    assert len({cell.expected.why for cell in broken}) >= 3
    assert all(cell.expected.why != "A correct extension imports everywhere" for cell in broken)


# The first, the last and every 23rd, which is coprime to all axes and so visits all their values.
@pytest.mark.parametrize("which", [*list(oracle())[::23], list(oracle())[-1]], ids="/".join)
def test_an_expectation_for_one_cell_changes_that_cell_and_no_other(
    tmp_path: Path, own_cells: tuple[Cell, ...], own_lock: Lock, which: Coordinates
) -> None:
    extension, uv, platform, base = which
    flipped = (
        ["expect: imports"]
        if oracle()[which] != "ok"
        else ["expect: missing-library", "library: libflipped{python}.so"]
    )
    rule = [
        f"- extension: {extension}",
        f"  uv: {uv}",
        f"  platform: {platform}",
        f"  base: {base}",
        *(f"  {line}" for line in flipped),
        "  reason: flipped",
    ]
    text = OWN_TEXT.replace(
        "\nexpectations:\n", "\nexpectations:\n" + "".join(f"  {line}\n" for line in rule)
    )
    cells = plan(loaded(text, tmp_path), own_lock)
    assert ids(cells) == ids(own_cells)
    changed = [
        (before, after)
        for before, after in zip(own_cells, cells, strict=True)
        if before.expected != after.expected
    ]
    assert [coordinates(after) for _, after in changed] == [which]
    ((before, after),) = changed
    assert (expectation(after) == "ok") == (expectation(before) != "ok")
    assert expectation(after) in ("ok", "libflipped3.13.so")


@pytest.mark.parametrize("profile", ["quick", "default", "wide"])
@pytest.mark.parametrize("source", list(Source))
def test_ids_are_unique(own: Matrix, own_lock: Lock, profile: str, source: Source) -> None:
    found = Counter(ids(plan(own, own_lock, profile=profile, source=source)))
    assert set(found.values()) == {1}


@pytest.mark.parametrize("profile", ["quick", "default", "wide"])
def test_two_loads_give_the_same_cells_in_the_same_order(profile: str) -> None:
    one, other = (
        plan(
            matrix.load(PROJECT / "matrix.yaml"),
            lock.load(PROJECT / "matrix.lock"),
            profile=profile,
        )
        for _ in range(2)
    )
    assert ids(one) == ids(other)
    assert one == other


def test_the_order_does_not_depend_on_pythons_hash_seed(own: Matrix, own_lock: Lock) -> None:
    program = (
        "from pathlib import Path; from harness import lock, matrix; from harness.plan import plan;"
        f"project = Path({str(PROJECT)!r});"
        "cells = plan(matrix.load(project / 'matrix.yaml'), lock.load(project / 'matrix.lock'),"
        " profile='wide');"
        "print(*(cell.id for cell in cells), sep='\\n')"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4242")
    ]
    said = [run.communicate(timeout=60)[0].splitlines() for run in runs]
    here = ids(plan(own, own_lock, profile="wide"))
    assert said == [here, here]


def test_the_documented_example_id_occurs(own_cells: tuple[Cell, ...]) -> None:
    (cell,) = [cell for cell in own_cells if cell.id == EXAMPLE]
    assert coordinates(cell) == ("python-mscl", "0.7.6", "aarch64", "debian13")
    interpreter = cell.environment.interpreter
    assert interpreter.release == "20250517"
    assert interpreter.link_model is LinkModel.STATIC
    assert interpreter.version == "3.13.3"


def test_a_replica_is_marked_in_every_id_and_the_upstream_archive_in_none(
    own: Matrix, own_lock: Lock
) -> None:
    replicas = ids(plan(own, own_lock, source=Source.REPLICA))
    upstream = ids(plan(own, own_lock, source=Source.UPSTREAM))
    assert all("~replica-" in name for name in replicas)
    assert not any("~" in name for name in upstream)
    assert [name.replace("~replica", "") for name in replicas] == upstream


def test_a_remedy_other_than_none_is_part_of_the_id(own: Matrix, own_lock: Lock) -> None:
    for cell in plan(own, own_lock, profile="wide"):
        _, plus, remedy = cell.id.partition("+")
        assert (remedy if plus else "none") == cell.remedy


@pytest.mark.parametrize(("profile", "cells"), [("quick", 48), ("default", 192), ("wide", 240)])
def test_a_profile_has_its_number_of_cells(
    own: Matrix, own_lock: Lock, profile: str, cells: int
) -> None:
    assert len(plan(own, own_lock, profile=profile)) == cells


def test_the_quick_profile_is_a_part_of_the_default_one(
    own: Matrix, own_lock: Lock, own_cells: tuple[Cell, ...]
) -> None:
    quick = plan(own, own_lock, profile="quick")
    assert set(ids(quick)) < set(ids(own_cells))
    assert {cell.environment.uv for cell in quick} == {"0.7.5", "0.7.6", "0.7.9"}
    assert {cell.environment.base for cell in quick} == {"debian13"}


def test_the_wide_profile_adds_remedies_to_the_default_one(
    own: Matrix, own_lock: Lock, own_cells: tuple[Cell, ...]
) -> None:
    wide = plan(own, own_lock, profile="wide")
    assert ids(wide)[: len(own_cells)] == ids(own_cells)
    added = wide[len(own_cells) :]
    assert {cell.remedy for cell in added} == {Remedy.PRELOAD, Remedy.PRELOAD_BY_PATH}
    # Facts, section 2: by path, every row imports; by name, static alone does not.
    assert {
        (str(cell.remedy), str(cell.environment.interpreter.link_model))
        for cell in added
        if expectation(cell) != "ok"
    } == {("preload", "static")}


def test_an_unknown_profile_is_refused_with_those_that_there_are(
    own: Matrix, own_lock: Lock
) -> None:
    with pytest.raises(SelectionError) as caught:
        plan(own, own_lock, profile="fast")
    assert int(caught.value.exit_code) == 11
    assert "'fast'" in caught.value.problem
    assert "quick, default, wide" in caught.value.advice


def test_include_adds_cells_after_the_profiles_own(
    tmp_path: Path, own_lock: Lock, own_cells: tuple[Cell, ...]
) -> None:
    rule = (
        "\ninclude:\n  - extensions: [python-mscl]\n    bases: [debian13]\n    uv: [0.7.6]\n"
        "    platforms: [aarch64]\n    remedies: [none, preload]\n"
    )
    cells = plan(loaded(OWN_TEXT + rule, tmp_path), own_lock)
    # Without a remedy the cell is there already, and stays one.
    assert ids(cells) == [*ids(own_cells), f"{EXAMPLE}+preload"]


def test_include_adds_to_every_profile(tmp_path: Path, own: Matrix, own_lock: Lock) -> None:
    rule = "\ninclude:\n  - uv: [0.7.8]\n    extensions: [ucxx-shaped]\n    bases: [debian13]\n"
    cells = plan(loaded(OWN_TEXT + rule, tmp_path), own_lock, profile="quick")
    before = ids(plan(own, own_lock, profile="quick"))
    assert ids(cells) == [
        *before,
        "ucxx-shaped-uv0.7.8-cp313-20250409~replica-x86_64-debian13",
        "ucxx-shaped-uv0.7.8-cp313-20250521~replica-aarch64-debian13",
    ]


@pytest.mark.parametrize(
    ("rule", "left_out"),
    [
        ("uv: 0.7.8", 32),
        ("uv: 0.7.*", 160),
        ("release: 20250517..20250521", 80),
        ("release: 20250529..", 64),
        ("link_model: shared", 48),
        ("platform: aarch64, base: debian13-*", 48),
        ("extension: [libpython-needed*, ucxx-shaped], uv: 0.7.5", 16),
        ("remedy: preload", 0),
    ],
)
def test_exclude_removes_the_cells_that_it_picks(
    tmp_path: Path, own_lock: Lock, own_cells: tuple[Cell, ...], rule: str, left_out: int
) -> None:
    text = OWN_TEXT + f"\nexclude:\n  - {{{rule}}}\n"
    cells = plan(loaded(text, tmp_path), own_lock)
    assert len(cells) == 192 - left_out
    kept = set(ids(cells))
    assert ids(cells) == [name for name in ids(own_cells) if name in kept]


def test_exclude_wins_over_include(tmp_path: Path, own_lock: Lock) -> None:
    rules = "\ninclude:\n  - remedies: [preload]\nexclude:\n  - remedy: preload\n"
    assert len(plan(loaded(OWN_TEXT + rules, tmp_path), own_lock)) == 192


def test_excluding_everything_is_a_mistake_of_the_matrix(tmp_path: Path, own_lock: Lock) -> None:
    with pytest.raises(ConfigurationError, match="no cell"):
        plan(loaded(OWN_TEXT + "\nexclude:\n  - reason: everything\n", tmp_path), own_lock)


def test_the_first_expectation_that_matches_counts(tmp_path: Path, own_lock: Lock) -> None:
    rules = "".join(
        f"  - extension: no-libpython\n    expect: {outcome}\n    reason: {outcome}\n"
        for outcome in ("crash", "timeout")
    )
    text = OWN_TEXT.replace("\nexpectations:\n", f"\nexpectations:\n{rules}")
    cells = plan(loaded(text, tmp_path), own_lock)
    assert {c.expected.reason for c in cells if c.extension == "no-libpython"} == {Reason.CRASH}


def selected(own: Matrix, own_lock: Lock, selection: Selection) -> tuple[Cell, ...]:
    return plan(own, own_lock, profile="wide", selection=selection)


def values(cells: tuple[Cell, ...], axis: str) -> set[str]:
    return {
        {
            "uv": cell.environment.uv,
            "release": cell.environment.interpreter.release,
            "platform": str(cell.environment.interpreter.platform),
            "base": cell.environment.base,
            "extension": cell.extension,
            "remedy": str(cell.remedy),
        }[axis]
        for cell in cells
    }


@pytest.mark.parametrize(
    ("axis", "patterns", "left"),
    [
        ("uv", ["0.7.6"], {"0.7.6"}),
        ("uv", ["0.7.[67]", "0.13.*"], {"0.7.6", "0.7.7", "0.13.9"}),
        ("release", ["20250517"], {"20250517"}),
        ("release", ["202504*", "20250521"], {"20250409", "20250521"}),
        ("platform", ["aarch64"], {"aarch64"}),
        ("platform", ["x86*", "a*"], {"x86_64", "aarch64"}),
        ("base", ["debian13"], {"debian13"}),
        ("base", ["*libpython"], {"debian13-libpython"}),
        ("extension", ["python-mscl"], {"python-mscl"}),
        ("extension", ["*mscl", "no-*"], {"python-mscl", "no-libpython"}),
        ("remedy", ["none"], {"none"}),
        ("remedy", ["preload*"], {"preload", "preload-by-path"}),
    ],
)
def test_a_selection_keeps_the_cells_that_match_any_of_its_globs(
    own: Matrix, own_lock: Lock, axis: str, patterns: list[str], left: set[str]
) -> None:
    everything = plan(own, own_lock, profile="wide")
    cells = selected(own, own_lock, Selection(**{axis: tuple(patterns)}))
    assert values(cells, axis) == left
    assert ids(cells) == [cell.id for cell in everything if values((cell,), axis) <= left]


def test_selections_of_several_axes_hold_together(own: Matrix, own_lock: Lock) -> None:
    selection = Selection(
        uv=("0.7.6",),
        release=("20250517",),
        platform=("aarch64",),
        base=("debian13",),
        extension=("python-mscl",),
        remedy=("none",),
    )
    assert ids(selected(own, own_lock, selection)) == [EXAMPLE]


@pytest.mark.parametrize(
    ("axis", "pattern", "there"),
    [
        ("uv", "0.7.10", "0.7.5, 0.7.6, 0.7.7, 0.7.8, 0.7.9, 0.13.9"),
        ("release", "20250516", "20250409, 20250517, 20250521, 20250529, 20261110"),
        ("platform", "arm64", "x86_64, aarch64"),
        ("base", "debian12", "debian13, debian13-libpython"),
        ("extension", "ucxx", "python-mscl, no-libpython, "),
        ("remedy", "patchelf", "none, preload, preload-by-path"),
    ],
)
def test_an_option_that_selects_nothing_is_refused_with_what_there_is(
    own: Matrix, own_lock: Lock, axis: str, pattern: str, there: str
) -> None:
    """Even beside a pattern that selects something: a mistyped one must not pass unnoticed."""
    for patterns in ((pattern,), ("*", pattern)):
        with pytest.raises(SelectionError) as caught:
            selected(own, own_lock, Selection(**{axis: patterns}))
        assert int(caught.value.exit_code) == 11
        assert f"--{axis} {pattern!r} selects nothing" in caught.value.problem
        assert there in caught.value.advice


def test_options_that_select_nothing_together_are_refused_with_what_is_left(
    own: Matrix, own_lock: Lock
) -> None:
    with pytest.raises(SelectionError) as caught:
        selected(own, own_lock, Selection(uv=("0.7.5",), release=("20250517",)))
    assert "--release '20250517'" in caught.value.problem
    assert "20250409." in caught.value.advice


def test_a_uv_version_missing_from_the_lock_is_refused_with_the_command_that_locks(
    tmp_path: Path, own_lock: Lock
) -> None:
    text = OWN_TEXT.replace("uv: [0.7.5,", "uv: [0.7.4, 0.7.5,", 1)
    with pytest.raises(LockError) as caught:
        plan(loaded(text, tmp_path), own_lock)
    assert int(caught.value.exit_code) == 12
    assert "uv 0.7.4 with CPython 3.13 on x86_64" in caught.value.problem
    assert "pbs-matrix lock" in caught.value.advice


def test_cells_that_need_the_same_share_an_environment(own_cells: tuple[Cell, ...]) -> None:
    found = environments(own_cells)
    assert len(found) == 6 * 2 * 2
    assert len({environment.id for environment in found}) == len(found)
    assert found[0].id == "uv0.7.5-cp313-20250409~replica-x86_64-debian13"


def test_packages_of_an_extension_make_an_environment_of_its_own(
    tmp_path: Path, own_lock: Lock, own_cells: tuple[Cell, ...]
) -> None:
    """It has them in its id; the cell's id stays, and other extensions' environments too."""
    text = OWN_TEXT.replace(
        "    imports: no_libpython\n", "    imports: no_libpython\n    packages: [libgl1, fonts]\n"
    )
    cells = plan(loaded(text, tmp_path), own_lock)
    assert ids(cells) == ids(own_cells)
    found = environments(cells)
    assert len(found) == 2 * len(environments(own_cells))
    for cell in cells:
        needs = ("fonts", "libgl1") if cell.extension == "no-libpython" else ()
        assert cell.environment.packages == needs
        assert cell.environment.id.endswith("+fonts+libgl1") == bool(needs)


def test_packages_that_the_base_has_already_make_no_environment(
    tmp_path: Path, own_lock: Lock
) -> None:
    text = OWN_TEXT.replace(
        "    imports: no_libpython\n", "    imports: no_libpython\n    packages: [libpython3.13]\n"
    )
    for cell in plan(loaded(text, tmp_path), own_lock):
        needs = cell.extension == "no-libpython" and cell.environment.base == "debian13"
        assert cell.environment.packages == (("libpython3.13",) if needs else ())


def test_a_cell_knows_its_platform_and_where_uv_would_fetch_its_archive(
    own_cells: tuple[Cell, ...],
) -> None:
    for cell in own_cells:
        interpreter = cell.environment.interpreter
        assert isinstance(interpreter.platform, Platform)
        name = f"cpython-{interpreter.version}%2B{interpreter.release}-{interpreter.platform}"
        assert name in interpreter.url
