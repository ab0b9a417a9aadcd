"""Adding an extension to a matrix file: every other byte stays, and what was seen is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import addition, matrix
from harness.errors import ConfigurationError
from harness.matrix import Extension
from harness.outcome import Reason
from harness.plan import Selection, plan
from harness.platforms import Platform
from harness.releases import LinkModel
from harness.results import Result
from harness.verdict import Status
from tests.unit.test_results import result

PROJECT = Path(__file__).parents[2]
LIBPYTHON = "libpython3.13.so.1.0"
SAMPLE = Extension(requirement="some-package==1.0", imports="some_package")

SMALL = """\
# A comment at the top.
version: "1"
uv: [0.7.5, 0.7.6]   # two of them
python: ["3.13"]
platforms: [x86_64]
bases:
  debian13: {suite: trixie}

extensions:
  first:
    about: >-
      Folded
      text
    requirement: first==1
    imports: first

# What follows is about profiles.
profiles:
  default: {}
"""
RULES = """
# Known breakage.
expectations:
  # The first of them.
  - extension: "*"
    link_model: static
    expect: crash
    reason: known
"""


def seen(
    outcome: Reason = Reason.IMPORTS,
    *,
    model: LinkModel = LinkModel.STATIC,
    base: str = "debian13",
    platform: Platform = Platform.X86_64,
    uv: str = "0.7.6",
) -> Result:
    missing = LIBPYTHON if outcome is Reason.MISSING_LIBRARY else None
    return result(
        id=f"{model}-{base}-{platform}-{uv}",
        extension="some-package",
        outcome=outcome,
        missing_library=missing,
        link_model=model,
        base=base,
        platform=platform,
        uv=uv,
        stage="import" if outcome.was_tried else "install",
    )


MISSING = Reason.MISSING_LIBRARY
BREAKS = [seen(MISSING), seen(model=LinkModel.SHARED, uv="0.7.5")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.yaml"
    path.write_text(SMALL)
    return path


def test_what_is_added_is_all_that_changes(file: Path) -> None:
    addition.add(file, "some-package", SAMPLE, "An example", BREAKS)
    assert file.read_text() == SMALL.replace(
        "    imports: first\n",
        "    imports: first\n"
        "  some-package:\n"
        '    about: "An example"\n'
        '    requirement: "some-package==1.0"\n'
        '    imports: "some_package"\n',
    ) + (
        "\nexpectations:\n"
        "  - extension: some-package\n"
        "    link_model: [static]\n"
        "    expect: missing-library\n"
        '    library: "libpython{python}.so.1.0"\n'
        "    reason: Observed in a trial; say here why it is so\n"
    )
    assert matrix.load(file).extensions["some-package"] == SAMPLE.model_copy(
        update={"about": "An example"}
    )


def test_what_imports_everywhere_needs_no_expectation(file: Path) -> None:
    addition.add(file, "some-package", SAMPLE, "", [seen()])
    assert matrix.load(file).expectations == ()


def test_its_expectations_come_first_since_the_first_that_matches_counts(file: Path) -> None:
    file.write_text(SMALL + RULES)
    addition.add(file, "some-package", SAMPLE, "", BREAKS)
    text = file.read_text()
    assert text.index("missing-library") < text.index("# The first of them.") < text.index("crash")
    assert [rule.expect for rule in matrix.load(file).expectations] == [MISSING, Reason.CRASH]


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n# The end."])
def test_however_the_file_ends_nothing_of_it_is_lost(file: Path, end: str) -> None:
    file.write_text(SMALL.rstrip() + end)
    addition.add(file, "some-package", SAMPLE, "", BREAKS)
    added = file.read_text()
    assert "some-package" in matrix.load(file).extensions
    assert [line for line in SMALL.splitlines() if line not in added.splitlines()] == []


def test_the_projects_own_file_can_be_added_to(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    before = (PROJECT / "matrix.yaml").read_text()
    path.write_text(before)
    addition.add(path, "some-package", SAMPLE, "An example", BREAKS)
    after = path.read_text().splitlines()
    kept = iter(after)
    assert all(line in kept for line in before.splitlines()), "a line is gone or has moved"
    assert len(after) - len(before.splitlines()) == 4 + 6
    changed, old = matrix.load(path), matrix.load(PROJECT / "matrix.yaml")
    assert set(changed.extensions) - set(old.extensions) == {"some-package"}
    assert changed.expectations[1:] == old.expectations


def test_a_name_that_is_there_is_refused_with_its_line(file: Path) -> None:
    before = file.read_text()
    with pytest.raises(ConfigurationError) as caught:
        addition.add(file, "first", SAMPLE, "", BREAKS)
    assert caught.value.problem == f"{file}:10: there is an extension 'first' already"
    assert file.read_text() == before


FLOW = SMALL.replace(
    SMALL[SMALL.index("extensions:") : SMALL.index("# What follows")],
    "extensions: {first: {requirement: first==1, imports: first}}\n",
)


def test_a_file_without_a_place_for_it_is_left_alone_and_the_lines_are_shown(file: Path) -> None:
    file.write_text(FLOW)
    with pytest.raises(ConfigurationError) as caught:
        addition.add(file, "some-package", SAMPLE, "", BREAKS)
    assert "not written as a block" in caught.value.problem
    assert 'requirement: "some-package==1.0"' in caught.value.advice
    assert file.read_text() == FLOW


def test_what_nobody_understands_is_not_made_an_expectation(file: Path) -> None:
    odd = seen().model_copy(update={"status": Status.MISPREDICTED})
    with pytest.raises(ConfigurationError, match="contradict the loader's rules"):
        addition.add(file, "some-package", SAMPLE, "", [odd])
    assert file.read_text() == SMALL


def test_a_failure_that_only_one_base_shows_is_expected_of_that_base() -> None:
    results = [seen(MISSING), seen(base="debian13-libpython"), seen(model=LinkModel.SHARED)]
    assert "    link_model: [static]\n    base: [debian13]\n" in addition.expectations(
        "some-package", results
    )


def test_a_failure_that_only_one_platform_shows_is_expected_of_that_platform() -> None:
    results = [seen(MISSING, platform=Platform.AARCH64), seen()]
    assert "    platform: [aarch64]\n" in addition.expectations("some-package", results)


def test_what_could_not_be_tested_says_nothing() -> None:
    results = [seen(Reason.UNTESTABLE), seen(Reason.NOT_APPLICABLE, uv="0.7.7")]
    assert addition.expectations("some-package", results) == ""


ENVIRONMENTS = st.tuples(
    st.sampled_from(LinkModel),
    st.sampled_from(["debian13", "debian13-libpython"]),
    st.sampled_from(Platform),
    st.sampled_from(["0.7.5", "0.7.6", "0.7.7"]),
)


@settings(max_examples=200)
@given(
    st.dictionaries(
        ENVIRONMENTS, st.sampled_from([Reason.IMPORTS, MISSING, Reason.CRASH]), min_size=1
    )
)
def test_whatever_was_observed_is_what_is_then_expected_and_of_no_other_cell(
    observed: dict[tuple[LinkModel, str, Platform, str], Reason],
) -> None:
    results = [
        seen(outcome, model=model, base=base, platform=platform, uv=uv)
        for (model, base, platform, uv), outcome in observed.items()
    ]
    rules = yaml.safe_load("x:\n" + addition.expectations("some-package", results))["x"]
    parsed = [
        matrix.Expectation.model_validate(
            {
                key: [str(v) for v in value] if isinstance(value, list) else value
                for key, value in rule.items()
            }
        )
        for rule in rules or ()
    ]
    for shown in results:
        where = {
            "extension": "some-package",
            "link_model": str(shown.link_model),
            "base": shown.base,
            "platform": str(shown.platform),
            "uv": shown.uv,
        }
        rule = next((rule for rule in parsed if rule.matches(where)), None)
        assert (rule.expect if rule else Reason.IMPORTS) is shown.outcome


def test_the_added_extension_can_be_planned_with_its_lock(file: Path) -> None:
    from harness.lock import Lock, LockedDefault, LockedUv

    addition.add(file, "some-package", SAMPLE, "", BREAKS)
    default = LockedDefault(
        version="3.13.3", release="20250517", url="https://example.org/x", sha256="a" * 64
    )
    lock = Lock(
        uv={
            version: LockedUv(wheels={}, defaults={"3.13": {Platform.X86_64: default}})
            for version in ("0.7.5", "0.7.6")
        },
        wheels={},
    )
    cells = plan(matrix.load(file), lock, selection=Selection(extension=("some-package",)))
    assert {cell.expected.short for cell in cells} == {f"missing-library {LIBPYTHON}"}
