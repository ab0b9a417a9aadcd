"""matrix.yaml: what is in it, and that every mistake in it is told with its place and advice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import matrix
from harness.errors import ConfigurationError
from harness.matrix import Conditions, Exclusion, Expectation, Matrix, Selector
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy
from harness.sources import Source

PROJECT = Path(__file__).parents[2]
OWN = (PROJECT / "matrix.yaml").read_text(encoding="utf-8")

SMALL = """\
version: "1"
uv: [0.7.5, 0.7.6]
python: ["3.13"]
platforms: [x86_64, aarch64]
bases:
  debian13:
    suite: trixie
    image: registry.example/debian@sha256:{digest}
extensions:
  wheel:
    requirement: some-wheel==1.0
    imports: some_wheel
  built:
    source: cases/extensions/built
    imports: built.module
    timeout: 30
remedies: [none, preload]
include:
  - uv: [0.8.0]
    bases: [debian13]
exclude:
  - extension: built
    uv: 0.8.0
profiles:
  quick:
    extensions: [wheel]
  default:
    about: everything
expectations:
  - extension: wheel
    release: 20250517..20250521
    link_model: static
    expect: missing-library
    library: libpython{{python}}.so.1.0
    reason: because
    link: https://example.org/
  - check: lists
    expect: fails
    reason: miscompiled
upgrade_from: 0.7.5
checks:
  lists:
    script: checks/lists.py
    applies:
      release: 20250517..20250521
      source: upstream
    link: https://example.org/list
""".format(digest="0" * 64)


def load(text: str, directory: Path) -> Matrix:
    path = directory / "matrix.yaml"
    path.write_text(text, encoding="utf-8")
    return matrix.load(path)


def refused(text: str, directory: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(text, directory)
    assert int(caught.value.exit_code) == 10
    assert caught.value.advice
    return caught.value


def test_the_projects_own_matrix_is_valid() -> None:
    own = matrix.load(PROJECT / "matrix.yaml")
    assert set(own.profiles) == {"quick", "default", "wide", "nightly"}
    # Those that only the wide profile tests are there as well.
    assert set(own.profiles["default"].extensions or ()) < set(own.extensions)


def test_every_sample_of_the_projects_own_matrix_is_in_some_profile() -> None:
    """One that no profile names would never be tested, and nobody would notice."""
    own = matrix.load(PROJECT / "matrix.yaml")
    # An entry that names neither extensions nor checks has all of both.
    assert any(p.extensions is None and p.checks is None for p in own.profiles.values())


def test_a_file_becomes_a_typed_matrix(tmp_path: Path) -> None:
    small = load(SMALL, tmp_path)
    assert small.uv == ("0.7.5", "0.7.6")
    assert small.python == ("3.13",)
    assert small.platforms == (Platform.X86_64, Platform.AARCH64)
    assert small.remedies == (Remedy.NONE, Remedy.PRELOAD)
    assert small.bases["debian13"].packages == ()
    assert small.extensions["built"].timeout == 30
    assert small.extensions["wheel"].timeout == 60
    assert small.include[0].uv == ("0.8.0",)
    assert small.include[0].platforms is None
    assert small.profiles["quick"].extensions == ("wheel",)
    expectation = small.expectations[0]
    assert expectation.expect is Reason.MISSING_LIBRARY
    assert expectation.link_model == (LinkModel.STATIC,)
    assert expectation.release == ("20250517..20250521",)
    assert small.expectations[1].expect is Reason.FAILS
    assert small.expectations[1].check == ("lists",)
    assert small.upgrade_from == "0.7.5"


def test_a_check_becomes_a_sample_of_its_own_kind(tmp_path: Path) -> None:
    check = load(SMALL, tmp_path).checks["lists"]
    assert (check.kind, load(SMALL, tmp_path).extensions["wheel"].kind) == ("check", "extension")
    assert (check.script, check.link) == ("checks/lists.py", "https://example.org/list")
    assert check.applies.source == (Source.UPSTREAM,)
    assert check.timeout == 60


def test_a_python_version_may_be_written_without_quotes(tmp_path: Path) -> None:
    assert load(SMALL.replace('["3.13"]', "[3.10, 3.9]"), tmp_path).python == ("3.10", "3.9")


# What to change in SMALL (replacing the first occurrence), the start of the line that the error
# has to point at (None: where it was changed), and what the error has to say.
MISTAKES: dict[str, tuple[str, str, str | None, str]] = {
    "unknown key at the top": (
        "remedies: [",
        "remedie: [",
        None,
        "remedie: unknown key (did you mean 'remedies'?)",
    ),
    "unknown limit": (
        "remedies: [",
        "limits: {proceses: 64}\nremedies: [",
        None,
        "limits.proceses: unknown key (did you mean 'processes'?)",
    ),
    "limit that is no size": (
        "remedies: [",
        "limits: {memory: much}\nremedies: [",
        None,
        "limits.memory: ",
    ),
    "unknown key of an extension": (
        "    requirement: some",
        "    requirment: some",
        None,
        "extensions.wheel.requirment: unknown key (did you mean 'requirement'?)",
    ),
    "unknown key of a base": (
        "    suite: trixie",
        "    suite: trixie\n    pakages: [a]",
        "    pakages",
        "unknown key (did you mean 'packages'?)",
    ),
    "unknown key of an expectation": (
        "    link_model: static",
        "    linkmodel: static",
        None,
        "expectations.0.linkmodel: unknown key (did you mean 'link_model'?)",
    ),
    "unknown key of an exclusion": (
        "  - extension: built",
        "  - extensoin: built",
        None,
        "exclude.0.extensoin: unknown key (did you mean 'extension'?)",
    ),
    "unknown key of an inclusion": (
        "    bases: [debian13]",
        "    base: [debian13]",
        None,
        "include.0.base: unknown key",
    ),
    "unknown key like no other": (
        "    about: everything",
        "    zzz: everything",
        None,
        "profiles.default.zzz: unknown key",
    ),
    "duplicate key": (
        "    imports: built.module",
        "    imports: built.module\n    imports: built",
        "    imports: built\n",
        "'imports' is there twice (first at line 15)",
    ),
    "duplicate extension": ("  built:", "  wheel:", None, "'wheel' is there twice"),
    "missing key at the top": ("uv: [0.7.5, 0.7.6]\n", "", "version", "uv: is missing"),
    "missing key of an extension": (
        "    imports: some_wheel\n",
        "",
        "  wheel:",
        "extensions.wheel.imports: is missing",
    ),
    "missing key of an expectation": (
        "    reason: because\n",
        "",
        "  - extension: wheel",
        "expectations.0.reason: is missing",
    ),
    "missing suite": ("    suite: trixie\n", "", "  debian13:", "bases.debian13.suite: is missing"),
    "text instead of a list": (
        "[0.7.5, 0.7.6]",
        "0.7.5",
        None,
        "uv: Input should be a valid tuple",
    ),
    "list instead of text": ("suite: trixie", "suite: [trixie]", None, "should be a valid string"),
    "mapping instead of a list": (
        "remedies: [none, preload]",
        "remedies: {none: preload}",
        None,
        "remedies: Input should be a valid tuple",
    ),
    "list instead of a mapping": (
        "  quick:\n    extensions: [wheel]",
        "  quick: [wheel]",
        None,
        "profiles.quick: Input should be a valid dictionary",
    ),
    "nothing instead of a list": ("uv: [0.7.5, 0.7.6]", "uv:", None, "uv: Input should be"),
    "no number": ("timeout: 30", "timeout: soon", None, "found 'soon'"),
    "number out of range": ("timeout: 30", "timeout: 601", None, "less than or equal to 600"),
    "other format version": ('version: "1"', 'version: "2"', None, "version: Input should be '1'"),
    "unknown platform": (
        "platforms: [x86_64, aarch64]",
        "platforms: [x86_64,\n  armv7l]",
        "  armv7l",
        "platforms.1: Input should be 'x86_64' or 'aarch64', found 'armv7l'",
    ),
    "unknown remedy": ("[none, preload]", "[none, pray]", None, "remedies.1"),
    "unknown outcome": ("expect: missing-library", "expect: breaks", None, "found 'breaks'"),
    "unknown link model": ("link_model: static", "link_model: [rpath]", None, "found 'rpath'"),
    "no uv version": ("uv: [0.7.5, 0.7.6]", "uv: [newest]", None, "found 'newest'"),
    "uv version in other digits": (
        "uv: [0.7.5, 0.7.6]",
        "uv: [٠.٧.٥]",
        None,
        "is not a uv version",
    ),
    "uv version of two parts": ("uv: [0.7.5, 0.7.6]", "uv: [0.7]", None, "found '0.7'"),
    "full Python version": ('["3.13"]', "[3.13.2]", None, "found '3.13.2'"),
    "name with capitals": ("  built:", "  Built:", None, "found 'Built'"),
    "image without digest": (
        f"@sha256:{'0' * 64}",
        ":trixie",
        None,
        "found 'registry.example/debian:trixie'",
    ),
    "module that is no name": ("built.module", "built-module", None, "found 'built-module'"),
    "bad Debian package": (
        "    suite: trixie",
        "    suite: trixie\n    packages: [a, '; b']",
        "    packages",
        "bases.debian13.packages.1",
    ),
    "link without https": (
        "https://example",
        "http://example",
        None,
        "found 'http://example.org/'",
    ),
    "release that does not exist": (
        "20250517..20250521",
        "20250516",
        None,
        "'20250516' is not a known release tag",
    ),
    "range with an unknown end": (
        "20250517..20250521",
        "[20250409, 20250517..20250530]",
        None,
        "'20250530' is not a known release tag",
    ),
    "range the wrong way round": (
        "20250517..20250521",
        "20250521..20250517",
        None,
        "20250521 comes after 20250517",
    ),
    "range without an end": ("20250517..20250521", "'..'", None, "at least one end"),
    "requirement without version": ("==1.0", "", None, "'some-wheel' must pin one version"),
    "requirement with a lower bound": ("==1.0", ">=1.0", None, "must pin one version"),
    "requirement with a wildcard": ("==1.0", "==1.*", None, "must pin one version"),
    "requirement pinned and bounded": ("==1.0", "==1.0,<2", None, "must pin one version"),
    "requirement with a URL": ("==1.0", " @ https://x/y.whl", None, "must pin one version"),
    "requirement that is none": ("==1.0", " ==", None, "is not a requirement"),
    "both requirement and source": (
        "    requirement: some-wheel==1.0",
        "    requirement: some-wheel==1.0\n    source: here",
        "  wheel:",
        "needs one of 'requirement', 'wheel' and 'source', and only one",
    ),
    "neither requirement nor source": (
        "    source: cases/extensions/built\n",
        "",
        "  built:",
        "needs one of 'requirement', 'wheel' and 'source', and only one",
    ),
    "expectation of no extension": (
        "  - extension: wheel",
        "  - extension: weel",
        None,
        "expectations.0.extension: 'weel' matches nothing; did you mean 'wheel'?",
    ),
    "expectation with a glob of nothing": (
        "  - extension: wheel",
        "  - extension: [wheel, zzz-*]",
        None,
        "'zzz-*' matches nothing; there are: wheel, built",
    ),
    "expectation of no uv": (
        "    release: 2025",
        "    uv: 0.7.7\n    release: 2025",
        "    uv: 0.7.7",
        "expectations.0.uv: '0.7.7' matches nothing",
    ),
    "expectation of no python": (
        "    release: 2025",
        "    python: '3.12'\n    release: 2025",
        "    python",
        "expectations.0.python: '3.12' matches nothing",
    ),
    "expectation of no base": (
        "    release: 2025",
        "    base: debian12\n    release: 2025",
        "    base: ",
        "'debian12' matches nothing; did you mean 'debian13'?",
    ),
    "exclusion of no extension": (
        "  - extension: built",
        "  - extension: build",
        None,
        "exclude.0.extension: 'build' matches nothing; did you mean 'built'?",
    ),
    "inclusion of no base": (
        "    bases: [debian13]",
        "    bases: [debian12]",
        None,
        "include.0.bases: 'debian12' matches nothing; did you mean 'debian13'?",
    ),
    "profile of no extension": (
        "extensions: [wheel]",
        "extensions: [whell]",
        None,
        "profiles.quick.extensions: 'whell' matches nothing; did you mean 'wheel'?",
    ),
    "inclusion of a profile of no extension": (
        "    about: everything",
        "    include:\n      - extensions: [wheel]\n      - extensions: [zzz]",
        "      - extensions: [zzz]",
        "profiles.default.include.1.extensions: 'zzz' matches nothing",
    ),
    "empty axis": ("uv: [0.7.5, 0.7.6]", "uv: []", None, "uv: Value should have at least 1 item"),
    "no base at all": (
        SMALL[SMALL.index("  debian13:") - len("bases:\n") : SMALL.index("extensions:")],
        "bases: {}\n",
        None,
        "bases: Dictionary should have at least 1 item",
    ),
    "empty axis of a profile": (
        "    extensions: [wheel]",
        "    extensions: []",
        "  quick:",
        "'extensions' is empty",
    ),
    "empty axis of an inclusion": ("  - uv: [0.8.0]", "  - uv: []", None, "'uv' is empty"),
    "uv twice": ("[0.7.5, 0.7.6]", "[0.7.5, 0.7.6, 0.7.5]", None, "uv: listed twice: 0.7.5"),
    "platform twice": ("[x86_64, aarch64]", "[x86_64, x86_64]", None, "listed twice: x86_64"),
    "extension of a profile twice": (
        "extensions: [wheel]",
        "extensions: [wheel, wheel]",
        None,
        "profiles.quick.extensions: listed twice: wheel",
    ),
    "no default profile": (
        "  default:",
        "  normal:",
        "version",
        "'profiles' must have one called 'default'",
    ),
    "untestable as expectation": (
        "    expect: missing-library\n    library: libpython{python}.so.1.0\n",
        "    expect: untestable\n",
        "  - extension: wheel",
        "'untestable' is no result, and cannot be expected",
    ),
    "not applicable as expectation": (
        "    expect: fails\n",
        "    expect: not-applicable\n",
        "  - check: lists",
        "expectations.1: 'not-applicable' is no result, and cannot be expected",
    ),
    "unknown key of a check": (
        "    script: checks",
        "    scirpt: checks",
        None,
        "checks.lists.scirpt: unknown key (did you mean 'script'?)",
    ),
    "key of an extension in a check": (
        "    script: checks/lists.py",
        "    script: checks/lists.py\n    imports: lists",
        "    imports: lists",
        "checks.lists.imports: unknown key",
    ),
    "check without a script": (
        "    script: checks/lists.py\n",
        "",
        "  lists:",
        "checks.lists.script: is missing",
    ),
    "script that is no module": ("lists.py", "li-sts.py", None, "found 'checks/li-sts.py'"),
    "script that is no Python": ("lists.py", "lists.sh", None, "found 'checks/lists.sh'"),
    "script with capitals": ("lists.py", "Lists.py", None, "found 'checks/Lists.py'"),
    "link of a check without https": (
        "https://example.org/list",
        "ftp://example.org/list",
        None,
        "found 'ftp://example.org/list'",
    ),
    "name of a check with capitals": ("  lists:", "  Lists:", None, "found 'Lists'"),
    "unknown key of what applies": (
        "      source: upstream",
        "      sauce: upstream",
        None,
        "checks.lists.applies.sauce: unknown key (did you mean 'source'?)",
    ),
    "what applies by extension": (
        "      source: upstream",
        "      extension: wheel",
        None,
        "checks.lists.applies.extension: unknown key",
    ),
    "what applies by a source that is none": (
        "source: upstream",
        "source: downstream",
        None,
        "found 'downstream'",
    ),
    "what applies to a release that does not exist": (
        "      release: 20250517..20250521",
        "      release: 20250517..20250522",
        None,
        "'20250522' is not a known release tag",
    ),
    "what applies to no base": (
        "      source: upstream",
        "      base: debian12",
        None,
        "checks.lists.applies.base: 'debian12' matches nothing; did you mean 'debian13'?",
    ),
    "what applies to no platform": (
        "      source: upstream",
        "      platform: [x86_64, arm64]",
        None,
        "checks.lists.applies.platform: 'arm64' matches nothing; did you mean 'aarch64'?",
    ),
    "what an extension applies to": (
        "    imports: some_wheel",
        "    imports: some_wheel\n    applies: {base: debian12}",
        "    applies: {base",
        "extensions.wheel.applies.base: 'debian12' matches nothing",
    ),
    "unknown key of what an extension applies to": (
        "    imports: some_wheel",
        "    imports: some_wheel\n    applies: {realease: 20250517}",
        "    applies: {rea",
        "extensions.wheel.applies.realease: unknown key (did you mean 'release'?)",
    ),
    "unknown key of an extension that is called applies": (
        "  built:\n",
        "  applies:\n    requirment: a==1\n",
        "    requirment",
        "extensions.applies.requirment: unknown key (did you mean 'requirement'?)",
    ),
    "check with the name of an extension": (
        "  lists:",
        "  wheel:",
        "version",
        "'wheel' is the name of an extension and of a check",
    ),
    "expectation of no check": (
        "  - check: lists",
        "  - check: list",
        None,
        "expectations.1.check: 'list' matches nothing; did you mean 'lists'?",
    ),
    "expectation of a check as an extension": (
        "  - check: lists",
        "  - extension: lists",
        None,
        "expectations.1.extension: 'lists' matches nothing; there are: wheel, built",
    ),
    "profile of no check": (
        "    about: everything",
        "    checks: [lists, tests]",
        None,
        "profiles.default.checks: 'tests' matches nothing",
    ),
    "inclusion of no check": (
        "    bases: [debian13]",
        "    checks: [zzz]",
        None,
        "include.0.checks: 'zzz' matches nothing; there are: lists",
    ),
    "empty checks of a profile": (
        "    about: everything",
        "    checks: []",
        "  default:",
        "'checks' is empty",
    ),
    "check of a profile twice": (
        "    about: everything",
        "    checks: [lists, lists]",
        None,
        "profiles.default.checks: listed twice: lists",
    ),
    "upgrade from no uv version": (
        "upgrade_from: 0.7.5",
        "upgrade_from: old",
        None,
        "upgrade_from: String should match",
    ),
    "library without missing-library": (
        "expect: missing-library",
        "expect: crash",
        "  - extension: wheel",
        "'library' goes with 'expect: missing-library'",
    ),
    "missing-library without library": (
        "    library: libpython{python}.so.1.0\n",
        "",
        "  - extension: wheel",
        "'library' goes with 'expect: missing-library'",
    ),
    "unknown placeholder": (
        "{python}",
        "{version}",
        "  - extension: wheel",
        "'library' knows no placeholder but {python}",
    ),
    "broken YAML": ("    suite: trixie", "    suite: trixie: x", None, "not valid YAML"),
    "list that contains itself": (
        "uv: [0.7.5, 0.7.6]",
        "uv: &uv [*uv]",
        None,
        "50 levels",
    ),
}


@pytest.mark.parametrize(("old", "new", "at", "found"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_line_and_what_was_found(
    tmp_path: Path, old: str, new: str, at: str | None, found: str
) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    position = SMALL.index(old) if at is None else ("\n" + text).index("\n" + at)
    line = text.count("\n", 0, position) + 1
    error = refused(text, tmp_path)
    places = [part.split(": ")[0] for part in error.problem.splitlines() if found in part]
    assert places == [f"{tmp_path / 'matrix.yaml'}:{line}"], error.problem


UPGRADING = [remedy for remedy in Remedy if remedy.uv_command]
# Every part of the file that may name remedies.
PLACES = {
    "matrix": ("remedies: [none, preload]", "remedies: [none, {}]"),
    "inclusion": ("    bases: [debian13]", "    remedies: [{}]"),
    "profile": ("    extensions: [wheel]", "    extensions: [wheel]\n    remedies: [{}]"),
    "inclusion of a profile": (
        "    about: everything",
        "    include:\n      - remedies: [preload]\n      - remedies: [none, {}]",
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("remedy", UPGRADING)
def test_a_remedy_that_upgrades_asks_for_what_it_upgrades_from(
    tmp_path: Path, place: str, remedy: Remedy
) -> None:
    old, new = PLACES[place]
    text = SMALL.replace(old, new.format(remedy), 1)
    assert load(text, tmp_path).upgrade_from == "0.7.5"
    error = refused(text.replace("upgrade_from: 0.7.5\n", ""), tmp_path)
    assert f"{tmp_path / 'matrix.yaml'}:1: " in error.problem
    assert f"remedy {remedy} needs 'upgrade_from', such as 0.7.6" in error.problem


def test_no_other_remedy_asks_for_what_it_upgrades_from(tmp_path: Path) -> None:
    others = [str(remedy) for remedy in Remedy if not remedy.uv_command]
    text = SMALL.replace("[none, preload]", f"[{', '.join(others)}]")
    loaded = load(text.replace("upgrade_from: 0.7.5\n", ""), tmp_path)
    assert loaded.upgrade_from is None
    assert [str(remedy) for remedy in loaded.remedies] == others


def test_a_matrix_without_checks_says_that_there_are_none(tmp_path: Path) -> None:
    text = SMALL[: SMALL.index("checks:")]
    assert load(text.replace("  - check: lists", "  - extension: built"), tmp_path).checks == {}
    problem = refused(text, tmp_path).problem
    assert problem.endswith("expectations.1.check: 'lists' matches nothing; there are: none")


@pytest.mark.parametrize(
    "applies",
    [
        "uv: 0.6.*",
        "python: ['3.9']",
        "release: ..20250409",
        "link_model: [shared, static]",
        "source: [replica, upstream]",
        "platform: x86*",
        "base: '*'",
    ],
)
def test_what_applies_may_name_versions_that_are_not_tested_now(
    tmp_path: Path, applies: str
) -> None:
    """A regression of the past stays described when the matrix has moved on."""
    text = SMALL.replace("      source: upstream", f"      {applies}")
    if applies.startswith("release"):
        text = text.replace("      release: 20250517..20250521\n", "")
    axis = applies.partition(":")[0]
    assert getattr(load(text, tmp_path).checks["lists"].applies, axis)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("0.7.5", "zero", 1).replace("timeout: 30", "timeout: long")
    problem = refused(text, tmp_path).problem
    path = tmp_path / "matrix.yaml"
    assert f"{path}:2: uv.0: " in problem
    assert f"{path}:16: extensions.built.timeout: " in problem


@pytest.mark.parametrize("text", ["just text\n", "- a list\n", "~\n"])
def test_a_file_that_is_no_mapping_is_refused_at_its_first_line(tmp_path: Path, text: str) -> None:
    assert refused(text, tmp_path).problem.startswith(f"{tmp_path / 'matrix.yaml'}:1: the file: ")


def test_a_mistake_in_a_key_that_no_terminal_can_print_is_told_in_printable_text(
    tmp_path: Path,
) -> None:
    error = refused(SMALL.replace("  built:", '  "\\ud800":', 1), tmp_path)
    assert str(error).encode()


@pytest.mark.parametrize(
    ("line", "place", "found"),
    [
        ("platform: arm64", "platform", "'arm64' matches nothing"),
        ("remedy: preloaded", "remedy", "'preloaded' matches nothing"),
        pytest.param(
            "platform: arm64",
            "platform",
            "did you mean 'aarch64'?",
        ),
        pytest.param(
            "remedy: preloaded",
            "remedy",
            "did you mean 'preload'?",
        ),
    ],
)
def test_a_platform_or_remedy_that_does_not_exist_is_told_with_the_closest_one(
    tmp_path: Path, line: str, place: str, found: str
) -> None:
    text = SMALL.replace("    release: 2025", f"    {line}\n    release: 2025", 1)
    error = refused(text, tmp_path)
    assert f"{tmp_path / 'matrix.yaml'}:31: expectations.0.{place}: " in error.problem
    assert found in error.problem


def test_names_of_an_inclusions_new_versions_do_not_dangle(tmp_path: Path) -> None:
    text = SMALL.replace("    release: 2025", "    uv: 0.8.*\n    release: 2025", 1)
    assert load(text, tmp_path).expectations[0].uv == ("0.8.*",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    about: everything", "    platforms: [x86_64, aarch64]"),
        ("    bases: [debian13]", "    platforms: [aarch64]"),
    ],
    ids=["profile", "inclusion"],
)
def test_a_platform_that_only_a_profile_or_an_inclusion_adds_does_not_dangle(
    tmp_path: Path, old: str, new: str
) -> None:
    text = SMALL.replace("platforms: [x86_64, aarch64]", "platforms: [x86_64]")
    text = text.replace(old, new, 1)
    text = text.replace("    release: 2025", "    platform: aarch64\n    release: 2025", 1)
    assert load(text, tmp_path).expectations[0].platform == ("aarch64",)


COORDINATES = {
    "extension": "wheel",
    "uv": "0.7.6",
    "python": "3.13",
    "release": "20250517",
    "link_model": "static",
    "platform": "x86_64",
    "base": "debian13",
    "source": "replica",
    "flavour": "install_only_stripped",
    "remedy": "none",
}


def matches(selector: Conditions, **change: str) -> bool:
    return selector.matches({**COORDINATES, **change})


def test_a_selector_that_names_no_axis_picks_everything() -> None:
    assert matches(Selector())
    assert matches(Conditions())
    assert Selector().matches({})


@pytest.mark.parametrize(
    ("axis", "picks", "misses"),
    [
        ("extension", ["wheel", "wh*", "[vw]heel", "?heel"], ["built", "Wheel", "whee", "heel"]),
        ("uv", ["0.7.6", "0.7.*", "*"], ["0.7.5", "0.7", "0.7.60"]),
        ("python", ["3.13", "3.1?"], ["3.1", "3.12"]),
        ("release", ["20250517", "..20250521", "20250409..20250521"], ["20250521..", "20250409"]),
        ("link_model", ["static"], ["shared", "static+rpath"]),
        ("platform", ["x86_64", "x86*"], ["aarch64"]),
        ("base", ["debian13", "debian*"], ["debian12", "debian13-libpython"]),
        ("source", ["replica"], ["upstream"]),
        ("remedy", ["none", "n*"], ["preload"]),
        ("check", [], ["wheel", "lists", "*", ""]),
    ],
)
def test_each_axis_picks_by_any_of_its_values(
    axis: str, picks: list[str], misses: list[str]
) -> None:
    """One value may be written without a list; of several, one that matches is enough."""
    for value in picks:
        assert matches(Selector.model_validate({axis: value}))
        assert matches(Selector.model_validate({axis: [*misses, value]}))
    for value in misses:
        assert not matches(Selector.model_validate({axis: value}))
    assert not matches(Selector.model_validate({axis: misses}))


def test_every_axis_that_picks_is_covered_above() -> None:
    assert set(Selector.model_fields) == {*COORDINATES, "check"}


def test_a_selector_picks_only_where_all_its_axes_match() -> None:
    good = {"extension": "wheel", "uv": "0.7.6", "release": "20250517", "source": "replica"}
    assert matches(Selector.model_validate(good))
    for axis, other in (
        ("extension", "built"),
        ("uv", "0.7.5"),
        ("release", "20250409"),
        ("source", "upstream"),
    ):
        assert not matches(Selector.model_validate({**good, axis: other}))
        assert not matches(Selector.model_validate(good), **{axis: other})


@pytest.mark.parametrize(("axis", "other"), [("extension", "check"), ("check", "extension")])
def test_what_is_picked_by_extension_is_no_check_and_the_other_way_round(
    axis: str, other: str
) -> None:
    """Not even by a glob that every name matches: a cell has no place on the other axis."""
    everything = Selector.model_validate({axis: "*"})
    common = {key: value for key, value in COORDINATES.items() if key != "extension"}
    assert everything.matches({**common, axis: "lists"})
    assert not everything.matches({**common, other: "lists"})


def test_the_reason_of_an_expectation_picks_nothing() -> None:
    """Nor does anything else in it that is no axis."""
    texts = {"reason": "x", "link": "https://example.org/", "message": "y"}
    assert matches(Expectation.model_validate({"expect": "crash", **texts}))
    assert matches(Exclusion.model_validate({"reason": "x"}))


UVS = ("0.7.5", "0.7.6", "0.7.9", "0.13.9")
BASES = ("debian13", "debian13-libpython")
KNOWN = ("20250409", "20250517", "20250521", "20250529", "20261110")
AXES: dict[str, tuple[str, ...]] = {
    "uv": UVS,
    "python": ("3.12", "3.13"),
    "link_model": tuple(LinkModel),
    "platform": tuple(Platform),
    "base": BASES,
    "source": tuple(Source),
    "release": KNOWN,
}


def some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([str(value) for value in values]), max_size=3, unique=True)


@given(
    st.fixed_dictionaries({axis: some(values) for axis, values in AXES.items()}),
    st.fixed_dictionaries(
        {axis: st.sampled_from([str(value) for value in values]) for axis, values in AXES.items()}
    ),
)
def test_conditions_hold_where_every_named_axis_has_the_value_and_say_so(
    wanted: dict[str, list[str]], there: dict[str, str]
) -> None:
    """An axis that is left out holds everywhere, and is not in the words either."""
    conditions = Conditions.model_validate({axis: v for axis, v in wanted.items() if v})
    assert conditions.matches(there) == all(
        there[axis] in values for axis, values in wanted.items() if values
    )
    said = conditions.words.split(", ") if conditions.words else []
    assert sorted(said) == sorted(
        f"{axis.replace('_', ' ')} {' or '.join(values)}"
        for axis, values in wanted.items()
        if values
    )


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(KNOWN))
def test_a_range_of_releases_holds_from_its_first_to_its_last(
    first: int, last: int, release: str
) -> None:
    first, last = sorted((first, last))
    at = KNOWN.index(release)
    for text, holds in {
        f"{KNOWN[first]}..{KNOWN[last]}": first <= at <= last,
        f"{KNOWN[first]}..": first <= at,
        f"..{KNOWN[last]}": at <= last,
        KNOWN[first]: at == first,
    }.items():
        conditions = Conditions.model_validate({"release": text})
        assert matches(conditions, release=release) == holds
        assert conditions.words == f"release {text}"


def test_conditions_on_an_axis_that_something_is_not_on_do_not_hold() -> None:
    assert not Conditions.model_validate({"release": "20250517"}).matches({"uv": "0.7.6"})


CHUNKS = ["", " ", "\n", "\t", ":", "- ", "[", "]", "{", "}", "*a", "&a ", "#", "'", '"', "!", "~"]
CHUNKS += ["\x00", "\ufeff", "é", "\U0001f40d", "%", "? ", "<<: ", "---\n", "...", "| ", "0", "nan"]
CHUNKS += ["default", "static", "20250517", "..", "untestable", "  - extension: x\n", "[[[[[[[["]
EDIT = st.tuples(
    st.integers(0, len(OWN)),
    st.integers(0, 60),
    st.sampled_from(CHUNKS)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.builds(
        lambda at, length: OWN[at : at + length], st.integers(0, len(OWN)), st.integers(1, 200)
    ),
)


@settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(EDIT, min_size=1, max_size=4))
def test_any_edit_of_the_file_gives_a_matrix_or_a_configuration_error(
    tmp_path: Path, edits: list[tuple[int, int, str]]
) -> None:
    text = OWN
    for at, length, replacement in edits:
        text = text[:at] + replacement + text[at + length :]
    path = tmp_path / "matrix.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    problem: ConfigurationError | None = None
    try:
        matrix.load(path)
    except ConfigurationError as error:
        problem = error
    # Anything else that is raised fails the test by itself.
    if problem is not None:
        assert str(path) in problem.problem
        assert problem.advice
        assert str(problem).encode()
