"""Forks, and both processes go on with the import."""

import os

os.fork()
