"""The plan: which cells there are, their names, their order, and what should happen in each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import lock, matrix
from harness.errors import ConfigurationError, LockError, SelectionError
from harness.lock import Lock
from harness.matrix import Kind, Matrix, Profile
from harness.outcome import Reason
from harness.plan import SUCCESS, Cell, Names, Selection, environments, plan, where
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.sources import Source

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


def of_extensions(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.sample.kind is Kind.EXTENSION)


def test_every_cell_of_the_projects_matrix_is_expected_to_do_what_was_measured(
    own_cells: tuple[Cell, ...],
) -> None:
    said = oracle()
    assert len(said) == 192
    extensions = of_extensions(own_cells)
    assert len(extensions) == 192
    assert {coordinates(cell): expectation(cell) for cell in extensions} == said


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
    broken = [c for c in own_cells if c.expected.reason is not SUCCESS[c.sample.kind].reason]
    assert len({cell.expected.why for cell in broken}) >= 3
    assert not {cell.expected.why for cell in broken} & {e.why for e in SUCCESS.values()}


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


def test_an_id_names_all_that_tells_one_cell_from_another(own: Matrix, own_lock: Lock) -> None:
    """Two runs of the wide profile can be compared line by line, whatever else is in them.

    An id is the same in whatever profile a cell is, and stays when another is added before it.
    """
    names = Names(uv={"latest": own.uv[-1]})
    profiles = {name: plan(own, own_lock, profile=name, names=names) for name in own.profiles}
    known: dict[str, Cell] = {}
    for cells in profiles.values():
        for cell in cells:
            assert known.setdefault(cell.id, cell) == cell
    by_place = {
        (*where(cell).values(), cell.environment.interpreter.default): cell.id
        for cell in known.values()
    }
    assert len(by_place) == len(known)


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
    assert interpreter.default is not None
    assert interpreter.default.version == "3.13.3"


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


@pytest.mark.parametrize(("profile", "cells"), [("quick", 48), ("default", 192)])
def test_a_profile_has_its_number_of_cells_of_extensions(
    own: Matrix, own_lock: Lock, profile: str, cells: int
) -> None:
    planned = plan(own, own_lock, profile=profile)
    assert len(of_extensions(planned)) == cells
    # Checks are asked of each environment once, and cost little beside them.
    assert len(planned) - cells <= len(own.checks) * len(environments(planned))


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
    default = set(ids(own_cells))
    assert default < set(ids(wide))
    added = [cell for cell in wide if cell.id not in default]
    assert {cell.remedy for cell in added} == set(Remedy)
    # Facts, section 2: by path, with LD_LIBRARY_PATH and without the dependency, every row
    # imports; by name, static alone does not.
    here = {Remedy.PRELOAD, Remedy.PRELOAD_BY_PATH, Remedy.LD_LIBRARY_PATH, Remedy.PATCHELF}
    assert {
        (str(cell.remedy), str(cell.environment.interpreter.link_model))
        for cell in added
        if cell.extension in ("python-mscl", "ucxx-shaped") and cell.remedy in here
        if expectation(cell) != "ok"
    } == {("preload", "static")}


@pytest.mark.parametrize("name", ["python-mscl", "ucxx-shaped"])
def test_the_wide_profile_upgrades_from_the_uv_that_brought_the_breakage(
    own: Matrix, own_lock: Lock, name: str
) -> None:
    """Facts, section 1: an installed interpreter stays as it is, unless it is reinstalled.

    Then it is the newer uv's own, which imports what that imports without a remedy.
    """
    cells = [
        cell
        for cell in plan(own, own_lock, profile="wide")
        if cell.extension == name and cell.remedy.uv_command and cell.environment.upgrade
    ]
    assert {cell.remedy for cell in cells} == {Remedy.UPGRADE_ONLY, Remedy.REINSTALL}
    said = oracle()
    for cell in cells:
        upgrade = cell.environment.upgrade
        assert upgrade is not None
        assert (upgrade.uv, upgrade.interpreter.release) == ("0.7.6", "20250517")
        _, uv, platform, base = coordinates(cell)
        stays = cell.remedy is Remedy.UPGRADE_ONLY
        assert expectation(cell) == said[name, "0.7.6" if stays else uv, platform, base]


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
    assert len(of_extensions(cells)) == 192 - left_out
    kept = set(ids(cells))
    assert ids(cells) == [name for name in ids(own_cells) if name in kept]


def test_exclude_wins_over_include(
    tmp_path: Path, own_lock: Lock, own_cells: tuple[Cell, ...]
) -> None:
    rules = (
        "\ninclude:\n  - remedies: [preload]\n    extensions: [python-mscl]\n"
        "exclude:\n  - remedy: preload\n"
    )
    assert ids(plan(loaded(OWN_TEXT + rules, tmp_path), own_lock)) == ids(own_cells)


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
        if axis != "extension" or cell.sample.kind is Kind.EXTENSION
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
    assert ids(cells) == [
        cell.id for cell in everything if values((cell,), axis) and values((cell,), axis) <= left
    ]


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
        ("remedy", "patch", "none, preload, preload-by-path"),
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
        default = interpreter.default
        assert default is not None
        name = f"cpython-{default.version}%2B{interpreter.release}-{interpreter.platform}"
        assert name in default.url


# Checks, what applies, and remedies that upgrade: in a matrix of the tests' own.

SMALL = """\
version: "1"
uv: [0.7.5, 0.7.6, 0.7.9]
python: ["3.13"]
platforms: [x86_64, aarch64]
bases:
  debian13: {suite: trixie}
  debian13-libpython: {suite: trixie, packages: [libpython3.13]}
extensions:
  one: {source: one, imports: one}
  two: {source: two, imports: two, packages: [libgl1]}
checks:
  alpha: {script: checks/alpha.py}
  beta: {script: checks/beta.py, packages: [xvfb, libpython3.13]}
profiles:
  default: {}
"""
NAMES = {"one": Kind.EXTENSION, "two": Kind.EXTENSION, "alpha": Kind.CHECK, "beta": Kind.CHECK}


def planned(
    lock: Lock,
    directory: Path,
    *rules: str,
    source: Source = Source.REPLICA,
    selection: Selection | None = None,
) -> tuple[Cell, ...]:
    """The cells of the small matrix with some lines more; a line for a key replaces the key's."""
    text = SMALL
    for rule in rules:
        key = rule.partition(":")[0]
        lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
        if key == "profiles":
            lines.remove("  default: {}")
        text = "\n".join([*lines, rule]) + "\n"
    return plan(loaded(text, directory), lock, source=source, selection=selection)


def named(cells: tuple[Cell, ...]) -> list[str]:
    return list(dict.fromkeys(cell.extension for cell in cells))


def test_a_check_is_asked_in_every_environment_as_an_extension_is(
    tmp_path: Path, own_lock: Lock
) -> None:
    cells = planned(own_lock, tmp_path)
    assert Counter(cell.extension for cell in cells) == dict.fromkeys(NAMES, 3 * 2 * 2)
    assert {cell.extension: cell.sample.kind for cell in cells} == NAMES
    alpha = {cell.environment for cell in cells if cell.extension == "alpha"}
    assert alpha == {cell.environment for cell in cells if cell.extension == "one"}
    assert ids(cells)[2] == "alpha-uv0.7.5-cp313-20250409~replica-x86_64-debian13"


def test_a_check_is_expected_to_pass_and_an_extension_to_import(
    tmp_path: Path, own_lock: Lock
) -> None:
    for cell in planned(own_lock, tmp_path):
        expected = Reason.PASSES if cell.sample.kind is Kind.CHECK else Reason.IMPORTS
        assert cell.expected.reason is expected
        assert cell.expected == SUCCESS[cell.sample.kind]


def test_packages_of_a_check_make_an_environment_of_its_own(tmp_path: Path, own_lock: Lock) -> None:
    packages = {
        (cell.extension, cell.environment.base): cell.environment.packages
        for cell in planned(own_lock, tmp_path)
    }
    assert packages["alpha", "debian13"] == ()
    assert packages["beta", "debian13"] == ("libpython3.13", "xvfb")
    assert packages["beta", "debian13-libpython"] == ("xvfb",)


def test_a_remedy_is_no_question_to_an_interpreter(tmp_path: Path, own_lock: Lock) -> None:
    cells = planned(own_lock, tmp_path, "remedies: [preload, none, patchelf]")
    assert Counter((cell.extension, str(cell.remedy)) for cell in cells) == {
        **{("one", remedy): 12 for remedy in ("preload", "none", "patchelf")},
        **{("two", remedy): 12 for remedy in ("preload", "none", "patchelf")},
        ("alpha", "none"): 12,
        ("beta", "none"): 12,
    }


@pytest.mark.parametrize("place", ["profile", "include", "include of a profile"])
@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("", ["one", "two", "alpha", "beta"]),
        ("extensions: [two]", ["two"]),
        ("extensions: [two, one]", ["two", "one"]),
        ("checks: [beta]", ["beta"]),
        ("checks: [beta, alpha]", ["beta", "alpha"]),
        ("checks: [beta], extensions: [one]", ["one", "beta"]),
    ],
)
def test_who_names_one_kind_of_sample_gets_none_of_the_other(
    tmp_path: Path, own_lock: Lock, place: str, asked: str, names: list[str]
) -> None:
    """Else a profile of three extensions would have every check as well."""
    entry = f"{{uv: [0.7.6]{', ' if asked else ''}{asked}}}"
    least = "default: {uv: [0.7.5], extensions: [one]"
    rules = {
        "profile": [f"profiles: {{default: {entry}}}"],
        "include": [f"profiles: {{{least}}}}}", f"include: [{entry}]"],
        "include of a profile": [f"profiles: {{{least}, include: [{entry}]}}}}"],
    }[place]
    cells = [c for c in planned(own_lock, tmp_path, *rules) if c.environment.uv == "0.7.6"]
    assert named(tuple(cells)) == names
    assert len(cells) == 4 * len(names)


@given(
    extensions=st.none() | st.lists(st.sampled_from(["one", "two"]), min_size=1, unique=True),
    checks=st.none() | st.lists(st.sampled_from(["alpha", "beta"]), min_size=1, unique=True),
    remedies=st.none() | st.lists(st.sampled_from(list(Remedy)), min_size=1, unique=True),
    uv=st.none() | st.lists(st.sampled_from(["0.7.5", "0.7.9"]), min_size=1, unique=True),
)
@settings(deadline=None)
def test_an_entry_is_the_product_of_what_it_names(
    small: Matrix,
    own_lock: Lock,
    extensions: list[str] | None,
    checks: list[str] | None,
    remedies: list[Remedy] | None,
    uv: list[str] | None,
) -> None:
    entry = {"extensions": extensions, "checks": checks, "remedies": remedies, "uv": uv}
    axes = Profile.model_validate(
        {axis: [str(v) for v in values] for axis, values in entry.items() if values}
    )
    names = list(NAMES) if extensions is None and checks is None else []
    names += [*(extensions or ()), *(checks or ())]
    expected = {
        (name, remedy, version, str(platform), base)
        for name in names
        for remedy in remedies or [Remedy.NONE]
        if NAMES[name] is Kind.EXTENSION or remedy is Remedy.NONE
        for version in uv or ["0.7.5", "0.7.6", "0.7.9"]
        for platform in Platform
        for base in BASES
    }
    changed = small.model_copy(update={"profiles": {"default": axes}, "upgrade_from": "0.7.6"})
    if not expected:
        with pytest.raises(ConfigurationError, match="no cell"):
            plan(changed, own_lock)
        return
    cells = plan(changed, own_lock)
    assert len(cells) == len(expected)
    assert {(c.extension, c.remedy, *coordinates(c)[1:]) for c in cells} == expected
    assert len(set(ids(cells))) == len(cells)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return loaded(SMALL, tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize(
    ("rule", "picks"),
    [
        ("check: alpha", {"alpha"}),
        ("check: '*'", {"alpha", "beta"}),
        ("check: [alpha, b*]", {"alpha", "beta"}),
        ("extension: '*'", {"one", "two"}),
        ("extension: one", {"one"}),
        ("source: {this}", set(NAMES)),
        ("source: {other}", set()),
        ("source: [upstream, replica]", set(NAMES)),
        ("check: alpha, extension: one", set()),
        ("check: beta, source: {this}, remedy: none", {"beta"}),
    ],
)
@pytest.mark.parametrize("source", list(Source))
def test_an_expectation_picks_by_extension_check_and_source(
    tmp_path: Path, own_lock: Lock, rule: str, picks: set[str], source: Source
) -> None:
    (other,) = set(Source) - {source}
    rule = rule.format(this=source, other=other)
    rules = f"expectations: [{{{rule}, expect: crash, reason: x}}]"
    cells = planned(own_lock, tmp_path, rules, source=source)
    assert {c.extension for c in cells if c.expected.reason is Reason.CRASH} == picks
    for cell in cells:
        if cell.extension not in picks:
            assert cell.expected == SUCCESS[cell.sample.kind]


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("check: '*'", {"one", "two"}),
        ("extension: '*'", {"alpha", "beta"}),
        ("check: alpha", {"one", "two", "beta"}),
        ("source: upstream", set(NAMES)),
    ],
)
def test_an_exclusion_picks_by_extension_check_and_source(
    tmp_path: Path, own_lock: Lock, rule: str, left: set[str]
) -> None:
    assert set(named(planned(own_lock, tmp_path, f"exclude: [{{{rule}}}]"))) == left


APPLIES: dict[str, Callable[[Cell], bool]] = {
    "uv: 0.7.6": lambda cell: cell.environment.uv == "0.7.6",
    "uv: 0.6.*": lambda cell: False,
    "release: 20250517..": lambda cell: cell.environment.uv != "0.7.5",
    "release: [..20250409, 20250529..]": lambda cell: cell.environment.uv != "0.7.6",
    "link_model: [static, shared]": lambda cell: cell.environment.uv != "0.7.9",
    "platform: aarch64": lambda cell: cell.environment.interpreter.platform == "aarch64",
    "base: '*-libpython'": lambda cell: cell.environment.base == "debian13-libpython",
    "source: replica": lambda cell: True,
    "source: upstream": lambda cell: False,
    "uv: 0.7.6, platform: x86_64": lambda cell: coordinates(cell)[1:3] == ("0.7.6", "x86_64"),
}


@pytest.mark.parametrize("name", ["alpha", "one"])
@pytest.mark.parametrize("applies", APPLIES)
def test_a_sample_is_not_applicable_where_its_question_does_not_arise(
    tmp_path: Path, own_lock: Lock, applies: str, name: str
) -> None:
    """Its cells are there all the same, so that they can be counted; with the same ids."""
    before = planned(own_lock, tmp_path)
    old = f"  {name}: {{"
    assert old in SMALL
    text = SMALL.replace(old, f"{old}applies: {{{applies}}}, ")
    cells = plan(loaded(text, tmp_path), own_lock)
    assert ids(cells) == ids(before)
    for cell in cells:
        there = cell.extension != name or APPLIES[applies](cell)
        assert (cell.not_applicable is None) == there
        if cell.not_applicable is not None:
            words = cell.sample.applies.words
            assert cell.not_applicable == f"it is asked only of {words}"
            assert words.startswith(applies.partition(":")[0].replace("_", " "))
    assert environments(cells) == environments(before)


UPGRADE = ("remedies: [none, upgrade-only, reinstall]", "upgrade_from: 0.7.6")


def test_a_remedy_that_upgrades_has_an_older_interpreter_before_it(
    tmp_path: Path, own_lock: Lock
) -> None:
    cells = planned(own_lock, tmp_path, *UPGRADE)
    upgraded = [cell for cell in cells if cell.environment.upgrade]
    assert {(c.environment.uv, c.extension) for c in upgraded} == {
        ("0.7.9", "one"),
        ("0.7.9", "two"),
    }
    assert {c.remedy for c in upgraded} == {Remedy.UPGRADE_ONLY, Remedy.REINSTALL}
    for cell in upgraded:
        environment = cell.environment
        upgrade = environment.upgrade
        assert upgrade is not None
        assert upgrade.remedy is cell.remedy
        before = upgrade.before(environment)
        # As a cell without a remedy of the older uv has it, so that one image serves both.
        (plain,) = {
            c.environment
            for c in cells
            if c.environment.uv == "0.7.6"
            if c.remedy is Remedy.NONE
            if (c.extension, *coordinates(c)[2:]) == (cell.extension, *coordinates(cell)[2:])
        }
        assert before == plain
        assert (before.uv, before.interpreter.release) == ("0.7.6", "20250517")
        assert environment.interpreter.release == "20250529"
        assert environment != replace(environment, upgrade=None)


def test_ids_of_a_remedy_that_upgrades_say_what_is_done_after_which_uv(
    tmp_path: Path, own_lock: Lock
) -> None:
    """The cell's says only what: from which uv is the matrix's business, and the results'."""
    selection = Selection(
        uv=("0.7.9",), platform=("x86_64",), base=("debian13",), extension=("two",)
    )
    cells = planned(own_lock, tmp_path, *UPGRADE, selection=selection)
    place = "uv0.7.9-cp313-20250529~replica-x86_64-debian13"
    assert ids(cells) == [f"two-{place}", f"two-{place}+upgrade-only", f"two-{place}+reinstall"]
    assert [cell.environment.id for cell in cells] == [
        f"{place}+libgl1",
        f"{place}+libgl1+upgrade-only-after-uv0.7.6",
        f"{place}+libgl1+reinstall-after-uv0.7.6",
    ]
    for cell in cells[1:]:
        upgrade = cell.environment.upgrade
        assert upgrade is not None
        before = upgrade.before(cell.environment)
        assert before.id == "uv0.7.6-cp313-20250517~replica-x86_64-debian13+libgl1"


def test_an_upgrade_to_what_is_not_newer_is_not_applicable(tmp_path: Path, own_lock: Lock) -> None:
    """Neither to the same uv nor to an older one; versions are compared as numbers."""
    cells = planned(own_lock, tmp_path, *UPGRADE, "uv: [0.7.5, 0.7.6, 0.7.9, 0.13.9]")
    said = {cell.environment.uv: cell.not_applicable for cell in cells if cell.remedy.uv_command}
    assert said == {
        "0.7.5": "uv 0.7.5 is not newer than uv 0.7.6",
        "0.7.6": "uv 0.7.6 is not newer than uv 0.7.6",
        "0.7.9": None,
        "0.13.9": None,
    }
    for cell in cells:
        assert (cell.environment.upgrade is not None) == (
            bool(cell.remedy.uv_command) and cell.not_applicable is None
        )
    assert all(cell.not_applicable is None for cell in cells if not cell.remedy.uv_command)


def test_each_upgrade_is_an_environment_of_its_own(tmp_path: Path, own_lock: Lock) -> None:
    plain = environments(planned(own_lock, tmp_path))
    cells = planned(own_lock, tmp_path, *UPGRADE)
    found = environments(cells)
    assert len({environment.id for environment in found}) == len(found)
    # uv 0.7.9 with two remedies; for each of them platforms, bases, and the packages of "two".
    assert len(found) == len(plain) + 2 * 2 * 2 * 2
    assert set(plain) < set(found)


def test_an_upgrade_from_a_uv_that_is_not_locked_is_refused_with_the_command_that_locks(
    tmp_path: Path, own_lock: Lock
) -> None:
    with pytest.raises(LockError, match=r"does not know uv 0\.7\.4 with CPython 3\.13"):
        planned(own_lock, tmp_path, "remedies: [reinstall]", "upgrade_from: 0.7.4")


def test_a_remedy_that_upgrades_runs_a_command_of_uv_and_no_other_does() -> None:
    filled = {
        str(remedy): remedy.uv_command.format(python="3.13", version="3.13.5") for remedy in Remedy
    }
    assert {remedy: command for remedy, command in filled.items() if command} == {
        "upgrade-only": "python install 3.13",
        # Not 3.13 alone: some uv versions then install another beside the one that is there.
        "reinstall": "python install --reinstall 3.13.5",
    }


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"check": ["alpha"]}, ["alpha"]),
        ({"check": ["*"]}, ["alpha", "beta"]),
        ({"extension": ["*"]}, ["one", "two"]),
        ({"extension": ["one"], "check": ["beta"]}, ["one", "beta"]),
        ({"extension": ["one", "two"], "check": ["b*", "alpha"]}, ["one", "two", "alpha", "beta"]),
        ({"check": ["alpha"], "uv": ["0.7.6"]}, ["alpha"]),
        ({"check": ["alpha"], "remedy": ["none"]}, ["alpha"]),
    ],
)
def test_extensions_and_checks_that_are_selected_add_up(
    tmp_path: Path, own_lock: Lock, asked: dict[str, list[str]], left: list[str]
) -> None:
    """No cell is of both, so narrowing by one and then the other would leave nothing."""
    selection = Selection(**{axis: tuple(patterns) for axis, patterns in asked.items()})
    cells = planned(own_lock, tmp_path, selection=selection)
    assert named(cells) == left
    assert len(cells) == len(left) * (4 if "uv" in asked else 12)


@pytest.mark.parametrize(
    ("axis", "pattern", "there"),
    [
        ("check", "one", "alpha, beta."),
        ("check", "gamma", "alpha, beta."),
        ("extension", "alpha", "one, two."),
        ("extension", "a*", "one, two."),
    ],
)
def test_the_name_of_a_check_is_no_extensions_and_the_other_way_round(
    tmp_path: Path, own_lock: Lock, axis: str, pattern: str, there: str
) -> None:
    for patterns in ((pattern,), ("*", pattern)):
        with pytest.raises(SelectionError) as caught:
            planned(own_lock, tmp_path, selection=Selection(**{axis: patterns}))
        assert f"--{axis} {pattern!r} selects nothing" in caught.value.problem
        assert caught.value.advice.endswith(there)


def test_a_check_is_not_to_be_selected_with_a_remedy(tmp_path: Path, own_lock: Lock) -> None:
    rules = ("remedies: [none, preload]",)
    selection = Selection(check=("alpha",), remedy=("preload",))
    with pytest.raises(SelectionError, match="--remedy 'preload' selects nothing"):
        planned(own_lock, tmp_path, *rules, selection=selection)


def test_where_there_is_no_check_the_option_for_them_says_so(own: Matrix, own_lock: Lock) -> None:
    without = own.model_copy(
        update={
            "checks": {},
            "profiles": {"default": own.profiles["default"].model_copy(update={"checks": None})},
        }
    )
    with pytest.raises(SelectionError) as caught:
        plan(without, own_lock, selection=Selection(check=("*",)))
    assert caught.value.advice == "What is left to select from: nothing."


def test_a_cell_knows_its_place_on_every_axis_that_it_is_on(tmp_path: Path, own_lock: Lock) -> None:
    """Which is what a check is told, and what rules are compared with."""
    first, *_, last = planned(own_lock, tmp_path)
    assert where(first) == {
        "extension": "one",
        "uv": "0.7.5",
        "python": "3.13",
        "release": "20250409",
        "link_model": "shared",
        "platform": "x86_64",
        "base": "debian13",
        "source": "replica",
        "flavour": "install_only_stripped",
        "remedy": "none",
    }
    assert where(last)["check"] == "beta"
    assert "extension" not in where(last)
