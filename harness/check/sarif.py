"""Problems as SARIF 2.1.0, which code scanning of GitHub and others takes.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from harness.check.problems import Problem, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def dump(problems: Iterable[Problem], version: str) -> str:
    """A log with one run; ``version`` is that of this project."""
    rules = list(Rule)
    driver = {
        "name": "pbs-matrix",
        "version": version,
        "rules": [
            {"id": rule.value, "shortDescription": {"text": rule.description}} for rule in rules
        ],
    }
    results = [_result(problem, rules.index(problem.rule)) for problem in problems]
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=1) + "\n"


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    location: dict[str, Any] = {
        # A binary has no lines; without one GitHub shows nothing.
        "physicalLocation": {
            "artifactLocation": {"uri": quote(problem.target)},
            "region": {"startLine": 1},
        }
    }
    if problem.file:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.file, "kind": "module"}]
    return {
        "ruleId": problem.rule.value,
        "ruleIndex": rule,
        "level": problem.level.value,
        "message": {"text": problem.message},
        "locations": [location],
    }
