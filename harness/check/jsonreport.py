"""The findings of ``pbs-matrix check`` as JSON; docs/check.md describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.check import advice
from harness.check.report import Section
from harness.check.verdicts import Cell, Failure, Finding, Row, called
from harness.loader.process import Look

SCHEMA_VERSION = 1
"""Counts up whenever a field changes its meaning or goes; a new field alone does not count."""


def dump(sections: Sequence[Section], exit_code: int) -> str:
    """The text of the JSON document."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "exit_code": exit_code,
        "checked": [_section(section) for section in sections],
    }
    return json.dumps(document, indent=1) + "\n"


def _section(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "breaks": section.breaks,
        "unchecked": list(section.unchecked),
        "targets": [_finding(finding) for finding in section.findings],
        "advice": [
            {"reader": one.reader.value, "text": one.text, "code": one.code}
            for one in advice.advise(section.findings)
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    target = finding.target
    return {
        "name": target.name,
        "tags": sorted(target.tags),
        "modules": [{"name": m.name, "path": called(m.path)} for m in target.modules],
        "rows": [_row(row) for row in finding.rows],
        "missing": [
            {
                "library": missing.name,
                "needed_by": [called(path) for path in missing.needed_by],
                "inside": called(missing.inside) if missing.inside else None,
            }
            for missing in finding.missing
        ],
        "bundled_libpython": [called(path) for path in finding.bundled],
        "uses_bundled_libpython": finding.uses_bundled,
        "embedding_programs": [called(path) for path in finding.embedding],
        "files": _files(finding),
        "here": None if finding.here is None else [_failure(failure) for failure in finding.here],
        "notes": list(target.notes),
        "unchecked": list(finding.unchecked),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "python": str(row.python),
        "cpu": row.machine.cpu,
        "libc": row.machine.libc.value,
        "cells": [_cell(cell) for cell in row.cells],
        "programs": [_failure(failure) for failure in row.programs],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    era = cell.era
    return {
        "link_model": era.link_model.value,
        "releases": {"first": era.releases.first, "last": era.releases.last},
        "uv": [{"first": span.first, "last": span.last} for span in era.uv],
        "verdict": cell.verdict.value,
        "failures": [_failure(failure) for failure in cell.failures],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "role": failure.role.value,
        "path": called(failure.path),
        "module": failure.module,
        "reached": failure.is_reached,
        "library": failure.library,
        "needed_by": called(failure.search.needed_by),
        "words": failure.words,
        "looks": [_look(look) for look in failure.search.looks],
        "problem": failure.search.problem,
    }


def _look(look: Look) -> dict[str, Any]:
    return {
        "step": look.step.value,
        "owner": called(look.owner) if look.owner else None,
        "directories": list(look.directories),
        "ignored": look.ignored,
    }


def _files(finding: Finding) -> list[dict[str, Any]]:
    by_file: dict[str, list[dict[str, Any]]] = {}
    for need in finding.needs:
        found = {model.value: path for model, path in need.found.items()}
        by_file.setdefault(need.needed_by, []).append({"library": need.name, "found": found})
    return [{"path": called(path), "needs": needs} for path, needs in by_file.items()]
