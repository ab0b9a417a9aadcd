"""Problems as workflow commands, which GitHub Actions shows beside the files of a change.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.check.problems import Problem


def dump(problems: Iterable[Problem]) -> str:
    """One line for each problem."""
    return "".join(f"{_command(problem)}\n" for problem in problems)


def _command(problem: Problem) -> str:
    title = f"{problem.file}: {problem.rule.value}" if problem.file else problem.rule.value
    properties = f"file={_property(problem.target)},title={_property(title)}"
    return f"::{problem.level.value} {properties}::{_escaped(problem.message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
