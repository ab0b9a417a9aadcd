"""matrix.yaml: what is in it, and that every mistake in it is told with its place and advice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import matrix
from harness.errors import ConfigurationError
from harness.matrix import Matrix, Selector
from harness.outcome import Reason
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.remedies import Remedy

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
    assert len(own.extensions) == 8
    assert set(own.profiles) == {"quick", "default", "wide"}


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
    "unknown outcome": ("expect: missing-library", "expect: fails", None, "found 'fails'"),
    "unknown link model": ("link_model: static", "link_model: [rpath]", None, "found 'rpath'"),
    "no uv version": ("uv: [0.7.5, 0.7.6]", "uv: [latest]", None, "found 'latest'"),
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
        "needs either 'requirement' or 'source', and not both",
    ),
    "neither requirement nor source": (
        "    source: cases/extensions/built\n",
        "",
        "  built:",
        "needs either 'requirement' or 'source', and not both",
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
        "'untestable' is the absence of a result",
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
    error = refused(SMALL.replace("    release: 2025", f"    {line}\n    release: 2025"), tmp_path)
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
    "link_model": LinkModel.STATIC,
    "platform": "x86_64",
    "base": "debian13",
    "remedy": "none",
}


def matches(selector: Selector) -> bool:
    return selector.matches(**COORDINATES)  # type: ignore[arg-type]


def test_a_selector_that_names_no_axis_picks_everything() -> None:
    assert matches(Selector())


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
        ("remedy", ["none", "n*"], ["preload"]),
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


def test_a_selector_picks_only_where_all_its_axes_match() -> None:
    good = {"extension": "wheel", "uv": "0.7.6", "release": "20250517", "platform": "x86_64"}
    assert matches(Selector.model_validate(good))
    for axis, other in (
        ("extension", "built"),
        ("uv", "0.7.5"),
        ("release", "20250409"),
        ("platform", "aarch64"),
    ):
        assert not matches(Selector.model_validate({**good, axis: other}))


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
