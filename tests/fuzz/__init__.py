"""Damaged and hostile files, by the hundred thousand: ``python -m tests.fuzz``."""
