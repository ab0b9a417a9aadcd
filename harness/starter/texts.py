"""The texts of the files that a new matrix consists of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from textwrap import indent

import yaml
from packaging.version import Version

from harness.lock import Lock
from harness.matrix import Matrix
from harness.platforms import Platform
from harness.releases import LinkModel, link_model
from harness.starter.candidate import Candidate

TESTS = '''\
"""Each cell of matrix.yaml is one of these tests; `pytest --help` has the options."""

from harness.matrixtests import test_import as test_import
from harness.matrixtests import test_interpreter as test_interpreter
'''

HEAD = """\
# yaml-language-server: $schema=./matrix.schema.json
#
# Does the extension import on these builds of Python? Each extension below is imported in each
# environment: a uv version with the interpreter that it installs, on a platform, in a base image.
#
#   pytest -n auto test_matrix.py    runs all; --profile=quick, --uv='0.7.*', --platform=… select
#   pbs-matrix lock                  pins, in matrix.lock, what was added here: commit both
version: "1"

# The last before python-build-standalone linked libpython statically, the first after, and one of
# today. Each installs the release that is its own default.
"""

PLACEHOLDER = """\
  # A sample that needs libpython, and so does not import everywhere. Put yours in its place:
  #   mine:
  #     wheel: dist/mine-*.whl         # or, from the package index, requirement: mine==1.0
  #     imports: mine._native          # the compiled module, where the package would hide it
  # and take the entry out of the expectations at the end.
"""

KEYS = """\
    # Name the compiled module where the package would hide that it fails. Other keys: packages
    # (Debian packages that it needs), timeout (seconds), applies (where the question arises).
"""

PUBLISHED = """\
    # Once it is published: {requirement} instead, and `pbs-matrix lock`.
"""

EXPECTED = """\
# Every cell is expected to import, unless the first entry that matches says otherwise. A cell that
# does what is said here passes, as known breakage; an import that succeeds against its expectation
# fails the run, so that no entry outlives what it is about.
"""

EXAMPLE = """\
# expectations:
#   - extension: {name}
#     link_model: [static, static+runpath]
#     expect: missing-library
#     library: libpython{{python}}.so.1.0
#     reason: Say here why it is so
"""


def uv_versions(lock: Lock, python: str) -> tuple[str, ...]:
    """Of those that are locked: the last with a shared libpython, the first without, the last."""
    versions = sorted(lock.uv, key=Version)

    def is_static(version: str) -> bool:
        defaults = lock.uv[version].defaults[python].values()
        return {link_model(default.release) for default in defaults} == {LinkModel.STATIC}

    first = next(place for place, version in enumerate(versions) if is_static(version))
    return tuple(dict.fromkeys((*versions[max(first - 1, 0) : first + 1], versions[-1])))


def matrix(candidate: Candidate, uv: Sequence[str], own: Matrix) -> str:
    """A matrix file with one extension, on the project's own first base image."""
    name, base = next(iter(own.bases.items()))
    sample = candidate.sample.model_dump(mode="json", exclude_defaults=True)
    parts = [
        HEAD,
        f"uv: [{', '.join(uv)}]\n",
        f"python: {json.dumps(list(own.python))}\n",
        _platforms(candidate.platforms, own.platforms),
        "\n",
        _dumped({"bases": {name: base.model_dump(mode="json", exclude_defaults=True)}}),
        "\nextensions:\n",
        PLACEHOLDER if candidate.is_placeholder else "",
        indent(_dumped({candidate.name: sample}), "  "),
        "" if candidate.is_placeholder else KEYS,
        _published(candidate),
        "\nprofiles:\n",
        "  quick:\n",
        "    about: Broken and of today, on one platform, for every commit\n",
        f"    uv: [{', '.join(uv[1:])}]\n",
        f"    platforms: [{candidate.platforms[0]}]\n",
        "  default:\n",
        "    about: Everything above\n",
        f"\n{EXPECTED}",
        _expectations(candidate),
    ]
    return "".join(parts)


def _platforms(there: Sequence[Platform], every: Sequence[Platform]) -> str:
    line = f"platforms: [{', '.join(there)}]"
    if missing := [platform for platform in every if platform not in there]:
        line += f"  # add {' and '.join(missing)} once there is a wheel"
    return f"{line}\n"


def _published(candidate: Candidate) -> str:
    if candidate.sample.wheel is None:
        return ""
    return PUBLISHED.format(
        requirement=f"`requirement: {candidate.name}=={candidate.version or 'VERSION'}`"
    )


def _expectations(candidate: Candidate) -> str:
    if not candidate.expectations:
        return EXAMPLE.format(name=candidate.name)
    rules = [
        {
            "extension": candidate.name,
            **rule.model_dump(mode="json", exclude_defaults=True, exclude={"extension"}),
        }
        for rule in candidate.expectations
    ]
    return f"expectations:\n{indent(_dumped(rules, default_flow_style=None), '  ')}"


def _dumped(data: object, *, default_flow_style: bool | None = False) -> str:
    """As YAML, in blocks; without a ``default_flow_style``, what has no parts in one line."""
    return str(
        yaml.safe_dump(
            data,
            sort_keys=False,
            width=100,
            allow_unicode=True,
            default_flow_style=default_flow_style,
        )
    )


def lock(needed: Sequence[str], uv: Sequence[str], own: Lock, candidate: Candidate) -> Lock:
    """What the project's own lock has of some uv versions and requirements; and the candidate's."""
    known = {text: own.wheels[text] for text in needed if text in own.wheels}
    requirement = candidate.sample.requirement
    if requirement and candidate.wheels is not None:
        known[requirement] = candidate.wheels
    # What a newer uv reinstalls is asked for with `upgrade_from`, which the new file has not.
    locked = {version: own.uv[version].model_copy(update={"reinstalls": {}}) for version in uv}
    return Lock(uv=locked, wheels=known)


def workflow(directory: str, version: str) -> str:
    """A job for GitHub Actions. ``directory``: the matrix's, seen from the repository's root."""
    text = resources.files("harness.starter").joinpath("workflow.yml").read_text(encoding="utf-8")
    return text.replace("VERSION", version).replace("DIRECTORY", json.dumps(directory))
