"""What pyproject.toml cannot say: single files that a wheel has elsewhere than the checkout."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("matrix.yaml", "matrix.lock")


class Within(BuildHookInterface):
    """Puts the project's own matrix file and its lock where harness/project.py looks for them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable installation has them in the checkout: a copy would only grow stale."""
        if version == "standard":
            build_data["force_include"] |= {name: f"harness/_project/{name}" for name in FILES}
