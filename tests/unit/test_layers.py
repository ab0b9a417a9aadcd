"""Layers point one way: what each module may load, asked of a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

LAYERS = [
    # modules, and what none of them may bring along
    (("plan", "verdict", "outcome", "lock", "releases"), ("docker", "requests", "pytest")),
    (("results", "table"), ("docker", "requests", "pytest")),
    (("containers", "cells", "images", "preparing", "doctor"), ("pytest", "_pytest", "click")),
    (("plugin",), ("docker", "requests", "rich", "click")),
    (("cli",), ("docker", "requests", "pydantic", "pytest")),
]


@pytest.mark.parametrize(("modules", "forbidden"), LAYERS, ids=lambda names: "+".join(names))
def test_a_layer_does_not_reach_upwards(
    modules: tuple[str, ...], forbidden: tuple[str, ...]
) -> None:
    """Planning knows nothing of Docker, containers nothing of pytest; collection stays fast."""
    program = (
        f"import sys; {'; '.join(f'import harness.{name}' for name in modules)}; "
        f"print([name for name in {forbidden!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
