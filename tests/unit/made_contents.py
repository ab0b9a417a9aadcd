"""What is in an archive, for tests that need one, whatever is in it."""

from __future__ import annotations

from harness.contents import Contents
from harness.inventory import Inventory
from harness.loader.files import Files
from harness.platforms import Platform
from harness.releases import LinkModel

INSIDE = Contents(
    inventory=Inventory(files=Files()),
    linked=LinkModel.STATIC,
    linked_because="it has no search path",
    platform=Platform.AARCH64,
    libc="gnu",
    version="3.13.5",
    misnamed=None,
    is_replica=True,
    members=1,
    unpacked=1,
)
