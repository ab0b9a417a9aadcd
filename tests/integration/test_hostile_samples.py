"""The quick ones of the faults of samples: hostile modules in real containers."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from harness.platforms import Platform
from tests.faults.fault import Fault
from tests.faults.room import Room
from tests.faults.samples import FAULTS

pytestmark = pytest.mark.engine

QUICK = (
    *("tries-network", "tries-first-process", "tries-engine", "tries-devices", "tries-kernel"),
    *("tries-privileges", "tries-to-change-the-next", "tries-others", "looks-at-host"),
    *("fills-the-disk", "makes-a-huge-file", "opens-many-files", "deletes-site-packages"),
    *("reports-nonsense", "leaves-shared-memory", "kills-everybody", "daemon-escapes"),
    "no-utf8",
)
"""Of those that end by themselves, and soon."""


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.name in QUICK], ids=lambda fault: fault.name
)
def test_a_hostile_module_gets_its_verdict_and_harms_nobody(
    fault: Fault, platform: Platform, client: docker.DockerClient, tmp_path: Path
) -> None:
    """What it tries is refused, the next verdicts are right, and nothing is left of it."""
    happened = fault.inject(Room(tmp_path, client, platform))
    assert happened.wrong == ()
    assert happened.left == ()
