"""Large matrices: the plan that is made fast is the plain one, and costs grow as cells do."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import planning_scale
from harness import lock, matrix, releasechoice, results
from harness.flavours import Flavour
from harness.lock import Lock
from harness.matrix import DEFAULT, Kind, Matrix, Selector
from harness.plan import Names, Selection, environments, plan, where
from harness.releases import link_model
from harness.remedies import Remedy
from harness.results import Writer
from harness.rules import Rules
from harness.sources import Source
from tests.unit import sample_results

PROJECT = Path(__file__).parents[2]

# Values of every axis, each with what rules may say of it.
UV = ("0.7.5", "0.7.6", "0.7.9", "0.13.9")
TAGS = ("20250409", "20250517", "20250521", "20250529", "20261110")
CHOICES = {"20250409..20250521": TAGS[:3], "latest": TAGS[-1:]}
BASES = {"plain": (), "musl": ("musl",), "gl": ("libgl1", "fonts")}
EXTENSIONS, CHECKS = ("one", "two"), ("alpha", "beta")
ENVIRONMENT = {
    "uv": (*UV, "0.7.*", "*.9"),
    "python": ("3.13", "3.1?", "3.14"),
    "release": ("20250517", "20250517..", "..20250521", "20250409..20250517"),
    "link_model": ("shared", "static", "static+runpath", "static+rpath"),
    "platform": ("x86_64", "aarch64", "a*"),
    "base": (*BASES, "*l*"),
    "source": ("upstream", "replica"),
    "flavour": ("install_only_stripped", "install_only", "musl", "debug"),
}
ANYTHING = {
    **ENVIRONMENT,
    "extension": (*EXTENSIONS, "t*", "*"),
    "check": (*CHECKS, "al*", "*"),
    "remedy": ("none", "preload", "re*", "*"),
}


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


def picking(axes: dict[str, tuple[str, ...]]) -> st.SearchStrategy[dict[str, list[str]]]:
    """Conditions on some axes, as the file has them."""
    names = st.lists(st.sampled_from(sorted(axes)), max_size=3, unique=True)
    return names.flatmap(lambda ns: st.fixed_dictionaries({n: some(*axes[n]) for n in ns}))


@given(
    st.lists(picking(ANYTHING), max_size=80),
    st.fixed_dictionaries(
        {},
        optional={
            **{axis: st.sampled_from(values) for axis, values in ANYTHING.items()},
            "release": st.sampled_from(TAGS),
        },
    ),
    st.sets(st.sampled_from(sorted(ANYTHING))),
)
@settings(deadline=None)
def test_the_first_rule_is_the_one_that_asking_each_in_turn_finds(
    written: list[dict[str, list[str]]], place: dict[str, str], early: set[str]
) -> None:
    """Whether all axes are told at once or some before, and whoever has asked in between."""
    rules = [Selector.model_validate(rule) for rule in written]
    found = Rules(rules)
    expected = next((rule for rule in rules if rule.matches(place)), None)
    told = {axis: value for axis, value in place.items() if axis in early}
    rest = {axis: value for axis, value in place.items() if axis not in early}
    for _ in range(2):
        assert found.first(place) is expected
        assert found.given(told).first(rest) is expected
        assert found.given(told).given(rest).first({}) is expected


MATRICES = st.fixed_dictionaries(
    {
        "uv": some(*UV),
        "releases": some(DEFAULT, *TAGS[:2], *CHOICES),
        "flavours": some("install_only_stripped", "install_only", "musl", "debug"),
        "platforms": some("x86_64", "aarch64"),
        "remedies": some("none", "preload", "upgrade-only", "reinstall"),
        "exclude": st.lists(picking(ANYTHING), max_size=2),
        "include": st.lists(st.fixed_dictionaries({"uv": some(*UV), "checks": some(*CHECKS)})),
    }
)
APPLIES = st.fixed_dictionaries({name: picking(ENVIRONMENT) for name in (*EXTENSIONS, *CHECKS)})
OUTCOMES = st.sampled_from(["crash", "timeout", "import-error"])


@pytest.fixture(scope="module")
def own_lock() -> Lock:
    return lock.load(PROJECT / "matrix.lock")


@given(
    drawn=MATRICES,
    applies=APPLIES,
    expectations=st.lists(st.tuples(picking(ANYTHING), OUTCOMES), max_size=5),
    source=st.sampled_from(Source),
)
@settings(deadline=None)
def test_the_plan_is_what_asking_every_rule_of_every_cell_makes(
    own_lock: Lock,
    drawn: dict[str, Any],
    applies: dict[str, dict[str, list[str]]],
    expectations: list[tuple[dict[str, list[str]], str]],
    source: Source,
) -> None:
    """The same cells, in the same order, with the same answers."""
    drawn["exclude"].append({"uv": "0.0.1", "base": "*"})
    made = Matrix.model_validate(
        {
            **{"version": "1", "python": ["3.13"], "profiles": {"default": {}}},
            "bases": {n: {"suite": "trixie", "packages": p} for n, p in BASES.items()},
            "extensions": {
                name: {
                    **{"source": name, "imports": name, "applies": applies[name]},
                    "packages": ["libgl1", "xvfb"] if name == "two" else [],
                }
                for name in EXTENSIONS
            },
            "checks": {n: {"script": f"checks/{n}.py", "applies": applies[n]} for n in CHECKS},
            "upgrade_from": "0.7.6",
            "expectations": [
                {**rule, "expect": outcome, "reason": str(number)}
                for number, (rule, outcome) in enumerate(expectations)
            ],
            **drawn,
        }
    )
    expected = dict(reversed(list(restated(made, own_lock, source))))  # the first of an id counts
    order = list(dict.fromkeys(name for name, _ in restated(made, own_lock, source)))
    if not order:
        return
    cells = plan(made, own_lock, source=source, names=Names(releases=CHOICES))
    assert [cell.id for cell in cells] == order
    for cell in cells:
        rule = (str(cell.expected.reason), cell.expected.why)
        upgrade = cell.environment.upgrade
        assert expected[cell.id] == (
            list(where(cell).items()),
            rule if rule[1].isdigit() else None,
            cell.not_applicable,
            cell.environment.packages,
            upgrade and (upgrade.uv, upgrade.interpreter.release),
        )


def restated(
    made: Matrix, locked: Lock, source: Source
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Each cell by itself: its id, and what is said of it."""
    samples = {**made.extensions, **made.checks}
    parts = [(made.uv, list(samples)), *((i.uv or (), i.checks or ()) for i in made.include)]
    for versions, named in parts:
        for uv, choice, flavour, platform, base, name, remedy in product(
            *(versions, made.releases, made.flavours, made.platforms, made.bases, named),
            made.remedies,
        ):
            sample = samples[name]
            if sample.kind is Kind.CHECK and remedy is not Remedy.NONE:
                continue
            default = locked.default(uv, "3.13", platform).release
            for tag in (default,) if choice == DEFAULT else CHOICES.get(choice, (choice,)):
                release, before, reason = tag, None, None
                if remedy in (Remedy.UPGRADE_ONLY, Remedy.REINSTALL):
                    if uv in ("0.7.5", "0.7.6"):
                        reason = f"uv {uv} is not newer than uv 0.7.6"
                    else:
                        before = "0.7.6", "20250517"
                        if (
                            *(remedy, tag),
                            flavour,
                        ) == (Remedy.REINSTALL, default, Flavour.STRIPPED):
                            release = "20250529"  # of CPython 3.13.3, what 0.7.9 and 0.13.9 have
                there = {
                    **{str(sample.kind): name, "uv": uv, "python": "3.13", "release": release},
                    **{"link_model": str(link_model(release)), "platform": str(platform)},
                    **{"base": base, "source": str(source), "flavour": str(flavour)},
                    "remedy": str(remedy),
                }
                if any(rule.matches(there) for rule in made.exclude):
                    continue
                rule = next((r for r in made.expectations if r.matches(there)), None)
                if before and flavour is not Flavour.STRIPPED:
                    by_default = "the interpreter that uv installs by default"
                    reason = f"what upgrading does is asked of {by_default}"
                if sample.kind is Kind.EXTENSION and flavour in (Flavour.MUSL, Flavour.DEBUG):
                    reason = (
                        f"extensions are not built for {flavour} interpreters here; "
                        "checks are asked of them"
                    )
                if flavour is Flavour.MUSL and base != "musl":
                    reason = "the base has no musl to run it: add musl to its packages"
                if not sample.applies.matches(there):
                    reason = f"it is asked only of {sample.applies.words}"
                packages = sorted(set(sample.packages) - set(BASES[base]))
                mark = "" if flavour is Flavour.STRIPPED else f"+{flavour}"
                stand_in = "~replica" if source is Source.REPLICA else ""
                done = "" if remedy is Remedy.NONE else f"+{remedy}"
                yield (
                    f"{name}-uv{uv}-cp313-{release}{mark}{stand_in}-{platform}-{base}{done}",
                    (
                        list(there.items()),
                        rule and (str(rule.expect), rule.reason),
                        *(reason, tuple(packages), before),
                    ),
                )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix file of the benchmark."""
    return planning_scale.made(tmp_path_factory.mktemp("made"))


def calls(function: Callable[[], object]) -> int:
    """How many functions are called, of Python's own too."""
    counted = Counter[str]()
    sys.setprofile(lambda frame, event, argument: counted.update((event,)))
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


def test_planning_costs_a_cell_of_many_no_more_than_one_of_few(made: Path) -> None:
    content, locked = matrix.load(made), lock.load(lock.path_for(made))

    def each(size: planning_scale.Size) -> float:
        cells = plan(content, locked, profile=size.profile)
        assert len(cells) == size.cells
        return calls(lambda: plan(content, locked, profile=size.profile)) / size.cells

    few, many = map(each, planning_scale.SIZES[1:3])
    assert many < few
    assert many < 40


def test_a_rule_is_asked_of_each_value_once_however_many_cells_there_are(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, locked = matrix.load(made), lock.load(lock.path_for(made))
    parsed: list[str] = []
    parse = releasechoice.ReleaseRange.parse

    def counted(text: str) -> releasechoice.ReleaseRange:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(releasechoice.ReleaseRange, "parse", counted)
    size = planning_scale.SIZES[2]
    plan(content, locked, profile=size.profile)
    texts = [text for rule in (*content.exclude, *content.expectations) for text in rule.release]
    assert 0 < len(parsed) <= len(texts) * size.releases


def test_cells_share_their_environments(made: Path) -> None:
    size = planning_scale.SIZES[1]
    cells = plan(matrix.load(made), lock.load(lock.path_for(made)), profile=size.profile)
    objects = {id(cell.environment) for cell in cells}
    assert len(objects) == len(environments(cells)) == size.cells // 10


def test_selecting_looks_at_each_cell_once_for_each_option(made: Path) -> None:
    """However many patterns it was given."""
    content, locked = matrix.load(made), lock.load(lock.path_for(made))
    cells = plan(content, locked, profile=planning_scale.SIZES[1].profile)
    one = Selection(uv=("0.7.[0-9]*",))
    many = Selection(uv=tuple(f"0.7.[{n}-9]*" for n in (0, 1, 2, 3, 4, 5) * 5))
    assert many.apply(cells) == one.apply(cells) == cells
    assert calls(lambda: many.apply(cells)) < 1.5 * calls(lambda: one.apply(cells))


def test_a_results_file_is_read_one_line_at_a_time(tmp_path: Path) -> None:
    """What is kept of the others is short words that come again and again, and not many of them."""
    path = tmp_path / "results.jsonl"
    with Writer(path) as writer:
        for number in range(2000):
            writer.write(sample_results.made(f"sample-{number}", message="x" * 2000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in results.read(path)) == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 8


def collected(folder: Path, *arguments: str, names: tuple[str, ...]) -> list[str]:
    """Which of some modules pytest has loaded once it has collected."""
    program = (
        "import sys, pytest;"
        f"code = pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', *{arguments!r}]);"
        f"print('loaded', int(code), *(name for name in {names!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=folder
    )
    _, code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stdout + done.stderr
    return loaded


def test_collecting_cells_loads_neither_engine_nor_network_nor_table(made: Path) -> None:
    profile = f"--profile={planning_scale.SIZES[0].profile}"
    names = ("docker", "requests", "rich", "jinja2", "click", "harness.plan")
    assert collected(
        PROJECT, f"--matrix={made}", profile, "--source=replica", "cases", names=names
    ) == ["harness.plan"]


def test_a_project_without_cells_pays_for_the_options_alone(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    names = ("pydantic", "yaml", "harness.plan", "harness.plugin")
    assert collected(tmp_path, names=names) == ["harness.plugin"]
