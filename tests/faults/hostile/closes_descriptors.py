"""Closes every descriptor, that of the reports included, and imports."""

import os

os.closerange(0, 65_536)
